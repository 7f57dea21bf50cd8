"""Tiny data folders in the challenge's layout, for tests."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

_SUBFORMAT = bytes.fromhex("000000001000800000aa00389b71")  # end of the GUID of PCM


def make_tree(
    root: Path, files: Iterable[str], *, n_samples: int = 160, sample_rate: int = 16000
) -> Path:
    """Write ``<machine>/<split>/<name>.wav`` files of noise, each differing from the others."""
    rng = np.random.default_rng(7)
    for file in files:
        samples = rng.integers(-3000, 3000, n_samples, dtype=np.int16)
        write_wav(root / file, samples, sample_rate=sample_rate)
    return root


def train_and_test(machine_type: str, *, n_train: int = 2, n_test: int = 1) -> list[str]:
    """Relative paths of a small complete machine: both domains, both conditions."""
    files = []
    for domain in ("source", "target"):
        files += [
            f"{machine_type}/train/section_00_{domain}_train_normal_{i:04d}_pro_A.wav"
            for i in range(n_train)
        ]
        files += [
            f"{machine_type}/test/section_00_{domain}_test_{condition}_{i:04d}_pro_A.wav"
            for condition in ("normal", "anomaly")
            for i in range(n_test)
        ]
    return files


def write_wav(path: Path, samples: npt.NDArray[np.int16], *, sample_rate: int = 16000) -> Path:
    """Write 16-bit PCM; ``samples`` has the shape (n,) or (n, channels)."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    data = samples.astype("<i2").tobytes()
    path.write_bytes(wav_bytes(data, channels=channels, sample_rate=sample_rate))
    return path


def wav_bytes(
    data: bytes,
    *,
    code: int = 1,
    bits: int = 16,
    channels: int = 1,
    sample_rate: int = 16000,
    announced: int | None = None,
    before: bytes = b"",
    after: bytes = b"",
) -> bytes:
    """A wav file byte by byte: ``before`` and ``after`` are whole chunks around the sound."""
    frame = channels * bits // 8
    fields = (code, channels, sample_rate, sample_rate * frame, frame, bits)
    form = struct.pack("<HHIIHH", *fields)
    if code == 0xFFFE:
        form += struct.pack("<HHIH", 22, bits, 0, 1) + _SUBFORMAT
    length = len(data) if announced is None else announced
    body = b"WAVE" + _chunk(b"fmt ", form) + before
    body += b"data" + struct.pack("<I", length) + data + bytes(len(data) % 2) + after
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def list_chunk(length: int = 0, *, content: bytes = b"") -> bytes:
    """A LIST chunk of comments, as recorders put before or behind the sound."""
    return _chunk(b"LIST", content or b"x" * length)
