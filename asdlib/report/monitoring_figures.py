"""Figures of what a detector will find: known changes, a growing fault, the trend of its log."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from asdlib.report import style
from asdlib.scoring import LEARNT

_NORMAL, _ANOMALOUS, _ALARM = style.GROUP_COLOURS[0], style.GROUP_COLOURS[3], style.GROUP_COLOURS[1]
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

    ``trend`` has one row per recording in the order of time: ``time`` (numbers or times),
    ``anomaly_score, threshold, is_anomalous, is_persistent``. ``onset`` is the time at which a
    fault that was made began, ``window`` the number of recordings of the running median,
    ``time_label`` what the time is, where it is a number.
    """
    figure, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 2.8))
    for is_anomalous, colour, word in ((False, _NORMAL, "normal"), (True, _ANOMALOUS, "anomalous")):
        own = trend[trend["is_anomalous"] == is_anomalous]
        ax.plot(own["time"], own["anomaly_score"], style.CONDITION_MARKERS[word], color=colour,
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

    ``level_db`` (n_recordings, n_bands) is relative to the median of the normal clips [dB], its
    bands are centred at ``band_centres_hz`` [Hz]; ``times`` of the recordings are the labels of an
    axis with the name ``label``.
    """
    figure, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 2.8))
    limit = _WATERFALL_DB
    image = ax.imshow(level_db.T, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-limit,
                      vmax=limit, interpolation="nearest")  # fmt: skip
    places = np.unique(np.linspace(0, len(level_db) - 1, min(len(level_db), 6)).round().astype(int))
    ax.set_xticks(places, [str(times[place]) for place in places])
    style.mel_axis(ax, band_centres_hz)
    ax.set(title=title, xlabel=label)
    figure.colorbar(image, ax=ax, label="Level above normal [dB]")
    return figure


def draw_settings(table: pd.DataFrame, *, title: str) -> Figure:
    """Draw a table of how often settings raise an alarm: promised rates by rules, as a heat map."""
    figure, ax = style.heat_map(
        table, height_in=0.9 + 0.3 * len(table), label="", cbar=False, annot=True, fmt=".0f",
        cmap="Blues", vmin=0, linewidths=0.5,
    )  # fmt: skip
    ax.set(title=title, xlabel="Anomalous among the last recordings, to raise an alarm")
    ax.tick_params(axis="x", rotation=0)
    return figure


def draw_found_from(rates: pd.DataFrame, *, corpus: str) -> Figure:
    """Draw from which strength on every kind of change is found, machine by machine.

    ``rates`` are as from :func:`asdlib.scoring.detection_rates`; the system ``final`` is shown.
    Colour is the probability of detection over all strengths, the number the strength from which on
    it reaches 90 %, a dash where it never does. ``corpus``: "simulated" or "recorded", for the
    title.
    """
    final = rates[rates["system"] == "final"]
    share = final.pivot_table(index="kind", columns="machine_type", values="pod", sort=False)
    shown = final.drop_duplicates(["kind", "machine_type"]).set_index(["kind", "machine_type"])
    words = pd.DataFrame("–", index=share.index, columns=share.columns)
    for row in shown[shown["found_from"].notna()].reset_index().itertuples():
        words.loc[row.kind, row.machine_type] = f"{row.found_from:.0f} {row.unit}"
    figure, ax = style.heat_map(
        share, height_in=1.2 + 0.27 * len(share), label="Probability of detection, all strengths",
        vmin=0, vmax=1, cmap="viridis", annot=words, fmt="", annot_kws={"size": 8}, linewidths=0.5,
    )  # fmt: skip
    ax.set_title(f"Strength from which on 90 % are found, – where none suffices ({corpus})")
    return figure


def draw_detection_curves(rates: pd.DataFrame, machine_type: str, *, corpus: str) -> Figure:
    """Draw the probability of detection of one machine against the strength of every change.

    A panel per kind in ``rates`` (:func:`asdlib.scoring.detection_rates`): the final system with
    its exact 95 % interval, the profile that hears the kind best, and the false alarms of the
    unchanged clips as a dotted line. ``corpus``: "simulated" or "recorded", for the title.
    """
    own = rates[rates["machine_type"] == machine_type]
    kinds = own["kind"].unique()
    figure, panels = style.make_panels(len(kinds))
    # Fixed places: arranging axes automatically takes longer than drawing them.
    figure.set_layout_engine("none")
    height_in = figure.get_figheight()
    panels[0].get_gridspec().update(  # type: ignore[union-attr]
        left=0.075, right=0.985, wspace=0.25, hspace=0.75, top=1 - 0.75 / height_in,
        bottom=0.45 / height_in,
    )  # fmt: skip
    for ax, kind in zip(panels, kinds, strict=True):
        of_kind = own[own["kind"] == kind]
        final = of_kind[of_kind["system"] == "final"]
        views = of_kind[~of_kind["system"].isin(["final", *LEARNT])]
        best = views.groupby("system", sort=False)["auc"].mean().idxmax() if len(views) else ""
        view = views[views["system"] == best]
        error = [final["pod"] - final["pod_low"], final["pod_high"] - final["pod"]]
        ax.errorbar(final["strength"], final["pod"], yerr=error, color=style.GROUP_COLOURS[0],
                    marker="o", ms=3, lw=1.2, elinewidth=0.6, label="final")  # fmt: skip
        ax.plot(view["strength"], view["pod"], color=style.GROUP_COLOURS[1], ls="--", lw=1,
                marker="s", ms=2.5)  # fmt: skip
        ax.axhline(final["false_alarms"].iloc[0], color="grey", ls=":", lw=0.8)
        ax.set(ylim=(-0.05, 1.05), yticks=(0, 0.5, 1), xticks=final["strength"],
               xticklabels=[f"{strength:g}" for strength in final["strength"]],
               xlabel=f"Strength [{final['unit'].iloc[0]}]")  # fmt: skip
        ax.set_title(f"{kind}\n({best})" if best else kind, fontsize=8)
    for ax in panels[:: style.COLUMNS]:
        ax.set_ylabel("POD")
    figure.suptitle(
        f"{machine_type}: probability of detection ({corpus})\n"
        "solid: final, dashed: best profile (named), dotted: false alarms",
        fontsize=9,
    )
    return figure
