"""Decisions: thresholds that promise a false-alarm rate, whether it was kept, and verdicts.

The organisers fit a gamma distribution to the autoencoder's losses of batches, not of clips, and
take its 90 % point; here the decisions of every system, theirs included, come from conformal
thresholds of clip scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from asdlib.base import InputError
from asdlib.scoring.final import contribution_table
from asdlib.scoring.resampling import of_sessions
from asdlib.scoring.scores import RUN_KEYS, one_run, validate_scores

THRESHOLD_COLUMNS = [*RUN_KEYS, "threshold", "false_alarm_rate", "n_train", "reason"]
FALSE_ALARM_COLUMNS = [*RUN_KEYS, "domain", "promised", "met", "met_low", "met_high", "n_normal"]
VERDICT_COLUMNS = [
    *("recording", "clip_id", "machine_type", "recorded_at", "start_s"),
    *("anomaly_score", "threshold", "verdict", "percentile", "heard", "reason", "since"),
]
_FLAGGED = "anomalous"
_ORDER = ["recorded_at", "recording", "start_s"]


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
    needed = _fewest(false_alarm_rate)
    return float(known[-1]), f"{len(known)} clips cannot promise it, {needed} could"


def _fewest(false_alarm_rate: float) -> int:
    """Units of which the largest score is above a further one's with the promised probability."""
    return math.ceil(1 / false_alarm_rate - 1e-9) - 1


def decide(
    scores: pd.DataFrame, *, false_alarm_rate: float = 0.1, clips: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fill ``is_decided_anomalous``: score above the machine's threshold.

    The promise is to hold in every domain, and nobody says which domain a new clip belongs to:
    the threshold is the highest of the domains' `conformal_threshold`. Clips of a session are
    alike: of a clip of a new session as many sessions can promise what so many clips can of a
    further clip (R. Dunn et al., JASA 118, 2023); told sessions that are fewer are named.

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
    told = _told_sessions(clips)
    thresholds = []
    for _, machine in table.groupby(RUN_KEYS, dropna=False, sort=False):
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
        of_machine = told.get(str(machine["machine_type"].iloc[0]), {})
        reasons += _limits_of_sessions(of_machine, _fewest(false_alarm_rate))
        if train.empty:
            reasons = ["no training clip has a score"]
        else:
            scored = machine["anomaly_score"].dropna()
            table.loc[scored.index, "is_decided_anomalous"] = scored > threshold
        first = machine.iloc[0]
        reason = "; ".join(reasons)
        thresholds.append([*first[RUN_KEYS], threshold, false_alarm_rate, len(train), reason])
    found = pd.DataFrame(thresholds, columns=THRESHOLD_COLUMNS).astype({"seed": "Int64"})
    return table, found


def _told_sessions(clips: pd.DataFrame | None) -> dict[str, dict[str, int]]:
    """Sessions that can be left out of a machine's training clips, by domain; 0 for none."""
    if clips is None or "session" not in clips:
        return {}
    train = clips[clips["split"].eq("train")].fillna({"domain": "no domain", "session": ""})
    told: dict[str, dict[str, int]] = {}
    for (machine, domain), own in train.groupby(["machine_type", "domain"])["session"]:
        told.setdefault(str(machine), {})[str(domain)] = own.nunique() if of_sessions(own) else 0
    return told


def _limits_of_sessions(told: dict[str, int], fewest: int) -> list[str]:
    """Say what the promise does not cover of new sessions, given those told in each domain."""
    unknown = "no second session is told: in a new one more may ring"
    if not any(told.values()):
        return [unknown]
    return [
        f"{domain}: {count} sessions cannot promise it of a new one, {fewest} could"
        if count
        else f"{domain}: {unknown}"
        for domain, count in told.items()
        if count < fewest
    ]


def false_alarms(scores: pd.DataFrame, thresholds: pd.DataFrame) -> pd.DataFrame:
    """Compare the promised false-alarm rate with the one met on normal test clips.

    Of what `decide` gave, with the truth of the test clips: columns ``FALSE_ALARM_COLUMNS``, one
    row per system, seed, machine and domain that has normal test clips; ``met`` with its exact 95 %
    interval (Clopper and Pearson, 1934).
    """
    normal = scores[scores["split"].eq("test") & scores["is_anomaly"].eq(False).fillna(False)]
    decided = normal[normal["is_decided_anomalous"].notna()]
    rows = []
    for keys, own in decided.groupby([*RUN_KEYS, "domain"], dropna=False, sort=False):
        count, total = int(own["is_decided_anomalous"].sum()), len(own)
        rows.append([*keys, count / total, *exact_interval(count, total), total])
    columns = [*RUN_KEYS, "domain", "met", "met_low", "met_high", "n_normal"]
    met = pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})
    promised = thresholds[[*RUN_KEYS, "false_alarm_rate"]]
    met = met.merge(promised.rename(columns={"false_alarm_rate": "promised"}), on=RUN_KEYS)
    return met[FALSE_ALARM_COLUMNS]


@cache  # few clips: the same few shares again and again
def exact_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share (Clopper and Pearson)."""
    interval = stats.binomtest(count, total).proportion_ci()
    return interval.low, interval.high


def verdict_table(
    final_scores: pd.DataFrame,
    view_scores: pd.DataFrame,
    thresholds: pd.DataFrame,
    clips: pd.DataFrame,
) -> pd.DataFrame:
    """Say of every test clip what it is taken for.

    Parameters
    ----------
    final_scores : DataFrame
        Decided scores (`asdlib.scoring.decide`) of one system and seed, training clips among them.
    view_scores : DataFrame
        ``clip_id, system, contribution``, see `with_contributions`.
    thresholds : DataFrame
        As from `asdlib.scoring.decide`, this system's among them.
    clips : DataFrame
        Clip table; ``recording``, ``start_s`` [s] and ``recorded_at`` are read where it has them.

    Returns
    -------
    DataFrame
        ``VERDICT_COLUMNS``, flagged clips first, then by score. ``verdict``: "anomalous", "normal",
        or "unknown" where the machine has no threshold; ``percentile``: share of the machine's
        training clips that score lower [%]; ``heard``: the view with the largest contribution,
        empty if none is positive; ``reason``: to be filled in; ``since``: when the unbroken run of
        anomalous clips began that this one belongs to, in the order of the machine's recordings.
    """
    table = one_run(final_scores)
    test = table[table["split"].eq("test")].copy()
    test["threshold"] = test["machine_type"].map(_limits(table, thresholds))
    words = {True: _FLAGGED, False: "normal"}
    test["verdict"] = test["is_decided_anomalous"].map(words).astype(object).fillna("unknown")
    test["percentile"] = _percentiles(table, test)
    shares = contribution_table(view_scores).reindex(test["clip_id"])
    largest = shares.fillna(-np.inf).to_numpy().argmax(axis=1)
    names = shares.columns.to_numpy(object)[largest]
    test["heard"] = np.where(shares.max(axis=1).gt(0), names, "")
    test["reason"] = ""
    test = test.merge(_places(clips), on="clip_id", how="left", validate="one_to_one")
    test["since"] = _since(test)
    return flagged_first(test)[VERDICT_COLUMNS]


def flagged_first(verdicts: pd.DataFrame) -> pd.DataFrame:
    """Sort verdicts: flagged clips first, then by score, the highest first."""
    order = verdicts.assign(_flagged=verdicts["verdict"].eq(_FLAGGED)).sort_values(
        ["_flagged", "anomaly_score"], ascending=False, kind="stable", ignore_index=True
    )
    return order.drop(columns="_flagged")


def since_when(flags: Iterable[bool], moments: Iterable[str]) -> list[str]:
    """Moment at which the unbroken run of flags began that each belongs to; empty without one."""
    since, begin = [], ""
    for flag, moment in zip(flags, moments, strict=True):
        begin = (begin or moment) if flag else ""
        since.append(begin)
    return since


def explained_clips(verdicts: pd.DataFrame, *, most: int) -> pd.DataFrame:
    """Choose the verdicts to be shown with a picture: flagged clips and every machine's extremes.

    At most ``most`` flagged ones, the highest scores first, and of every machine the most and
    the least anomalous clip. Rows of ``verdicts``, in their order.
    """
    flagged = verdicts.index[verdicts["verdict"].eq(_FLAGGED)][:most]
    of_machine = verdicts.groupby("machine_type", sort=True)["anomaly_score"]
    ends = {*of_machine.idxmax(), *of_machine.idxmin()} if len(verdicts) else set()
    return verdicts.loc[sorted({*flagged, *ends})]


def verdict_count(verdicts: pd.DataFrame, *, n_shown: int) -> str:
    """Sum verdicts up in one sentence: "3 of 40 clips of 2 machines are anomalous"."""
    count, machines = len(verdicts), verdicts["machine_type"].nunique()
    flagged = int(verdicts["verdict"].eq(_FLAGGED).sum())
    said = f"{flagged} of {count} clips of {machines} machine{'' if machines == 1 else 's'} "
    said += "is anomalous" if flagged == 1 else "are anomalous"
    unknown = int(verdicts["verdict"].eq("unknown").sum())
    if unknown:
        said += f", {unknown} without a verdict (no threshold)"
    return said + ("; the rest in verdicts.csv." if count > n_shown else ".")


def _limits(table: pd.DataFrame, thresholds: pd.DataFrame) -> pd.Series:
    """Threshold of every machine, of this system and seed."""
    system, seed = table["system"].iloc[0], table["seed"].iloc[0]
    same_seed = thresholds["seed"].isna() if pd.isna(seed) else thresholds["seed"].eq(seed)
    own = thresholds[thresholds["system"].eq(system) & same_seed.fillna(False)]
    if own.empty:
        raise InputError(f"There is no threshold of system {system!r}, seed {seed}.")
    return own.set_index("machine_type")["threshold"]


def _percentiles(table: pd.DataFrame, test: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Share of the machine's training scores below each test score [%]; NaN without any."""
    percentile = np.full(len(test), np.nan)
    for machine, own in table[table["split"].eq("train")].groupby("machine_type"):
        train = np.sort(own["anomaly_score"].dropna().to_numpy())
        chosen = test["machine_type"].eq(machine).to_numpy()
        if len(train):
            below = np.searchsorted(train, test.loc[chosen, "anomaly_score"], side="left")
            percentile[chosen] = 100.0 * below / len(train)
    return percentile


def _places(clips: pd.DataFrame) -> pd.DataFrame:
    """Look up recording, its time and the clip's start in it, as far as the clip table knows."""
    places = pd.DataFrame({"clip_id": clips["clip_id"].astype("string")})
    given = {name: clips[name] for name in _ORDER if name in clips}
    places["recording"] = given.get("recording", places["clip_id"])
    places["recorded_at"] = given.get("recorded_at", pd.Series(pd.NA, clips.index, dtype="string"))
    places["start_s"] = given.get("start_s", 0.0)
    return places


def _since(test: pd.DataFrame) -> pd.Series:
    """Begin of the unbroken run of anomalous verdicts that a clip belongs to; else empty."""
    since = pd.Series("", index=test.index)
    for _, machine in test.groupby("machine_type"):
        own = machine.sort_values(_ORDER, kind="stable", na_position="last")
        moments = own["recorded_at"].fillna(own["recording"]).astype(str)
        since.loc[own.index] = np.array(since_when(own["verdict"].eq(_FLAGGED), moments), object)
    return since
