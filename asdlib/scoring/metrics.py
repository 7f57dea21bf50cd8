"""AUC, standardised partial AUC and their harmonic mean: the official metric.

    "Our system achieves 63.25% in the harmonic mean of AUC and pAUC (p = 0.1) across all machine
    types and domains on the development set." (report, abstract)

`asdlib.scoring.evaluate` makes a table of it. Every clip carries a weight (how often a resample
drew it), so that one sort of the scores serves the value (all weights one) and a thousand
resamples (`asdlib.scoring.resampling`) alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asdlib.base import InputError

FloatArray = npt.NDArray[np.float64]

#: Largest false-positive rate of the challenge's partial AUC.
MAX_FPR = 0.1


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
    r"""Partial AUC up to ``max_fpr``, standardised (D. K. McClish, Med. Decis. Making 9, 1989).

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
