"""What sweeps found, for notebook 05: read back, in sentences, as Markdown and as figures."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from asdlib.errors import InputError
from asdlib.report.save import sidecar_path
from asdlib.report.style import GROUP_COLOURS, WIDTH_WIDE_IN, set_wrapped_title
from asdlib.report.tables import EMPTY, METRIC_LABELS, markdown_table, plain
from asdlib.scoring import DIFFERENCE_COLUMNS

_MEANS = ("official_score", "auc_source", "auc_target", "pauc")
_ROW_HEIGHT_IN = 0.17
_UNIT = "points of 0.01"


def read_sweeps(
    results: Path, *, names: Sequence[str] = (), data_dir: str | None = None
) -> dict[str, pd.DataFrame]:
    """Read the tables of finished sweeps, by their names.

    Parameters
    ----------
    results : Path
        Folder with a folder for every run and sweep.
    names : sequence of str
        Sweeps to read; empty for all that are there.
    data_dir : str, optional
        As sidecars name it; without ``names``, only sweeps of these recordings are read.

    Returns
    -------
    dict of str to DataFrame
        ``variant, group, system`` and the columns of :func:`asdlib.scoring.paired_differences`;
        the reference is the variant without differences.
    """
    found = {path.parent.name: path for path in sorted(results.glob("*/sweep.csv"))}
    missing = sorted(set(names) - set(found))
    if missing:
        raise InputError(
            f"sweep {missing[0]}: {results} has no table of it. There are: "
            f"{', '.join(found) or 'none'}. ./run_all.sh sweep FILE makes one."
        )
    if data_dir is not None and not names:
        found = {name: path for name, path in found.items() if _data_dir(path) == data_dir}
    return {name: _read(found[name]) for name in (names or found)}


def _data_dir(path: Path) -> object:
    """Name the recordings that a sweep was made of, as its sidecar does."""
    facts = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    return facts["settings"]["data_dir"]


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    expected = ["variant", "group", "system", *DIFFERENCE_COLUMNS[1:]]
    missing = [name for name in expected if name not in table.columns]
    if missing:
        raise InputError(
            f"{path}: lacks {', '.join(missing)}. Run the sweep again: finished cells are kept."
        )
    return table.fillna({"group": "", "reason": ""})


def findings(table: pd.DataFrame) -> list[str]:
    """Say which variants change the official score, and which cannot be told from none.

    Sentences on a table of `read_sweeps`: gains, losses (largest first, in points of 0.01 with
    their intervals), and what the intervals leave open.
    """
    whole = table[(table["machine_type"] == "all") & (table["metric"] == "official_score")]
    rows = whole[whole["difference"].notna()]
    reference = whole[whole["difference"].isna()].iloc[0]
    is_gain, is_loss = rows["difference_low"] > 0, rows["difference_high"] < 0
    spread = f", standard deviation {reference['spread']:.3f} over {reference['n_seeds']} seeds"
    sentences = [
        f"Reference ({reference['system']}): official score {reference['value']:.3f}"
        f"{'' if pd.isna(reference['spread']) else spread}."
    ]
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
    """Write a sweep's table (`read_sweeps`) as Markdown: all machines first, then each machine.

    "0.703 ± 0.012": mean and standard deviation over seeds; "+1.2 [-0.3, 2.8]": points of 0.01,
    interval over seeds and clips, bold without 0. ``failures``: cells without a result, and why.
    """
    lines = []
    for variant, rows in table[table["machine_type"] == "all"].groupby("variant", sort=False):
        cells = {row["metric"]: row for row in rows.to_dict(orient="records")}
        first = cells["official_score"]
        names = [plain(name) for name in (first["group"], variant, first["system"])]
        values = [str(first["n_seeds"]), _value(first), _difference(first)]
        lines.append([*names, *values, *(_value(cells[name]) for name in _MEANS[1:])])
    header = ["group", "variant", "system", "seeds", "official score", "difference"]
    header += [METRIC_LABELS[name] for name in _MEANS[1:]]
    text = [f"# {plain(title)}", "", *markdown_table(header, lines, n_text=3), ""]
    machines = [name for name in dict.fromkeys(table["machine_type"]) if name != "all"]
    lines = []
    for variant, rows in table[table["metric"] == "hmean"].groupby("variant", sort=False):
        by_machine = {row["machine_type"]: row for row in rows.to_dict(orient="records")}
        show = _value if rows["difference"].isna().all() else _difference
        lines.append([plain(variant), *(show(by_machine[name]) for name in machines)])
    text += ["## Difference to the reference by machine (harmonic mean of its three)", ""]
    text += markdown_table(["variant", *map(plain, machines)], lines, n_text=1)
    text += ["", *_legend(table)]
    if failures:
        text += ["", "## Cells without a result", ""]
        text += [f"- {plain(cell)}: {plain(reason)}" for cell, reason in failures.items()]
    return "\n".join(text).rstrip() + "\n"


def _value(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["value"]):
        return EMPTY
    spread = "" if pd.isna(row["spread"]) else f" ± {row['spread']:.3f}"
    return f"{row['value']:.3f}{spread}"


def _difference(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["difference"]):
        return EMPTY
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
    reasons = table.loc[table["metric"] == "official_score", ["variant", "reason"]]
    lines += [
        f"{plain(variant)}: {plain(reason)}.  "
        for variant, reason in zip(reasons["variant"], reasons["reason"], strict=True)
        if reason
    ]
    return lines


def draw_sweep(table: pd.DataFrame) -> Figure:
    """Draw a forest plot: the difference of every variant to the reference with its interval.

    Four panels (official score, source AUC, target AUC and pAUC over all machines), in points of
    0.01. Variants of one group stand together, in one colour; filled points have an interval
    that excludes zero. Variants without a value have no point.

    Parameters
    ----------
    table : DataFrame
        As from `read_sweeps`.
    """
    whole = table[(table["machine_type"] == "all") & table["metric"].isin(_MEANS)]
    rows = _rows(whole)
    height = 1.0 + _ROW_HEIGHT_IN * (rows["y"].max() + 2)
    figure, axes = plt.subplots(
        1,
        len(_MEANS),
        figsize=(WIDTH_WIDE_IN, height),
        sharey=True,
        width_ratios=[1.6, 1, 1, 1],
        layout="constrained",
    )
    for metric, ax in zip(_MEANS, axes, strict=True):
        ax.axvline(0, color="0.6", lw=0.8, ls=":")
        shown = rows.merge(whole[whole["metric"] == metric], on=["group", "variant"])
        for row in shown.to_dict(orient="records"):
            y, colour = row["y"], row["colour"]
            low, high = 100 * row["difference_low"], 100 * row["difference_high"]
            face = colour if low > 0 or high < 0 else "white"
            ax.hlines(y, low, high, color=colour, lw=1.2)
            ax.plot(100 * row["difference"], y, "o", ms=4, mfc=face, mec=colour)
        ax.set_xlabel(METRIC_LABELS[metric])
    axes[0].set_yticks(rows["y"], rows["variant"])
    axes[0].set_ylim(rows["y"].max() + 0.7, -1.7 if rows["heading"].any() else -0.7)
    for row in rows[rows["heading"] != ""].to_dict(orient="records"):
        axes[0].annotate(
            row["heading"], (0, row["y"] - 1), xycoords=("axes fraction", "data"), fontsize=8,
            xytext=(-4, 0), textcoords="offset points", ha="right", va="center", weight="bold",
        )  # fmt: skip
    meaning = "filled: its interval excludes 0"
    figure.supxlabel(f"Difference to the reference [{_UNIT}] ({meaning})", fontsize=8)
    set_wrapped_title(figure, _sweep_finding(whole))
    return figure


def draw_sweep_machines(table: pd.DataFrame) -> Figure:
    """Draw the differences of every variant on every machine.

    Variants by machines: difference of the harmonic mean of the machine's three metrics, in
    points of 0.01. Numbers in brackets have an interval that holds zero.

    Parameters
    ----------
    table : DataFrame
        As from `read_sweeps`.
    """
    own = table[(table["metric"] == "hmean") & table["difference"].notna()]
    order = list(dict.fromkeys(own["variant"]))
    holds_zero = (own["difference_low"] <= 0) & (own["difference_high"] >= 0)
    own = own.assign(points=100 * own["difference"], unsure=holds_zero)
    points = own.pivot_table(index="variant", columns="machine_type", values="points")
    points = points.reindex(order)
    unsure = own.pivot_table(
        index="variant", columns="machine_type", values="unsure", aggfunc="any"
    ).reindex(order)
    words = points.map("{:+.1f}".format)
    words = words.mask(unsure.eq(True), "(" + words + ")").where(points.notna(), "")
    height = 1.3 + _ROW_HEIGHT_IN * len(order)
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, height), layout="constrained")
    largest = float(np.nanmax(np.abs(points.to_numpy()), initial=1.0))
    sns.heatmap(
        points, annot=words, fmt="", cmap="vlag_r", center=0, vmin=-largest, vmax=largest, ax=ax,
        annot_kws={"fontsize": 7}, cbar_kws={"label": f"Difference [{_UNIT}]"},
    )  # fmt: skip
    ax.set(xlabel="(in brackets: the interval holds 0)", ylabel="")
    ax.tick_params(axis="x", rotation=30)
    ax.tick_params(axis="y", rotation=0)
    set_wrapped_title(figure, _machine_finding(own))
    return figure


def _rows(whole: pd.DataFrame) -> pd.DataFrame:
    """Give a height to every variant: groups together, a gap and a heading before each."""
    variants = whole[whole["difference"].notna()].drop_duplicates(["group", "variant"])
    groups = list(dict.fromkeys(variants["group"]))
    rows, y = [], 0.0
    for place, group in enumerate(groups):
        y += 1.0 if group and place else 0.0
        for position, variant in enumerate(variants.loc[variants["group"] == group, "variant"]):
            heading = group if position == 0 else ""
            colour = GROUP_COLOURS[place % len(GROUP_COLOURS)]
            rows.append({"group": group, "variant": variant, "y": y, "heading": heading,
                         "colour": colour})  # fmt: skip
            y += 1.0
    return pd.DataFrame(rows, columns=["group", "variant", "y", "heading", "colour"])


def _sweep_finding(whole: pd.DataFrame) -> str:
    rows = whole[(whole["metric"] == "official_score") & whole["difference"].notna()]
    better, worse = (rows["difference_low"] > 0).sum(), (rows["difference_high"] < 0).sum()
    return (
        f"Of {len(rows)} variants, {better} score higher than the reference, {worse} lower; of "
        f"{len(rows) - better - worse} the intervals do not say"
    )


def _machine_finding(own: pd.DataFrame) -> str:
    if own.empty:
        return "No machine has a difference"
    largest = own.loc[own["points"].abs().idxmax()]
    return (
        f"Largest change: {largest['variant']} on {largest['machine_type']}, "
        f"{largest['points']:+.1f} points"
    )
