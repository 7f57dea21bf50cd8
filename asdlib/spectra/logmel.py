r"""Log-mel spectrograms in batches, equal to librosa's, with a high-pass before the mel filter.

Section 2.2 of the report: "we transformed all audio clip into LogMel feature". The chain of one
clip::

    samples -> short-time Fourier transform -> |.|^power -> high-pass -> mel filter -> decibel

Transform and squaring run in double precision, as librosa's do: in single precision the
rounding of a strong hum below ``fmin`` would change quiet bands above it by up to 0.7 dB.
Everything after them is single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from asdlib.data.audio import FULL_SCALE
from asdlib.errors import InputError
from asdlib.spectra.mel import LogMelSettings, check_highpass, mel_slices

Samples = TypeVar("Samples", npt.NDArray[Any], torch.Tensor)


class LogMelTransform:
    """Log-mel of clips with the same settings, one by one in reused memory.

    Fresh large temporaries cost more in page faults than the arithmetic that fills them. An
    instance keeps its buffers, hence belongs to one thread.
    """

    def __init__(
        self,
        settings: LogMelSettings,
        highpass_hz: float | None = None,
        device: torch.device = torch.device("cpu"),  # noqa: B008  # a constant
    ) -> None:
        self.settings = settings
        self._slices = mel_slices(settings, highpass_hz, device)
        self._window = torch.hann_window(settings.n_fft, dtype=torch.float64, device=device)
        self._buffers: dict[str, torch.Tensor] = {}

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Compute the log-mel (n_mels, n_frames) of a clip (n_samples,), floating or int16.

        It lies in a buffer that the next clip will overwrite.
        """
        spectrum = self.spectrum(samples)
        mel = self._buffer("mel", (self.settings.n_mels, len(spectrum)), torch.float32)
        for bands, bins, weights in self._slices:
            torch.mm(weights, spectrum[:, bins].T, out=mel[bands])
        return self.decibel(mel)

    def write_clip(self, samples: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        """Write the log-mel of a clip to an array of any floating type."""
        level = self(torch.from_numpy(np.require(samples, requirements=["C", "W"])))
        torch.from_numpy(out).copy_(level)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        held = self._buffers.get(name)
        if held is None or held.shape != shape:
            held = torch.zeros(shape, dtype=dtype, device=self._window.device)
            self._buffers[name] = held
        return held

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
    M librosa's mel filters and H the high-pass (`highpass_response`). Without a high-pass this
    is, clip by clip, ``librosa.power_to_db(librosa.feature.melspectrogram(y=y, ...),
    amin=amin, top_db=top_db)`` of librosa 0.11 within 5e-3 dB.

    Parameters
    ----------
    y : ndarray or Tensor, shape (..., n_samples)
        Samples, floating (full scale 1.0) or int16 (full scale 32768). A clip shorter than
        ``n_fft`` is padded with zeros like any clip's edges.
    sr, n_fft, hop_length, n_mels, fmin, fmax, power, amin, top_db
        See `LogMelSettings`.
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

    References
    ----------
    F. Chu and M. Qian, "Anomaly sound detection method based on training attribute
    classification models", DCASE Challenge 2025, technical report, section 2.2.

    Examples
    --------
    >>> one_second = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    >>> log_mel(one_second).shape
    (128, 32)
    """
    settings = LogMelSettings(
        sample_rate=sr, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels, fmin=fmin, fmax=fmax,
        power=power, amin=amin, top_db=top_db,
    )  # fmt: skip
    check_highpass(highpass_hz, settings)
    samples = _as_samples(y)
    transform = LogMelTransform(settings, highpass_hz, samples.device)
    return _of_every_clip(y, samples, lambda clip: transform(clip).clone())


def spectrogram(y: Samples, *, n_fft: int = 1024, hop_length: int = 512) -> Samples:
    """Power spectrogram in decibel: what `log_mel` computes before its filters.

    Samples and errors as of `log_mel`. Returns float32 of shape (..., 1 + n_fft // 2, n_frames)
    [dB], from 0 Hz to half the sample rate.
    """
    samples = _as_samples(y)
    settings = LogMelSettings(n_fft=n_fft, hop_length=hop_length, n_mels=1)
    transform = LogMelTransform(settings, device=samples.device)
    return _of_every_clip(
        y, samples, lambda clip: transform.decibel(transform.spectrum(clip).T.clone())
    )


def _of_every_clip(
    y: Samples, samples: torch.Tensor, level_of: Callable[[torch.Tensor], torch.Tensor]
) -> Samples:
    """Stack what a function gives for every clip of (..., n_samples), in the kind of ``y``."""
    clips = samples.reshape(-1, samples.shape[-1])
    levels = torch.stack([level_of(clip) for clip in clips])
    levels = levels.reshape(*samples.shape[:-1], *levels.shape[1:])
    return levels if isinstance(y, torch.Tensor) else levels.numpy()


def _as_samples(y: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """Take samples as a tensor; refuse what is no sound."""
    if not isinstance(y, np.ndarray | torch.Tensor):
        raise InputError(f"y is a {type(y).__name__}: expected a numpy array or a torch tensor.")
    if str(y.dtype).removeprefix("torch.") not in {"float32", "float64", "int16"}:
        raise InputError(
            f"y has dtype {y.dtype}: expected float32 or float64 (full scale 1.0) or int16."
        )
    if y.ndim == 0 or 0 in y.shape:
        raise InputError(f"y has shape {tuple(y.shape)}: expected at least one sample.")
    if isinstance(y, torch.Tensor):
        samples = y.detach()
    else:
        # A copy only where torch could not share the memory (read-only, negative strides).
        samples = torch.from_numpy(np.require(y, requirements=["C", "W"]))
    if samples.is_floating_point() and not all(map(math.isfinite, torch.aminmax(samples))):
        raise InputError("y holds values that are not finite. Repair or leave out the recording.")
    return samples
