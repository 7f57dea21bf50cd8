"""What a record says of its archives: read once, then pinned in the lock file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asdlib.challenge.catalogue import SUBSET_FOLDERS, Archive
from asdlib.challenge.job import Job
from asdlib.challenge.lock import Lock
from asdlib.challenge.transfer import UnreachableError
from asdlib.errors import InputError

_REVISION = re.compile(r"_r[0-9]+$")


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


def pin(archives: Sequence[Archive], root: Path, lock: Lock, job: Job) -> None:
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
            if all(placed(one, root) for one in unpinned):
                job.say(f"{error} The archives placed by hand are used unverified.")
                continue
            raise UnreachableError(by_hand(error, archives, root, job)) from error
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


def wrong_checksum(archive: Archive, facts: dict[str, Any], job: Job) -> str:
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


def by_hand(reason: object, archives: Sequence[Archive], root: Path, job: Job) -> str:
    """Say which files to place where when the host cannot be reached."""
    lines = [f"{reason}", "If a proxy is needed, set HTTPS_PROXY. Or place these files by hand"]
    lines += [f"into {root / 'archives'} and run the same command:"]
    absent = [one for one in archives if not placed(one, root)]
    for record in dict.fromkeys(one.record for one in absent):
        names = [one.file_name for one in absent if one.record == record]
        lines.append(f"  {job.hosts.record(record)}: {', '.join(names)}")
    return "\n".join(lines)


def machine_folder(archive: Archive, root: Path) -> Path:
    """Folder of an archive's machine."""
    return root / SUBSET_FOLDERS[archive.subset] / "raw" / archive.machine_type


def placed(archive: Archive, root: Path) -> list[Path]:
    """List archives of that name where they are put here, by the official baseline, by a person."""
    places = (root / "archives", machine_folder(archive, root).parent, root, root.parent)
    return [path for place in places if (path := place / archive.file_name).is_file()]
