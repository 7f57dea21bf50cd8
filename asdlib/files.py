"""Where the project lies; files written whole or not at all, tables read to the letter."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from asdlib.errors import InputError

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the file system refuses to give into one clear error."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


@contextmanager
def writing(
    path: Path, remedy: str = "Free space or choose a writable folder (--out)."
) -> Iterator[None]:
    """Turn what the file system refuses to take into one clear error."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}). {remedy}") from error


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file, and its folder, so that a reader sees the old content or the new, no part."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            if temporary.exists():
                temporary.unlink()
            raise


def reserve(path: Path, size: int) -> None:
    """Make a file of ``size`` bytes that the disk holds from now on."""
    try:
        with path.open("wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except (AttributeError, OSError) as error:  # a system that cannot reserve
                if getattr(error, "errno", None) not in (None, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
                file.truncate(size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path}: needs {size / 2**30:.2f} GiB ({error.strerror}). "
            "Free space or choose another folder (--out)."
        ) from error


def file_hash(path: Path) -> str:
    """First 16 hexadecimal digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Read a CSV: line number and stripped fields of every line that is not empty."""
    try:
        with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=True)
            rows = [(reader.line_num, [field.strip() for field in fields]) for fields in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV in UTF-8 ({error}).") from error
    return [(number, fields) for number, fields in rows if any(fields)]


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV of texts whose first line names its columns; the index are numbers of lines.

    Every line has as many fields as the first, so that a decimal comma is no further field.
    """
    rows = read_rows(path)
    if not rows:
        raise InputError(f"{path}: cannot be read as CSV (it is empty).")
    (_, header), *lines = rows
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(
            f"{path}: lacks the column {missing[0]}, its first line must be "
            f"{','.join(columns)}{',d1p,d1v,...' if 'file_name' in columns else ''}."
        )
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise InputError(f"{path}: has two columns {twice[0]!r}. Rename or delete one.")
    for number, fields in lines:
        if len(fields) != len(header):
            raise InputError(
                f"{path}, line {number}: cannot be read as CSV (expected {len(header)} fields as "
                f"in the first line, found {len(fields)}: {','.join(fields)!r}). Write decimals "
                "with a point."
            )
    numbers = [number for number, _ in lines]
    return pd.DataFrame([fields for _, fields in lines], index=numbers, columns=header, dtype=str)
