"""From rows of one machine's normal clips to anomaly scores: section 2.4 of the report.

"A K-nearest neighbors (KNN) algorithm was employed as an inlier model to fit the probability
distribution of normal data, after which anomaly scores were computed." A backend is anything
with the two methods of `Backend`; one is fitted per machine. Beside the report's stands one that
weighs ten target clips against a thousand source clips by how dense the bank is around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors

from asdlib.errors import InputError

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating]
METRICS = ("cosine", "euclidean")

#: Two clips of the bank that are equal would make every other clip infinitely abnormal there.
_SMALLEST_RADIUS = 1e-9


class Backend(Protocol):
    """Turns rows of one machine (embeddings, profiles) into anomaly scores."""

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Learn the machine's normal training clips, shape (n_clips, n_values)."""

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,); higher = more anomalous."""


class KNNBackend:
    r"""Mean distance to the k nearest clips of the bank.

    .. math:: s(x) = \frac1k \sum_{y \in N_k(x)} d(x, y)

    with :math:`d(x, y) = 1 - x \cdot y / (\|x\| \, \|y\|)` for the cosine.

    Parameters
    ----------
    k : int
        Neighbours, 1 or more; a bank with fewer clips uses all it has.
    metric : {"cosine", "euclidean"}

    Raises
    ------
    InputError
        When ``k`` or ``metric`` is none of these; by ``fit`` and ``anomaly_score`` when there is
        no row, or one is not finite, zero (cosine) or of another length than the bank's.

    References
    ----------
    S. Ramaswamy, R. Rastogi, K. Shim, "Efficient algorithms for mining outliers from large
    data sets", SIGMOD 2000; section 2.4 of the report.

    Examples
    --------
    >>> backend = KNNBackend(k=1)
    >>> backend.fit(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> backend.anomaly_score(np.array([[2.0, 0.0], [-1.0, 0.0]])).tolist()
    [0.0, 1.0]
    """

    def __init__(self, k: int = 1, metric: str = "cosine") -> None:
        if k < 1:
            raise InputError(f"k = {k}: expected 1 neighbour or more.")
        if metric not in METRICS:
            raise InputError(f"metric = {metric!r}: expected {' or '.join(METRICS)}.")
        self.k, self.metric = k, metric
        self.bank: FloatArray | None = None

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Keep the bank, shape (n_clips, n_values); the domains do not matter here."""
        self.bank = self.checked(rows)
        if len(self.bank) == 0:
            raise InputError("The bank is empty: expected at least one normal training clip.")
        self.search = NearestNeighbors(metric=self.metric, algorithm="brute").fit(self.bank)

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,); 0 or more."""
        clips = self.checked_like_bank(rows)
        if len(clips) == 0:
            return np.empty(0)
        k = min(self.k, len(self.fitted()))
        return np.asarray(self.search.kneighbors(clips, k)[0].mean(axis=1))

    def checked(self, rows: Rows) -> FloatArray:
        """Rows in float64: nearly equal clips differ only in the last digits of float32."""
        values = np.asarray(rows, dtype=np.float64)
        if values.ndim != 2:
            raise InputError(f"Rows have shape {values.shape}: expected (n_clips, n_values).")
        length = np.linalg.norm(values, axis=1)
        usable = np.isfinite(length) & ((length > 0) | (self.metric != "cosine"))
        if not usable.all():
            first = int(np.flatnonzero(~usable)[0])
            raise InputError(
                f"Row {first} has length {length[first]}: a {self.metric} distance needs finite "
                "rows that are not all zero. Check the clip behind it."
            )
        return values

    def checked_like_bank(self, rows: Rows) -> FloatArray:
        """Rows as `checked`, as long as the bank's."""
        clips, bank = self.checked(rows), self.fitted()
        if clips.shape[1] != bank.shape[1]:
            raise InputError(
                f"Rows have {clips.shape[1]} values, the bank's have {bank.shape[1]}. "
                "Use rows of one view of one network."
            )
        return clips

    def fitted(self) -> FloatArray:
        """Give the bank."""
        if self.bank is None:
            raise InputError("The backend has no bank yet: call fit with training rows.")
        return self.bank


class LocalDensityBackend(KNNBackend):
    r"""Smallest ratio of the distance to a clip of the bank and that clip's own radius.

    .. math:: s(x) = \min_i \frac{d(x, y_i)}{r_i}, \qquad
              r_i = \frac1k \sum_{y \in N_k(y_i)} d(y_i, y)

    Ten target clips lie far apart, a thousand source clips close together: by plain distance
    every target clip looks abnormal, by this ratio it does not. A single clip has no radius;
    there the score is the plain distance.

    References
    ----------
    K. Wilkinghoff, H. Yang, J. Ebbers, F. G. Germain, G. Wichern, J. Le Roux, "Keeping the
    Balance: Anomaly Score Calculation for Domain Generalization", ICASSP 2025.
    """

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Keep the bank and the radius of each of its clips."""
        super().fit(rows)
        k = min(self.k, len(self.fitted()) - 1)
        self.radius = np.ones(1)
        if k > 0:  # asked without rows, the search leaves the clip itself out
            distance = self.search.kneighbors(n_neighbors=k)[0]
            self.radius = np.maximum(distance.mean(axis=1), _SMALLEST_RADIUS)

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,); about 1 inside the bank."""
        clips = self.checked_like_bank(rows)
        if len(clips) == 0:
            return np.empty(0)
        chunks = pairwise_distances_chunked(
            clips,
            self.fitted(),
            metric=self.metric,
            reduce_func=lambda distance, start: (distance / self.radius).min(axis=1),
        )
        return np.concatenate(list(chunks))


def neighbour_agreement(
    embeddings: npt.NDArray[np.floating],
    labels: Sequence[str],
    machine_types: Sequence[str],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of clips whose nearest neighbour within the machine has the same class.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_clips, n_dimensions)
        Compared by cosine distance.
    labels : sequence of str, length n_clips
        Class of each clip.
    machine_types : sequence of str, length n_clips
        Machine of each clip.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    DataFrame
        One row per machine: ``machine_type, n_clips, n_classes, agreement,
        agreement_shuffled``; shares 0 to 1, the second with the classes shuffled within the
        machine, which is what chance gives. Machines of a single clip are left out.
    """
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"machine_type": machine_types, "label": labels})
    rows = []
    for machine_type, clips in table.groupby("machine_type", sort=True):
        if len(clips) < 2:
            continue
        own = embeddings[clips.index.to_numpy()]
        search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(own)
        # Asked without an argument, the search leaves the clip itself out.
        nearest = search.kneighbors(return_distance=False)[:, 0]
        label = clips["label"].to_numpy()
        shuffled = rng.permutation(label)
        rows.append(
            {
                "machine_type": machine_type,
                "n_clips": len(clips),
                "n_classes": len(set(label)),
                "agreement": float(np.mean(label == label[nearest])),
                "agreement_shuffled": float(np.mean(shuffled == shuffled[nearest])),
            }
        )
    columns = ["machine_type", "n_clips", "n_classes", "agreement", "agreement_shuffled"]
    return pd.DataFrame(rows, columns=columns)
