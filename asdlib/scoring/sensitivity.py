"""What a detector hears, from normal recordings alone: its probability of detection.

Held-out normal clips, as they are and changed in known ways, are scored as new recordings. At
the threshold that promises a false-alarm rate, the share of changed clips that ring is the
probability of detection (POD) of that kind of change at that strength.

References
----------
MIL-HDBK-1823A, "Nondestructive evaluation system reliability assessment", 2009: probability of
detection against the size of a flaw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from asdlib.scoring.decisions import conformal_threshold
from asdlib.scoring.domains import N_PARTS, parts
from asdlib.scoring.metrics import auc

SENSITIVITY_COLUMNS = [
    *("system", "machine_type", "kind", "strength", "unit"),
    *("pod", "pod_low", "pod_high", "auc", "n_clips", "false_alarms", "found_from"),
]
#: Views that learn from all training clips, those that are put aside here too.
LEARNT = ("embedding", "autoencoder")
#: Probability of detection from which on a change counts as found.
FOUND = 0.9


def held_out_part(clips: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Rows that a rehearsal puts aside: the last third of the normal training clips of each domain.

    None of a machine whose training clips are fewer than six.
    """
    aside = np.zeros(len(clips), bool)
    train = clips.reset_index(drop=True)
    train = train[train["split"].eq("train")]
    for _, own in train.groupby("machine_type"):
        if len(own) >= 2 * N_PARTS:
            is_last = parts(own["domain"].fillna("").to_numpy(str)) == N_PARTS - 1
            aside[own.index[is_last]] = True
    return aside


def rehearsed_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Clip table of a rehearsal: training clips, those of `held_out_part` as normal test clips."""
    train = clips[clips["split"].eq("train")].reset_index(drop=True)
    train["is_anomaly"] = pd.array([False] * len(train), dtype="boolean")
    train.loc[held_out_part(train), "split"] = "test"
    return train


def detection_rates(
    scores: pd.DataFrame, plan: pd.DataFrame, *, false_alarm_rate: float = 0.05
) -> pd.DataFrame:
    """Probability of detection (POD) of every kind of change, strength by strength.

    ``pod`` has its exact 95 % interval (Clopper and Pearson) at the conformal threshold over both
    domains; ``auc`` is against the unchanged clips put aside, ``false_alarms`` theirs; from
    ``found_from`` on the POD, made monotone, reaches ``FOUND`` (NaN: never).
    """
    table = scores.merge(plan[["clip_id", "kind", "strength", "unit"]], on="clip_id", how="left")
    rows = []
    for (system, machine), own in table.groupby(["system", "machine_type"], sort=False):
        normal = own[own["kind"].isna()]
        threshold, _ = conformal_threshold(
            normal["anomaly_score"].to_numpy(), false_alarm_rate=false_alarm_rate
        )
        unchanged = normal.loc[normal["split"].eq("test"), "anomaly_score"].to_numpy()
        alarms = float(np.mean(unchanged > threshold))
        for (kind, unit), changed in own.groupby(["kind", "unit"], sort=False):
            of_kind = [
                (float(str(strength)), scored.to_numpy(np.float64))
                for strength, scored in changed.groupby("strength")["anomaly_score"]
            ]
            shares = [float(np.mean(values > threshold)) for _, values in of_kind]
            found = _found_from([strength for strength, _ in of_kind], shares)
            for (strength, values), share in zip(of_kind, shares, strict=True):
                interval = stats.binomtest(round(share * len(values)), len(values)).proportion_ci()
                is_changed = np.repeat([False, True], [len(unchanged), len(values)])
                area = auc(np.concatenate([unchanged, values]), is_changed)
                rows.append(
                    [system, machine, kind, strength, unit, share, interval.low, interval.high]
                    + [area, len(values), alarms, found]
                )
    return pd.DataFrame(rows, columns=SENSITIVITY_COLUMNS)


def blind_spots(rates: pd.DataFrame, *, system: str = "final") -> pd.DataFrame:
    """Compare the fused system with the best single view, kind by kind.

    Parameters
    ----------
    rates : DataFrame
        As from `detection_rates`, of ``system`` and of its views.

    Returns
    -------
    DataFrame
        One row per machine and kind: ``machine_type, kind, auc`` of the system and ``best_auc``
        of the best profile, both means over the strengths, ``best_view`` and ``shortfall``, their
        difference where the profile is better, else 0. Views that were learnt (`LEARNT`) knew
        the clips that were put aside, so that what they hear of a change is no measure.
    """
    mean = rates.pivot_table(
        index=["machine_type", "kind"], columns="system", values="auc", sort=False
    )
    views = mean.drop(columns=[system, *LEARNT], errors="ignore")
    if views.empty:  # learnt views alone: nothing to compare with
        return pd.DataFrame(columns=["machine_type", "kind", "auc", "best_auc", "best_view",
                                     "shortfall"])  # fmt: skip
    best = {"best_auc": views.max(axis=1), "best_view": views.idxmax(axis=1)}
    table = pd.DataFrame({"auc": mean[system], **best})
    table["shortfall"] = (table["best_auc"] - table["auc"]).clip(lower=0.0)
    return table.reset_index()


def _found_from(strengths: Sequence[float], shares: Sequence[float]) -> float:
    """Smallest strength at which the monotone POD, linear between the strengths, is `FOUND`."""
    monotone = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(strengths, shares)
    if monotone[-1] < FOUND:
        return float("nan")
    first = int(np.argmax(monotone >= FOUND))
    return float(np.interp(FOUND, monotone[: first + 1], strengths[: first + 1]))
