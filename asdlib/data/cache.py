"""The one cache: rows computed clip by clip, and results of a whole run.

Both are keyed by the settings, the store that they were computed from (whose own key goes back to
the content of the recordings), and the version of the computation, which stands in `VERSIONS`.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Required, TypedDict, Unpack

from asdlib.base import InputError, torch_threads_restored, use_one_torch_thread, write_atomically
from asdlib.data.store import ArrayStore, content_key, open_or_build

Array = npt.NDArray[Any]
Arrays = dict[str, Array]
#: Writes what a clip gives: ``function(index, row, out)``, index into the clips.
ClipFunction = Callable[[int, Array, Array], None]

#: Version of every computation whose result is kept. It is raised whenever the same input and
#: settings give another output; ``tests/test_cache_versions.py`` fails when that was forgotten.
VERSIONS = {
    "waveforms": 1,
    "log_mel": 2,
    "frames": 1,
    "spectrum": 2,
    "average_spectra": 1,
    "profile_spectrum": 1,
    "profile_fluctuation": 1,
    "profile_lines": 3,
    "profile_envelope": 3,
    "profile_modulation": 3,
    "injected": 1,
    "families": 7,
    "checkpoint": 4,
    "embeddings": 2,
    "residuals": 3,
    "reasons": 2,
    "maps": 1,
}


class StoreOptions(TypedDict, total=False):
    """Where a store of rows clip by clip lies, and how it is filled; of all that open one."""

    cache_dir: Required[Path]  # folder of all caches
    workers: int | None  # threads, by default one per usable core
    on_progress: Callable[[int], object]  # gets the number of clips just finished


def map_clips(
    source: ArrayStore,
    clip_ids: Sequence[str],
    make_function: Callable[[], ClipFunction],
    *,
    kind: str,
    settings: Mapping[str, Any],
    lengths: int | npt.NDArray[np.int64],
    row_shape: tuple[int, ...] = (),
    dtype: npt.DTypeLike = np.float32,
    sample_rate: float | None = None,
    names: Sequence[str] | None = None,
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the store of what a function gives for every clip; compute what of it is missing.

    ``make_function`` is called once a thread (it may own buffers) and gives ``function(index, row,
    out)``, which writes clip ``index`` into zeros. ``kind`` is a key of `VERSIONS`, ``settings``
    all else that shapes rows; ``lengths`` run along their first axis. Clips stream in blocks.
    """
    positions = source.positions(clip_ids)
    for clip_id, position in zip(clip_ids, positions, strict=True):
        if not len(source.row(int(position))):
            raise InputError(f"{clip_id}: holds no samples. Remove the recording from the folder.")
    stored_rate = source.settings.get("sample_rate", sample_rate)
    if sample_rate is not None and stored_rate != sample_rate:
        raise InputError(
            f"sample_rate={sample_rate}: the waveforms in {source.directory} have {stored_rate} "
            "Hz. Use that rate, or resample when the waveforms are stored."
        )
    row_lengths = np.broadcast_to(np.asarray(lengths, np.int64), len(positions))
    owned = threading.local()

    def fill(first: int, last: int, out: Array) -> None:
        if not hasattr(owned, "function"):
            use_one_torch_thread()
            owned.function = make_function()
        start = 0
        for index in range(first, last):
            stop = start + int(row_lengths[index])
            try:
                owned.function(index, source.row(int(positions[index])), out[start:stop])
            except InputError as error:
                raise InputError(f"{clip_ids[index]}: {error}") from error
            start = stop
        source.release()

    with torch_threads_restored():
        return open_or_build(
            Path(options["cache_dir"]) / kind,
            settings={**settings, "source": source.directory.name, "version": VERSIONS[kind]},
            ids=list(clip_ids if names is None else names),
            lengths=row_lengths,
            row_shape=row_shape,
            dtype=dtype,
            fill=fill,
            workers=options.get("workers"),
            on_progress=options.get("on_progress", lambda clips: None),
        )


def join_stores(stores: Sequence[ArrayStore], **options: Unpack[StoreOptions]) -> ArrayStore:
    """Open the store of the rows of several of one kind, one after another."""
    starts = np.cumsum([0, *map(len, stores)])
    rows = np.concatenate([np.diff(store.offsets) for store in stores])

    def fill(first: int, last: int, out: Array) -> None:
        parts = []
        for start, store in zip(starts, stores, strict=False):
            own = np.clip([first - start, last - start], 0, len(store))
            parts.append(store.flat[store.offsets[own[0]] : store.offsets[own[1]]])
        np.concatenate(parts, out=out)
        for store in stores:
            store.release()

    return open_or_build(
        Path(options["cache_dir"]) / "joined",
        settings={**stores[0].settings, "joined": [store.directory.name for store in stores]},
        ids=[clip_id for store in stores for clip_id in store.ids],
        lengths=rows,
        row_shape=stores[0].flat.shape[1:],
        dtype=stores[0].flat.dtype,
        fill=fill,
        workers=options.get("workers"),
        on_progress=options.get("on_progress", lambda clips: None),
    )


def cached(
    path: Path,
    make: Callable[[], Mapping[str, npt.ArrayLike]],
    *,
    kind: str,
    settings: Mapping[str, Any],
    on_found: Callable[[], object] = lambda: None,
) -> Arrays:
    """Read the arrays of an ``.npz`` if they were made by these settings, else make and write them.

    ``kind`` is a key of `VERSIONS`, ``settings`` what shapes the arrays; a damaged file is made
    anew, and ``on_found`` is called when nothing had to be made.
    """
    made_by = json.dumps({**settings, "version": VERSIONS[kind]}, sort_keys=True)
    with suppress(InputError):
        found = read_arrays(path)
        if str(found["settings"]) == made_by:
            on_found()
            return found
    arrays = {name: np.asarray(array) for name, array in make().items()}
    arrays["settings"] = np.asarray(made_by)
    write_arrays(path, arrays)
    return arrays


def kept(
    cache_dir: Path,
    make: Callable[[], Mapping[str, npt.ArrayLike]],
    *,
    kind: str,
    settings: Mapping[str, Any],
    on_found: Callable[[], object] = lambda: None,
) -> Arrays:
    """Give the arrays of one kind that these settings lead to, `cached` under ``cache_dir``."""
    path = Path(cache_dir) / kind / f"{content_key(settings)}.npz"
    return cached(path, make, kind=kind, settings=settings, on_found=on_found)


def arrays_key(arrays: Mapping[str, npt.ArrayLike]) -> str:
    """Hash what arrays hold, by their names, to 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for name, array in arrays.items():
        values = np.ascontiguousarray(array)
        if values.dtype == object:  # texts of pandas: their bytes are addresses
            values = values.astype(np.str_)
        digest.update(f"{name}\t{values.dtype}\t{values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name to an ``.npz`` file, whole or not at all."""
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
    write_atomically(path, content.getvalue())


def read_arrays(
    path: Path, *names: str, what: str = "arrays", made_in: str = "the notebook"
) -> Arrays:
    """Read all arrays of an ``.npz`` file, ``names`` among them; nothing is unpickled.

    ``what`` it holds and the notebook it is ``made_in`` stand in the message of a missing file.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
            json.loads(str(arrays["settings"]))
            if not set(names) <= set(arrays):
                raise KeyError(*names)
            return arrays
    except FileNotFoundError as error:
        raise InputError(f"{path}: there are no {what}. Run {made_in} first.") from error
    except Exception as error:  # readers of zip and npy raise a dozen types for damaged bytes
        raise InputError(f"{path}: is damaged. Delete it and run {made_in} again.") from error
