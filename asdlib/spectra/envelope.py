"""The envelope spectrum of the report, and the bands that it is looked at in.

    "As most machines are predominantly motor-driven, their operation exhibits distinctive
    characteristic frequencies that vary according to machine attributes." (report, section 2.1)

The spectrum of a band's envelope has a line at the rate at which the band's level goes up and
down: the shaft, the ball pass, the gear mesh.

A band is a run of bins of the whole signal's discrete Fourier transform, moved to zero frequency
and transformed back at a reduced rate: an ideal band-pass, Hilbert transform and decimation in one
step, exact and without filter transients.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft

from asdlib.base import InputError

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]
Band = tuple[float, float]

#: Shortest signal that has an envelope spectrum worth the name [samples].
MIN_SAMPLES = 64
#: Share of noise clips that may give a family of lines or a cycle, unless asked otherwise.
FALSE_ALARM = 2e-3


def checked_signal(y: npt.ArrayLike, *, sr: float) -> Array:
    """Return ``y`` as float64; refuse what is too short, not finite, or has no sampling rate."""
    samples = np.asarray(y, dtype=np.float64)
    if not (np.isfinite(sr) and sr > 0):
        raise InputError(f"sr = {sr}: the sampling rate must be a positive number of Hz.")
    if samples.ndim == 0 or samples.shape[-1] < MIN_SAMPLES:
        length = samples.shape[-1] if samples.ndim else 0
        raise InputError(
            f"y has {length} samples along its last axis, expected {MIN_SAMPLES} or more."
        )
    if not np.isfinite(samples).all():
        raise InputError("y holds NaN or infinite samples. Repair or drop the clip.")
    return samples


def checked_clip(y: npt.ArrayLike, *, sr: float) -> Array:
    """`checked_signal` of one signal (n_samples,)."""
    samples = checked_signal(y, sr=sr)
    if samples.ndim != 1:
        raise InputError(f"y has shape {samples.shape}, expected one signal (n_samples,).")
    return samples


def checked_band(band_hz: Band | None, *, sr: float, n_samples: int) -> tuple[int, int]:
    """First and one-past-last bin of a band, 1 to ``n_samples // 2``, of at least 8 bins."""
    first, last = band_lines(band_hz, sr=sr, n_samples=n_samples)
    if last - first < 8:
        raise InputError(
            f"band_hz = {band_hz}: holds {max(last - first, 0)} spectral lines of "
            f"{sr / n_samples:g} Hz, expected 8 or more. Widen the band or take a longer signal."
        )
    return first, last


def band_lines(band_hz: Band | None, *, sr: float, n_samples: int) -> tuple[int, int]:
    """First and one-past-last bin of a band, however few they are; None is the whole spectrum."""
    low, high = (0.0, sr / 2) if band_hz is None else (float(band_hz[0]), float(band_hz[1]))
    if not 0 <= low < high <= sr / 2:
        raise InputError(
            f"band_hz = ({low:g}, {high:g}): expected 0 <= low < high <= {sr / 2:g} Hz, the "
            f"Nyquist frequency at sr = {sr:g} Hz."
        )
    first = max(1, int(np.ceil(low * n_samples / sr)))
    return first, min(n_samples // 2, int(np.floor(high * n_samples / sr)) + 1)


def complex_envelope(spectrum: Spectrum, first: int, last: int, *, n_samples: int) -> Spectrum:
    r"""Complex envelope of the band of bins ``first`` to ``last - 1``, decimated.

    :math:`c(t) = \frac{2}{N} \sum_k X_k e^{2\pi i (k-\text{first}) t / T}`, X the ``rfft`` of N
    samples (..., N // 2 + 1); at least 2 (last - first) samples, so that the square is not aliased.
    """
    n_reduced = fft.next_fast_len(2 * (last - first))
    reduced = fft.ifft(spectrum[..., first:last], n=n_reduced, axis=-1)
    return np.asarray(reduced * (2.0 * n_reduced / n_samples), dtype=np.complex128)


def envelope_spectrum(
    y: npt.ArrayLike,
    *,
    sr: float,
    band_hz: Band | None = None,
    squared: bool = True,
    max_hz: float | None = None,
) -> tuple[Array, Array]:
    r"""One-sided amplitude spectrum of the (squared) Hilbert envelope in a band.

    .. math:: S(f_k) = \frac{2}{L} \left| \sum_{t} |c(t)|^2 e^{-2\pi i k t / L} \right|

    with the complex envelope c of the band, its mean removed (J. Antoni, MSSP 21 (2007), eq. 37).
    A tone ``A (1 + m cos 2 pi f t) cos(...)`` has its line at f with height ``2 m A**2`` (``m A``
    for ``squared=False``), and if squared a second one at 2 f of height ``m**2 A**2 / 2``.

    Parameters
    ----------
    y : array_like, shape (..., n_samples)
        Signal, any unit u, at ``sr`` [Hz].
    band_hz : (float, float), optional
        Band edges [Hz] within 0 and ``sr / 2``; the whole spectrum by default.
    max_hz : float, optional
        Drop lines above this frequency.

    Returns
    -------
    frequencies_hz : ndarray of float64, shape (n_lines,)
        0, 1/T, 2/T, ... up to the width of the band [Hz], T = n_samples / sr.
    spectrum : ndarray of float64, shape (..., n_lines)
        Line heights, zero or more [u**2, or u for ``squared=False``].

    Raises
    ------
    InputError
        For band edges outside 0 to ``sr / 2``, a signal under 64 samples, or NaN.
    """
    samples = checked_signal(y, sr=sr)
    n_samples = samples.shape[-1]
    first, last = checked_band(band_hz, sr=sr, n_samples=n_samples)
    spectrum = fft.rfft(samples, axis=-1)
    envelope = np.abs(complex_envelope(spectrum, first, last, n_samples=n_samples))
    if squared:
        envelope *= envelope
    envelope -= envelope.mean(axis=-1, keepdims=True)
    n_lines = last - first
    if max_hz is not None:
        n_lines = min(n_lines, int(np.floor(max_hz * n_samples / sr)) + 1)
    lines = np.abs(fft.rfft(envelope, axis=-1)[..., :n_lines]) * (2.0 / envelope.shape[-1])
    lines[..., 0] = 0.0
    return np.arange(n_lines, dtype=np.float64) * (sr / n_samples), np.asarray(lines)


def band_tree(*, sr: float, min_width_hz: float, max_bands: int = 96) -> list[list[Band]]:
    """1/3-binary bands, a list a level: the Nyquist range in 1, 2, 3, 4, 6, ... equal ones [Hz]."""
    counts = sorted({*(2**i for i in range(12)), *(3 * 2**i for i in range(11))})
    levels = []
    for count in counts:
        width = sr / 2 / count
        if count > 1 and (width < min_width_hz or count > max_bands):
            break
        levels.append([(i * width, (i + 1) * width) for i in range(count)])
    return levels


def judged_bands(*, sr: float) -> list[Band]:
    """Bands in which families of lines are looked for unless others are given [Hz]."""
    tree = band_tree(sr=sr, min_width_hz=500.0, max_bands=24)
    return [band for level in tree for band in level]
