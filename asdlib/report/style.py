"""One look for all figures: sizes, colours by domain, markers by condition, saving."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import seaborn as sns

WIDTH_NARROW_IN = 3.5
WIDTH_WIDE_IN = 7.0

_PALETTE = sns.color_palette("colorblind")

#: Domain is told by colour, everywhere alike.
DOMAIN_COLOURS: dict[str, Any] = {
    "source": _PALETTE[0],
    "target": _PALETTE[1],
    "unknown": _PALETTE[7],
}
#: Condition is told by marker and line style, everywhere alike.
CONDITION_MARKERS = {"normal": "o", "anomalous": "X", "unknown": "s"}
CONDITION_LINES = {"normal": "-", "anomalous": "--", "unknown": ":"}
#: Groups that are neither domain nor condition (clusters, attributes, systems).
GROUP_COLOURS = sns.color_palette("colorblind") + sns.color_palette("dark")
SPECTROGRAM_COLOURMAP = "magma"


def use_style() -> None:
    """Set matplotlib's defaults to the workbook's: 8 to 9 pt, thin axes, PDF-safe fonts."""
    sns.set_theme(style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "font.size": 8,
            "axes.titlesize": 9,
            "axes.labelsize": 8,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "figure.titlesize": 9,
            "figure.dpi": 120,
            "savefig.dpi": 150,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.0,
            "pdf.fonttype": 42,
            "image.cmap": SPECTROGRAM_COLOURMAP,
        }
    )
