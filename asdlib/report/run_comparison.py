"""Finished runs side by side, for notebook 05: what differs in their settings and their scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from asdlib.errors import InputError
from asdlib.report.experiments import draw_sweep, findings
from asdlib.report.style import set_wrapped_title
from asdlib.scoring import read_scores

_SYSTEM = "final"
_OF_NO_MATTER = ("run_name", "out_dir", "workers", "sweeps", "runs")


def read_runs(results: Path, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Read what the final systems of runs say of the test clips that all of them have.

    Parameters
    ----------
    results : Path
        Folder with a folder for every run.
    names : sequence of str
        Two or more runs; the first is the reference.

    Returns
    -------
    scores : DataFrame
        As from `asdlib.scoring.read_scores`; ``system`` is the run, ``seed`` its position.
    remarks : list of str
        What was left out.

    Raises
    ------
    InputError
        When a run is not there or has no final system, or no clip is in all of them.
    """
    if len(names) == 1:
        raise InputError(f"runs: {names[0]} alone cannot be compared; expected two names or more.")
    parts = []
    for name in names:
        path = results / name / "scores.csv"
        if not path.is_file():
            there = sorted(one.parent.name for one in results.glob("*/scores.csv"))
            raise InputError(f"run {name}: {path} is missing. There are: {', '.join(there)}.")
        scores = read_scores(path)
        own = scores[(scores["system"] == _SYSTEM) & (scores["split"] == "test")]
        if own.empty:
            raise InputError(f"{path}: has no test clip of system {_SYSTEM!r}. Run notebook 04.")
        place = own["seed"].rank(method="dense").astype("Int64") - 1
        parts.append(own.assign(system=name, seed=place))
    common = set.intersection(*(set(own["clip_id"]) for own in parts))
    if not common:
        raise InputError(f"runs {', '.join(names)}: no test clip is in all of them.")
    remarks = []
    for name, own in zip(names, parts, strict=True):
        others = own["clip_id"].nunique() - len(common)
        if others:
            remarks.append(f"{name}: {others} test clips that not all runs have are left out.")
    joined = pd.concat(parts, ignore_index=True)
    return joined[joined["clip_id"].isin(common)].reset_index(drop=True), remarks


def differing_settings(results: Path, names: Sequence[str]) -> pd.DataFrame:
    """Parameters whose values differ, by what the sidecars of the runs' tables say.

    One row per parameter, one column per run, values as JSON, empty where a run does not say;
    beside the parameters ``code``, the commit.
    """
    settings: dict[str, dict[str, str]] = {name: {} for name in names}
    for name, own in settings.items():
        for path in sorted((results / name).glob("*.csv.json")):
            facts = json.loads(path.read_text(encoding="utf-8"))
            own |= {key: json.dumps(value) for key, value in facts["settings"].items()}
            own["code"] = str((facts.get("git") or {}).get("commit", ""))[:10]
    table = pd.DataFrame(settings).fillna("").drop(index=list(_OF_NO_MATTER), errors="ignore")
    return table[table.ne(table[names[0]], axis=0).any(axis=1)].rename_axis("parameter")


def draw_runs(differences: pd.DataFrame, *, corpus: str) -> Figure:
    """Draw the differences to the first run, machine by machine, with their intervals.

    ``differences`` are as a table of `asdlib.report.experiments.read_sweeps` has them, the runs
    being its variants. The left panel has the official score of all machines and the harmonic
    mean of each.
    """
    reference = differences["variant"].iloc[0]
    by_machine = differences.assign(
        group=differences["variant"],
        variant=differences["machine_type"],
        metric=differences["metric"].replace("hmean", "official_score"),
        machine_type="all",
    )
    figure = draw_sweep(by_machine)
    figure.axes[0].set_xlabel("official score (all),\nharmonic mean (machines)")
    told = " ".join(findings(differences)[1:])
    set_wrapped_title(figure, f"Against {reference} ({corpus}). {told}")
    return figure
