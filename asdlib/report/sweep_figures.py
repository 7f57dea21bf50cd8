"""Figures of a sweep: what each variant gains or loses against the reference."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from asdlib.report.panels import set_wrapped_title
from asdlib.report.style import GROUP_COLOURS, WIDTH_WIDE_IN
from asdlib.report.tables import METRIC_LABELS

_METRICS = ("official_score", "auc_source", "auc_target", "pauc")
_ROW_HEIGHT_IN = 0.17
_UNIT = "points of 0.01"


def draw_sweep(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """Draw a forest plot: the difference of every variant to the reference with its interval.

    Parameters
    ----------
    table : DataFrame
        ``variant, group`` and the columns of :func:`asdlib.scoring.paired_differences`; the
        reference is the variant without differences.
    title : str, optional
        The finding; by default how many intervals exclude zero.

    Returns
    -------
    Figure
        Four panels (official score, source AUC, target AUC and pAUC over all machines), in
        points of 0.01. Variants of one group stand together, in one colour; filled points have
        an interval that excludes zero. Variants without a value have no point.
    """
    whole = table[(table["machine_type"] == "all") & table["metric"].isin(_METRICS)]
    rows = _rows(whole)
    height = 1.0 + _ROW_HEIGHT_IN * (rows["y"].max() + 2)
    figure, axes = plt.subplots(
        1,
        len(_METRICS),
        figsize=(WIDTH_WIDE_IN, height),
        sharey=True,
        width_ratios=[1.6, 1, 1, 1],
        layout="constrained",
    )
    for metric, ax in zip(_METRICS, axes, strict=True):
        ax.axvline(0, color="0.6", lw=0.8, ls=":")
        shown = rows.merge(whole[whole["metric"] == metric], on="variant")
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
    set_wrapped_title(figure, title or _finding(whole))
    return figure


def draw_sweep_machines(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """Draw the differences of every variant on every machine.

    Parameters
    ----------
    table : DataFrame
        As for :func:`draw_sweep`.
    title : str, optional
        The finding; by default which variant changes which machine most.

    Returns
    -------
    Figure
        Variants by machines: difference of the harmonic mean of the machine's three metrics, in
        points of 0.01. Numbers in brackets have an interval that holds zero.
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
    set_wrapped_title(figure, title or _machine_finding(own))
    return figure


def _rows(whole: pd.DataFrame) -> pd.DataFrame:
    """Give a height to every variant: groups together, a gap and a heading before each."""
    variants = whole[whole["difference"].notna()].drop_duplicates("variant")
    groups = list(dict.fromkeys(variants["group"]))
    rows, y = [], 0.0
    for place, group in enumerate(groups):
        y += 1.0 if group and place else 0.0
        for position, variant in enumerate(variants.loc[variants["group"] == group, "variant"]):
            heading = group if position == 0 else ""
            colour = GROUP_COLOURS[place % len(GROUP_COLOURS)]
            rows.append({"variant": variant, "y": y, "heading": heading, "colour": colour})
            y += 1.0
    return pd.DataFrame(rows, columns=["variant", "y", "heading", "colour"])


def _finding(whole: pd.DataFrame) -> str:
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
