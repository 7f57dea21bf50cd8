"""Local-density normalisation: a distance counts by how far apart the bank itself lies there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError
from asdlib.scoring.knn import FloatArray, distance_blocks, normalised_bank, normalised_like

#: Two clips of the bank that are equal would make every other clip infinitely abnormal there.
_SMALLEST_RADIUS = 1e-9


class LocalDensityBackend:
    r"""Smallest ratio of the distance to a clip of the bank and that clip's own radius.

    .. math:: s(x) = \min_i \frac{d(x, y_i)}{r_i}, \qquad
              r_i = \frac1k \sum_{y \in N_k(y_i)} d(y_i, y)

    with the cosine distance d and the k nearest other clips of the bank. Ten target clips lie
    far apart, a thousand source clips close together: by plain distance every target clip looks
    abnormal, by this ratio it does not.

    Parameters
    ----------
    k : int
        Neighbours of a bank clip that make its radius, 1 or more; a small bank uses what it
        has. A bank of fewer than three clips has no radii to compare: there the score is the
        plain distance.

    Raises
    ------
    InputError
        When ``k`` is below 1.

    References
    ----------
    K. Wilkinghoff, H. Yang, J. Ebbers, F. G. Germain, G. Wichern, J. Le Roux, "Keeping the
    Balance: Anomaly Score Calculation for Domain Generalization", ICASSP 2025; the idea of a
    local density is that of M. Breunig et al., "LOF", SIGMOD 2000.

    Examples
    --------
    >>> bank = np.array([[1.0, 0.0], [0.99, 0.14], [0.0, 1.0], [-0.7, 0.7]])
    >>> backend = LocalDensityBackend(k=1)
    >>> backend.fit(bank)
    >>> dense, sparse = backend.anomaly_score(np.array([[0.9, 0.44], [-0.4, 0.9]]))
    >>> bool(dense > 1 > sparse)
    True
    """

    def __init__(self, k: int = 2) -> None:
        if k < 1:
            raise InputError(f"k = {k}: expected 1 neighbour or more.")
        self.k = k
        self._bank: FloatArray | None = None

    def fit(
        self, embeddings: npt.NDArray[np.floating], *, domains: npt.ArrayLike | None = None
    ) -> None:
        """Keep the bank and the distances of each of its clips to its nearest others.

        Parameters
        ----------
        embeddings : ndarray of float, shape (n_clips, n_dimensions)
            Normal training clips of one machine, in any scale but zero.
        domains : array_like of str, shape (n_clips,), optional
            Not used: the density itself tells the domains apart.

        Raises
        ------
        InputError
            When there is no clip, or an embedding is zero or not finite.
        """
        bank = normalised_bank(embeddings)
        # The radius of a clip that loses one of its neighbours needs one more of them.
        self._k = min(self.k, len(bank) - 2)
        self._nearest = np.empty((len(bank), self._k + 1), np.int64)
        self._distance = np.empty((len(bank), self._k + 1))
        if self._k > 0:
            for rows, distance in distance_blocks(bank, bank, without_self=True):
                nearest = np.argsort(distance, axis=1, kind="stable")[:, : self._k + 1]
                self._nearest[rows] = nearest
                self._distance[rows] = np.take_along_axis(distance, nearest, axis=1)
        self._bank = bank

    def anomaly_score(self, embeddings: npt.NDArray[np.floating]) -> FloatArray:
        """Score clips by their smallest distance in units of the bank's radii.

        Parameters
        ----------
        embeddings : ndarray of float, shape (n_clips, n_dimensions)

        Returns
        -------
        ndarray of float64, shape (n_clips,)
            0 or more; about 1 for a clip that lies in the bank as the bank's own clips do.

        Raises
        ------
        InputError
            Before ``fit``; or when an embedding is zero, not finite, or of another length.
        """
        bank = self._fitted()
        clips = normalised_like(bank, embeddings)
        radius = self._radius()
        score = np.empty(len(clips))
        for rows, distance in distance_blocks(clips, bank):
            score[rows] = (distance / radius).min(axis=1)
        return score

    def leave_one_out(self) -> FloatArray:
        """Score every clip of the bank as if it had never been in it.

        Its distance to itself is left out, and so is it from the radii of the other clips.

        Returns
        -------
        ndarray of float64, shape (n_clips,)
            In the order of ``fit``; NaN for a bank of one clip, which has no other.
        """
        bank = self._fitted()
        if len(bank) == 1:
            return np.full(1, np.nan)
        score = np.empty(len(bank))
        for rows, distance in distance_blocks(bank, bank, without_self=True):
            score[rows] = (distance / self._radius_without(rows)).min(axis=1)
        return score

    def _fitted(self) -> FloatArray:
        if self._bank is None:
            raise InputError("The backend has no bank yet: call fit with training embeddings.")
        return self._bank

    def _radius(self) -> FloatArray:
        """Radius of every clip of the bank, shape (n_clips,)."""
        if self._k < 1:
            return np.ones(len(self._distance))
        return np.asarray(np.maximum(self._distance[:, : self._k].mean(axis=1), _SMALLEST_RADIUS))

    def _radius_without(self, rows: slice) -> FloatArray:
        """Radii of all clips when one is left out, shape (n_left_out, n_clips)."""
        left_out = np.arange(len(self._distance))[rows]
        radius = np.repeat(self._radius()[None], len(left_out), axis=0)
        if self._k < 1:
            return radius
        is_neighbour = self._nearest[None, :, : self._k] == left_out[:, None, None]
        which, clip, place = np.nonzero(is_neighbour)
        # The next neighbour takes the place of the one left out.
        change = (self._distance[clip, self._k] - self._distance[clip, place]) / self._k
        radius[which, clip] = np.maximum(radius[which, clip] + change, _SMALLEST_RADIUS)
        return radius
