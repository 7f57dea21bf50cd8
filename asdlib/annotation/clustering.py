"""Artificial attributes from clusters of log-mel statistics.

The number of clusters comes from the data: a number counts only when its clusters are
separated better than those of unstructured data of the same covariance, and when half of the
clips lead to the same clusters as the other half. When no number counts, the machine has no
structure, and that is the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.annotation.partitions import (
    ALGORITHMS,
    MIN_STABILITY,
    bic,
    cluster_centres,
    distances,
    silhouette,
    stability,
    unstructured_like,
)
from asdlib.errors import InputError

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

MAX_CLUSTERS = 16
#: Clips below which no number of clusters can be told from chance.
MIN_CLIPS = 20
#: A cluster count's silhouette must exceed that of unstructured data by this, and 3 deviations.
MIN_EXCESS = 0.05
#: Fewer clips than this are no cluster.
MIN_CLUSTER_CLIPS = 3
#: A stray clip is this much further from its neighbours than nine clips in ten are.
STRAY_FACTOR = 3.0
_N_REFERENCES = 6
_CRITERION = [
    "n_clusters", "silhouette", "reference", "reference_std", "stability", "bic", "is_accepted",
]  # fmt: skip


@dataclass(frozen=True)
class Clustering:
    """Clusters of the clips of one machine.

    Attributes
    ----------
    labels : ndarray of int64, shape (n_clips,)
        Cluster of every clip, 0 for all when there is no structure.
    confidence : ndarray of float64, shape (n_clips,)
        1 - (distance to own centre / distance to the next), 0 to 1.
    is_outlier : ndarray of bool, shape (n_clips,)
        Further from its centre than the cluster's quartiles make plausible.
    criterion : DataFrame
        ``n_clusters, silhouette, reference, reference_std, stability, bic, is_accepted``.
    n_clusters : int
        1 when there is no structure.
    stability, silhouette : float
        Of the chosen number; 0 when there is none.
    """

    labels: Labels
    confidence: Array
    is_outlier: npt.NDArray[np.bool_]
    criterion: pd.DataFrame
    n_clusters: int
    stability: float
    silhouette: float


def find_clusters(
    points: Array, *, seed: int, max_clusters: int = MAX_CLUSTERS, algorithm: str = "kmeans"
) -> Clustering:
    """Cluster points, with the number of clusters from the data.

    Among the accepted numbers (see the module) the one with the highest silhouette is taken.
    One or two clips far from all others are no state of a machine, and would hide what states
    there are: they are left out and then join the nearest cluster, as outliers.

    Parameters
    ----------
    points : ndarray of float64, shape (n_clips, n_dimensions)
    seed : int
        Starts and resampling.
    max_clusters : int
        Largest number tried; never more than one cluster for five clips.
    algorithm : {"kmeans", "gmm", "agglomerative"}

    Returns
    -------
    Clustering

    Raises
    ------
    InputError
        For an unknown algorithm or points that are not finite.
    """
    if algorithm not in ALGORITHMS:
        raise InputError(f"algorithm = {algorithm!r}: expected one of {', '.join(ALGORITHMS)}.")
    if not np.isfinite(points).all():
        raise InputError("points hold NaN or infinite values. Drop silent clips first.")
    largest = min(max_clusters, len(points) // 5)
    if len(points) < MIN_CLIPS or largest < 2 or np.ptp(points) < 1e-9:
        return _unstructured(len(points), pd.DataFrame(columns=_CRITERION))
    is_stray = _find_strays(points)
    points, everything = points[~is_stray], points
    rng = np.random.default_rng(seed)
    references = [unstructured_like(points, rng) for _ in range(_N_REFERENCES)]
    rows, partition_of = [], {}
    for count in range(2, largest + 1):
        partition_of[count] = labels = ALGORITHMS[algorithm](points, count, seed)
        values = [
            silhouette(r, ALGORITHMS[algorithm](r, count, seed), seed=seed) for r in references
        ]
        reference, spread = float(np.mean(values)), float(np.std(values))
        own = silhouette(points, labels, seed=seed)
        is_separated = own > reference + max(MIN_EXCESS, 3 * spread)
        repeats = stability(points, count, algorithm, rng) if is_separated else np.nan
        is_filled = np.unique(labels, return_counts=True)[1].min() >= MIN_CLUSTER_CLIPS
        accepted = is_separated and is_filled and repeats >= MIN_STABILITY
        rows.append((count, own, reference, spread, repeats, bic(points, labels), accepted))
    criterion = pd.DataFrame(rows, columns=_CRITERION)
    accepted_rows = criterion[criterion["is_accepted"]]
    if accepted_rows.empty:
        return replace(_unstructured(len(everything), criterion), is_outlier=is_stray)
    best = accepted_rows.loc[accepted_rows["silhouette"].idxmax()]
    own_labels = _by_size(partition_of[int(best["n_clusters"])])
    labels = np.zeros(len(everything), np.int64)
    labels[~is_stray] = own_labels
    centres = cluster_centres(points, own_labels)
    labels[is_stray] = distances(everything[is_stray], centres).argmin(axis=1)
    confidence, is_outlier = _membership(everything, labels)
    return Clustering(
        labels,
        confidence,
        is_outlier | is_stray,
        criterion,
        int(best["n_clusters"]),
        float(best["stability"]),
        float(best["silhouette"]),
    )


def _find_strays(points: Array) -> npt.NDArray[np.bool_]:
    """Clips much further from their second neighbour than nearly all others are."""
    from sklearn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=MIN_CLUSTER_CLIPS).fit(points)
    reach = model.kneighbors(points)[0][:, -1]
    return np.asarray(reach > STRAY_FACTOR * np.quantile(reach, 0.9), dtype=np.bool_)


def find_clusters_by_domain(points: Array, domains: Sequence[str], *, seed: int) -> Clustering:
    """Cluster the largest domain, then give clusters of their own to the others.

    A class holds its domain's name, and another microphone is no attribute; so domains never
    share a cluster. A small domain (ten target clips) cannot tell its number of clusters; its
    clips are joined (average linkage) until they are further apart than clips of one cluster
    are in the largest domain (median distance within clusters times 1.5).

    Parameters
    ----------
    points : ndarray of float64, shape (n_clips, n_dimensions)
    domains : sequence of str
        Domain of every clip.
    seed : int
    """
    from sklearn.cluster import AgglomerativeClustering

    names, domain = np.unique(np.asarray(domains, dtype=str), return_inverse=True)
    largest = int(np.bincount(domain).argmax())
    inside = domain == largest
    main = find_clusters(points[inside], seed=seed)
    if len(names) == 1 or main.n_clusters == 1:
        if len(names) == 1:
            return main
        return _unstructured(len(points), main.criterion)
    reach = 1.5 * _inner_distance(points[inside], main.labels)
    labels: Labels = np.zeros(len(points), np.int64)
    confidence, is_outlier = np.zeros(len(points)), np.zeros(len(points), np.bool_)
    labels[inside], confidence[inside] = main.labels, main.confidence
    is_outlier[inside] = main.is_outlier
    count = main.n_clusters
    for number in range(len(names)):
        members = np.flatnonzero(domain == number)
        if number == largest:
            continue
        own: Labels = np.zeros(len(members), np.int64)
        if len(members) > 1:
            model = AgglomerativeClustering(
                n_clusters=None, distance_threshold=reach, linkage="average"
            )
            own = np.asarray(model.fit_predict(points[members]), dtype=np.int64)
        labels[members] = count + _by_size(own)
        confidence[members] = 0.5  # too few clips for the criteria above
        count += int(own.max()) + 1
    return replace(
        main, labels=labels, confidence=confidence, is_outlier=is_outlier, n_clusters=count
    )


def _inner_distance(points: Array, labels: Labels) -> float:
    """Median distance of two clips of one cluster."""
    from scipy.spatial.distance import pdist

    parts = [pdist(points[labels == label]) for label in np.unique(labels)]
    return float(np.median(np.concatenate(parts)))


def _unstructured(count: int, criterion: pd.DataFrame) -> Clustering:
    return Clustering(
        np.zeros(count, np.int64), np.ones(count), np.zeros(count, np.bool_), criterion, 1, 0.0, 0.0
    )


def _by_size(labels: Labels) -> Labels:
    """Renumber clusters from the largest to the smallest."""
    counts = np.bincount(labels)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[labels]


def _membership(points: Array, labels: Labels) -> tuple[Array, npt.NDArray[np.bool_]]:
    names = np.unique(labels)
    to_centres = distances(points, cluster_centres(points, labels))
    nearest, second = np.sort(to_centres, axis=1)[:, :2].T
    confidence = 1.0 - np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
    own = to_centres[np.arange(len(points)), np.searchsorted(names, labels)]
    is_outlier = np.zeros(len(points), np.bool_)
    for name in names:
        inside = labels == name
        low, high = np.quantile(own[inside], [0.25, 0.75])
        is_outlier[inside] = own[inside] > high + 3.0 * (high - low)
    return confidence, is_outlier
