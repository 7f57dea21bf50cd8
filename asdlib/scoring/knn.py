"""Anomaly score = cosine distance to the nearest normal training clips.

A backend is anything with the two methods of :class:`Backend`; one is fitted per machine. One
that can score its own training clips without refitting has a third, ``leave_one_out``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError

FloatArray = npt.NDArray[np.float64]

#: Distances held in memory at once (float64, 64 MiB).
BLOCK_ELEMENTS = 2**23


class Backend(Protocol):
    """Turns embeddings of one machine into anomaly scores."""

    def fit(
        self, embeddings: npt.NDArray[np.floating], *, domains: npt.ArrayLike | None = None
    ) -> None:
        """Learn the machine's normal training clips, shape (n_clips, n_dimensions)."""

    def anomaly_score(self, embeddings: npt.NDArray[np.floating]) -> FloatArray:
        """Score clips, shape (n_clips, n_dimensions) -> (n_clips,); higher = more anomalous."""


class KNNBackend:
    r"""Mean cosine distance to the k nearest clips of the bank.

    .. math:: s(x) = \frac1k \sum_{y \in N_k(x)} 1 - \frac{x \cdot y}{\|x\| \, \|y\|}

    Parameters
    ----------
    k : int
        Neighbours, 1 or more. A bank with fewer clips uses all it has: see ``effective_k``.
    metric : str
        Only ``"cosine"``.

    Raises
    ------
    InputError
        When ``k`` or ``metric`` is not one of these.

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
        if metric != "cosine":
            raise InputError(f"metric = {metric!r}: expected 'cosine'.")
        self.k = k
        self._bank: FloatArray | None = None

    def fit(
        self, embeddings: npt.NDArray[np.floating], *, domains: npt.ArrayLike | None = None
    ) -> None:
        """Keep the normalised training embeddings as the bank.

        Parameters
        ----------
        embeddings : ndarray of float, shape (n_clips, n_dimensions)
            Normal training clips of one machine, in any scale but zero.
        domains : array_like of str, shape (n_clips,), optional
            Not used here: all clips count alike.

        Raises
        ------
        InputError
            When there is no clip, or an embedding is zero or not finite.
        """
        self._bank = normalised_bank(embeddings)

    @property
    def effective_k(self) -> int:
        """Neighbours that the bank can give: k, or its size where that is smaller."""
        return min(self.k, len(self._fitted()))

    def anomaly_score(self, embeddings: npt.NDArray[np.floating]) -> FloatArray:
        """Mean cosine distance of each clip to its nearest clips of the bank.

        Parameters
        ----------
        embeddings : ndarray of float, shape (n_clips, n_dimensions)

        Returns
        -------
        ndarray of float64, shape (n_clips,)
            0 (same direction) to 2 (opposite); a clip of the bank itself scores 0 at k = 1.

        Raises
        ------
        InputError
            Before ``fit``; or when an embedding is zero, not finite, or of another length.
        """
        bank = self._fitted()
        return self._mean_distance(normalised_like(bank, embeddings))

    def leave_one_out(self) -> FloatArray:
        """Score every clip of the bank against the others.

        A training clip's distance to itself is 0 and says nothing, so it is left out: these
        scores are comparable with those of new clips.

        Returns
        -------
        ndarray of float64, shape (n_clips,)
            0 to 2, in the order of ``fit``; NaN for a bank of one clip, which has no other.
        """
        bank = self._fitted()
        if len(bank) == 1:
            return np.full(1, np.nan)
        return self._mean_distance(bank, without_self=True)

    def _mean_distance(self, clips: FloatArray, *, without_self: bool = False) -> FloatArray:
        bank = self._fitted()
        k = min(self.k, len(bank) - without_self)
        score = np.empty(len(clips))
        blocks = distance_blocks(clips, bank, without_self=without_self)
        for rows, distance in blocks:
            score[rows] = np.partition(distance, k - 1, axis=1)[:, :k].mean(axis=1)
        return score

    def _fitted(self) -> FloatArray:
        if self._bank is None:
            raise InputError("The backend has no bank yet: call fit with training embeddings.")
        return self._bank


def distance_blocks(
    clips: FloatArray, bank: FloatArray, *, without_self: bool = False
) -> Iterator[tuple[slice, FloatArray]]:
    """Cosine distances to all clips of a bank, a block of clips at a time.

    Parameters
    ----------
    clips, bank : ndarray of float64, shapes (n_clips, n_dimensions), (n_bank, n_dimensions)
        Of length one.
    without_self : bool
        The clips are the bank: the distance of each to itself is infinite.

    Yields
    ------
    rows : slice
        Clips of the block.
    distance : ndarray of float64, shape (n_rows, n_bank)
        0 to 2.
    """
    block = max(1, BLOCK_ELEMENTS // len(bank))
    for first in range(0, len(clips), block):
        rows = slice(first, min(first + block, len(clips)))
        # Rounding takes equal directions a few 1e-16 below zero.
        distance = np.clip(1.0 - clips[rows] @ bank.T, 0.0, 2.0)
        if without_self:
            own = np.arange(rows.start, rows.stop)
            distance[own - first, own] = np.inf
        yield rows, distance


def normalised_bank(embeddings: npt.NDArray[np.floating]) -> FloatArray:
    """Training embeddings at length one.

    Raises
    ------
    InputError
        When there is no clip, or an embedding is zero or not finite.
    """
    bank = _normalised(embeddings)
    if len(bank) == 0:
        raise InputError("The bank is empty: expected at least one normal training clip.")
    return bank


def normalised_like(bank: FloatArray, embeddings: npt.NDArray[np.floating]) -> FloatArray:
    """Embeddings at length one, of as many dimensions as the bank.

    Raises
    ------
    InputError
        When an embedding is zero, not finite, or of another length.
    """
    clips = _normalised(embeddings)
    if clips.shape[1] != bank.shape[1]:
        raise InputError(
            f"Embeddings have {clips.shape[1]} dimensions, the bank has {bank.shape[1]}. "
            "Use embeddings of one network."
        )
    return clips


def _normalised(embeddings: npt.NDArray[np.floating]) -> FloatArray:
    """Rows of length one, in float64: nearly equal clips differ only in the last float32 digits."""
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2:
        raise InputError(f"Embeddings have shape {rows.shape}: expected (n_clips, n_dimensions).")
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    usable = np.isfinite(length) & (length > 0)
    if not usable.all():
        position = int(np.flatnonzero(~usable)[0])
        raise InputError(
            f"Embedding {position} has length {length[position, 0]}: a cosine distance needs "
            "finite embeddings that are not all zero. Check the clip behind it."
        )
    return np.asarray(rows / length)
