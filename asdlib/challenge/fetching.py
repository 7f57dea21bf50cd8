"""Fetching an edition: what is there is recognised, what is missing is downloaded and unpacked."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pooch  # type: ignore[import-untyped]
import requests
from filelock import FileLock, Timeout

from asdlib.challenge.catalogue import SUBSET_FOLDERS, Archive, Edition
from asdlib.challenge.hosts import Hosts
from asdlib.challenge.lock import Lock
from asdlib.challenge.transfer import ResumingDownloader, StoppedError, UnreachableError, get
from asdlib.challenge.unpack import DamagedError, count_wavs, finish_leftovers, unpack
from asdlib.errors import InputError

#: Downloads at a time: more would be impolite, and the host answers with status 429.
PARALLEL = 2
#: Room wanted for the unpacked clips, in sizes of the archives; sound compresses by less.
_UNPACKED_PER_ARCHIVE = 1.6
_REVISION = re.compile(r"_r[0-9]+$")
_POOCH_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")


@dataclass
class Job:
    """What is done, for whom it is reported, and how it is stopped.

    Attributes
    ----------
    hosts : Hosts
    say : callable
        Called with every line that the user should read.
    open_progress : callable
        Called with the bytes to download; gives a context manager that yields a function,
        called with the bytes that came.
    keep_archives : bool
        Whether downloaded archives stay after they were unpacked.
    stopped : threading.Event
        Set to end all transfers.
    """

    hosts: Hosts = field(default_factory=lambda: Hosts.from_environment())
    say: Callable[[str], object] = lambda line: None
    open_progress: Callable[[int], Any] | None = None
    keep_archives: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)

    def get(self, url: str) -> requests.Response:
        """Fetch something small."""
        return get(
            url,
            patience=self.hosts.patience,
            on_wait=lambda reason: self.say(f"{url}: {reason}"),
            stopped=self.stopped,
        )

    @contextmanager
    def progress(self, n_bytes: int) -> Iterator[Callable[[int], object]]:
        """Report the bytes that come while the block runs."""
        if self.open_progress is None:
            yield lambda n_bytes: None
            return
        with self.open_progress(n_bytes) as count:
            yield count


def fetch(edition: Edition, archives: Sequence[Archive], data_dir: Path, job: Job) -> Path:
    """Bring archives of an edition to ``<data_dir>/<edition>t2/{dev_data,eval_data}/raw``.

    Folders that are there are recognised by what the lock file says of them, or, placed by
    hand, by their clip counts. Archives are looked for in ``<data_dir>/<edition>t2/archives``;
    there they are downloaded to, too. May be interrupted at any moment and repeated.

    Parameters
    ----------
    edition : Edition
    archives : sequence of Archive
        As from `Edition.archives`.
    data_dir : Path
    job : Job

    Returns
    -------
    Path
        The edition's folder.

    Raises
    ------
    InputError
        When anything is missing in the end; says which files to place where.
    """
    root = data_dir / edition.folder
    try:
        (root / "archives").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{root}: cannot be written ({error.strerror}). Name another folder (--data-dir)."
        ) from error
    with _alone(root, job):
        lock = Lock(root)
        for folder in SUBSET_FOLDERS.values():
            finish_leftovers(root / folder / "raw")
        for path in (root / "archives").iterdir():
            if _POOCH_TEMPORARY.fullmatch(path.name):
                path.unlink()
        missing = [one for one in archives if not is_there(edition, one, root, lock)]
        job.say(f"{edition.name:<12} {len(archives) - len(missing)} of {len(archives)} parts there")
        if missing:
            _pin(missing, root, lock, job)
            _state_sizes(missing, root, lock, job)
            _fetch_all(missing, root, lock, job)
    return root


def is_there(edition: Edition, archive: Archive, root: Path, lock: Lock) -> bool:
    """Tell whether what an archive holds lies complete in its place.

    Raises
    ------
    InputError
        When it lies there with clips missing or too many.
    """
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


def machine_folder(archive: Archive, root: Path) -> Path:
    """Folder of an archive's machine."""
    return root / SUBSET_FOLDERS[archive.subset] / "raw" / archive.machine_type


def listed_file(archive: Archive, listing: dict[str, Any]) -> dict[str, Any]:
    """Find an archive in a record's description, under its name or that of a revision.

    Raises
    ------
    InputError
        When it is not there or several revisions are.
    """
    files = {entry["key"]: entry for entry in listing["files"]}
    if archive.file_name in files:
        return dict(files[archive.file_name])
    wanted = _REVISION.sub("", Path(archive.file_name).stem)
    found = [name for name in files if _REVISION.sub("", Path(name).stem) == wanted]
    if len(found) != 1:
        raise InputError(
            f"record {archive.record}: holds no {archive.file_name}. "
            f"There are: {', '.join(sorted(files)) or 'no files'}."
        )
    return dict(files[found[0]])


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


def _pin(archives: Sequence[Archive], root: Path, lock: Lock, job: Job) -> None:
    """Read name, size and checksum of every archive from its record, once for all."""
    for record in dict.fromkeys(one.record for one in archives):
        unpinned = [
            one
            for one in archives
            if one.record == record and "md5" not in lock.archive(one.file_name)
        ]
        if not unpinned:
            continue
        url = job.hosts.listing(record)
        try:
            listing = job.get(url).json()
            for one in unpinned:
                _pin_one(one, listed_file(one, listing), lock)
        except UnreachableError as error:
            if all(_placed(one, root) for one in unpinned):
                job.say(f"{error} The archives placed by hand are used unverified.")
                continue
            raise UnreachableError(_by_hand(error, archives, root, job)) from error
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{url}: is no description of a record ({error}).") from error


def _pin_one(archive: Archive, entry: dict[str, Any], lock: Lock) -> None:
    kind, _, digest = str(entry["checksum"]).partition(":")
    if kind != "md5" or not re.fullmatch("[0-9a-f]{32}", digest):
        raise InputError(
            f"record {archive.record}: gives {archive.file_name} the checksum "
            f"{entry['checksum']!r}; expected md5: and 32 digits."
        )
    lock.note_archive(
        archive.file_name,
        record=archive.record,
        listed_name=entry["key"],
        size=int(entry["size"]),
        md5=digest,
    )


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


def _collected(archive: Archive, root: Path, lock: Lock) -> int:
    """Bytes of an archive that are there already."""
    found = [
        path for path in (*_placed(archive, root), _part(archive, root, lock)) if path.exists()
    ]
    return found[0].stat().st_size if found else 0


def _placed(archive: Archive, root: Path) -> list[Path]:
    """List archives of that name where they are put here, by the official baseline, by a person."""
    places = (root / "archives", machine_folder(archive, root).parent, root, root.parent)
    return [path for place in places if (path := place / archive.file_name).is_file()]


def _part(archive: Archive, root: Path, lock: Lock) -> Path:
    digest = lock.archive(archive.file_name).get("md5", "")
    return root / "archives" / f".{archive.file_name}.{digest[:8]}.part"


def _fetch_all(archives: Sequence[Archive], root: Path, lock: Lock, job: Job) -> None:
    total = sum(lock.archive(one.file_name).get("size", 0) for one in archives)
    problems = []
    one_at_a_time = threading.Lock()
    pooch.get_logger().setLevel("ERROR")  # it would announce every file
    with job.progress(total) as report, ThreadPoolExecutor(PARALLEL) as pool:

        def count(n_bytes: int) -> None:
            with one_at_a_time:
                report(n_bytes)

        futures = {pool.submit(_fetch_one, one, root, lock, job, count): one for one in archives}
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
    if problems:
        reasons = "\n".join(str(error) for _, error in problems)
        if any(isinstance(error, UnreachableError) for _, error in problems):
            raise UnreachableError(
                _by_hand(reasons, [archive for archive, _ in problems], root, job)
            )
        raise InputError(reasons)


def _fetch_one(
    archive: Archive, root: Path, lock: Lock, job: Job, count: Callable[[int], object]
) -> None:
    name = archive.file_name
    path = _have(archive, root, lock, job, count)
    folder = machine_folder(archive, root)
    unpack(path, folder, splits=archive.splits, stopped=job.stopped)
    brought = {
        split: n_clips
        for split, n_clips in count_wavs(folder).items()
        if split in archive.splits or (split == "supplemental" and "train" in archive.splits)
    }
    is_verified = "md5" in lock.archive(name)
    lock.note_archive(name, record=archive.record, verified=is_verified, clips=brought)
    if lock.archive(name).get("downloaded") and not job.keep_archives:
        path.unlink()


def _have(
    archive: Archive, root: Path, lock: Lock, job: Job, count: Callable[[int], object]
) -> Path:
    """Give the path of an archive whose checksum holds, downloaded where there is none."""
    facts = lock.archive(archive.file_name)
    placed = _placed(archive, root)
    if "md5" not in facts:
        return placed[0]
    for path in placed:
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
    raise InputError(_wrong_checksum(archive, facts, job))


def _wrong_checksum(archive: Archive, facts: dict[str, Any], job: Job) -> str:
    """Say whether the host has another file now, or the same that arrives damaged."""
    try:
        listing = job.get(job.hosts.listing(archive.record)).json()
        now = str(listed_file(archive, listing)["checksum"]).removeprefix("md5:")
    except (InputError, KeyError, TypeError, ValueError):
        now = ""
    if now and now != facts["md5"]:
        return (
            f"{archive.file_name}: was changed in record {archive.record} since its checksum was "
            f"pinned ({facts['md5']}, now {now}). To accept the new file, delete its entry from "
            "challenge.lock.json and run the same command."
        )
    return (
        f"{archive.file_name}: arrived twice with a wrong checksum (expected md5 "
        f"{facts['md5']}). Run the same command later, or place the file by hand."
    )


def _by_hand(reason: object, archives: Sequence[Archive], root: Path, job: Job) -> str:
    """Say which files to place where when the host cannot be reached."""
    lines = [f"{reason}", "If a proxy is needed, set HTTPS_PROXY. Or place these files by hand"]
    lines += [f"into {root / 'archives'} and run the same command:"]
    absent = [one for one in archives if not _placed(one, root)]
    for record in dict.fromkeys(one.record for one in absent):
        names = [one.file_name for one in absent if one.record == record]
        lines.append(f"  {job.hosts.record(record)}: {', '.join(names)}")
    return "\n".join(lines)


__all__ = ["PARALLEL", "DamagedError", "Job", "StoppedError", "fetch", "is_there"]
