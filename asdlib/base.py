"""What every room stands on: the one error type, files written whole, processors and devices."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    import torch  # importing it is slow, and decoding does without

PROJECT_ROOT = Path(__file__).resolve().parents[1]
_SHOWN = 5


class InputError(ValueError):
    """Something that was handed in cannot be used.

    The message names the file or value, says what was expected and what to do about it.
    Nothing half-written is left behind when it is raised.
    """


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Join the first names; dots stand for those that are left out."""
    return ", ".join([*names[:most], *["..."] * (len(names) > most)])


def refuse_unknown(names: Iterable[str], known: Iterable[str], where: str, of: str = "") -> None:
    """Refuse names that are not ``known``, and say which are: ``where`` NAMES ``of``."""
    there = list(known)
    if unknown := [name for name in dict.fromkeys(names) if name not in there]:
        raise InputError(
            f"{where} {', '.join(unknown)}{of}. There are: {', '.join(there) or 'none'}."
        )


def raise_problems(problems: Sequence[str], *, what: str = "files") -> None:
    """Raise one error that lists the first few problems and counts the rest; none, no error."""
    if not problems:
        return
    lines = list(problems[:_SHOWN])
    if len(problems) > 1:
        lines.insert(0, f"{len(problems)} {what} cannot be used:")
    if len(problems) > _SHOWN:
        lines.append(f"... and {len(problems) - _SHOWN} more.")
    raise InputError("\n".join(lines))


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


def available_cores() -> int:
    """Processors that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_one_torch_thread() -> None:
    """Leave torch one thread per operation in this thread: clips or machines run side by side."""
    import torch

    torch.set_num_threads(1)


@contextmanager
def torch_threads_restored() -> Iterator[None]:
    """Leave torch with as many threads per operation as it had before."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Leave every operation one thread: on a clip's arrays, several mostly wait for each other."""
    with threadpool_limits(1), torch_threads_restored():
        use_one_torch_thread()
        yield


def choose_device(device: str = "auto") -> torch.device:
    """Device for training and embedding: CUDA where there is one, else the CPU.

    ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` and so on; an `InputError` for one that is not
    known or not there.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = torch.device("meta")
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"device={device!r}: expected 'auto', 'cpu' or 'cuda'.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices. "
            "Use 'auto' or 'cpu'."
        )
    return chosen


def device_name(device: torch.device) -> str:
    """Name of a device for tables and provenance."""
    import torch

    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (bf16 autocast)"
    return f"CPU, {torch.get_num_threads()} threads (float32)"
