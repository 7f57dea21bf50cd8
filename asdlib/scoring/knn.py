"""From rows of one machine's normal clips to anomaly scores.

    "A K-nearest neighbors (KNN) algorithm was employed as an inlier model [9] to fit the
    probability distribution of normal data, after which anomaly scores were computed."
    (report, section 2.4)

A backend is anything with the two methods of `Backend`; one is fitted per machine. Others than
the report's are in `asdlib.scoring.backends` and `asdlib.scoring.resampling`.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from asdlib.base import InputError
from asdlib.scoring.metrics import FloatArray

Rows = npt.NDArray[np.floating]
METRICS = ("cosine", "euclidean")


class Backend(Protocol):
    """Turns rows of one machine (embeddings, profiles) into anomaly scores."""

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Learn the machine's normal training clips, shape (n_clips, n_values)."""

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,); higher = more anomalous."""


class KNNBackend:
    r"""Mean distance to the k nearest clips of the bank.

    .. math:: s(x) = \frac1k \sum_{y \in N_k(x)} d(x, y)

    with :math:`d(x, y) = 1 - x \cdot y / (\|x\| \, \|y\|)` for the cosine (S. Ramaswamy et al.,
    "Efficient algorithms for mining outliers from large data sets", SIGMOD 2000).

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
