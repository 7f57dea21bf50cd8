"""The waveform store: every clip decoded once, 16-bit mono of one rate, memory-mapped."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from typing_extensions import Unpack

from asdlib.base import InputError, available_cores, raise_problems, reading
from asdlib.data import audio
from asdlib.data.cache import VERSIONS, StoreOptions
from asdlib.data.store import ArrayStore, open_or_build

_BLOCK_SAMPLES = 1 << 20
#: Floating point that stays below [full scale] would be a few steps of 16 bits.
_TOO_QUIET = 2.0**-10
_SILENT_SPAN = 2  # [quantisation steps] a clip that never moves further holds no sound


def open_waveforms(
    clips: pd.DataFrame,
    *,
    sample_rate: int = 16000,
    resample: bool = False,
    channel: int | str | None = None,
    scale: float | None = None,
    on_remark: Callable[[str], object] = lambda line: None,
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the samples of all clips of `asdlib.data.read_clips`, decoding what is not decoded yet.

    The store below ``cache_dir`` is keyed by what every file holds, so that an edited file is
    decoded again. Its rows, int16 of shape (n_samples,), each of its clip's own length, full scale
    32768, are identified by ``clip_id``. 16-bit PCM is kept bit for bit; silent and clipped clips
    are kept, see `defects`.

    Of files with several channels ``channel`` (from 0, or "mean") is taken; files of another
    ``sample_rate`` [Hz] are an error unless ``resample``. ``scale`` multiplies floating-point
    recordings, by default `common_scale`; ``on_remark`` is called with a line where they are
    scaled. ``options`` are `asdlib.data.cache.StoreOptions`. `InputError` when a clip is missing,
    stereo, empty, of another rate, holds NaN, or the cache cannot be written.
    """
    if clips.empty:
        raise InputError("The clip table is empty. Choose machines that have clips.")
    if (is_second := clips["clip_id"].duplicated()).any():
        twice = clips.loc[is_second, "clip_id"].iloc[0]
        raise InputError(f"{twice}: stands twice in the clip table.")
    decoding: dict[str, Any] = {"sample_rate": sample_rate, "resample": resample}
    decoding["channel"] = channel
    raise_problems(format_problems(clips, **decoding), what="kinds of recordings")
    paths = clips["path"].astype(str).tolist()
    kinds = zip(clips["n_samples"], clips["sample_rate"], strict=True)
    lengths = np.array(
        [audio.resampled_length(n, rate, sample_rate) for n, rate in kinds], np.int64
    )
    starts = np.rint(clips["start_s"] * clips["sample_rate"]).astype(int).tolist()
    # Of a whole recording all is read, so that one that has grown since is noticed.
    is_window = clips["clip_id"].astype(str).str.contains(r"@[0-9]+\.[0-9]s\.wav$")
    counts = [n if cut else None for n, cut in zip(clips["n_samples"], is_window, strict=True)]
    workers = options.get("workers")
    if scale is None:
        scale = common_scale(list(dict.fromkeys(paths)), workers=workers)
        if scale != 1:
            on_remark(f"Recordings in a physical unit: all are multiplied by {scale:g}.")

    def fill(first: int, last: int, out: npt.NDArray[Any]) -> None:
        place = 0
        for row in range(first, last):
            part = {"start": starts[row], "n_samples": counts[row]}
            samples = audio.read_mono(paths[row], scale=scale, **decoding, **part)
            if len(samples) != lengths[row]:
                raise InputError(f"{paths[row]}: changed since the clip table was read. Run again.")
            out[place : place + len(samples)] = samples
            place += len(samples)

    shaping = {**decoding, "scale": scale, "files": content_hash(clips, workers=workers)}
    return open_or_build(
        Path(options["cache_dir"]) / "waveforms",
        settings={**shaping, "version": VERSIONS["waveforms"]},
        ids=clips["clip_id"].astype(str).tolist(),
        lengths=lengths,
        row_shape=(),
        dtype="<i2",
        fill=fill,
        workers=workers,
        on_progress=options.get("on_progress", lambda clips: None),
    )


def common_scale(paths: Sequence[str | Path], *, workers: int | None = None) -> float:
    """Find one factor that brings floating-point recordings of a data folder to full scale.

    1 where all lie within it; else (a physical unit, peaks of 12 g) the power of two that does, so
    that ratios stay. Such a unit beside integer samples is refused.
    """
    with ThreadPoolExecutor(workers or available_cores()) as pool:
        found = list(pool.map(_float_peak, paths))
    peaks = {path: peak for path, peak in zip(paths, found, strict=True) if peak is not None}
    loudest = max(peaks, key=lambda path: peaks[path], default=None)
    if loudest is None or _TOO_QUIET <= peaks[loudest] <= audio.A_HAIR_ABOVE or not peaks[loudest]:
        return 1.0
    if len(peaks) < len(paths):
        if peaks[loudest] < _TOO_QUIET:
            return 1.0
        integer = next(path for path, peak in zip(paths, found, strict=True) if peak is None)
        raise InputError(
            f"{loudest}: reaches {peaks[loudest]:.4g}, which is a physical unit, and {integer} "
            "has integer samples. Bring them to one scale."
        )
    return 2.0 ** -math.ceil(math.log2(peaks[loudest]))


def _float_peak(path: str | Path) -> float | None:
    """Largest magnitude of a floating-point file [full scale]; None for other encodings."""
    with audio.opened(Path(path)) as (sound, header):
        if header.subtype not in audio.FLOATS:
            return None
        blocks = sound.blocks(max(1, _BLOCK_SAMPLES // header.channels), dtype="float64")
        return max((float(np.abs(x[np.isfinite(x)]).max(initial=0.0)) for x in blocks), default=0.0)


def content_hash(clips: pd.DataFrame, *, workers: int | None = None) -> str:
    """SHA-256 of the files of a clip table by what they hold, byte for byte, and their clips.

    All bytes are read: 1000 clips of 10 s take 0.7 s of a core once they are in memory.
    """
    digest, files = hashlib.sha256(), clips["path"].drop_duplicates()
    with ThreadPoolExecutor(workers or available_cores()) as pool:
        contents = dict(zip(files, pool.map(file_digest, files), strict=True))
    columns = clips[["clip_id", "path", "start_s"]]
    for clip_id, path, start_s in columns.itertuples(index=False):
        place = f"\t{start_s!r}" if start_s else ""
        digest.update(f"{clip_id}\t{contents[path]}{place}\n".encode())
    return digest.hexdigest()


def file_digest(path: str) -> str:
    """Hash what a file holds; refuses one that cannot be read."""
    digest, buffer = hashlib.blake2b(digest_size=16), bytearray(1 << 18)
    with reading(Path(path)), Path(path).open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
    return digest.hexdigest()


def defects(waveforms: ArrayStore) -> pd.DataFrame:
    """Measure what may be wrong with every clip of a store of `open_waveforms`, in a stream.

    One row per clip: ``clip_id``; ``is_silent`` (the samples span at most 2 quantisation steps);
    ``clipped_fraction`` of samples at either end of the 16-bit range, 0 to 1; ``dc_offset``, the
    mean relative to full scale, -1 to 1; ``peak_db`` and ``rms_db`` relative to full scale [dB],
    ``-inf`` where all samples are 0.
    """
    rows = []
    for position, clip_id in enumerate(waveforms.ids):
        samples = waveforms.row(position)
        lowest, highest = int(samples.min()), int(samples.max())
        clipped = np.count_nonzero(
            (samples == -audio.FULL_SCALE) | (samples == audio.FULL_SCALE - 1)
        )
        floats = samples.astype(np.float32) / audio.FULL_SCALE
        peak = max(-lowest, highest) / audio.FULL_SCALE
        rms = float(np.sqrt(np.mean(floats * floats, dtype=np.float64)))
        rows.append(
            {
                "clip_id": clip_id,
                "is_silent": highest - lowest <= _SILENT_SPAN,
                "clipped_fraction": clipped / len(samples),
                "dc_offset": float(floats.mean(dtype=np.float64)),
                "peak_db": 20 * math.log10(peak) if peak else -math.inf,
                "rms_db": 20 * math.log10(rms) if rms else -math.inf,
            }
        )
        if position % 64 == 63:
            waveforms.release()
    return pd.DataFrame(rows)


def format_problems(clips: pd.DataFrame, **wanted: Any) -> list[str]:
    """Say which recordings have other rates or channels than are ``wanted`` (`misfits`).

    A line each: how many have it, and the first.
    """
    found: dict[str, list[str]] = {}
    files = clips.drop_duplicates("path")[["recording", "channels", "sample_rate"]]
    for recording, channels, rate in files.itertuples(index=False):
        for misfit in audio.misfits(channels, rate, **wanted):
            found.setdefault(misfit, []).append(recording)
    return [
        f"{len(own)} recordings {misfit} (the first is {own[0]})." for misfit, own in found.items()
    ]
