"""Search for what repeats: lines at multiples of one frequency, and the sidebands around them.

Lines of one family add up (R. B. Randall and J. Antoni, MSSP 25 (2011), sections 3 and 5),
Bonferroni-corrected for the lines and bands that were tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from asdlib.spectra.envelope import Array
from asdlib.spectra.lines import LineSpectra
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
#: A modulator has at least this evidence in its own line (-ln p), not in multiples alone.
_OWN_EVIDENCE = 12.0
#: A lattice of a smaller spacing is preferred from this share of the highest evidence on.
_FINER_SHARE = 0.6


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
