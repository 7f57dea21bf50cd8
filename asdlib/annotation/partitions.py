"""Ways to partition points into a given number of clusters, and what tells if it fits them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

#: A labelling is trusted from this agreement between halves of the clips on (adjusted Rand).
MIN_STABILITY = 0.8
_N_HALVES = 16
#: Most points that are joined one by one, which takes memory by their square.
_MOST_JOINED = 2000
_SILHOUETTE_CLIPS = 500


def _kmeans(points: Array, count: int, seed: int) -> Labels:
    """k-means from the centres of Ward's clusters (of a sample, where there are many points).

    From random starts two halves of the clips end in two local minima once there are a dozen
    clusters, and clusters that are there look unstable. The start is "Buckshot" of D. Cutting,
    D. Karger, J. Pedersen, J. Tukey, "Scatter/Gather", SIGIR 1992.
    """
    from sklearn.cluster import KMeans

    sample = points
    if len(points) > _MOST_JOINED:
        sample = points[np.random.default_rng(seed).permutation(len(points))[:_MOST_JOINED]]
    joined = _agglomerative(sample, count, seed)
    model = KMeans(count, init=cluster_centres(sample, joined), n_init=1).fit(points)
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


ALGORITHMS: dict[str, Callable[[Array, int, int], Labels]] = {
    "kmeans": _kmeans,
    "gmm": _gmm,
    "agglomerative": _agglomerative,
}


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


def unstructured_like(points: Array, rng: np.random.Generator) -> Array:
    """Gaussian points with the covariance of the given ones."""
    covariance = np.atleast_2d(np.cov(points, rowvar=False))
    return rng.multivariate_normal(points.mean(axis=0), covariance, size=len(points))


def stability(points: Array, count: int, algorithm: str, rng: np.random.Generator) -> float:
    """Mean adjusted Rand index between clusterings of the clips learnt from two halves."""
    from sklearn.metrics import adjusted_rand_score

    values = []
    for _ in range(_N_HALVES):
        order = rng.permutation(len(points))
        transferred = []
        for half in (order[::2], order[1::2]):
            labels = ALGORITHMS[algorithm](points[half], count, int(rng.integers(1 << 31)))
            centres = cluster_centres(points[half], labels)
            transferred.append(distances(points, centres).argmin(axis=1))
        values.append(adjusted_rand_score(*transferred))
    return float(np.mean(values))


def cluster_centres(points: Array, labels: Labels) -> Array:
    """Mean of every cluster's points, shape (n_clusters, n_dimensions), by ascending label."""
    return np.stack([points[labels == label].mean(axis=0) for label in np.unique(labels)])


def distances(points: Array, centres: Array) -> Array:
    """Euclidean distances of all points to all centres, shape (n_points, n_centres)."""
    difference = points[:, None, :] - centres[None, :, :]
    return np.asarray(np.sqrt((difference**2).sum(axis=2)))


def information(labels: npt.ArrayLike, stability: float) -> float:
    """Entropy of labels [nats] as far as they are stable: 0 at the least that is trusted.

    Parameters
    ----------
    labels : array_like of int, shape (n_clips,)
        Negative: no label; the entropy is that of the others, times their share.
    stability : float
        Adjusted Rand index between labellings of halves of the clips.
    """
    labels = np.asarray(labels, dtype=np.int64)
    _, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(counts):
        return 0.0
    shares = counts / counts.sum()
    excess = max(0.0, (stability - MIN_STABILITY) / (1.0 - MIN_STABILITY))
    entropy = -float(np.sum(shares * np.log(shares)))
    return entropy * excess * float(counts.sum() / len(labels))


def bic(points: Array, labels: Labels) -> float:
    """Bayesian information criterion of spherical clusters of one variance (lower is better)."""
    n, d = points.shape
    centres = cluster_centres(points, labels)
    squares = float((distances(points, centres).min(axis=1) ** 2).sum())
    variance = max(squares / (n * d), 1e-12)
    shares = np.bincount(labels) / n
    log_likelihood = -0.5 * n * d * (np.log(2 * np.pi * variance) + 1)
    log_likelihood += float(n * (shares[shares > 0] * np.log(shares[shares > 0])).sum())
    return float(-2 * log_likelihood + len(centres) * (d + 1) * np.log(n))
