"""Decisions: thresholds that promise a false-alarm rate, whether it was kept, what they find.

The organisers fit a gamma distribution to the autoencoder's losses of batches, not of clips, and
take its 90 % point; here the decisions of every system, theirs included, come from conformal
thresholds of clip scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from asdlib.base import InputError
from asdlib.scoring.metrics import Ranking, auc
from asdlib.scoring.resampling import N_PARTS, of_sessions, parts
from asdlib.scoring.scores import validate_scores

_KEYS = ["system", "seed", "machine_type"]
THRESHOLD_COLUMNS = [*_KEYS, "threshold", "false_alarm_rate", "n_train", "reason"]
FALSE_ALARM_COLUMNS = [*_KEYS, "domain", "promised", "met", "met_low", "met_high", "n_normal"]
SENSITIVITY_COLUMNS = [
    *("system", "machine_type", "kind", "strength", "unit"),
    *("pod", "pod_low", "pod_high", "auc", "n_clips", "false_alarms", "found_from"),
]
#: Views that learn from all training clips, those that are put aside here too.
LEARNT = ("embedding", "autoencoder")
#: Probability of detection from which on a change counts as found.
FOUND = 0.9


def conformal_threshold(
    scores: npt.ArrayLike, *, false_alarm_rate: float = 0.1
) -> tuple[float, str]:
    r"""Score that a new normal clip exceeds with at most a given probability α, and why it may not.

    The :math:`\lceil (n + 1)(1 - \alpha) \rceil`-th smallest of n held-out scores (NaN left out),
    whatever their distribution (V. Vovk et al., 2005, ch. 2; S. Bates et al., Ann. Stat. 2023).
    With too few clips the largest score and the reason; NaN without any.
    """
    if not 0.0 < false_alarm_rate < 1.0:
        raise InputError(f"false_alarm_rate = {false_alarm_rate}: expected a share from 0 to 1.")
    known = np.sort(np.asarray(scores, dtype=np.float64))
    known = known[np.isfinite(known)]
    if len(known) == 0:
        return float("nan"), "no training clip has a score"
    # Rounding must not turn 10 of 10 into 11.
    rank = math.ceil((len(known) + 1) * (1 - false_alarm_rate) - 1e-9)
    if rank <= len(known):
        return float(known[rank - 1]), ""
    needed = math.ceil(1 / false_alarm_rate - 1e-9) - 1
    return float(known[-1]), f"{len(known)} clips cannot promise it, {needed} could"


def decide(
    scores: pd.DataFrame, *, false_alarm_rate: float = 0.1, clips: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill ``is_decided_anomalous``: score above the machine's threshold.

    The promise is to hold in every domain, and nobody says which domain a new clip belongs to:
    the threshold is the highest of the domains' `conformal_threshold`.

    Parameters
    ----------
    scores : DataFrame
        Scores table; thresholds come from its rows of ``split == "train"``, which were scored
        by clips of other parts of the recordings (`asdlib.scoring.score_machines`).
    false_alarm_rate : float
        Promised, over 0 and under 1.
    clips : DataFrame, optional
        Clip table that was scored; its ``session`` tells of which sessions the promise holds.

    Returns
    -------
    scores : DataFrame
        The same with decisions; empty where a machine has no threshold or a clip no score.
    thresholds : DataFrame
        Columns ``THRESHOLD_COLUMNS``, one row per system, seed and machine; ``reason`` says
        what the promise does not cover.
    """
    table = validate_scores(scores)
    of_sessions = _with_sessions(clips)
    thresholds = []
    for _, machine in table.groupby(_KEYS, dropna=False, sort=False):
        train = machine[machine["split"].eq("train") & machine["anomaly_score"].notna()]
        threshold, reasons = float("nan"), []
        for domain, own in train.groupby(train["domain"].fillna("no domain"), sort=True):
            of_domain, reason = conformal_threshold(
                own["anomaly_score"].to_numpy(), false_alarm_rate=false_alarm_rate
            )
            threshold = float(np.fmax(threshold, of_domain))
            reasons += [f"{domain}: {reason}"] if reason else []
        if train["domain"].nunique() < 2:
            reasons.append("one domain: it says nothing of changed conditions")
        if machine["machine_type"].iloc[0] not in of_sessions:
            reasons.append("no second session is told: in a new one more may ring")
        if train.empty:
            reasons = ["no training clip has a score"]
        else:
            scored = machine["anomaly_score"].dropna()
            table.loc[scored.index, "is_decided_anomalous"] = scored > threshold
        first = machine.iloc[0]
        reason = "; ".join(reasons)
        thresholds.append([*first[_KEYS], threshold, false_alarm_rate, len(train), reason])
    found = pd.DataFrame(thresholds, columns=THRESHOLD_COLUMNS).astype({"seed": "Int64"})
    return table, found


def _with_sessions(clips: pd.DataFrame | None) -> set[str]:
    """Machines whose training clips are of several told sessions, in one domain at least."""
    if clips is None or "session" not in clips:
        return set()
    train = clips[clips["split"].eq("train")].fillna({"domain": "", "session": ""})
    by_domain = train.groupby(["machine_type", "domain"])["session"]
    return {str(machine) for (machine, _), told in by_domain if of_sessions(told)}


def false_alarms(scores: pd.DataFrame, thresholds: pd.DataFrame) -> pd.DataFrame:
    """Compare the promised false-alarm rate with the one met on normal test clips.

    Of what `decide` gave, with the truth of the test clips: columns ``FALSE_ALARM_COLUMNS``, one
    row per system, seed, machine and domain that has normal test clips; ``met`` with its exact 95 %
    interval (Clopper and Pearson, 1934).
    """
    normal = scores[scores["split"].eq("test") & scores["is_anomaly"].eq(False).fillna(False)]
    decided = normal[normal["is_decided_anomalous"].notna()]
    rows = []
    for keys, own in decided.groupby([*_KEYS, "domain"], dropna=False, sort=False):
        count, total = int(own["is_decided_anomalous"].sum()), len(own)
        rows.append([*keys, count / total, *_exact_interval(count, total), total])
    columns = [*_KEYS, "domain", "met", "met_low", "met_high", "n_normal"]
    met = pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})
    promised = thresholds[[*_KEYS, "false_alarm_rate"]]
    met = met.merge(promised.rename(columns={"false_alarm_rate": "promised"}), on=_KEYS)
    return met[FALSE_ALARM_COLUMNS]


def roc_curves(scores: pd.DataFrame) -> pd.DataFrame:
    """Trace the ROC curves behind AUC source, AUC target and pAUC of every machine.

    ``system, seed, machine_type, normal_domain, false_positive_rate, true_positive_rate``, one row
    per point, rates 0 to 1, from test clips of known condition. ``normal_domain`` is "source" or
    "target" (normal clips of that domain against all anomalies) or "both"; curves without either
    are absent.
    """
    table = validate_scores(scores)
    known = table[table["split"].eq("test") & table["is_anomaly"].notna()]
    known = known.sort_values("machine_type", kind="stable")
    columns = [*_KEYS, "normal_domain", "false_positive_rate", "true_positive_rate"]
    parts = []
    for _, machine in known.groupby(_KEYS, dropna=False, sort=False):
        anomalous = machine["is_anomaly"].to_numpy(dtype=bool)
        domain = machine["domain"].fillna("").to_numpy(dtype=object)
        ranking = Ranking(machine["anomaly_score"].to_numpy())
        for name in ("source", "target", "both"):
            normal = ~anomalous & ((domain == name) | (name == "both"))
            if not normal.any() or not anomalous.any():
                continue
            both = np.stack([normal, anomalous]).astype(float)
            part = pd.DataFrame(ranking.rates(both).T, columns=columns[-2:])
            parts.append(part.assign(**machine[_KEYS].iloc[0], normal_domain=name))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


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
                low, high = _exact_interval(round(share * len(values)), len(values))
                is_changed = np.repeat([False, True], [len(unchanged), len(values)])
                area = auc(np.concatenate([unchanged, values]), is_changed)
                rows.append(
                    [system, machine, kind, strength, unit, share, low, high]
                    + [area, len(values), alarms, found]
                )
    return pd.DataFrame(rows, columns=SENSITIVITY_COLUMNS)


def blind_spots(rates: pd.DataFrame, *, system: str = "final") -> pd.DataFrame:
    """Compare the fused system with the best single profile, kind by kind.

    Of `detection_rates` of ``system`` and its views, one row per machine and kind: ``machine_type,
    kind``, ``auc`` of the system and ``best_auc`` of the ``best_view``, both means over the
    strengths, and ``shortfall``, their difference where the profile is better. Views that were
    learnt (`LEARNT`) knew the clips that were put aside: what they hear of a change is no measure.
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


@cache  # few clips: the same few shares again and again
def _exact_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper and Pearson)."""
    interval = stats.binomtest(count, total).proportion_ci()
    return interval.low, interval.high


def _found_from(strengths: Sequence[float], shares: Sequence[float]) -> float:
    """Smallest strength at which the monotone POD, linear between the strengths, is `FOUND`."""
    monotone = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(strengths, shares)
    if monotone[-1] < FOUND:
        return float("nan")
    first = int(np.argmax(monotone >= FOUND))
    return float(np.interp(FOUND, monotone[: first + 1], strengths[: first + 1]))
