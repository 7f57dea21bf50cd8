"""What a clip is taken for and why, to see and to hear."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, Audio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from asdlib.report import style
from asdlib.scoring.verdicts import verdict_count
from asdlib.spectra import Picture, Reason

#: Columns that a spectrogram is averaged to: noise fades, what lasts stays, files stay small.
_COLUMNS = 110
_PEAK = 0.9
_DECIDING, _OTHER = "C3", "0.6"
_VERDICT_LOOKS: dict[str, dict[str, Any]] = {
    "normal": {"marker": "o", "color": "0.6", "mfc": "none"},
    "unknown": {"marker": "s", "color": "0.6"},
    "anomalous": {"marker": "X", "color": "C3"},
}
FloatArray = npt.NDArray[np.float64]


def draw_reason(
    reason: Reason, contributions: pd.Series, *, title: str, level_db: FloatArray,
    band_centres_hz: FloatArray, duration_s: float,
) -> Figure:  # fmt: skip
    """Draw what each view contributes, what the deciding view compared, and the clip itself.

    ``contributions`` of the views to the final score are by their names, ``title`` is clip and
    finding, ``level_db`` (n_mels, n_frames) the clip's log-mel spectrogram [dB] in bands centred at
    ``band_centres_hz`` (n_mels,) [Hz], ``duration_s`` its length [s].
    """
    text = style.wrapped_title(plt.figure(figsize=(style.WIDTH_WIDE_IN, 2.6)), title)
    height = 2.2 + 0.16 * (text.count("\n") + 1)
    figure = plt.gcf()
    figure.set_figheight(height)
    # Fixed places: arranging axes automatically takes longer than drawing them.
    figure.set_layout_engine("none")
    grid = figure.add_gridspec(
        1, 3, width_ratios=(1.1, 2.6, 2.4), wspace=0.42, left=0.115, right=0.93,
        bottom=0.5 / height,
        top=1 - (0.42 + 0.15 * (text.count("\n") + 1)) / height,
    )  # fmt: skip
    bars, rows, clip = (figure.add_subplot(grid[column]) for column in range(3))
    _draw_contributions(bars, contributions, reason.view)
    _draw_rows(rows, reason.picture)
    _draw_clip(clip, reason, level_db, band_centres_hz, duration_s)
    figure.suptitle(text, x=0.01, ha="left", y=1 - 0.05 / height, va="top")
    return figure


def _draw_contributions(ax: Axes, contributions: pd.Series, deciding: str) -> None:
    """One bar per view, the deciding one in red."""
    places = np.arange(len(contributions))[::-1]
    colours = [_DECIDING if name == deciding else _OTHER for name in contributions.index]
    ax.barh(places, contributions, color=colours, height=0.7)
    ax.axvline(0, color="k", lw=0.6)
    ax.set_yticks(places, contributions.index, fontsize=7)
    ax.set(xlabel="Contribution [1]", title="views")
    ax.xaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10]))


def _draw_rows(ax: Axes, picture: Picture) -> None:
    """Draw the clip's row above the rows of its nearest normal clips."""
    shown = picture.x_hz > 0
    x = picture.x_hz[shown]
    ax.plot(x, picture.normal[:, shown].T, color="0.7", lw=0.5)
    ax.plot(x, picture.clip[shown], color=_DECIDING, lw=1.0)
    if picture.is_logarithmic and x[0] > 20:
        style.frequency_axis(ax, float(x[0]), float(x[-1]))
    elif picture.is_logarithmic:
        style.logarithmic_ticks(ax, "x")
    else:
        ax.set_xlim(0, x[-1])
    if picture.band_hz is not None:
        ax.axvspan(*picture.band_hz, color=_DECIDING, alpha=0.12, lw=0)
    for place in picture.marks_hz:
        ax.axvline(place, color=_DECIDING, lw=0.6, ls=":")
    ax.set(xlabel=picture.x_label, title="clip (red), nearest normals (grey)")
    ax.set_ylabel(picture.y_label, fontsize=7)


def _draw_clip(
    ax: Axes, reason: Reason, level_db: FloatArray, centres_hz: FloatArray, duration_s: float
) -> None:
    """Spectrogram of the clip, the band that is meant framed, the moment marked."""
    # Means over runs of neighbouring frames; what does not fill a run is cut.
    run = math.ceil(level_db.shape[1] / _COLUMNS)
    whole = level_db[:, : level_db.shape[1] // run * run]
    shown = whole.reshape(len(whole), -1, run).mean(axis=2)
    shown -= shown.max()
    low, high = np.percentile(shown, [2, 99.8])
    image = style.show_levels(
        ax, shown, (0.0, duration_s, -0.5, len(shown) - 0.5), vmin=low, vmax=high
    )
    bottom, top = np.interp(reason.band_hz, centres_hz, np.arange(len(centres_hz)))
    height = max(top - bottom, 1)
    ax.add_patch(Rectangle((0, bottom), duration_s, height, fill=False, ec="w", lw=1.0, ls="--"))
    if reason.at_s is not None:
        ax.plot([reason.at_s], [top], "v", color="w", ms=5, mec="k", mew=0.5, clip_on=False)
    style.mel_axis(ax, centres_hz)
    ax.set(xlabel="Time [s]", title="clip")
    bar = ax.figure.colorbar(image, ax=ax, pad=0.03, fraction=0.06)
    bar.set_label("Level [dB re loudest]", fontsize=7)


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


def audio_players(excerpts: Mapping[str, npt.NDArray[np.int16]], *, sample_rate: int) -> HTML:
    """Make one player per excerpt (caption to samples), side by side, equally amplified.

    The samples are embedded in the page: 43 kB for a second of 16 kHz.
    """
    peak = max((int(np.abs(y.astype(np.int32)).max()) for y in excerpts.values()), default=0)
    gain = _PEAK / max(peak, 1)
    players = []
    for caption, samples in excerpts.items():
        player = Audio(samples * gain, rate=sample_rate, normalize=False)  # type: ignore[no-untyped-call]
        # IPython's protocol for showing an object as HTML.
        sound = player._repr_html_()  # type: ignore[no-untyped-call]
        players.append(f"<div>{html.escape(caption)}<br>{sound}</div>")
    beside = "display: flex; flex-wrap: wrap; gap: 1em"
    return HTML(f'<div style="{beside}">{"".join(players)}</div>')  # type: ignore[no-untyped-call]
