"""Artificial attributes from clusters of log-mel statistics.

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


def find_clusters(
    points: Array,
    *,
    seed: int,
    max_clusters: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Clustering:
    """Cluster points (n_clips, n_dimensions): highest silhouette of the accepted numbers.

    At most one cluster for five clips. Strays, which would hide what states there are, and all
    beyond a random 2,000 clips join the nearest cluster afterwards.
    """
    from sklearn.neighbors import NearestNeighbors

    if not np.isfinite(points).all():
        raise InputError("points hold NaN or infinite values. Drop silent clips first.")
    largest = min(max_clusters or MAX_CLUSTERS, len(points) // 5)
    if len(points) < MIN_CLIPS or largest < 2 or np.ptp(points) < 1e-9:
        on_progress(len(points))
        return _unstructured(len(points), pd.DataFrame(columns=_CRITERION))
    neighbours = NearestNeighbors(n_neighbors=MIN_CLUSTER_CLIPS).fit(points)
    reach = neighbours.kneighbors(points)[0][:, -1]
    is_stray = reach > STRAY_FACTOR * np.quantile(reach, 0.9)
    judged = _sample(np.flatnonzero(~is_stray), seed)
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
        return replace(_unstructured(len(points), criterion), is_outlier=is_stray)
    best = accepted_rows.loc[accepted_rows["silhouette"].idxmax()]
    labels = _joined(points, judged, _by_size(tried[int(best["n_clusters"]) - 2][1]))
    confidence, is_outlier = _membership(points, labels)
    return Clustering(
        labels, confidence, is_outlier | is_stray, criterion, int(best["n_clusters"]),
        float(best["stability"]), float(best["silhouette"]),
    )  # fmt: skip


def find_clusters_by_domain(
    points: Array,
    domains: Sequence[str],
    *,
    seed: int,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Clustering:
    """Cluster the largest domain, the others by themselves: another microphone is no attribute.

    Clips of the others (ten target clips) are joined (average linkage) up to 1.5 times the median
    distance within the largest domain's clusters.
    """
    from scipy.spatial.distance import pdist
    from sklearn.cluster import AgglomerativeClustering

    names, domain = np.unique(np.asarray(domains, dtype=str), return_inverse=True)
    largest = int(np.bincount(domain).argmax())
    inside = domain == largest
    main = find_clusters(points[inside], seed=seed, on_progress=on_progress)
    on_progress(int((~inside).sum()))
    if len(names) == 1:
        return main
    if main.n_clusters == 1:
        return _unstructured(len(points), main.criterion)
    judged = _sample(np.arange(len(main.labels)), seed)
    known, their = points[inside][judged], main.labels[judged]
    distances = np.concatenate([pdist(known[their == label]) for label in np.unique(their)])
    model = AgglomerativeClustering(
        n_clusters=None, distance_threshold=1.5 * float(np.median(distances)), linkage="average"
    )
    both = _unstructured(len(points), main.criterion)
    both.labels[inside], both.is_outlier[inside] = main.labels, main.is_outlier
    both.confidence[inside] = main.confidence
    both.confidence[~inside] = 0.5  # too few clips for the criteria above
    count = main.n_clusters
    for number in [n for n in range(len(names)) if n != largest]:
        own = points[domain == number]
        joined = _sample(np.arange(len(own)), seed)
        own_labels: Labels = np.zeros(len(joined), np.int64)
        if len(joined) > 1:
            own_labels = _by_size(np.asarray(model.fit_predict(own[joined]), dtype=np.int64))
        both.labels[domain == number] = count + _joined(own, joined, own_labels)
        count += int(own_labels.max()) + 1
    return replace(both, n_clusters=count, stability=main.stability, silhouette=main.silhouette)


def _sample(members: Labels, seed: int) -> Labels:
    """Keep 2,000 members at most, in their order."""
    if len(members) <= MOST_CLIPS:
        return members
    return np.sort(np.random.default_rng(seed).choice(members, MOST_CLIPS, replace=False))


def _joined(points: Array, members: Labels, labels: Labels) -> Labels:
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


def _unstructured(count: int, criterion: pd.DataFrame) -> Clustering:
    """One cluster of all clips."""
    nothing = np.zeros(count, np.int64)
    return Clustering(nothing, np.ones(count), nothing.astype(bool), criterion)


def _by_size(labels: Labels) -> Labels:
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


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Entropy of a labelling with so many members a label [nats]."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())
