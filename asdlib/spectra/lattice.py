"""Lattices of lines: harmonics of a carrier with sidebands at a second frequency.

A pit of the inner ring passes the load zone once a revolution: its lines stand at
k BPFI + m fr. A pit of an element passes it once a turn of the cage: 2 k BSF + m FTF. The
carrier k = 1, m = 0 need not be the strongest of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asdlib.spectra.floor import gamma_evidence
from asdlib.spectra.lines import LineSpectra
from asdlib.spectra.series import LINE_EVIDENCE, MAX_HARMONICS, Series, claimed_lines

Array = npt.NDArray[np.float64]

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
_CENTRE_WEIGHTS = (1.0, 0.75, 0.4, 0.15)
_MAX_LATTICES = 3


def lattices(spectra: LineSpectra, modulator: Series, *, lowest: int, highest: int) -> list[Series]:
    """Carriers from ``lowest`` to ``highest`` around which lines stand at a known spacing.

    The evidence is the gamma tail of the rings' lines together, the number of rings paid for.
    At least one line of the first ring must stand out by itself. A carrier at a multiple of
    the spacing is the harmonic series of the spacing, and left out.
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
        series = lattice_series(
            evidence,
            int(bands[place]),
            float(carriers[place]),
            spacing,
            float(best[place]) - float(np.log(len(_RINGS))),
        )
        if series is not None:
            found.append(series)
        best[np.abs(carriers - carriers[place]) <= 3] = 0.0
    return found


def _nearby(
    evidence: Array, bands: npt.NDArray[np.int64], lines: npt.NDArray[np.int64], *, half: int
) -> Array:
    """Highest evidence within ``half`` lines, their number paid for; 0 outside."""
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
    carrier = start + centre_shift(row, start, spacing) * spacing
    orders: list[int] = []
    lines: list[int] = []
    offsets, ranks, weights = [], [], []
    for k in range(1, MAX_HARMONICS + 1):
        if orders and k > orders[-1] + 3:
            break
        for m in range(-3, 4):
            line = _peak(row, k * carrier + m * spacing, half=k)
            if line is None:
                continue
            orders.append(k)
            lines.append(line)
            offsets.append(line - m * spacing)
            ranks.append(float(k))
            weights.append(min(float(row[line]), 50.0) * (1.0 if m == 0 else 0.5))
    if len(lines) < 2 or 1 not in orders:
        return None
    w, r = np.array(weights), np.array(ranks)
    fitted = float((w * r * np.array(offsets)).sum() / (w * r**2).sum())
    return Series(band, fitted, total, tuple(sorted(set(orders))), tuple(lines), spacing=spacing)


def centre_shift(row: Array, start: float, spacing: float) -> int:
    """Count the spacings from ``start`` to the line about which the others lie evenly.

    F + S and F - S span the same lattice as F; the lines fall off on both sides of the
    harmonics of the true one.
    """
    scores = []
    shifts = (0, -1, 1, -2, 2)
    for shift in shifts:
        carrier = start + shift * spacing
        score = 0.0
        if carrier > 2 * spacing:
            for k in (1, 2):
                for m in range(-3, 4):
                    line = _peak(row, k * carrier + m * spacing, half=k)
                    if line is not None:
                        score += _CENTRE_WEIGHTS[abs(m)] * float(np.sqrt(row[line]))
        scores.append(score)
    return shifts[int(np.argmax(scores))]


def _peak(row: Array, place: float, *, half: int) -> int | None:
    """Highest line within ``half`` of a position, if it counts."""
    first, last = round(place) - half, round(place) + half + 1
    if first < 1 or last > len(row):
        return None
    line = first + int(row[first:last].argmax())
    return line if row[line] > LINE_EVIDENCE else None


def difference_spacings(series: list[Series], *, lowest: int, count: int = 2) -> list[float]:
    """Differences between strong lines of one band that occur at least twice [lines]."""
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
    return found[:count]


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
