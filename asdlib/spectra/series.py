"""Harmonic series and sidebands among lines whose evidence is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asdlib.spectra.lines import LineSpectra, gamma_evidence

Array = npt.NDArray[np.float64]

MAX_HARMONICS = 10
#: A harmonic or sideband counts from this evidence on (-ln p).
_LINE_EVIDENCE = 4.0


@dataclass(frozen=True)
class Series:
    """A candidate: fundamental in lines, its evidence, and the lines of its harmonics."""

    band: int
    fundamental: float
    evidence: float
    orders: tuple[int, ...]
    lines: tuple[int, ...]


def harmonic_series(evidence: Array, power: Array, start: float, *, band: int) -> Series:
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
        if value > _LINE_EVIDENCE:
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
    return Series(band, fundamental, best, tuple(orders[:best_count]), tuple(lines[:best_count]))


def _centroids(power: Array, lines: list[int]) -> Array:
    """Peak positions between lines, by the centroid of the peak and its neighbours."""
    index = np.asarray(lines)[:, None] + np.array([-1, 0, 1])
    index = np.clip(index, 0, len(power) - 1)
    weights = power[index]
    return np.asarray((weights * index).sum(axis=1) / np.maximum(weights.sum(axis=1), 1e-12))


def _at(evidence: Array, line: float, half: int = 1) -> float:
    """Largest evidence within ``half`` lines of a position."""
    first, last = round(line) - half, round(line) + half + 1
    if first < 1 or last > len(evidence):
        return 0.0
    return float(evidence[first:last].max())


def sideband_spacing(evidence: Array, series: Series, *, lowest: int) -> float | None:
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


def most_central(
    evidence: Array, power: Array, series: Series, spacing: float, *, lowest: int
) -> Series:
    """Return the most central of the frequencies that share one lattice k F + m S.

    F + S and F - S span the same lattice as F; the evidence lies symmetrically about the
    harmonics of the true one.
    """
    highest = evidence.max(axis=0)

    def compactness(fundamental: float) -> float:
        if fundamental < max(lowest, 2 * spacing) or _at(highest, fundamental) < _LINE_EVIDENCE:
            return -np.inf
        terms = [
            0.5 ** abs(m) * np.sqrt(_at(highest, k * fundamental + m * spacing))
            for k in (1, 2, 3, 4)
            for m in range(-4, 5)
        ]
        return float(sum(terms))

    shifts = [0, -1, 1, -2, 2]
    options = [compactness(series.fundamental + shift * spacing) for shift in shifts]
    shift = shifts[int(np.argmax(options))]
    if shift == 0:
        return series
    start = series.fundamental + shift * spacing
    band = int(evidence[:, round(start) - 1 : round(start) + 2].max(axis=1).argmax())
    moved = harmonic_series(evidence[band], power[band], start, band=band)
    if not moved.orders:
        return series
    return Series(moved.band, moved.fundamental, series.evidence, moved.orders, moved.lines)


def claim(spectra: LineSpectra, series: Series, spacing: float | None) -> None:
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


def _scale(spectra: LineSpectra, centre: float, half: int, factor: float) -> None:
    first, last = max(0, round(centre) - half), round(centre) + half + 1
    if last > 0:
        spectra.evidence[:, first:last] *= factor
