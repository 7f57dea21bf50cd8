"""Writing files so that nothing half-written is ever found."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from asdlib.errors import InputError


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Parameters
    ----------
    path : Path
        Its folder is made if missing.
    content : bytes or str
        Text is encoded as UTF-8.

    Raises
    ------
    InputError
        When the folder cannot be written or the disk is full; the old file stays.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). "
            "Free space or choose a writable folder (--out)."
        ) from error


def file_hash(path: Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
