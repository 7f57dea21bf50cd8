"""Why a clip has its score, to see and to hear."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, Audio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from asdlib.report.style import (
    CONDITION_LINES,
    DOMAIN_COLOURS,
    WIDTH_WIDE_IN,
    finish_panels,
    logarithmic_ticks,
    mel_axis,
    set_wrapped_title,
)
from asdlib.scoring.explain import Explanation
from asdlib.scoring.verdicts import verdict_count

DIFFERENCE_COLOURMAP = "RdBu_r"
_ROW_HEIGHT_IN = 2.1
#: Widths along a row, the gaps between the panels among them.
_WIDTHS = {
    "clip": 2.7, "_1": 0.4, "normal": 2.7, "_2": 0.1, "level_bar": 0.12, "_3": 1.7,
    "difference": 2.7, "_4": 0.1, "difference_bar": 0.12, "_5": 1.4,
    "mean": 1.6, "_6": 1.25, "score": 2.5,
}  # fmt: skip
_LEFT = 0.08
#: Columns that a spectrogram is averaged to: noise fades, what lasts stays, files stay small.
_COLUMNS = 110
_PEAK = 0.9

_VERDICT_LOOKS: dict[str, dict[str, Any]] = {
    "normal": {"marker": "o", "color": "0.6", "mfc": "none"},
    "unknown": {"marker": "s", "color": "0.6"},
    "anomalous": {"marker": "X", "color": "C3"},
}
FloatArray = npt.NDArray[np.float64]


def draw_explanation(
    explanations: Sequence[Explanation],
    *,
    band_centres_hz: npt.NDArray[np.floating],
    duration_s: float,
    excerpt_frames: int,
    title: str | None = None,
) -> Figure:
    """Draw clips of one machine beside their nearest normal clips, one row per clip.

    From left to right: the clip and the mean of its nearest normal clips (one scale), their
    difference (red: louder than normal), its mean over time, and the training scores (grey) with
    the clip's own score: domain = colour, condition = line style, as everywhere.

    Parameters
    ----------
    explanations : sequence of Explanation
        As from :func:`asdlib.scoring.explain`.
    band_centres_hz : ndarray of float, shape (n_mels,)
        Centres of the mel bands [Hz].
    duration_s : float
        Length of the clips [s].
    excerpt_frames : int
        Length of the stretch that differs most, marked in the difference [frames].
    title : str, optional
        By default where each clip's score lies among the training scores.

    """
    height = 0.35 + _ROW_HEIGHT_IN * len(explanations)
    figure = plt.figure(figsize=(WIDTH_WIDE_IN, height))
    # Fixed places: arranging this many axes automatically takes longer than drawing them.
    figure.set_layout_engine("none")
    grid = figure.add_gridspec(
        len(explanations), len(_WIDTHS), width_ratios=list(_WIDTHS.values()), wspace=0, hspace=0.85,
        left=_LEFT, right=0.985, top=1 - 0.8 / height, bottom=0.45 / height,
    )  # fmt: skip
    for number, explanation in enumerate(explanations):
        axes = {
            name: figure.add_subplot(grid[number, column])
            for column, name in enumerate(_WIDTHS)
            if not name.startswith("_")
        }
        _draw_levels(figure, axes, explanation, duration_s)
        _draw_difference(figure, axes, explanation, duration_s, excerpt_frames)
        _draw_score(axes["score"], explanation)
        for name in ("normal", "difference", "mean"):
            axes[name].set_yticks([])
        mel_axis(axes["clip"], band_centres_hz)
        top = axes["clip"].get_position().y1
        figure.text(_LEFT, top + 0.24 / height, _row_title(explanation), va="bottom")
    set_wrapped_title(figure, title or _finding(explanations))
    return figure


def _draw_levels(
    figure: Figure, axes: Mapping[str, Axes], explanation: Explanation, duration_s: float
) -> None:
    levels = [_averaged(part) for part in (explanation.log_mel, explanation.normal_log_mel)]
    levels = [level - max(part.max() for part in levels) for level in levels]
    low, high = np.percentile(np.concatenate(levels, axis=1), [2, 99.8])
    count = len(explanation.neighbours)
    titles = ("clip", f"{count} nearest normals" if count > 1 else "nearest normal")
    for name, values, title in zip(("clip", "normal"), levels, titles, strict=True):
        image = axes[name].imshow(
            values, origin="lower", aspect="auto", vmin=low, vmax=high,
            extent=(0.0, duration_s, -0.5, len(values) - 0.5),
        )  # fmt: skip
        axes[name].set(title=title, xlabel="Time [s]")
    figure.colorbar(image, cax=axes["level_bar"]).set_label("Level [dB re loudest]", labelpad=1)


def _draw_difference(
    figure: Figure,
    axes: Mapping[str, Axes],
    explanation: Explanation,
    duration_s: float,
    excerpt_frames: int,
) -> None:
    difference = _averaged(explanation.difference)
    limit = max(3.0, float(np.percentile(np.abs(difference), 99.5)))
    n_mels, n_frames = explanation.difference.shape
    image = axes["difference"].imshow(
        difference, origin="lower", aspect="auto", cmap=DIFFERENCE_COLOURMAP, vmin=-limit,
        vmax=limit, extent=(0.0, duration_s, -0.5, n_mels - 0.5),
    )  # fmt: skip
    first, last = explanation.strongest_stretch(excerpt_frames)
    if last - first < n_frames:
        for frame in (first, last):
            axes["difference"].axvline(frame / n_frames * duration_s, color="k", lw=0.8, ls=":")
    axes["difference"].set(title="difference", xlabel="Time [s]")
    figure.colorbar(image, cax=axes["difference_bar"]).set_label("[dB]", labelpad=0)
    axes["mean"].plot(explanation.band_difference, np.arange(n_mels), color="0.2", lw=0.8)
    axes["mean"].axvline(0, color="0.7", lw=0.6)
    axes["mean"].set(title="its mean", xlabel="[dB]", ylim=(-0.5, n_mels - 0.5))
    axes["mean"].xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))


def _draw_score(ax: Axes, explanation: Explanation) -> None:
    scores, own = explanation.training_scores, explanation.anomaly_score
    # Scores span decades; those of some systems may be zero or negative.
    is_logarithmic = bool(own > 0 and (scores > 0).all())
    if len(scores):
        values = np.log10(scores) if is_logarithmic else scores
        edges = np.histogram_bin_edges(values, bins=int(np.clip(math.sqrt(len(scores)), 4, 20)))
        counts = np.histogram(values, bins=edges)[0]
        ax.stairs(counts, 10.0**edges if is_logarithmic else edges, fill=True, color="0.8")
    ax.axvline(
        own, color=DOMAIN_COLOURS[explanation.domain], ls=CONDITION_LINES[explanation.condition],
        lw=1.4,
    )  # fmt: skip
    ax.set(title="training scores", xlabel="Anomaly score [1]", ylabel="Clips")
    if is_logarithmic:
        logarithmic_ticks(ax, "x")
    else:
        ax.xaxis.set_major_locator(MaxNLocator(3))


def _averaged(values: FloatArray) -> FloatArray:
    """Means over runs of neighbouring frames, at most `_COLUMNS` of them; the rest is cut."""
    run = math.ceil(values.shape[1] / _COLUMNS)
    whole = values[:, : values.shape[1] // run * run]
    return np.asarray(whole.reshape(len(values), -1, run).mean(axis=2))


def _row_title(explanation: Explanation) -> str:
    known = [word for word in (explanation.domain, explanation.condition) if word != "unknown"]
    name = explanation.clip_id.rsplit("/", 1)[-1]
    return f"{name} ({', '.join(known)})" if known else name


def _finding(explanations: Sequence[Explanation]) -> str:
    parts = [
        f"{shown.percentile:.0f} %" for shown in explanations if not math.isnan(shown.percentile)
    ]
    machine = explanations[0].machine_type
    if not parts:
        return f"{machine}: no training score to compare with"
    return f"{machine}: scores above {' and '.join(parts)} of the training clips"


def draw_verdicts(verdicts: pd.DataFrame) -> Figure:
    """Draw every clip's distance to its machine's threshold, one line per machine.

    ``verdicts`` are those of `asdlib.scoring.verdict_table`; crosses are flagged clips, of which
    the highest of each machine is named.
    """
    machines = sorted(verdicts["machine_type"].unique())
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 1.1 + 0.32 * len(machines)))
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
    finish_panels(figure, handles, verdict_count(verdicts, n_shown=len(verdicts)))
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
    style = "display: flex; flex-wrap: wrap; gap: 1em"
    return HTML(f'<div style="{style}">{"".join(players)}</div>')  # type: ignore[no-untyped-call]
