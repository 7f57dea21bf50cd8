"""The lock file beside the data: what was fetched, with the checksums it is held to."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from asdlib.errors import InputError
from asdlib.files import write_atomically

FILE_NAME = "challenge.lock.json"


class Lock:
    """Pinned names, sizes and checksums of one edition; every change is written at once.

    Parameters
    ----------
    root : Path
        Folder of the edition; the file need not be there yet.

    Raises
    ------
    InputError
        When the file cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.path = root / FILE_NAME
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
        """Facts about an archive: record, size, md5, verified, fetched, splits..."""
        return dict(self._content["archives"].get(name, {}))

    def truth(self, path: str) -> dict[str, Any]:
        """Facts about a released list: size and sha256."""
        return dict(self._content["truth"].get(path, {}))

    def note_archive(self, name: str, **facts: Any) -> None:
        """Add or change facts about an archive."""
        self._note("archives", name, facts)

    def note_truth(self, path: str, **facts: Any) -> None:
        """Add or change facts about a released list."""
        self._note("truth", path, facts)

    def digest(self) -> str:
        """First 16 digits of the SHA-256 of all pinned facts."""
        text = json.dumps(self._content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _note(self, part: str, name: str, facts: dict[str, Any]) -> None:
        with self._guard:
            entry = {**self._content[part].get(name, {}), **facts}
            self._content[part][name] = entry
            text = json.dumps(self._content, indent=1, sort_keys=True)
            write_atomically(self.path, text + "\n")
