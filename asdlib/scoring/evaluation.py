"""The official metrics of DCASE Task 2 with intervals: scores table in, metrics table out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from asdlib.base import InputError
from asdlib.scoring import metrics, resampling
from asdlib.scoring.scores import RUN_KEYS, validate_scores

METRIC_COLUMNS = [
    *("system", "seed", "machine_type", "metric"),
    *("value", "ci_low", "ci_high", "n_normal", "n_anomaly", "reason"),
]
#: The three cells of a machine (and section) that the official score averages.
CELL_METRICS = ("auc_source", "auc_target", "pauc")


@dataclass(frozen=True)
class Cell:
    """One number: its value first, then its resamples, shape (1 + n_bootstrap,); its clips."""

    name: str
    draws: metrics.FloatArray
    n_normal: int
    n_anomaly: int
    reason: str
    acceleration: float = 0.0
    widening: float = 1.0

    @property
    def is_computed(self) -> bool:
        """Whether there were clips to compute it from."""
        return not np.isnan(self.draws[0])


def evaluate(
    scores: pd.DataFrame,
    *,
    max_fpr: float = metrics.MAX_FPR,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Official metrics per machine and in all, for every system and seed of a scores table.

    - ``auc_source``, ``auc_target``: the normal clips of that domain against the anomalous
      clips of **both** domains.
    - ``pauc``: all clips, up to ``max_fpr``, standardised after McClish (chance 0.5).
    - ``hmean`` of a machine: harmonic mean of its three.
    - ``machine_type = all``: harmonic means over the machines, and ``official_score``, the
      harmonic mean of all machine x {source AUC, target AUC, pAUC} cells.

    The challenge has one section per machine. Where there are several, every machine and
    section has its own three cells, and each mean runs over all cells concerned.

    A cell that cannot be computed is NaN and says why in ``reason``. A mean runs over the cells
    that exist and says there which ones it lacks. A zero makes a harmonic mean zero.

    Parameters
    ----------
    scores : DataFrame
        See :func:`asdlib.scoring.validate_scores`. Rows of ``split == "test"`` are used. Clips
        of unknown condition are left out (stated in ``reason``), clips of unknown domain count
        in the pAUC and as anomalies.
    max_fpr : float
        Largest false-positive rate of the partial AUC.
    n_bootstrap : int
        Resamples of the clips, stratified by machine, section, domain and condition; 0 gives
        no intervals. Means are computed on joint resamples of all machines.
    confidence : float
        Of the intervals, over 0 and under 1: bias-corrected percentiles; those of the pAUC of
        one machine are accelerated and widened for small samples (95 % intervals at 50 + 50
        clips held the truth in 94 to 96 % of simulated cases).
    seed : int
        Seed of the resamples; the same for all systems, so that differences are paired.

    Returns
    -------
    DataFrame
        Columns ``METRIC_COLUMNS``; values and intervals 0 to 1, clip counts of what a value
        was computed from, ``reason`` empty where there is nothing to say.

    Raises
    ------
    InputError
        When the table is not a scores table or a parameter is out of range.

    References
    ----------
    T. Nishida et al., "Description and discussion on DCASE 2025 challenge task 2", 2025,
    arXiv:2506.10097, section on evaluation metrics.
    """
    if n_bootstrap < 0:
        raise InputError(f"n_bootstrap = {n_bootstrap}: expected 0 or more resamples.")
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence = {confidence}: expected a share between 0 and 1.")
    table = compact(validate_scores(scores))
    parts = []
    for _, run in table.groupby(["system", "seed"], dropna=False, sort=False, observed=True):
        rows, draws = draw_metrics(run, max_fpr=max_fpr, n_bootstrap=n_bootstrap, seed=seed)
        low, high = resampling.bias_corrected_interval(
            draws[0], draws[1:], confidence=confidence,
            acceleration=rows["acceleration"], widening=rows["widening"],
        )  # fmt: skip
        part = rows.assign(value=draws[0], ci_low=low, ci_high=high)
        remark = "the interval is a point because no resample changes the value"
        part["reason"] = part["reason"].where(low != high, part["reason"].map(joined(remark)))
        part["system"] = run["system"].iloc[0]
        part["seed"] = pd.array([run["seed"].iloc[0]] * len(part), dtype="Int64")
        parts.append(part)
    return pd.concat(parts, ignore_index=True)[METRIC_COLUMNS]


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
    columns = [*RUN_KEYS, "normal_domain", "false_positive_rate", "true_positive_rate"]
    parts = []
    for _, machine in known.groupby(RUN_KEYS, dropna=False, sort=False):
        anomalous = machine["is_anomaly"].to_numpy(dtype=bool)
        domain = machine["domain"].fillna("").to_numpy(dtype=object)
        ranking = metrics.Ranking(machine["anomaly_score"].to_numpy())
        for name in ("source", "target", "both"):
            normal = ~anomalous & ((domain == name) | (name == "both"))
            if not normal.any() or not anomalous.any():
                continue
            both = np.stack([normal, anomalous]).astype(float)
            part = pd.DataFrame(ranking.rates(both).T, columns=columns[-2:])
            parts.append(part.assign(**machine[RUN_KEYS].iloc[0], normal_domain=name))
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def compact(table: pd.DataFrame) -> pd.DataFrame:
    """Reduce a validated table to what metrics need, in a quarter of its memory."""
    columns = {name: table[name] for name in ("clip_id", "seed", "is_anomaly", "anomaly_score")}
    for name in ("system", "machine_type", "domain", "split"):
        columns[name] = table[name].astype("category")
    columns["section"] = table["section"].fillna("").astype("category")
    return pd.DataFrame(columns)


def draw_metrics(
    run: pd.DataFrame, *, max_fpr: float, n_bootstrap: int, seed: int
) -> tuple[pd.DataFrame, metrics.FloatArray]:
    """Compute the metrics of one system and seed on all clips and on resamples of them.

    A row per metric: ``machine_type, metric`` and what a `Cell` says of it; and (1 + n_bootstrap,
    n_rows) values, of all clips first, NaN where there are none. The resamples depend on the clips
    and on ``seed`` alone: two systems scored on the same clips meet the same ones, so that
    differences are paired. ``run`` is part of a `compact` table.
    """
    rows: list[tuple[str, str, Cell]] = []
    all_cells: list[Cell] = []
    parts: Any = run.groupby(["machine_type", "section"], observed=True).indices
    for machine_type in sorted({machine for machine, _ in parts}):
        own = sorted(section for machine, section in parts if machine == machine_type)
        sections = [
            section_cells(
                run.take(parts[machine_type, section]),
                name=f"{machine_type}" if len(own) == 1 else f"{machine_type} section {section}",
                max_fpr=max_fpr,
                n_bootstrap=n_bootstrap,
                seed=seed,
            )
            for section in own
        ]
        for metric, cells in zip(CELL_METRICS, zip(*sections, strict=True), strict=True):
            rows.append((str(machine_type), metric, _mean(cells) if len(cells) > 1 else cells[0]))
        machine_cells = [cell for section in sections for cell in section]
        rows.append((str(machine_type), "hmean", _mean(machine_cells)))
        all_cells += machine_cells
    for position, metric in enumerate(CELL_METRICS):
        rows.append(("all", metric, _mean(all_cells[position::3])))
    rows.append(("all", "official_score", _mean(all_cells)))
    facts = ["n_normal", "n_anomaly", "reason", "acceleration", "widening"]
    told = [(*names, *(getattr(cell, fact) for fact in facts)) for *names, cell in rows]
    table = pd.DataFrame(told, columns=["machine_type", "metric", *facts])
    return table, np.array([cell.draws for _, _, cell in rows]).T


def section_cells(
    clips: pd.DataFrame,
    *,
    name: str,
    max_fpr: float = metrics.MAX_FPR,
    n_bootstrap: int = 0,
    seed: int = 0,
) -> list[Cell]:
    """AUC source, AUC target and pAUC of one machine and section, with their resamples."""
    is_test = clips["split"].eq("test")
    known = clips[is_test & clips["is_anomaly"].notna()].sort_values("clip_id")
    score = known["anomaly_score"].to_numpy()
    anomalous = known["is_anomaly"].to_numpy(dtype=bool)
    domain = known["domain"].array
    n_test, n_anomaly = int(is_test.sum()), int(anomalous.sum())
    del known  # of a million clips every copy counts
    cells, curves = [], []
    for metric, which in zip(CELL_METRICS, ("source", "target", ""), strict=True):
        normal = ~anomalous & np.asarray(domain == which) if which else ~anomalous
        n_normal = int(normal.sum())
        reason = _remark(n_test, domain, which, n_normal, n_anomaly)
        if not which and n_anomaly and n_normal and n_normal * max_fpr < 1.0:
            few = f"only {n_normal} normal clips: the curve up to rate {max_fpr:g} is interpolated"
            reason = joined(few)(reason)
        draws = np.full(1 + n_bootstrap, np.nan)
        acceleration, widening = 0.0, 1.0
        if not which and n_normal and n_anomaly:
            acceleration = resampling.pauc_acceleration(score, anomalous, max_fpr=max_fpr)
            # The curve up to its limit rests on as few normal clips.
            widening = resampling.small_sample_widening(max_fpr * n_normal)
        facts = (draws, n_normal, n_anomaly, reason, acceleration, widening)
        cells.append(Cell(f"{name} {metric}", *facts))
        if n_normal and n_anomaly:
            used = normal | anomalous
            curves.append(
                (draws, used, normal[used], metrics.Ranking(score[used]), 1.0 if which else max_fpr)
            )
    strata = pd.factorize(2 * pd.factorize(domain)[0] + anomalous)[0]
    resamples = resampling.resample_weights(strata, n_resamples=n_bootstrap, seed=seed, name=name)
    done = 0
    for weights in chain([np.ones((1, len(score)))], resamples) if curves else ():
        for draws, used, normal, ranking, limit in curves:
            weight = weights[:, used]
            false_rate, true_rate = ranking.rates(weight * normal), ranking.rates(weight * ~normal)
            draws[done : done + len(weights)] = metrics.area_below(
                false_rate, true_rate, max_fpr=limit
            )
        done += len(weights)
    return cells


def _remark(n_test: int, domain: Any, which: str, n_normal: int, n_anomaly: int) -> str:
    """Say why a cell cannot be computed, or what it leaves out; ``domain`` of the known clips."""
    if n_test == 0:
        return "no test clips"
    if len(domain) == 0:
        return "condition of the test clips unknown"
    if n_anomaly == 0:
        return "no anomalous test clips"
    if n_normal == 0:
        if which and domain.isna().all():
            return "domain of the test clips unknown"
        return f"no normal test clips in the {which} domain" if which else "no normal test clips"
    if len(domain) < n_test:
        return f"condition of {n_test - len(domain)} of {n_test} test clips unknown"
    return ""


def _mean(cells: Sequence[Cell]) -> Cell:
    """Harmonic mean of the cells that could be computed; the reason names the others."""
    computed = [cell for cell in cells if cell.is_computed]
    missing = [cell for cell in cells if not cell.is_computed]
    values = metrics.harmonic_mean(np.array([cell.draws for cell in cells]), axis=0)
    # Every machine's clips count once: its pAUC uses all of them.
    whole = [cell for cell in computed if cell.name.endswith("pauc")] or computed
    reason = ""
    if missing:
        why = "; ".join(f"{cell.name} ({cell.reason})" for cell in missing)
        reason = f"covers {len(computed)} of {len(cells)} cells; missing: {why}"
    counts = (sum(cell.n_normal for cell in whole), sum(cell.n_anomaly for cell in whole))
    return Cell("mean", values, *counts, reason)


def joined(remark: str) -> Callable[[str], str]:
    """Put a remark behind what there is to say already."""
    return lambda reason: f"{reason}; {remark}" if reason else remark
