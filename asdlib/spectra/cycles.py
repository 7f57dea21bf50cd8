"""Cycle time: after how long a sound's level repeats."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal, special

from asdlib.errors import InputError
from asdlib.spectra.envelope import (
    FALSE_ALARM,
    Array,
    Band,
    checked_band,
    checked_clip,
    complex_envelope,
    is_constant,
)

#: Rate at which the level is sampled [Hz], and the smallest level it follows [dB re mean].
_LEVEL_RATE_HZ, _LOWEST_DB = 100.0, -30.0
#: Periods that a clip must hold for a cycle to be told from chance.
_MIN_CYCLES = 3.0
#: A shorter period this close to the best in correlation is preferred to its multiples.
_SHORTER_SHARE = 0.75


@dataclass(frozen=True)
class CycleTime:
    """A period after which the level repeats."""

    period_s: float
    rate_hz: float
    significance: float  # -log10 p, anywhere in the clip
    correlation: float  # at one period
    resolution_hz: float  # 1 / duration


def cycle_time(
    y: npt.ArrayLike,
    *,
    sr: float,
    band_hz: Band | None = None,
    min_s: float = 0.1,
) -> CycleTime | None:
    """Find the period of a sound's level by autocorrelation, or None when it has none.

    Of the level [dB] of the Hilbert envelope, smoothed to 100 Hz, without trend. r at one period
    and, where the clip holds it, at two must stand out of its standard error (M. S. Bartlett, J. R.
    Stat. Soc. Suppl. 8 (1946)), Bonferroni-corrected; multiples of a shorter one, a beat, are no
    cycle. The clip must hold three of the longest period.
    """
    samples = checked_clip(y, sr=sr)
    if not min_s > 0:
        raise InputError(f"min_s = {min_s}: expected a period above zero.")
    duration_s = len(samples) / sr
    longest_s = duration_s / _MIN_CYCLES
    if longest_s < 2 * min_s or is_constant(samples):
        return None
    level, rate_hz = _level(samples - samples.mean(), sr=sr, band_hz=band_hz, longest_s=longest_s)
    correlation = _autocorrelation(level)
    lags = np.arange(2, int(longest_s * rate_hz))
    if correlation[0] <= 0:
        return None
    evidence = _evidence(correlation, lags, n=len(level))
    inner = correlation[lags]
    is_peak = (inner > correlation[lags - 1]) & (inner >= correlation[lags + 1])
    evidence[~is_peak] = 0.0
    first_zero = int(np.argmax(correlation < 0)) if (correlation < 0).any() else lags[-1]
    evidence[lags <= first_zero] = 0.0
    best = int(evidence.argmax())
    if evidence[best] < -np.log(FALSE_ALARM):
        return None
    shorter = np.flatnonzero(is_peak & (inner > _SHORTER_SHARE * inner[best]) & (evidence > 0))
    chosen = int(shorter[0])
    if lags[chosen] < min_s * rate_hz:
        return None
    period_s = float(_refined(correlation, int(lags[chosen]), n=len(level)) / rate_hz)
    return CycleTime(
        period_s=period_s,
        rate_hz=1 / period_s,
        significance=float(evidence[best] / np.log(10.0)),
        correlation=min(1.0, float(inner[chosen])),
        resolution_hz=1 / duration_s,
    )


def level_autocorrelation(y: npt.ArrayLike, *, sr: float) -> tuple[Array, Array]:
    """Compute the autocorrelation in which `cycle_time` looks for a period.

    Lags up to a third of the clip [s], and the autocorrelation, 1 at lag 0; empty for silence.
    """
    samples = checked_clip(y, sr=sr)
    longest_s = len(samples) / sr / _MIN_CYCLES
    if is_constant(samples):
        return np.zeros(0), np.zeros(0)
    level, rate_hz = _level(samples - samples.mean(), sr=sr, band_hz=None, longest_s=longest_s)
    correlation = _autocorrelation(level)[: int(longest_s * rate_hz) + 1]
    return np.arange(len(correlation)) / rate_hz, correlation


def _level(
    samples: Array, *, sr: float, band_hz: Band | None, longest_s: float
) -> tuple[Array, float]:
    """Level of the envelope [dB] at about 100 Hz without its trend, and the exact rate."""
    n_samples = len(samples)
    band = (min(100.0, 0.1 * sr), 0.45 * sr) if band_hz is None else band_hz
    first, last = checked_band(band, sr=sr, n_samples=n_samples)
    envelope = complex_envelope(fft.rfft(samples), first, last, n_samples=n_samples)
    power = envelope.real**2 + envelope.imag**2
    step = max(1, round(len(power) * sr / n_samples / _LEVEL_RATE_HZ))
    blocks = power[: len(power) // step * step].reshape(-1, step).mean(axis=1)
    rate_hz = len(power) / step * sr / n_samples
    blocks = np.maximum(blocks, blocks.mean() * 10 ** (_LOWEST_DB / 10))
    level = 10 * np.log10(blocks)
    trend = ndimage.uniform_filter1d(level, 2 * int(longest_s * rate_hz / 2) + 1, mode="nearest")
    return level - trend, rate_hz


def _autocorrelation(level: Array) -> Array:
    """Unbiased autocorrelation, 1 at lag 0; zeros for a level that does not move."""
    n = len(level)
    if float(np.std(level)) < 1e-6:
        return np.zeros(n)
    total = signal.correlate(level, level, mode="full", method="fft")[n - 1 :]
    unbiased = total / (n - np.arange(n))
    return np.asarray(unbiased / unbiased[0])


def _evidence(correlation: Array, lags: npt.NDArray[np.int64], *, n: int) -> Array:
    """-ln p that r at one period, and at two, is chance; Bonferroni-corrected."""
    negative = np.flatnonzero(correlation < 0)
    width = int(negative[0]) if len(negative) else n
    spread = 1 + 2 * float(np.sum(correlation[1:width] ** 2))
    z = correlation[lags] / np.sqrt(spread / (n - lags))
    double = np.minimum(2 * lags, n - 1)
    again = np.max([correlation[np.clip(double + i, 0, n - 1)] for i in (-1, 0, 1)], axis=0)
    z_again = again / np.sqrt(spread / (n - double))
    weaker = np.minimum(z, np.maximum(z_again * np.sqrt(2), 0.0))
    independent = max(1.0, len(lags) / spread)
    return np.asarray(-special.log_ndtr(-weaker) - np.log(independent))


def _refined(correlation: Array, lag: int, *, n: int) -> float:
    """Period from the peaks at its multiples, each between samples by a parabola."""
    period = float(lag)
    for multiple in range(1, 4):
        centre = round(multiple * period)
        if centre + 2 > 0.75 * n:
            break
        window = correlation[centre - 1 : centre + 2]
        place = centre - 1 + int(window.argmax())
        a, b, c = correlation[place - 1 : place + 2]
        bend = a - 2 * b + c
        period = (place + (0.5 * (a - c) / bend if bend < 0 else 0.0)) / multiple
    return period
