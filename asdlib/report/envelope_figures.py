"""Notebook 02 for one clip: kurtogram, envelope, spectra, autocorrelation."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from asdlib.annotation.frequencies import BandLevel, SoundInspection
from asdlib.report.style import GROUP_COLOURS, SPECTROGRAM_COLOURMAP, WIDTH_WIDE_IN
from asdlib.spectra.envelope import Band

Array = npt.NDArray[np.float64]
_SHOWN_PERIODS, _SHOWN_S = 8, 0.5
_SHOWN_POINTS = 500


def draw_inspection(inspection: SoundInspection, *, title: str) -> Figure:
    """Draw what the characteristic frequencies of one clip are read from.

    For orientation the kurtogram and the envelope in the framed band; over the whole width the
    evidence that was judged, with its threshold and the families; below, the plain spectrum with
    its tones, and the autocorrelation of the level with its cycle. Below ``title`` stands what was
    found.
    """
    figure = plt.figure(figsize=(WIDTH_WIDE_IN, 7.0))
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
        "cycle": [inspection.cycle.rate_hz] if inspection.cycle else [],
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
        ax.plot(places, np.full(len(places), top + 4 + 6 * i), "v", color=GROUP_COLOURS[i], ms=3,
                label=f"{family.frequency_hz:.1f} Hz")  # fmt: skip
    ax.set(xlabel="Frequency [kHz]", ylabel="Power [dB re 1]")
    ax.set(xlim=(0, None), ylim=(low - 45, top + 22))
    ax.set_title("plain spectrum: tones")
    ax.legend(loc="lower left", fontsize=7, ncols=3)


def _plot_autocorrelation(ax: Axes, inspection: SoundInspection) -> None:
    """Autocorrelation of the level, the cycle marked."""
    ax.plot(inspection.lags_s, inspection.autocorrelation, color="0.35", lw=0.7)
    if inspection.cycle:
        period_s = inspection.cycle.period_s
        ax.axvline(period_s, color=GROUP_COLOURS[0], lw=1.0, label=f"cycle of {period_s:.3g} s")
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
            edges / 1000, [row, row + 1], level.kurtosis[None], cmap=SPECTROGRAM_COLOURMAP,
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
        colour = GROUP_COLOURS[i]
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
