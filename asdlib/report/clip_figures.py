"""Figures of one clip: why it is judged as it is, what its frequencies are read from, its sound."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, Audio
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from asdlib.annotation.frequencies import BandLevel, SoundInspection
from asdlib.report import style
from asdlib.spectra import Picture, Reason
from asdlib.spectra.envelope import Band

#: Columns that a spectrogram is averaged to: noise fades, what lasts stays, files stay small.
_COLUMNS = 110
_PEAK = 0.9
_SHOWN_PERIODS, _SHOWN_S = 8, 0.5
_SHOWN_POINTS = 500
_DECIDING, _OTHER = "C3", "0.6"
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


def draw_inspection(inspection: SoundInspection, *, title: str) -> Figure:
    """Draw what the characteristic frequencies of one clip are read from.

    For orientation the kurtogram and the envelope in the framed band; over the whole width the
    evidence that was judged, with its threshold and the families; below, the plain spectrum with
    its tones, and the autocorrelation of the level with its cycle. Below ``title`` stands what was
    found.
    """
    figure = plt.figure(figsize=(style.WIDTH_WIDE_IN, 7.0))
    rows = figure.add_gridspec(3, 1)
    above, below = (rows[row].subgridspec(1, 2, width_ratios=(1.0, 1.3)) for row in (0, 2))
    kurtosis, envelope = figure.add_subplot(above[0]), figure.add_subplot(above[1])
    _plot_kurtogram(kurtosis, inspection.levels, band_hz=inspection.band_hz)
    _plot_envelope(envelope, inspection)
    _plot_evidence(figure.add_subplot(rows[1]), inspection)
    _plot_tones(figure.add_subplot(below[0]), inspection)
    _plot_autocorrelation(figure.add_subplot(below[1]), inspection)
    found = {
        "envelope": [family.frequency_hz for family in inspection.families],
        "tones": [family.frequency_hz for family in inspection.tones],
        "cycle": [inspection.cycle.frequency_hz] if inspection.cycle else [],
    }
    words = {name: f"{rates[0]:.4g} Hz" if rates else "none" for name, rates in found.items()}
    said = ", ".join(f"{name}: {word}" for name, word in words.items())
    figure.suptitle(f"{title}\n{said}")
    return figure


def _plot_tones(ax: Axes, inspection: SoundInspection) -> None:
    """Power spectrum in dB, the harmonics of each family of tones marked."""
    power = inspection.tone_spectrum
    level = 10 * np.log10(np.maximum(power, 1e-12 * max(float(power.max()), 1e-300)))
    # Of many lines in a pixel, the middle one (noise) and the highest (tones).
    n_points = min(_SHOWN_POINTS, len(level))
    shown_khz = [f.mean() for f in np.array_split(inspection.tone_frequencies_hz / 1000, n_points)]
    parts = np.array_split(level, n_points)
    middle = [float(np.median(part)) for part in parts]
    ax.plot(shown_khz, middle, color="0.75", lw=0.6, label="median line")
    ax.plot(shown_khz, [part.max() for part in parts], color="0.35", lw=0.6, label="highest line")
    low, top = min(middle), float(level.max())
    for i, family in enumerate(inspection.tones[:3]):
        places = np.array(family.harmonics) * family.frequency_hz / 1000
        heights, colour = np.full(len(places), top + 4 + 6 * i), style.GROUP_COLOURS[i]
        ax.plot(places, heights, "v", color=colour, ms=3, label=f"{family.frequency_hz:.1f} Hz")
    ax.set(xlabel="Frequency [kHz]", ylabel="Power [dB re 1]")
    ax.set(xlim=(0, None), ylim=(low - 45, top + 22))
    ax.set_title("plain spectrum: tones")
    ax.legend(loc="lower left", fontsize=7, ncols=3)


def _plot_autocorrelation(ax: Axes, inspection: SoundInspection) -> None:
    """Autocorrelation of the level, the cycle marked."""
    ax.plot(inspection.lags_s, inspection.autocorrelation, color="0.35", lw=0.7)
    if inspection.cycle:
        period_s = 1 / inspection.cycle.frequency_hz
        ax.axvline(
            period_s, color=style.GROUP_COLOURS[0], lw=1.0, label=f"cycle of {period_s:.3g} s"
        )
        ax.legend(loc="upper right", fontsize=7)
    ax.set(xlabel="Lag [s]", ylabel="Autocorrelation [1]", xlim=(0, None), ylim=(None, 1.05))
    ax.set_title("level: does it repeat?")


def _plot_kurtogram(ax: Axes, levels: Sequence[BandLevel], *, band_hz: Band) -> None:
    """Kurtosis of the envelope over centre frequency and bandwidth, a band framed."""
    top = max(float(level.kurtosis.max()) for level in levels)
    for row, level in enumerate(levels):
        edges = np.append(level.centres_hz - level.width_hz / 2, level.centres_hz[-1:])
        edges[-1] += level.width_hz / 2
        mesh = ax.pcolormesh(
            edges / 1000, [row, row + 1], level.kurtosis[None], cmap=style.SPECTROGRAM_COLOURMAP,
            vmin=0, vmax=max(top, 0.1),
        )  # fmt: skip
    width_hz = band_hz[1] - band_hz[0]
    row = int(np.argmin([abs(level.width_hz - width_hz) for level in levels]))
    ax.add_patch(
        Rectangle((band_hz[0] / 1000, row), width_hz / 1000, 1, fill=False, ec="C0", lw=2.0)
    )
    ax.set_yticks(np.arange(len(levels)) + 0.5, [f"{level.width_hz:.0f}" for level in levels])
    ax.invert_yaxis()
    ax.set(xlabel="Frequency [kHz]", ylabel="Bandwidth [Hz]")
    ax.figure.colorbar(mesh, ax=ax, label="Kurtosis of\nthe envelope")
    ax.set_title(f"for orientation; framed {band_hz[0] / 1000:.2f} to {band_hz[1] / 1000:.2f} kHz")


def _plot_envelope(ax: Axes, inspection: SoundInspection) -> None:
    families = inspection.families
    end_s = _SHOWN_PERIODS / families[0].frequency_hz if families else _SHOWN_S
    shown = inspection.time_s <= end_s
    ax.plot(1000 * inspection.time_s[shown], inspection.envelope[shown], color="0.35", lw=0.7)
    ax.set(xlabel="Time [ms]", ylabel="Envelope [1]", xlim=(0, None), ylim=(0, None))
    if families:
        period_ms = 1000 / families[0].frequency_hz
        ax.set_title(f"{_SHOWN_PERIODS} periods of {period_ms:.3g} ms")


def _plot_evidence(ax: Axes, inspection: SoundInspection) -> None:
    """Evidence of every line as it was judged; harmonics and sidebands of each family marked."""
    frequencies_hz, families = inspection.frequencies_hz, inspection.families
    ax.set(xlabel="Envelope frequency [Hz]", ylabel="Evidence, −log₁₀ p [1]")
    if not len(frequencies_hz):
        ax.set_title("silence: nothing to judge")
        return
    tops = [f.frequency_hz * min(max(f.harmonics), 5) for f in families[:3]]
    max_hz = min(1.15 * max(tops, default=250.0), float(frequencies_hz[-1]))
    shown = frequencies_hz <= max_hz
    anywhere, own = inspection.evidence_anywhere[shown], inspection.evidence[shown]
    if inspection.n_bands > 1:
        ax.plot(frequencies_hz[shown], anywhere, color="0.75", lw=0.7,
                label=f"highest of {inspection.n_bands} bands")  # fmt: skip
    where = "the family's band" if families else "the band of most evidence"
    ax.plot(frequencies_hz[shown], own, color="0.25", lw=0.7, label=where)
    ax.axhline(inspection.threshold, color="0.25", lw=0.8, ls="--", label="threshold of a family")
    top = max(float(anywhere.max()), inspection.threshold)
    for i, family in enumerate(families[:4]):
        colour = style.GROUP_COLOURS[i]
        places = np.array([k for k in family.harmonics if k * family.frequency_hz <= max_hz])
        places = places * family.frequency_hz
        label = f"{family.frequency_hz:.2f} Hz, −log₁₀ p = {family.significance:.0f}"
        if family.sideband_hz is not None:
            label += f",\nsidebands ± {family.sideband_hz:.2f} Hz"
            sides = [p + s * family.sideband_hz for p in places for s in (-1, 1)]
            ax.plot(sides, np.full(len(sides), 1.04 * top), "|", color=colour, ms=4)
        heights = np.full(len(places), (1.08 + 0.06 * i) * top)
        ax.plot(places, heights, "v", color=colour, ms=4, label=label)
    if any(family.sideband_hz is not None for family in families[:4]):
        ax.plot([], [], "|", color="0.25", ms=4, label="sidebands")
    ax.set(xlim=(0, max_hz), ylim=(0, (1.14 + 0.06 * len(families[:4])) * top))
    ax.set_title("what is judged: lines of whitened, limited envelopes; harmonics add up")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=4, fontsize=7)


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
