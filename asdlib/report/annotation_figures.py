"""Figures of notebook 02: evidence for clusters, maps, agreement, envelope spectra, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from asdlib.report.style import (
    DOMAIN_COLOURS,
    GROUP_COLOURS,
    SPECTROGRAM_COLOURMAP,
    WIDTH_NARROW_IN,
    WIDTH_WIDE_IN,
)
from asdlib.spectra.characteristic import FrequencyFamily
from asdlib.spectra.kurtogram import BandLevel

Array = npt.NDArray[np.float64]
_LEGEND_ROWS = 12


def draw_cluster_evidence(criterion: pd.DataFrame, *, machine_type: str) -> Figure:
    """Silhouette against number of clusters, beside that of unstructured data.

    Parameters
    ----------
    criterion : DataFrame
        ``n_clusters, silhouette, reference, reference_std, stability, is_accepted``.
    machine_type : str
    """
    figure, ax = plt.subplots(figsize=(WIDTH_NARROW_IN, 2.4))
    accepted = criterion[criterion["is_accepted"].astype(bool)]
    k, reference = criterion["n_clusters"], criterion["reference"]
    spread = 3 * criterion["reference_std"]
    ax.fill_between(k, reference - spread, reference + spread, color="0.85")
    ax.plot(k, reference, ":", color="0.4", label="unstructured data, ± 3 deviations")
    ax.plot(k, criterion["silhouette"], "o-", markersize=3, label="clips")
    ax.plot(k, criterion["stability"], "--", color=GROUP_COLOURS[1], label="stability (Rand)")
    if accepted.empty:
        finding = "no number of clusters is accepted"
    else:
        best = accepted.loc[accepted["silhouette"].idxmax()]
        ax.plot(best["n_clusters"], best["silhouette"], "o", color="k", markersize=6, mfc="none")
        finding = f"{int(best['n_clusters'])} clusters"
    ax.set(xlabel="Number of clusters", ylabel="Silhouette, stability", ylim=(-0.05, 1.05))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title(f"{machine_type}: {finding}")
    ax.legend(loc="best", fontsize=7)
    return figure


def draw_clip_map(
    coordinates: Array,
    labels: Mapping[str, Sequence[str]],
    *,
    machine_type: str,
    domains: Sequence[str] | None = None,
) -> Figure:
    """Clips in two dimensions, one panel per labelling.

    Parameters
    ----------
    coordinates : ndarray of float64, shape (n_clips, 2)
        Principal components or t-SNE.
    labels : mapping of str to sequence of str
        Panel title to label of every clip, such as artificial and true attribute.
    machine_type : str
    domains : sequence of str, optional
        Target clips are drawn as triangles.
    """
    count = len(labels)
    figure, axes = plt.subplots(1, count, figsize=(WIDTH_WIDE_IN, 2.9), squeeze=False)
    is_target = np.array([d == "target" for d in (domains or [""] * len(coordinates))], dtype=bool)
    for ax, (title, values) in zip(axes[0], labels.items(), strict=True):
        names = np.asarray(values, dtype=str)
        for i, name in enumerate(sorted(set(names))):
            colour = GROUP_COLOURS[i % len(GROUP_COLOURS)]
            shapes = {"o": (names == name) & ~is_target, "^": (names == name) & is_target}
            drawn = {shape: chosen for shape, chosen in shapes.items() if chosen.any()}
            for number, (shape, chosen) in enumerate(drawn.items()):
                ax.scatter(
                    *coordinates[chosen].T, s=10, color=colour, marker=shape, alpha=0.8, lw=0,
                    label=name if number == 0 else None,
                )  # fmt: skip
        ax.set(xlabel="Component 1", ylabel="Component 2", title=title)
        n_names = len(set(names))
        if 1 < n_names <= _LEGEND_ROWS:
            ax.legend(
                fontsize=6, markerscale=1.2, handletextpad=0.1, loc="upper left",
                bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0,
            )  # fmt: skip
    triangles = " (triangle = target)" if is_target.any() else ""
    figure.suptitle(f"{machine_type}: {len(coordinates)} clips{triangles}")
    return figure


def draw_contingency(table: pd.DataFrame, *, machine_type: str, nmi: float) -> Figure:
    """Heat map of clip counts, artificial (rows) against true attribute (columns)."""
    height = min(8.0, 1.4 + 0.22 * len(table))
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, height))
    annotate = table.size <= 300
    sns.heatmap(
        table, ax=ax, cmap="Blues", annot=annotate, fmt="d", annot_kws={"size": 7},
        cbar_kws={"label": "Clips"}, linewidths=0.3,
    )  # fmt: skip
    ax.set(xlabel="True attribute", ylabel="Artificial attribute")
    ax.tick_params(axis="x", labelrotation=30)
    plt.setp(ax.get_xticklabels(), ha="right")
    ax.set_title(f"{machine_type}: {len(table)} artificial classes, NMI {nmi:.2f}")
    return figure


def draw_envelope_spectrum(
    frequencies_hz: Array,
    spectrum: Array,
    families: Sequence[FrequencyFamily],
    *,
    title: str,
    max_hz: float | None = None,
) -> Figure:
    """Squared envelope spectrum with the harmonics and sidebands of each family marked."""
    if max_hz is None:
        tops = [f.frequency_hz * min(max(f.harmonics), 5) for f in families[:3]]
        max_hz = 1.15 * max(tops, default=float(frequencies_hz[-1]))
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 2.4))
    shown = frequencies_hz <= max_hz
    ax.plot(frequencies_hz[shown], spectrum[shown], color="0.35", lw=0.7)
    top = float(spectrum[shown].max(initial=0.0)) or 1.0
    for i, family in enumerate(families[:4]):
        colour = GROUP_COLOURS[i]
        orders = [k for k in family.harmonics if k * family.frequency_hz <= max_hz]
        places = [k * family.frequency_hz for k in orders]
        label = f"{family.frequency_hz:.2f} Hz"
        if family.sideband_hz is not None:
            label += f", sidebands ± {family.sideband_hz:.2f} Hz"
            sides = [p + s * family.sideband_hz for p in places for s in (-1, 1)]
            ax.plot(sides, np.full(len(sides), 1.04 * top), "|", color=colour, ms=4)
        heights = np.full(len(places), (1.08 + 0.05 * i) * top)
        ax.plot(places, heights, "v", color=colour, ms=4, label=label)
    ax.set(xlabel="Frequency [Hz]", ylabel="Squared envelope [unit²]", xlim=(0, max_hz))
    if families:
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    found = {0: "no line stands out", 1: "one family"}
    ax.set_title(f"{title}: {found.get(len(families), f'{len(families)} families')}")
    return figure


def draw_kurtogram(levels: Sequence[BandLevel], *, title: str) -> Figure:
    """Kurtosis of the envelope over centre frequency and bandwidth; the best band is framed."""
    figure, ax = plt.subplots(figsize=(WIDTH_NARROW_IN, 2.6))
    top = max(float(level.kurtosis.max()) for level in levels)
    for row, level in enumerate(levels):
        edges = np.append(level.centres_hz - level.width_hz / 2, level.centres_hz[-1:])
        edges[-1] += level.width_hz / 2
        mesh = ax.pcolormesh(
            edges / 1000, [row, row + 1], level.kurtosis[None], cmap=SPECTROGRAM_COLOURMAP,
            vmin=0, vmax=max(top, 0.1),
        )  # fmt: skip
    best = int(np.argmax([level.kurtosis.max() for level in levels]))
    chosen = levels[best]
    centre = float(chosen.centres_hz[chosen.kurtosis.argmax()])
    left = (centre - chosen.width_hz / 2) / 1000
    ax.add_patch(Rectangle((left, best), chosen.width_hz / 1000, 1, fill=False, ec="C0", lw=1.5))
    ax.set_yticks(np.arange(len(levels)) + 0.5, [f"{level.width_hz:.0f}" for level in levels])
    ax.invert_yaxis()
    ax.set(xlabel="Frequency [kHz]", ylabel="Bandwidth [Hz]")
    figure.colorbar(mesh, ax=ax, label="Kurtosis of the envelope")
    ax.set_title(f"{title}: {top:.2g} at {centre / 1000:.2f} kHz")
    return figure


def draw_frequency_track(
    frequency_hz: Array,
    levels_hz: Array,
    domains: Sequence[str],
    *,
    machine_type: str,
    ax: Axes | None = None,
) -> Axes:
    """Characteristic frequency of every clip, in clip order, with the levels found.

    Parameters
    ----------
    frequency_hz : ndarray of float64, shape (n_clips,)
        NaN where no level stands out; these clips are ticks at the bottom.
    levels_hz : ndarray of float64, shape (n_levels,)
    domains : sequence of str
        Domain of every clip.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 2.4))
    order = np.arange(len(frequency_hz))
    known = np.isfinite(frequency_hz)
    for level in levels_hz:
        ax.axhline(level, color="0.8", lw=0.8, zorder=0)
    names = np.array([d if d in DOMAIN_COLOURS else "unknown" for d in domains])
    for name in sorted(set(names)):
        chosen = known & (names == name)
        colour = DOMAIN_COLOURS[name]
        ax.plot(order[chosen], frequency_hz[chosen], ".", color=colour, label=name, ms=4)
    if known.any():
        ax.set_yscale("log")
        ax.set_yticks(levels_hz, [f"{level:.3g}" for level in levels_hz])
        ax.set_yticks([], minor=True)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=7)
    ax.plot(order[~known], np.zeros((~known).sum()) + 0.02, "|", color="0.5",
            transform=ax.get_xaxis_transform())  # fmt: skip
    ax.set(xlabel="Clip", ylabel="Frequency [Hz]")
    share = known.mean() if len(known) else 0.0
    finding = f"{len(levels_hz)} levels hold {share:.0%} of the clips"
    ax.set_title(f"{machine_type}: {finding if known.any() else 'no line stands out'}")
    return ax
