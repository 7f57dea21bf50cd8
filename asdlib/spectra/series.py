"""Candidates among lines whose evidence is known: harmonic series, and lattices of sidebands.

A lattice is a carrier with sidebands: a pit of the inner ring passes the load zone once a
revolution, k BPFI + m fr; one of an element once a turn of the cage, 2 k BSF + m FTF. The carrier
k = 1, m = 0 need not be the strongest of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asdlib.spectra.envelope import Array
from asdlib.spectra.lines import LineSpectra, gamma_evidence

MAX_HARMONICS = 10
#: A harmonic or sideband counts from this evidence on (-ln p).
LINE_EVIDENCE = 4.0
#: Lines (k, m) of a lattice k F + m S, in rings that are added one after the other.
_RINGS: tuple[tuple[tuple[int, int], ...], ...] = (
    ((1, 0), (1, -1), (1, 1)),
    ((1, -2), (1, 2)),
    ((2, 0), (2, -1), (2, 1)),
    ((2, -2), (2, 2), (1, -3), (1, 3)),
)
#: A carrier is looked for around lines from this evidence on (-ln p).
_SEED_EVIDENCE = 5.0
#: How much sidebands count when the centre of a lattice is chosen, by abs(m).
_CENTRE_WEIGHTS = (1.0, 0.9, 0.6, 0.3)
_CENTRE_ORDERS = 4  #: S off at the first harmonic is k S off at the k-th.
_MAX_LATTICES = 3


@dataclass(frozen=True)
class Series:
    """A candidate: fundamental in lines, its evidence, and the lines that belong to it.

    ``lines`` are those of the ``orders``; with a ``spacing``, all of the lattice of sidebands.
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
            # Peak positions between lines, by the centroid of the peak and its neighbours.
            index = np.clip(np.asarray(lines)[:, None] + np.array([-1, 0, 1]), 0, len(power) - 1)
            near = power[index]
            centroids = (near * index).sum(axis=1) / np.maximum(near.sum(axis=1), 1e-12)
            fitted = float((weights * ranks * centroids).sum())
            fundamental = fitted / float((weights * ranks**2).sum())
            known_to, misses = order, 0
            if score > best:
                best, best_count = score, len(orders)
        else:
            misses += 1
            if misses == 3 or order == 1:
                break
    return Series(band, fundamental, best, tuple(orders[:best_count]), tuple(lines[:best_count]))


def deepest(series: list[Series], evidence: Array) -> Series:
    """Choose the candidate of most evidence, or the fundamental of which it is a harmonic.

    A candidate at 1/n of the strongest takes its place when the lines that only it explains
    are beyond chance: a stronger second harmonic must not hide the fundamental.
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
            if not 1 <= first < len(highest):
                continue
            reach = 1 + int(0.012 * centre)
            first -= _skirt(highest[max(0, first - reach) : first][::-1])
            last += _skirt(highest[last : last + reach])
            claimed[max(0, first) : last] = True
    return claimed


def _skirt(power: Array) -> int:
    """Lines that still stand well over the floor, counted from the start."""
    low = (i for i in range(len(power)) if power[i : i + 3].max() < 5.0)
    return next(low, len(power))


def lattices(spectra: LineSpectra, modulator: Series, *, lowest: int, highest: int) -> list[Series]:
    """Carriers from ``lowest`` to ``highest`` around which lines stand at a known spacing.

    Evidence: gamma tail of the rings together, Bonferroni-corrected; one line of the first ring
    must stand out. Multiples of the spacing are its own harmonic series and left out.
    """
    spacing = modulator.fundamental
    evidence = spectra.evidence.copy()
    evidence[:, claimed_lines(spectra, modulator)] = 0.0
    bands, places = np.nonzero(evidence > _SEED_EVIDENCE)
    carriers = np.concatenate([places + round(m * spacing) for _, m in _RINGS[0]])
    bands = np.tile(bands, len(_RINGS[0]))
    ratio = carriers / spacing
    tolerance = 2.0 + 0.25 * ratio + 0.006 * carriers
    is_multiple = np.abs(ratio - np.round(ratio)) * spacing < tolerance
    eligible = (carriers >= max(lowest, 2.5 * spacing)) & (carriers <= highest) & ~is_multiple
    bands, carriers = bands[eligible], carriers[eligible]
    best: Array = np.zeros(len(bands))
    total, shape = np.zeros(len(bands)), 0
    for ring in _RINGS:
        for k, m in ring:
            total += _nearby(evidence, bands, k * carriers + round(m * spacing), half=k)
        shape += len(ring)
        best = np.maximum(best, gamma_evidence(shape, total))
    found = []
    for _ in range(_MAX_LATTICES):
        if not len(best) or best.max() <= np.log(len(_RINGS)):
            break
        place = int(best.argmax())
        total_evidence = float(best[place]) - float(np.log(len(_RINGS)))
        start = float(carriers[place])
        series = lattice_series(evidence, int(bands[place]), start, spacing, total_evidence)
        if series is not None:
            found.append(series)
        best[np.abs(carriers - carriers[place]) <= 3] = 0.0
    return found


def _nearby(
    evidence: Array, bands: npt.NDArray[np.int64], lines: npt.NDArray[np.int64], *, half: int
) -> Array:
    """Highest evidence within ``half`` lines, corrected for their number; 0 outside."""
    highest = np.zeros(len(lines))
    for offset in range(-half, half + 1):
        index = lines + offset
        inside = (index > 0) & (index < evidence.shape[1])
        value = evidence[bands, np.where(inside, index, 0)]
        np.maximum(highest, np.where(inside, value, 0.0), out=highest)
    return np.asarray(np.maximum(highest - np.log(2 * half + 1), 0.0))


def lattice_series(
    evidence: Array, band: int, start: float, spacing: float, total: float
) -> Series | None:
    """Carrier and lines of a lattice near ``start``; None when fewer than two lines stand."""
    row = evidence[band]
    found: list[tuple[int, int, int]] = []
    for peak in _peaks(row, _centre(row, start, spacing), spacing, MAX_HARMONICS):
        if found and peak[0] > found[-1][0] + 3:
            break
        found.append(peak)
    if len(found) < 2 or found[0][0] != 1:
        return None
    orders, sides, lines = np.array(found).T
    weights = np.minimum(row[lines], 50.0) * np.where(sides == 0, 1.0, 0.5)
    fitted = (weights * orders * (lines - sides * spacing)).sum() / (weights * orders**2).sum()
    distinct = tuple(sorted(set(orders.tolist())))
    return Series(band, float(fitted), total, distinct, tuple(lines.tolist()), spacing=spacing)


def _centre(row: Array, start: float, spacing: float) -> float:
    """Choose the carrier, by whole spacings from ``start``, about which the lines lie evenly.

    F + S and F - S span the same lattice as F; the lines fall off on both sides of the
    harmonics of the true one, which all have their say: a weak centre does not mislead them.
    """
    carriers = [start + shift * spacing for shift in (0, -1, 1, -2, 2)]
    scores = [
        sum(
            _CENTRE_WEIGHTS[abs(m)] * float(np.sqrt(row[line]))
            for _, m, line in _peaks(row, carrier, spacing, _CENTRE_ORDERS)
        )
        if carrier > 2 * spacing
        else 0.0
        for carrier in carriers
    ]
    return carriers[int(np.argmax(scores))]


def _peaks(
    row: Array, carrier: float, spacing: float, n_orders: int
) -> Iterator[tuple[int, int, int]]:
    """Lines of a lattice that count: order, sideband, and the highest line within ``order``."""
    for k in range(1, n_orders + 1):
        for m in range(-3, 4):
            place = round(k * carrier + m * spacing)
            if place - k >= 1 and place + k < len(row):
                line = place - k + int(row[place - k : place + k + 1].argmax())
                if row[line] > LINE_EVIDENCE:
                    yield k, m, line


def difference_spacings(series: list[Series], *, lowest: int) -> list[float]:
    """Two differences between strong lines of one band that occur at least twice [lines]."""
    by_band: dict[int, list[float]] = {}
    for one in sorted(series, key=lambda s: -s.evidence)[:24]:
        by_band.setdefault(one.band, []).append(one.fundamental)
    differences = []
    for places in by_band.values():
        distinct = np.unique(np.round(places, 1))
        gaps = np.abs(distinct[:, None] - distinct)[np.triu_indices(len(distinct), 1)]
        differences.extend(gaps[gaps >= lowest].tolist())
    found: list[float] = []
    gaps = np.sort(differences)
    for gap in gaps:
        close = gaps[np.abs(gaps - gap) < 1.5]
        if len(close) >= 2 and all(abs(gap - other) > 3 for other in found):
            found.append(float(close.mean()))
    return found[:2]


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
    # Least squares from where the sidebands really stand.
    spacing, offsets, weights = float(spacings[best]), [], []
    for order in (1, 2, 3):
        for side in (-1, 1):
            first = max(1, round(order * fundamental + side * spacing) - 2)
            window = evidence[first : round(order * fundamental + side * spacing) + 3]
            if len(window) and window.max() > 3.0:
                line = first + int(window.argmax())
                offsets.append(side * (line - order * fundamental))
                weights.append(min(float(window.max()), 50.0))
    return float(np.average(offsets, weights=weights)) if offsets else spacing
