"""One system out of several runs: their standardised scores, averaged."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.errors import InputError
from asdlib.scoring.scores import scores_table, validate_scores


def ensemble(scores: pd.DataFrame, *, system: str) -> pd.DataFrame:
    r"""Average the scores of several runs, each in units of its own training scores.

    .. math:: s(x) = \frac1R \sum_{r=1}^{R} \frac{s_r(x) - \mu_r}{\sigma_r}

    with :math:`\mu_r` and :math:`\sigma_r` the mean and standard deviation of run r's
    training scores (each clip left out of its own bank) on the clip's machine. No test clip
    takes part in them. Where a run has fewer than two different training scores on a machine,
    that machine's scores are averaged as they are.

    Parameters
    ----------
    scores : DataFrame
        Scores table of the runs to average: one system with several seeds, or several systems.
    system : str
        Name of the ensemble.

    Returns
    -------
    DataFrame
        Columns ``SCORE_COLUMNS``, rows in the order of the first run; ``seed`` and
        ``is_decided_anomalous`` empty. A training clip that one run has no score for has none.

    Raises
    ------
    InputError
        When there is one run only, or the runs have not scored the same clips.
    """
    table = validate_scores(scores)
    runs = [run for _, run in table.groupby(["system", "seed"], dropna=False, sort=False)]
    if len(runs) < 2:
        raise InputError("An ensemble of one run is that run: expected at least two seeds.")
    first = runs[0].reset_index(drop=True)
    members = []
    for run in runs:
        label = f"{run['system'].iloc[0]}, seed {run['seed'].iloc[0]}"
        own = run.set_index("clip_id")
        differing = own.index.symmetric_difference(pd.Index(first["clip_id"]))
        if len(differing):
            raise InputError(
                f"{differing[0]}: is scored by some runs of the ensemble only (compared: "
                f"{label}; {len(differing)} such clips). Score the same clips with every run."
            )
        members.append(_standardised(own.loc[first["clip_id"]]))
    return scores_table(first, np.mean(members, axis=0), system=system, seed=None)


def _standardised(run: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Scores of one run, shape (n_clips,), in units of each machine's training scores."""
    score = run["anomaly_score"]
    by_machine = score.where(run["split"].eq("train")).groupby(run["machine_type"])
    spread = by_machine.transform("std")
    is_usable = spread > 0
    mean = by_machine.transform("mean").where(is_usable, 0.0)
    return np.asarray((score - mean) / spread.where(is_usable, 1.0), dtype=np.float64)
