"""What a machine's annotation rests on: clusters, frequency levels, and how far to trust them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asdlib.annotation.clustering import MIN_CLIPS, Clustering, find_clusters
from asdlib.annotation.frequencies import FrequencyTrack
from asdlib.annotation.levels import FrequencyLevels
from asdlib.annotation.partitions import information

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

#: Neighbours that lend a clip without a line its level.
_NEIGHBOURS = 5


@dataclass(frozen=True)
class MachineEvidence:
    """What one machine's annotation rests on, for figures and for the curious.

    Attributes
    ----------
    machine_type, section : str
    clip_ids : list of str
        Training clips, the order of ``points`` and of the labels.
    points : ndarray of float64, shape (n_clips, n_dimensions)
        Principal components of the log-mel statistics [dB].
    clustering : Clustering
    track : FrequencyTrack
    levels : FrequencyLevels
    """

    machine_type: str
    section: str
    clip_ids: list[str]
    points: Array
    clustering: Clustering
    track: FrequencyTrack
    levels: FrequencyLevels


def judge(details: MachineEvidence, *, seed: int) -> dict[str, object]:
    """Quantities that the rule looks at."""
    from sklearn.metrics import homogeneity_score, normalized_mutual_info_score

    levels, clustering = details.levels, details.clustering
    frequency_labels = np.asarray(levels.labels, dtype=np.int64)
    splits = split_levels(details, seed=seed)
    return {
        "n_levels": len(levels.levels_hz),
        "coverage": levels.coverage,
        "level_stability": levels.stability,
        "level_quantity": levels.quantity,
        "level_gap": _level_gap(levels),
        "level_predictability": _predictability(details.points, frequency_labels),
        "level_information": levels.information,
        "n_clusters": clustering.n_clusters,
        "cluster_stability": clustering.stability,
        "cluster_information": information(clustering.labels, clustering.stability),
        "silhouette": clustering.silhouette,
        "agreement_nmi": float(normalized_mutual_info_score(frequency_labels, clustering.labels)),
        "levels_told_by_clusters": float(homogeneity_score(frequency_labels, clustering.labels)),
        "n_split_levels": len(splits),
    }


def _level_gap(levels: FrequencyLevels) -> float:
    """Smallest distance of neighbouring levels over the scatter within levels, in log f."""
    if len(levels.levels_hz) < 2:
        return 0.0
    inside = levels.labels >= 0
    centres = levels.levels_hz[levels.labels[inside].to_numpy()]
    scatter = float(np.median(np.abs(np.log(levels.frequency_hz[inside] / centres)))) * 1.48
    return float(np.diff(np.log(levels.levels_hz)).min() / max(scatter, 1e-4))


def _predictability(points: Array, labels: Labels) -> float:
    """Share of clips whose label their nearest other clips in ``points`` tell, above chance.

    0 = no better than the most frequent label, 1 = always.
    """
    inside = labels >= 0
    names, counts = np.unique(labels[inside], return_counts=True)
    if len(names) < 2 or inside.sum() < MIN_CLIPS:
        return 0.0
    told = neighbour_labels(points[inside], points[inside], labels[inside], skip_first=True)
    chance = counts.max() / counts.sum()
    return float(max(0.0, ((told == labels[inside]).mean() - chance) / (1.0 - chance)))


def neighbour_labels(
    points: Array, known: Array, labels: Labels, *, skip_first: bool = False
) -> Labels:
    """Majority label of the nearest known clips of every point.

    Parameters
    ----------
    points : ndarray of float64, shape (n_points, n_dimensions)
    known : ndarray of float64, shape (n_known, n_dimensions)
    labels : ndarray of int64, shape (n_known,)
        Labels of the known clips, from 0.
    skip_first : bool
        Leave the nearest one out: the point itself, where ``points`` are ``known``.
    """
    from sklearn.neighbors import NearestNeighbors

    first = int(skip_first)
    count = min(_NEIGHBOURS + first, len(known))
    nearest = NearestNeighbors(n_neighbors=count).fit(known).kneighbors(points)[1][:, first:]
    return np.array([np.bincount(row).argmax() for row in labels[nearest]], dtype=np.int64)


def split_levels(details: MachineEvidence, *, seed: int) -> dict[int, Clustering]:
    """Levels whose clips fall into accepted clusters."""
    labels = details.levels.labels.to_numpy()
    found = {}
    for level in range(len(details.levels.levels_hz)):
        inside = labels == level
        if inside.sum() >= MIN_CLIPS:
            clustering = find_clusters(details.points[inside], seed=seed, max_clusters=6)
            if clustering.n_clusters > 1:
                found[level] = clustering
    return found
