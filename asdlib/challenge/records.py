"""One piece of fetching, and what a record says of its archives: read once, then pinned.

The lock file beside the data holds what was fetched and the checksums that it is held to.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from asdlib.challenge.catalogue import SUBSET_FOLDERS, Archive, Hosts
from asdlib.challenge.transfer import UnreachableError, get
from asdlib.errors import InputError
from asdlib.files import write_atomically

LOCK_NAME = "challenge.lock.json"
_REVISION = re.compile(r"_r[0-9]+$")


@dataclass
class Job:
    """What is done, for whom it is reported, and how it is stopped."""

    hosts: Hosts = field(default_factory=Hosts.from_environment)
    say: Callable[[str], object] = lambda line: None  # gets every line that the user should read
    #: Gets the bytes to download; gives a context manager of what counts the bytes that came.
    open_progress: Callable[[int], Any] = lambda n_bytes: nullcontext(lambda n_bytes: None)
    keep_archives: bool = False  # after they were unpacked
    stopped: threading.Event = field(default_factory=threading.Event)  # ends all transfers

    def get(self, url: str) -> requests.Response:
        """Fetch something small."""
        return get(
            url,
            patience=self.hosts.patience,
            on_wait=lambda reason: self.say(f"{url}: {reason}"),
            stopped=self.stopped,
        )


class Lock:
    """Pinned names, sizes and checksums of one edition; every change is written at once."""

    def __init__(self, root: Path) -> None:
        self.path = root / LOCK_NAME
        self._guard = threading.Lock()
        self._content: dict[str, dict[str, Any]] = {"archives": {}, "truth": {}}
        if self.path.exists():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
                self._content = {key: dict(found[key]) for key in self._content}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path}: cannot be read ({error}). Delete it: checksums are then "
                    "asked for again, and archives that are there are checked again."
                ) from error

    def archive(self, name: str) -> dict[str, Any]:
        """Facts about an archive: record, size, md5, verified, downloaded, clips."""
        return dict(self._content["archives"].get(name, {}))

    def truth(self, path: str) -> dict[str, Any]:
        """Facts about a released list: size and sha256."""
        return dict(self._content["truth"].get(path, {}))

    def digest(self) -> str:
        """First 16 digits of the SHA-256 of all pinned facts."""
        text = json.dumps(self._content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def note(self, part: str, name: str, **facts: Any) -> None:
        """Add or change facts about one of the ``archives`` or of the lists of ``truth``."""
        with self._guard:
            self._content[part][name] = {**self._content[part].get(name, {}), **facts}
            text = json.dumps(self._content, indent=1, sort_keys=True)
            write_atomically(self.path, text + "\n")


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


def pin(archives: Sequence[Archive], root: Path, lock: Lock, job: Job) -> None:
    """Read name, size and checksum of every archive from its record, once for all."""
    new = [one for one in archives if "md5" not in lock.archive(one.file_name)]
    for record in dict.fromkeys(one.record for one in new):
        unpinned = [one for one in new if one.record == record]
        try:
            listing = _read_listing(job.hosts.listing(record), job)
        except UnreachableError as error:
            if all(placed(one, root) for one in unpinned):
                job.say(f"{error} The archives placed by hand are used unverified.")
                continue
            raise UnreachableError(by_hand(error, archives, root, job)) from error
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


def wrong_checksum(archive: Archive, facts: dict[str, Any], job: Job) -> str:
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
