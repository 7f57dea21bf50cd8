"""Keyed, resumable, memory-mapped arrays: what every cache of the workbook is made of.

A store is a folder named by a key that hashes everything that shaped its content::

    <cache>/<kind>/<key>/
        data.bin      rows back to back, one dtype, C order, allocated before the first write
        ids.json      the row identifiers, in order
        done.txt      one line per finished row block with its checksum, appended when written
        meta.json     settings, dtype, row shape, row lengths; written last, so all is there

Of a build that was killed, blocks whose checksum holds are kept. Opening compares the settings,
identifiers and lengths with the key, and the rows with their checksums (0.6 s per GiB, from
memory). Nothing is pickled: reading a store never runs code.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import random
import re
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock

from asdlib.base import InputError, available_cores, reserve, write_atomically, writing

#: A store up to this size is read whole when it is opened; of a larger one, this much [bytes].
_VERIFIED_WHOLE, _VERIFIED = 1 << 30, 1 << 28
_BLOCK_BYTES, _BLOCK_ROWS = 4 << 20, 32
_JOURNAL_LINE = re.compile(r"(\d+)-(\d+) ([0-9a-f]{8})")
_Block = tuple[int, int]  # first row, row after the last


def content_key(settings: Mapping[str, Any]) -> str:
    """Hash everything that shapes a content, JSON-serialisable, to 16 hexadecimal digits."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ArrayStore:
    """Rows of one dtype in one memory-mapped file, addressed by identifier or position.

    ``directory`` is the store's folder, ``settings`` what it was built with, ``ids`` the unique row
    identifiers in order, ``offsets`` (int64, n_rows + 1) the start of every row along the first
    axis of ``flat`` (offsets[-1], *row_shape), the read-only mapping itself.
    """

    directory: Path
    settings: dict[str, Any]
    ids: pd.Index
    offsets: npt.NDArray[np.int64]
    flat: npt.NDArray[Any]
    _mapping: mmap.mmap

    def __len__(self) -> int:
        return len(self.ids)

    def positions(self, ids: Sequence[str] | pd.Series) -> npt.NDArray[np.int64]:
        """Row numbers of the given identifiers; one that the store lacks raises `InputError`."""
        found = self.ids.get_indexer(pd.Index(ids))
        missing = pd.Index(ids)[found < 0]
        if len(missing):
            raise InputError(
                f"{self.directory}: holds no row for {len(missing)} clips, the first is "
                f"{missing[0]}. Build the store from the same clip table."
            )
        return found.astype(np.int64)

    def row(self, position: int) -> npt.NDArray[Any]:
        """View of one row, shape (length, *row_shape)."""
        return self.flat[self.offsets[position] : self.offsets[position + 1]]

    def row_of(self, clip_id: str) -> npt.NDArray[Any]:
        """View of the row of one clip."""
        return self.row(int(self.positions([clip_id])[0]))

    def fixed(self) -> npt.NDArray[Any]:
        """View of all rows as one array (n_rows, length, *row_shape); other lengths are refused."""
        lengths = np.unique(np.diff(self.offsets))
        if len(lengths) != 1:
            raise InputError(f"{self.directory}: rows have {len(lengths)} lengths, expected one.")
        return self.flat.reshape(len(self), int(lengths[0]), *self.flat.shape[1:])

    def rows_key(self, ids: Sequence[str] | pd.Series) -> str:
        """Hash what the rows of these identifiers hold, in this order (100 MB take 0.1 s)."""
        digest = hashlib.blake2b(f"{self.flat.dtype} {self.flat.shape[1:]}".encode(), digest_size=8)
        positions = self.positions(ids)
        for number, (clip_id, position) in enumerate(zip(ids, positions, strict=True), start=1):
            row = self.row(int(position))
            digest.update(f"{clip_id}\t{len(row)}\n".encode())
            digest.update(np.ascontiguousarray(row).data)
            if number % 64 == 0:
                self.release()
        return digest.hexdigest()

    def release(self) -> None:
        """Drop the mapped pages from memory, as after every block of a store larger than it."""
        if hasattr(self._mapping, "madvise"):
            self._mapping.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class _Rows:
    """Which rows a store has, and where they lie."""

    ids: Sequence[str]
    lengths: npt.NDArray[np.int64]
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @cached_property
    def offsets(self) -> npt.NDArray[np.int64]:
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    @cached_property
    def starts(self) -> npt.NDArray[np.int64]:
        """Start of every row in the file, and the end of the last [bytes]."""
        return self.offsets * int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize

    def description(self) -> dict[str, Any]:
        return {
            "ids": hashlib.sha256("\n".join(self.ids).encode()).hexdigest(),
            "lengths": hashlib.sha256(np.asarray(self.lengths, "<i8").tobytes()).hexdigest(),
            "row_shape": list(self.row_shape),
            "dtype": self.dtype.str,
        }

    def checksum(self, path: Path, block: _Block) -> str:
        start, stop = (int(self.starts[row]) for row in block)
        with path.open("rb") as file:
            file.seek(start)
            return f"{zlib.crc32(file.read(stop - start)):08x}"


def open_or_build(
    root: Path,
    *,
    settings: Mapping[str, Any],
    ids: Sequence[str],
    lengths: npt.NDArray[np.int64],
    row_shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    fill: Callable[[int, int, npt.NDArray[Any]], None],
    block_rows: int | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda rows: None,
) -> ArrayStore:
    """Open the store that these settings describe; build what of it is missing.

    ``root`` holds the stores of one kind; ``settings`` (JSON-serialisable) are all that shapes the
    rows, the version of the code included; row i has the shape ``(lengths[i], *row_shape)``.
    ``fill(first, last, out)``, called from ``workers`` threads, writes ``block_rows`` rows into
    ``out``, zeros as they lie in the flat array, which must not be kept. ``on_progress`` gets the
    number of rows just finished. A full disk raises `InputError`; finished blocks stay.
    """
    rows = _Rows(ids, lengths, row_shape, np.dtype(dtype))
    description = {"settings": dict(settings), "shape": rows.description()}
    directory = root / content_key(description)
    is_complete = (directory / "meta.json").exists
    if not is_complete():
        with writing(directory):
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "lock").touch()
        with FileLock(directory / "lock"):
            if not is_complete():  # another process may have been faster
                longest = int(np.diff(rows.starts).max(initial=1))
                block_rows = block_rows or min(max(1, _BLOCK_BYTES // longest), _BLOCK_ROWS)
                _build(directory, rows, fill, block_rows, workers or available_cores(), on_progress)
                write_atomically(directory / "ids.json", json.dumps(list(ids)))
                meta = {**description, "lengths": np.asarray(lengths).tolist()}
                write_atomically(directory / "meta.json", json.dumps(meta, indent=1))
                return open_existing(directory)
    on_progress(len(ids))
    return open_existing(directory)


def open_existing(directory: Path) -> ArrayStore:
    """Open a complete store by its folder; one that holds none or is damaged is refused."""
    if not (directory / "meta.json").exists():
        raise InputError(
            f"{directory}: holds no complete store. Run the notebook that makes it again."
        )
    remedy = f"Delete the folder {directory}."
    try:
        meta = json.loads((directory / "meta.json").read_text())
        ids = json.loads((directory / "ids.json").read_text())
        settings, shape = dict(meta["settings"]), meta["shape"]
        lengths = np.array(meta["lengths"], np.int64)
        rows = _Rows(ids, lengths, tuple(shape["row_shape"]), np.dtype(shape["dtype"]))
        key = content_key({"settings": settings, "shape": rows.description()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{directory}: is damaged ({error!r}). {remedy}") from error
    if key != directory.name:
        raise InputError(
            f"{directory}: has other settings, ids or lengths than its name says. {remedy}"
        )
    path, size = directory / "data.bin", int(rows.starts[-1])
    if not path.exists() or path.stat().st_size != max(size, 1):
        raise InputError(f"{path}: is damaged, expected {size} bytes. {remedy}")
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    flat = np.frombuffer(mapping, rows.dtype, count=size // rows.dtype.itemsize)
    flat = flat.reshape(int(rows.offsets[-1]), *rows.row_shape)
    _verify(directory, rows, remedy)
    return ArrayStore(directory, settings, pd.Index(ids), rows.offsets, flat, mapping)


def _build(
    directory: Path,
    rows: _Rows,
    fill: Callable[[int, int, npt.NDArray[Any]], None],
    block_rows: int,
    workers: int,
    on_progress: Callable[[int], object],
) -> None:
    """Write all rows of a store, but for the blocks that an earlier build has finished."""
    path, journal, n_rows = directory / "data.bin", directory / "done.txt", len(rows.ids)
    size = max(int(rows.starts[-1]), 1)
    if not path.exists() or path.stat().st_size != size:
        journal.unlink(missing_ok=True)
        reserve(path, size)  # so that a full disk is met here and not in the middle
    blocks = [(a, min(a + block_rows, n_rows)) for a in range(0, n_rows, block_rows)]
    listed = _journal(directory)
    done = {b: listed[b] for b in blocks if b in listed and listed[b] == rows.checksum(path, b)}
    lines = [f"{first}-{last} {checksum}\n" for (first, last), checksum in done.items()]
    write_atomically(journal, "".join(lines))  # without what is lost or was cut otherwise
    todo = [block for block in blocks if block not in done]
    on_progress(sum(last - first for first, last in done))
    longest = max((int(rows.offsets[b] - rows.offsets[a]) for a, b in todo), default=0)
    buffers = threading.local()  # fresh memory for every block would cost its page faults again

    def work(block: _Block) -> tuple[_Block, int]:
        first, last = block
        if not hasattr(buffers, "rows"):
            buffers.rows = np.empty((longest, *rows.row_shape), rows.dtype)
        out = buffers.rows[: rows.offsets[last] - rows.offsets[first]]
        out.fill(0)
        fill(first, last, out)
        with writing(path), path.open("r+b") as file:
            file.seek(int(rows.starts[first]))
            file.write(out)
        return block, zlib.crc32(out)

    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for future in as_completed([pool.submit(work, block) for block in todo]):
            (first, last), checksum = future.result()
            with writing(journal), journal.open("a") as file:
                file.write(f"{first}-{last} {checksum:08x}\n")
            on_progress(last - first)
        with writing(path), path.open("r+b") as data:
            os.fsync(data.fileno())
    finally:
        # An error or Ctrl-C must not wait for the blocks that nobody will use.
        pool.shutdown(wait=True, cancel_futures=True)


def _journal(directory: Path) -> dict[_Block, str]:
    """Checksum of every block that was written, the last one where it was written again."""
    path = directory / "done.txt"
    lines = path.read_text(errors="replace").split("\n") if path.exists() else []
    found = (match for line in lines if (match := _JOURNAL_LINE.fullmatch(line)))
    return {(int(match[1]), int(match[2])): match[3] for match in found}


def _verify(directory: Path, rows: _Rows, remedy: str) -> None:
    """Compare the rows of a complete store with its journal; of a large one a random part."""
    journal, path, size = _journal(directory), directory / "data.bin", int(rows.starts[-1])
    blocks = sorted(journal)
    edges = [0, *(last for _, last in blocks)]
    if [first for first, _ in blocks] != edges[:-1] or edges[-1] != len(rows.ids):
        raise InputError(f"{directory / 'done.txt'}: does not list every block once. {remedy}")
    if size > _VERIFIED_WHOLE:
        count = int(np.ceil(_VERIFIED / size * len(blocks)))
        blocks = random.sample(blocks, min(count, len(blocks)))
    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(lambda block: rows.checksum(path, block), blocks)
        for (first, last), checksum in zip(blocks, found, strict=True):
            if checksum != journal[first, last]:
                raise InputError(f"{path}: is damaged in rows {first} to {last - 1}. {remedy}")
