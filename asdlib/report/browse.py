"""Menus and maps to choose a clip by, in JupyterLab: what belongs to it appears below them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import ipywidgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import display
from matplotlib.backend_bases import MouseEvent
from matplotlib.figure import Figure

from asdlib.data.store import ArrayStore
from asdlib.report.explain_figures import audio_players
from asdlib.report.progress import STATIC_VARIABLE
from asdlib.report.spectrum_figures import draw_recording
from asdlib.spectra import LogMelSettings

#: A map as wide as a page fits beside JupyterLab's list of files.
_CANVAS_DPI = 125


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


def browse_points(
    figure: Figure,
    points: Mapping[str, tuple[npt.NDArray[np.floating], Sequence[str]]],
    show: Callable[[str], object],
) -> ipywidgets.VBox | None:
    """Let the points of a figure be clicked; what ``show(clip)`` displays appears below it.

    ``points`` gives a panel, by its title, the places of its clips, (n_clips, 2), and their names.
    None where nobody can click.
    """
    if os.environ.get(STATIC_VARIABLE) or not points:
        return None
    backend = mpl.get_backend()
    from ipympl.backend_nbagg import Canvas, FigureManager

    mpl.use(backend)  # its import makes it the backend of all figures
    figure.set_dpi(_CANVAS_DPI)
    canvas = Canvas(figure)
    manager = FigureManager(canvas, 0)
    canvas.header_visible = canvas.resizable = False
    below = ipywidgets.Output()

    def choose(event: MouseEvent) -> None:
        if event.inaxes is None or manager.toolbar.mode:  # being moved or magnified
            return
        places, names = points[event.inaxes.get_title()]
        away = event.inaxes.transData.transform(places) - (event.x, event.y)
        below.clear_output(wait=True)
        with below:
            show(names[int(np.hypot(*away.T).argmin())])

    canvas.mpl_connect("button_press_event", choose)
    return ipywidgets.VBox([canvas, below])


def browse_recordings(
    clips: pd.DataFrame, waveforms: ArrayStore, settings: LogMelSettings, *, corpus: str
) -> ipywidgets.VBox | None:
    """Choose any clip of a clip table by machine, split, domain and condition; see and hear it.

    ``waveforms`` has its samples (int16), ``settings`` are of the log-mel spectrogram; ``corpus``
    is "simulated" or "recorded", for the title. None where nobody can choose.
    """
    show = partial(show_recording, waveforms=waveforms, settings=settings, corpus=corpus)
    return browse_clips(grouped(clips), lambda _, clip_id: show(clip_id))


def grouped(clips: pd.DataFrame) -> dict[str, list[str]]:
    """Clips of a clip table by machine, split, domain and condition, in the table's order."""
    is_anomaly = clips["is_anomaly"]
    condition = is_anomaly.map({True: "anomalous", False: "normal"}).astype("string")
    parts = [clips["machine_type"], clips["split"], clips["domain"], condition]
    rows = pd.concat(parts, axis=1).to_numpy(object)
    labels = [", ".join(str(part) for part in row if pd.notna(part)) for row in rows]
    return {str(label): own["clip_id"].tolist() for label, own in clips.groupby(labels)}


def show_recording(
    clip_id: str, waveforms: ArrayStore, settings: LogMelSettings, *, corpus: str
) -> None:
    """Display a clip of a waveform store as `draw_recording` does, and its sound."""
    title = f"{clip_id} ({corpus})"
    show_with_sound(draw_recording(clip_id, waveforms, settings, title=title), clip_id, waveforms)


def show_with_sound(figure: Figure, clip_id: str, waveforms: ArrayStore) -> None:
    """Display a figure of a clip and the clip's sound; close the figure, or it is shown again."""
    samples, rate = waveforms.row_of(clip_id), int(waveforms.settings["sample_rate"])
    sound = audio_players({clip_id: samples}, sample_rate=rate)
    display(figure, sound)  # type: ignore[no-untyped-call]
    plt.close(figure)
