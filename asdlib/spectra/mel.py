"""What shapes a log-mel spectrogram: its settings, and the mel filters with the high-pass.

Section 2.2 of the report: "we first pass through a high pass filter before passing through the
Mel filter. [...] The maximum frequency is set to 8000Hz, and the minimum frequency is 200Hz."
"""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asdlib.errors import InputError

#: Width of the high-pass transition below the cut-off [octaves].
TRANSITION_OCTAVES = 1.0 / 3.0
_BANDS_PER_SLICE = 16


@dataclass(frozen=True, kw_only=True)
class LogMelSettings:
    """Everything that shapes a log-mel spectrogram except the high-pass.

    Examples
    --------
    >>> LogMelSettings(n_fft=1024, hop_length=512).n_frames(160_000)
    313
    """

    sample_rate: float = 16000  # [Hz]
    n_fft: int = 1024  # length of the transform [samples]
    hop_length: int = 512  # distance of its frames [samples]
    n_mels: int = 128
    fmin: float = 200.0  # lowest and highest frequency of the mel filters [Hz]
    fmax: float = 8000.0
    power: float = 2.0  # exponent of the magnitude before the mel filter
    amin: float = 1e-10  # smallest value that enters the logarithm
    top_db: float | None = 80.0  # range kept below each clip's maximum [dB]; None: everything

    def __post_init__(self) -> None:
        for name in ("sample_rate", "power", "amin"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name}={value}: expected a positive number.")
        for name in ("n_fft", "hop_length", "n_mels"):
            value = getattr(self, name)
            if value != int(value) or value < (2 if name == "n_fft" else 1):
                raise InputError(f"{name}={value}: expected a positive whole number.")
        if not 0 <= self.fmin < self.fmax:
            raise InputError(f"fmin={self.fmin}, fmax={self.fmax}: expected 0 <= fmin < fmax [Hz].")
        if self.fmax > self.sample_rate / 2:
            raise InputError(
                f"fmax={self.fmax}: above half the sample rate ({self.sample_rate / 2} Hz). "
                "Choose a lower fmax."
            )
        if self.top_db is not None and not self.top_db >= 0:
            raise InputError(f"top_db={self.top_db}: expected None or a number of at least 0 dB.")

    def n_frames(self, n_samples: int) -> int:
        """Count the frames of a clip of ``n_samples``."""
        return 1 + (n_samples + 2 * (self.n_fft // 2) - self.n_fft) // self.hop_length

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers by name, for keys and sidecars."""
        whole = {"n_fft", "hop_length", "n_mels"}
        return {
            name: value if value is None else (int(value) if name in whole else float(value))
            for name, value in dataclasses.asdict(self).items()
        }


#: Front end of the official baseline: all bands from 0 Hz on, levels down to the smallest
#: difference that double precision knows, no floor below a clip's maximum.
OFFICIAL_LOG_MEL = LogMelSettings(fmin=0.0, amin=sys.float_info.epsilon, top_db=None)


def highpass_response(
    frequencies_hz: npt.NDArray[np.floating[Any]], highpass_hz: float
) -> npt.NDArray[np.float64]:
    r"""Power response of the high-pass: 1 above the cut-off, **zero** a third of an octave below.

    .. math:: |H(f)|^2 = \tfrac12 - \tfrac12\cos\bigl(3\pi\,\log_2 (f / f_s)\bigr),
              \quad f_s = 2^{-1/3} f_c \le f \le f_c

    A gentle filter would do nothing here: its factor per band is an offset after the logarithm,
    the same for every clip. Only where the response is zero does the band lose what it said.
    """
    above_stop = np.log2(np.maximum(frequencies_hz, 1e-9) / highpass_hz) + TRANSITION_OCTAVES
    position = np.clip(above_stop / TRANSITION_OCTAVES, 0.0, 1.0)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * position))


def check_highpass(highpass_hz: float | None, settings: LogMelSettings) -> float | None:
    """Refuse a cut-off that is not a positive frequency below ``fmax``."""
    if highpass_hz is None:
        return None
    if not 0 < highpass_hz < settings.fmax:
        raise InputError(
            f"highpass_hz={highpass_hz}: expected None or a cut-off between 0 and "
            f"fmax={settings.fmax} Hz."
        )
    return float(highpass_hz)


@lru_cache(maxsize=64)
def mel_matrix(settings: LogMelSettings, highpass_hz: float | None = None) -> torch.Tensor:
    """Mel filter bank with the high-pass folded in: float32, shape (n_mels, 1 + n_fft // 2).

    librosa's Slaney filters times |H(f)|^power: both are linear in the spectrum.
    """
    from librosa.filters import mel  # only its filter bank; importing it is slow

    check_highpass(highpass_hz, settings)
    matrix = mel(
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        n_mels=settings.n_mels,
        fmin=settings.fmin,
        fmax=settings.fmax,
    )
    if highpass_hz is not None:
        frequencies_hz = np.fft.rfftfreq(settings.n_fft, 1.0 / settings.sample_rate)
        matrix = matrix * highpass_response(frequencies_hz, highpass_hz) ** (settings.power / 2)
    return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))


def removed_bands(settings: LogMelSettings, highpass_hz: float | None) -> npt.NDArray[np.bool_]:
    """Which bands a high-pass empties, shape (n_mels,); none without one."""
    if highpass_hz is None:
        return np.zeros(settings.n_mels, np.bool_)
    before, after = (mel_matrix(settings, cut).any(1).numpy() for cut in (None, highpass_hz))
    return np.asarray(before & ~after)


def band_centres_hz(settings: LogMelSettings) -> npt.NDArray[np.float64]:
    """Frequencies at which the mel filters peak, shape (n_mels,) [Hz]."""
    from librosa import mel_frequencies  # importing it is slow

    edges: npt.NDArray[np.float64] = mel_frequencies(
        settings.n_mels + 2, fmin=settings.fmin, fmax=settings.fmax
    )
    return edges[1:-1]


@lru_cache(maxsize=64)
def mel_slices(
    settings: LogMelSettings, highpass_hz: float | None, device: torch.device
) -> list[tuple[slice, slice, torch.Tensor]]:
    """Bands, bins that reach them, and weights along the mel matrix's diagonal.

    Three times fewer products than the whole matrix takes.
    """
    matrix = mel_matrix(settings, highpass_hz)
    slices = []
    for first in range(0, len(matrix), _BANDS_PER_SLICE):
        bands = matrix[first : first + _BANDS_PER_SLICE]
        bins = bands.any(0).nonzero().ravel()
        reach = slice(int(bins[0]), int(bins[-1]) + 1) if len(bins) else slice(0, 1)
        weights = bands[:, reach].contiguous().to(device)
        slices.append((slice(first, first + len(bands)), reach, weights))
    return slices
