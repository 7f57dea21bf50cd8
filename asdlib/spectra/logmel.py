r"""Log-mel spectrograms, equal to librosa's, with a high-pass before the mel filter.

    "... we first pass through a high pass filter before passing through the Mel filter. [...] The
    maximum frequency is set to 8000Hz, and the minimum frequency is 200Hz." (report, section 2.2)

The chain of one clip::

    samples -> short-time Fourier transform -> |.|^power -> high-pass -> mel filter -> decibel

Transform and squaring run in double precision, as librosa's do: in single precision the
rounding of a strong hum below ``fmin`` would change quiet bands above it by up to 0.7 dB.
Everything after them is single precision.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from asdlib.base import InputError
from asdlib.data.audio import FULL_SCALE

Samples = TypeVar("Samples", npt.NDArray[Any], torch.Tensor)

TRANSITION_OCTAVES = 1.0 / 3.0  # of the high-pass, below the cut-off
_BANDS_PER_SLICE = 16
_WHOLE = ("n_fft", "hop_length", "n_mels")


@dataclass(frozen=True, kw_only=True)
class LogMelSettings:
    """Everything that shapes a log-mel spectrogram except the high-pass."""

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
        for name in _WHOLE:
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
        numbers = {name: value for name, value in vars(self).items() if value is not None}
        plain = {name: (int if name in _WHOLE else float)(numbers[name]) for name in numbers}
        return {**vars(self), **plain}


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
    if highpass_hz is not None and not 0 < highpass_hz < settings.fmax:
        raise InputError(
            f"highpass_hz={highpass_hz}: expected None or a cut-off between 0 and "
            f"fmax={settings.fmax} Hz."
        )
    return None if highpass_hz is None else float(highpass_hz)


@lru_cache(maxsize=64)
def mel_matrix(settings: LogMelSettings, highpass_hz: float | None = None) -> torch.Tensor:
    """Mel filter bank with the high-pass folded in: float32, shape (n_mels, 1 + n_fft // 2).

    librosa's Slaney filters times |H(f)|^power: both are linear in the spectrum.
    """
    from librosa.filters import mel  # only its filter bank; importing it is slow

    check_highpass(highpass_hz, settings)
    matrix = mel(
        sr=settings.sample_rate, n_fft=settings.n_fft, n_mels=settings.n_mels,
        fmin=settings.fmin, fmax=settings.fmax,
    )  # fmt: skip
    if highpass_hz is not None:
        frequencies_hz = np.fft.rfftfreq(settings.n_fft, 1.0 / settings.sample_rate)
        matrix = matrix * highpass_response(frequencies_hz, highpass_hz) ** (settings.power / 2)
    return torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))


class LogMelTransform:
    """Log-mel of clips with the same settings, one by one in reused memory; for one thread alone.

    Fresh large temporaries cost more in page faults than the arithmetic that fills them.
    """

    def __init__(
        self,
        settings: LogMelSettings,
        highpass_hz: float | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008  # a constant
    ) -> None:
        self.settings = settings
        matrix = mel_matrix(settings, highpass_hz)
        # Bands, bins that reach them, and weights along the matrix's diagonal: three times fewer
        # products than the whole matrix takes.
        self._slices: list[tuple[slice, slice, torch.Tensor]] = []
        for first in range(0, len(matrix), _BANDS_PER_SLICE):
            bands = slice(first, min(first + _BANDS_PER_SLICE, len(matrix)))
            bins = matrix[bands].any(0).nonzero().ravel()
            reach = slice(int(bins[0]), int(bins[-1]) + 1) if len(bins) else slice(0, 1)
            self._slices.append((bands, reach, matrix[bands, reach].contiguous().to(device)))
        self._window = torch.hann_window(settings.n_fft, dtype=torch.float64, device=device)
        self._buffers: dict[str, torch.Tensor] = {}

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Log-mel (n_mels, n_frames) of a clip, in a buffer that the next one overwrites."""
        spectrum = self.spectrum(samples)
        mel = self._buffer("mel", (self.settings.n_mels, len(spectrum)), torch.float32)
        for bands, bins, weights in self._slices:
            torch.mm(weights, spectrum[:, bins].T, out=mel[bands])
        return self.decibel(mel)

    def write_clip(self, samples: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Write the log-mel of a clip to an array of any floating type."""
        torch.from_numpy(out).copy_(self(_shared(samples)))

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        if name not in self._buffers or self._buffers[name].shape != shape:
            self._buffers[name] = torch.zeros(shape, dtype=dtype, device=self._window.device)
        return self._buffers[name]

    def spectrum(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute |STFT|^power, centred, zero-padded: (n_frames, n_bins), float32."""
        settings, margin = self.settings, self.settings.n_fft // 2
        padded = self._buffer("padded", (len(samples) + 2 * margin,), torch.float64)
        inside = padded[margin : margin + len(samples)]
        inside.copy_(samples)
        if samples.dtype == torch.int16:
            inside.mul_(1.0 / FULL_SCALE)
        overlapping = padded.unfold(-1, settings.n_fft, settings.hop_length)
        frames = self._buffer("frames", tuple(overlapping.shape), torch.float64)
        torch.mul(overlapping, self._window, out=frames)
        parts = torch.view_as_real(torch.fft.rfft(frames)).square_()
        spectrum = self._buffer("spectrum", tuple(parts.shape[:-1]), torch.float32)
        torch.add(parts[..., 0], parts[..., 1], out=spectrum)
        return spectrum if settings.power == 2 else spectrum.pow_(settings.power / 2)

    def decibel(self, power: torch.Tensor) -> torch.Tensor:
        """Take 10 log10 in place, with the floors of the settings."""
        power.clamp_(min=self.settings.amin).log10_().mul_(10.0)
        if self.settings.top_db is not None:
            power.clamp_(min=power.max() - self.settings.top_db)
        return power


def log_mel(
    y: Samples,
    *,
    sr: float = 16000,
    n_fft: int = 1024,
    hop_length: int = 512,
    n_mels: int = 128,
    fmin: float = 200.0,
    fmax: float = 8000.0,
    power: float = 2.0,
    highpass_hz: float | None = None,
    amin: float = 1e-10,
    top_db: float | None = 80.0,
) -> Samples:
    r"""Log-mel spectrogram of a clip or of a batch of clips.

    .. math:: L(m, t) = 10 \log_{10} \max\Bigl(a_\mathrm{min},
              \sum_k M_{mk}\, |H(f_k)|^p\, |S(k, t)|^p\Bigr)

    with S the centred, zero-padded short-time Fourier transform under a periodic Hann window,
    M librosa's mel filters and H the high-pass (`highpass_response`). Without a high-pass this is,
    clip by clip, ``librosa.power_to_db(librosa.feature.melspectrogram(y=y, ...), amin=amin,
    top_db=top_db)`` of librosa 0.11 within 5e-3 dB. Settings: see `LogMelSettings`.

    Parameters
    ----------
    y : ndarray or Tensor, shape (..., n_samples)
        Samples, floating (full scale 1.0) or int16 (full scale 32768).
    highpass_hz : float or None
        Cut-off of the high-pass before the mel filter [Hz]; None leaves it out.

    Returns
    -------
    ndarray or Tensor of float32, shape (..., n_mels, n_frames)
        Levels [dB re full scale squared], of the input's kind and on its device;
        ``n_frames = 1 + n_samples // hop_length`` for even ``n_fft``.

    Raises
    ------
    InputError
        When a setting makes no sense, ``fmax`` lies above ``sr / 2``, the cut-off is not
        below ``fmax``, or the samples are empty, of another type, or not finite.
    """
    settings = LogMelSettings(
        sample_rate=sr, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, fmin=fmin, fmax=fmax,
        power=power, amin=amin, top_db=top_db,
    )  # fmt: skip
    samples = as_samples(y)
    transform = LogMelTransform(settings, highpass_hz, samples.device)
    clips = samples.reshape(-1, samples.shape[-1])
    levels = torch.stack([transform(clip).clone() for clip in clips])
    levels = levels.reshape(*samples.shape[:-1], *levels.shape[1:])
    return levels if isinstance(y, torch.Tensor) else levels.numpy()


def _shared(samples: npt.NDArray[Any]) -> torch.Tensor:
    """Share an array with torch; a copy only of one that is read-only or not contiguous."""
    return torch.from_numpy(np.require(samples, requirements=["C", "W"]))


def as_samples(y: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """Take samples as a tensor; refuse what is no sound."""
    if not isinstance(y, np.ndarray | torch.Tensor):
        raise InputError(f"y is a {type(y).__name__}: expected a numpy array or a torch tensor.")
    if str(y.dtype).removeprefix("torch.") not in {"float32", "float64", "int16"}:
        raise InputError(
            f"y has dtype {y.dtype}: expected float32 or float64 (full scale 1.0) or int16."
        )
    if y.ndim == 0 or 0 in y.shape:
        raise InputError(f"y has shape {tuple(y.shape)}: expected at least one sample.")
    samples = y.detach() if isinstance(y, torch.Tensor) else _shared(y)
    if samples.is_floating_point() and not all(map(math.isfinite, torch.aminmax(samples))):
        raise InputError("y holds values that are not finite. Repair or leave out the recording.")
    return samples
