"""Artificial attributes from characteristic frequencies.

Every clip has its families of envelope lines. Frequencies at which many clips of a machine
gather are levels; a clip belongs to the level that its families support most. A frequency
that nearly all clips share tells no clip from another and is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.cores import available_cores
from asdlib.data.store import ArrayStore, content_key
from asdlib.files import write_atomically
from asdlib.spectra.characteristic import FrequencyFamily, characteristic_frequencies
from asdlib.spectra.envelope import Band

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
FULL_SCALE = 32768.0

#: Raised whenever the same clips would give other families.
CODE_VERSION = 2
_FAMILY_COLUMNS = [
    "clip_id", "rank", "frequency_hz", "significance", "sideband_hz", "resolution_hz"
]  # fmt: skip
#: Highest characteristic frequency that identifies a state [Hz].
MAX_HZ = 250.0
#: Clips from which a machine's bands are chosen, and how many bands are kept.
BAND_CLIPS, N_BANDS = 16, 6
#: Spread of one level: clip-to-clip scatter of a machine's speed, relative.
LEVEL_SPREAD = 0.008
#: A level needs this many clips, and this share of its domain's clips.
MIN_LEVEL_CLIPS, MIN_LEVEL_SHARE = 3, 0.02
#: A frequency in more clips than this belongs to all states, or to the hall.
COMMON_SHARE = 0.9
#: A clip may go to a level whose evidence is this share of its strongest.
CLAIM_SHARE = 0.7


@dataclass(frozen=True)
class FrequencyTrack:
    """Families of all clips of one machine.

    Attributes
    ----------
    families : DataFrame
        ``clip_id, rank, frequency_hz, significance, sideband_hz, resolution_hz``; rank 1 is
        the strongest family of the clip; clips without a family have no row.
    bands_hz : list of (float, float)
        The bands that were looked at in every clip [Hz].
    """

    families: pd.DataFrame
    bands_hz: list[Band]


def track_frequencies(
    clip_ids: Sequence[str],
    waveforms: ArrayStore,
    *,
    sr: float,
    seed: int,
    bands_hz: list[Band] | None = None,
    cache_dir: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> FrequencyTrack:
    """Find the characteristic frequencies of all clips of a machine, in the machine's own bands.

    With ``cache_dir``, what was found before for the same clips, store and arguments is read
    from ``<cache_dir>/families/<key>.json``.

    Parameters
    ----------
    clip_ids : sequence of str
        Clips of one machine.
    waveforms : ArrayStore
        int16 samples, one ragged row per clip.
    sr : float
        Sampling rate of the store [Hz].
    seed : int
        Draws the clips from which the bands are chosen.
    bands_hz : list of (float, float), optional
        Bands to look at [Hz]; chosen from 16 clips by default.
    cache_dir : Path, optional
        Folder of the caches.
    workers : int, optional
        Threads; all processors by default.
    on_progress : callable
        Called with the number of clips just finished.
    """
    positions = waveforms.positions(list(clip_ids)).tolist()
    arguments = {
        "code_version": CODE_VERSION,
        "waveforms": waveforms.directory.name,
        "clip_ids": list(clip_ids),
        "sr": sr,
        "seed": seed,
        "bands_hz": bands_hz,
    }
    path = cache_dir and cache_dir / "families" / f"{content_key(arguments)}.json"
    if path and path.exists():
        on_progress(len(positions))
        return _read_track(path)
    workers = workers or available_cores()

    def analyse(position: int, bands_hz: list[Band] | None) -> list[FrequencyFamily]:
        samples = waveforms.row(position) / FULL_SCALE
        if len(samples) < sr / 4:
            return []
        return characteristic_frequencies(samples, sr=sr, bands_hz=bands_hz, max_hz=MAX_HZ)

    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(positions))[:BAND_CLIPS]
    with ThreadPoolExecutor(workers) as pool:
        if bands_hz is None:
            sample = pool.map(lambda i: analyse(positions[i], None), sorted(chosen))
            bands_hz = _machine_bands(list(sample))
        rows = []
        if bands_hz:
            found = pool.map(partial(analyse, bands_hz=bands_hz), positions)
            for clip_id, families in zip(clip_ids, found, strict=True):
                rows.extend(_rows(clip_id, families))
                on_progress(1)
        else:
            on_progress(len(positions))
    track = FrequencyTrack(pd.DataFrame(rows, columns=_FAMILY_COLUMNS), bands_hz)
    if path:
        content = {"bands_hz": bands_hz, "families": track.families.to_dict("list")}
        write_atomically(path, json.dumps(content))
    return track


def _read_track(path: Path) -> FrequencyTrack:
    content = json.loads(path.read_text(encoding="utf-8"))
    families = pd.DataFrame(content["families"], columns=_FAMILY_COLUMNS)
    return FrequencyTrack(families, [(low, high) for low, high in content["bands_hz"]])


def _rows(clip_id: str, families: list[FrequencyFamily]) -> list[tuple[object, ...]]:
    return [
        (
            clip_id,
            rank,
            family.frequency_hz,
            family.significance,
            np.nan if family.sideband_hz is None else family.sideband_hz,
            family.resolution_hz,
        )
        for rank, family in enumerate(families, start=1)
    ]


def _machine_bands(sample: list[list[FrequencyFamily]]) -> list[Band]:
    """Bands in which the families of a few clips stand out most."""
    weights: dict[Band, float] = {}
    for families in sample:
        for family in families:
            gain = np.sqrt(family.significance)
            weights[family.band_hz] = weights.get(family.band_hz, 0.0) + gain
    ranked = sorted(weights, key=lambda band: -weights[band])
    return ranked[:N_BANDS]


@dataclass(frozen=True)
class FrequencyLevels:
    """Levels of a machine's characteristic frequency and the level of every clip.

    Attributes
    ----------
    levels_hz : ndarray of float64, shape (n_levels,)
        Median frequency of every level, ascending [Hz].
    labels : pandas.Series of int
        Index: clip_id; number of the level, -1 where no level stands out.
    confidence : pandas.Series of float
        Share of the clip's evidence that its level explains, 0 to 1.
    frequency_hz : pandas.Series of float
        The clip's own frequency at its level [Hz], NaN where there is none.
    coverage : float
        Share of clips that have a level.
    """

    levels_hz: Array
    labels: pd.Series[int]
    confidence: pd.Series[float]
    frequency_hz: pd.Series[float]
    coverage: float


def find_levels(
    track: pd.DataFrame,
    clip_ids: Sequence[str],
    *,
    domains: Sequence[str] | None = None,
    exclude_hz: Sequence[float] = (),
) -> FrequencyLevels:
    """Group the clips of one machine by the levels of their characteristic frequency.

    The frequencies of all clips form a density over log f, whose kernel is as wide as the
    scatter of a machine's speed or the resolution 1 / duration, whichever is wider. Levels
    are its peaks; two peaks with no valley between them are one. Clips are given out level
    by level, the level with most evidence first: a clip goes to it if none of its other
    families is much stronger.

    Parameters
    ----------
    track : DataFrame
        Families of the clips, `FrequencyTrack.families`.
    clip_ids : sequence of str
        All clips of the machine, those without a family included.
    domains : sequence of str, optional
        Domain of each clip; a level must have its share of one domain's clips.
    exclude_hz : sequence of float
        Frequencies that belong to the surroundings [Hz].

    Returns
    -------
    FrequencyLevels
        Without levels when no line stands out, or all clips share the one there is.
    """
    ids = pd.Index(clip_ids)
    points = _points(track)
    support, centres_hz = _support(points, ids)
    told_apart = _telling(support, centres_hz, exclude_hz)
    support[:, ~told_apart] = 0.0
    groups = np.asarray([""] * len(ids) if domains is None else list(domains))
    assigned = _assign(support, groups)
    return _collect(assigned, support, points, ids)


def _support(points: pd.DataFrame, ids: pd.Index) -> tuple[Array, Array]:
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
    points = _points(track)
    support, centres_hz = _support(points, pd.Index(points["clip_id"].unique()))
    is_common = (support > 0).sum(axis=0) >= max(2.0, share * n_clips)
    return [float(hz) for hz in centres_hz[is_common]]


def _points(track: pd.DataFrame) -> pd.DataFrame:
    """List every frequency of every clip with its weight and the number of its level.

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


def _telling(
    support: Array, centres_hz: Array, exclude_hz: Sequence[float]
) -> npt.NDArray[np.bool_]:
    """Whether a level is neither in nearly all clips nor of the surroundings."""
    telling = np.asarray((support > 0).mean(axis=0) <= COMMON_SHARE)
    for other_hz in exclude_hz:
        telling &= np.abs(np.log(centres_hz / other_hz)) > 2 * LEVEL_SPREAD
    return telling


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


def _collect(
    assigned: Labels, support: Array, points: pd.DataFrame, ids: pd.Index
) -> FrequencyLevels:
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
