"""What else repeats in a sound: tones at the multiples of one frequency, and a working cycle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal, special

from asdlib.base import InputError
from asdlib.spectra.characteristic import Family, family_of
from asdlib.spectra.envelope import FALSE_ALARM, Array, checked_band, checked_clip, complex_envelope
from asdlib.spectra.lines import (
    MIN_LINES,
    LineSpectra,
    line_evidence,
    noise_floor,
    quantisation_step,
    tone_floor,
)
from asdlib.spectra.search import find_series

#: From this duration on, a resonance is told from a tone by the running floor alone [s].
_LONG_CLIP_S = 5.0
#: Grid frequencies [Hz], and how far a grid strays from them.
MAINS_HZ, _MAINS_TOLERANCE = (50.0, 60.0), 0.002
#: Shortest cycle [s], and how many a clip must hold for one to be told from chance.
_SHORTEST_S, _MIN_CYCLES = 0.1, 3.0
#: Rate at which the level is sampled [Hz], and the smallest level it follows [dB re mean].
_LEVEL_RATE_HZ, _LOWEST_DB = 100.0, -30.0
#: A shorter period this close to the best in correlation is preferred to its multiples.
_SHORTER_SHARE = 0.75


def tonal_families(y: npt.ArrayLike, *, sr: float, min_hz: float = 20.0) -> list[Family]:
    """Find the tones of a sound, grouped by their fundamental, strongest first.

    Lines of the power spectrum (Blackman-Harris: no skirts of a strong tone), judged as in
    `characteristic_frequencies`, from ``min_hz`` (put the high-pass there) to 0.45 ``sr``, at
    most 4000 Hz. A machine at exactly 50 or 60 Hz is not told from mains hum.
    """
    samples = checked_clip(y, sr=sr)
    max_hz = min(0.45 * sr, 4000.0)
    if not 0 <= min_hz < max_hz:
        raise InputError(
            f"min_hz = {min_hz:g}: expected 0 <= min_hz < {max_hz:g} Hz at sr = {sr:g} Hz."
        )
    spectra = _tone_lines(samples, sr=sr, min_hz=min_hz, max_hz=max_hz)
    if spectra is None:
        return []
    found = find_series(
        spectra,
        lowest=max(8, int(min_hz / spectra.spacing_hz)),
        highest=spectra.evidence.shape[1] - 1,
        max_series=8,
        false_alarm=FALSE_ALARM,
    )
    families = [family_of(spectra, series) for series in found]
    return sorted(families, key=lambda family: -family.significance)


def _tone_lines(samples: Array, *, sr: float, min_hz: float, max_hz: float) -> LineSpectra | None:
    """Lines of the power spectrum; None for silence and clips of too few lines."""
    n_samples = len(samples)
    first, last = int(min_hz * n_samples / sr), int(max_hz * n_samples / sr) + 1
    centred = samples - samples.mean()
    if last - first < MIN_LINES or is_constant(samples):
        return None
    window = signal.get_window("blackmanharris", n_samples)
    spectrum = fft.rfft(centred * window)
    power = np.abs(spectrum[:last]) ** 2
    # Rounding is a floor too: nothing under it is a tone.
    step = quantisation_step(samples)
    power += step**2 / 12 * float(np.sum(window**2)) + 1e-18 * float(power.max())
    power[:first] = np.median(power[first : first + MIN_LINES])
    # In a long clip a resonance spans hundreds of lines, which the running floor follows by
    # itself, while a speed that wanders by 1 % fills the lines that a local floor would rest on.
    is_short = n_samples < _LONG_CLIP_S * sr
    floor = tone_floor(power) if is_short else noise_floor(power)
    relative, evidence = line_evidence(power, *floor, worst_floor=is_short)
    evidence[:first] = 0.0
    bands_hz = [(min_hz, max_hz)]
    return LineSpectra(evidence[None], relative[None], bands_hz, spectrum, step, n_samples, sr)


def is_mains(family: Family) -> bool:
    """Whether a frequency is a multiple of the grid's, 50 or 60 Hz, within 0.2 %."""
    for grid_hz in MAINS_HZ:
        order = max(1, round(family.frequency_hz / grid_hz))
        distance = abs(family.frequency_hz - order * grid_hz)
        if distance <= max(_MAINS_TOLERANCE * order * grid_hz, 0.5 * family.resolution_hz):
            # High multiples lie so close together that any tone would be one.
            return order <= 12
    return False


def cycle_time(y: npt.ArrayLike, *, sr: float) -> Family | None:
    """Find the rate at which a sound's level repeats by autocorrelation; None when it does not.

    Of the level [dB] of the Hilbert envelope, smoothed to 100 Hz, without trend. r at one period
    and, where the clip holds it, at two must stand out of its standard error (M. S. Bartlett, J. R.
    Stat. Soc. Suppl. 8 (1946)), Bonferroni-corrected; multiples of a shorter one, a beat, are no
    cycle. The clip must hold three of the longest period.
    """
    samples = checked_clip(y, sr=sr)
    duration_s = len(samples) / sr
    longest_s = duration_s / _MIN_CYCLES
    if longest_s < 2 * _SHORTEST_S:
        return None
    correlation, rate_hz = _level_correlation(samples, sr=sr)
    if not len(correlation):
        return None
    n, lags = len(correlation), np.arange(2, int(longest_s * rate_hz))
    negative = np.flatnonzero(correlation < 0)
    evidence = _period_evidence(correlation, lags, width=negative[0] if len(negative) else n)
    inner = correlation[lags]
    is_peak = (inner > correlation[lags - 1]) & (inner >= correlation[lags + 1])
    evidence[~is_peak | (lags <= (negative[0] if len(negative) else lags[-1]))] = 0.0
    best = int(evidence.argmax())
    if evidence[best] < -np.log(FALSE_ALARM):
        return None
    shorter = np.flatnonzero(is_peak & (inner > _SHORTER_SHARE * inner[best]) & (evidence > 0))
    lag = int(lags[shorter[0]])
    if lag < _SHORTEST_S * rate_hz:
        return None
    # From the peaks at its multiples, each between samples by a parabola.
    period = float(lag)
    for multiple in range(1, 4):
        centre = round(multiple * period)
        if centre + 2 > 0.75 * n:
            break
        place = centre - 1 + int(correlation[centre - 1 : centre + 2].argmax())
        a, b, c = correlation[place - 1 : place + 2]
        bend = a - 2 * b + c
        period = (place + (0.5 * (a - c) / bend if bend < 0 else 0.0)) / multiple
    # The peaks of many cycles fix their rate better than 1 / duration.
    return Family(
        frequency_hz=1 / float(period / rate_hz), significance=float(evidence[best] / np.log(10.0)),
        harmonics=(1,), sideband_hz=None, resolution_hz=0.1 / duration_s, band_hz=(0.0, sr / 2),
        modulation=0.0,
    )  # fmt: skip


def level_autocorrelation(y: npt.ArrayLike, *, sr: float) -> tuple[Array, Array]:
    """Compute the autocorrelation in which `cycle_time` looks for a period.

    Lags up to a third of the clip [s], and the autocorrelation, 1 at lag 0; empty where the level
    does not move.
    """
    samples = checked_clip(y, sr=sr)
    correlation, rate_hz = _level_correlation(samples, sr=sr)
    correlation = correlation[: int(len(samples) / sr / _MIN_CYCLES * rate_hz) + 1]
    return np.arange(len(correlation)) / rate_hz, correlation


def _level_correlation(samples: Array, *, sr: float) -> tuple[Array, float]:
    """Unbiased autocorrelation of the envelope's level without its trend, and its rate [Hz].

    1 at lag 0; empty for a level that does not move.
    """
    n_samples = len(samples)
    if is_constant(samples):
        return np.zeros(0), _LEVEL_RATE_HZ
    first, last = checked_band((min(100.0, 0.1 * sr), 0.45 * sr), sr=sr, n_samples=n_samples)
    spectrum = fft.rfft(samples - samples.mean())
    envelope = complex_envelope(spectrum, first, last, n_samples=n_samples)
    power = envelope.real**2 + envelope.imag**2
    step = max(1, round(len(power) * sr / n_samples / _LEVEL_RATE_HZ))
    blocks = power[: len(power) // step * step].reshape(-1, step).mean(axis=1)
    rate_hz = len(power) / step * sr / n_samples
    level = 10 * np.log10(np.maximum(blocks, blocks.mean() * 10 ** (_LOWEST_DB / 10)))
    longest = n_samples / sr / _MIN_CYCLES * rate_hz
    level -= ndimage.uniform_filter1d(level, 2 * int(longest / 2) + 1, mode="nearest")
    n = len(level)
    if float(np.std(level)) < 1e-6:
        return np.zeros(0), rate_hz
    total = signal.correlate(level, level, mode="full", method="fft")[n - 1 :]
    unbiased = total / (n - np.arange(n))
    return np.asarray(unbiased / unbiased[0]), rate_hz


def _period_evidence(correlation: Array, lags: npt.NDArray[np.int64], *, width: int) -> Array:
    """-ln p that r at one period, and at two, is chance; Bonferroni-corrected."""
    n = len(correlation)
    spread = 1 + 2 * float(np.sum(correlation[1:width] ** 2))
    z = correlation[lags] / np.sqrt(spread / (n - lags))
    double = np.minimum(2 * lags, n - 1)
    again = np.max([correlation[np.clip(double + i, 0, n - 1)] for i in (-1, 0, 1)], axis=0)
    z_again = again / np.sqrt(spread / (n - double))
    weaker = np.minimum(z, np.maximum(z_again * np.sqrt(2), 0.0))
    independent = max(1.0, len(lags) / spread)
    return np.asarray(-special.log_ndtr(-weaker) - np.log(independent))


def is_constant(samples: Array) -> bool:
    """Whether a signal, shape (n_samples,), is silence or an offset but for rounding."""
    return not np.any(np.abs(samples - samples.mean()) > 1e-10 * np.abs(samples).max())
