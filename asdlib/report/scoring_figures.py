"""Figures of notebook 04: results with intervals, what each view hears, rule and hindsight."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdlib.report.style import GROUP_COLOURS, WIDTH_WIDE_IN, finish_panels
from asdlib.report.tables import METRIC_LABELS


def draw_result_summary(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """Draw source AUC, target AUC and pAUC of all machines and systems with their intervals.

    Machines from top to bottom, the means over all machines last; chance is the dotted line. A
    cell that cannot be computed has no point.

    Parameters
    ----------
    table : DataFrame
        As from :func:`asdlib.report.tables.result_table`.
    title : str, optional
        By default the official score of every system.
    """
    metrics = ("auc_source", "auc_target", "pauc")
    machines = list(dict.fromkeys(table["machine_type"]))
    systems = list(dict.fromkeys(table["system"]))
    height = 1.1 + len(machines) * max(0.22, 0.09 * len(systems))
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH_WIDE_IN, height), sharey=True)
    row_of = {machine_type: row for row, machine_type in enumerate(machines)}
    colours = {name: GROUP_COLOURS[i % len(GROUP_COLOURS)] for i, name in enumerate(systems)}
    lowest = table[["value", "ci_low"]].min().min()
    left = min(0.3, float(lowest) - 0.02) if pd.notna(lowest) else 0.3
    for metric, ax in zip(metrics, axes, strict=True):
        ax.axvline(0.5, color="0.6", lw=0.8, ls=":")
        if len(machines) > 1:
            ax.axhline(len(machines) - 1.5, color="0.8", lw=0.6)
        for position, (system, colour) in enumerate(colours.items()):
            rows = table[(table["system"] == system) & (table["metric"] == metric)]
            rows = rows[rows["value"].notna()]
            offset = 0.6 * ((position + 0.5) / len(systems) - 0.5)
            y = rows["machine_type"].map(row_of).to_numpy(dtype=float) + offset
            ax.hlines(y, rows["ci_low"], rows["ci_high"], color=colour, lw=1.2, alpha=0.6)
            ax.plot(rows["value"], y, "o", ms=3.5, color=colour)
        ax.set(xlabel=f"{METRIC_LABELS[metric]} [1]", xlim=(left, 1.02))
    axes[0].set_yticks(range(len(machines)), machines)
    axes[0].set_ylim(len(machines) - 0.4, -0.6)
    handles = [
        Line2D([], [], color=colour, marker="o", ms=3.5, label=name)
        for name, colour in colours.items()
    ]
    finish_panels(figure, handles, title or _score_finding(table))
    return figure


def _score_finding(table: pd.DataFrame) -> str:
    rows = table[(table["metric"] == "official_score") & table["value"].notna()]
    parts = [
        f"{system} {value:.3f}" for system, value in zip(rows["system"], rows["value"], strict=True)
    ]
    return "Official score: " + ", ".join(parts) if parts else "No official score"


def draw_views(metrics: pd.DataFrame, *, corpus: str) -> Figure:
    """Draw the harmonic mean of every view alone and of all fused, machine by machine.

    ``metrics`` are those of :func:`asdlib.scoring.evaluate` with one system per view, ``final``
    among them; ``corpus`` is "simulated" or "recorded", for the title. 0.5 is a guess.
    """
    cells = metrics[metrics["metric"] == "hmean"]
    table = cells.pivot_table(index="system", columns="machine_type", values="value", sort=False)
    order = [name for name in table.index if name != "final"] + ["final"]
    table = table.reindex(order)
    n_views, n_machines = table.shape
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 1.2 + 0.3 * n_views))
    sns.heatmap(
        table, ax=ax, vmin=0.4, vmax=1.0, center=0.5, cmap="vlag", annot=n_machines <= 16,
        fmt=".2f", annot_kws={"size": 8}, linewidths=0.5,
        cbar_kws={"label": "Harmonic mean of AUC, AUC, pAUC"},
    )  # fmt: skip
    ax.axhline(n_views - 1, color="black", lw=1)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=30)
    ax.tick_params(axis="y", rotation=0)
    alone = table.drop(index="final")
    best = alone.idxmax(axis=0, skipna=True).dropna()
    ax.set_title(
        f"{best.nunique()} of {len(alone)} views are the best one for some machine ({corpus})"
    )
    return figure
