"""AUC, standardised partial AUC and harmonic mean, for one clip set or many resamples of it.

Every clip carries a weight (how often a resample drew it), so that one sort of the scores
serves the value itself (all weights one) and a thousand bootstrap resamples alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError

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
    false_rate, true_rate = _one_curve(anomaly_score, is_anomaly)
    return float(area_below(false_rate, true_rate, max_fpr=1.0)[0])


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
    anomaly_score : array_like of float, shape (n_clips,)
        Finite; higher = more anomalous.
    is_anomaly : array_like of bool, shape (n_clips,)
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
    false_rate, true_rate = _one_curve(anomaly_score, is_anomaly)
    return float(area_below(false_rate, true_rate, max_fpr=max_fpr)[0])


def harmonic_mean(values: FloatArray, *, axis: int = -1) -> FloatArray:
    """Harmonic mean over one axis, of the values that are not NaN.

    Parameters
    ----------
    values : ndarray of float64
        0 or more, or NaN for what could not be computed. A zero makes the mean zero (its limit).
    axis : int
        The axis to average over.

    Returns
    -------
    ndarray of float64
        NaN where there is no value at all.

    Examples
    --------
    >>> float(harmonic_mean(np.array([1.0, 0.5, np.nan])))
    0.6666666666666666
    """
    count = np.sum(~np.isnan(values), axis=axis)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(count / np.nansum(1.0 / values, axis=axis), dtype=np.float64)


def roc_points(
    anomaly_score: FloatArray, normal_weight: FloatArray, anomaly_weight: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """ROC curves of one clip set under several weightings.

    Parameters
    ----------
    anomaly_score : ndarray of float64, shape (n_clips,)
    normal_weight, anomaly_weight : ndarray of float64, shape (n_weightings, n_clips)
        How often each clip counts as a normal one and as an anomaly; 0 leaves it out.

    Returns
    -------
    false_rate, true_rate : ndarray of float64, shape (n_weightings, n_points)
        From (0, 0) to (1, 1), one point per distinct score, 0 to 1. NaN where all weights of
        the condition are 0.
    """
    order = np.argsort(-anomaly_score, kind="stable")
    descending = anomaly_score[order]
    if len(descending) == 0:
        nothing = np.full((len(normal_weight), 2), np.nan)
        return nothing, nothing
    # Clips of one score enter the curve together: a tie is one slanted segment.
    last_of_tie = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)

    def rates(weight: FloatArray) -> FloatArray:
        passed = np.cumsum(weight[:, order], axis=1)[:, last_of_tie]
        passed = np.hstack([np.zeros((len(weight), 1)), passed])
        with np.errstate(invalid="ignore"):
            return np.asarray(passed / passed[:, -1:], dtype=np.float64)

    return rates(normal_weight), rates(anomaly_weight)


def area_below(false_rate: FloatArray, true_rate: FloatArray, *, max_fpr: float) -> FloatArray:
    """Area below ROC curves up to ``max_fpr``, standardised so that chance is 0.5.

    Parameters
    ----------
    false_rate, true_rate : ndarray of float64, shape (n_curves, n_points)
        As from :func:`roc_points`.
    max_fpr : float
        Over 0 and at most 1; at 1 the result is the plain area.

    Returns
    -------
    ndarray of float64, shape (n_curves,)

    Raises
    ------
    InputError
        When ``max_fpr`` is out of range.
    """
    if not 0.0 < max_fpr <= 1.0:
        raise InputError(f"max_fpr = {max_fpr}: expected a rate over 0 and at most 1.")
    left, right = false_rate[:, :-1], false_rate[:, 1:]
    low, high = true_rate[:, :-1], true_rate[:, 1:]
    width = np.minimum(right, max_fpr) - np.minimum(left, max_fpr)
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(right > left, width / (right - left), 0.0)
    area = np.sum(width * (low + 0.5 * part * (high - low)), axis=1)
    if max_fpr == 1.0:
        return np.asarray(area, dtype=np.float64)
    chance = 0.5 * max_fpr**2
    return np.asarray(0.5 * (1.0 + (area - chance) / (max_fpr - chance)), dtype=np.float64)


def _one_curve(
    anomaly_score: npt.ArrayLike, is_anomaly: npt.ArrayLike
) -> tuple[FloatArray, FloatArray]:
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
    return roc_points(score, 1.0 - weight, weight)
