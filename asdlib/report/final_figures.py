"""Figures of the final system: what each view hears, and the rule against hindsight."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from asdlib.report.style import GROUP_COLOURS, WIDTH_NARROW_IN, WIDTH_WIDE_IN


def draw_views(metrics: pd.DataFrame, *, corpus: str) -> Figure:
    """Draw the harmonic mean of every view alone and of all fused, machine by machine.

    Parameters
    ----------
    metrics : DataFrame
        As from :func:`asdlib.scoring.evaluate`; one system per view, ``final`` among them.
    corpus : str
        "simulated" or "recorded", for the title.

    Returns
    -------
    Figure
        Heat map of views against machines; 0.5 is a guess.
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


def draw_rule_against_hindsight(
    choice: pd.DataFrame, *, chosen: dict[str, int], corpus: str
) -> Figure:
    """Draw what the rule says of every backend against what it would have reached.

    Parameters
    ----------
    choice : DataFrame
        ``backend, neighbours, hmean`` (the rule, from training clips alone) and
        ``official_score`` (test labels).
    chosen : dict of str to int
        Neighbours that the rule took for the backends of the final system.
    corpus : str
        "simulated" or "recorded", for the title.

    Returns
    -------
    Figure
    """
    figure, ax = plt.subplots(figsize=(WIDTH_NARROW_IN + 1.5, 3.0))
    for number, (backend, rows) in enumerate(choice.groupby("backend", sort=False)):
        colour = GROUP_COLOURS[number % len(GROUP_COLOURS)]
        ax.plot(rows["hmean"], rows["official_score"], color=colour, lw=0.6, alpha=0.6)
        ax.scatter(rows["hmean"], rows["official_score"], color=colour, s=14, label=backend)
        places = zip(rows["neighbours"], rows["hmean"], rows["official_score"], strict=True)
        for k, x, y in places:
            ax.annotate(str(k), (x, y), fontsize=7, xytext=(3, 2), textcoords="offset points")
        taken = rows[rows["neighbours"] == chosen.get(str(backend), -1)]
        ax.scatter(
            taken["hmean"], taken["official_score"], s=70, facecolor="none", edgecolor=colour
        )
    ax.set(
        xlabel="Rule: unheard states told from normal clips",
        ylabel="Hindsight: official score",
        title=f"{_agreement(choice)} ({corpus})",
    )
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title="backend; number: k")
    return figure


def _agreement(choice: pd.DataFrame) -> str:
    known = choice.dropna(subset=["hmean", "official_score"])
    if len(known) < 3:
        return "Too few backends to compare the rule with hindsight"
    correlation = known["hmean"].rank().corr(known["official_score"].rank())
    if np.isnan(correlation):
        return "The rule does not tell the backends apart"
    return f"Rule and hindsight: rank correlation {correlation:.2f}"
