"""Where the frequencies of a machine's clips gather: candidates for its levels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[np.float64]

#: Spread of one level: clip-to-clip scatter of a machine's speed, relative.
LEVEL_SPREAD = 0.008


def gather(track: pd.DataFrame) -> pd.DataFrame:
    """List every frequency of every clip with its weight and the number of its level.

    Parameters
    ----------
    track : DataFrame
        ``clip_id, frequency_hz, significance, resolution_hz, sideband_hz``: what
        `asdlib.annotation.track_frequencies` found of one quantity. Sideband spacings count
        as half.

    Returns
    -------
    DataFrame
        ``clip_id, frequency_hz, significance, resolution_hz, share, weight, level``; levels from
        0, in the order of frequency.
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
    """Valleys of the density of log frequency."""
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
    return _valleys(grid, density)


def _valleys(grid: Array, density: Array) -> Array:
    """Positions between peaks where the density falls under half of the lower peak."""
    inner = density[1:-1]
    peaks = 1 + np.flatnonzero((inner >= density[:-2]) & (inner > density[2:]))
    edges: list[float] = []
    lowest, place = np.inf, 0
    top = density[peaks[0]] if len(peaks) else 0.0
    for previous, peak in zip(peaks[:-1], peaks[1:], strict=True):
        between = previous + int(density[previous:peak].argmin())
        if density[between] < lowest:
            lowest, place = density[between], between
        if lowest < 0.5 * min(top, density[peak]):
            edges.append(float(grid[place]))
            top, lowest = density[peak], np.inf
        elif density[peak] > top:
            top, lowest = density[peak], np.inf
    return np.array(edges)


def support_of_levels(points: pd.DataFrame, ids: pd.Index) -> tuple[Array, Array]:
    """Weight of every level in every clip (n_clips, n_levels), and the levels' centres [Hz]."""
    levels = points["level"].to_numpy(np.int64)
    n_levels = int(levels.max(initial=-1)) + 1
    support = np.zeros((len(ids), n_levels))
    rows = ids.get_indexer(pd.Index(points["clip_id"]))
    np.maximum.at(support, (rows, levels), points["weight"].to_numpy(np.float64))
    centres = points.groupby("level")["frequency_hz"].median().reindex(range(n_levels))
    return support, centres.to_numpy(np.float64)


def common_frequencies(track: pd.DataFrame, n_clips: int, *, share: float = 0.2) -> list[float]:
    """Frequencies [Hz] found in at least a share of some clips, such as noise alone."""
    if track.empty:
        return []
    points = gather(track)
    support, centres_hz = support_of_levels(points, pd.Index(points["clip_id"].unique()))
    is_common = (support > 0).sum(axis=0) >= max(2.0, share * n_clips)
    return [float(hz) for hz in centres_hz[is_common]]
