"""Banks that are thinned or filled up before a backend is fitted: k-means and SMOTE."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from asdlib.scoring.knn import Backend, FloatArray

Bank = tuple[FloatArray, npt.NDArray[np.str_]]
MakeBank = Callable[[FloatArray, npt.NDArray[np.str_]], Bank]


def kmeans_bank(
    embeddings: FloatArray, domains: npt.NDArray[np.str_], *, n_centres: int = 16, seed: int = 0
) -> Bank:
    """Replace the source clips by k-means centres; keep all others.

    A thousand source clips against ten target clips become sixteen against ten.

    Parameters
    ----------
    embeddings : ndarray of float64, shape (n_clips, n_dimensions)
    domains : ndarray of str, shape (n_clips,)
        Without any ``"source"``, all clips are clustered.
    n_centres : int
        Centres; a bank with fewer source clips stays as it is.
    seed : int
        Seed of k-means.

    Returns
    -------
    embeddings : ndarray of float64, shape (n_bank, n_dimensions)
        Of length one.
    domains : ndarray of str, shape (n_bank,)

    References
    ----------
    K. Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.
    """
    rows = _unit_length(embeddings)
    is_source = domains == "source" if (domains == "source").any() else np.full(len(rows), True)
    if is_source.sum() <= n_centres:
        return rows, domains
    clustering = KMeans(n_centres, n_init=4, random_state=seed).fit(rows[is_source])
    name = str(domains[is_source][0])
    return (
        np.concatenate([clustering.cluster_centers_.astype(np.float64), rows[~is_source]]),
        np.concatenate([np.full(n_centres, name), domains[~is_source]]),
    )


def smote_bank(
    embeddings: FloatArray,
    domains: npt.NDArray[np.str_],
    *,
    ratio: float = 0.2,
    k: int = 2,
    seed: int = 0,
) -> Bank:
    """Fill up the target clips with points between them (SMOTE).

    Parameters
    ----------
    embeddings : ndarray of float64, shape (n_clips, n_dimensions)
    domains : ndarray of str, shape (n_clips,)
        With fewer than two target clips, or enough of them, the bank stays as it is.
    ratio : float
        Target clips wanted for each source clip.
    k : int
        Nearest target clips, one of which is drawn as the other end.
    seed : int
        Seed of the draws.

    Returns
    -------
    embeddings : ndarray of float64, shape (n_bank, n_dimensions)
        Of length one; the new points last.
    domains : ndarray of str, shape (n_bank,)

    References
    ----------
    N. Chawla, K. Bowyer, L. Hall, W. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling
    Technique", JAIR 16, 2002, section 4.2.
    """
    rows = _unit_length(embeddings)
    target = rows[domains == "target"]
    wanted = round(ratio * int((domains == "source").sum())) - len(target)
    if wanted <= 0 or len(target) < 2:
        return rows, domains
    rng = np.random.default_rng(seed)
    search = NearestNeighbors(n_neighbors=min(k, len(target) - 1), metric="cosine").fit(target)
    nearest = search.kneighbors(return_distance=False)
    start = rng.integers(len(target), size=wanted)
    end = nearest[start, rng.integers(nearest.shape[1], size=wanted)]
    place = rng.random((wanted, 1))
    new = target[start] + place * (target[end] - target[start])
    return (
        np.concatenate([rows, _unit_length(new)]),
        np.concatenate([domains, np.full(wanted, "target")]),
    )


class BankBackend:
    """A backend that is fitted on a changed bank.

    It has no ``leave_one_out``: a clip has shaped centres and new points that would remain.

    Parameters
    ----------
    backend : Backend
        What scores.
    make_bank : callable
        `kmeans_bank` or `smote_bank`.
    """

    def __init__(self, backend: Backend, make_bank: MakeBank) -> None:
        self._backend = backend
        self._make_bank = make_bank

    def fit(
        self, embeddings: npt.NDArray[np.floating], *, domains: npt.ArrayLike | None = None
    ) -> None:
        """Change the bank and fit the backend on it; without domains all clips are source."""
        names = np.full(len(embeddings), "source") if domains is None else np.asarray(domains, str)
        bank, bank_domains = self._make_bank(np.asarray(embeddings, np.float64), names)
        self._backend.fit(bank, domains=bank_domains)

    def anomaly_score(self, embeddings: npt.NDArray[np.floating]) -> FloatArray:
        """Score clips, shape (n_clips, n_dimensions) -> (n_clips,); higher = more anomalous."""
        return self._backend.anomaly_score(embeddings)


def _unit_length(embeddings: FloatArray) -> FloatArray:
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(length, np.finfo(np.float64).tiny))
