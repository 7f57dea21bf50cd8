"""Figures of notebook 04 that show where errors lie: ROC curves, score histograms, maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdlib.report.style import (
    CONDITION_LINES,
    CONDITION_MARKERS,
    DOMAIN_COLOURS,
    finish_panels,
    label_outside,
    logarithmic_ticks,
    make_panels,
)

Array = npt.NDArray[np.float64]
#: Domain and condition of clips that are drawn alike.
Style = tuple[str, str]

_TRAINING_COLOUR = "0.75"
#: A histogram shows this share of the scores at its place, the others in its outermost bins.
_SHOWN_SHARE = 0.98


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
        By default which machine's curve starts best.
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


def draw_score_histograms(
    scores: pd.DataFrame, *, thresholds: pd.DataFrame | None = None, title: str | None = None
) -> Figure:
    """Draw histograms of the anomaly scores of each machine, one above the other.

    One panel per machine: training clips (scored without themselves) at the bottom in grey, above
    them the test clips by domain and condition, each as high as its highest bin. The outermost
    bins hold what lies beyond; the axis is logarithmic where all scores are positive.

    Parameters
    ----------
    scores : DataFrame
        Scores table of one system and seed.
    thresholds : DataFrame, optional
        ``machine_type, threshold``: a vertical line each, where there is one.
    title : str, optional
        By default the share of test clips above the threshold.
    """
    machines = sorted(scores["machine_type"].unique())
    figure, panels = make_panels(len(machines))
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
        for row, style in enumerate(styles, start=1):
            clips = own[(own["split"] == "test") & _has_style(own, style)]
            if len(clips):
                look = {"color": DOMAIN_COLOURS[style[0]], "ls": CONDITION_LINES[style[1]]}
                _draw_ridge(ax, clips["anomaly_score"], edges, row=row, **look)
        if not math.isnan(limits.get(machine_type, math.nan)):
            ax.axvline(limits[machine_type], color="k", lw=0.8)
        ax.set(ylim=(0, len(styles) + 1.1))
        ax.margins(x=0)
        if logarithmic:
            logarithmic_ticks(ax, "x")
    label_outside(panels, "Anomaly score [1]", "Share of clips")
    handles = [
        Line2D([], [], color=DOMAIN_COLOURS[domain], ls=CONDITION_LINES[condition],
               label=f"{domain}, {condition}")
        for domain, condition in styles
    ]  # fmt: skip
    handles.append(Line2D([], [], color=_TRAINING_COLOUR, lw=5, label="training, left out"))
    if thresholds is not None:
        handles.append(Line2D([], [], color="k", lw=0.8, label="threshold"))
    finish_panels(figure, handles, title or _decision_finding(scores))
    return figure


def _draw_ridge(ax: Axes, values: pd.Series, edges: Array, *, row: int, **look: Any) -> None:
    shares = _shares(values, edges)
    heights = row + 0.9 * shares / shares.max()
    ax.stairs(heights, edges, baseline=row, fill=True, color=look["color"], alpha=0.25, lw=0)
    ax.stairs(heights, edges, baseline=row, lw=1.0, **look)


def _bin_edges(values: Array, *, logarithmic: bool) -> Array:
    outside = (1.0 - _SHOWN_SHARE) / 2.0
    shown = np.quantile(np.log10(values) if logarithmic else values, [outside, 1.0 - outside])
    count = int(np.clip(math.sqrt(len(values)) * 1.5, 5, 30))
    edges = np.histogram_bin_edges(shown, bins=count)
    return np.asarray(10.0**edges if logarithmic else edges)


def _shares(values: pd.Series, edges: Array) -> Array:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    return np.asarray(counts / len(values), dtype=np.float64)


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
    """
    figure, panels = make_panels(len(maps))
    for (machine_type, coordinates), ax in zip(maps.items(), panels, strict=True):
        own = clips[clips["machine_type"] == machine_type]
        is_train = own["split"].eq("train")
        for style in _styles(own):
            look = {"color": DOMAIN_COLOURS[style[0]], "marker": CONDITION_MARKERS[style[1]]}
            chosen = _has_style(own, style)
            train, test = coordinates[chosen & is_train], coordinates[chosen & ~is_train]
            ax.scatter(train[:, 0], train[:, 1], s=5, alpha=0.35, lw=0, **look)
            ax.scatter(test[:, 0], test[:, 1], s=16, lw=0.3, edgecolors="w", zorder=3, **look)
        ax.set(title=machine_type, xticks=[], yticks=[])
    label_outside(panels, "Map axis 1", "Map axis 2")
    shown = clips[clips["machine_type"].isin(list(maps)) & clips["split"].ne("train")]
    handles = [
        Line2D([], [], ls="", marker=CONDITION_MARKERS[condition], ms=5, mec="w",
               color=DOMAIN_COLOURS[domain], label=f"{domain}, {condition}")
        for domain, condition in _styles(shown)
    ]  # fmt: skip
    handles.append(Line2D([], [], ls="", marker="o", ms=3, color="0.6", label="training (pale)"))
    finish_panels(figure, handles, title)
    return figure


def _named(clips: pd.DataFrame) -> pd.DataFrame:
    """Domain and condition of clips in words."""
    condition = clips["is_anomaly"].astype("boolean").map({True: "anomalous", False: "normal"})
    domain = clips["domain"].astype("string").replace("", pd.NA)
    names = pd.DataFrame({"domain": domain.astype(object), "condition": condition.astype(object)})
    return names.fillna("unknown")


def _styles(clips: pd.DataFrame) -> list[Style]:
    found = set(_named(clips).itertuples(index=False, name=None))
    ordered = ((domain, condition) for domain in DOMAIN_COLOURS for condition in CONDITION_LINES)
    return [style for style in ordered if style in found]


def _has_style(clips: pd.DataFrame, style: Style) -> pd.Series:
    return _named(clips).eq(style).all(axis=1)
