"""Menus to choose a clip by, in JupyterLab: what belongs to it appears below them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import ipywidgets
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display

from asdlib.data.audio import FULL_SCALE
from asdlib.data.store import ArrayStore
from asdlib.report.explain_figures import audio_players
from asdlib.report.progress import STATIC_VARIABLE
from asdlib.report.spectrum_figures import draw_clip_overview
from asdlib.spectra import LogMelSettings, band_centres_hz, log_mel, spectrogram


def browse_clips(
    clip_ids: Mapping[str, Sequence[str]], show: Callable[[str, str], object]
) -> ipywidgets.VBox | None:
    """Show a menu of machines, one of their clips, and what ``show(machine, clip)`` displays of it.

    None where there is nobody to choose or nothing to choose from.
    """
    if os.environ.get(STATIC_VARIABLE) or not clip_ids:
        return None
    machine = ipywidgets.Dropdown(options=list(clip_ids), description="Machine")
    clip = ipywidgets.Dropdown(options=list(clip_ids[machine.value]), description="Clip")
    clip.layout.width = "40em"
    below = ipywidgets.Output()

    def change_machine(_: object) -> None:
        clip.options = list(clip_ids[machine.value])

    def change_clip(_: object) -> None:
        below.clear_output(wait=True)
        with below:
            show(machine.value, clip.value)

    machine.observe(change_machine, names="value")
    clip.observe(change_clip, names="value")
    change_clip(None)
    return ipywidgets.VBox([ipywidgets.HBox([machine, clip]), below])


def browse_recordings(
    clips: pd.DataFrame, waveforms: ArrayStore, settings: LogMelSettings
) -> ipywidgets.VBox | None:
    """Choose any clip by machine, split, domain and condition; see it and hear it.

    Parameters
    ----------
    clips : DataFrame
        Clip table.
    waveforms : ArrayStore
        Samples of its clips, int16.
    settings : LogMelSettings
        Of the log-mel spectrogram beside the waveform and the spectrogram.

    Returns
    -------
    ipywidgets.VBox or None
        None where nobody can choose.
    """
    return browse_clips(grouped(clips), partial(_show_recording, waveforms, settings))


def grouped(clips: pd.DataFrame) -> dict[str, list[str]]:
    """Clips of a clip table by machine, split, domain and condition, in the table's order."""
    is_anomaly = clips["is_anomaly"]
    condition = is_anomaly.map({True: "anomalous", False: "normal"}).astype("string")
    parts = [clips["machine_type"], clips["split"], clips["domain"], condition]
    rows = pd.concat(parts, axis=1).to_numpy(object)
    labels = [", ".join(str(part) for part in row if pd.notna(part)) for row in rows]
    return {str(label): own["clip_id"].tolist() for label, own in clips.groupby(labels)}


def _show_recording(waveforms: ArrayStore, settings: LogMelSettings, _: str, clip_id: str) -> None:
    samples = waveforms.row_of(clip_id)
    rate = int(waveforms.settings["sample_rate"])
    shape = {"n_fft": settings.n_fft, "hop_length": settings.hop_length}
    figure = draw_clip_overview(
        samples / FULL_SCALE,
        spectrogram(samples / FULL_SCALE, **shape),
        log_mel(samples / FULL_SCALE, sr=rate, n_mels=settings.n_mels, fmin=settings.fmin,
                fmax=settings.fmax, **shape),
        sample_rate=rate,
        band_centres_hz=band_centres_hz(settings),
        title=clip_id,
    )  # fmt: skip
    display(figure, audio_players({clip_id: samples}, sample_rate=rate))  # type: ignore[no-untyped-call]
    plt.close(figure)
