"""Recordings as files: which there are, the header of one, its samples as 16-bit mono.

Both of the latter are read by libsndfile. It takes a truncated recording for a short one and notes
that in its log, which is read here; a wav file that a recorder never closed it knows by one wrong
size alone.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asdlib.base import InputError, reading

#: Extensions of what is taken for a recording; libsndfile knows its format by the content.
_RECORDINGS = (
    *(".wav", ".wave", ".rf64", ".w64", ".flac", ".aif", ".aiff", ".aifc"),
    *(".caf", ".au", ".snd", ".ogg", ".oga", ".opus", ".mp3"),
)
FULL_SCALE = 32768
#: Level of a band that a high-pass took away [dB], whatever the clip: far below every level that
#: was measured, also after noise was raised and added.
REMOVED_DB = -1000.0
#: Value of ``channel`` that stands for the mean of all channels.
MEAN = "mean"
FLOATS = ("FLOAT", "DOUBLE")
_UNCOMPRESSED = ("PCM", *FLOATS)
#: Floating point up to here [full scale] is limited to full scale, 0.09 dB at most.
A_HAIR_ABOVE = 1.01
#: Sizes that libsndfile's log gives of the whole file or of the sound, most telling first.
_SIZES_BY_WORTH = ("FORM", "riff", "Riff size", "Data Size", "data", "RIFF", "RIFX")
_SIZES = re.compile(
    rf"^ *({'|'.join(_SIZES_BY_WORTH)}|Block Align) *: (\d+)\b(?: \(should be (\d+)\))?", re.M
)
#: Sizes from here on are what pipes and streaming recorders write where they do not know better.
_UNKNOWN_SIZE = 0x7FFFF000
#: Silence in the densest format has fewer samples.
_MOST_PER_BYTE = 10_000


def list_recordings(folder: Path) -> list[Path]:
    """List the recordings of a folder and of those below it."""
    return [path for path, reason in walk(folder) if not reason and is_recording(path)]


def is_recording(path: Path) -> bool:
    """Whether a file's name says that it is a recording."""
    return path.suffix.lower() in _RECORDINGS


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def walk(folder: Path, skip: Collection[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Files below a folder, each with the reason to pass it over, empty where there is none."""
    for path in _entries(folder):
        if path in skip:
            continue
        if _is_hidden(path):
            yield path, "hidden"
        elif path.is_dir():
            if path.is_symlink() and not any(path in place.parents for place in skip):
                yield path, "a link to a folder"
            else:
                yield from walk(path, skip)
        else:
            yield path, "" if path.is_file() else "a link to nothing"


def files_in(folder: Path) -> list[Path]:
    """Files directly in a folder, without hidden ones."""
    return [path for path in _entries(folder) if not _is_hidden(path) and not path.is_dir()]


def folders_in(root: Path) -> list[Path]:
    """Folders directly in a folder, without hidden ones."""
    return [path for path in _entries(root) if not _is_hidden(path) and path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    with reading(folder):
        return sorted(folder.iterdir())


@dataclass(frozen=True)
class Header:
    """Header of a recording whose sound is complete; ``subtype`` is libsndfile's encoding."""

    subtype: str
    channels: int
    sample_rate: int
    n_samples: int


class _Unclosed(io.FileIO):
    """A wav file that was never closed, with the one size (8) by which libsndfile knows it."""

    def readinto(self, buffer: Any, /) -> int:
        place, count = self.tell(), super().readinto(buffer) or 0
        start = b"RIFF\x08\0\0\0"[place : place + count]
        memoryview(buffer)[: len(start)] = start
        return count


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Header]]:
    """Open a recording with libsndfile; what is missing, not whole or damaged is refused."""
    import soundfile

    with reading(path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise InputError(f"{path}: is an empty file (0 bytes). Copy or download it again.")
    with ExitStack() as files:
        try:
            sound = files.enter_context(soundfile.SoundFile(os.fsencode(path)))
            if _is_unclosed(sound, path, size):
                unclosed = files.enter_context(_Unclosed(path))
                sound = files.enter_context(soundfile.SoundFile(unclosed))
        except soundfile.LibsndfileError as error:
            raise InputError(
                f"{path}: is not a wav file, nor another recording that can be read "
                f"({error.error_string.strip()}). Convert it to 16-bit PCM wav or remove it."
            ) from error
        header = Header(sound.subtype, sound.channels, sound.samplerate, sound.frames)
        if header.n_samples > _MOST_PER_BYTE * size:
            # Damaged, or a flac from a pipe, which libsndfile cannot decode without its length.
            raise InputError(f"{path}: does not say how long it is. Convert it to 16-bit PCM wav.")
        try:
            yield sound, header
        except (soundfile.LibsndfileError, MemoryError) as error:
            raise InputError(
                f"{path}: cannot be decoded ({error}). Convert it to 16-bit PCM wav."
            ) from error


def _is_unclosed(sound: Any, path: Path, size: int) -> bool:
    """Refuse a recording that is shorter than it says; tell a wav file that says nothing."""
    log = _SIZES.findall(sound.extra_info)
    found = {name: (int(said), int(there or said)) for name, said, there in log}
    # A header with long comments fills the log before the size of a wav file's sound comes.
    said, there = next((found[name] for name in _SIZES_BY_WORTH if name in found), (0, 0))
    frame, riff = found.get("Block Align", (1, 1))[0], found.get("RIFF", (0, 0))[0]
    is_stream = said >= _UNKNOWN_SIZE and (riff >= _UNKNOWN_SIZE or riff == 0)
    if said > there and not is_stream:
        raise InputError(
            f"{path}: is truncated, its header announces {said} bytes of sound and {there} are "
            "there. Copy or download it again."
        )
    is_plain = sound.format.startswith("WAV") and sound.subtype.startswith(_UNCOMPRESSED)
    if is_plain and said == there and said % max(frame, 1) and "data" in found:
        raise InputError(
            f"{path}: ends within a frame ({said} bytes of {frame}-byte frames). "
            "Copy or download it again."
        )
    return "RIFF" in found and sound.frames == 0 and riff + 8 != size


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
        if start:
            sound.seek(start)
        is_integer = header.subtype == "PCM_16"
        dtype = "int16" if is_integer else "float64"
        frames: npt.NDArray[Any] = sound.read(count, dtype=dtype, always_2d=True)
    if len(frames) != count:
        raise InputError(
            f"{path}: is truncated, its header announces {header.n_samples} samples and "
            f"{start + len(frames)} are there. Copy or download it again."
        )
    if header.subtype in FLOATS:
        frames *= scale
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
