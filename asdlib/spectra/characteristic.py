"""Characteristic frequencies: families of lines in squared envelope spectra.

    "Therefore, we conduct envelope spectrum analysis on audio signals to extract characteristic
    frequencies within the target sound frequency bands." (report, section 2.1)

The bands are those of the 1/3-binary tree, of a machine those in which a few of its clips have
their strongest families. In each, every line of the squared envelope spectrum is compared with
the local noise floor; lines at multiples of one frequency add up to a family (R. B. Randall and
J. Antoni, MSSP 25 (2011), sections 3 and 5), Bonferroni-corrected for the lines and bands that
were tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from asdlib.spectra.envelope import FALSE_ALARM, Array, Band, checked_clip, judged_bands
from asdlib.spectra.lines import MIN_PERIODS, LineSpectra, line_spectra
from asdlib.spectra.series import (
    Series,
    claimed_lines,
    deepest,
    difference_spacings,
    harmonic_series,
    lattice_series,
    lattices,
    sideband_spacing,
)

#: Lines from this evidence on (-ln p) are candidates for a fundamental, or a multiple of one.
_CANDIDATE_EVIDENCE = 7.0
_MAX_CANDIDATES = 48
_MAX_MODULATORS = 5
#: Bands of a machine.
N_BANDS = 6
#: A modulator has at least this evidence in its own line (-ln p), not in multiples alone.
_OWN_EVIDENCE = 12.0
#: A lattice of a smaller spacing is preferred from this share of the highest evidence on.
_FINER_SHARE = 0.6


@dataclass(frozen=True, kw_only=True)
class Family:
    """Lines at multiples of one frequency."""

    frequency_hz: float  # fitted to all harmonics
    significance: float  # -log10 of the probability that noise shows one anywhere
    harmonics: tuple[int, ...]  # orders above the noise floor, 1 = fundamental
    sideband_hz: float | None  # spacing around the harmonics, such as the shaft rate
    resolution_hz: float  # 1 / duration; the frequency is known to a part of it
    band_hz: Band  # where the family stands out most
    modulation: float  # highest harmonic over the mean squared envelope, 0 to 2; of tones 0


def characteristic_frequencies(
    y: npt.ArrayLike,
    *,
    sr: float,
    bands_hz: Sequence[Band] | None = None,
    min_hz: float | None = None,
    max_hz: float = 1000.0,
    max_families: int = 8,
    false_alarm: float = FALSE_ALARM,
    shaft_rate_hz: float | None = None,
) -> list[Family]:
    """Find the frequencies at which a sound repeats, strongest first.

    A candidate's evidence is that of its first harmonics together (S. M. Ransom et al., AJ 124
    (2002), eq. 7). Silence, a constant tone, noise, and a clip with fewer than 64 lines in its
    bands (a fraction of a second) give an empty list.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
        Sound or acceleration, any unit, at ``sr`` [Hz].
    bands_hz : sequence of (float, float), optional
        Bands to look at [Hz]. By default all 1/3-binary bands of 500 Hz and more; one band
        is about fifty times faster.
    min_hz, max_hz : float
        Lowest fundamental, by default six periods in the clip, and highest; harmonics are
        followed to twice this frequency [Hz].
    max_families, false_alarm : int, float
        Longest list; share of noise clips that may give a family.
    shaft_rate_hz : float, optional
        Spacing of sidebands to try even if the shaft is not heard [Hz].

    Raises
    ------
    InputError
        For NaN, fewer than 64 samples or band edges outside 0 to ``sr / 2``.
    """
    samples = checked_clip(y, sr=sr)
    if bands_hz is None:
        bands_hz = judged_bands(sr=sr)
    spectra = line_spectra(samples, sr=sr, bands_hz=bands_hz, max_hz=2 * max_hz)
    if spectra is None:
        return []
    found = find_series(
        spectra,
        lowest=max(MIN_PERIODS, int((min_hz or 0.0) / spectra.spacing_hz)),
        highest=int(max_hz / spectra.spacing_hz),
        max_series=max_families,
        false_alarm=false_alarm,
        spacing=None if not shaft_rate_hz else shaft_rate_hz / spectra.spacing_hz,
    )
    families = [
        family_of(spectra, series, spectra.modulation(series.band, series.lines))
        for series in found
    ]
    return sorted((f for f in families if f.modulation > 0), key=lambda f: -f.significance)


def strongest_bands(sample: Iterable[list[Family]]) -> list[Band]:
    """Bands in which the families of a few clips stand out most."""
    weights: dict[Band, float] = {}
    for family in chain.from_iterable(sample):
        gain = np.sqrt(family.significance)
        weights[family.band_hz] = weights.get(family.band_hz, 0.0) + gain
    return sorted(weights, key=lambda band: -weights[band])[:N_BANDS]


def family_of(spectra: LineSpectra, series: Series, modulation: float = 0.0) -> Family:
    """Take a family from lines to Hz."""
    hz = spectra.spacing_hz
    return Family(
        frequency_hz=series.fundamental * hz,
        significance=float(series.evidence / np.log(10.0)),
        harmonics=series.orders,
        sideband_hz=None if series.spacing is None else series.spacing * hz,
        resolution_hz=hz,
        band_hz=spectra.bands_hz[series.band],
        modulation=modulation,
    )


def find_series(
    spectra: LineSpectra,
    *,
    lowest: int,
    highest: int,
    max_series: int,
    false_alarm: float,
    spacing: float | None = None,
) -> Iterator[Series]:
    """Harmonic series and lattices of sidebands beyond chance, the strongest first.

    Candidates: series of strong lines, their halves and thirds, lattices at the slowest
    frequencies. Each takes its lines from ``spectra.evidence``; Bonferroni-corrected for the lines
    judged.
    """
    untouched, price = spectra.evidence.copy(), float(np.log(max(spectra.n_tests, 1.0)))
    threshold = price - float(np.log(false_alarm))
    modulators: list[Series] | None = None
    for _ in range(max_series):
        series = [
            harmonic_series(spectra.evidence[band], spectra.power[band], start, band=band)
            for band, start in _candidates(spectra, lowest=lowest, highest=highest)
        ]
        series = [s for s in series if s.orders and s.fundamental >= lowest]
        if modulators is None:
            strong = [s for s in series if s.evidence > threshold]
            strong = [s for s in strong if spectra.evidence[s.band, s.lines[0]] > _OWN_EVIDENCE]
            modulators = _modulators(strong, lowest=lowest, spacing=spacing)
        best = _strongest(spectra, series, modulators, lowest, highest)
        if best is None or best.evidence < threshold:
            return
        if best.spacing is None:
            best = _with_sidebands(spectra, untouched, best, lowest=lowest)
        yield replace(best, evidence=best.evidence - price)
        spectra.evidence[:, claimed_lines(spectra, best)] = 0.0


def _candidates(spectra: LineSpectra, *, lowest: int, highest: int) -> list[tuple[int, float]]:
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


def _modulators(series: list[Series], *, lowest: int, spacing: float | None = None) -> list[Series]:
    """Frequencies that may modulate carriers: a known one, slow series, repeated differences."""
    gaps = [Series(0, gap, 0.0, (), ()) for gap in difference_spacings(series, lowest=lowest)]
    found = [Series(0, spacing, 0.0, (), ())] if spacing else []
    for one in [*sorted(series, key=lambda s: s.fundamental), *gaps]:
        for other in found:
            low, high = sorted((one.fundamental, other.fundamental))
            ratios = (high / low, 2 * high / low)  # one a multiple, or both of a low one
            if any(abs(ratio - round(ratio)) < 0.02 * ratio for ratio in ratios):
                break
        else:
            found.append(one)
    return found[:_MAX_MODULATORS]


def _strongest(
    spectra: LineSpectra, series: list[Series], modulators: list[Series], lowest: int, highest: int
) -> Series | None:
    """Choose the series or lattice of most evidence; corrected for the tried spacings."""
    plain = deepest(series, spectra.evidence) if series else None
    price = np.log(1 + len(modulators))
    found = [
        replace(lattice, evidence=lattice.evidence - float(price))
        for modulator in modulators
        for lattice in lattices(spectra, modulator, lowest=lowest, highest=highest)
        if lattice.evidence > price
    ]
    if not found:
        return plain
    most = max(lattice.evidence for lattice in found)
    if plain is not None and plain.evidence >= most:
        return plain
    able = [lattice for lattice in found if lattice.evidence >= _FINER_SHARE * most]
    finest = min(lattice.spacing or 0.0 for lattice in able)
    best = max((a for a in able if a.spacing == finest), key=lambda a: a.evidence)
    return replace(best, evidence=most)


def _with_sidebands(
    spectra: LineSpectra, untouched: Array, series: Series, *, lowest: int
) -> Series:
    """Look for sidebands around a series, whatever their spacing, and for their centre.

    A spacing that divides the frequency is the fundamental, and the series its harmonics.
    """
    row = untouched[series.band]
    spacing = sideband_spacing(row, series, lowest=lowest)
    if spacing is None:
        return series
    multiple = round(series.fundamental / spacing)
    if abs(series.fundamental - multiple * spacing) < min(2.0, 0.05 * spacing):
        start = series.fundamental / multiple
        lower = harmonic_series(row, spectra.power[series.band], start, band=series.band)
        if set(range(1, multiple)) <= set(lower.orders):
            return replace(lower, evidence=series.evidence)
    lattice = lattice_series(untouched, series.band, series.fundamental, spacing, series.evidence)
    return replace(series, spacing=spacing) if lattice is None else lattice
