"""A rehearsed month of monitoring: a machine that is well, and from some day on less and less.

The days before are played by normal clips that are put aside, the days after by the same clips
with a known change whose strength grows. How many days pass from the onset to an alarm that
persists is known before the first fault, and needs no label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from asdlib import scoring, spectra
from asdlib.data import ArrayStore
from asdlib.errors import InputError
from asdlib.monitoring.alarms import alarm_begins, persistent_alarms
from asdlib.monitoring.detector import (
    Detector,
    Progress,
    Rows,
    level_above_normal,
    no_progress,
)
from asdlib.spectra.injection import INJECTIONS


def machine_to_rehearse(detector: Detector) -> str:
    """Give the first machine that has clips enough for `plan_growth`; empty if none has."""
    aside = scoring.held_out_part(detector.clips)
    return min(detector.clips.loc[aside, "machine_type"], default="")


def plan_growth(
    detector: Detector,
    machine_type: str,
    *,
    kind: str,
    days: int,
    onset_day: int,
    per_day: int,
) -> pd.DataFrame:
    """Plan the recordings of a machine whose fault grows.

    Parameters
    ----------
    detector : Detector
    machine_type : str
        One that it knows.
    kind : str
        A key of `asdlib.spectra.injection.INJECTIONS`.
    days, onset_day, per_day : int
        Days in all, first day with the fault (from 1), and recordings a day.

    Returns
    -------
    DataFrame
        One row per recording: the columns of the clip table (``split`` "test"), ``made_from``,
        ``day``, ``kind`` and ``strength``, which grows evenly in its unit from the kind's
        weakest to its strongest; NA before the onset. The clips put aside take turns.

    Raises
    ------
    InputError
        When the machine has fewer than six clips, or the days make no sense.
    """
    own = detector.clips[detector.clips["machine_type"].eq(machine_type)].reset_index(drop=True)
    aside = own[scoring.held_out_part(own)]
    if aside.empty:
        raise InputError(f"{machine_type}: has {len(own)} normal clips, six are needed.")
    if not 1 <= onset_day <= days:
        raise InputError(f"onset_day={onset_day}: expected a day from 1 to {days}.")
    day = np.repeat(np.arange(1, days + 1), per_day)
    plan = aside.iloc[np.arange(len(day)) % len(aside)].reset_index(drop=True)
    weakest, strongest = (f(INJECTIONS[kind].strengths) for f in (min, max))
    grown = (day - onset_day) / max(days - onset_day, 1)
    strength = np.where(day >= onset_day, weakest + grown * (strongest - weakest), np.nan)
    return plan.assign(
        made_from=plan["clip_id"], day=day, kind=kind, strength=strength, split="test",
        clip_id=[f"{clip_id}, recording {number}" for number, clip_id in
                 enumerate(plan["clip_id"], start=1)],
    )  # fmt: skip


def rehearse_growth(
    detector: Detector,
    waveforms: ArrayStore,
    plan: pd.DataFrame,
    *,
    cache_dir: Path,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> tuple[pd.DataFrame, Rows]:
    """Score the recordings of `plan_growth` by the detector without the clips put aside.

    Parameters
    ----------
    detector : Detector
    waveforms : ArrayStore
        int16 samples of its bank's clips.
    plan : DataFrame
    cache_dir, workers, progress
        See `asdlib.monitoring.Detector.describe`.

    Returns
    -------
    growth : DataFrame
        ``clip_id, day, strength, anomaly_score, threshold, percentile`` (among the training
        clips [%]) and ``is_anomalous``, in the order of the plan.
    level_db : ndarray of float, shape (n_recordings, n_bands)
        See `asdlib.monitoring.level_above_normal`.
    """
    options: dict[str, Any] = {"cache_dir": cache_dir, "workers": workers}
    is_changed = plan["strength"].notna()
    faulty, well = plan[is_changed].reset_index(drop=True), plan[~is_changed]
    with progress(len(faulty), "growing fault") as count:
        changed = spectra.open_rehearsal(waveforms, faulty, on_progress=count, **options)
    rows, residuals = detector.describe(changed, faulty, progress=progress, **options)
    bank = pd.Index(detector.clips["clip_id"]).get_indexer(pd.Index(well["made_from"]))
    rows = {view: np.concatenate([detector.rows[view][bank], own]) for view, own in rows.items()}
    machine = str(plan["machine_type"].iloc[0])
    if residuals:
        residuals = {machine: _renamed(residuals[machine], well)}
    reduced = detector.without(plan["made_from"].unique().tolist())
    tables = reduced.score(pd.concat([well, faulty], ignore_index=True), (rows, residuals))
    rate = detector.settings["false_alarm_rate"]
    decided, thresholds = scoring.decide(tables["final"], false_alarm_rate=rate)
    train = decided.loc[decided["split"].eq("train"), "anomaly_score"].to_numpy()
    scored = decided.set_index("clip_id")["anomaly_score"].reindex(plan["clip_id"]).to_numpy()
    threshold = float(thresholds["threshold"].iloc[0])
    ids = pd.Index([*well["clip_id"], *faulty["clip_id"]])
    order = ids.get_indexer(pd.Index(plan["clip_id"]))
    level_db = level_above_normal(detector, machine, rows)[order]
    growth = pd.DataFrame(
        {
            "clip_id": plan["clip_id"],
            "day": plan["day"],
            "strength": plan["strength"],
            "anomaly_score": scored,
            "threshold": threshold,
            "percentile": [100.0 * float(np.mean(train < score)) for score in scored],
            "is_anomalous": scored > threshold,
        }
    )
    return growth, level_db


def days_to_alarm(growth: pd.DataFrame, *, onset_day: int, k: int, n: int) -> dict[str, float]:
    """Days from the onset to the first alarm, and the alarms before it.

    Parameters
    ----------
    growth : DataFrame
        As from `rehearse_growth`.
    onset_day : int
    k, n : int
        See `asdlib.monitoring.persistent_alarms`.

    Returns
    -------
    dict of str to float
        ``first_flag`` and ``alarm``: days from the onset to the first anomalous recording and
        to the first alarm that begins (`alarm_begins`), NaN where there is none;
        ``false_alarms``: alarms that began before the onset; ``rang_before``: 1 where one of them
        lasted beyond it, which is no answer to the fault, else 0.
    """
    alarm = persistent_alarms(growth["is_anomalous"], k=k, n=n)
    begins = alarm_begins(alarm)
    day = growth["day"].to_numpy()
    late = day >= onset_day

    def first(flags: Any) -> float:
        return float(day[flags & late].min() - onset_day) if (flags & late).any() else float("nan")

    return {
        "first_flag": first(growth["is_anomalous"].to_numpy(bool)),
        "alarm": first(begins),
        "false_alarms": float(np.count_nonzero(begins & ~late)),
        "rang_before": float(alarm[late][:1].any() and not begins[late][0]),
    }


def _renamed(arrays: Mapping[str, Any], well: pd.DataFrame) -> dict[str, Rows]:
    """Append the residuals of unchanged clips once more, under the names they play."""
    places = pd.Index(arrays["clip_id"]).get_indexer(pd.Index(well["made_from"]))
    again = {name: arrays[name][places] for name in ("mse", "mean_residual")}
    again["clip_id"] = well["clip_id"].to_numpy(str)
    return {**arrays, **{name: np.concatenate([arrays[name], own]) for name, own in again.items()}}
