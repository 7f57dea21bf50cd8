"""Figures of notebook 04: results, verdicts, what each view hears, ROC curves, maps."""

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

from asdlib.report import style
from asdlib.report.tables import METRIC_LABELS
from asdlib.scoring.decisions import verdict_count

Array = npt.NDArray[np.float64]
_TRAINING_COLOUR = "0.75"
#: Limit of the partial AUC.
_MAX_FPR = 0.1
_VERDICT_LOOKS: dict[str, dict[str, Any]] = {
    "normal": {"marker": "o", "color": "0.6", "mfc": "none"},
    "unknown": {"marker": "s", "color": "0.6"},
    "anomalous": {"marker": "X", "color": "C3"},
}
#: A histogram shows this share of the scores at its place, the others in its outermost bins.
_SHOWN_SHARE = 0.98


def draw_result_summary(table: pd.DataFrame) -> Figure:
    """Draw source AUC, target AUC and pAUC of all machines and systems with their intervals.

    ``table`` is as from :func:`asdlib.report.tables.result_table`. Machines from top to bottom, the
    means over all machines last; chance is the dotted line. A cell that cannot be computed has no
    point.
    """
    metrics = ("auc_source", "auc_target", "pauc")
    machines = list(dict.fromkeys(table["machine_type"]))
    systems = list(dict.fromkeys(table["system"]))
    height = 1.1 + len(machines) * max(0.22, 0.09 * len(systems))
    figure, axes = plt.subplots(1, 3, figsize=(style.WIDTH_WIDE_IN, height), sharey=True)
    row_of = {machine_type: row for row, machine_type in enumerate(machines)}
    colours = {name: style.group_colour(i) for i, name in enumerate(systems)}
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
    official = table[(table["metric"] == "official_score") & table["value"].notna()]
    parts = [f"{row['system']} {row['value']:.3f}" for row in official.to_dict(orient="records")]
    title = f"Official score: {', '.join(parts)}" if parts else "No official score"
    style.finish_panels(figure, handles, title)
    return figure


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
    figure, ax = style.heat_map(
        table, height_in=1.2 + 0.3 * n_views, label="Harmonic mean of AUC, AUC, pAUC", vmin=0.4,
        vmax=1.0, center=0.5, cmap="vlag", annot=n_machines <= 16, fmt=".2f",
        annot_kws={"size": 8}, linewidths=0.5,
    )  # fmt: skip
    ax.axhline(n_views - 1, color="black", lw=1)
    alone = table.drop(index="final")
    best = alone.idxmax(axis=0, skipna=True).dropna()
    ax.set_title(
        f"{best.nunique()} of {len(alone)} views are the best one for some machine ({corpus})"
    )
    return figure


def draw_roc_curves(curves: pd.DataFrame) -> Figure:
    """Draw the ROC curves of each machine by the domain of its normal clips.

    ``curves`` are as from :func:`asdlib.scoring.roc_curves`, of one system; several seeds are drawn
    over each other. The part that the partial AUC covers is shaded.
    """
    machines = list(dict.fromkeys(curves["machine_type"]))
    figure, panels = style.make_panels(len(machines))
    colours = {**style.DOMAIN_COLOURS, "both": "0.3"}
    for machine_type, ax in zip(machines, panels, strict=True):
        ax.axvspan(0, _MAX_FPR, color="0.92", lw=0)
        ax.plot([0, 1], [0, 1], color="0.7", lw=0.6, ls=":")
        of_machine = curves[curves["machine_type"] == machine_type]
        for (_, domain), points in of_machine.groupby(["seed", "normal_domain"], dropna=False):
            x, y = points["false_positive_rate"], points["true_positive_rate"]
            ax.plot(x, y, color=colours[domain], lw=0.8 if domain == "both" else 1.2)
        ax.set(title=machine_type, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        ax.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    style.label_outside(panels, "False positive rate [1]", "True positive rate [1]")
    shown = [name for name in colours if name in set(curves["normal_domain"])]
    handles = [Line2D([], [], color=colours[name], label=f"normal: {name}") for name in shown]
    handles.append(Line2D([], [], color="0.9", lw=5, label=f"partial AUC: rate up to {_MAX_FPR:g}"))
    is_early = curves["normal_domain"].eq("both") & curves["false_positive_rate"].le(_MAX_FPR)
    title = "No machine has normal and anomalous test clips: no curve"
    if is_early.any():
        best = curves.loc[curves.loc[is_early, "true_positive_rate"].idxmax()]
        title = (f"At a false positive rate up to {_MAX_FPR:g}, {best['machine_type']} shows most: "
                 f"{100 * best['true_positive_rate']:.0f} % of its anomalies")  # fmt: skip
    style.finish_panels(figure, handles, title)
    return figure


def draw_score_histograms(
    scores: pd.DataFrame, *, thresholds: pd.DataFrame | None = None
) -> Figure:
    """Draw histograms of the anomaly scores of each machine, one above the other.

    ``scores`` are of one system and seed. One panel per machine: training clips (scored without
    themselves) at the bottom in grey, above them the test clips by domain and condition, each as
    high as its highest bin. The outermost bins hold what lies beyond; the axis is logarithmic where
    all scores are positive. ``thresholds`` (``machine_type, threshold``) are vertical lines.
    """
    machines = sorted(scores["machine_type"].unique())
    figure, panels = style.make_panels(len(machines))
    limits: dict[Any, float] = {}
    if thresholds is not None:
        limits = dict(zip(thresholds["machine_type"], thresholds["threshold"], strict=True))
    known = scores[scores["anomaly_score"].notna()]
    test = known[known["split"] == "test"]
    styles = _styles(test)
    # Distances span decades; scores of other kinds may be zero or negative.
    logarithmic = bool((known["anomaly_score"] > 0).all())
    for machine_type, ax in zip(machines, panels, strict=True):
        own = known[known["machine_type"] == machine_type]
        ax.set(title=machine_type, yticks=[])
        if own.empty:
            ax.text(0.5, 0.5, "no score", ha="center", transform=ax.transAxes, color="0.5")
            continue
        edges = _bin_edges(own["anomaly_score"].to_numpy(), logarithmic=logarithmic)
        train = own.loc[own["split"] == "train", "anomaly_score"]
        if len(train):
            _draw_ridge(ax, train, edges, row=0, color=_TRAINING_COLOUR)
        for row, words in enumerate(styles, start=1):
            clips = own[own["split"].eq("test") & _named(own).eq(words)]
            if len(clips):
                _draw_ridge(ax, clips["anomaly_score"], edges, row=row, **_line(words))
        if not math.isnan(limits.get(machine_type, math.nan)):
            ax.axvline(limits[machine_type], color="k", lw=0.8)
        ax.set(ylim=(0, len(styles) + 1.1))
        if logarithmic:
            style.logarithmic_ticks(ax, "x")
    style.label_outside(panels, "Anomaly score [1]", "Share of clips")
    handles = [Line2D([], [], label=words, **_line(words)) for words in styles]
    handles.append(Line2D([], [], color=_TRAINING_COLOUR, lw=5, label="training, left out in turn"))
    if thresholds is not None:
        handles.append(Line2D([], [], color="k", lw=0.8, label="threshold"))
    style.finish_panels(figure, handles, _decision_finding(scores))
    return figure


def _draw_ridge(ax: Axes, values: pd.Series, edges: Array, *, row: int, **look: Any) -> None:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    heights = row + 0.9 * counts / counts.max()
    ax.stairs(heights, edges, baseline=row, fill=True, color=look["color"], alpha=0.25, lw=0)
    ax.stairs(heights, edges, baseline=row, lw=1.0, **look)


def _bin_edges(values: Array, *, logarithmic: bool) -> Array:
    outside = (1.0 - _SHOWN_SHARE) / 2.0
    shown = np.quantile(np.log10(values) if logarithmic else values, [outside, 1.0 - outside])
    count = int(np.clip(math.sqrt(len(values)) * 1.5, 5, 30))
    edges = np.histogram_bin_edges(shown, bins=count)
    return np.asarray(10.0**edges if logarithmic else edges)


def _decision_finding(scores: pd.DataFrame) -> str:
    known = scores[scores["split"].eq("test") & scores["is_decided_anomalous"].notna()]
    anomalous = known["is_anomaly"].astype("boolean")
    decided = known["is_decided_anomalous"].astype("boolean")
    parts = [
        f"{100 * decided[chosen.fillna(False)].mean():.0f} % of "
        f"{int(chosen.sum())} {name} test clips"
        for name, chosen in (("anomalous", anomalous), ("normal", ~anomalous))
        if chosen.sum()
    ]
    return "Above the threshold: " + " and ".join(parts) if parts else "Anomaly scores"


def draw_embedding_maps(
    maps: Mapping[str, npt.NDArray[np.floating]], clips: pd.DataFrame, *, title: str
) -> Figure:
    """Draw a two-dimensional map of each machine's clips: domain = colour, condition = marker.

    ``maps`` gives each machine the coordinates of `asdlib.scoring.embedding_map`, in the order of
    its rows in ``clips``. Training clips are small and pale.
    """
    figure, panels = style.make_panels(len(maps))
    for (machine_type, coordinates), ax in zip(maps.items(), panels, strict=True):
        own = clips[clips["machine_type"] == machine_type]
        is_train = own["split"].eq("train")
        for words in _styles(own):
            chosen = _named(own).eq(words)
            train, test = coordinates[chosen & is_train], coordinates[chosen & ~is_train]
            look = _marker(words)
            ax.scatter(train[:, 0], train[:, 1], s=5, alpha=0.35, lw=0, **look)
            ax.scatter(test[:, 0], test[:, 1], s=16, lw=0.3, edgecolors="w", zorder=3, **look)
        ax.set(title=machine_type, xticks=[], yticks=[])
    style.label_outside(panels, "Map axis 1", "Map axis 2")
    shown = clips[clips["machine_type"].isin(list(maps)) & clips["split"].ne("train")]
    handles = [Line2D([], [], ls="", ms=5, mec="w", label=words, **_marker(words))
               for words in _styles(shown)]  # fmt: skip
    handles.append(Line2D([], [], ls="", marker="o", ms=3, color="0.6", label="training (pale)"))
    style.finish_panels(figure, handles, title)
    return figure


def _named(clips: pd.DataFrame) -> pd.Series:
    """Domain and condition of clips in words: clips of the same words are drawn alike."""
    condition = clips["is_anomaly"].astype("boolean").map({True: "anomalous", False: "normal"})
    domain = clips["domain"].astype("string").replace("", pd.NA)
    known = [part.astype("string").fillna("unknown") for part in (domain, condition)]
    return known[0] + ", " + known[1]


def _styles(clips: pd.DataFrame) -> list[str]:
    found = set(_named(clips))
    every = (
        f"{domain}, {name}" for domain in style.DOMAIN_COLOURS for name in style.CONDITION_LINES
    )
    return [words for words in every if words in found]


def _line(words: str) -> dict[str, Any]:
    domain, condition = words.split(", ")
    return {"color": style.DOMAIN_COLOURS[domain], "ls": style.CONDITION_LINES[condition]}


def _marker(words: str) -> dict[str, Any]:
    domain, condition = words.split(", ")
    return {"color": style.DOMAIN_COLOURS[domain], "marker": style.CONDITION_MARKERS[condition]}


def draw_verdicts(verdicts: pd.DataFrame) -> Figure:
    """Draw every clip's distance to its machine's threshold, one line per machine.

    ``verdicts`` are those of `asdlib.scoring.verdict_table`; crosses are flagged clips, of which
    the highest of each machine is named.
    """
    machines = sorted(verdicts["machine_type"].unique())
    figure, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 1.1 + 0.32 * len(machines)))
    for row, machine in enumerate(machines):
        own = verdicts[verdicts["machine_type"] == machine]
        distance = own["anomaly_score"] - own["threshold"].fillna(0.0)
        for verdict, look in _VERDICT_LOOKS.items():
            chosen = distance[own["verdict"] == verdict]
            ax.plot(chosen, np.full(len(chosen), row), ls="", ms=5, **look)
        if own["verdict"].iloc[0] == "anomalous":
            name = str(own["recording"].iloc[0]).rsplit("/", 1)[-1]
            ax.annotate(name, (distance.iloc[0], row), (6, 0), textcoords="offset points",
                        va="center", fontsize=7)  # fmt: skip
    ax.margins(x=0.3)
    ax.axvline(0, color="k", lw=0.8)
    ax.set(xlabel="Anomaly score above the threshold [1]", ylim=(len(machines) - 0.5, -0.7))
    ax.set_yticks(range(len(machines)), machines)
    handles = [
        Line2D([], [], ls="", ms=5, label=verdict, **look)
        for verdict, look in _VERDICT_LOOKS.items()
        if verdicts["verdict"].eq(verdict).any()
    ]
    style.finish_panels(figure, handles, verdict_count(verdicts, n_shown=len(verdicts)))
    return figure
