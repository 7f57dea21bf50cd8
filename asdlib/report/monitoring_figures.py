"""Figures of monitoring: the trend of a machine, the waterfall of its spectra, its settings."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asdlib.report.style import CONDITION_MARKERS, GROUP_COLOURS, WIDTH_WIDE_IN, mel_axis

_NORMAL, _ANOMALOUS, _ALARM = GROUP_COLOURS[0], GROUP_COLOURS[3], GROUP_COLOURS[1]
#: Levels further from normal than this are all as red or as blue [dB].
_WATERFALL_DB = 12.0


def draw_trend(
    trend: pd.DataFrame,
    *,
    title: str,
    onset: float | None = None,
    window: int = 5,
    time_label: str = "",
) -> Figure:
    """Draw the score of one machine over time, with its warning and alarm bands.

    Parameters
    ----------
    trend : DataFrame
        One row per recording in the order of time: ``time`` (numbers or times),
        ``anomaly_score``, ``threshold``, ``is_anomalous``, ``is_persistent``.
    title : str
        What is found.
    onset : float, optional
        Time at which a fault that was made began.
    window : int
        Recordings of the running median.
    time_label : str
        What the time is, where it is a number.
    """
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 2.8))
    for is_anomalous, colour, word in (
        (False, _NORMAL, "normal"),
        (True, _ANOMALOUS, "anomalous"),
    ):
        own = trend[trend["is_anomalous"] == is_anomalous]
        ax.plot(own["time"], own["anomaly_score"], CONDITION_MARKERS[word], color=colour,
                markersize=3.5, alpha=0.6, label=f"taken for {word}")  # fmt: skip
    median = trend["anomaly_score"].rolling(window, min_periods=1).median()
    ax.plot(trend["time"], median, color="0.2", label=f"median of the last {window}")
    ax.plot(trend["time"], trend["threshold"], "--", color="0.4", label="threshold")
    _shade_alarms(ax, trend)
    if onset is not None:
        ax.axvline(onset, color="0.2", linestyle=":")
        ax.annotate("onset", (onset, 1), (3, -3), xycoords=("data", "axes fraction"),
                    textcoords="offset points", va="top")  # fmt: skip
    ax.set(xlabel=time_label, ylabel="Anomaly score", title=title)
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    if not pd.api.types.is_numeric_dtype(trend["time"]):
        figure.autofmt_xdate()
    return figure


def _shade_alarms(ax: Axes, trend: pd.DataFrame) -> None:
    """Shade the stretches in which an alarm persists."""
    times, alarm = trend["time"].to_numpy(), trend["is_persistent"].to_numpy(bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], alarm, [False]]).astype(int)))
    for number, (first, last) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
        ax.axvspan(times[first], times[last - 1], color=_ALARM, alpha=0.25, linewidth=0,
                   label="alarm persists" if number == 0 else None)  # fmt: skip


def draw_waterfall(
    level_db: npt.NDArray[np.floating],
    *,
    band_centres_hz: npt.NDArray[np.floating],
    times: Sequence[object],
    title: str,
    label: str = "",
) -> Figure:
    """Draw how the spectrum of every recording differs from normal, in the order of time.

    Parameters
    ----------
    level_db : ndarray of float, shape (n_recordings, n_bands)
        Level relative to the median of the normal clips [dB].
    band_centres_hz : ndarray of float, shape (n_bands,)
        [Hz]
    times : sequence
        Time of every recording, for the labels.
    title : str
        What is shown.
    label : str
        What the times are.
    """
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 2.8))
    limit = _WATERFALL_DB
    image = ax.imshow(level_db.T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-limit,
                      vmax=limit, interpolation="nearest")  # fmt: skip
    places = np.unique(np.linspace(0, len(level_db) - 1, min(len(level_db), 6)).round().astype(int))
    ax.set_xticks(places, [str(times[place]) for place in places])
    mel_axis(ax, band_centres_hz)
    ax.set(title=title, xlabel=label)
    figure.colorbar(image, ax=ax, label="Level above normal [dB]")
    return figure


def draw_settings(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw a table of how often settings raise an alarm: promised rates by rules, as a heat map."""
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 0.9 + 0.3 * len(table)))
    sns.heatmap(table, ax=ax, annot=True, fmt=".0f", cmap="Blues", vmin=0, cbar=False,
                linewidths=0.5)  # fmt: skip
    ax.set(title=title)
    ax.tick_params(axis="y", rotation=0)
    return figure
