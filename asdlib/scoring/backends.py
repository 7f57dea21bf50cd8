"""Backends by name: what a parameter of a notebook or a line of a sweep can ask for.

A name is a way to score, alone or behind a bank that is thinned (k-means) or filled up (SMOTE).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.neighbors import NearestNeighbors

from asdlib.errors import InputError
from asdlib.scoring.domains import DomainMinimumBackend
from asdlib.scoring.knn import Backend, FloatArray, KNNBackend, LocalDensityBackend, Rows

Bank = tuple[FloatArray, npt.NDArray[np.str_]]
SCORES: dict[str, Any] = {
    "knn": KNNBackend,
    "local_density": LocalDensityBackend,
    "domain_minimum": DomainMinimumBackend,
}


def make_backend(name: str, *, k: int = 1, metric: str = "cosine", seed: int = 0) -> Backend:
    """Make a fresh backend.

    Parameters
    ----------
    name : str
        How clips are scored (``SCORES``), alone or behind a bank (``BANKS``) and ``+``:
        ``"knn"``, ``"local_density"``, ``"kmeans+knn"``, ``"smote+local_density"``, ...
    k : int
        Neighbours, see the backends.
    metric : {"cosine", "euclidean"}
    seed : int
        Seed of the banks.

    Raises
    ------
    InputError
        For a name that is none of these.
    """
    bank, _, score = name.rpartition("+")
    if score not in SCORES or (bank and bank not in BANKS):
        raise InputError(
            f"backend {name!r}: expected {', '.join(SCORES)}, alone or behind a bank, "
            f"{' or '.join(f'{bank}+...' for bank in BANKS)}."
        )
    backend: Backend = SCORES[score](k, metric)
    return BankBackend(backend, partial(BANKS[bank], seed=seed)) if bank else backend


class BankBackend:
    """A backend that is fitted on a changed bank (`BANKS`)."""

    def __init__(self, backend: Backend, make_bank: Callable[..., Bank]) -> None:
        self._backend, self._make_bank = backend, make_bank

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Change the bank and fit the backend on it; without domains all clips are source."""
        names = np.full(len(rows), "source") if domains is None else np.asarray(domains, str)
        bank, bank_domains = self._make_bank(np.asarray(rows, np.float64), names)
        self._backend.fit(bank, domains=bank_domains)

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,)."""
        return self._backend.anomaly_score(rows)


def kmeans_bank(
    rows: FloatArray, domains: npt.NDArray[np.str_], *, n_centres: int = 16, seed: int = 0
) -> Bank:
    """Replace the source clips by k-means centres; keep all others.

    A thousand source clips against ten target clips become sixteen against ten. A bank with
    fewer source clips than centres stays as it is; without any ``"source"``, all clips are
    clustered. Rows come back at length one.

    References
    ----------
    K. Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.
    """
    unit = _unit_length(rows)
    is_source = domains == "source" if (domains == "source").any() else np.full(len(unit), True)
    if is_source.sum() <= n_centres:
        return unit, domains
    clustering = KMeans(n_centres, n_init=4, random_state=seed).fit(unit[is_source])
    name = str(domains[is_source][0])
    return (
        np.concatenate([clustering.cluster_centers_.astype(np.float64), unit[~is_source]]),
        np.concatenate([np.full(n_centres, name), domains[~is_source]]),
    )


def smote_bank(
    rows: FloatArray,
    domains: npt.NDArray[np.str_],
    *,
    ratio: float = 0.2,
    k: int = 2,
    seed: int = 0,
) -> Bank:
    """Fill up the target clips with points between them: ``ratio`` for each source clip.

    A new point lies between a target clip and one of its k nearest; new points come last. With
    fewer than two target clips, or enough of them, the bank stays as it is. Rows come back at
    length one.

    References
    ----------
    N. Chawla, K. Bowyer, L. Hall, W. Kegelmeyer, "SMOTE: Synthetic Minority Over-sampling
    Technique", JAIR 16, 2002, section 4.2.
    """
    unit = _unit_length(rows)
    target = unit[domains == "target"]
    wanted = round(ratio * int((domains == "source").sum())) - len(target)
    if wanted <= 0 or len(target) < 2:
        return unit, domains
    rng = np.random.default_rng(seed)
    search = NearestNeighbors(n_neighbors=min(k, len(target) - 1), metric="cosine").fit(target)
    nearest = search.kneighbors(return_distance=False)
    start = rng.integers(len(target), size=wanted)
    end = nearest[start, rng.integers(nearest.shape[1], size=wanted)]
    place = rng.random((wanted, 1))
    new = target[start] + place * (target[end] - target[start])
    return (
        np.concatenate([unit, _unit_length(new)]),
        np.concatenate([domains, np.full(wanted, "target")]),
    )


def _unit_length(rows: FloatArray) -> FloatArray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float64).tiny))


#: Banks by name.
BANKS: dict[str, Callable[..., Bank]] = {"kmeans": kmeans_bank, "smote": smote_bank}
