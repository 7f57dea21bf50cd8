"""One wav file: what its header says, and its samples as 16-bit mono."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError

FULL_SCALE = 32768
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_BITS = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}


@dataclass(frozen=True)
class WavHeader:
    """Header of a wav file whose sound is complete.

    Attributes
    ----------
    is_float : bool
        IEEE floating point; otherwise integer PCM.
    bits : int
        Bits per sample of one channel.
    channels : int
        Number of channels.
    sample_rate : int
        Frames per second [Hz].
    n_samples : int
        Frames.
    data_offset : int
        Position of the first frame in the file [bytes].
    """

    is_float: bool
    bits: int
    channels: int
    sample_rate: int
    n_samples: int
    data_offset: int


def read_header(path: str | Path) -> WavHeader:
    """Read the header of a wav file without its sound.

    Raises
    ------
    InputError
        When the file is missing, empty, truncated, not a wav, or compressed.
    """
    path = Path(path)
    try:
        with path.open("rb", buffering=1024) as file:
            return _read_header(file, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def read_mono(
    path: str | Path,
    *,
    sample_rate: int = 16000,
    resample: bool = False,
    channel: int | None = None,
) -> npt.NDArray[np.int16]:
    """Decode a wav file to 16-bit mono.

    16-bit PCM comes back bit for bit; every other encoding is rounded to 16 bits.

    Parameters
    ----------
    path : path
        The wav file.
    sample_rate : int
        The rate asked for [Hz].
    resample : bool
        Whether a file of another rate is resampled (polyphase filter; overshoots are limited
        to full scale); otherwise it is an error.
    channel : int, optional
        Channel to take, from 0; needed where a file has several.

    Returns
    -------
    ndarray of int16, shape (n_samples,)
        Full scale is 32768.

    Raises
    ------
    InputError
        When the file cannot be used as it is; the message says why.
    """
    path = Path(path)
    try:
        with path.open("rb", buffering=1024) as file:
            header = _read_header(file, path)
            check_format(
                path,
                channels=header.channels,
                rate=header.sample_rate,
                n_samples=header.n_samples,
                sample_rate=sample_rate,
                resample=resample,
                channel=channel,
            )
            frames = _read_pcm16(file, header, path) if header.bits == 16 else _read_other(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    mono = frames[:, channel or 0]
    if header.sample_rate == sample_rate:
        return np.ascontiguousarray(mono)
    return _resample(mono, header.sample_rate, sample_rate)


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
    channel: int | None,
) -> None:
    """Refuse a file whose header does not fit what was asked for.

    Raises
    ------
    InputError
        No samples, several channels and none chosen, a channel that is not there, another
        sample rate without ``resample``.
    """
    if n_samples == 0:
        raise InputError(f"{path}: holds no samples. Remove the file.")
    if channel is None and channels != 1:
        raise InputError(
            f"{path}: has {channels} channels, expected 1. Name the one to use (channel, from 0)."
        )
    if channel is not None and not 0 <= channel < channels:
        raise InputError(
            f"{path}: has {channels} channels, so that channel {channel} does not exist. "
            f"Choose one from 0 to {channels - 1}."
        )
    if rate != sample_rate and not resample:
        raise InputError(
            f"{path}: is sampled at {rate} Hz, expected {sample_rate} Hz. "
            "Convert the file or ask for resampling (resample)."
        )


def _read_header(file: BinaryIO, path: Path) -> WavHeader:
    size = file.seek(0, 2)
    file.seek(0)
    if size == 0:
        raise InputError(f"{path}: is an empty file (0 bytes). Copy or download it again.")
    start = file.read(12)
    if len(start) < 12 or start[:4] != b"RIFF" or start[8:] != b"WAVE":
        raise InputError(f"{path}: is not a wav file. Convert it to 16-bit PCM wav or remove it.")
    format_chunk: bytes | None = None
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"fmt ":
            format_chunk = file.read(min(length, 40))
        elif name == b"data":
            return _make_header(path, format_chunk, position, length, size)
        position += length + length % 2
    raise InputError(
        f"{path}: has no sound (no data chunk), the file is truncated or not a wav file. "
        "Copy or download it again."
    )


def _make_header(
    path: Path, format_chunk: bytes | None, data_offset: int, length: int, size: int
) -> WavHeader:
    if format_chunk is None or len(format_chunk) < 16:
        raise InputError(f"{path}: has no format chunk. Copy or download it again.")
    code, channels, rate, _, frame_bytes, _ = struct.unpack("<HHIIHH", format_chunk[:16])
    if code == _EXTENSIBLE and len(format_chunk) >= 26:
        code = struct.unpack("<H", format_chunk[24:26])[0]
    bits = 8 * frame_bytes // channels if channels else 0
    if bits not in _BITS.get(code, ()) or rate == 0 or frame_bytes * 8 != bits * channels:
        raise InputError(
            f"{path}: has the encoding {code} with {bits} bits, expected PCM or floating point. "
            "Convert it to 16-bit PCM wav."
        )
    if data_offset + length > size:
        raise InputError(
            f"{path}: is truncated, its header announces {length} bytes of sound and "
            f"{size - data_offset} are there. Copy or download it again."
        )
    if length % frame_bytes:
        raise InputError(
            f"{path}: ends within a frame ({length} bytes of {frame_bytes}-byte frames). "
            "Copy or download it again."
        )
    return WavHeader(code == _FLOAT, bits, channels, rate, length // frame_bytes, data_offset)


def _read_pcm16(file: BinaryIO, header: WavHeader, path: Path) -> npt.NDArray[np.int16]:
    frames = np.empty((header.n_samples, header.channels), "<i2")
    file.seek(header.data_offset)
    if file.readinto(frames.data.cast("B")) != frames.nbytes:  # type: ignore[attr-defined]
        raise InputError(f"{path}: became shorter while it was read. Run again.")
    return frames


def _read_other(path: Path) -> npt.NDArray[np.int16]:
    import soundfile

    try:
        frames, _ = soundfile.read(path, dtype="float64", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: cannot be decoded ({error}). Convert it to 16-bit PCM wav."
        ) from error
    if not np.isfinite(frames).all():
        bad = np.count_nonzero(~np.isfinite(frames))
        raise InputError(
            f"{path}: holds {bad} samples that are NaN or infinite. Mend or remove the file."
        )
    peak = float(np.abs(frames).max(initial=0.0))
    if peak > 1:
        raise InputError(
            f"{path}: reaches {peak:.4g}, expected samples between -1 and 1. Scale the file."
        )
    return _to_int16(frames)


def _resample(mono: npt.NDArray[np.int16], from_rate: int, to_rate: int) -> npt.NDArray[np.int16]:
    from scipy.signal import resample_poly

    divisor = int(np.gcd(from_rate, to_rate))
    floats = mono.astype(np.float64) / FULL_SCALE
    return _to_int16(resample_poly(floats, to_rate // divisor, from_rate // divisor))


def _to_int16(floats: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(floats * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")
