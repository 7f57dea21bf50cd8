"""Characteristic frequencies: families of lines in squared envelope spectra.

The signal is looked at through all bands of the 1/3-binary tree. In each band every line of
the squared envelope spectrum is compared with the local noise floor, which gives the
probability that noise alone reaches its height. Lines at multiples of one frequency add up
to a family; the number of lines and bands that were tried is paid for, so that noise has a
family in fewer than one clip in a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal, special

from asdlib.spectra.envelope import (
    Band,
    band_tree,
    checked_band,
    checked_signal,
    complex_envelope,
)

Array = npt.NDArray[np.float64]

#: A line under this share of the mean squared envelope is not a modulation but arithmetic
#: (rounding, edges of the clip): noise alone reaches 0.01 in the longest and widest case.
MIN_MODULATION = 2e-3
#: Bands this far under the whole signal's power hold rounding errors only.
MIN_BAND_POWER = 1e-7
#: Lines are judged over one or several neighbouring bins, since slip widens them.
LINE_WIDTHS = (1, 3, 7)
#: Families are looked for from this many periods in the clip upwards.
MIN_PERIODS = 6
#: A clip needs this many lines in a band for its noise floor to be known.
MIN_LINES = 64
MAX_HARMONICS = 10
_CANDIDATE_EVIDENCE = 7.0
_MAX_CANDIDATES = 48
_LOCAL_LINES = 17
#: Share of the clip at either end over which it is faded, against leakage of tones.
_FADE = 0.1
#: Envelopes are limited to this many medians, so that a bang does not outweigh the clip.
_ENVELOPE_LIMIT = 10.0


@dataclass(frozen=True)
class FrequencyFamily:
    """A frequency at which the sound repeats, with what belongs to it.

    Attributes
    ----------
    frequency_hz : float
        Fundamental, fitted to all its harmonics [Hz].
    significance : float
        -log10 of the probability that noise shows such a family anywhere in the clip.
    harmonics : tuple of int
        Orders that stand out of the noise floor, 1 = fundamental.
    sideband_hz : float or None
        Spacing of sidebands around the harmonics [Hz], such as the shaft rate around a
        ball-pass frequency; None when there are none.
    band_hz : (float, float)
        Band in which the family stands out most [Hz].
    resolution_hz : float
        1 / duration; the uncertainty of ``frequency_hz`` is a fraction of it [Hz].
    modulation : float
        Height of the highest harmonic over the mean squared envelope, 0 to 2.
    """

    frequency_hz: float
    significance: float
    harmonics: tuple[int, ...]
    sideband_hz: float | None
    band_hz: Band
    resolution_hz: float
    modulation: float


def characteristic_frequencies(
    y: npt.ArrayLike,
    *,
    sr: float,
    bands_hz: Sequence[Band] | None = None,
    min_hz: float | None = None,
    max_hz: float = 1000.0,
    max_families: int = 8,
    false_alarm: float = 2e-3,
) -> list[FrequencyFamily]:
    """Find the frequencies at which a sound repeats, strongest first.

    Every line of the squared envelope spectrum of every band has the evidence -ln p, p being
    the probability that the local noise floor (a running median) reaches its height. A
    candidate's evidence is that of its first harmonics together (a gamma tail). The
    strongest candidate becomes a family and takes its harmonics and sidebands out of the
    picture; then the next. Half and third of a strong line are candidates too, and win only
    when the lines in between are there.

    Silence, a constant tone and noise give an empty list. A constant offset is removed. A
    clipped signal is taken as it is: clipping a modulated signal keeps its modulation
    frequencies. A clip with fewer than 64 lines in its bands (a fraction of a second) is too
    short to know its noise floor and gives an empty list.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
        Sound or acceleration, any unit.
    sr : float
        Sampling rate [Hz].
    bands_hz : sequence of (float, float), optional
        Bands to look at [Hz]. By default all 1/3-binary bands of 500 Hz and more; one band
        is about fifty times faster.
    min_hz : float, optional
        Lowest fundamental [Hz]; by default six periods in the clip.
    max_hz : float
        Highest fundamental [Hz]; harmonics are followed to twice this frequency.
    max_families : int
        Longest list.
    false_alarm : float
        Share of noise clips that may give a family.

    Returns
    -------
    list of FrequencyFamily
        Strongest first; empty when no line stands out.

    Raises
    ------
    InputError
        For NaN, fewer than 64 samples or band edges outside 0 to ``sr / 2``.

    References
    ----------
    R. B. Randall and J. Antoni, "Rolling element bearing diagnostics - A tutorial",
    MSSP 25 (2011), sections 3 and 5. S. M. Ransom et al., AJ 124 (2002), eq. 7 (sum of
    harmonic powers).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(48000) / 16000
    >>> y = (1 + np.cos(2 * np.pi * 107.3 * t)) * rng.standard_normal(48000)
    >>> [round(f.frequency_hz, 1) for f in characteristic_frequencies(y, sr=16000)]
    [107.3]
    """
    samples = checked_signal(y, sr=sr)
    if samples.ndim != 1:
        samples = samples.reshape(-1) if samples.size == samples.shape[-1] else _refuse(samples)
    if bands_hz is None:
        tree = band_tree(sr=sr, min_width_hz=500.0, max_bands=24)
        bands_hz = [band for level in tree for band in level]
    spectra = _line_evidence(samples, sr=sr, bands_hz=bands_hz, max_hz=2 * max_hz)
    if spectra is None:
        return []
    lowest = MIN_PERIODS if min_hz is None else max(MIN_PERIODS, int(min_hz / spectra.spacing_hz))
    return _families(
        spectra,
        lowest=lowest,
        highest=int(max_hz / spectra.spacing_hz),
        max_families=max_families,
        false_alarm=false_alarm,
    )


def _refuse(samples: Array) -> Array:
    from asdlib.errors import InputError

    raise InputError(f"y has shape {samples.shape}, expected one signal (n_samples,).")


# --- evidence of single lines ---------------------------------------------------------------


@dataclass
class _LineSpectra:
    """Evidence of every line in every band, on the common grid of k / duration.

    ``evidence`` is changed while families take their lines away.
    """

    evidence: Array  # (n_bands, n_lines), -ln p; 0 where a band has no such line
    power: Array  # (n_bands, n_lines), over the floor
    bands_hz: list[Band]
    spectrum: npt.NDArray[np.complex128]  # of the whole signal
    step: float  # of its samples' values
    n_samples: int
    sr: float

    @property
    def spacing_hz(self) -> float:
        return self.sr / self.n_samples

    @property
    def n_tests(self) -> int:
        return int(np.count_nonzero(self.power))

    def modulation(self, band: int, lines: Sequence[int]) -> float:
        """Largest of some lines over the mean squared envelope; 0 when it means nothing."""
        first, last = checked_band(self.bands_hz[band], sr=self.sr, n_samples=self.n_samples)
        power = 2 * float(np.sum(np.abs(self.spectrum[first:last]) ** 2)) / self.n_samples**2
        heights = _modulation(self.spectrum, first, last, n_samples=self.n_samples)
        height = float(heights[list(lines)].max())
        return height if height > max(MIN_MODULATION, 2 * self.step / np.sqrt(power)) else 0.0


def _line_evidence(
    samples: Array, *, sr: float, bands_hz: Sequence[Band], max_hz: float
) -> _LineSpectra | None:
    n_samples = samples.shape[-1]
    fade = signal.windows.tukey(n_samples, 2 * _FADE)
    centred = samples - samples.mean()
    power = float(np.mean(centred**2))
    if power <= 1e-20 * max(1.0, float(np.mean(samples**2))):
        return None
    spectrum = fft.rfft(centred * fade)
    step = _quantisation_step(samples)
    whitened = spectrum / _floor_amplitude(spectrum, lowest=10 * n_samples * step**2 / 12)
    n_lines = min(n_samples // 2, int(max_hz * n_samples / sr) + 1)
    rows: list[tuple[Array, Array]] = []
    used: list[Band] = []
    for band in bands_hz:
        first, last = checked_band(band, sr=sr, n_samples=n_samples)
        band_power = 2 * float(np.sum(np.abs(spectrum[first:last]) ** 2)) / n_samples**2
        rounding = step**2 / 12 * (last - first) / (n_samples / 2)
        if band_power < max(MIN_BAND_POWER * power, 30 * rounding) or last - first < MIN_LINES:
            continue
        modulation = _modulation(whitened, first, last, n_samples=n_samples)
        # The upper part of a band's lines rests on few pairs of bins.
        modulation = modulation[: min(n_lines, max(MIN_LINES, int(0.8 * (last - first))))]
        rows.append(line_evidence(modulation**2))
        used.append(band)
    if not rows:
        return None
    out = _LineSpectra(
        evidence=np.zeros((len(rows), n_lines)),
        power=np.zeros((len(rows), n_lines)),
        bands_hz=used,
        spectrum=spectrum,
        step=step,
        n_samples=n_samples,
        sr=sr,
    )
    for i, (relative, evidence) in enumerate(rows):
        out.power[i, : len(relative)] = relative
        out.evidence[i, : len(evidence)] = evidence
    return out


def _floor_amplitude(spectrum: npt.NDArray[np.complex128], *, lowest: float) -> Array:
    """Square root of the running floor of the power spectrum, by which it is made flat.

    Nothing under ``lowest`` is raised: rounding errors of a tone are tones as well.
    """
    floor, _ = _noise_floor(np.abs(spectrum) ** 2)
    return np.asarray(np.sqrt(np.maximum(floor, max(lowest, 1e-12 * floor.max()))))


def _modulation(
    spectrum: npt.NDArray[np.complex128], first: int, last: int, *, n_samples: int
) -> Array:
    """Squared envelope spectrum of a band over its mean, the envelope's peaks limited."""
    envelope = complex_envelope(spectrum, first, last, n_samples=n_samples)
    squared = envelope.real**2 + envelope.imag**2
    fade = signal.windows.tukey(len(squared), 2 * _FADE) ** 2
    flat = slice(int(_FADE * len(squared)), int((1 - _FADE) * len(squared)))
    np.minimum(squared, _ENVELOPE_LIMIT * np.median(squared[flat]) * fade, out=squared)
    mean = squared.sum() / fade.sum()
    squared -= mean * fade
    return np.asarray(np.abs(fft.rfft(squared)[: last - first]) * (2.0 / (mean * fade.sum())))


def _quantisation_step(samples: Array) -> float:
    """Step of an integer recording, as integers or as fractions of full scale; else 0."""
    for step in (1.0, 2.0**-7, 2.0**-15, 2.0**-23):
        counts = samples / step
        if np.array_equal(counts, np.round(counts)):
            return step
    return 0.0


def line_evidence(power: Array) -> tuple[Array, Array]:
    """Power over the running floor, and -ln p of every local maximum given that floor.

    A sum over neighbouring lines follows a gamma distribution whose shape is read from the
    spectrum itself (its 80 % point over its median), so that a sound whose lines are
    correlated, or heavier in the tail than Gaussian noise, does not raise false alarms.
    """
    floor, n_floor = _noise_floor(power)
    relative = np.divide(power, floor, out=np.zeros_like(power), where=floor > 0)
    best = np.zeros_like(relative)
    for width in LINE_WIDTHS:
        total = ndimage.uniform_filter1d(relative, width, mode="nearest")
        median, upper = np.quantile(total[MIN_PERIODS:], [0.5, 0.8])
        shape = min(float(width), _gamma_shape(upper / max(median, 1e-300)))
        scaled = total * (special.gammaincinv(shape, 0.5) / max(median, 1e-300))
        np.maximum(best, gamma_evidence(shape, scaled) - np.log(len(LINE_WIDTHS)), out=best)
    # The floor itself is an estimate from n_floor lines, which fattens the tail.
    best = n_floor * np.log1p(best / n_floor)
    best[:MIN_PERIODS] = 0.0
    # One line, one place: its skirts must not pass for sidebands.
    best[best < ndimage.maximum_filter1d(best, max(LINE_WIDTHS))] = 0.0
    return relative, best


_SHAPES = np.geomspace(0.3, 8.0, 60)
_SHAPE_RATIOS = special.gammaincinv(_SHAPES, 0.8) / special.gammaincinv(_SHAPES, 0.5)


def _gamma_shape(ratio: float) -> float:
    """Shape of the gamma distribution whose 80 % point is ``ratio`` medians."""
    return float(np.interp(ratio, _SHAPE_RATIOS[::-1], _SHAPES[::-1]))


def gamma_evidence(shape: float, total: npt.ArrayLike) -> Array:
    r"""-ln of the probability that a sum of ``shape`` exponentials exceeds ``total``.

    For large totals, where the probability is under the smallest float, the leading terms
    :math:`x - (a - 1) \ln x + \ln\Gamma(a) + \ln(1 - (a - 1)/x)` are used.
    """
    x = np.asarray(total, dtype=np.float64)
    small = np.minimum(x, 500.0)
    near = -np.log(np.maximum(special.gammaincc(shape, small), 1e-300))
    far = np.maximum(x, 200.0)
    tail = far - (shape - 1) * np.log(far) + special.gammaln(shape) + np.log1p(-(shape - 1) / far)
    return np.where(x < 300.0, near, tail)


def _noise_floor(power: Array) -> tuple[Array, Array]:
    """Running median over ln 2 (the mean of an exponential), and its effective count.

    Blocks grow from 32 lines at low frequency to 160. Where a narrow running median lies
    higher (slow fluctuations make the floor steep there), it counts instead.
    """
    edges = [MIN_PERIODS]
    width = 32.0
    while edges[-1] < len(power):
        edges.append(edges[-1] + int(width))
        width = min(160.0, width * 1.25)
    centres, medians, counts = [], [], []
    for first, last in zip(edges, edges[2:] or edges[1:], strict=False):
        block = power[first:last]
        if len(block) >= 24:
            centres.append(first + len(block) / 2)
            medians.append(float(np.median(block)) / np.log(2.0))
            counts.append(0.48 * len(block))
    lines = np.arange(len(power))
    floor = np.exp(np.interp(lines, centres, np.log(np.maximum(medians, 1e-300))))
    local = ndimage.median_filter(power, _LOCAL_LINES, mode="nearest") / np.log(2.0)
    count = np.interp(lines, centres, counts)
    return np.maximum(floor, local), np.where(local > 2 * floor, 0.48 * _LOCAL_LINES, count)


# --- families -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Series:
    """A candidate: fundamental in lines, its evidence, and the lines of its harmonics."""

    band: int
    fundamental: float
    evidence: float
    orders: tuple[int, ...]
    lines: tuple[int, ...]


def _harmonic_series(evidence: Array, power: Array, start: float, *, band: int) -> _Series:
    """Follow the multiples of ``start`` [lines] and refine it on the way."""
    fundamental, known_to = start, 1
    total, best, best_count = 0.0, -np.inf, 0
    orders: list[int] = []
    lines: list[int] = []
    misses = 0
    for order in range(1, MAX_HARMONICS + 1):
        centre = order * fundamental
        half = 1 + int(0.5 * order / known_to)
        first, last = round(centre) - half, round(centre) + half + 1
        if last > len(evidence) or first < 1:
            break
        line = first + int(evidence[first:last].argmax())
        value = max(0.0, float(evidence[line]) - np.log(last - first))
        total += value
        score = float(gamma_evidence(order, total)) - np.log(order)
        if value > 4.0:
            orders.append(order)
            lines.append(line)
            weights = np.minimum(evidence[lines], 50.0)
            ranks = np.array(orders, dtype=np.float64)
            fitted = float((weights * ranks * _centroids(power, lines)).sum())
            fundamental = fitted / float((weights * ranks**2).sum())
            known_to, misses = order, 0
            if score > best:
                best, best_count = score, len(orders)
        else:
            misses += 1
            if misses == 3 or order == 1:
                break
    return _Series(
        band, fundamental, best, tuple(orders[:best_count]), tuple(lines[:best_count])
    )


def _centroids(power: Array, lines: list[int]) -> Array:
    """Peak positions between lines, by the centroid of the peak and its neighbours."""
    index = np.asarray(lines)[:, None] + np.array([-1, 0, 1])
    index = np.clip(index, 0, len(power) - 1)
    weights = power[index]
    return np.asarray((weights * index).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12))


def _candidates(spectra: _LineSpectra, *, lowest: int, highest: int) -> list[tuple[int, float]]:
    """Strong local maxima of the evidence, and a half and a third of them: (band, line)."""
    best_band = spectra.evidence.argmax(axis=0)
    best = spectra.evidence.max(axis=0)
    upper = min(len(best) - 1, 2 * highest)
    inner = best[1:upper]
    is_peak = (inner >= best[: upper - 1]) & (inner > best[2 : upper + 1])
    lines = 1 + np.flatnonzero(is_peak & (inner > _CANDIDATE_EVIDENCE))
    lines = lines[np.argsort(best[lines])[::-1][:_MAX_CANDIDATES]]
    found = []
    for line in lines:
        for divisor in (1, 2, 3):
            start = line / divisor
            if lowest <= start <= highest:
                found.append((int(best_band[line]), float(start)))
                nearest = round(start) - 1 + int(best[round(start) - 1 : round(start) + 2].argmax())
                if best_band[nearest] != best_band[line]:
                    found.append((int(best_band[nearest]), float(start)))
    return found


def _families(
    spectra: _LineSpectra, *, lowest: int, highest: int, max_families: int, false_alarm: float
) -> list[FrequencyFamily]:
    untouched = spectra.evidence.copy()
    price = np.log(max(spectra.n_tests, 1.0))
    families: list[FrequencyFamily] = []
    for _ in range(max_families):
        series = [
            _harmonic_series(spectra.evidence[band], spectra.power[band], start, band=band)
            for band, start in _candidates(spectra, lowest=lowest, highest=highest)
        ]
        series = [s for s in series if s.orders and s.fundamental >= lowest]
        if not series:
            break
        best = _deepest(series, spectra.evidence)
        if best.evidence - price < -np.log(false_alarm):
            break
        spacing = _sideband_spacing(untouched[best.band], best, lowest=lowest)
        if spacing is not None:
            best = _centre(untouched, spectra.power, best, spacing, lowest=lowest)
        modulation = spectra.modulation(best.band, best.lines)
        if modulation > 0:
            families.append(_describe(spectra, best, spacing, modulation, price))
        _claim(spectra, best, spacing)
    return families


def _deepest(series: list[_Series], evidence: Array) -> _Series:
    """The candidate of most evidence, or the fundamental of which it is a harmonic.

    A stronger second harmonic, perhaps in another band, must not hide the fundamental: a
    candidate at 1/n of the strongest takes its place when the lines that only it explains
    are beyond chance.
    """
    best = max(series, key=lambda s: s.evidence)
    for lower in sorted(series, key=lambda s: s.fundamental):
        multiple = round(best.fundamental / lower.fundamental)
        is_multiple = abs(best.fundamental - multiple * lower.fundamental) < 0.7 * multiple
        if not 2 <= multiple <= 5 or not is_multiple or lower.evidence < 0.3 * best.evidence:
            continue
        own = [
            float(evidence[lower.band, line])
            for order, line in zip(lower.orders, lower.lines, strict=True)
            if order % multiple
        ]
        if lower.orders[0] == 1 and own[0] > 15.0 and sum(own) > 0.2 * best.evidence:
            return lower
    return best


def _describe(
    spectra: _LineSpectra,
    series: _Series,
    spacing: float | None,
    modulation: float,
    price: float,
) -> FrequencyFamily:
    return FrequencyFamily(
        frequency_hz=series.fundamental * spectra.spacing_hz,
        significance=float((series.evidence - price) / np.log(10.0)),
        harmonics=series.orders,
        sideband_hz=None if spacing is None else spacing * spectra.spacing_hz,
        band_hz=spectra.bands_hz[series.band],
        resolution_hz=spectra.spacing_hz,
        modulation=modulation,
    )


def _at(evidence: Array, line: float, half: int = 1) -> float:
    """Largest evidence within ``half`` lines of a position."""
    first, last = round(line) - half, round(line) + half + 1
    if first < 1 or last > len(evidence):
        return 0.0
    return float(evidence[first:last].max())


def _sideband_spacing(evidence: Array, series: _Series, *, lowest: int) -> float | None:
    """Spacing at which lines stand on both sides of the harmonics, or None."""
    fundamental = series.fundamental
    reach = int(0.48 * fundamental)
    if reach <= lowest:
        return None
    spacings = np.arange(lowest, reach)
    score = np.zeros(len(spacings))
    for order in (1, 2, 3):
        centre = round(order * fundamental)
        if centre + reach + 1 >= len(evidence):
            break
        widened = np.maximum(evidence, np.maximum(np.roll(evidence, 1), np.roll(evidence, -1)))
        both = np.minimum(widened[centre - spacings], widened[centre + spacings])
        score += np.where(both > 3.0, both, 0.0)
    best = int(score.argmax())
    half = max(0, (spacings[best] // 2) - lowest)
    if len(score[half : half + 2]) and score[half : half + 2].max() > 0.5 * score[best]:
        best = half + int(score[half : half + 2].argmax())
    if score[best] < 12.0 + np.log(len(spacings)):
        return None
    return _refined_spacing(evidence, fundamental, float(spacings[best]))


def _refined_spacing(evidence: Array, fundamental: float, spacing: float) -> float:
    """Least-squares spacing from where the sidebands really stand."""
    offsets, weights = [], []
    for order in (1, 2, 3):
        for side in (-1, 1):
            nearest = round(order * fundamental + side * spacing)
            window = evidence[max(1, nearest - 2) : nearest + 3]
            if len(window) and window.max() > 3.0:
                line = max(1, nearest - 2) + int(window.argmax())
                offsets.append(side * (line - order * fundamental))
                weights.append(min(float(window.max()), 50.0))
    return float(np.average(offsets, weights=weights)) if offsets else spacing


def _centre(
    evidence: Array, power: Array, series: _Series, spacing: float, *, lowest: int
) -> _Series:
    """The most central of the frequencies that share one lattice k F + m S.

    F + S and F - S span the same lattice as F; the evidence lies symmetrically about the
    harmonics of the true one.
    """

    highest = evidence.max(axis=0)

    def compactness(fundamental: float) -> float:
        if fundamental < max(lowest, 2 * spacing) or _at(highest, fundamental) < 4.0:
            return -np.inf
        return sum(
            0.5 ** abs(m) * np.sqrt(_at(highest, k * fundamental + m * spacing))
            for k in (1, 2, 3, 4)
            for m in range(-4, 5)
        )

    shifts = [0, -1, 1, -2, 2]
    options = [compactness(series.fundamental + shift * spacing) for shift in shifts]
    shift = shifts[int(np.argmax(options))]
    if shift == 0:
        return series
    start = series.fundamental + shift * spacing
    band = int(evidence[:, round(start) - 1 : round(start) + 2].max(axis=1).argmax())
    moved = _harmonic_series(evidence[band], power[band], start, band=band)
    if not moved.orders:
        return series
    return _Series(moved.band, moved.fundamental, series.evidence, moved.orders, moved.lines)


def _claim(spectra: _LineSpectra, series: _Series, spacing: float | None) -> None:
    """Take a family's lines out of all bands; its sidebands keep a part."""
    n_lines = spectra.evidence.shape[1]
    orders = int((n_lines - 1) / series.fundamental)
    for order in range(1, orders + 1):
        centre = order * series.fundamental
        half = 3 + int(0.005 * centre)
        if spacing is not None:
            for m in (-3, -2, -1, 1, 2, 3):
                _scale(spectra, centre + m * spacing, half, 0.1)
        _scale(spectra, centre, half, 0.0)


def _scale(spectra: _LineSpectra, centre: float, half: int, factor: float) -> None:
    first, last = max(0, round(centre) - half), round(centre) + half + 1
    if last > 0:
        spectra.evidence[:, first:last] *= factor
