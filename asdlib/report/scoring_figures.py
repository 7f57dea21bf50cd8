"""Figures of notebook 04: ROC curves, score histograms, embedding map, summary of results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdlib.report.panels import finish_panels, label_outside, make_panels
from asdlib.report.style import (
    CONDITION_LINES,
    CONDITION_MARKERS,
    DOMAIN_COLOURS,
    GROUP_COLOURS,
    WIDTH_WIDE_IN,
)
from asdlib.report.tables import METRIC_LABELS

_TRAINING_COLOUR = "0.85"


def draw_roc_curves(
    curves: pd.DataFrame, *, max_fpr: float = 0.1, title: str | None = None
) -> Figure:
    """Draw the ROC curves of each machine by the domain of its normal clips.

    Parameters
    ----------
    curves : DataFrame
        As from :func:`asdlib.scoring.roc_curves`, of one system; several seeds are drawn over
        each other.
    max_fpr : float
        Limit of the partial AUC, shaded.
    title : str, optional
        The finding; by default which machine's curve starts best.

    Returns
    -------
    Figure
        One panel per machine; false against true positive rate, 0 to 1.
    """
    machines = list(dict.fromkeys(curves["machine_type"]))
    figure, panels = make_panels(len(machines))
    colours = {**DOMAIN_COLOURS, "both": "0.3"}
    for machine_type, ax in zip(machines, panels, strict=True):
        ax.axvspan(0, max_fpr, color="0.92", lw=0)
        ax.plot([0, 1], [0, 1], color="0.7", lw=0.6, ls=":")
        of_machine = curves[curves["machine_type"] == machine_type]
        for (_, domain), points in of_machine.groupby(["seed", "normal_domain"], dropna=False):
            x, y = points["false_positive_rate"], points["true_positive_rate"]
            ax.plot(x, y, color=colours[domain], lw=0.8 if domain == "both" else 1.2)
        ax.set(title=machine_type, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    label_outside(panels, "False positive rate [1]", "True positive rate [1]")
    shown = [name for name in colours if name in set(curves["normal_domain"])]
    handles = [Line2D([], [], color=colours[name], label=f"normal: {name}") for name in shown]
    handles.append(Line2D([], [], color="0.9", lw=5, label=f"partial AUC: rate up to {max_fpr:g}"))
    finish_panels(figure, handles, title or _roc_finding(curves, max_fpr))
    return figure


def draw_score_histograms(
    scores: pd.DataFrame, *, thresholds: pd.DataFrame | None = None, title: str | None = None
) -> Figure:
    """Draw histograms of the anomaly scores of each machine by domain and condition.

    Parameters
    ----------
    scores : DataFrame
        Scores table of one system and seed. Training clips (scored without themselves) are the
        grey area, test clips the lines.
    thresholds : DataFrame, optional
        ``machine_type, threshold``: a vertical line each, where there is one.
    title : str, optional
        The finding; by default the share of training and test clips above the threshold.

    Returns
    -------
    Figure
        One panel per machine; every curve sums to 1 over the bins. The score axis is
        logarithmic where all scores are positive.
    """
    machines = sorted(scores["machine_type"].unique())
    figure, panels = make_panels(len(machines))
    limits: dict[Any, float] = {}
    if thresholds is not None:
        limits = dict(zip(thresholds["machine_type"], thresholds["threshold"], strict=True))
    styles: set[tuple[str, str]] = set()
    # Distances span decades; scores of other kinds may be zero or negative.
    logarithmic = bool((scores["anomaly_score"].dropna() > 0).all())
    for machine_type, ax in zip(machines, panels, strict=True):
        of_machine = scores[
            (scores["machine_type"] == machine_type) & scores["anomaly_score"].notna()
        ]
        limit = limits.get(machine_type, math.nan)
        ax.set(title=machine_type, yticks=[])
        if of_machine.empty:
            ax.text(0.5, 0.5, "no score", ha="center", transform=ax.transAxes, color="0.5")
            continue
        edges = _bin_edges(of_machine["anomaly_score"].to_numpy(), logarithmic=logarithmic)
        ax.set_xscale("log" if logarithmic else "linear")
        train = of_machine.loc[of_machine["split"] == "train", "anomaly_score"]
        if len(train):
            ax.stairs(_shares(train, edges), edges, fill=True, color=_TRAINING_COLOUR)
        test = of_machine[of_machine["split"] == "test"]
        for (domain, condition), clips in test.groupby([_domain(test), _condition(test)]):
            styles.add((str(domain), str(condition)))
            ax.stairs(
                _shares(clips["anomaly_score"], edges),
                edges,
                color=DOMAIN_COLOURS[domain],
                ls=CONDITION_LINES[condition],
                lw=1.1,
            )
        if not math.isnan(limit):
            ax.axvline(limit, color="k", lw=0.8)
        ax.margins(x=0)
    label_outside(panels, "Anomaly score [1]", "Share of clips")
    handles = [
        Line2D(
            [],
            [],
            color=DOMAIN_COLOURS[domain],
            ls=CONDITION_LINES[condition],
            label=f"{domain}, {condition}",
        )
        for domain, condition in sorted(styles, key=_style_order)
    ]
    handles.append(Line2D([], [], color=_TRAINING_COLOUR, lw=5, label="training, left out"))
    if thresholds is not None:
        handles.append(Line2D([], [], color="k", lw=0.8, label="threshold"))
    finish_panels(figure, handles, title or _decision_finding(scores))
    return figure


def draw_embedding_maps(
    maps: Mapping[str, npt.NDArray[np.floating]], clips: pd.DataFrame, *, title: str
) -> Figure:
    """Draw a two-dimensional map of each machine's clips: domain = colour, condition = marker.

    Parameters
    ----------
    maps : mapping
        Machine type to coordinates, shape (n_clips of the machine, 2), as from
        :func:`asdlib.scoring.embedding_map`.
    clips : DataFrame
        ``machine_type, split, domain, is_anomaly``; each machine's rows in the order of its
        coordinates. Training clips are small and pale.
    title : str
        The finding.

    Returns
    -------
    Figure
        One panel per machine.
    """
    figure, panels = make_panels(len(maps))
    styles: set[tuple[str, str]] = set()
    for (machine_type, coordinates), ax in zip(maps.items(), panels, strict=True):
        of_machine = clips[clips["machine_type"] == machine_type]
        styles |= _scatter_clips(ax, coordinates, of_machine)
        ax.set(title=machine_type, xticks=[], yticks=[])
    label_outside(panels, "Map axis 1", "Map axis 2")
    handles = [
        Line2D([], [], ls="", marker=CONDITION_MARKERS[condition], ms=5, mec="w",
               color=DOMAIN_COLOURS[domain], label=f"{domain}, {condition}")
        for domain, condition in sorted(styles, key=_style_order)
    ]  # fmt: skip
    handles.append(Line2D([], [], ls="", marker="o", ms=3, color="0.6", label="training (pale)"))
    finish_panels(figure, handles, title)
    return figure


def _scatter_clips(
    ax: Axes, coordinates: npt.NDArray[np.floating], clips: pd.DataFrame
) -> set[tuple[str, str]]:
    """Draw clips as points; returns the (domain, condition) pairs of the test clips drawn."""
    is_train = clips["split"].eq("train").to_numpy()
    domain, condition = _domain(clips).to_numpy(), _condition(clips).to_numpy()
    for style in sorted(set(zip(domain, condition, strict=True)), key=_style_order):
        chosen = (domain == style[0]) & (condition == style[1])
        look = {"color": DOMAIN_COLOURS[style[0]], "marker": CONDITION_MARKERS[style[1]]}
        train, test = coordinates[chosen & is_train], coordinates[chosen & ~is_train]
        ax.scatter(train[:, 0], train[:, 1], s=5, alpha=0.35, lw=0, **look)
        ax.scatter(test[:, 0], test[:, 1], s=16, lw=0.3, edgecolors="w", zorder=3, **look)
    return set(zip(domain[~is_train], condition[~is_train], strict=True))


def draw_result_summary(table: pd.DataFrame, *, title: str | None = None) -> Figure:
    """Draw source AUC, target AUC and pAUC of all machines and systems with their intervals.

    Parameters
    ----------
    table : DataFrame
        As from :func:`asdlib.report.tables.result_table`.
    title : str, optional
        The finding; by default the official score of every system of the run.

    Returns
    -------
    Figure
        Three panels, machines from top to bottom, the means over all machines last. Bars are
        bootstrap intervals over clips; chance is the dotted line. A cell that cannot be
        computed has no point.
    """
    metrics = ("auc_source", "auc_target", "pauc")
    machines = list(dict.fromkeys(table["machine_type"]))
    systems = list(dict.fromkeys(table["system"]))
    height = 1.1 + len(machines) * max(0.22, 0.09 * len(systems))
    figure, axes = plt.subplots(1, 3, figsize=(WIDTH_WIDE_IN, height), sharey=True)
    row_of = {machine_type: row for row, machine_type in enumerate(machines)}
    for metric, ax in zip(metrics, axes, strict=True):
        ax.axvline(0.5, color="0.6", lw=0.8, ls=":")
        if len(machines) > 1:
            ax.axhline(len(machines) - 1.5, color="0.8", lw=0.6)
        for position, system in enumerate(systems):
            rows = table[(table["system"] == system) & (table["metric"] == metric)]
            rows = rows[rows["value"].notna()]
            offset = 0.6 * ((position + 0.5) / len(systems) - 0.5)
            y = rows["machine_type"].map(row_of).to_numpy(dtype=float) + offset
            colour = GROUP_COLOURS[position % len(GROUP_COLOURS)]
            ax.hlines(y, rows["ci_low"], rows["ci_high"], color=colour, lw=1.2, alpha=0.6)
            ax.plot(rows["value"], y, "o", ms=3.5, color=colour)
        ax.set(xlabel=f"{METRIC_LABELS[metric]} [1]", xlim=(_lowest(table), 1.02))
    axes[0].set_yticks(range(len(machines)), machines)
    axes[0].set_ylim(len(machines) - 0.4, -0.6)
    handles = [
        Line2D(
            [], [], color=GROUP_COLOURS[i % len(GROUP_COLOURS)], marker="o", ms=3.5, label=system
        )
        for i, system in enumerate(systems)
    ]
    finish_panels(figure, handles, title or _score_finding(table))
    return figure


def _domain(table: pd.DataFrame) -> pd.Series:
    return table["domain"].astype("string").replace("", pd.NA).fillna("unknown").astype(object)


def _condition(table: pd.DataFrame) -> pd.Series:
    names = table["is_anomaly"].astype("boolean").map({True: "anomalous", False: "normal"})
    return names.astype(object).fillna("unknown")


def _style_order(style: tuple[str, str]) -> tuple[int, int]:
    domain, condition = style
    return list(DOMAIN_COLOURS).index(domain), list(CONDITION_LINES).index(condition)


def _bin_edges(values: npt.NDArray[np.float64], *, logarithmic: bool) -> npt.NDArray[np.float64]:
    count = int(np.clip(math.sqrt(len(values)) * 1.5, 5, 30))
    if logarithmic:
        return np.asarray(10.0 ** np.histogram_bin_edges(np.log10(values), bins=count))
    return np.histogram_bin_edges(values, bins=count)


def _shares(values: pd.Series, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    return np.asarray(counts / len(values), dtype=np.float64)


def _lowest(table: pd.DataFrame) -> float:
    lowest = table[["value", "ci_low"]].min().min()
    return min(0.3, float(lowest) - 0.02) if pd.notna(lowest) else 0.3


def _roc_finding(curves: pd.DataFrame, max_fpr: float) -> str:
    both = curves[curves["normal_domain"] == "both"]
    early = both[both["false_positive_rate"] <= max_fpr]
    if early.empty:
        return "No machine has normal and anomalous test clips: no curve"
    best = early.loc[early["true_positive_rate"].idxmax()]
    return (
        f"At a false positive rate up to {max_fpr:g}, {best['machine_type']} shows most: "
        f"{best['true_positive_rate']:.0%} of its anomalies"
    )


def _decision_finding(scores: pd.DataFrame) -> str:
    known = scores[scores["split"].eq("test") & scores["is_decided_anomalous"].notna()]
    anomalous = known["is_anomaly"].astype("boolean")
    decided = known["is_decided_anomalous"].astype("boolean")
    parts = [
        f"{decided[chosen.fillna(False)].mean():.0%} of {int(chosen.sum())} {name} test clips"
        for name, chosen in (("anomalous", anomalous), ("normal", ~anomalous))
        if chosen.sum()
    ]
    return "Above the threshold: " + " and ".join(parts) if parts else "Anomaly scores"


def _score_finding(table: pd.DataFrame) -> str:
    rows = table[(table["metric"] == "official_score") & table["value"].notna()]
    parts = [
        f"{system} {value:.3f}" for system, value in zip(rows["system"], rows["value"], strict=True)
    ]
    return "Official score: " + ", ".join(parts) if parts else "No official score"
