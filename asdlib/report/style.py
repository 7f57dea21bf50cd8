"""One look for all figures: sizes, colours by domain, markers by condition; how they are saved."""

from __future__ import annotations

import io
import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from asdlib.base import file_hash, write_atomically
from asdlib.report.output import write_sidecar

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

COLUMNS = 4
_SINGLE_HEIGHT_IN = 2.4
_TITLE_CHARACTERS_PER_IN = 14
_OCTAVES_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
_MOST_TICKS = 4
#: Names of ticks that are nearer than this share of the axis would lie over each other.
_TICK_SHARE = 0.05


def use_style() -> None:
    """Set matplotlib's defaults to the workbook's: 8 to 9 pt, thin axes, PDF-safe fonts.

    Names of machines and attributes are shown as they are, in figures and in tables: a ``$``
    starts no formula.
    """
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
            "figure.dpi": 150,
            "savefig.dpi": 150,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.0,
            "pdf.fonttype": 42,
            "image.cmap": SPECTROGRAM_COLOURMAP,
            "text.parse_math": False,
        }
    )
    pd.set_option("display.html.use_mathjax", False)
    pd.set_option("display.max_colwidth", None)
    pd.set_option("display.precision", 3)


def group_colour(number: int) -> Any:
    """Colour of a group by its number; behind the last they begin again."""
    return GROUP_COLOURS[number % len(GROUP_COLOURS)]


def make_panels(count: int, *, height_in: float = 1.75) -> tuple[Figure, list[Axes]]:
    """Make equal panels, at most four in a row; a single one is half as wide as a page."""
    columns = min(COLUMNS, max(1, count))
    rows = max(1, math.ceil(count / columns))
    single = columns == 1
    size = (WIDTH_WIDE_IN / 2 if single else WIDTH_WIDE_IN,
            0.9 + rows * (max(height_in, _SINGLE_HEIGHT_IN) if single else height_in))  # fmt: skip
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
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


def wrapped_title(figure: Figure, title: str) -> str:
    """Wrap the lines of a title to the figure's width."""
    width = int(_TITLE_CHARACTERS_PER_IN * figure.get_figwidth())
    return "\n".join(
        textwrap.fill(line, width, break_on_hyphens=False) for line in title.splitlines()
    )


def set_wrapped_title(figure: Figure, title: str) -> None:
    """Put a title above all panels, wrapped to the figure's width."""
    figure.suptitle(wrapped_title(figure, title))


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
    ticks = [f for f in (30, 100, 300, 1000, 3000, 10000, 30000) if low_hz <= f <= high_hz]
    ax.set_xticks(ticks, [short_frequency(f) for f in ticks])
    ax.minorticks_off()


def short_frequency(frequency_hz: float) -> str:
    """Name a tick: 500, 2k."""
    return f"{frequency_hz / 1000:g}k" if frequency_hz >= 1000 else f"{frequency_hz:g}"


def mel_axis(ax: Axes, band_centres_hz: npt.NDArray[np.floating]) -> None:
    """Mark octaves [kHz] on a vertical axis whose unit is the mel band."""
    n_bands = len(band_centres_hz)
    shown: dict[float, str] = {}
    for f in [f for f in _OCTAVES_HZ[::-1] if band_centres_hz[0] <= f <= band_centres_hz[-1]]:
        place = float(np.interp(f, band_centres_hz, np.arange(n_bands)))
        if not shown or min(shown) - place > _TICK_SHARE * n_bands:
            shown[place] = f"{f / 1000:g}"
    ax.set_yticks(list(shown)[::-1], list(shown.values())[::-1])
    ax.set_ylabel("Mel band at [kHz]")


def show_levels(
    ax: Axes, level_db: npt.NDArray[Any], extent: tuple[float, float, float, float], **options: Any
) -> AxesImage:
    """Draw levels (n_bands, n_frames) as a spectrogram, whose ``extent`` is left, right and so on.

    A mel band's unit is the band, as `mel_axis` has it.
    """
    return ax.imshow(level_db, origin="lower", aspect="auto", interpolation="nearest",
                     extent=extent, cmap=SPECTROGRAM_COLOURMAP, **options)  # fmt: skip


def logarithmic_ticks(ax: Axes, axis: Literal["x", "y"]) -> None:
    """Make an axis of what is drawn logarithmic, with at most four round numbers."""
    ax.set(**{f"{axis}scale": "log"})
    low, high = ax.get_xlim() if axis == "x" else ax.get_ylim()
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 1.5, 2, 3, 4, 5, 7), (1, 2, 5), (1, 3), (1,)):
        numbers = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [number for number in numbers if low <= number <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    ticks = ticks[:: math.ceil(len(ticks) / _MOST_TICKS)] if ticks else [low]
    ax.minorticks_off()
    ax.set(**{f"{axis}ticks": ticks, f"{axis}ticklabels": [f"{tick:g}" for tick in ticks]})


def heat_map(
    table: pd.DataFrame, *, height_in: float, label: str, **options: Any
) -> tuple[Figure, Axes]:
    """Draw a table as a heat map over the whole width; ``label`` belongs to its colours."""
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, height_in), layout="constrained")
    sns.heatmap(table, ax=ax, cbar_kws={"label": label}, **options)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=30)
    ax.tick_params(axis="y", rotation=0)
    return figure, ax


def save_figure(
    figure: Figure, stem: Path, *, provenance: dict[str, Any], is_simulated: bool
) -> list[Path]:
    """Write a figure as PNG and PDF with one sidecar and close it; returns the three paths.

    The same figure gives the same bytes: a PDF that was written with the same picture, by the same
    packages, stays. What shows simulated data says so in its title and begins with ``simulated_``.
    ``stem`` is the path without suffix.
    """
    if is_simulated:
        _mark_as_simulated(figure)
        stem = stem.with_name(f"simulated_{stem.name}")
    picture, drawing, sidecar = (
        stem.with_name(stem.name + end) for end in (".png", ".pdf", ".json")
    )
    _write_figure(figure, picture, {"Software": None})
    if not _is_of(sidecar, picture, drawing, versions=provenance.get("versions")):
        with plt.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # arranged once: the PDF follows the PNG
        _write_figure(figure, drawing, {"CreationDate": None})
    plt.close(figure)
    return [picture, drawing, write_sidecar(sidecar, picture, drawing, provenance=provenance)]


def _write_figure(figure: Figure, path: Path, stamps: dict[str, None]) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], metadata=stamps)
    write_atomically(path, buffer.getvalue())


def _is_of(sidecar: Path, *files: Path, versions: object) -> bool:
    """Whether files are what a sidecar names, and were made by these versions of packages."""
    try:
        facts = json.loads(sidecar.read_text())
        same = facts["sha256"] == {file.name: file_hash(file) for file in files}
        return bool(same and facts["versions"] == versions)
    except (OSError, ValueError, KeyError):
        return False


def _mark_as_simulated(figure: Figure) -> None:
    """Say in a figure's title that it shows simulated data, unless the title does already."""
    titled = [axes for axes in figure.axes if axes.get_title()]
    title = figure.get_suptitle() or (titled[0].get_title() if titled else "")
    if "simulated" in title.lower():
        return
    marked = wrapped_title(figure, f"{title} (simulated)".strip())
    above = [text for text in figure.texts if text.get_text() == title]
    if titled and not figure.get_suptitle():
        titled[0].set_title(marked)
    elif above:
        above[0].set_text(marked)  # where it stands
    else:
        figure.suptitle(marked)
