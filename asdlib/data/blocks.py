"""Rows of a store: reserved first, written block by block, journalled; verified when read.

The layout of a store's folder is that of :mod:`asdlib.data.store`.
"""

from __future__ import annotations

import errno
import io
import os
import random
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asdlib.cores import available_cores
from asdlib.errors import InputError
from asdlib.files import write_atomically

_JOURNAL_LINE = re.compile(r"(\d+)-(\d+) ([0-9a-f]{8})")


def make_folder(directory: Path) -> None:
    """Make a store's folder with its lock file."""
    with _writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "lock").touch()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one clear error."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). "
            "Free space or choose a writable folder (--out)."
        ) from error


def build_rows(
    directory: Path,
    ids: Sequence[str],
    lengths: npt.NDArray[np.int64],
    row_shape: tuple[int, ...],
    dtype: np.dtype[Any],
    fill: Callable[[int, int, npt.NDArray[Any]], None],
    block_rows: int,
    workers: int,
    on_progress: Callable[[int], object],
) -> None:
    """Write all rows of a store, but for the blocks that an earlier build has finished.

    Parameters as of :func:`asdlib.data.store.open_or_build`; ``directory`` is the store's folder.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    row_bytes = int(np.prod(row_shape, dtype=np.int64)) * dtype.itemsize
    path, journal = directory / "data.bin", directory / "done.txt"
    _allocate(path, max(int(offsets[-1]) * row_bytes, 1))
    blocks = [(a, min(a + block_rows, len(ids))) for a in range(0, len(ids), block_rows)]
    done = _finished_blocks(directory, blocks, offsets * row_bytes)
    lines = [f"{first}-{last} {checksum}\n" for (first, last), checksum in done.items()]
    write_atomically(journal, "".join(lines))  # without what is lost or was cut otherwise
    todo = [block for block in blocks if block not in done]
    on_progress(sum(last - first for first, last in done))
    longest = max((int(offsets[last] - offsets[first]) for first, last in todo), default=0)
    buffers = threading.local()  # fresh memory for every block would cost its page faults again

    def work(block: tuple[int, int]) -> tuple[tuple[int, int], int]:
        first, last = block
        if not hasattr(buffers, "rows"):
            buffers.rows = np.empty((longest, *row_shape), dtype)
        out = buffers.rows[: offsets[last] - offsets[first]]
        out.fill(0)
        fill(first, last, out)
        with _writing(path), path.open("r+b", buffering=0) as file:
            file.seek(int(offsets[first]) * row_bytes)
            _write_all(file, out)
        return block, zlib.crc32(out)

    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        futures = [pool.submit(work, block) for block in todo]
        for future in as_completed(futures):
            (first, last), checksum = future.result()
            with _writing(journal), journal.open("a") as file:
                file.write(f"{first}-{last} {checksum:08x}\n")
            on_progress(last - first)
        with _writing(path), path.open("r+b") as data:
            os.fsync(data.fileno())
    finally:
        # An error or Ctrl-C must not wait for the blocks that nobody will use.
        pool.shutdown(wait=True, cancel_futures=True)


def _write_all(file: io.FileIO, rows: npt.NDArray[Any]) -> None:
    """Write an array; one call of an unbuffered file may write less than it was given."""
    data = rows.data.cast("B") if rows.size else memoryview(b"")
    while data:
        data = data[file.write(data) :]


def _journal(directory: Path) -> dict[tuple[int, int], str]:
    """Checksum of every block that was written, the last one where it was written again."""
    path = directory / "done.txt"
    found = {}
    for line in path.read_text(errors="replace").split("\n") if path.exists() else []:
        match = _JOURNAL_LINE.fullmatch(line)
        if match:
            found[int(match[1]), int(match[2])] = match[3]
    return found


def _finished_blocks(
    directory: Path, blocks: Sequence[tuple[int, int]], starts: npt.NDArray[np.int64]
) -> dict[tuple[int, int], str]:
    """Blocks that an earlier build has finished and that are still as it left them."""
    journal, path = _journal(directory), directory / "data.bin"
    return {
        block: journal[block]
        for block in blocks
        if block in journal and journal[block] == _checksum(path, block, starts)
    }


def _checksum(path: Path, block: tuple[int, int], starts: npt.NDArray[np.int64]) -> str:
    first, last = (int(starts[row]) for row in block)
    with path.open("rb") as file:
        file.seek(first)
        return f"{zlib.crc32(file.read(last - first)):08x}"


def verify_rows(
    directory: Path, starts: npt.NDArray[np.int64], *, at_most: int | None = None
) -> None:
    """Compare the rows of a complete store, which start at these bytes, with its journal.

    With ``at_most``, blocks of about so many bytes, chosen at random, are read.
    """
    remedy = f"Delete the folder {directory}."
    journal, path = _journal(directory), directory / "data.bin"
    blocks = sorted(journal)
    edges = [0, *(last for _, last in blocks)]
    if [first for first, _ in blocks] != edges[:-1] or edges[-1] != len(starts) - 1:
        raise InputError(f"{directory / 'done.txt'}: does not list every block once. {remedy}")
    if at_most is not None:
        count = int(np.ceil(at_most / int(starts[-1]) * len(blocks)))
        blocks = random.sample(blocks, min(count, len(blocks)))
    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(lambda block: _checksum(path, block, starts), blocks)
        for (first, last), checksum in zip(blocks, found, strict=True):
            if checksum != journal[first, last]:
                raise InputError(f"{path}: is damaged in rows {first} to {last - 1}. {remedy}")


def _allocate(path: Path, size: int) -> None:
    """Reserve the whole file, so that a full disk is met here and not in the middle."""
    if path.exists() and path.stat().st_size == size:
        return
    path.with_name("done.txt").unlink(missing_ok=True)
    try:
        with path.open("wb") as file:
            _reserve(file, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise InputError(
            f"{path}: needs {size / 2**30:.2f} GiB ({error.strerror}). "
            "Free space or choose another folder (--out)."
        ) from error


def _reserve(file: io.BufferedWriter, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    file.truncate(size)  # a file system that cannot reserve
