"""From rows of one machine's normal clips to anomaly scores: section 2.4 of the report.

"A K-nearest neighbors (KNN) algorithm was employed as an inlier model to fit the probability
distribution of normal data, after which anomaly scores were computed." A backend is anything
with the two methods of `Backend`; one is fitted per machine. Domains of unequal size are scored in
units of their own scatter, for which parts of the training clips are held out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from asdlib.base import InputError
from asdlib.scoring.metrics import FloatArray

Rows = npt.NDArray[np.floating]
METRICS = ("cosine", "euclidean")
#: Parts of a domain's training clips that are scored by the others.
N_PARTS = 3
#: Sessions are left out one by one up to so many, else in groups.
_MOST_SESSIONS = 10
_LARGEST_SESSION = 2 / 3
#: A domain of fewer clips has no scatter worth a standard deviation; it joins the others.
_FEWEST_CLIPS = 3
#: Scatter is taken as at least this share of the mean score: of a few clips it can be zero.
_SMALLEST_SCATTER = 0.05


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


class DomainMinimumBackend:
    r"""Smallest distance over the domains, each standardised by held-out training clips (`parts`).

    :math:`s(x) = \min_d (\delta_d(x) - \mu_d) / \sigma_d`, :math:`\delta_d` the mean distance to
    the k nearest of domain d; domains of fewer than three clips join the smallest other. As in
    several systems of DCASE 2023 to 2025 Task 2.
    """

    def __init__(self, k: int = 1, metric: str = "cosine") -> None:
        self._knn = partial(KNNBackend, KNNBackend(k, metric).k, metric)
        self._of_domain: dict[str, tuple[KNNBackend, float, float]] = {}

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Fit one KNN per domain and its scatter; one domain where none is given."""
        names = np.full(len(rows), "") if domains is None else np.asarray(domains, str)
        self._domain, self._rows = _join_small(names), np.asarray(rows)
        self._of_domain, self._held_out = {}, np.full(len(rows), np.nan)
        for name in np.unique(self._domain):
            members = self._domain == name
            knn = self._knn()
            knn.fit(self._rows[members])
            distance = held_out_scores(self._knn, self._rows[members], self._domain[members])
            mean, scatter = mean_and_scatter(distance)
            self._of_domain[str(name)] = (knn, mean, scatter)
            self._held_out[members] = (distance - mean) / scatter

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,); about 0 for a normal one."""
        return np.asarray(self._standardised(rows).min(axis=1))

    def nearest(self, row: FloatArray, *, count: int) -> npt.NDArray[np.int64]:
        """Positions in the bank of the clips nearest to one, in the domain that suits it best."""
        best = int(self._standardised(row[None])[0].argmin())
        name, (knn, _, _) = list(self._of_domain.items())[best]
        members = np.flatnonzero(self._domain == name)
        found = knn.search.kneighbors(row[None], min(count, len(members)), return_distance=False)
        return np.asarray(members[found[0]])

    def held_out(self, sessions: npt.ArrayLike | None = None) -> FloatArray:
        """Score the bank's own clips, each part against the other parts of its domain."""
        score = self._standardised(self._rows)
        told = np.full(len(score), "") if sessions is None else np.asarray(sessions, str)
        for place, (name, (_, mean, scatter)) in enumerate(self._of_domain.items()):
            members = self._domain == name
            own = self._held_out[members]
            if of_sessions(told[members]):
                rows, names = self._rows[members], self._domain[members]
                own = (held_out_scores(self._knn, rows, names, told[members]) - mean) / scatter
            score[members, place] = own
        return np.asarray(score.min(axis=1))

    def _standardised(self, rows: Rows) -> FloatArray:
        if not self._of_domain:
            raise InputError("The backend has no bank yet: call fit with training rows.")
        columns = [
            (knn.anomaly_score(rows) - mean) / scatter
            for knn, mean, scatter in self._of_domain.values()
        ]
        return np.stack(columns, axis=1)


def parts(domains: npt.ArrayLike, sessions: npt.ArrayLike | None = None) -> npt.NDArray[np.int64]:
    """Part of every clip, from 0: its session among those of its domain, as far as that is told.

    Without sessions to leave out (`of_sessions`) the thirds of a domain, in the order of the clips:
    neighbours in a folder often come from one recording or session. Left out one by one, each would
    be judged by its own siblings, and the next session would ring.
    """
    names = np.asarray(domains, str)
    told = np.full(len(names), "") if sessions is None else np.asarray(sessions, str)
    part = np.zeros(len(names), np.int64)
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        found, place = np.unique(told[members], return_inverse=True)
        if of_sessions(told[members]):
            part[members] = place * min(_MOST_SESSIONS, len(found)) // len(found)
        else:
            part[members] = np.arange(len(members)) * min(N_PARTS, len(members)) // len(members)
    return part


def of_sessions(told: npt.ArrayLike) -> bool:
    """Whether sessions can be left out: two or more, none of which holds over two thirds."""
    counts = np.unique(np.asarray(told, str), return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() <= _LARGEST_SESSION * counts.sum())


def held_out_scores(
    make: Callable[[], Backend],
    rows: Rows,
    domains: npt.NDArray[Any],
    sessions: npt.NDArray[Any] | None = None,
) -> FloatArray:
    """Score each part of the training clips (`parts`) by a backend fitted on the others.

    NaN for a clip that has no other to be compared with.
    """
    score = np.full(len(rows), np.nan)
    part = parts(domains, sessions)
    for number in np.unique(part):
        out = part == number
        if not out.all():
            backend = make()
            backend.fit(rows[~out], domains=domains[~out])
            score[out] = backend.anomaly_score(rows[out])
    return score


def mean_and_scatter(training_score: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of training scores, the latter fit to divide by; NaN left out.

    At least a twentieth of the mean, lest a few clips that score alike blow up the others.
    """
    known = training_score[np.isfinite(training_score)]
    if len(known) == 0:
        return 0.0, 1.0
    mean = float(known.mean())
    scatter = max(float(known.std()), _SMALLEST_SCATTER * abs(mean))
    return mean, scatter if scatter > 0 else 1.0


def _join_small(names: npt.NDArray[np.str_]) -> npt.NDArray[np.str_]:
    """Give domains of too few clips the name of the smallest domain that has enough."""
    found, counts = np.unique(names, return_counts=True)
    large = found[counts >= _FEWEST_CLIPS]
    if len(large) == len(found):
        return names
    if len(large) == 0:
        return np.full(len(names), "all")
    smallest = large[counts[counts >= _FEWEST_CLIPS].argmin()]
    return np.where(np.isin(names, large), names, smallest)
