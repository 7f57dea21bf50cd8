"""One recording: its header, and its samples as 16-bit mono.

Both are read by libsndfile, but it takes a truncated recording for a short one, and one that a
recorder never closed for an empty one: how long the sound is said to be is looked up here.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from asdlib.base import InputError, reading

FULL_SCALE = 32768
#: Level of a band that a high-pass took away [dB], whatever the clip: far below every level that
#: was measured, also after noise was raised and added.
REMOVED_DB = -1000.0
#: Value of ``channel`` that stands for the mean of all channels.
MEAN = "mean"
FLOATS = ("FLOAT", "DOUBLE")
#: Floating point up to here [full scale] is limited to full scale, 0.09 dB at most.
A_HAIR_ABOVE = 1.01
#: Bytes of a sample, of encodings in which a wav file without a length can be read to its end.
_SAMPLE_BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_UNCOMPRESSED = (1, 3, 0xFFFE)  # codes of a wav file's encoding
#: Sizes from here on are what pipes and streaming recorders write where they do not know better.
_UNKNOWN_SIZE = 0x7FFFF000
#: Silence in the densest format has fewer samples.
_MOST_PER_BYTE = 10_000


@dataclass(frozen=True)
class Header:
    """Header of a recording whose sound is complete; ``subtype`` is libsndfile's encoding.

    Of a wav file that does not say its length, frames begin at ``data_offset`` [bytes].
    """

    subtype: str
    channels: int
    sample_rate: int
    n_samples: int
    data_offset: int = 0

    @property
    def frame_bytes(self) -> int:
        """Length of a frame, where frames have one; else 0."""
        return self.channels * _SAMPLE_BYTES.get(self.subtype, 0)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Header]]:
    """Open a recording with libsndfile; a file that is missing or not whole is refused."""
    import soundfile

    with reading(path), path.open("rb", buffering=1024) as file:
        data_offset = _check_whole(file, path)
    try:
        sound = soundfile.SoundFile(os.fsencode(path))
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: is not a wav file, nor another recording that can be read "
            f"({error.error_string.strip()}). Convert it to 16-bit PCM wav or remove it."
        ) from error
    with sound:
        header = Header(sound.subtype, sound.channels, sound.samplerate, sound.frames)
        if data_offset and header.frame_bytes:
            n_samples = (path.stat().st_size - data_offset) // header.frame_bytes
            header = replace(header, n_samples=n_samples, data_offset=data_offset)
        if header.n_samples > _MOST_PER_BYTE * path.stat().st_size:
            # Damaged, or a flac from a pipe, which libsndfile cannot decode without its length.
            raise InputError(f"{path}: does not say how long it is. Convert it to 16-bit PCM wav.")
        yield sound, header


def read_header(path: str | Path) -> Header:
    """Read the header of a recording; a file that is missing or not whole is refused."""
    with opened(Path(path)) as (_, header):
        return header


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
    with opened(path) as (sound, header):
        if header.n_samples == 0:
            raise InputError(f"{path}: holds no samples. Remove the file.")
        wanted: dict[str, Any] = {"sample_rate": sample_rate, "resample": resample}
        for misfit in misfits(header.channels, header.sample_rate, channel=channel, **wanted):
            raise InputError(f"{path}: a recording {misfit}.")
        count = header.n_samples - start if n_samples is None else n_samples
        if start + count > header.n_samples:
            raise InputError(f"{path}: became shorter since the clip table was read. Run again.")
        frames = decode(sound, header, path, start, count)
    if len(frames) != count:
        raise InputError(
            f"{path}: is truncated, its header announces {header.n_samples} samples and "
            f"{start + len(frames)} are there. Copy or download it again."
        )
    if header.subtype in FLOATS:
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


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Length after resampling, ``ceil(n_samples * to_rate / from_rate)`` [samples]."""
    return -(-n_samples * to_rate // from_rate)


def misfits(
    channels: int, rate: int, *, sample_rate: int, resample: bool, channel: int | str | None
) -> list[str]:
    """Say what of a recording's channels and rate [Hz] is not what was asked for, and what to do.

    One channel always fits; ``channel`` below 0 is none.
    """
    found = []
    if rate != sample_rate and not resample:
        found.append(f"at {rate} Hz, expected {sample_rate} Hz: add --set resample=true")
    is_named = isinstance(channel, int) and channel >= 0
    if channels > 1 and channel != MEAN and not (is_named and int(channel or 0) < channels):
        expected = f"so that channel {channel} does not exist" if is_named else "expected 1"
        there = ", ".join(map(str, range(channels)))
        found.append(f"with {channels} channels, {expected}: add --set channel=mean (or {there})")
    return found


def decode(sound: Any, header: Header, path: Path, start: int, count: int) -> npt.NDArray[Any]:
    """Frames (count, channels): int16 of 16-bit PCM, else float64 where full scale is 1."""
    import soundfile

    try:
        if header.data_offset:
            with path.open("rb") as file:
                file.seek(header.data_offset + start * header.frame_bytes)
                raw, start = io.BytesIO(file.read(count * header.frame_bytes)), 0
            sound = soundfile.SoundFile(
                raw, format="RAW", subtype=header.subtype, endian="LITTLE",
                channels=header.channels, samplerate=header.sample_rate,
            )  # fmt: skip
        if start:
            sound.seek(start)
        dtype = "int16" if header.subtype == "PCM_16" else "float64"
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
    peak = float(np.abs(frames).max(initial=0.0)) if header.subtype in FLOATS else 0.0
    if peak > A_HAIR_ABOVE:
        raise InputError(
            f"{path}: reaches {peak:.4g}, expected samples between -1 and 1. Scale the file."
        )


def _to_int16(floats: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(floats * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def _check_whole(file: BinaryIO, path: Path) -> int:
    """Refuse a file that is shorter than it says; see `_unfinished_sound` for what is given."""
    size = file.seek(0, 2)
    file.seek(0)
    if size == 0:
        raise InputError(f"{path}: is an empty file (0 bytes). Copy or download it again.")
    start = file.read(24)
    if start[:4] in (b"RIFF", b"RF64", b"BW64") and start[8:12] == b"WAVE":
        return _unfinished_sound(file, path, size, int.from_bytes(start[4:8], "little"))
    announced = _announced_size(start + file.read(4096))
    if size < announced < _UNKNOWN_SIZE:
        raise _truncated(path, announced, size)
    return 0


def _announced_size(start: bytes) -> int:
    """Size of the file by its header, of formats whose truncation libsndfile does not mind."""
    if start[:4] in (b"FORM", b"RIFX"):  # AIFF, big-endian wav
        return int.from_bytes(start[4:8], "big") + 8
    if start[:4] == b"riff":  # W64
        return int.from_bytes(start[16:24], "little")
    if start[:4] == b".snd":  # AU
        return int.from_bytes(start[4:8], "big") + int.from_bytes(start[8:12], "big")
    if start[:4] == b"caff" and (data := start.find(b"data")) > 0:
        return data + 12 + int.from_bytes(start[data + 4 : data + 12], "big")
    return 0


def _unfinished_sound(file: BinaryIO, path: Path, size: int, riff_size: int) -> int:
    """Say where the sound of a wav file begins that was never closed; 0 of one that is whole."""
    form = sizes_64 = b""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"fmt ":
            form = file.read(16)
        elif name == b"ds64":
            sizes_64 = file.read(16)
        elif name == b"data":
            if length == 0xFFFFFFFF and len(sizes_64) == 16:
                riff_size, length = struct.unpack("<QQ", sizes_64)
            there = size - position
            if length == 0 and riff_size + 8 != size:
                return position
            if there < length >= _UNKNOWN_SIZE and (riff_size >= _UNKNOWN_SIZE or riff_size == 0):
                return 0  # from a pipe; libsndfile reads it to its end
            if length > there:
                raise _truncated(path, length, there)
            code, frame_bytes = (int.from_bytes(form[at : at + 2], "little") for at in (0, 12))
            if code in _UNCOMPRESSED and frame_bytes and length % frame_bytes:
                raise InputError(
                    f"{path}: ends within a frame ({length} bytes of {frame_bytes}-byte frames). "
                    "Copy or download it again."
                )
            return 0
        position += length + length % 2
    raise InputError(
        f"{path}: has no sound (no data chunk), the file is truncated or not a wav file. "
        "Copy or download it again."
    )


def _truncated(path: Path, announced: int, there: int) -> InputError:
    return InputError(
        f"{path}: is truncated, its header announces {announced} bytes of sound and {there} are "
        "there. Copy or download it again."
    )
