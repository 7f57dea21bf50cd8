"""Figures and tables of notebook 02 over a machine's clips: evidence, maps, agreement, levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asdlib.annotation.choice import name_frequencies
from asdlib.report import style

Array = npt.NDArray[np.float64]
_LEGEND_ROWS = 12
#: A name is this share of the axis high.
_LABEL_SHARE = 0.06
_MEASURES = {"nmi": "NMI", "ari": "ARI", "v_measure": "V-measure", "purity": "purity"}


def draw_cluster_evidence(criterion: pd.DataFrame, *, machine_type: str) -> Figure:
    """Silhouette against number of clusters, beside that of unstructured data.

    ``criterion`` has the columns ``n_clusters, silhouette, reference, reference_std, stability,
    is_accepted``.
    """
    figure, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 2.4))
    accepted = criterion[criterion["is_accepted"].astype(bool)]
    k, reference = criterion["n_clusters"], criterion["reference"]
    spread = 3 * criterion["reference_std"]
    ax.fill_between(k, reference - spread, reference + spread, color="0.85")
    ax.plot(k, reference, ":", color="0.4", label="unstructured data, ± 3 deviations")
    ax.plot(k, criterion["silhouette"], "o-", markersize=3, label="clips")
    ax.plot(k, criterion["stability"], "s--", markersize=3, color=style.GROUP_COLOURS[1],
            label="stability (Rand)")  # fmt: skip
    if accepted.empty:
        finding = "no number of clusters is accepted"
    else:
        best = accepted.loc[accepted["silhouette"].idxmax()]
        ax.plot(best["n_clusters"], best["silhouette"], "o", color="k", markersize=6, mfc="none")
        finding = f"{int(best['n_clusters'])} clusters"
    ax.set(xlabel="Number of clusters", ylabel="Silhouette, stability", ylim=(-0.05, 1.05))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title(f"{machine_type}: {finding}")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=7)
    return figure


def draw_clip_map(
    coordinates: Array,
    labels: Mapping[str, Sequence[str]],
    *,
    machine_type: str,
    domains: Sequence[str],
) -> Figure:
    """Clips in two dimensions, one panel per labelling; target clips are triangles.

    ``coordinates`` (n_clips, 2) are principal components, without unit; ``labels`` give every panel
    by its title the label of every clip, ``domains`` are the clips'.
    """
    figure, axes = plt.subplots(1, len(labels), figsize=(style.WIDTH_WIDE_IN, 2.9), squeeze=False)
    is_target = np.array([domain == "target" for domain in domains], dtype=bool)
    for ax, (title, values) in zip(axes[0], labels.items(), strict=True):
        names = np.asarray(values, dtype=str)
        for i, name in enumerate(sorted(set(names))):
            colour = style.group_colour(i)
            shapes = {"o": (names == name) & ~is_target, "^": (names == name) & is_target}
            label: str | None = name
            for shape, chosen in shapes.items():
                if chosen.any():
                    ax.scatter(*coordinates[chosen].T, s=10, color=colour, marker=shape, alpha=0.8,
                               lw=0, label=label)  # fmt: skip
                    label = None  # once in the legend
        ax.set(xlabel="Component 1", ylabel="Component 2", title=title)
        if 1 < len(set(names)) <= _LEGEND_ROWS:
            ax.legend(
                fontsize=6, markerscale=1.2, handletextpad=0.1, loc="upper left",
                bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0,
            )  # fmt: skip
    triangles = " (triangle = target)" if is_target.any() else ""
    figure.suptitle(f"{machine_type}: {len(coordinates)} clips{triangles}")
    return figure


def draw_contingency(table: pd.DataFrame, *, machine_type: str, nmi: float) -> Figure:
    """Heat map of clip counts, artificial (rows) against true attribute (columns)."""
    height = min(8.0, max(2.2, 1.4 + 0.22 * len(table)))
    figure, ax = style.heat_map(
        table, height_in=height, label="Clips", cmap="Blues", annot=table.size <= 300, fmt="d",
        annot_kws={"size": 7}, linewidths=0.3,
    )  # fmt: skip
    ax.set(xlabel="True attribute", ylabel="Artificial attribute")
    plt.setp(ax.get_xticklabels(), ha="right")
    classes = "class" if len(table) == 1 else "classes"
    ax.set_title(f"{machine_type}: {len(table)} artificial {classes}, NMI {nmi:.2f}")
    return figure


def draw_class_spectra(
    averages: pd.DataFrame,
    band_centres_hz: Array,
    *,
    machine_type: str,
    highpass_hz: float | None = None,
) -> Figure:
    """Average spectrum of every class, as the difference to the mean of all classes.

    ``averages`` (n_classes, n_mels) are mean levels [dB], their index attribute and number of
    clips; ``band_centres_hz`` (n_mels,) [Hz]. Bands below ``highpass_hz`` are left out.
    """
    kept = band_centres_hz >= (highpass_hz or 0.0)
    band_centres_hz = band_centres_hz[kept]
    difference_db = averages.to_numpy(np.float64)[:, kept]
    difference_db = difference_db - difference_db.mean(axis=0)
    limit = max(1.0, float(np.quantile(np.abs(difference_db), 0.99)))
    height = min(8.0, 1.3 + 0.17 * len(averages))
    figure, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, height))
    rows = np.arange(len(averages))
    mesh = ax.pcolormesh(
        band_centres_hz, rows, difference_db, cmap="vlag", vmin=-limit, vmax=limit,
        shading="nearest", rasterized=True,
    )  # fmt: skip
    style.frequency_axis(ax, band_centres_hz[0], band_centres_hz[-1])
    ax.set_yticks(rows, [f"{name} ({n} clips)" for name, n in averages.index], fontsize=6)
    ax.invert_yaxis()
    ax.set_xlabel("Frequency [Hz]")
    figure.colorbar(mesh, ax=ax, label="Level above the mean\nof all classes [dB]")
    ax.set_title(f"{machine_type}: average spectra of {len(averages)} classes")
    return figure


def _apart(values: Array, names: Sequence[str], limits: tuple[float, float]) -> list[str]:
    """Blank the names that would lie over another one on a logarithmic axis."""
    places = np.log(values / limits[0]) / np.log(limits[1] / limits[0])
    shown, last = [], -np.inf
    for place, name in zip(places, names, strict=True):
        is_apart = place - last > _LABEL_SHARE
        shown.append(name if is_apart else "")
        last = place if is_apart else last
    return shown


def draw_frequency_track(
    frequency_hz: Array, levels_hz: Array, domains: Sequence[str], *, machine_type: str
) -> Axes:
    """Characteristic frequency of every clip, in clip order, with the levels found.

    ``frequency_hz`` (n_clips,) is NaN where no level stands out: these clips are ticks at the
    bottom; ``levels_hz`` (n_levels,); ``domains`` of every clip.
    """
    _, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 2.4))
    order = np.arange(len(frequency_hz))
    known = np.isfinite(frequency_hz)
    for level in levels_hz:
        ax.axhline(level, color="0.8", lw=0.8, zorder=0)
    names = np.array([d if d in style.DOMAIN_COLOURS else "unknown" for d in domains])
    for name in sorted(set(names)):
        chosen = known & (names == name)
        colour = style.DOMAIN_COLOURS[name]
        ax.plot(order[chosen], frequency_hz[chosen], ".", color=colour, label=name, ms=4)
    if known.any():
        ax.set_yscale("log")
        ax.set_yticks(levels_hz, _apart(levels_hz, name_frequencies(levels_hz), ax.get_ylim()))
        ax.set_yticks([], minor=True)
    if not known.all():
        ax.plot(order[~known], np.zeros((~known).sum()) + 0.02, "|", color="0.5", label="in none",
                transform=ax.get_xaxis_transform())  # fmt: skip
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    ax.set(xlabel="Clip", ylabel="Frequency [Hz]")
    share = known.mean() if len(known) else 0.0
    finding = f"{len(levels_hz)} levels hold {100 * share:.0f} % of the clips"
    ax.set_title(f"{machine_type}: {finding if known.any() else 'no line stands out'}")
    return ax


def tabulate_agreement(scores: pd.DataFrame, *, by: str = "metric") -> pd.DataFrame:
    """Lay out agreements as text, ``value [low, high]``, a row per machine and domain.

    ``scores`` are as from `asdlib.annotation.score_agreement`: of one labelling, whose measures
    are the columns after numbers of clips, labels and true attributes; or with ``by="labelling"``
    of one measure, and of several labellings by a column of that name. Three clips or fewer have a
    value alone, or a dash.
    """
    keys = ["machine_type", "domain"]
    if scores.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=keys))
    texts = []
    for value, low, high in scores[["value", "ci_low", "ci_high"]].to_numpy(dtype=float):
        text = "—" if math.isnan(value) else f"{value:.2f}"
        texts.append(text if math.isnan(low) else f"{text} [{low:.2f}, {high:.2f}]")
    table = scores.assign(text=texts).pivot_table(
        index=keys, columns=by, values="text", aggfunc="first"
    )
    if by != "metric":
        measure = _MEASURES[scores["metric"].iloc[0]]
        return table[list(dict.fromkeys(scores[by]))].rename_axis(columns=measure)
    counts = scores.groupby(keys)[["n_clips", "n_labels", "n_true"]].first()
    named = table[list(_MEASURES)].rename(columns=_MEASURES).rename_axis(columns=None)
    return counts.join(named)
