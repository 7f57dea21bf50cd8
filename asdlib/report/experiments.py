"""What sweeps and runs found, for notebook 05: read back, in sentences, Markdown and figures.

A table of a sweep has ``variant, group, system`` and the columns of
`asdlib.scoring.paired_differences`; the reference is the variant without differences. Runs side by
side are laid out alike, each run a variant.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from asdlib.base import InputError, refuse_unknown
from asdlib.report import tables
from asdlib.report.output import sidecar_path
from asdlib.report.style import WIDTH_WIDE_IN, group_colour, heat_map, set_wrapped_title
from asdlib.scoring import DIFFERENCE_COLUMNS, read_scores

_MEANS = ("official_score", "auc_source", "auc_target", "pauc")
_ROW_HEIGHT_IN = 0.17
_UNIT = "points of 0.01"
_OF_NO_MATTER = ("run_name", "out_dir", "workers", "sweeps", "runs")


def read_sweeps(
    results: Path, *, names: Sequence[str] = (), data_dir: str | None = None
) -> dict[str, pd.DataFrame]:
    """Read the tables of finished sweeps in ``results``, by their names.

    Without ``names`` all that are there, or those of the recordings ``data_dir``, as sidecars name
    them. `InputError` for a name without table, and for a table of an older form.
    """
    found = {path.parent.name: path for path in sorted(results.glob("*/sweep.csv"))}
    of = f": {results} has no table of it (./run_all.sh sweep FILE makes one)"
    refuse_unknown(names, found, "sweep", of)
    if data_dir is not None and not names:
        said = {name: _facts(sidecar_path(path))["settings"] for name, path in found.items()}
        found = {name: path for name, path in found.items() if said[name]["data_dir"] == data_dir}
    read = {name: pd.read_csv(found[name]) for name in (names or found)}
    for name, table in read.items():
        lacks = {"variant", "group", "system", *DIFFERENCE_COLUMNS[1:]} - set(table)
        if lacks:
            raise InputError(
                f"{found[name]}: lacks {', '.join(sorted(lacks))}. Run the sweep again: finished "
                "cells are kept."
            )
    return {name: table.fillna({"group": "", "reason": ""}) for name, table in read.items()}


def _facts(sidecar: Path) -> dict[str, Any]:
    return dict(json.loads(sidecar.read_text(encoding="utf-8")))


def read_runs(results: Path, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Read what the final systems of runs say of the test clips that all of them have.

    Scores (`asdlib.scoring.read_scores`; ``system`` is the run, ``seed`` its position) of two or
    more runs in ``results``, the first the reference, and remarks on what was left out.
    `InputError` when a run is not there or has no final system, or no clip is in all of them.
    """
    if len(names) == 1:
        raise InputError(f"runs: {names[0]} alone cannot be compared; expected two names or more.")
    there = sorted(one.parent.name for one in results.glob("*/scores.csv"))
    refuse_unknown(names, there, "run", f": {results} has no scores.csv of it")
    parts = []
    for name in names:
        path = results / name / "scores.csv"
        scores = read_scores(path)
        own = scores[(scores["system"] == "final") & (scores["split"] == "test")]
        if own.empty:
            raise InputError(f"{path}: has no test clip of system 'final'. Run notebook 04.")
        place = own["seed"].rank(method="dense").astype("Int64") - 1
        parts.append(own.assign(system=name, seed=place))
    common = set.intersection(*(set(own["clip_id"]) for own in parts))
    if not common:
        raise InputError(f"runs {', '.join(names)}: no test clip is in all of them.")
    joined = pd.concat(parts, ignore_index=True)
    others = joined.groupby("system", sort=False)["clip_id"].nunique() - len(common)
    remarks = [f"{name}: {count} test clips that not all runs have are left out."
               for name, count in others[others > 0].items()]  # fmt: skip
    return joined[joined["clip_id"].isin(common)].reset_index(drop=True), remarks


def differing_settings(results: Path, names: Sequence[str]) -> pd.DataFrame:
    """Parameters whose values differ, by what the sidecars of the runs' tables say.

    One row per parameter, one column per run, values as JSON, empty where a run does not say;
    beside the parameters ``code``, the commit.
    """
    told: dict[str, dict[str, str]] = {name: {} for name in names}
    for name, own in told.items():
        for sidecar in sorted((results / name).glob("*.csv.json")):
            facts = _facts(sidecar)
            own |= {key: json.dumps(value) for key, value in facts["settings"].items()}
            own["code"] = str((facts.get("git") or {}).get("commit", ""))[:10]
    table = pd.DataFrame(told).fillna("").drop(index=list(_OF_NO_MATTER), errors="ignore")
    return table[table.ne(table[names[0]], axis=0).any(axis=1)].rename_axis("parameter")


def findings(table: pd.DataFrame) -> list[str]:
    """Say which variants gain and lose, the most first, and what the intervals leave open."""
    whole = table[(table["machine_type"] == "all") & (table["metric"] == "official_score")]
    rows = whole[whole["difference"].notna()]
    reference = whole[whole["difference"].isna()].iloc[0]
    is_gain, is_loss = rows["difference_low"] > 0, rows["difference_high"] < 0
    spread = f", standard deviation {reference['spread']:.3f} over {reference['n_seeds']} seeds"
    score = f"{reference['value']:.3f}{'' if pd.isna(reference['spread']) else spread}"
    sentences = [f"Reference ({reference['system']}): official score {score}."]
    for word, chosen in (("Better", rows[is_gain]), ("Worse", rows[is_loss])):
        ordered = chosen.sort_values("difference", key=abs, ascending=False)
        for row in ordered.to_dict(orient="records"):
            sentences.append(
                f"{word}: {row['variant']}, {100 * row['difference']:+.1f} points "
                f"[{100 * row['difference_low']:.1f}, {100 * row['difference_high']:.1f}]."
            )
    unsure = rows.loc[~is_gain & ~is_loss, "variant"]
    if len(unsure):
        sentences.append(f"Not told from the reference: {'; '.join(unsure)}.")
    return sentences


def render_sweep(
    table: pd.DataFrame, *, title: str, failures: Mapping[str, str] | None = None
) -> str:
    """Write a sweep's table as Markdown: all machines first, then each machine.

    "0.703 ± 0.012": mean and standard deviation over seeds; "+1.2 [-0.3, 2.8]": points of 0.01,
    interval over seeds and clips, bold without 0. ``failures``: cells without a result, and why.
    """
    lines = []
    for variant, rows in table[table["machine_type"] == "all"].groupby("variant", sort=False):
        cells = {row["metric"]: row for row in rows.to_dict(orient="records")}
        first = cells["official_score"]
        names = [tables.plain(name) for name in (first["group"], variant, first["system"])]
        values = [str(first["n_seeds"]), tables.value_text(first), _difference(first)]
        lines.append([*names, *values, *(tables.value_text(cells[name]) for name in _MEANS[1:])])
    header = ["group", "variant", "system", "seeds", "official score", "difference"]
    header += [tables.METRIC_LABELS[name] for name in _MEANS[1:]]
    text = [f"# {tables.plain(title)}", "", *tables.markdown_table(header, lines, n_text=3), ""]
    machines = [name for name in dict.fromkeys(table["machine_type"]) if name != "all"]
    lines = []
    for variant, rows in table[table["metric"] == "hmean"].groupby("variant", sort=False):
        by_machine = {row["machine_type"]: row for row in rows.to_dict(orient="records")}
        show = tables.value_text if rows["difference"].isna().all() else _difference
        lines.append([tables.plain(variant), *(show(by_machine[name]) for name in machines)])
    text += ["## Difference to the reference by machine (harmonic mean of its three)", ""]
    text += tables.markdown_table(["variant", *map(tables.plain, machines)], lines, n_text=1)
    text += ["", *_legend(table)]
    if failures:
        text += ["", "## Cells without a result", ""]
        text += [
            f"- {tables.plain(cell)}: {tables.plain(reason)}" for cell, reason in failures.items()
        ]
    return "\n".join(text).rstrip() + "\n"


def _difference(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["difference"]):
        return tables.EMPTY
    text = f"{100 * row['difference']:+.1f}"
    if pd.isna(row["difference_low"]):
        return text
    text += f" [{100 * row['difference_low']:.1f}, {100 * row['difference_high']:.1f}]"
    is_told_apart = row["difference_low"] > 0 or row["difference_high"] < 0
    return f"**{text}**" if is_told_apart else text


def _legend(table: pd.DataFrame) -> list[str]:
    has_seeds = table["n_seeds"].max() > 1
    lines = [
        "Differences in points of 0.01 to the reference, on the same clips and seeds; in brackets "
        f"95 % bootstrap intervals over {'seeds and test clips' if has_seeds else 'test clips'}, "
        "bold where they exclude 0. They are not corrected for the number of variants.  ",
    ]
    if has_seeds:
        lines.append("±: standard deviation over the seeds.  ")
    if 1 < table["n_seeds"].max() < 5:
        few = "Fewer than five seeds tell little of their own scatter: where it exceeds that of "
        lines.append(f"{few}the clips, the intervals are somewhat too narrow.  ")
    official = table[table["metric"] == "official_score"]
    return lines + tables.explained_names(official["variant"], official["reason"])


def draw_sweep(table: pd.DataFrame) -> Figure:
    """Draw a forest plot: the difference of every variant to the reference with its interval.

    Four panels (official score, source AUC, target AUC and pAUC over all machines), in points of
    0.01. Variants of one group stand together, in one colour; filled points have an interval
    that excludes zero. Variants without a value have no point.
    """
    whole = table[(table["machine_type"] == "all") & table["metric"].isin(_MEANS)]
    rows = _rows(whole)
    size = (WIDTH_WIDE_IN, 1.0 + _ROW_HEIGHT_IN * (rows["y"].max() + 2))
    figure, axes = plt.subplots(1, 4, figsize=size, sharey=True, width_ratios=[1.6, 1, 1, 1])
    for metric, ax in zip(_MEANS, axes, strict=True):
        ax.axvline(0, color="0.6", lw=0.8, ls=":")
        shown = rows.merge(whole[whole["metric"] == metric], on=["group", "variant"])
        for row in shown.to_dict(orient="records"):
            y, colour = row["y"], row["colour"]
            low, high = 100 * row["difference_low"], 100 * row["difference_high"]
            face = colour if low > 0 or high < 0 else "white"
            ax.hlines(y, low, high, color=colour, lw=1.2)
            ax.plot(100 * row["difference"], y, "o", ms=4, mfc=face, mec=colour)
        ax.set_xlabel(tables.METRIC_LABELS[metric])
    axes[0].set_yticks(rows["y"], rows["variant"])
    axes[0].set_ylim(rows["y"].max() + 0.7, -1.7 if rows["heading"].any() else -0.7)
    for row in rows[rows["heading"] != ""].to_dict(orient="records"):
        axes[0].annotate(
            row["heading"], (0, row["y"] - 1), xycoords=("axes fraction", "data"), fontsize=8,
            xytext=(-4, 0), textcoords="offset points", ha="right", va="center", weight="bold",
        )  # fmt: skip
    meaning = "(filled: its interval excludes 0)"
    figure.supxlabel(f"Difference to the reference [{_UNIT}] {meaning}", fontsize=8)
    official = whole[(whole["metric"] == "official_score") & whole["difference"].notna()]
    better, worse = (official["difference_low"] > 0).sum(), (official["difference_high"] < 0).sum()
    told = f"{better} score higher than the reference, {worse} lower"
    unsure = len(official) - better - worse
    title = f"Of {len(official)} variants, {told}; of {unsure} the intervals do not say"
    set_wrapped_title(figure, title)
    return figure


def _rows(whole: pd.DataFrame) -> pd.DataFrame:
    """Give a height to every variant: groups together, a gap and a heading before each."""
    variants = whole[whole["difference"].notna()].drop_duplicates(["group", "variant"])
    groups = list(dict.fromkeys(variants["group"]))
    rows, y = [], 0.0
    for place, group in enumerate(groups):
        y += 1.0 if group and place else 0.0
        colour = group_colour(place)
        for position, variant in enumerate(variants.loc[variants["group"] == group, "variant"]):
            rows.append((group, variant, y, group if position == 0 else "", colour))
            y += 1.0
    return pd.DataFrame(rows, columns=["group", "variant", "y", "heading", "colour"])


def draw_sweep_machines(table: pd.DataFrame) -> Figure:
    """Draw the difference of every variant on every machine: harmonic mean of its three metrics.

    In points of 0.01; numbers in brackets have an interval that holds zero.
    """
    own = table[(table["metric"] == "hmean") & table["difference"].notna()]
    holds_zero = (own["difference_low"] <= 0) & (own["difference_high"] >= 0)
    own = own.assign(points=100 * own["difference"], unsure=holds_zero)
    order = list(dict.fromkeys(own["variant"]))
    laid_out = partial(own.pivot_table, index="variant", columns="machine_type")
    points = laid_out(values="points").reindex(order)
    unsure = laid_out(values="unsure", aggfunc="any").reindex(order)
    words = points.map("{:+.1f}".format)
    words = words.mask(unsure.eq(True), "(" + words + ")").where(points.notna(), "")
    limit = float(np.nanmax(np.abs(points.to_numpy()), initial=1.0))
    figure, ax = heat_map(
        points, height_in=1.3 + _ROW_HEIGHT_IN * len(order), label=f"Difference [{_UNIT}]",
        annot=words, fmt="", cmap="vlag_r", center=0, vmin=-limit, vmax=limit,
        annot_kws={"fontsize": 7},
    )  # fmt: skip
    ax.set_xlabel("(in brackets: the interval holds 0)")
    finding = "No machine has a difference"
    if len(own):
        largest = own.loc[own["points"].abs().idxmax()]
        machine, change = largest["machine_type"], f"{largest['points']:+.1f} points"
        finding = f"Largest change: {largest['variant']} on {machine}, {change}"
    set_wrapped_title(figure, finding)
    return figure


def draw_runs(differences: pd.DataFrame, *, corpus: str) -> Figure:
    """Draw the differences to the first run, machine by machine, with their intervals.

    The left panel has the official score of all machines and the harmonic mean of each.
    """
    by_machine = differences.assign(
        group=differences["variant"],
        variant=differences["machine_type"],
        metric=differences["metric"].replace("hmean", "official_score"),
        machine_type="all",
    )
    figure = draw_sweep(by_machine)
    figure.axes[0].set_xlabel("official score (all),\nharmonic mean (machines)")
    told = " ".join(findings(differences)[1:])
    set_wrapped_title(figure, f"Against {differences['variant'].iloc[0]} ({corpus}). {told}")
    return figure
