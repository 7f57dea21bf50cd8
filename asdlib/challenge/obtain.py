"""One archive: found or downloaded, verified, unpacked, noted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pooch  # type: ignore[import-untyped]

from asdlib.challenge.catalogue import Archive
from asdlib.challenge.job import Job
from asdlib.challenge.lock import Lock
from asdlib.challenge.records import machine_folder, placed, wrong_checksum
from asdlib.challenge.transfer import ResumingDownloader
from asdlib.challenge.unpack import unpack
from asdlib.errors import InputError


def obtain(
    archive: Archive, root: Path, lock: Lock, job: Job, count: Callable[[int], object]
) -> None:
    """Have an archive's clips in their place.

    Parameters
    ----------
    archive : Archive
    root : Path
        Folder of the edition.
    lock : Lock
        Has the archive's checksum, or the archive was placed by hand and is taken as it is.
    job : Job
    count : callable
        Called with the bytes that came.

    Raises
    ------
    InputError
        When it cannot be had or is not what it should be.
    """
    path = _have(archive, root, lock, job, count)
    is_verified = "md5" in lock.archive(archive.file_name)

    def note(clips: dict[str, int]) -> None:
        lock.note_archive(
            archive.file_name, record=archive.record, verified=is_verified, clips=clips
        )

    folder = machine_folder(archive, root)
    unpack(path, folder, splits=archive.splits, on_ready=note, stopped=job.stopped)
    put_away(archive, root, lock, job)


def put_away(archive: Archive, root: Path, lock: Lock, job: Job) -> None:
    """Remove an archive that was downloaded here and is unpacked, unless it shall stay."""
    if lock.archive(archive.file_name).get("downloaded") and not job.keep_archives:
        (root / "archives" / archive.file_name).unlink(missing_ok=True)


def _have(
    archive: Archive, root: Path, lock: Lock, job: Job, count: Callable[[int], object]
) -> Path:
    """Give the path of an archive whose checksum holds, downloaded where there is none."""
    facts = lock.archive(archive.file_name)
    found = placed(archive, root)
    if "md5" not in facts:
        return found[0]
    for path in found:
        if pooch.file_hash(str(path), alg="md5") == facts["md5"]:
            count(facts["size"])
            return path
    return _download(archive, root, lock, job, count)


def _download(
    archive: Archive, root: Path, lock: Lock, job: Job, count: Callable[[int], object]
) -> Path:
    facts = lock.archive(archive.file_name)
    path = root / "archives" / archive.file_name
    downloader = ResumingDownloader(
        _part(archive, root, lock),
        facts["size"],
        patience=job.hosts.patience,
        on_progress=count,
        on_wait=lambda reason: job.say(f"{path.name}: {reason}"),
        stopped=job.stopped,
    )
    wanted = {"known_hash": f"md5:{facts['md5']}", "fname": path.name, "path": path.parent}
    url = job.hosts.archive(archive.record, facts["listed_name"])
    for _ in range(2):
        try:
            pooch.retrieve(url, downloader=downloader, **wanted)
        except InputError:
            raise
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}). Free space or name another "
                "folder (--data-dir), then run the same command."
            ) from error
        except ValueError:  # the checksum does not hold; pooch threw the file away
            count(-facts["size"])
        else:
            lock.note_archive(archive.file_name, downloaded=True)
            return path
    raise InputError(wrong_checksum(archive, facts, job))


def collected(archive: Archive, root: Path, lock: Lock) -> int:
    """Count the bytes of an archive that are there already."""
    found = [path for path in (*placed(archive, root), _part(archive, root, lock)) if path.exists()]
    return found[0].stat().st_size if found else 0


def _part(archive: Archive, root: Path, lock: Lock) -> Path:
    digest = lock.archive(archive.file_name).get("md5", "")
    return root / "archives" / f".{archive.file_name}.{digest[:8]}.part"
