"""Verdicts: what a new clip is taken for, how sure that is, which view said so, since when."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.base import InputError
from asdlib.scoring.final import bounded
from asdlib.scoring.scores import one_run

VERDICT_COLUMNS = [
    *("recording", "clip_id", "machine_type", "recorded_at", "start_s"),
    *("anomaly_score", "threshold", "verdict", "percentile", "heard", "reason", "since"),
]
_FLAGGED = "anomalous"
_ORDER = ["recorded_at", "recording", "start_s"]


def with_contributions(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join the scores tables of the views of one seed, training clips among them.

    The column ``contribution`` is what each adds to the final score
    (`asdlib.scoring.final.bounded`).
    """
    parts = [
        table.assign(contribution=bounded(table).reindex(table["clip_id"]).to_numpy())
        for table in tables
    ]
    return pd.concat(parts, ignore_index=True)


def contribution_table(view_scores: pd.DataFrame) -> pd.DataFrame:
    """Arrange contributions by clip (rows, ``clip_id``) and view (columns): the mean over seeds."""
    return view_scores.pivot_table(
        index="clip_id", columns="system", values="contribution", sort=False
    )


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
