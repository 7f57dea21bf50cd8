"""Spectral kurtosis and the kurtogram: in which band a sound is most impulsive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from asdlib.errors import InputError
from asdlib.spectra.envelope import (
    Array,
    Band,
    checked_band,
    checked_clip,
    checked_signal,
    complex_envelope,
)

#: Share of the clip at each end in which its jump from end to start rings.
_END = 0.05


def spectral_kurtosis(
    y: npt.ArrayLike, *, sr: float, n_fft: int = 512, hop_length: int | None = None
) -> tuple[Array, Array]:
    r"""Spectral kurtosis over time frames: 0 for stationary noise, -1 for a steady tone.

    .. math:: K(f) = \frac{\langle |X(t, f)|^4 \rangle_t}
              {\langle |X(t, f)|^2 \rangle_t^2} - 2

    Parameters
    ----------
    y : array_like, shape (..., n_samples)
    sr : float
        Sampling rate [Hz].
    n_fft : int
        Length of the Hann-windowed frames [samples].
    hop_length : int, optional
        Step between frames [samples]; ``n_fft // 2`` by default.

    Returns
    -------
    frequencies_hz : ndarray of float64, shape (n_fft // 2 - 1,)
        Without 0 and the Nyquist frequency, where the definition differs.
    kurtosis : ndarray of float64, shape (..., n_fft // 2 - 1)
        -1 or more; 0 where a frequency is silent.

    Raises
    ------
    InputError
        When the signal holds fewer than 8 frames, or NaN.

    References
    ----------
    J. Antoni, "The spectral kurtosis", MSSP 20 (2006), eq. 23.
    """
    samples = checked_signal(y, sr=sr)
    hop = n_fft // 2 if hop_length is None else hop_length
    if samples.shape[-1] < n_fft + 7 * hop:
        raise InputError(
            f"y has {samples.shape[-1]} samples, expected {n_fft + 7 * hop} or more for "
            f"n_fft = {n_fft}. Choose a shorter n_fft."
        )
    frames = np.lib.stride_tricks.sliding_window_view(samples, n_fft, axis=-1)[..., ::hop, :]
    power = np.abs(fft.rfft(frames * signal.get_window("hann", n_fft), axis=-1)) ** 2
    power = power[..., 1 : n_fft // 2]
    kurtosis = _kurtosis(np.moveaxis(power, -2, -1))
    return np.arange(1, n_fft // 2, dtype=np.float64) * (sr / n_fft), kurtosis


def _kurtosis(power: Array) -> Array:
    """``<p**2> / <p>**2 - 2`` along the last axis; 0 for silence."""
    mean = power.mean(axis=-1)
    mean_square = (power**2).mean(axis=-1)
    ratio = np.divide(mean_square, mean**2, out=np.full_like(mean, 2.0), where=mean > 0)
    return np.asarray(ratio - 2.0)


@dataclass(frozen=True)
class BandLevel:
    """One row of the kurtogram: the Nyquist range cut into equal bands.

    Attributes
    ----------
    level : float
        0, 1, 1.585 (three bands), 2, 2.585 (six bands), ...: log2 of the number of bands.
    width_hz : float
        Width of each band [Hz].
    centres_hz : ndarray of float64, shape (n_bands,)
    kurtosis : ndarray of float64, shape (n_bands,)
        Kurtosis of the complex envelope, 0 for stationary Gaussian noise.
    """

    level: float
    width_hz: float
    centres_hz: Array
    kurtosis: Array


def band_tree(*, sr: float, min_width_hz: float, max_bands: int = 96) -> list[list[Band]]:
    """1/3-binary bands: the Nyquist range cut into 1, 2, 3, 4, 6, 8, 12, ... equal bands [Hz].

    One list for every level, widest bands first, down to a width or a number of bands.
    """
    counts = sorted({*(2**i for i in range(12)), *(3 * 2**i for i in range(11))})
    levels = []
    for count in counts:
        width = sr / 2 / count
        if count > 1 and (width < min_width_hz or count > max_bands):
            break
        levels.append([(i * width, (i + 1) * width) for i in range(count)])
    return levels


def kurtogram(y: npt.ArrayLike, *, sr: float, min_width_hz: float = 250.0) -> list[BandLevel]:
    """Kurtosis of the complex envelope in every band of the 1/3-binary tree.

    The ends of a clip do not meet. The jump rings in bands that hold little else, so a
    twentieth of the clip at each end is tapered and not counted.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
    sr : float
        Sampling rate [Hz].
    min_width_hz : float
        Narrowest band [Hz].

    Returns
    -------
    list of BandLevel
        Widest bands first.

    References
    ----------
    J. Antoni, "Fast computation of the kurtogram", MSSP 21 (2007).
    """
    samples = checked_clip(y, sr=sr)
    n_samples = len(samples)
    spectrum = fft.rfft(samples * signal.windows.tukey(n_samples, 2 * _END))
    rows = []
    for bands in band_tree(sr=sr, min_width_hz=min_width_hz):
        kurtosis = []
        for band in bands:
            first, last = checked_band(band, sr=sr, n_samples=n_samples)
            envelope = complex_envelope(spectrum, first, last, n_samples=n_samples)
            end = int(np.ceil(_END * len(envelope)))
            kurtosis.append(float(_kurtosis(np.abs(envelope[end : len(envelope) - end]) ** 2)))
        rows.append(
            BandLevel(
                level=float(np.log2(len(bands))),
                width_hz=sr / 2 / len(bands),
                centres_hz=np.array([(low + high) / 2 for low, high in bands]),
                kurtosis=np.array(kurtosis),
            )
        )
    return rows


def choose_band(levels: list[BandLevel]) -> Band:
    """Edges [Hz] of the band with the highest kurtosis in a kurtogram."""
    best = max(levels, key=lambda level: float(level.kurtosis.max()))
    centre = float(best.centres_hz[best.kurtosis.argmax()])
    return max(0.0, centre - best.width_hz / 2), centre + best.width_hz / 2
