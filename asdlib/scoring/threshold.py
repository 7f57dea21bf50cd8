"""Decision threshold of a machine, from the scores of its normal training clips alone."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.errors import InputError
from asdlib.scoring.scores import validate_scores

#: Fewest training scores that a gamma distribution is fitted to.
_MIN_CLIPS = 5
#: A fit is refused when its share of training clips above the threshold is this many
#: binomial standard deviations off.
_MAX_DEVIATION = 3.0


def gamma_threshold(
    training_scores: npt.ArrayLike, *, share_below: float = 0.9
) -> tuple[float, str, str]:
    """Score that a normal clip stays below with a given probability.

    A gamma distribution (shape, location, scale by maximum likelihood, as in the official
    baseline) is fitted to the training scores; the threshold is its ``share_below`` quantile.
    Where that cannot be trusted, the empirical quantile is used: fewer than 5 clips, constant
    scores, a fit that fails, or one that puts a share of the training clips above the threshold
    which differs from ``1 - share_below`` by over 3 binomial standard deviations.

    Parameters
    ----------
    training_scores : array_like of float, shape (n_clips,)
        Leave-one-out scores of normal training clips; NaN is left out.
    share_below : float
        Over 0 and under 1; 0.9 is the baseline's.

    Returns
    -------
    threshold : float
        In the unit of the scores; NaN without any score.
    method : str
        "gamma", "quantile" or "none".
    reason : str
        Why it is not "gamma"; else empty.

    Raises
    ------
    InputError
        When ``share_below`` is out of range.

    References
    ----------
    N. Harada et al., "First-shot anomaly sound detection for machine condition monitoring: a
    domain generalization baseline", EUSIPCO 2023.
    """
    if not 0.0 < share_below < 1.0:
        raise InputError(f"share_below = {share_below}: expected a share between 0 and 1.")
    scores = np.asarray(training_scores, dtype=np.float64)
    scores = scores[np.isfinite(scores)]
    if len(scores) == 0:
        return float("nan"), "none", "no training clip has a score"
    quantile = float(np.quantile(scores, share_below))
    if len(scores) < _MIN_CLIPS:
        return quantile, "quantile", f"only {len(scores)} training clips"
    if np.ptp(scores) <= 1e-9 * np.abs(scores).max():
        return quantile, "quantile", "all training scores are equal"
    threshold = _gamma_quantile(scores, share_below)
    above = float(np.mean(scores > threshold))
    deviation = np.sqrt(share_below * (1.0 - share_below) / len(scores))
    if not np.isfinite(threshold):
        return quantile, "quantile", "the gamma fit failed"
    if abs(above - (1.0 - share_below)) > _MAX_DEVIATION * deviation:
        return quantile, "quantile", f"the gamma fit puts {above:.0%} of training clips above"
    return threshold, "gamma", ""


def decide(scores: pd.DataFrame, *, share_below: float = 0.9) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill ``is_decided_anomalous``: score above the machine's threshold.

    Parameters
    ----------
    scores : DataFrame
        Scores table; thresholds come from its rows of ``split == "train"``.
    share_below : float
        Share of normal clips that shall stay below, over 0 and under 1.

    Returns
    -------
    scores : DataFrame
        The same with decisions; empty where a machine has no threshold or a clip no score.
    thresholds : DataFrame
        One row per system, seed and machine: ``system, seed, machine_type, threshold,
        method, n_train, reason`` (see :func:`gamma_threshold`).
    """
    table = validate_scores(scores)
    keys = ["system", "seed", "machine_type"]
    thresholds = []
    for _, machine in table.groupby(keys, dropna=False, sort=False):
        train = machine.loc[machine["split"].eq("train"), "anomaly_score"].dropna()
        threshold, method, reason = gamma_threshold(train.to_numpy(), share_below=share_below)
        if method != "none":
            scored = machine["anomaly_score"].dropna()
            table.loc[scored.index, "is_decided_anomalous"] = scored > threshold
        first = machine.iloc[0]
        thresholds.append([*first[keys], threshold, method, len(train), reason])
    columns = [*keys, "threshold", "method", "n_train", "reason"]
    return table, pd.DataFrame(thresholds, columns=columns).astype({"seed": "Int64"})


def _gamma_quantile(scores: npt.NDArray[np.float64], share_below: float) -> float:
    """Quantile of the fitted gamma; NaN where the fit does not converge."""
    from scipy import stats

    # In units of the spread the optimiser meets numbers near one, whatever the scores' scale.
    unit = float(scores.std())
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            shape, location, scale = stats.gamma.fit(scores / unit)
        except (stats.FitError, ValueError, RuntimeError):
            return float("nan")
        return float(stats.gamma.ppf(share_below, shape, loc=location, scale=scale)) * unit
