"""Alarms that persist, how often chance raises one, and a rehearsed month with a growing fault.

The days before the onset are played by normal clips that are put aside, the days after by the same
clips with a known change whose strength grows. How many days pass from the onset to an alarm that
persists is known before the first fault, and needs no label.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib import scoring, spectra
from asdlib.base import InputError
from asdlib.data import ArrayStore
from asdlib.monitoring.detector import Detector, Progress, Rows, level_above_normal, no_progress
from asdlib.spectra.injection import INJECTIONS

_DAYS_A_YEAR = 365.25


def persistent_alarms(flags: npt.ArrayLike, *, k: int, n: int) -> npt.NDArray[np.bool_]:
    """Say after which recordings at least k of the last n were anomalous, shape (n_recordings,).

    ``flags`` are one machine's verdicts in the order of time. `InputError` unless 1 <= k <= n.

    Examples
    --------
    >>> persistent_alarms([0, 1, 0, 1, 1, 0, 0, 0], k=2, n=3).astype(int).tolist()
    [0, 0, 0, 1, 1, 1, 0, 0]
    """
    if not 1 <= k <= n:
        raise InputError(f"k={k} of n={n} recordings: expected 1 <= k <= n.")
    own = np.asarray(flags, dtype=np.int64)
    return np.asarray(np.convolve(own, np.ones(n, np.int64))[: len(own)] >= k)


def alarm_begins(alarm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Say with which recordings an alarm begins (`persistent_alarms`)."""
    held = np.asarray(alarm, dtype=bool)
    return np.asarray(held & ~np.concatenate([[False], held[:-1]]))


def alarm_rate(rate: float, *, k: int, n: int) -> float:
    r"""Alarms per recording that chance alone raises, in the long run.

    .. math:: \binom{n-1}{k-1} p^k (1 - p)^{n-k+1}

    An alarm begins where the newest recording rings, the one that leaves the window does not, and
    k - 1 of the n - 1 between them do. ``rate`` is p, the probability that a normal recording
    rings, independently of all others; those of one bad day are not: the true rate is higher.

    Examples
    --------
    >>> round(alarm_rate(0.1, k=2, n=2), 4)
    0.009
    """
    return math.comb(n - 1, k - 1) * rate**k * (1 - rate) ** (n - k + 1)


def choose_k(rate: float, *, n: int, per_day: float, alarms_a_year: float = 1.0) -> int:
    """Smallest k of n at which chance alone raises so few alarms a year (`alarm_rate`).

    ``per_day`` recordings of the machine are made. `InputError` when even n of n would raise more.
    """
    for k in range(1, n + 1):
        # Below the mean count, a window is nearly always in alarm and seldom begins one.
        if k > n * rate and alarm_rate(rate, k=k, n=n) * per_day * _DAYS_A_YEAR <= alarms_a_year:
            return k
    raise InputError(
        f"{n} recordings of which {100 * rate:.0f} % ring by chance cannot keep to "
        f"{alarms_a_year:g} false alarms a year: look at more of them (alarm_window) or "
        "promise fewer false alarms."
    )


def alarms_by_settings(
    percentile: npt.ArrayLike, *, rates: Sequence[float], rules: Sequence[tuple[int, int]]
) -> pd.DataFrame:
    """Count the alarms that begin, promised false-alarm rates in the rows, rules in the columns.

    ``percentile`` is the share of the training clips that score lower [%], in the order of time: a
    recording rings above 100 (1 - rate). Rules are (k, n) of `persistent_alarms`.
    """
    counts = []
    for rate in rates:
        flags = np.asarray(percentile) > 100 * (1 - rate)
        alarms = [persistent_alarms(flags, k=k, n=n) for k, n in rules]
        counts.append([int(alarm_begins(own).sum()) for own in alarms])
    names = [f"{k} of {n}" for k, n in rules]
    return pd.DataFrame(
        counts, index=[f"{100 * rate:.0f} % promised" for rate in rates], columns=names
    )


def machine_to_rehearse(detector: Detector) -> str:
    """Give the first machine that has clips enough for `plan_growth`; empty if none has."""
    aside = scoring.held_out_part(detector.clips)
    return min(detector.clips.loc[aside, "machine_type"], default="")


def plan_growth(
    detector: Detector, machine_type: str, *, kind: str, days: int, onset_day: int, per_day: int
) -> pd.DataFrame:
    """Plan the recordings of a machine whose fault grows: one row each, in the order of time.

    ``kind`` is a key of `asdlib.spectra.injection.INJECTIONS`, ``onset_day`` (from 1) the first
    with the fault. Columns of the clip table (``split`` "test"), ``made_from``, ``day``, ``kind``
    and ``strength``, which grows evenly in its unit from the kind's weakest to its strongest; NA
    before the onset. The clips put aside take turns. `InputError` when the machine has fewer than
    six clips, or the days make no sense.
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

    ``waveforms`` are the int16 samples of its bank's clips. Gives a table in the order of the plan,
    ``clip_id, day, strength, anomaly_score, threshold, percentile`` (among the training clips [%])
    and ``is_anomalous``, and levels above normal [dB], shape (n_recordings, n_bands), as from
    `level_above_normal`.
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
    played = pd.concat([well, faulty], ignore_index=True)
    final = reduced.score(played, (rows, residuals))["final"]
    rate = detector.settings["false_alarm_rate"]
    decided, thresholds = scoring.decide(final, false_alarm_rate=rate)
    train = decided.loc[decided["split"].eq("train"), "anomaly_score"].to_numpy()
    scored = decided.set_index("clip_id")["anomaly_score"].reindex(plan["clip_id"]).to_numpy()
    threshold = float(thresholds["threshold"].iloc[0])
    growth = plan[["clip_id", "day", "strength"]].assign(
        anomaly_score=scored,
        threshold=threshold,
        percentile=[100.0 * float(np.mean(train < score)) for score in scored],
        is_anomalous=scored > threshold,
    )
    order = pd.Index(played["clip_id"]).get_indexer(pd.Index(plan["clip_id"]))
    return growth, level_above_normal(detector, machine, rows)[order]


def days_to_alarm(growth: pd.DataFrame, *, onset_day: int, k: int, n: int) -> dict[str, float]:
    """Days from the onset to the first alarm of `rehearse_growth`, and the alarms before it.

    ``first_flag`` and ``alarm`` [d]: to the first anomalous recording, and to the first alarm that
    begins (`alarm_begins`), NaN where there is none; ``false_alarms``: alarms that began before the
    onset; ``rang_before``: 1 where one of them lasted beyond it, which is no answer to the fault.
    """
    alarm = persistent_alarms(growth["is_anomalous"], k=k, n=n)
    begins = alarm_begins(alarm)
    day = growth["day"].to_numpy()
    late = day >= onset_day

    def first(flags: npt.NDArray[np.bool_]) -> float:
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
