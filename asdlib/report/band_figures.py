"""Figures of notebook 01: where machines live over frequency, and the choice of the high-pass."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asdlib.report.panels import (
    TICKS_HZ,
    finish_panels,
    frequency_axis,
    label_outside,
    make_panels,
    set_wrapped_title,
    short_frequency,
)
from asdlib.report.style import GROUP_COLOURS, SPECTROGRAM_COLOURMAP, WIDTH_WIDE_IN


def draw_band_information(
    bands: pd.DataFrame,
    *,
    highpass_hz: Mapping[str, float | None] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw where over frequency energy, SNR and attribute differences lie, machine by machine.

    Parameters
    ----------
    bands : DataFrame
        As from :func:`asdlib.spectra.band_information`.
    highpass_hz : mapping of str to float or None, optional
        Cut-offs to mark [Hz].
    title : str, optional
        The finding; by default which machines have most of their energy above 1 kHz.

    Returns
    -------
    Figure
        Three heat maps, machine by third-octave band; grey where nothing is known.
    """
    machines = list(dict.fromkeys(bands["machine_type"]))
    lows = np.sort(bands["low_hz"].unique())
    columns = [
        ("energy_share", "Share of energy [%]", 100.0, {"cmap": SPECTROGRAM_COLOURMAP, "vmin": 0}),
        ("snr_db", "SNR [dB]", 1.0, {"cmap": "RdBu_r", "vmin": -15, "vmax": 15}),
        ("attribute_share", "Variance by attribute [%]", 100.0,
         {"cmap": SPECTROGRAM_COLOURMAP, "vmin": 0, "vmax": 100}),
    ]  # fmt: skip
    height = 1.5 + 0.22 * len(machines)
    figure, axes = plt.subplots(
        1, 3, figsize=(WIDTH_WIDE_IN, height), sharey=True, layout="constrained"
    )
    for ax, (column, label, scale, options) in zip(axes, columns, strict=True):
        table = bands.pivot_table(
            index="machine_type", columns="low_hz", values=column, dropna=False
        ).reindex(index=machines, columns=lows)
        ax.set_facecolor("0.85")
        image = ax.imshow(
            scale * table.to_numpy(dtype=np.float64),
            aspect="auto",
            interpolation="nearest",
            **options,
        )
        figure.colorbar(image, ax=ax, label=label, location="bottom", pad=0.02)
        shown = [f for f in TICKS_HZ if lows[0] <= f <= bands["high_hz"].max()]
        ax.set_xticks(_band_position(shown, lows), [short_frequency(f) for f in shown])
        ax.set_xlabel("Frequency [Hz]")
        for row, machine in enumerate(machines):
            cutoff = (highpass_hz or {}).get(machine)
            if cutoff is not None:
                x = _band_position([cutoff], lows)[0]
                ax.plot([x, x], [row - 0.5, row + 0.5], color="w", lw=2.4)
                ax.plot([x, x], [row - 0.5, row + 0.5], color="k", lw=1.0)
    axes[0].set_yticks(range(len(machines)), machines)
    set_wrapped_title(figure, title or _band_finding(bands))
    return figure


def draw_highpass_criterion(
    curves: pd.DataFrame, table: pd.DataFrame, *, title: str | None = None
) -> Figure:
    """Draw the criterion over the cut-off for each machine and mark what was chosen.

    Parameters
    ----------
    curves, table : DataFrame
        Fields of :class:`asdlib.spectra.HighpassChoice`.
    title : str, optional
        The finding; by default which machines get a high-pass.

    Returns
    -------
    Figure
        One panel per machine: criterion with its 95 % interval, and the shares of information
        and scatter above the cut-off; a machine without curve shows the reason.
    """
    figure, panels = make_panels(len(table), height_in=1.9)
    information, scatter, criterion = GROUP_COLOURS[2], GROUP_COLOURS[3], GROUP_COLOURS[0]
    choices = zip(
        table["machine_type"], table["highpass_hz"].astype(float), table["reason"], strict=True
    )
    for (machine, chosen, reason), ax in zip(choices, panels, strict=True):
        own = curves[(curves["machine_type"] == machine) & (curves["cutoff_hz"] > 0)]
        ax.axhline(0, color="0.7", lw=0.6)
        if len(own):
            x = own["cutoff_hz"].astype(float)
            ax.plot(x, own["information_kept"], color=information, lw=0.9, ls="--")
            ax.plot(x, own["scatter_kept"], color=scatter, lw=0.9, ls=":")
            ax.fill_between(x, own["ci_low"], own["ci_high"], color=criterion, alpha=0.25, lw=0)
            ax.plot(x, own["criterion"], color=criterion, lw=1.2)
        if math.isnan(chosen):
            ax.text(0.04, 0.04, textwrap.fill(reason, 27), transform=ax.transAxes, fontsize=6,
                    color="0.35", va="bottom")  # fmt: skip
        else:
            ax.axvline(chosen, color="k", lw=0.9)
        name = "none" if math.isnan(chosen) else f"{chosen:.0f} Hz"
        ax.set_title(f"{machine}: {name}")
        frequency_axis(ax, 220, 4500)
        ax.set_ylim(-0.75, 1.1)
    label_outside(panels, "Cut-off [Hz]", "Share or criterion [1]")
    handles = [
        Line2D([], [], color=criterion, label="criterion"),
        Patch(color=criterion, alpha=0.25, lw=0, label="95 % interval"),
        Line2D([], [], color=information, ls="--", label="information kept"),
        Line2D([], [], color=scatter, ls=":", label="scatter kept"),
        Line2D([], [], color="k", label="chosen"),
    ]
    finish_panels(figure, handles, title or _highpass_finding(table))
    return figure


def _band_position(
    frequencies_hz: list[Any], lows: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Where a frequency lies on an axis whose cells are third octaves."""
    position: npt.NDArray[np.float64] = 3 * np.log2(np.asarray(frequencies_hz) / lows[0]) - 0.5
    return position


def _band_finding(bands: pd.DataFrame) -> str:
    above = bands[bands["low_hz"] >= 1000].groupby("machine_type")["energy_share"].sum()
    high = above[above > 0.5].index.tolist()
    count = bands["machine_type"].nunique()
    text = f"{len(high)} of {count} machines have most of their energy above 1 kHz"
    return f"{text}: {', '.join(high)}" if high else text


def _highpass_finding(table: pd.DataFrame) -> str:
    chosen = table.dropna(subset="highpass_hz")
    names = [
        f"{machine} ({cutoff:.0f} Hz)"
        for machine, cutoff in zip(chosen["machine_type"], chosen["highpass_hz"], strict=True)
    ]
    text = f"A high-pass for {len(names) or 'none'} of {len(table)} machines"
    return f"{text}: {', '.join(names)}" if names else text
