"""Resampling: training clips scored by the others, and resamples of the clips behind a figure.

A clip in its own bank scores 0, so parts of the training clips are held out; the scatter of their
scores is the unit in which domains of unequal size are compared. A figure's interval comes from
a stratified bootstrap over clips.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from asdlib.base import InputError
from asdlib.scoring.knn import Backend, KNNBackend, Rows
from asdlib.scoring.metrics import FloatArray

#: Parts of a domain's training clips that are scored by the others.
N_PARTS = 3
#: Sessions are left out one by one up to so many, else in groups.
_MOST_SESSIONS = 10
_LARGEST_SESSION = 2 / 3
#: A domain of fewer clips has no scatter worth a standard deviation; it joins the others.
_FEWEST_CLIPS = 3
#: Scatter is taken as at least this share of the mean score: of a few clips it can be zero.
_SMALLEST_SCATTER = 0.05
#: Weights that are held at once: the memory of a bootstrap does not grow with its resamples.
_BLOCK_VALUES = 1 << 18


class DomainMinimumBackend:
    r"""Smallest distance over the domains, each standardised by held-out training clips (`parts`).

    :math:`s(x) = \min_d (\delta_d(x) - \mu_d) / \sigma_d`, :math:`\delta_d` the mean distance to
    the k nearest of domain d; domains of fewer than three clips join the smallest other. As in
    several systems of DCASE 2023 to 2025 Task 2. ``metric`` "standardised" is the Euclidean
    distance in units of every value's ``scatter`` over the bank (`row_scatter`).
    """

    def __init__(self, k: int = 1, metric: str = "cosine") -> None:
        self._is_standardised = metric == "standardised"
        used = "euclidean" if self._is_standardised else metric
        self._knn = partial(KNNBackend, KNNBackend(k, used).k, used)
        self._of_domain: dict[str, tuple[KNNBackend, float, float]] = {}
        self.scatter: FloatArray | None = None

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Fit one KNN per domain and its scatter; one domain where none is given."""
        names = np.full(len(rows), "") if domains is None else np.asarray(domains, str)
        self.scatter = row_scatter(np.asarray(rows, np.float64)) if self._is_standardised else None
        self._domain, self._rows = _join_small(names), self._in_units(rows)
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
        return np.asarray(self._of_domains(self._in_units(rows)).min(axis=1))

    def nearest(self, row: FloatArray, *, count: int) -> npt.NDArray[np.int64]:
        """Positions in the bank of the clips nearest to one, in the domain that suits it best.

        Fewer than ``count`` where the domain has no more.
        """
        clip = self._in_units(row[None])
        name, (knn, _, _) = list(self._of_domain.items())[self._of_domains(clip)[0].argmin()]
        members = np.flatnonzero(self._domain == name)
        found = knn.search.kneighbors(clip, min(count, len(members)), return_distance=False)
        return np.asarray(members[found[0]])

    def held_out(self, sessions: npt.ArrayLike | None = None) -> FloatArray:
        """Score the bank's own clips, each part against the other parts of its domain."""
        score = self._of_domains(self._rows)
        told = np.full(len(score), "") if sessions is None else np.asarray(sessions, str)
        for place, (name, (_, mean, scatter)) in enumerate(self._of_domain.items()):
            members = self._domain == name
            own = self._held_out[members]
            if of_sessions(told[members]):
                rows, names = self._rows[members], self._domain[members]
                own = (held_out_scores(self._knn, rows, names, told[members]) - mean) / scatter
            score[members, place] = own
        return np.asarray(score.min(axis=1))

    def _in_units(self, rows: Rows) -> FloatArray:
        values = np.asarray(rows, np.float64)
        return values if self.scatter is None else values / self.scatter

    def _of_domains(self, rows: FloatArray) -> FloatArray:
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


def row_scatter(train: Rows) -> FloatArray:
    """Scatter of every value over the training clips, held up by the typical one.

    A value that hardly varies in a few clips must not decide alone.
    """
    spread = train.std(axis=0)
    scale = np.sqrt(spread**2 + np.median(spread) ** 2)
    return np.asarray(np.where(scale > 0, scale, 1.0))


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


def resample_weights(
    strata: npt.NDArray[np.int64], *, n_resamples: int, seed: int, name: str
) -> Iterator[FloatArray]:
    """Draw clips with replacement inside each stratum; yields how often each was drawn.

    The draw depends on ``seed``, ``name`` and ``strata`` only, so that differences of systems on
    the same clips are paired. Blocks of shape (n_of_this_block, n_clips), in all ``n_resamples``
    rows.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    at_once = max(1, _BLOCK_VALUES // max(1, len(strata)))
    blocks = [min(at_once, n_resamples - first) for first in range(0, n_resamples, at_once)]
    streams = [rng] * len(members)
    if len(blocks) > 1:
        # All draws of a stratum come before those of the next, whatever the blocks.
        for place, own in enumerate(members[:-1]):
            streams[place] = copy.deepcopy(rng)
            for count in blocks:
                rng.integers(0, len(own), (count, len(own)))
    for count in blocks:
        weights = np.empty((count, len(strata)))
        for own, stream in zip(members, streams, strict=True):
            drawn = stream.integers(0, len(own), (count, len(own)))
            drawn += np.arange(count)[:, None] * len(own)
            counts = np.bincount(drawn.ravel(), minlength=drawn.size)
            weights[:, own] = counts.reshape(drawn.shape)
        yield weights


def bias_corrected_interval(
    value: FloatArray,
    replicates: FloatArray,
    *,
    confidence: float,
    acceleration: npt.ArrayLike = 0.0,
    widening: npt.ArrayLike = 1.0,
) -> tuple[FloatArray, FloatArray]:
    r"""Bias-corrected and accelerated percentile interval of bootstrap replicates (BCa).

    The percentiles :math:`\Phi(z_0 + (z_0 \pm w z)/(1 - a (z_0 \pm w z)))` of ``replicates``
    (n_resamples, n_values), where :math:`\Phi(z_0)` is the share of replicates below the ``value``
    (n_values,), ties half, :math:`a` the acceleration, :math:`w` the widening (0 and 1:
    bias-corrected alone) and :math:`z` the normal quantile of the confidence. The partial AUC of a
    resample of few clips lies too high on average, and the nearer to 1 the less it scatters; plain
    percentiles inherit both. NaN where the value is, or without replicates. B. Efron, JASA 82
    (1987).
    """
    normal = NormalDist()
    low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    accelerations = np.broadcast_to(acceleration, value.shape)
    widenings = np.broadcast_to(widening, value.shape)
    n_resamples = len(replicates)
    for column in np.flatnonzero(~np.isnan(value)) if n_resamples else ():
        drawn = replicates[:, column]
        # Sums of rounded numbers: what differs by a rounding error is a tie.
        tie = np.isclose(drawn, value[column], rtol=0, atol=1e-12)
        below = (np.sum((drawn < value[column]) & ~tie) + 0.5 * tie.sum()) / n_resamples
        shift = normal.inv_cdf(np.clip(below, 0.5 / n_resamples, 1 - 0.5 / n_resamples))
        reach = widenings[column] * normal.inv_cdf(0.5 + 0.5 * confidence)
        ends = np.array([-reach, reach])
        # Where the acceleration would turn the order round, the end is the outermost replicate.
        steepness = np.maximum(1.0 - accelerations[column] * (shift + ends), 1e-3)
        places = 2.0 * shift + ends + accelerations[column] * (shift + ends) ** 2 / steepness
        low[column], high[column] = np.quantile(drawn, [normal.cdf(place) for place in places])
    return low, high


def small_sample_widening(n_clips: float) -> float:
    """How much wider an interval is to be that rests on ``n_clips`` clips: sqrt(n / (n - 1)).

    Resamples of n clips scatter by that much less than new clips would. Two at least count.
    """
    fewest = max(n_clips, 2.0)
    return float(np.sqrt(fewest / (fewest - 1.0)))


def pauc_acceleration(
    anomaly_score: FloatArray, is_anomaly: npt.NDArray[np.bool_], *, max_fpr: float
) -> float:
    """Acceleration of the partial AUC: a sixth of the skewness of every clip's influence on it.

    An anomaly adds the false-positive rates up to ``max_fpr`` at which it is found; a normal clip
    of the highest scores takes what lies between its score and the threshold at ``max_fpr``.
    """
    normal, anomalous = np.sort(anomaly_score[~is_anomaly]), np.sort(anomaly_score[is_anomaly])
    false_rate = 1.0 - np.searchsorted(normal, anomalous, "left") / len(normal)
    found_at = 1.0 - np.searchsorted(anomalous, normal, "left") / len(anomalous)
    threshold = np.quantile(normal, np.clip(1.0 - max_fpr, 0.0, 1.0))
    found = 1.0 - np.searchsorted(anomalous, threshold, "left") / len(anomalous)
    of_anomalies = np.maximum(0.0, max_fpr - false_rate)
    of_normals = np.where(normal > threshold, found_at - found, 0.0)
    influence = np.concatenate([(of - of.mean()) / len(of) for of in (of_anomalies, of_normals)])
    if np.abs(influence).max() < 1e-12:  # no clip changes the value but for rounding
        return 0.0
    return float(np.sum(influence**3) / (6.0 * np.sum(influence**2) ** 1.5))
