"""The samples of one recording as 16-bit mono, and one scale for all of a folder."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from asdlib.cores import available_cores
from asdlib.data.headers import Header, opened
from asdlib.errors import InputError

FULL_SCALE = 32768
#: Level of a band that a high-pass took away [dB], whatever the clip: far below every level that
#: was measured, also after noise was raised and added.
REMOVED_DB = -1000.0
#: Value of ``channel`` that stands for the mean of all channels.
MEAN = "mean"
_FLOATS = ("FLOAT", "DOUBLE")
_BLOCK_SAMPLES = 1 << 20
#: Floating point up to here [full scale] is limited to full scale, 0.09 dB at most.
_A_HAIR_ABOVE = 1.01
#: Floating point that stays below [full scale] would be a few steps of 16 bits.
_TOO_QUIET = 2.0**-10


def read_mono(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    resample: bool = False,
    channel: int | str | None = None,
    scale: float = 1.0,
    start: int = 0,
    n_samples: int | None = None,
) -> npt.NDArray[np.int16]:
    """Decode a recording, or ``n_samples`` frames of it from ``start`` on, to 16-bit mono.

    16-bit PCM comes back bit for bit, floating point times ``scale`` (`common_scale`), rounded.
    With ``resample`` another rate [Hz] is converted, overshoots limited; else it is refused.
    """
    path = Path(path)
    with opened(path) as (file, header):
        _check_format(path, header, sample_rate, resample, channel)
        count = header.n_samples - start if n_samples is None else n_samples
        if start + count > header.n_samples:
            raise InputError(f"{path}: became shorter since the clip table was read. Run again.")
        frames = _decode(file, header, path, start, count)
    if len(frames) != count:
        raise InputError(
            f"{path}: is truncated, its header announces {header.n_samples} samples and "
            f"{start + len(frames)} are there. Copy or download it again."
        )
    if header.subtype in _FLOATS:
        frames *= scale
    is_integer = frames.dtype == np.int16
    if not is_integer:
        _check_levels(path, header, frames)
    only = int(channel) if isinstance(channel, int) and header.channels > 1 else 0
    mono = frames.mean(axis=1) if channel == MEAN else frames[:, only]
    mono = mono.round().astype(np.int16) if is_integer else _to_int16(mono)
    if header.sample_rate == sample_rate:
        return mono
    from scipy.signal import resample_poly

    divisor = int(np.gcd(header.sample_rate, sample_rate))
    up, down = sample_rate // divisor, header.sample_rate // divisor
    return _to_int16(resample_poly(mono.astype(np.float64) / FULL_SCALE, up, down))


def common_scale(paths: Sequence[str | Path], *, workers: int | None = None) -> float:
    """Find one factor that brings floating-point recordings of a data folder to full scale.

    1 where all lie within it; else (a physical unit, peaks of 12 g) the power of two that does, so
    that ratios stay. Such a unit beside integer samples is refused.
    """
    with ThreadPoolExecutor(workers or available_cores()) as pool:
        found = list(pool.map(_float_peak, paths))
    peaks = {path: peak for path, peak in zip(paths, found, strict=True) if peak is not None}
    loudest = max(peaks, key=lambda path: peaks[path], default=None)
    if loudest is None or _TOO_QUIET <= peaks[loudest] <= _A_HAIR_ABOVE or not peaks[loudest]:
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


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Length after resampling, ``ceil(n_samples * to_rate / from_rate)`` [samples]."""
    return -(-n_samples * to_rate // from_rate)


def _check_format(
    path: Path, header: Header, sample_rate: int, resample: bool, channel: int | str | None
) -> None:
    """Refuse a file whose header does not fit what was asked for; one channel always does."""
    if header.n_samples == 0:
        raise InputError(f"{path}: holds no samples. Remove the file.")
    if channel is None and header.channels != 1:
        raise InputError(
            f"{path}: has {header.channels} channels, expected 1. Name the one to use (channel, "
            "from 0) or take their mean."
        )
    if isinstance(channel, int) and header.channels > 1 and not 0 <= channel < header.channels:
        raise InputError(
            f"{path}: has {header.channels} channels, so that channel {channel} does not exist. "
            f"Choose one from 0 to {header.channels - 1}."
        )
    if header.sample_rate != sample_rate and not resample:
        raise InputError(
            f"{path}: is sampled at {header.sample_rate} Hz, expected {sample_rate} Hz. "
            "Convert the file or ask for resampling (resample)."
        )


def _decode(file: BinaryIO, header: Header, path: Path, start: int, count: int) -> npt.NDArray[Any]:
    """Frames (count, channels): int16 of 16-bit PCM, else float64 where full scale is 1."""
    import soundfile

    source: Path | io.BytesIO = path
    layout: dict[str, Any] = {}
    if header.data_offset:
        file.seek(header.data_offset + start * header.frame_bytes)
        source, start = io.BytesIO(file.read(count * header.frame_bytes)), 0
        layout = {"format": "RAW", "subtype": header.subtype, "channels": header.channels,
                  "samplerate": header.sample_rate, "endian": "LITTLE"}  # fmt: skip
    dtype = "int16" if header.subtype == "PCM_16" else "float64"
    try:
        with soundfile.SoundFile(source, **layout) as sound:
            if start:
                sound.seek(start)
            return sound.read(count, dtype=dtype, always_2d=True)  # type: ignore[no-any-return]
    except (soundfile.LibsndfileError, MemoryError) as error:
        raise InputError(
            f"{path}: cannot be decoded ({error}). Convert it to 16-bit PCM wav."
        ) from error


def _check_levels(path: Path, header: Header, frames: npt.NDArray[Any]) -> None:
    if bad := np.count_nonzero(~np.isfinite(frames)):
        raise InputError(
            f"{path}: holds {bad} samples that are NaN or infinite. Mend or remove the file."
        )
    peak = float(np.abs(frames).max(initial=0.0)) if header.subtype in _FLOATS else 0.0
    if peak > _A_HAIR_ABOVE:
        raise InputError(
            f"{path}: reaches {peak:.4g}, expected samples between -1 and 1. Scale the file."
        )


def _float_peak(path: str | Path) -> float | None:
    """Largest magnitude of a floating-point file [full scale]; None for other encodings."""
    with opened(Path(path)) as (file, header):
        if header.subtype not in _FLOATS:
            return None
        peak, block = 0.0, max(1, _BLOCK_SAMPLES // header.channels)
        for start in range(0, header.n_samples, block):
            count = min(block, header.n_samples - start)
            frames = np.abs(_decode(file, header, Path(path), start, count))
            peak = max(peak, float(frames[np.isfinite(frames)].max(initial=0.0)))
    return peak


def _to_int16(floats: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(floats * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
