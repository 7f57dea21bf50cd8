"""One score from several: each in units of its own scatter over normal training clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from asdlib.errors import InputError
from asdlib.scoring.knn import FloatArray

#: Scatter is taken as at least this share of the mean score: of a few clips it can be zero.
_SMALLEST_SCATTER = 0.05


def mean_and_scatter(training_score: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of training scores, the latter fit to divide by.

    Parameters
    ----------
    training_score : ndarray of float64, shape (n_clips,)
        Leave-one-out scores of normal training clips; NaN is left out.

    Returns
    -------
    mean, scatter : float
        The scatter is at least a twentieth of the mean, so that a few clips which happen to
        score alike do not blow the others up; 0 and 1 without any score.
    """
    known = training_score[np.isfinite(training_score)]
    if len(known) == 0:
        return 0.0, 1.0
    mean = float(known.mean())
    scatter = max(float(known.std()), _SMALLEST_SCATTER * abs(mean))
    return mean, scatter if scatter > 0 else 1.0


def fuse(tables: Sequence[pd.DataFrame], *, system: str, seed: int | None) -> pd.DataFrame:
    r"""Average the standardised scores of several systems or seeds.

    .. math:: s(x) = \frac1V \sum_v \frac{s_v(x) - \mu_v}{\sigma_v}

    with mean and standard deviation of the scores of the machine's own normal training clips,
    each scored against the others. No weight is fitted and no test clip is used.

    Parameters
    ----------
    tables : sequence of DataFrame
        Scores of the same clips as from :func:`asdlib.scoring.score_machines`, one table for
        each system or seed.
    system : str
        Name of the fused system.
    seed : int or None
        Seed that the fused scores belong to; None for several.

    Returns
    -------
    DataFrame
        Of the first table's form: columns ``SCORE_COLUMNS``; ``anomaly_score`` in standard
        deviations of normal clips, about 0 for a normal one.

    Raises
    ------
    InputError
        When there is no table, or the tables do not hold the same clips.
    """
    if not tables:
        raise InputError("There is nothing to fuse: expected one scores table or more.")
    fused = tables[0].reset_index(drop=True).copy()
    total = np.zeros(len(fused))
    for table in tables:
        total += _standardised(table, fused["clip_id"])
    fused["anomaly_score"] = total / len(tables)
    fused["is_decided_anomalous"] = pd.array([pd.NA] * len(fused), dtype="boolean")
    fused["system"] = system
    fused["seed"] = pd.array([seed] * len(fused), dtype="Int64")
    return fused


def _standardised(table: pd.DataFrame, clip_ids: pd.Series) -> FloatArray:
    """Scores of the wanted clips, in their order, each machine in units of its own scatter."""
    if len(table) != len(clip_ids) or set(table["clip_id"]) != set(clip_ids):
        raise InputError(
            f"The scores of system {table['system'].iloc[0]!r} are not of the same clips as the "
            "first table's. Fuse systems that were scored on one clip table."
        )
    score = pd.Series(np.nan, index=table["clip_id"])
    for _, machine in table.groupby("machine_type", sort=False):
        training = machine.loc[machine["split"] == "train", "anomaly_score"].to_numpy(np.float64)
        mean, scatter = mean_and_scatter(training)
        score[machine["clip_id"]] = (machine["anomaly_score"].to_numpy(np.float64) - mean) / scatter
    return np.asarray(score[clip_ids].to_numpy(np.float64))
