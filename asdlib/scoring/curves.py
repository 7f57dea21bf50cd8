"""ROC curves of a scores table, as a table to draw."""

from __future__ import annotations

import numpy as np
import pandas as pd

from asdlib.scoring.metrics import roc_points
from asdlib.scoring.scores import validate_scores


def roc_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Trace the ROC curves behind AUC source, AUC target and pAUC of every machine.

    Parameters
    ----------
    scores : DataFrame
        Scores table; test clips of known condition are used, sections of a machine together.

    Returns
    -------
    DataFrame
        ``system, seed, machine_type, normal_domain, false_positive_rate,
        true_positive_rate``, one row per point, rates 0 to 1. ``normal_domain`` is "source" or
        "target" (normal clips of that domain against all anomalies) or "both" (all clips).
        A curve that has no normal clips or no anomalies is absent.
    """
    table = validate_scores(scores)
    known = table[table["split"].eq("test") & table["is_anomaly"].notna()]
    known = known.sort_values("machine_type", kind="stable")
    parts = []
    for _, machine in known.groupby(["system", "seed", "machine_type"], dropna=False, sort=False):
        anomalous = machine["is_anomaly"].to_numpy(dtype=bool)
        domain = machine["domain"].fillna("").to_numpy(dtype=object)
        score = machine["anomaly_score"].to_numpy()
        for name in ("source", "target", "both"):
            normal = ~anomalous & ((domain == name) | (name == "both"))
            if not normal.any() or not anomalous.any():
                continue
            false_rate, true_rate = roc_points(
                score, normal[None].astype(np.float64), anomalous[None].astype(np.float64)
            )
            part = pd.DataFrame(
                {"false_positive_rate": false_rate[0], "true_positive_rate": true_rate[0]}
            )
            for key in ("system", "seed", "machine_type"):
                part[key] = machine[key].iloc[0]
            part["normal_domain"] = name
            parts.append(part)
    columns = [
        "system",
        "seed",
        "machine_type",
        "normal_domain",
        "false_positive_rate",
        "true_positive_rate",
    ]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts, ignore_index=True)[columns]
