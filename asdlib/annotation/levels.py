"""Levels of a machine's characteristic frequencies, one for every clip.

    "These frequencies subsequently inform machine attribute annotation." (report, section 2.1)

Frequencies at which many clips of a machine gather are levels; a clip belongs to the level
that its families support most. A frequency that nearly all clips share tells none from another.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import signal

from asdlib.annotation.clustering import Labels
from asdlib.spectra.envelope import Array

#: Spread of one level: clip-to-clip scatter of a machine's speed, relative.
LEVEL_SPREAD = 0.008
#: A level needs this many clips, and this share of its domain's clips.
MIN_LEVEL_CLIPS, MIN_LEVEL_SHARE = 3, 0.02
#: A frequency in more clips than this belongs to all states, or to the hall.
COMMON_SHARE = 0.9
#: A clip may go to a level whose evidence is this share of its strongest.
CLAIM_SHARE = 0.7


@dataclass(frozen=True)
class FrequencyLevels:
    """Levels of a machine's characteristic frequency; the index of every series is clip_id."""

    levels_hz: Array  # median frequency of every level, ascending [Hz]
    labels: pd.Series[int]  # number of the clip's level, -1 where no level stands out
    confidence: pd.Series[float]  # share of the clip's evidence that its level explains, 0 to 1
    frequency_hz: pd.Series[float]  # the clip's own at its level [Hz], NaN where there is none
    coverage: float  # share of clips that have a level
    quantity: str = "envelope"  # what the frequency is of: envelope, tones or cycle
    stability: float = 0.0  # mean adjusted Rand index of levels of halves of the clips to these
    agreement: float = 0.0  # highest adjusted mutual information with another quantity's levels


def levels_of(
    track: pd.DataFrame,
    ids: pd.Index,
    groups: npt.NDArray[np.str_],
    exclude_hz: Sequence[float],
) -> FrequencyLevels:
    """Levels of one quantity, without those in nearly all clips or of the surroundings."""
    points = gather(track)
    support, centres_hz = support_of_levels(points, ids)
    telling = (support > 0).mean(axis=0) <= COMMON_SHARE
    for other_hz in exclude_hz:
        telling &= np.abs(np.log(centres_hz / other_hz)) > 2 * LEVEL_SPREAD
    support[:, ~telling] = 0.0
    assigned = _assign(support, groups)
    level_of = pd.Series(assigned, ids)
    chosen = points[points["level"] == points["clip_id"].map(level_of)]
    own = chosen.sort_values("weight").groupby("clip_id")["frequency_hz"].last().reindex(ids)
    medians = own[assigned >= 0].groupby(level_of[assigned >= 0]).median().sort_values()
    number = np.full(support.shape[1] + 1, -1, np.int64)  # the last entry serves level -1
    number[medians.index.to_numpy(np.int64)] = np.arange(len(medians))
    labels = number[assigned]
    total = support.sum(axis=1)
    held = np.where(labels >= 0, support.max(axis=1, initial=0.0), 0.0)
    return FrequencyLevels(
        levels_hz=medians.to_numpy(np.float64),
        labels=pd.Series(labels, ids),
        confidence=pd.Series(np.divide(held, total, out=np.zeros(len(ids)), where=total > 0), ids),
        frequency_hz=own,
        coverage=float((labels >= 0).mean()) if len(labels) else 0.0,
    )


def _assign(support: Array, domains: npt.NDArray[np.str_]) -> Labels:
    """Level of every clip, -1 for none; the level with most evidence is given out first."""
    assigned = np.full(len(support), -1, np.int64)
    strongest = support.max(axis=1, initial=0.0)
    claims = np.where(support >= CLAIM_SHARE * strongest[:, None], support, 0.0)
    waiting = strongest > 0
    names, domain = np.unique(domains, return_inverse=True)
    needed = np.maximum(MIN_LEVEL_CLIPS, MIN_LEVEL_SHARE * np.bincount(domain, minlength=1))
    remaining = list(range(support.shape[1]))
    while remaining and waiting.any():
        gains = claims[waiting][:, remaining].sum(axis=0)
        level = remaining.pop(int(gains.argmax()))
        taken = waiting & (claims[:, level] > 0)
        if (np.bincount(domain[taken], minlength=len(names)) >= needed).any():
            assigned[taken] = level
            waiting &= ~taken
    return assigned


def gather(track: pd.DataFrame) -> pd.DataFrame:
    """List every frequency of one quantity with its weight and its level, numbered by frequency.

    Sideband spacings count as half.
    """
    families = track[["clip_id", "frequency_hz", "significance", "resolution_hz"]]
    sidebands = track.dropna(subset=["sideband_hz"])
    sidebands = sidebands[["clip_id", "sideband_hz", "significance", "resolution_hz"]]
    sidebands = sidebands.set_axis(families.columns, axis=1)
    families = families.assign(share=1.0)
    points = pd.concat([families, sidebands.assign(share=0.5)] if len(sidebands) else [families])
    points = points.reset_index(drop=True)
    points["weight"] = points["share"] * np.sqrt(points["significance"])
    points["level"] = np.digitize(np.log(points["frequency_hz"]), _level_edges(points))
    return points


def _level_edges(points: pd.DataFrame) -> Array:
    """Valleys of the density of log frequency, deeper than half of the lower peak beside them."""
    if points.empty:
        return np.zeros(0)
    log_f = np.log(points["frequency_hz"].to_numpy(np.float64))
    resolution = points["resolution_hz"].to_numpy(np.float64)
    width = np.maximum(LEVEL_SPREAD, 0.3 * resolution / np.exp(log_f))
    weights = points["weight"].to_numpy(np.float64)
    grid = np.arange(log_f.min() - 0.1, log_f.max() + 0.1, LEVEL_SPREAD / 4)
    density = np.zeros(len(grid))
    for centre, spread, weight in zip(log_f, width, weights, strict=True):
        first, last = np.searchsorted(grid, [centre - 4 * spread, centre + 4 * spread])
        z = (grid[first:last] - centre) / spread
        density[first:last] += weight / spread * np.exp(-0.5 * z**2)
    padded = np.pad(density, 1)
    peaks, _ = signal.find_peaks(padded)
    prominence = signal.peak_prominences(padded, peaks)[0]
    peaks = peaks[prominence > 0.5 * padded[peaks]] - 1
    valleys = [a + int(density[a:b].argmin()) for a, b in itertools.pairwise(peaks)]
    return np.asarray(grid[valleys], np.float64)


def support_of_levels(points: pd.DataFrame, ids: pd.Index) -> tuple[Array, Array]:
    """Weight of every level in every clip (n_clips, n_levels), and the levels' centres [Hz]."""
    levels = points["level"].to_numpy(np.int64)
    n_levels = int(levels.max(initial=-1)) + 1
    support = np.zeros((len(ids), n_levels))
    rows = ids.get_indexer(pd.Index(points["clip_id"]))
    np.maximum.at(support, (rows, levels), points["weight"].to_numpy(np.float64))
    centres = points.groupby("level")["frequency_hz"].median().reindex(range(n_levels))
    return support, centres.to_numpy(np.float64)
