"""Fetching an edition: what is there is recognised, what is missing is downloaded and unpacked."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import pooch  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from asdlib.challenge.catalogue import SUBSET_FOLDERS, Archive, Edition
from asdlib.challenge.records import (
    Job,
    Lock,
    by_hand,
    machine_folder,
    pin,
    placed,
    wrong_checksum,
)
from asdlib.challenge.transfer import ResumingDownloader, UnreachableError
from asdlib.challenge.unpack import count_wavs, finish_leftovers, unpack
from asdlib.errors import InputError
from asdlib.files import writing

#: Downloads at a time: more would be impolite, and the host answers with status 429.
PARALLEL = 2
#: Room wanted for the unpacked clips, in sizes of the archives; sound compresses by less.
_UNPACKED_PER_ARCHIVE = 1.6
_POOCH_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")


def fetch(edition: Edition, archives: Sequence[Archive], data_dir: Path, job: Job) -> Path:
    """Bring archives of an edition to ``<data_dir>/<edition>t2/{dev_data,eval_data}/raw``.

    Folders count as there by lock file or, placed by hand, by clip counts; archives lie or come in
    ``<edition>t2/archives``. May be interrupted and repeated; refusal says what to place where.
    """
    root = data_dir / edition.folder
    with writing(root, "Name another folder (--data-dir)."):
        (root / "archives").mkdir(parents=True, exist_ok=True)
    with _alone(root, job):
        lock = Lock(root)
        for folder in SUBSET_FOLDERS.values():
            finish_leftovers(root / folder / "raw")
        for path in (root / "archives").iterdir():
            if _POOCH_TEMPORARY.fullmatch(path.name):
                path.unlink()
        missing = [one for one in archives if not _is_there(edition, one, root, lock)]
        for archive in set(archives) - set(missing):
            _put_away(archive, root, lock, job)
        job.say(f"{edition.name:<12} {len(archives) - len(missing)} of {len(archives)} parts there")
        if missing:
            pin(missing, root, lock, job)
            _state_sizes(missing, root, lock, job)
            _fetch_all(missing, root, lock, job)
    return root


def _is_there(edition: Edition, archive: Archive, root: Path, lock: Lock) -> bool:
    """Tell whether what an archive holds lies in its place; a wrong number of clips is refused."""
    folder = machine_folder(archive, root)
    counts = count_wavs(folder)
    if not set(counts) & set(archive.splits):
        return False
    pinned = lock.archive(archive.file_name).get("clips")
    expected = pinned or {
        split: edition.clips.get(split, counts.get(split, 1)) for split in archive.splits
    }
    for split, n_clips in expected.items():
        if counts.get(split, 0) != n_clips:
            raise InputError(
                f"{folder / split}: holds {counts.get(split, 0)} clips, expected {n_clips}. "
                f"Remove the folder {folder} and run the same command to have it fetched, or "
                "complete it."
            )
    return True


@contextmanager
def _alone(root: Path, job: Job) -> Iterator[None]:
    guard = FileLock(root / ".fetch.lock")
    try:
        guard.acquire(timeout=0)
    except Timeout:
        job.say(f"{root}: another process is fetching; waiting for it")
        guard.acquire()
    try:
        yield
    finally:
        guard.release()


def _state_sizes(archives: Sequence[Archive], root: Path, lock: Lock, job: Job) -> None:
    """Say what will be downloaded and refuse what cannot fit."""
    sizes = [lock.archive(one.file_name).get("size", 0) for one in archives]
    found = [_collected(one, root, lock) for one in archives]
    to_download = sum(sizes) - sum(found)
    unpacked = _UNPACKED_PER_ARCHIVE * sum(sizes)
    free = shutil.disk_usage(root).free
    job.say(
        f"{'':<12} {len(archives)} archives: {to_download / 1e9:.2f} GB to download, up to "
        f"{unpacked / 1e9:.2f} GB unpacked; {free / 1e9:.2f} GB free in {root}"
    )
    if to_download + unpacked > free:
        raise InputError(
            f"{root}: has {free / 1e9:.2f} GB free, up to {(to_download + unpacked) / 1e9:.2f} GB "
            "are needed. Free space, name another folder (--data-dir) or fewer machines "
            "(--machines)."
        )


def _fetch_all(archives: Sequence[Archive], root: Path, lock: Lock, job: Job) -> None:
    total = sum(lock.archive(one.file_name).get("size", 0) for one in archives)
    problems = []
    one_at_a_time = threading.Lock()
    pooch.get_logger().setLevel("ERROR")  # it would announce every file
    with job.open_progress(total) as report, ThreadPoolExecutor(PARALLEL) as pool:

        def count(n_bytes: int) -> None:
            with one_at_a_time:
                report(n_bytes)

        futures = {pool.submit(_obtain, one, root, lock, job, count): one for one in archives}
        try:
            for future in as_completed(futures):
                error = future.exception()
                if isinstance(error, InputError):
                    problems.append((futures[future], error))
                elif error is not None:
                    raise error
        except BaseException:
            job.stopped.set()
            pool.shutdown(cancel_futures=True)
            raise
    reasons = "\n".join(str(error) for _, error in problems)
    if any(isinstance(error, UnreachableError) for _, error in problems):
        raise UnreachableError(by_hand(reasons, [archive for archive, _ in problems], root, job))
    if problems:
        raise InputError(reasons)


def _obtain(
    archive: Archive, root: Path, lock: Lock, job: Job, count: Callable[[int], object]
) -> None:
    """Have an archive's clips in their place, verified where the lock has a checksum."""
    path = _have(archive, root, lock, job, count)
    is_verified = "md5" in lock.archive(archive.file_name)

    def note(clips: dict[str, int]) -> None:
        facts = {"record": archive.record, "verified": is_verified, "clips": clips}
        lock.note("archives", archive.file_name, **facts)

    folder = machine_folder(archive, root)
    unpack(path, folder, splits=archive.splits, on_ready=note, stopped=job.stopped)
    _put_away(archive, root, lock, job)


def _put_away(archive: Archive, root: Path, lock: Lock, job: Job) -> None:
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
        has_size = path.stat().st_size == facts["size"]
        if has_size and pooch.file_hash(str(path), alg="md5") == facts["md5"]:
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
    remedy = "Free space or name another folder (--data-dir), then run the same command."
    for _ in range(2):
        try:
            with writing(path, remedy):
                pooch.retrieve(url, downloader=downloader, **wanted)
        except InputError:
            raise
        except ValueError:  # the checksum does not hold; pooch threw the file away
            count(-facts["size"])
        else:
            lock.note("archives", archive.file_name, downloaded=True)
            return path
    raise InputError(wrong_checksum(archive, facts, job))


def _collected(archive: Archive, root: Path, lock: Lock) -> int:
    """Count the bytes of an archive that are there already."""
    found = [path for path in (*placed(archive, root), _part(archive, root, lock)) if path.exists()]
    return found[0].stat().st_size if found else 0


def _part(archive: Archive, root: Path, lock: Lock) -> Path:
    digest = lock.archive(archive.file_name).get("md5", "")
    return root / "archives" / f".{archive.file_name}.{digest[:8]}.part"
