"""From rows of one machine's normal clips to anomaly scores: section 2.4 of the report.

"A K-nearest neighbors (KNN) algorithm was employed as an inlier model to fit the probability
distribution of normal data, after which anomaly scores were computed." A backend is anything
with the two methods of `Backend`; one is fitted per machine.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from asdlib.errors import InputError
from asdlib.scoring.metrics import FloatArray

Rows = npt.NDArray[np.floating]
METRICS = ("cosine", "euclidean")
#: Fewest clips that t-SNE is asked to arrange; fewer are laid out along principal components.
_MIN_TSNE_CLIPS = 10
#: t-SNE slows down with the number of dimensions; what lies beyond these is noise to it.
_MAX_DIMENSIONS = 50


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


def embedding_map(
    embeddings: npt.NDArray[np.floating], *, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Arrange clips in the plane so that near embeddings (by cosine) stay near.

    ``embeddings`` (n_clips, n_dimensions) → float32 (n_clips, 2), without unit: t-SNE of the
    length-normalised embeddings, started from their principal components; fewer than 10 clips are
    laid out along these. Distances between far groups mean nothing in such a map. L. van der Maaten
    and G. Hinton, "Visualizing data using t-SNE", JMLR 9 (2008).
    """
    if len(embeddings) < 2:
        return np.zeros((len(embeddings), 2), np.float32)
    rows = np.asarray(embeddings, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    components = PCA(min(*rows.shape, _MAX_DIMENSIONS), svd_solver="full").fit_transform(rows)
    if len(rows) < _MIN_TSNE_CLIPS or components[:, 0].std() < 1e-9:
        padding = max(0, 2 - components.shape[1])
        return np.pad(components[:, :2], ((0, 0), (0, padding))).astype(np.float32)
    # Threads that wait for each other at every step cost several times what they save here.
    with threadpool_limits(1):
        tsne = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3.0), random_state=seed)
        return np.asarray(tsne.fit_transform(components), dtype=np.float32)
