"""AUC, standardised partial AUC and harmonic mean, and their bootstrap over clips.

"... the harmonic mean of AUC and pAUC (p = 0.1) across all machine types and domains" (report,
abstract): the official metric, which `asdlib.scoring.evaluate` makes a table of.

Every clip carries a weight (how often a resample drew it), so that one sort of the scores
serves the value itself (all weights one) and a thousand bootstrap resamples alike.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from asdlib.base import InputError

FloatArray = npt.NDArray[np.float64]

#: Largest false-positive rate of the challenge's partial AUC.
MAX_FPR = 0.1
#: Weights that are held at once: the memory of a bootstrap does not grow with its resamples.
_BLOCK_VALUES = 1 << 18


def auc(anomaly_score: npt.ArrayLike, is_anomaly: npt.ArrayLike) -> float:
    """Area under the ROC curve: the chance that an anomaly scores above a normal clip.

    Parameters
    ----------
    anomaly_score : array_like of float, shape (n_clips,)
        Finite; higher = more anomalous. Ties count one half.
    is_anomaly : array_like of bool, shape (n_clips,)

    Returns
    -------
    float
        0 to 1, chance 0.5; NaN where normal clips or anomalies are missing.

    Examples
    --------
    >>> auc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    return pauc(anomaly_score, is_anomaly, max_fpr=1.0)


def pauc(
    anomaly_score: npt.ArrayLike, is_anomaly: npt.ArrayLike, *, max_fpr: float = MAX_FPR
) -> float:
    r"""Partial AUC up to ``max_fpr``, standardised after McClish.

    With :math:`A` the area below the ROC curve for false-positive rates 0 to :math:`p`,

    .. math:: \mathrm{pAUC} = \tfrac12 \Big(1 + \frac{A - p^2/2}{p - p^2/2}\Big)

    so that chance is 0.5 and a perfect detector 1, as scikit-learn's
    ``roc_auc_score(..., max_fpr=p)`` has it.

    Parameters
    ----------
    anomaly_score, is_anomaly
        As for :func:`auc`.
    max_fpr : float
        p, over 0 and at most 1; at 1 this is the plain AUC.

    Returns
    -------
    float
        At most 1; NaN where normal clips or anomalies are missing.

    References
    ----------
    D. K. McClish, "Analyzing a portion of the ROC curve", Medical Decision Making 9 (1989).

    Examples
    --------
    >>> pauc([0.1, 0.4, 0.35, 0.8], [False, False, True, True], max_fpr=0.5)
    0.6666666666666666
    """
    score = np.asarray(anomaly_score, dtype=np.float64)
    anomalous = np.asarray(is_anomaly, dtype=bool)
    if score.ndim != 1 or score.shape != anomalous.shape:
        raise InputError(
            f"anomaly_score has shape {score.shape} and is_anomaly {anomalous.shape}; "
            "expected one value of each per clip."
        )
    if not np.isfinite(score).all():
        position = int(np.flatnonzero(~np.isfinite(score))[0])
        raise InputError(f"anomaly_score[{position}] = {score[position]}: expected finite scores.")
    weight = anomalous[None, :].astype(np.float64)
    ranking = Ranking(score)
    curve = ranking.rates(1.0 - weight), ranking.rates(weight)
    return float(area_below(*curve, max_fpr=max_fpr)[0])


def harmonic_mean(values: FloatArray, *, axis: int = -1) -> FloatArray:
    """Harmonic mean over one axis, of the values (0 or more) that are not NaN.

    A zero makes the mean zero (its limit); without any value it is NaN.
    """
    count = np.sum(~np.isnan(values), axis=axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(count / np.nansum(1.0 / values, axis=axis), dtype=np.float64)


class Ranking:
    """The order of a clip set's scores, found once for all weightings of the clips."""

    def __init__(self, anomaly_score: FloatArray) -> None:
        self._order = np.argsort(-anomaly_score, kind="stable")
        changes = np.flatnonzero(np.diff(anomaly_score[self._order]))
        # Clips of one score enter the curve together: a tie is one slanted segment.
        self._last_of_tie = np.append(changes, len(anomaly_score) - 1)

    def rates(self, weight: FloatArray) -> FloatArray:
        """Share of the weight at or above each distinct score, highest first, from 0 to 1.

        ``weight`` (n_weightings, n_clips) → (n_weightings, 1 + n_distinct); NaN where all are 0.
        """
        if weight.shape[1] == 0:
            return np.full((len(weight), 2), np.nan)
        passed = np.cumsum(weight[:, self._order], axis=1)[:, self._last_of_tie]
        rates = np.zeros((len(weight), 1 + passed.shape[1]))
        with np.errstate(invalid="ignore"):
            np.divide(passed, passed[:, -1:], out=rates[:, 1:])
        rates[np.isnan(rates[:, -1])] = np.nan
        return rates


def area_below(false_rate: FloatArray, true_rate: FloatArray, *, max_fpr: float) -> FloatArray:
    """Area below ROC curves up to ``max_fpr``, standardised so that chance is 0.5.

    Rates have shape (n_curves, n_points); with ``max_fpr`` 1 it is the plain area.
    """
    if not 0.0 < max_fpr <= 1.0:
        raise InputError(f"max_fpr = {max_fpr}: expected a rate over 0 and at most 1.")
    left, right = false_rate[:, :-1], false_rate[:, 1:]
    low, high = true_rate[:, :-1], true_rate[:, 1:]
    width = np.minimum(right, max_fpr) - np.minimum(left, max_fpr)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(right > left, width / (right - left), 0.0)
    # A running sum adds from left to right, whatever the number of curves.
    # In place: of a million clips every copy counts.
    part *= 0.5
    part *= high - low
    part += low
    part *= width
    area = np.cumsum(part, axis=1)[:, -1]
    if max_fpr == 1.0:
        return np.asarray(area, dtype=np.float64)
    chance = 0.5 * max_fpr**2
    return np.asarray(0.5 * (1.0 + (area - chance) / (max_fpr - chance)), dtype=np.float64)


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
