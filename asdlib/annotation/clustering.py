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

from asdlib.data.store import ArrayStore
from asdlib.errors import InputError

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

MAX_CLUSTERS = 16
#: Clips below which no number of clusters can be told from chance.
MIN_CLIPS = 20
#: A cluster count needs this agreement (adjusted Rand) between halves of the clips.
MIN_STABILITY = 0.8
#: Its silhouette must exceed that of unstructured data by this much, and by 3 deviations.
MIN_EXCESS = 0.05
N_HALVES, N_REFERENCES = 8, 6
_MAX_COMPONENTS = 12
_SILHOUETTE_CLIPS = 500


def clip_statistics(
    log_mel: ArrayStore,
    clip_ids: Sequence[str],
    *,
    noise_ids: Sequence[str] = (),
    level_normalised: bool = True,
) -> Array:
    """Represent every clip by the time statistics of its log-mel spectrogram.

    Mean and standard deviation over time and the 10 % and 90 % points of every mel band. The
    levels of a clip are counted from its own mean level, so that the distance to the
    microphone does not make a cluster. Where recordings of the surroundings alone exist,
    each band is weighted by the share of the machine's power in it.

    Parameters
    ----------
    log_mel : ArrayStore
        Rows (n_mels, n_frames) [dB].
    clip_ids : sequence of str
        The clips, all of one machine.
    noise_ids : sequence of str
        Supplemental noise clips of the machine.
    level_normalised : bool
        Subtract each clip's mean level.

    Returns
    -------
    ndarray of float64, shape (n_clips, 4 * n_mels)
        [dB], weighted.
    """
    rows = [_statistics(log_mel, position) for position in log_mel.positions(list(clip_ids))]
    statistics = np.stack(rows)
    weights = np.ones(statistics.shape[2])
    if len(noise_ids):
        noise = [_statistics(log_mel, i)[0] for i in log_mel.positions(list(noise_ids))]
        excess_db = np.median(statistics[:, 0], axis=0) - np.median(np.stack(noise), axis=0)
        weights = np.clip(1.0 - 10.0 ** (-excess_db / 10.0), 0.1, 1.0)
    if level_normalised:
        level = np.average(statistics[:, 0], axis=1, weights=weights)
        statistics[:, [0, 2, 3]] -= level[:, None, None]
    log_mel.release()
    return np.asarray((statistics * weights).reshape(len(statistics), -1))


def _statistics(log_mel: ArrayStore, position: np.int64) -> Array:
    spectrogram = np.asarray(log_mel.row(int(position)), dtype=np.float64)
    low, high = np.quantile(spectrogram, [0.1, 0.9], axis=1)
    return np.stack([spectrogram.mean(axis=1), spectrogram.std(axis=1), low, high])


def reduce_dimensions(statistics: Array, *, seed: int) -> Array:
    """Principal components that explain 90 % of the variance, 12 at most."""
    from sklearn.decomposition import PCA

    count = min(_MAX_COMPONENTS, *statistics.shape) - 1
    components = PCA(max(count, 1), random_state=seed).fit(statistics)
    explained = np.cumsum(components.explained_variance_ratio_)
    kept = int(np.searchsorted(explained, 0.9)) + 1
    return np.asarray(components.transform(statistics)[:, :kept], dtype=np.float64)


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
    rng = np.random.default_rng(seed)
    references = [_unstructured_like(points, rng) for _ in range(N_REFERENCES)]
    rows = []
    for count in range(2, largest + 1):
        labels = ALGORITHMS[algorithm](points, count, seed)
        values = [
            silhouette(r, ALGORITHMS[algorithm](r, count, seed), seed=seed) for r in references
        ]
        reference, spread = float(np.mean(values)), float(np.std(values))
        own = silhouette(points, labels, seed=seed)
        is_separated = own > reference + max(MIN_EXCESS, 3 * spread)
        stability = _stability(points, count, algorithm, rng) if is_separated else np.nan
        accepted = is_separated and stability >= MIN_STABILITY
        bic = _bic(points, labels)
        rows.append((count, own, reference, spread, stability, bic, accepted))
    criterion = pd.DataFrame(rows, columns=_CRITERION)
    accepted_rows = criterion[criterion["is_accepted"]]
    if accepted_rows.empty:
        return _unstructured(len(points), criterion)
    best = accepted_rows.loc[accepted_rows["silhouette"].idxmax()]
    labels = _by_size(ALGORITHMS[algorithm](points, int(best["n_clusters"]), seed))
    confidence, is_outlier = _membership(points, labels)
    return Clustering(
        labels,
        confidence,
        is_outlier,
        criterion,
        int(best["n_clusters"]),
        float(best["stability"]),
        float(best["silhouette"]),
    )


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


_CRITERION = [
    "n_clusters", "silhouette", "reference", "reference_std", "stability", "bic", "is_accepted",
]  # fmt: skip


def _unstructured(count: int, criterion: pd.DataFrame) -> Clustering:
    return Clustering(
        np.zeros(count, np.int64), np.ones(count), np.zeros(count, np.bool_), criterion, 1, 0.0, 0.0
    )


def _kmeans(points: Array, count: int, seed: int) -> Labels:
    from sklearn.cluster import KMeans

    model = KMeans(count, n_init=4, random_state=seed).fit(points)
    return np.asarray(model.labels_, dtype=np.int64)


def _gmm(points: Array, count: int, seed: int) -> Labels:
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        count, covariance_type="diag", reg_covar=1e-3, n_init=2, random_state=seed
    )
    return np.asarray(model.fit_predict(points), dtype=np.int64)


def _agglomerative(points: Array, count: int, seed: int) -> Labels:  # noqa: ARG001
    from sklearn.cluster import AgglomerativeClustering

    return np.asarray(AgglomerativeClustering(count).fit_predict(points), dtype=np.int64)


ALGORITHMS = {"kmeans": _kmeans, "gmm": _gmm, "agglomerative": _agglomerative}


def silhouette(points: Array, labels: npt.ArrayLike, *, seed: int) -> float:
    """Mean silhouette, over 500 clips at most; 0 where there is one cluster."""
    from sklearn.metrics import silhouette_score

    labels = np.asarray(labels)
    if not 2 <= len(np.unique(labels)) < len(labels):
        return 0.0
    size = min(_SILHOUETTE_CLIPS, len(points))
    chosen = np.random.default_rng(seed).permutation(len(points))[:size]
    if not 2 <= len(np.unique(labels[chosen])) < size:
        return 0.0
    return float(silhouette_score(points[chosen], labels[chosen]))


def _unstructured_like(points: Array, rng: np.random.Generator) -> Array:
    """Gaussian points with the covariance of the given ones."""
    covariance = np.atleast_2d(np.cov(points, rowvar=False))
    return rng.multivariate_normal(points.mean(axis=0), covariance, size=len(points))


def _stability(points: Array, count: int, algorithm: str, rng: np.random.Generator) -> float:
    """Mean adjusted Rand index between clusterings of the clips learnt from two halves."""
    from sklearn.metrics import adjusted_rand_score

    values = []
    for _ in range(N_HALVES):
        order = rng.permutation(len(points))
        transferred = []
        for half in (order[::2], order[1::2]):
            labels = ALGORITHMS[algorithm](points[half], count, int(rng.integers(1 << 31)))
            centres = np.stack([points[half][labels == c].mean(axis=0) for c in np.unique(labels)])
            transferred.append(_distances(points, centres).argmin(axis=1))
        values.append(adjusted_rand_score(*transferred))
    return float(np.mean(values))


def _distances(points: Array, centres: Array) -> Array:
    difference = points[:, None, :] - centres[None, :, :]
    return np.asarray(np.sqrt((difference**2).sum(axis=2)))


def _bic(points: Array, labels: Labels) -> float:
    """Bayesian information criterion of spherical clusters of one variance (lower is better)."""
    n, d = points.shape
    centres = np.stack([points[labels == c].mean(axis=0) for c in np.unique(labels)])
    squares = float((_distances(points, centres).min(axis=1) ** 2).sum())
    variance = max(squares / (n * d), 1e-12)
    shares = np.bincount(labels) / n
    log_likelihood = -0.5 * n * d * (np.log(2 * np.pi * variance) + 1)
    log_likelihood += float(n * (shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return float(-2 * log_likelihood + len(centres) * (d + 1) * np.log(n))


def _by_size(labels: Labels) -> Labels:
    """Renumber clusters from the largest to the smallest."""
    counts = np.bincount(labels)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[labels]


def _membership(points: Array, labels: Labels) -> tuple[Array, npt.NDArray[np.bool_]]:
    names = np.unique(labels)
    centres = np.stack([points[labels == c].mean(axis=0) for c in names])
    distances = _distances(points, centres)
    nearest, second = np.sort(distances, axis=1)[:, :2].T
    confidence = 1.0 - np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
    own = distances[np.arange(len(points)), np.searchsorted(names, labels)]
    is_outlier = np.zeros(len(points), np.bool_)
    for name in names:
        inside = labels == name
        low, high = np.quantile(own[inside], [0.25, 0.75])
        is_outlier[inside] = own[inside] > high + 3.0 * (high - low)
    return confidence, is_outlier
