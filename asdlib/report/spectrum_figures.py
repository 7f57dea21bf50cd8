"""Figures of notebook 01: one clip, and the average spectra of groups of clips."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from asdlib.report.panels import (
    TICKS_HZ,
    frequency_axis,
    label_outside,
    make_panels,
    set_wrapped_title,
)
from asdlib.report.style import (
    DOMAIN_COLOURS,
    GROUP_COLOURS,
    SPECTROGRAM_COLOURMAP,
    WIDTH_WIDE_IN,
)

_MAX_LEGEND_GROUPS = 8
_CONDITION_COLOURS = {
    "training": GROUP_COLOURS[0],
    "clean machine": GROUP_COLOURS[2],
    "noise only": GROUP_COLOURS[7],
}


def draw_clip_overview(
    samples: npt.NDArray[Any],
    spectrogram_db: npt.NDArray[Any],
    log_mel_db: npt.NDArray[Any],
    *,
    sample_rate: float,
    band_centres_hz: npt.NDArray[np.float64],
    highpass_hz: float | None = None,
    title: str | None = None,
) -> Figure:
    """Draw one clip as waveform, spectrogram and log-mel spectrogram.

    Parameters
    ----------
    samples : ndarray, shape (n_samples,)
        Full scale 1.0.
    spectrogram_db : ndarray, shape (n_bins, n_frames)
        Levels from 0 Hz to half the sample rate [dB].
    log_mel_db : ndarray, shape (n_mels, n_frames)
        Levels of the mel bands [dB].
    sample_rate : float
        Sample rate [Hz].
    band_centres_hz : ndarray, shape (n_mels,)
        Centre frequencies of the mel bands [Hz].
    highpass_hz : float, optional
        Cut-off to mark [Hz].
    title : str, optional
        The finding; by default the level and the loudest band.

    Returns
    -------
    Figure
    """
    duration_s = len(samples) / sample_rate
    figure, (wave, linear, mel) = plt.subplots(
        3, 1, figsize=(WIDTH_WIDE_IN, 5.0), sharex=True, height_ratios=[1, 2, 2],
        layout="constrained",
    )  # fmt: skip
    low, high = _envelope(samples, 2000)
    wave.fill_between(np.linspace(0, duration_s, len(low)), low, high, lw=0.3, color="0.3")
    wave.set_ylabel("Amplitude [1]")
    extent = (0.0, duration_s, 0.0, sample_rate / 2000)
    image = linear.imshow(spectrogram_db, origin="lower", aspect="auto", extent=extent,
                          cmap=SPECTROGRAM_COLOURMAP, interpolation="nearest")  # fmt: skip
    linear.set_ylabel("Frequency [kHz]")
    figure.colorbar(image, ax=linear, label="Level [dB]", pad=0.01)
    bands = (0.0, duration_s, -0.5, len(log_mel_db) - 0.5)
    image = mel.imshow(log_mel_db, origin="lower", aspect="auto", extent=bands,
                       cmap=SPECTROGRAM_COLOURMAP, interpolation="nearest")  # fmt: skip
    shown = [f for f in TICKS_HZ if band_centres_hz[0] <= f <= band_centres_hz[-1]]
    band = np.arange(len(band_centres_hz))
    mel.set_yticks(np.interp(shown, band_centres_hz, band), [f"{f / 1000:g}" for f in shown])
    mel.set(ylabel="Mel band at [kHz]", xlabel="Time [s]", xlim=(0, duration_s))
    figure.colorbar(image, ax=mel, label="Level [dB]", pad=0.01)
    if highpass_hz is not None:
        linear.axhline(highpass_hz / 1000, color="w", ls="--", lw=0.8)
        mel.axhline(
            float(np.interp(highpass_hz, band_centres_hz, band)), color="w", ls="--", lw=0.8
        )
    set_wrapped_title(figure, title or _clip_finding(samples, log_mel_db, band_centres_hz))
    return figure


def draw_average_spectra(spectra: pd.DataFrame, *, title: str | None = None) -> Figure:
    """Draw the average spectrum of each machine's groups, shaded by the spread over clips.

    Parameters
    ----------
    spectra : DataFrame
        As from :func:`asdlib.spectra.average_spectra`.
    title : str, optional
        The finding; by default where the groups of a machine differ most.

    Returns
    -------
    Figure
        One panel per machine; the shade is one standard deviation either side, left out where
        a machine has more than 3 groups.
    """
    machines = list(dict.fromkeys(spectra["machine_type"]))
    shared = set(spectra["group"]) <= {*DOMAIN_COLOURS, *_CONDITION_COLOURS}
    figure, panels = make_panels(len(machines), height_in=1.9 if shared else 2.4)
    named: dict[str, Any] = {}
    for machine, ax in zip(machines, panels, strict=True):
        own = spectra[spectra["machine_type"] == machine]
        groups = list(dict.fromkeys(own["group"]))
        for index, group in enumerate(groups):
            lines = own[(own["group"] == group) & (own["frequency_hz"] > 0)]
            x, mean_db = lines["frequency_hz"], lines["mean_db"]
            colour = _group_colour(group, index)
            label = f"{group} ({lines['n_clips'].iloc[0]})"
            ax.plot(x, mean_db, color=colour, lw=0.8 if len(groups) <= 3 else 0.5, label=label)
            if len(groups) <= 3:
                spread = lines["std_db"].fillna(0)
                ax.fill_between(
                    x, mean_db - spread, mean_db + spread, color=colour, alpha=0.2, lw=0
                )
            named[str(group)] = colour
        frequency_axis(ax, 50, float(own["frequency_hz"].max()))
        ax.set_title(machine)
        if not shared:
            _legend_inside(ax, groups)
    label_outside(panels, "Frequency [Hz]", "Level [dB]")
    if shared:
        handles = [Line2D([], [], color=colour, label=name) for name, colour in named.items()]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    set_wrapped_title(figure, title or _average_finding(spectra))
    return figure


def _group_colour(group: str, index: int) -> Any:
    return {**DOMAIN_COLOURS, **_CONDITION_COLOURS}.get(
        group, GROUP_COLOURS[index % len(GROUP_COLOURS)]
    )


def _legend_inside(ax: Axes, groups: list[str]) -> None:
    if len(groups) <= _MAX_LEGEND_GROUPS:
        ax.legend(fontsize=5, loc="lower left", handlelength=1, labelspacing=0.2)
    else:
        ax.text(0.04, 0.04, f"{len(groups)} attributes", transform=ax.transAxes, fontsize=7)


def _envelope(
    samples: npt.NDArray[Any], points: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Reduce a waveform to the extremes that can be seen at this width."""
    parts = np.array_split(np.asarray(samples, np.float64), min(points, len(samples)))
    return np.array([p.min() for p in parts]), np.array([p.max() for p in parts])


def _clip_finding(
    samples: npt.NDArray[Any], log_mel_db: npt.NDArray[Any], centres: npt.NDArray[np.float64]
) -> str:
    rms_db = 10 * np.log10(max(float(np.mean(np.square(samples, dtype=np.float64))), 1e-12))
    powers = np.mean(10.0 ** (np.asarray(log_mel_db, np.float64) / 10.0), axis=1)
    return (
        f"A clip of {rms_db:.0f} dB re full scale whose loudest mel band lies at "
        f"{centres[int(powers.argmax())]:.0f} Hz"
    )


def _average_finding(spectra: pd.DataFrame) -> str:
    """Say where the groups of a machine differ most, in averages over a twelfth of the bins."""
    best: tuple[float, str, float] | None = None
    for machine, own in spectra[spectra["frequency_hz"] >= 100].groupby("machine_type"):
        table = own.pivot_table(index="frequency_hz", columns="group", values="mean_db")
        if table.shape[1] < 2:
            continue
        smooth = table.rolling(max(1, len(table) // 40), center=True, min_periods=1).mean()
        spread = smooth.max(axis=1) - smooth.min(axis=1)
        if best is None or spread.max() > best[0]:
            best = (float(spread.max()), str(machine), round(float(spread.idxmax()), -1))
    if best is None:
        return "One group of clips per machine: nothing to compare"
    return f"Groups differ most in {best[1]}: {best[0]:.0f} dB near {best[2]:.0f} Hz"
