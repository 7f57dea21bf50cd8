"""Fetching an edition: what is there is recognised, what is missing is downloaded and unpacked."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pooch  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from asdlib.base import InputError, writing
from asdlib.challenge.catalogue import SUBSET_FOLDERS, Archive, Edition, Lock
from asdlib.challenge.folders import count_wavs, finish_leftovers, unpack
from asdlib.challenge.transfer import Job, ResumingDownloader, UnreachableError

#: Downloads at a time: more would be impolite, and the host answers with status 429.
PARALLEL = 2
#: Room wanted for the unpacked clips, in sizes of the archives; sound compresses by less.
_UNPACKED_PER_ARCHIVE = 1.6
_REVISION = re.compile(r"_r[0-9]+$")
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
        missing = [one for one in archives if not _is_there(edition, one, lock)]
        for archive in set(archives) - set(missing):
            _put_away(archive, lock, job)
        job.say(f"{edition.name:<12} {len(archives) - len(missing)} of {len(archives)} parts there")
        if missing:
            _pin(missing, lock, job)
            _state_sizes(missing, lock, job)
            _fetch_all(missing, lock, job)
    return root


def _is_there(edition: Edition, archive: Archive, lock: Lock) -> bool:
    """Tell whether what an archive holds lies in its place; a wrong number of clips is refused."""
    folder = archive.machine_folder(lock.root)
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


def _alone(root: Path, job: Job) -> AbstractContextManager[object]:
    guard = FileLock(root / ".fetch.lock")
    try:
        return guard.acquire(timeout=0)
    except Timeout:
        job.say(f"{root}: another process is fetching; waiting for it")
        return guard.acquire()


def _state_sizes(archives: Sequence[Archive], lock: Lock, job: Job) -> None:
    """Say what will be downloaded and refuse what cannot fit."""
    sizes = [lock.archive(one.file_name).get("size", 0) for one in archives]
    found = [_collected(one, lock) for one in archives]
    to_download = sum(sizes) - sum(found)
    unpacked = _UNPACKED_PER_ARCHIVE * sum(sizes)
    free = shutil.disk_usage(lock.root).free
    job.say(
        f"{'':<12} {len(archives)} archives: {to_download / 1e9:.2f} GB to download, up to "
        f"{unpacked / 1e9:.2f} GB unpacked; {free / 1e9:.2f} GB free in {lock.root}"
    )
    if to_download + unpacked > free:
        needed = f"up to {(to_download + unpacked) / 1e9:.2f} GB are needed"
        raise InputError(
            f"{lock.root}: has {free / 1e9:.2f} GB free, {needed}. Free space, name another folder "
            "(--data-dir) or fewer machines (--machines)."
        )


def _fetch_all(archives: Sequence[Archive], lock: Lock, job: Job) -> None:
    total = sum(lock.archive(one.file_name).get("size", 0) for one in archives)
    problems = []
    one_at_a_time = threading.Lock()
    pooch.get_logger().setLevel("ERROR")  # it would announce every file
    with job.open_progress(total) as report, ThreadPoolExecutor(PARALLEL) as pool:

        def count(n_bytes: int) -> None:
            with one_at_a_time:
                report(n_bytes)

        futures = {pool.submit(_obtain, one, lock, job, count): one for one in archives}
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
        raise UnreachableError(_by_hand(reasons, [archive for archive, _ in problems], lock, job))
    if problems:
        raise InputError(reasons)


def _obtain(archive: Archive, lock: Lock, job: Job, count: Callable[[int], object]) -> None:
    """Have an archive's clips in their place, verified where the lock has a checksum."""
    path = _have(archive, lock, job, count)
    is_verified = "md5" in lock.archive(archive.file_name)

    def note(clips: dict[str, int]) -> None:
        facts = {"record": archive.record, "verified": is_verified, "clips": clips}
        lock.note("archives", archive.file_name, **facts)

    folder = archive.machine_folder(lock.root)
    unpack(path, folder, splits=archive.splits, on_ready=note, stopped=job.stopped)
    _put_away(archive, lock, job)


def _put_away(archive: Archive, lock: Lock, job: Job) -> None:
    """Remove an archive that was downloaded here and is unpacked, unless it shall stay."""
    if lock.archive(archive.file_name).get("downloaded") and not job.keep_archives:
        (lock.root / "archives" / archive.file_name).unlink(missing_ok=True)


def _have(archive: Archive, lock: Lock, job: Job, count: Callable[[int], object]) -> Path:
    """Give the path of an archive whose checksum holds, downloaded where there is none."""
    facts = lock.archive(archive.file_name)
    found = archive.placed(lock.root)
    if "md5" not in facts:
        return found[0]
    for path in found:
        has_size = path.stat().st_size == facts["size"]
        if has_size and pooch.file_hash(str(path), alg="md5") == facts["md5"]:
            count(facts["size"])
            return path
    return _download(archive, lock, job, count)


def _download(archive: Archive, lock: Lock, job: Job, count: Callable[[int], object]) -> Path:
    facts = lock.archive(archive.file_name)
    path = lock.root / "archives" / archive.file_name
    downloader = ResumingDownloader(_part(archive, lock), facts["size"], job, count)
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
    raise InputError(_wrong_checksum(archive, facts, job))


def _collected(archive: Archive, lock: Lock) -> int:
    """Count the bytes of an archive that are there already."""
    found = [path for path in (*archive.placed(lock.root), _part(archive, lock)) if path.exists()]
    return found[0].stat().st_size if found else 0


def _part(archive: Archive, lock: Lock) -> Path:
    digest = lock.archive(archive.file_name).get("md5", "")
    return lock.root / "archives" / f".{archive.file_name}.{digest[:8]}.part"


def listed_file(archive: Archive, listing: dict[str, Any]) -> dict[str, Any]:
    """Find an archive in a record's description, under its name or that of its one revision."""
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


def _pin(archives: Sequence[Archive], lock: Lock, job: Job) -> None:
    """Read name, size and checksum of every archive from its record, once for all."""
    new = [one for one in archives if "md5" not in lock.archive(one.file_name)]
    for record in dict.fromkeys(one.record for one in new):
        unpinned = [one for one in new if one.record == record]
        try:
            listing = _read_listing(job.hosts.listing(record), job)
        except UnreachableError as error:
            if all(one.placed(lock.root) for one in unpinned):
                job.say(f"{error} The archives placed by hand are used unverified.")
                continue
            raise UnreachableError(_by_hand(error, archives, lock, job)) from error
        for one in unpinned:
            entry = listed_file(one, listing)
            kind, _, digest = str(entry["checksum"]).partition(":")
            if kind != "md5" or not re.fullmatch("[0-9a-f]{32}", digest):
                raise InputError(
                    f"record {record}: gives {one.file_name} the checksum {entry['checksum']!r}; "
                    "expected md5: and 32 digits."
                )
            facts = {"record": record, "listed_name": entry["key"], "size": int(entry["size"])}
            lock.note("archives", one.file_name, **facts, md5=digest)


def _read_listing(url: str, job: Job) -> dict[str, Any]:
    """Read a record's description; a page of whoever stands in between is none."""
    answer = job.get(url)
    try:
        files = answer.json()["files"]
        names = ("key", "size", "checksum")
        return {"files": [{name: entry[name] for name in names} for entry in files]}
    except (KeyError, TypeError, ValueError) as error:
        raise UnreachableError(f"{url}: is no description of a record ({error!r}).") from error


def _wrong_checksum(archive: Archive, facts: dict[str, Any], job: Job) -> str:
    """Say whether the host has another file now, or the same that arrives damaged."""
    try:
        listing = _read_listing(job.hosts.listing(archive.record), job)
        now = str(listed_file(archive, listing)["checksum"]).removeprefix("md5:")
    except InputError:
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


def _by_hand(reason: object, archives: Sequence[Archive], lock: Lock, job: Job) -> str:
    """Say which files to place where when the host cannot be reached."""
    lines = [f"{reason}", "If a proxy is needed, set HTTPS_PROXY. Or place these files by hand"]
    lines += [f"into {lock.root / 'archives'} and run the same command:"]
    absent = [one for one in archives if not one.placed(lock.root)]
    for record in dict.fromkeys(one.record for one in absent):
        names = [one.file_name for one in absent if one.record == record]
        lines.append(f"  {job.hosts.record(record)}: {', '.join(names)}")
    return "\n".join(lines)
