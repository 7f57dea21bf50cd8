"""One recording: its header, and its samples as 16-bit mono.

Headers of wav files (RIFF, RF64) are parsed here: libsndfile takes a truncated one for a short one,
one that a recorder never closed for an empty one. Other formats, and all sound, are left to it.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError
from asdlib.files import reading

FULL_SCALE = 32768
#: Level of a band that a high-pass took away [dB], whatever the clip: far below every level that
#: was measured, also after noise was raised and added.
REMOVED_DB = -1000.0
#: Value of ``channel`` that stands for the mean of all channels.
MEAN = "mean"
FLOATS = ("FLOAT", "DOUBLE")
#: Floating point up to here [full scale] is limited to full scale, 0.09 dB at most.
A_HAIR_ABOVE = 1.01
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_SUBTYPES = {  # libsndfile's name of what a wav file's format chunk says
    (_PCM, 8): "PCM_U8",
    (_PCM, 16): "PCM_16",
    (_PCM, 24): "PCM_24",
    (_PCM, 32): "PCM_32",
    (_FLOAT, 32): "FLOAT",
    (_FLOAT, 64): "DOUBLE",
}
#: Sizes from here on are what pipes and streaming recorders write where they do not know better.
_UNKNOWN_SIZE = 0x7FFFF000
#: Silence in the densest format has fewer samples.
_MOST_PER_BYTE = 10_000


@dataclass(frozen=True)
class Header:
    """Header of a recording whose sound is complete; ``subtype`` is libsndfile's encoding.

    Of a wav file, ``frame_bytes`` long frames begin at ``data_offset`` [bytes].
    """

    subtype: str
    channels: int
    sample_rate: int
    n_samples: int
    data_offset: int = 0
    frame_bytes: int = 0


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, Header]]:
    """Open a recording whose header is read; a file that is missing or not whole is refused."""
    with reading(path), path.open("rb", buffering=1024) as file:
        yield file, _parse_header(file, path)


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
    with opened(path) as (file, header):
        if header.n_samples == 0:
            raise InputError(f"{path}: holds no samples. Remove the file.")
        wanted: dict[str, Any] = {"sample_rate": sample_rate, "resample": resample}
        for misfit in misfits(header.channels, header.sample_rate, channel=channel, **wanted):
            raise InputError(f"{path}: a recording {misfit}.")
        count = header.n_samples - start if n_samples is None else n_samples
        if start + count > header.n_samples:
            raise InputError(f"{path}: became shorter since the clip table was read. Run again.")
        frames = decode(file, header, path, start, count)
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


def decode(file: BinaryIO, header: Header, path: Path, start: int, count: int) -> npt.NDArray[Any]:
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
    peak = float(np.abs(frames).max(initial=0.0)) if header.subtype in FLOATS else 0.0
    if peak > A_HAIR_ABOVE:
        raise InputError(
            f"{path}: reaches {peak:.4g}, expected samples between -1 and 1. Scale the file."
        )


def _to_int16(floats: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(floats * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def _parse_header(file: BinaryIO, path: Path) -> Header:
    size = file.seek(0, 2)
    file.seek(0)
    if size == 0:
        raise InputError(f"{path}: is an empty file (0 bytes). Copy or download it again.")
    start = file.read(24)
    if start[:4] in (b"RIFF", b"RF64", b"BW64") and start[8:12] == b"WAVE":
        return _read_wav_header(file, path, size, int.from_bytes(start[4:8], "little"))
    announced = _announced_size(start + file.read(4096))
    if size < announced < _UNKNOWN_SIZE:
        raise _truncated(path, announced, size)
    return _ask_libsndfile(path)


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


def _ask_libsndfile(path: Path) -> Header:
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            header = Header(file.subtype, file.channels, file.samplerate, file.frames)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{path}: is not a wav file, nor another recording that can be read "
            f"({error.error_string.strip()}). Convert it to 16-bit PCM wav or remove it."
        ) from error
    if header.n_samples > _MOST_PER_BYTE * path.stat().st_size:
        # Damaged, or a flac from a pipe, which libsndfile cannot decode without its length.
        raise InputError(f"{path}: does not say how long it is. Convert it to 16-bit PCM wav.")
    return header


def _read_wav_header(file: BinaryIO, path: Path, size: int, riff_size: int) -> Header:
    format_chunk: bytes | None = None
    sizes_64 = b""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"fmt ":
            format_chunk = file.read(min(length, 40))
        elif name == b"ds64":
            sizes_64 = file.read(16)
        elif name == b"data":
            if length == 0xFFFFFFFF and len(sizes_64) == 16:
                riff_size, length = struct.unpack("<QQ", sizes_64)
            there = size - position
            is_unfinished = length == 0 and riff_size + 8 != size
            is_from_pipe = there < length >= _UNKNOWN_SIZE and (
                riff_size >= _UNKNOWN_SIZE or riff_size == 0
            )
            announced = None if is_unfinished or is_from_pipe else length
            return _make_header(path, format_chunk, position, announced, there)
        position += length + length % 2
    raise InputError(
        f"{path}: has no sound (no data chunk), the file is truncated or not a wav file. "
        "Copy or download it again."
    )


def _make_header(
    path: Path, format_chunk: bytes | None, data_offset: int, announced: int | None, there: int
) -> Header:
    """Check format and length [bytes]; where none is announced the sound ends with the file."""
    if format_chunk is None or len(format_chunk) < 16:
        raise InputError(f"{path}: has no format chunk. Copy or download it again.")
    code, channels, rate, _, frame_bytes, _ = struct.unpack("<HHIIHH", format_chunk[:16])
    if code == _EXTENSIBLE and len(format_chunk) >= 26:
        code = int.from_bytes(format_chunk[24:26], "little")
    bits = 8 * frame_bytes // channels if channels else 0
    if announced is not None and announced > there:
        raise _truncated(path, announced, there)
    if code not in (_PCM, _FLOAT):
        with contextlib.suppress(InputError):
            return _ask_libsndfile(path)
    subtype = _SUBTYPES.get((code, bits))
    if subtype is None or not 0 < rate < 1 << 31 or frame_bytes * 8 != bits * channels:
        raise InputError(
            f"{path}: has the encoding {code} with {bits} bits, expected PCM or floating point. "
            "Convert it to 16-bit PCM wav."
        )
    length = there - there % frame_bytes if announced is None else announced
    if length % frame_bytes:
        raise InputError(
            f"{path}: ends within a frame ({length} bytes of {frame_bytes}-byte frames). "
            "Copy or download it again."
        )
    return Header(subtype, channels, rate, length // frame_bytes, data_offset, frame_bytes)


def _truncated(path: Path, announced: int, there: int) -> InputError:
    return InputError(
        f"{path}: is truncated, its header announces {announced} bytes of sound and {there} are "
        "there. Copy or download it again."
    )
