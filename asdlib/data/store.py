"""Keyed, resumable, memory-mapped arrays: what every cache of the workbook is made of.

A store is a folder named by a key that hashes everything that shaped its content::

    <cache>/<kind>/<key>/
        data.bin      rows back to back, one dtype, C order, allocated before the first write
        ids.json      the row identifiers, in order
        done.txt      one line per finished row block with its checksum, appended when written
        meta.json     settings, dtype, row shape, row lengths; written last: its presence
                      means that the store is complete

A build that is killed is taken up again: blocks that ``done.txt`` lists and whose checksum still
holds (a power cut may lose what was written last) are kept, the others are computed.

Opening compares the settings, identifiers and lengths with the key, and the rows with the
checksums of ``done.txt``: all of them up to 1 GiB (0.6 s per GiB, from memory), a random
quarter of a GiB of a larger store; :meth:`ArrayStore.verify` reads all. Nothing is pickled, so
that reading a store never runs code from it.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock

from asdlib.data.blocks import build_rows, make_folder, verify_rows
from asdlib.errors import InputError
from asdlib.files import write_atomically

#: A store up to this size is read whole when it is opened; of a larger one, this much [bytes].
_VERIFIED_WHOLE, _VERIFIED = 1 << 30, 1 << 28


def content_key(settings: Mapping[str, Any]) -> str:
    """Hash everything that shapes a content, JSON-serialisable, to 16 hexadecimal digits."""
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ArrayStore:
    """Rows of one dtype in one memory-mapped file, addressed by identifier or position.

    Attributes
    ----------
    directory : Path
        The store's folder.
    settings : dict
        What it was built with.
    ids : pandas.Index
        Unique row identifiers, in row order.
    offsets : ndarray of int64, shape (n_rows + 1,)
        Start of every row along the first axis of ``flat``.
    flat : ndarray, shape (offsets[-1], *row_shape)
        The read-only mapping itself.
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
        """Row numbers of the given identifiers.

        Raises
        ------
        InputError
            When an identifier is not in the store.
        """
        found = self.ids.get_indexer(pd.Index(ids))
        if (found < 0).any():
            missing = pd.Index(ids)[found < 0]
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
        """View of all rows as one array (n_rows, length, *row_shape), for rows of one length.

        Raises
        ------
        InputError
            When the rows have different lengths.
        """
        lengths = np.unique(np.diff(self.offsets))
        if len(lengths) != 1:
            raise InputError(f"{self.directory}: rows have {len(lengths)} lengths, expected one.")
        return self.flat.reshape(len(self), int(lengths[0]), *self.flat.shape[1:])

    def rows_key(self, ids: Sequence[str] | pd.Series) -> str:
        """Hash what the rows of these identifiers hold, in this order: 16 hexadecimal digits.

        Unlike the store's own key it does not change when other rows do. 100 MB take 0.1 s.
        """
        digest = hashlib.blake2b(f"{self.flat.dtype} {self.flat.shape[1:]}".encode(), digest_size=8)
        positions = self.positions(ids)
        for number, (clip_id, position) in enumerate(zip(ids, positions, strict=True), start=1):
            digest.update(
                f"{clip_id}\t{self.offsets[position + 1] - self.offsets[position]}\n".encode()
            )
            digest.update(np.ascontiguousarray(self.row(int(position))).data)
            if number % 64 == 0:
                self.release()
        return digest.hexdigest()

    def release(self) -> None:
        """Drop the mapped pages from memory, as after every block of a store larger than it."""
        if hasattr(self._mapping, "madvise"):
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def verify(self) -> None:
        """Compare all rows with their checksums, whatever the size; a difference is an error."""
        verify_rows(self.directory, self._starts)

    @property
    def _starts(self) -> npt.NDArray[np.int64]:
        return self.offsets * int(np.prod(self.flat.shape[1:])) * self.flat.itemsize

    def blocks(
        self, positions: npt.NDArray[np.int64], size: int
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Yield ``positions`` in runs of at most ``size``, releasing memory after each."""
        for start in range(0, len(positions), size):
            yield positions[start : start + size]
            self.release()


def open_or_build(
    root: Path,
    *,
    settings: Mapping[str, Any],
    ids: Sequence[str],
    lengths: npt.NDArray[np.int64],
    row_shape: tuple[int, ...],
    dtype: npt.DTypeLike,
    fill: Callable[[int, int, npt.NDArray[Any]], None],
    block_rows: int,
    workers: int,
    on_progress: Callable[[int], object] = lambda rows: None,
) -> ArrayStore:
    """Open the store that these settings describe; build what of it is missing.

    Parameters
    ----------
    root : Path
        Folder that holds the stores of one kind, ``<cache>/<kind>``.
    settings : mapping
        JSON-serialisable; everything that shapes the rows, the code version included.
    ids : sequence of str
        Unique row identifiers.
    lengths : ndarray of int64, shape (n_rows,)
        Length of every row along its first axis.
    row_shape : tuple of int
        Shape of the remaining axes; ``()`` for waveforms.
    dtype : dtype
        Element type on disk.
    fill : callable
        ``fill(first, last, out)`` writes rows ``first`` to ``last - 1`` into ``out``, zeros of
        the shape that they occupy in the flat array. Called from ``workers`` threads; ``out``
        must not be kept.
    block_rows : int
        Rows per call of ``fill``.
    workers : int
        Threads.
    on_progress : callable
        Called with the number of rows just finished (rows found finished come first).

    Returns
    -------
    ArrayStore

    Raises
    ------
    InputError
        When the folder cannot be written, the disk cannot hold the rows, or ``fill`` raises
        it. Finished blocks stay and the next call goes on from them.
    """
    shape = _shape(ids, lengths, row_shape, np.dtype(dtype))
    description = {"settings": dict(settings), "shape": shape}
    directory = root / content_key(description)
    if (directory / "meta.json").exists():
        on_progress(len(ids))
        return _open(directory)
    make_folder(directory)
    with FileLock(directory / "lock"):
        if (directory / "meta.json").exists():  # another process was faster
            on_progress(len(ids))
        else:
            build_rows(
                directory,
                ids,
                lengths,
                row_shape,
                np.dtype(dtype),
                fill,
                block_rows,
                workers,
                on_progress,
            )
            write_atomically(directory / "ids.json", json.dumps(list(ids)))
            write_atomically(
                directory / "meta.json",
                json.dumps({**description, "lengths": np.asarray(lengths).tolist()}, indent=1),
            )
    return _open(directory)


def _shape(
    ids: Sequence[str],
    lengths: npt.NDArray[np.int64],
    row_shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> dict[str, Any]:
    return {
        "ids": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
        "lengths": hashlib.sha256(np.asarray(lengths, "<i8").tobytes()).hexdigest(),
        "row_shape": list(row_shape),
        "dtype": dtype.str,
    }


def open_existing(directory: Path) -> ArrayStore:
    """Open a complete store by its folder; a folder that holds none raises `InputError`."""
    if not (directory / "meta.json").exists():
        raise InputError(
            f"{directory}: holds no complete store. Run the notebook that makes it again."
        )
    return _open(directory)


def _open(directory: Path) -> ArrayStore:
    remedy = f"Delete the folder {directory}."
    try:
        meta = json.loads((directory / "meta.json").read_text())
        ids = json.loads((directory / "ids.json").read_text())
        lengths = np.array(meta["lengths"], np.int64)
        settings, shape = dict(meta["settings"]), dict(meta["shape"])
        key = content_key({"settings": settings, "shape": shape})
        expected = _shape(ids, lengths, tuple(shape["row_shape"]), np.dtype(shape["dtype"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{directory}: is damaged ({error!r}). {remedy}") from error
    if key != directory.name:
        raise InputError(f"{directory}: has other settings than its name says. {remedy}")
    for name, listed_in in (("ids", "ids.json"), ("lengths", "meta.json")):
        if expected[name] != shape[name]:
            raise InputError(
                f"{directory / listed_in}: has other {name} than were written. {remedy}"
            )
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    dtype, row_shape = np.dtype(shape["dtype"]), tuple(shape["row_shape"])
    size = int(offsets[-1]) * int(np.prod(row_shape, dtype=np.int64)) * dtype.itemsize
    path = directory / "data.bin"
    if not path.exists() or path.stat().st_size != max(size, 1):
        raise InputError(f"{path}: is damaged, expected {size} bytes. {remedy}")
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    count = size // dtype.itemsize
    flat = np.frombuffer(mapping, dtype=dtype, count=count).reshape(int(offsets[-1]), *row_shape)
    store = ArrayStore(directory, settings, pd.Index(ids), offsets, flat, mapping)
    verify_rows(directory, store._starts, at_most=None if size <= _VERIFIED_WHOLE else _VERIFIED)
    return store
