"""Figures of notebook 01: one clip, average spectra, energy and information by band, high-pass."""

from __future__ import annotations

import math
import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from asdlib.data.audio import FULL_SCALE
from asdlib.data.store import ArrayStore
from asdlib.report import style
from asdlib.spectra import LogMelSettings, band_centres_hz, log_mel, spectrogram

#: A machine of more groups has those named that lie furthest from the others.
_NAMED_GROUPS = 8
_BAND_TICKS_HZ = (100, 200, 500, 1000, 2000, 5000, 10000, 20000)
_FIXED_COLOURS = {
    **style.DOMAIN_COLOURS,
    "training": style.GROUP_COLOURS[0],
    "clean machine": style.GROUP_COLOURS[2],
    "noise only": style.GROUP_COLOURS[7],
}
#: Lowest value of the criterion's axis, below it the room for a reason.
_LOWEST_SHARE, _REASON_AT = -0.75, -1.6


def draw_recording(
    clip_id: str, waveforms: ArrayStore, settings: LogMelSettings, *, title: str
) -> Figure:
    """Draw a clip of a waveform store (int16) as waveform, spectrogram and log-mel spectrogram.

    ``settings`` are of both spectrograms, which are shown relative to their own loudest cell.
    """
    samples, sample_rate = waveforms.row_of(clip_id) / FULL_SCALE, waveforms.settings["sample_rate"]
    shape = {"n_fft": settings.n_fft, "hop_length": settings.hop_length}
    spectrogram_db = spectrogram(samples, **shape)
    log_mel_db = log_mel(samples, sr=sample_rate, n_mels=settings.n_mels, fmin=settings.fmin,
                         fmax=settings.fmax, **shape)  # fmt: skip
    duration_s = len(samples) / sample_rate
    figure, (wave, linear, mel) = plt.subplots(
        3, 1, figsize=(style.WIDTH_WIDE_IN, 5.0), sharex=True, height_ratios=[1, 2, 2]
    )
    parts = np.array_split(samples, min(2000, len(samples)))
    low, high = np.array([(part.min(), part.max()) for part in parts]).T
    wave.fill_between(np.linspace(0, duration_s, len(low)), low, high, lw=0.3, color="0.3")
    wave.set_ylabel("Amplitude [1]")
    for ax, levels, bottom, top in (
        (linear, spectrogram_db, 0.0, sample_rate / 2000),
        (mel, log_mel_db, -0.5, len(log_mel_db) - 0.5),
    ):
        image = style.show_levels(ax, levels - levels.max(), (0.0, duration_s, bottom, top))
        figure.colorbar(image, ax=ax, label="Level [dB re loudest]", pad=0.01)
    linear.set_ylabel("Frequency [kHz]")
    style.mel_axis(mel, band_centres_hz(settings))
    mel.set(xlabel="Time [s]", xlim=(0, duration_s))
    style.set_wrapped_title(figure, title)
    return figure


def draw_average_spectra(spectra: pd.DataFrame) -> Figure:
    """Draw the average spectrum of each machine's groups, one panel per machine.

    ``spectra`` are as from :func:`asdlib.spectra.average_spectra`. Up to 3 groups are shaded by one
    standard deviation; of more than 8 those are named that differ most from the mean.
    """
    machines = list(dict.fromkeys(spectra["machine_type"]))
    shared = set(spectra["group"]) <= set(_FIXED_COLOURS)
    figure, panels = style.make_panels(len(machines), height_in=1.9 if shared else 2.4)
    for machine, ax in zip(machines, panels, strict=True):
        own = spectra[(spectra["machine_type"] == machine) & (spectra["frequency_hz"] > 0)]
        _draw_groups(ax, own)
        style.frequency_axis(ax, 50, float(own["frequency_hz"].max()))
        count = own["group"].nunique()
        few = shared or count <= _NAMED_GROUPS
        ax.set_title(machine if few else f"{machine}: {count} attributes")
        if not shared:
            # Room for the names below the curves.
            low, high = ax.get_ylim()
            rows = min(count, _NAMED_GROUPS) + 1.5
            ax.set_ylim(low - 0.065 * rows * (high - low), high)
            title = None if few else f"{_NAMED_GROUPS} that differ most:"
            ax.legend(fontsize=5, loc="lower left", handlelength=1, labelspacing=0.2,
                      title=title, title_fontsize=5)  # fmt: skip
    style.label_outside(panels, "Frequency [Hz]", "Level [dB re full scale]")
    if shared:
        names = list(dict.fromkeys(spectra["group"]))
        handles = [Line2D([], [], color=_FIXED_COLOURS[name], label=name) for name in names]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    style.set_wrapped_title(figure, _average_finding(spectra))
    return figure


def _draw_groups(ax: Axes, own: pd.DataFrame) -> None:
    groups = list(dict.fromkeys(own["group"]))
    named = groups
    if len(groups) > _NAMED_GROUPS:
        table = own.pivot_table(index="frequency_hz", columns="group", values="mean_db")
        distance = table.sub(table.mean(axis=1), axis=0).abs().mean()
        named = distance.nlargest(_NAMED_GROUPS).index.tolist()
    for group in sorted(groups, key=lambda group: group in named):
        lines = own[own["group"] == group]
        x, mean_db = lines["frequency_hz"], lines["mean_db"]
        if group not in named:
            ax.plot(x, mean_db, color="0.75", lw=0.4)
            continue
        colour = _FIXED_COLOURS.get(group, style.GROUP_COLOURS[named.index(group)])
        ax.plot(x, mean_db, color=colour, lw=0.8 if len(groups) <= 3 else 0.5,
                label=f"{group} ({lines['n_clips'].iloc[0]})")  # fmt: skip
        if len(groups) <= 3:
            spread = lines["std_db"].fillna(0)
            ax.fill_between(x, mean_db - spread, mean_db + spread, color=colour, alpha=0.2, lw=0)


def _average_finding(spectra: pd.DataFrame) -> str:
    """Say where the groups of a machine differ most, in averages over a fortieth of the axis."""
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
    width_hz = round(float(spectra["frequency_hz"].max()) / 40, -1)
    return (f"Groups differ most in {best[1]}: {best[0]:.0f} dB near {best[2]:.0f} Hz, in averages "
            f"over {width_hz:.0f} Hz")  # fmt: skip


def draw_band_information(bands: pd.DataFrame) -> Figure:
    """Draw where over frequency energy, SNR and attribute differences lie, machine by machine.

    Three heat maps, machine by third-octave band; grey where nothing is known. ``bands`` are as
    from :func:`asdlib.spectra.band_information`.
    """
    machines = list(dict.fromkeys(bands["machine_type"]))
    lows, top_hz = np.sort(bands["low_hz"].unique()), bands["high_hz"].max()
    energy = {"cmap": style.SPECTROGRAM_COLOURMAP, "vmin": 0}
    columns = [
        ("energy_share", "Share of energy [%]", 100.0, energy),
        ("snr_db", "SNR [dB]", 1.0, {"cmap": "RdBu_r", "vmin": -15, "vmax": 15}),
        ("attribute_share", "Variance by attribute [%]", 100.0, {**energy, "vmax": 100}),
    ]
    size = (style.WIDTH_WIDE_IN, 1.5 + 0.22 * len(machines))
    figure, axes = plt.subplots(1, 3, figsize=size, sharey=True)
    for ax, (column, label, scale, options) in zip(axes, columns, strict=True):
        table = bands.pivot_table(
            index="machine_type", columns="low_hz", values=column, dropna=False
        ).reindex(index=machines, columns=lows)
        ax.set_facecolor("0.85")
        image = ax.imshow(
            scale * table.to_numpy(dtype=np.float64), aspect="auto", interpolation="nearest",
            **options,
        )  # fmt: skip
        figure.colorbar(image, ax=ax, label=label, location="bottom", pad=0.02)
        shown = [f for f in _BAND_TICKS_HZ if lows[0] <= f <= top_hz]
        # The cells are third octaves.
        places = 3 * np.log2(np.array(shown) / lows[0]) - 0.5
        ax.set_xticks(places, [style.short_frequency(f) for f in shown])
        ax.set_xlabel("Frequency [Hz]")
    axes[0].set_yticks(range(len(machines)), machines)
    above = bands[bands["low_hz"] >= 1000].groupby("machine_type")["energy_share"].sum()
    high = above[above > 0.5].index.tolist()
    title = f"{len(high)} of {len(machines)} machines have most of their energy above 1 kHz"
    style.set_wrapped_title(figure, f"{title}: {', '.join(high)}" if high else title)
    return figure


def draw_highpass_criterion(curves: pd.DataFrame, table: pd.DataFrame) -> Figure:
    """Draw the criterion over the cut-off for each machine and mark what was chosen.

    One panel per machine: criterion with its 95 % interval, and the shares of information and
    scatter above the cut-off; below them the reason of a machine without high-pass. ``curves`` and
    ``table`` are fields of :class:`asdlib.spectra.HighpassChoice`.
    """
    figure, panels = style.make_panels(len(table), height_in=2.1)
    criterion, _, information, scatter = style.GROUP_COLOURS[:4]
    choices = table[["machine_type", "highpass_hz", "reason"]].astype({"highpass_hz": float})
    rows = choices.itertuples(index=False, name=None)
    for (machine, chosen, reason), ax in zip(rows, panels, strict=True):
        own = curves[(curves["machine_type"] == machine) & (curves["cutoff_hz"] > 0)]
        ax.axhline(0, color="0.7", lw=0.6)
        if len(own):
            x = own["cutoff_hz"].astype(float)
            low, high = own[["ci_low", "ci_high"]].clip(lower=_LOWEST_SHARE).to_numpy().T
            ax.plot(x, own["information_kept"], color=information, lw=0.9, ls="--")
            ax.plot(x, own["scatter_kept"], color=scatter, lw=0.9, ls=":")
            ax.fill_between(x, low, high, color=criterion, alpha=0.25, lw=0)
            ax.plot(x, own["criterion"].clip(lower=_LOWEST_SHARE), color=criterion, lw=1.2)
        name = "none" if math.isnan(chosen) else f"{chosen:.0f} Hz"
        ax.set(title=f"{machine}: {name}", yticks=[-0.5, 0, 0.5, 1], ylim=(_REASON_AT, 1.1))
        if math.isnan(chosen):
            ax.text(0.04, 0.03, textwrap.fill(reason, 25), transform=ax.transAxes, fontsize=6,
                    color="0.35", va="bottom")  # fmt: skip
        else:
            ax.axvline(chosen, color="k", lw=0.9)
        style.frequency_axis(ax, 220, 4500)
    style.label_outside(panels, "Cut-off [Hz]", "Share or criterion [1]")
    handles = [
        Line2D([], [], color=criterion, label="criterion"),
        Patch(color=criterion, alpha=0.25, lw=0, label="95 % interval"),
        Line2D([], [], color=information, ls="--", label="information kept"),
        Line2D([], [], color=scatter, ls=":", label="scatter kept"),
        Line2D([], [], color="k", label="chosen"),
    ]
    cuts = table.dropna(subset="highpass_hz").set_index("machine_type")["highpass_hz"]
    title = f"A high-pass for {len(cuts) or 'none'} of {len(table)} machines"
    names = ", ".join(f"{machine} ({cutoff:.0f} Hz)" for machine, cutoff in cuts.items())
    style.finish_panels(figure, handles, f"{title}: {names}" if names else title)
    return figure
