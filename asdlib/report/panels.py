"""Small multiples: one panel per machine, labelled on the outside."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asdlib.report.style import WIDTH_WIDE_IN

COLUMNS = 4
#: Where a frequency axis that is not a plot's own has its ticks [Hz].
TICKS_HZ = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
_SINGLE_HEIGHT_IN = 2.4
_TITLE_CHARACTERS_PER_IN = 14


def make_panels(count: int, *, height_in: float = 1.75) -> tuple[Figure, list[Axes]]:
    """Make equal panels, at most four in a row; a single one is half as wide as a page.

    Parameters
    ----------
    count : int
        Number of panels.
    height_in : float
        Height of a row [in].
    """
    columns = min(COLUMNS, max(1, count))
    rows = max(1, math.ceil(count / columns))
    single = columns == 1
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(
            WIDTH_WIDE_IN / 2 if single else WIDTH_WIDE_IN,
            0.9 + rows * (max(height_in, _SINGLE_HEIGHT_IN) if single else height_in),
        ),
        squeeze=False,
        layout="constrained",
    )
    panels = list(axes.ravel())
    for ax in panels[count:]:
        ax.set_axis_off()
    return figure, panels[:count]


def label_outside(panels: list[Axes], x_label: str, y_label: str) -> None:
    """Label the lowest panel of every column and the first of every row."""
    for position, ax in enumerate(panels):
        if position + COLUMNS >= len(panels):
            ax.set_xlabel(x_label)
        if position % COLUMNS == 0:
            ax.set_ylabel(y_label)


def set_wrapped_title(figure: Figure, title: str) -> None:
    """Put a title above all panels, wrapped to the figure's width."""
    figure.suptitle(textwrap.fill(title, int(_TITLE_CHARACTERS_PER_IN * figure.get_figwidth())))


def finish_panels(figure: Figure, handles: Sequence[Artist], title: str) -> None:
    """Put the title above all panels and one legend below them."""
    figure.set_layout_engine("constrained")
    set_wrapped_title(figure, title)
    columns = len(handles) if len(handles) <= 5 else math.ceil(len(handles) / 2)
    if figure.get_figwidth() < WIDTH_WIDE_IN:
        columns = 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)


def frequency_axis(ax: Axes, low_hz: float, high_hz: float) -> None:
    """Give panels a logarithmic frequency axis [Hz] with few ticks."""
    ax.set_xscale("log")
    ax.set_xlim(low_hz, high_hz)
    ticks = [f for f in (100, 300, 1000, 3000, 10000, 30000) if low_hz <= f <= high_hz]
    ax.set_xticks(ticks, [short_frequency(f) for f in ticks])
    ax.minorticks_off()


def short_frequency(frequency_hz: float) -> str:
    """Name a tick: 500, 2k."""
    return f"{frequency_hz / 1000:g}k" if frequency_hz >= 1000 else f"{frequency_hz:g}"
