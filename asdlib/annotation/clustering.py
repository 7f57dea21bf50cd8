"""Artificial attributes from clusters of log-mel statistics of one machine's clips.

    "Consequently, we perform unsupervised clustering on spectrograms or frequency spectra of
    such machines to derive attribute annotations." (report, section 2.1)

A number of clusters counts only when they are separated better than those of unstructured data
of the same covariance, and when half of the clips lead to the same clusters as the other half.
When no number counts, the machine has no structure, and that is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from asdlib.base import InputError
from asdlib.data.audio import REMOVED_DB
from asdlib.data.store import ArrayStore
from asdlib.spectra.envelope import Array

Labels = npt.NDArray[np.int64]

#: A labelling is trusted from this agreement between halves of the clips on (adjusted Rand).
MIN_STABILITY = 0.8
MAX_CLUSTERS = 16
#: Clips below which no number of clusters can be told from chance.
MIN_CLIPS = 20
#: A cluster count's silhouette must exceed that of unstructured data by this, and 3 deviations.
MIN_EXCESS = 0.05
#: Fewer clips than this are no cluster.
MIN_CLUSTER_CLIPS = 3
#: A stray clip is this much further from its neighbours than nine clips in ten are.
STRAY_FACTOR = 3.0
_N_REFERENCES, _N_HALVES = 6, 16
#: Of more clips than these, clusters are learnt from a sample: joining takes their square.
MOST_CLIPS = 2000
_SILHOUETTE_CLIPS = 500
_MAX_COMPONENTS = 12
_CRITERION = [
    "n_clusters", "silhouette", "reference", "reference_std", "stability", "is_accepted",
]  # fmt: skip
_Row = tuple[int, float, float, float, float, bool]


@dataclass(frozen=True)
class Clustering:
    """Clusters of the clips of one machine; every array has one entry per clip."""

    labels: Labels  # 0 for all when there is no structure
    confidence: Array  # 1 - (distance to own centre / distance to the next), 0 to 1
    is_outlier: npt.NDArray[np.bool_]  # further from its centre than quartiles make plausible
    criterion: pd.DataFrame  # one row per number of clusters tried, see `_CRITERION`
    n_clusters: int = 1  # 1 when there is no structure
    stability: float = 0.0  # of the chosen number, as the silhouette; 0 when there is none
    silhouette: float = 0.0


def clip_statistics(
    log_mel: ArrayStore, clip_ids: Sequence[str], noise_ids: Sequence[str]
) -> Array:
    """Mean, deviation, 10 % and 90 % point of every mel band, shape (n_clips, 4 * n_mels) [dB].

    From the clip's mean level. Noise recordings weight a band by the machine's share of its power.
    """
    rows = [_statistics(log_mel, position) for position in log_mel.positions(list(clip_ids))]
    statistics = np.stack(rows)
    weights = np.ones(statistics.shape[2])
    if len(noise_ids):
        noise = [_statistics(log_mel, i)[0] for i in log_mel.positions(list(noise_ids))]
        excess_db = np.median(statistics[:, 0], axis=0) - np.median(np.stack(noise), axis=0)
        weights = np.clip(1.0 - 10.0 ** (-excess_db / 10.0), 0.1, 1.0)
    weights[(statistics[:, 0] < REMOVED_DB / 2).all(axis=0)] = 0.0  # below a high-pass
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


def find_clusters(
    points: Array,
    *,
    seed: int,
    max_clusters: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Clustering:
    """Cluster points (n_clips, n_dimensions): highest silhouette of the accepted numbers.

    At most one for five clips. Strays, and all beyond a random 2,000, join the nearest afterwards.
    """
    from sklearn.neighbors import NearestNeighbors

    if not np.isfinite(points).all():
        raise InputError("points hold NaN or infinite values. Drop silent clips first.")
    largest = min(max_clusters or MAX_CLUSTERS, len(points) // 5)
    if len(points) < MIN_CLIPS or largest < 2 or np.ptp(points) < 1e-9:
        on_progress(len(points))
        return unstructured(len(points), pd.DataFrame(columns=_CRITERION))
    neighbours = NearestNeighbors(n_neighbors=MIN_CLUSTER_CLIPS).fit(points)
    reach = neighbours.kneighbors(points)[0][:, -1]
    is_stray = reach > STRAY_FACTOR * np.quantile(reach, 0.9)
    judged = sample_of(np.flatnonzero(~is_stray), seed)
    tried: list[tuple[_Row, Labels]] = []
    # Threads of other programs on the same cores would be waited for at every step.
    with threadpool_limits(1):
        for number, one in enumerate(_try_numbers(points[judged], largest, seed), start=1):
            tried.append(one)
            done, before = (len(points) * n // (largest - 1) for n in (number, number - 1))
            on_progress(done - before)
    criterion = pd.DataFrame([row for row, _ in tried], columns=_CRITERION)
    accepted_rows = criterion[criterion["is_accepted"]]
    if accepted_rows.empty:
        return replace(unstructured(len(points), criterion), is_outlier=is_stray)
    best = accepted_rows.loc[accepted_rows["silhouette"].idxmax()]
    labels = join_nearest(points, judged, by_size(tried[int(best["n_clusters"]) - 2][1]))
    confidence, is_outlier = _membership(points, labels)
    return Clustering(
        labels, confidence, is_outlier | is_stray, criterion, int(best["n_clusters"]),
        float(best["stability"]), float(best["silhouette"]),
    )  # fmt: skip


def sample_of(members: Labels, seed: int) -> Labels:
    """Keep 2,000 members at most, in their order."""
    if len(members) <= MOST_CLIPS:
        return members
    return np.sort(np.random.default_rng(seed).choice(members, MOST_CLIPS, replace=False))


def join_nearest(points: Array, members: Labels, labels: Labels) -> Labels:
    """Labels of all points: the given ones of ``members``, the nearest cluster of the others."""
    centres = _cluster_centres(points[members], labels)
    joined: Labels = np.full(len(points), -1, np.int64)
    joined[members] = labels
    others = joined < 0
    joined[others] = _distances(points[others], centres).argmin(axis=1)
    return joined


def _try_numbers(points: Array, largest: int, seed: int) -> Iterator[tuple[_Row, Labels]]:
    """Give, for every number of clusters, its row of the criterion and its labels."""
    rng = np.random.default_rng(seed)
    mean, covariance = points.mean(axis=0), np.atleast_2d(np.cov(points, rowvar=False))
    references = [
        rng.multivariate_normal(mean, covariance, size=len(points)) for _ in range(_N_REFERENCES)
    ]
    for count in range(2, largest + 1):
        labels = partition(points, count, seed)
        values = [_silhouette(r, partition(r, count, seed), seed=seed) for r in references]
        reference, spread = float(np.mean(values)), float(np.std(values))
        own = _silhouette(points, labels, seed=seed)
        is_separated = own > reference + max(MIN_EXCESS, 3 * spread)
        repeats = _stability(points, count, rng) if is_separated else np.nan
        is_filled = np.unique(labels, return_counts=True)[1].min() >= MIN_CLUSTER_CLIPS
        accepted = bool(is_separated and is_filled and repeats >= MIN_STABILITY)
        yield (count, own, reference, spread, repeats, accepted), labels


def unstructured(count: int, criterion: pd.DataFrame) -> Clustering:
    """One cluster of all clips."""
    nothing = np.zeros(count, np.int64)
    return Clustering(nothing, np.ones(count), nothing.astype(bool), criterion)


def by_size(labels: Labels) -> Labels:
    """Renumber clusters from the largest to the smallest."""
    counts = np.bincount(labels)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[labels]


def _membership(points: Array, labels: Labels) -> tuple[Array, npt.NDArray[np.bool_]]:
    to_centres = _distances(points, _cluster_centres(points, labels))
    nearest, second = np.sort(to_centres, axis=1)[:, :2].T
    confidence = 1.0 - np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
    names, columns = np.unique(labels, return_inverse=True)
    own = to_centres[np.arange(len(points)), columns]
    is_outlier = np.zeros(len(points), np.bool_)
    for name in names:
        inside = labels == name
        low, high = np.quantile(own[inside], [0.25, 0.75])
        is_outlier[inside] = own[inside] > high + 3.0 * (high - low)
    return confidence, is_outlier


def partition(points: Array, count: int, seed: int) -> Labels:
    """Label points by k-means from the centres of Ward's clusters.

    Random starts end in local minima, so that halves disagree on clusters that are there.
    """
    from sklearn.cluster import AgglomerativeClustering, KMeans

    joined = AgglomerativeClustering(count).fit_predict(points)
    model = KMeans(count, init=_cluster_centres(points, joined), n_init=1, random_state=seed)
    return np.asarray(model.fit(points).labels_, dtype=np.int64)


def _silhouette(points: Array, labels: Labels, *, seed: int) -> float:
    """Mean silhouette, over 500 clips at most; 0 where there is one cluster."""
    from sklearn.metrics import silhouette_score

    size = min(_SILHOUETTE_CLIPS, len(points))
    chosen = np.random.default_rng(seed).permutation(len(points))[:size]
    if not 2 <= len(np.unique(labels[chosen])) < size:
        return 0.0
    return float(silhouette_score(points[chosen], labels[chosen]))


def _stability(points: Array, count: int, rng: np.random.Generator) -> float:
    """Mean adjusted Rand index between clusterings of the clips learnt from two halves."""
    from sklearn.metrics import adjusted_rand_score

    values = []
    for _ in range(_N_HALVES):
        order = rng.permutation(len(points))
        transferred = []
        for half in (order[::2], order[1::2]):
            labels = partition(points[half], count, int(rng.integers(1 << 31)))
            centres = _cluster_centres(points[half], labels)
            transferred.append(_distances(points, centres).argmin(axis=1))
        values.append(adjusted_rand_score(*transferred))
    return float(np.mean(values))


def _cluster_centres(points: Array, labels: Labels) -> Array:
    """Mean of every cluster's points, shape (n_clusters, n_dimensions), by ascending label."""
    return np.stack([points[labels == label].mean(axis=0) for label in np.unique(labels)])


def _distances(points: Array, centres: Array) -> Array:
    """Euclidean distances of all points to all centres, shape (n_points, n_centres)."""
    return np.asarray(np.linalg.norm(points[:, None] - centres, axis=2))
