"""Harmonic series among lines whose evidence is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asdlib.spectra.floor import gamma_evidence
from asdlib.spectra.lines import LineSpectra

Array = npt.NDArray[np.float64]

MAX_HARMONICS = 10
#: A harmonic or sideband counts from this evidence on (-ln p).
LINE_EVIDENCE = 4.0


@dataclass(frozen=True)
class Series:
    """A candidate: fundamental in lines, its evidence, and the lines that belong to it.

    ``lines`` are those of the ``orders``, or with a ``spacing`` all that stand out of the
    lattice of sidebands.
    """

    band: int
    fundamental: float
    evidence: float
    orders: tuple[int, ...]
    lines: tuple[int, ...]
    spacing: float | None = None


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
        if value > LINE_EVIDENCE:
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


def deepest(series: list[Series], evidence: Array) -> Series:
    """Choose the candidate of most evidence, or the fundamental of which it is a harmonic.

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
            for order, line in zip(lower.orders, lower.lines, strict=False)
            if order % multiple
        ]
        if lower.orders[0] == 1 and own[0] > 15.0 and sum(own) > 0.2 * best.evidence:
            return lower
    return best


def claimed_lines(spectra: LineSpectra, series: Series) -> npt.NDArray[np.bool_]:
    """Lines of a family, to a few orders past the last that stands out: shape (n_lines,).

    Lines that merely lie at a high multiple are left alone: a ball-pass frequency may.
    """
    highest = spectra.power.max(axis=0)
    claimed = np.zeros(len(highest), np.bool_)
    known_to = max(series.orders, default=1)
    for order in range(1, known_to + 3):
        for m in range(-4, 5) if series.spacing is not None else (0,):
            centre = order * series.fundamental + m * (series.spacing or 0.0)
            half = 2 + int(0.5 * max(1.0, order / known_to))
            first, last = round(centre) - half, round(centre) + half + 1
            if first < 1 or first >= len(highest):
                continue
            reach = 1 + int(0.012 * centre)
            first -= _skirt(highest[max(0, first - reach) : first][::-1])
            last += _skirt(highest[last : last + reach])
            claimed[max(0, first) : last] = True
    return claimed


def _skirt(power: Array) -> int:
    """Lines that still stand well over the floor, counted from the start."""
    for i in range(len(power)):
        if power[i : i + 3].max() < 5.0:
            return i
    return len(power)
