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
from asdlib.data.headers import SUBTYPES, Header, parse_header, read_header
from asdlib.errors import InputError

FULL_SCALE = 32768
#: Level of a band that a high-pass took away [dB], whatever the clip: far below every level that
#: was measured, also after noise was raised and added.
REMOVED_DB = -1000.0
_FLOATS = ("FLOAT", "DOUBLE")
#: Encodings of wav files that numpy reads as they lie there.
_PLAIN = {"PCM_16": "<i2", "FLOAT": "<f4", "DOUBLE": "<f8"}
#: Value of ``channel`` that stands for the mean of all channels.
MEAN = "mean"
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
    try:
        with path.open("rb", buffering=1024) as file:
            header = parse_header(file, path)
            check_format(
                path,
                channels=header.channels,
                rate=header.sample_rate,
                n_samples=header.n_samples,
                sample_rate=sample_rate,
                resample=resample,
                channel=channel,
            )
            count = header.n_samples - start if n_samples is None else n_samples
            if start + count > header.n_samples:
                raise InputError(
                    f"{path}: became shorter since the clip table was read. Run again."
                )
            if header.subtype == "PCM_16" and header.data_offset is not None:
                mono = _one_channel(_read_plain(file, header, path, start, count), channel)
            else:
                floats = _read_floats(file, header, path, scale, start, count)
                mono = _to_int16(_one_channel(floats, channel))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    if header.sample_rate == sample_rate:
        return np.ascontiguousarray(mono)
    return _resample(mono, header.sample_rate, sample_rate)


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


def check_format(
    path: str | Path,
    *,
    channels: int,
    rate: int,
    n_samples: int,
    sample_rate: int,
    resample: bool,
    channel: int | str | None,
) -> None:
    """Refuse a file whose header does not fit what was asked for; one channel always does."""
    if n_samples == 0:
        raise InputError(f"{path}: holds no samples. Remove the file.")
    if channel is None and channels != 1:
        raise InputError(
            f"{path}: has {channels} channels, expected 1. Name the one to use (channel, from 0) "
            "or take their mean."
        )
    if isinstance(channel, int) and channels > 1 and not 0 <= channel < channels:
        raise InputError(
            f"{path}: has {channels} channels, so that channel {channel} does not exist. "
            f"Choose one from 0 to {channels - 1}."
        )
    if rate != sample_rate and not resample:
        raise InputError(
            f"{path}: is sampled at {rate} Hz, expected {sample_rate} Hz. "
            "Convert the file or ask for resampling (resample)."
        )


def _one_channel(frames: npt.NDArray[Any], channel: int | str | None) -> npt.NDArray[Any]:
    """Take a channel of frames (n, channels), or the mean of all; the only one where it is one."""
    if channel == MEAN:
        mean: npt.NDArray[Any] = frames.mean(axis=1)
        return mean if frames.dtype.kind == "f" else np.rint(mean).astype(frames.dtype)
    return frames[:, int(channel or 0) if frames.shape[1] > 1 else 0]


def _read_plain(
    file: BinaryIO, header: Header, path: Path, start: int, count: int
) -> npt.NDArray[Any]:
    frames = np.empty((count, header.channels), _PLAIN[header.subtype])
    file.seek((header.data_offset or 0) + start * header.channels * frames.itemsize)
    if file.readinto(frames.data.cast("B")) != frames.nbytes:  # type: ignore[attr-defined]
        raise InputError(f"{path}: became shorter while it was read. Run again.")
    return frames


def _read_floats(
    file: BinaryIO, header: Header, path: Path, scale: float, start: int, count: int
) -> npt.NDArray[np.float64]:
    """Decode to floating point, where full scale is 1."""
    frames = _decode(file, header, path, start, count).astype(np.float64, copy=False)
    if len(frames) != count:
        raise InputError(
            f"{path}: is truncated, its header announces {header.n_samples} samples and "
            f"{start + len(frames)} are there. Copy or download it again."
        )
    if not np.isfinite(frames).all():
        bad = np.count_nonzero(~np.isfinite(frames))
        raise InputError(
            f"{path}: holds {bad} samples that are NaN or infinite. Mend or remove the file."
        )
    if header.subtype not in _FLOATS:
        return frames
    frames *= scale
    peak = float(np.abs(frames).max(initial=0.0))
    if peak > _A_HAIR_ABOVE:
        raise InputError(
            f"{path}: reaches {peak:.4g}, expected samples between -1 and 1. Scale the file."
        )
    return frames


def _decode(file: BinaryIO, header: Header, path: Path, start: int, count: int) -> npt.NDArray[Any]:
    import soundfile

    if header.data_offset is not None and header.subtype in _FLOATS:
        return _read_plain(file, header, path, start, count)
    source: Path | io.BytesIO = path
    layout: dict[str, Any] = {}
    if header.data_offset is not None:
        bits = next(bits for (_, bits), name in SUBTYPES.items() if name == header.subtype)
        frame_bytes = header.channels * bits // 8
        file.seek(header.data_offset + start * frame_bytes)
        source, start = io.BytesIO(file.read(count * frame_bytes)), 0
        layout = {
            "format": "RAW",
            "subtype": header.subtype,
            "channels": header.channels,
            "samplerate": header.sample_rate,
            "endian": "LITTLE",
        }
    try:
        with soundfile.SoundFile(source, **layout) as sound:
            if start:
                sound.seek(start)
            return sound.read(count, dtype="float64", always_2d=True)  # type: ignore[no-any-return]
    except (soundfile.LibsndfileError, MemoryError) as error:
        raise InputError(
            f"{path}: cannot be decoded ({error}). Convert it to 16-bit PCM wav."
        ) from error


def _float_peak(path: str | Path) -> float | None:
    """Largest magnitude of a floating-point file [full scale]; None for other encodings."""
    header = read_header(path)
    if header.subtype not in _FLOATS:
        return None
    peak, block = 0.0, max(1, _BLOCK_SAMPLES // header.channels)
    with Path(path).open("rb") as file:
        for start in range(0, header.n_samples, block):
            count = min(block, header.n_samples - start)
            frames = np.abs(_decode(file, header, Path(path), start, count))
            peak = max(peak, float(frames[np.isfinite(frames)].max(initial=0.0)))
    return peak


def _resample(mono: npt.NDArray[np.int16], from_rate: int, to_rate: int) -> npt.NDArray[np.int16]:
    from scipy.signal import resample_poly

    divisor = int(np.gcd(from_rate, to_rate))
    floats = mono.astype(np.float64) / FULL_SCALE
    return _to_int16(resample_poly(floats, to_rate // divisor, from_rate // divisor))


def _to_int16(floats: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(floats * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
