"""Domain-wise standardisation: a clip is as abnormal as the domain that suits it best says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError
from asdlib.scoring.fusion import mean_and_scatter
from asdlib.scoring.knn import FloatArray, KNNBackend

#: A domain of fewer clips has no scatter worth a standard deviation; it joins the others.
_FEWEST_CLIPS = 3


class DomainMinimumBackend:
    r"""Smallest standardised distance over the domains.

    .. math:: s(x) = \min_d \frac{\delta_d(x) - \mu_d}{\sigma_d}

    with :math:`\delta_d` the mean cosine distance to the k nearest clips of domain d, and its
    mean and standard deviation over the training clips of that domain, each left out in turn.

    Parameters
    ----------
    k : int
        Neighbours in each domain, 1 or more.

    References
    ----------
    The standardisation by domain with the minimum is that of several systems of DCASE 2023 to
    2025 Task 2.
    """

    def __init__(self, k: int = 1) -> None:
        self._backend_of: dict[str, KNNBackend] = {}
        self._mean_and_scatter: dict[str, tuple[float, float]] = {}
        self.k = KNNBackend(k).k

    def fit(
        self, embeddings: npt.NDArray[np.floating], *, domains: npt.ArrayLike | None = None
    ) -> None:
        """Fit one KNN per domain and its scatter.

        Parameters
        ----------
        embeddings : ndarray of float, shape (n_clips, n_dimensions)
            Normal training clips of one machine, in any scale but zero.
        domains : array_like of str, shape (n_clips,), optional
            Domain of each clip; one domain where it is not given. Domains of fewer than three
            clips are one domain together with the smallest other.

        Raises
        ------
        InputError
            When there is no clip, or an embedding is zero or not finite.
        """
        names = np.full(len(embeddings), "") if domains is None else np.asarray(domains, str)
        self._domain = _join_small(names)
        self._backend_of, self._mean_and_scatter = {}, {}
        self._own = np.full(len(embeddings), np.nan)
        self._embeddings = np.asarray(embeddings)
        for name in np.unique(self._domain):
            members = self._domain == name
            backend = KNNBackend(self.k)
            backend.fit(self._embeddings[members])
            self._backend_of[name] = backend
            distance = backend.leave_one_out()
            self._mean_and_scatter[name] = mean_and_scatter(distance)
            self._own[members] = distance

    def anomaly_score(self, embeddings: npt.NDArray[np.floating]) -> FloatArray:
        """Score clips, shape (n_clips, n_dimensions) -> (n_clips,); about 0 for a normal one.

        Raises
        ------
        InputError
            Before ``fit``; or when an embedding is zero, not finite, or of another length.
        """
        if not self._backend_of:
            raise InputError("The backend has no bank yet: call fit with training embeddings.")
        return np.asarray(self._standardised(embeddings).min(axis=1))

    def leave_one_out(self) -> FloatArray:
        """Score every training clip against the others, in the order of ``fit``.

        NaN for a single clip, which has no other.
        """
        score = self._standardised(self._embeddings)
        for place, name in enumerate(self._backend_of):
            members = self._domain == name
            mean, scatter = self._mean_and_scatter[name]
            score[members, place] = (self._own[members] - mean) / scatter
        return np.asarray(score.min(axis=1))

    def _standardised(self, embeddings: npt.NDArray[np.floating]) -> FloatArray:
        """Standardised distance to each domain, shape (n_clips, n_domains)."""
        columns = []
        for name, backend in self._backend_of.items():
            mean, scatter = self._mean_and_scatter[name]
            columns.append((backend.anomaly_score(embeddings) - mean) / scatter)
        return np.stack(columns, axis=1)


def _join_small(names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Give domains of too few clips the name of the smallest domain that has enough."""
    found, counts = np.unique(names, return_counts=True)
    large = found[counts >= _FEWEST_CLIPS]
    if len(large) == len(found):
        return names
    if len(large) == 0:
        return np.full(len(names), "all")
    sizes = counts[counts >= _FEWEST_CLIPS]
    is_small = np.isin(names, found[counts < _FEWEST_CLIPS])
    return np.where(is_small, large[sizes.argmin()], names)
