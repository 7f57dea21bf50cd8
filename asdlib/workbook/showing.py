"""Showing in JupyterLab: menus and maps to choose a clip by, and what is seen and heard of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.backend_bases import MouseEvent
from matplotlib.figure import Figure

from asdlib import scoring, spectra
from asdlib.annotation import MachineEvidence, inspect_clip
from asdlib.base import one_thread
from asdlib.data import ArrayStore
from asdlib.data.cache import arrays_key, kept
from asdlib.report import clip_figures
from asdlib.report.output import STATIC_VARIABLE
from asdlib.report.spectrum_figures import draw_recording
from asdlib.workbook.explaining import Explained, Explainer

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
    clips: pd.DataFrame, waveforms: ArrayStore, settings: spectra.LogMelSettings, *, corpus: str
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
    clip_id: str, waveforms: ArrayStore, settings: spectra.LogMelSettings, *, corpus: str
) -> None:
    """Display a clip of a waveform store as `draw_recording` does, and its sound."""
    title = f"{clip_id} ({corpus})"
    show_with_sound(draw_recording(clip_id, waveforms, settings, title=title), clip_id, waveforms)


def show_with_sound(figure: Figure, clip_id: str, waveforms: ArrayStore) -> None:
    """Display a figure of a clip and the clip's sound; close the figure, or it is shown again."""
    samples, rate = waveforms.row_of(clip_id), int(waveforms.settings["sample_rate"])
    sound = clip_figures.audio_players({clip_id: samples}, sample_rate=rate)
    display(figure, sound)  # type: ignore[no-untyped-call]
    plt.close(figure)


def browse_envelopes(
    machines: Mapping[tuple[str, str], MachineEvidence], waveforms: ArrayStore, *, corpus: str
) -> ipywidgets.VBox | None:
    """Choose a machine and one of its clips; see its envelope analysis and hear it.

    ``machines`` are by machine type and section, as an annotation holds them; ``waveforms`` are
    the int16 samples of the clips, ``corpus`` is "simulated" or "recorded", for the title. Returns
    what `browse_clips` does.
    """
    named = {f"{machine}, section {section}": m for (machine, section), m in machines.items()}

    def show(name: str, clip_id: str) -> None:
        inspection = inspect_clip(clip_id, waveforms, bands_hz=named[name].track.bands_hz)
        figure = clip_figures.draw_inspection(inspection, title=f"{clip_id} ({corpus})")
        show_with_sound(figure, clip_id, waveforms)

    return browse_clips({name: details.clip_ids for name, details in named.items()}, show)


def show_verdict(
    clip_id: str, verdicts: pd.DataFrame, waveforms: ArrayStore, *, corpus: str, **given: Any
) -> None:
    """Display a judged clip as `draw_verdict` does; a training clip is only shown and heard."""
    if verdicts["clip_id"].eq(clip_id).any():
        shown = draw_verdict(clip_id, verdicts, waveforms, corpus=corpus, **given)
        display(*shown)  # type: ignore[no-untyped-call]
    else:
        show_recording(clip_id, waveforms, spectra.LogMelSettings(), corpus=corpus)


def open_maps(
    embedding: npt.NDArray[np.floating],
    machine_types: npt.NDArray[Any],
    *,
    seed: int,
    cache_dir: Path,
    on_progress: Callable[[int], object] = lambda machines: None,
) -> dict[str, npt.NDArray[np.floating]]:
    """Map the embeddings (n_clips, n_dimensions) of each machine by `asdlib.scoring.embedding_map`.

    ``machine_types`` (n_clips,) are the clips'. Maps by machine, in the order of their names, are
    kept in ``cache_dir``; ``on_progress`` counts machines.
    """
    maps = {}
    for name in np.unique(machine_types.astype(str)).tolist():
        own = embedding[machine_types == name]
        maps[name] = kept(
            cache_dir, partial(_map, own, seed), kind="maps",
            settings={"embedding": arrays_key({"own": own}), "seed": seed},
        )["map"]  # fmt: skip
        on_progress(1)
    return maps


def _map(embedding: npt.NDArray[np.floating], seed: int) -> dict[str, npt.ArrayLike]:
    return {"map": scoring.embedding_map(embedding, seed=seed)}


def browse_verdicts(
    verdicts: pd.DataFrame, clips: pd.DataFrame, show: Callable[[str], object]
) -> ipywidgets.VBox | None:
    """Choose any clip of ``verdicts``, the highest score first, by what ``clips`` say of it.

    ``show(clip)`` displays it. None where nobody can choose.
    """
    own = clips[clips["clip_id"].isin(verdicts["clip_id"])]
    score = own["clip_id"].map(verdicts.set_index("clip_id")["anomaly_score"])
    ranked = own.loc[score.sort_values(ascending=False).index]
    return browse_clips(grouped(ranked), lambda _, clip_id: show(clip_id))


def draw_verdict(
    clip_id: str, verdicts: pd.DataFrame, waveforms: ArrayStore, *, view_scores: pd.DataFrame,
    explainer: Explainer, seconds: float, corpus: str,
) -> tuple[Figure, HTML]:  # fmt: skip
    """Draw a judged clip's reason; let it and its nearest normal clip be heard for some seconds.

    The tables, waveforms and explainer are as for `reason_sentences`; ``corpus`` is "simulated" or
    "recorded", for the title.
    """
    judged = verdicts[verdicts["clip_id"].eq(clip_id)].iloc[0]
    own = scoring.contribution_table(view_scores[view_scores["clip_id"].eq(clip_id)])
    with one_thread():
        one = explainer.explain(clip_id, own.iloc[0], waveforms)
    said = f"{judged['verdict']}, score {judged['anomaly_score']:.2f}"
    samples, rate = waveforms.row_of(clip_id), int(waveforms.settings["sample_rate"])
    sound = spectra.Sound(samples, rate)
    figure = clip_figures.draw_reason(
        one.reason, one.contributions, title=f"{one.names[0]}, {said}: {one.sentence} ({corpus})",
        level_db=sound.level_db, band_centres_hz=sound.centres_hz, duration_s=len(samples) / rate,
    )  # fmt: skip
    # What is displayed later must not be shown a second time by itself.
    plt.close(figure)
    cut = _excerpts(one, waveforms, seconds=seconds)
    return figure, clip_figures.audio_players(cut, sample_rate=rate)


def _excerpts(
    explained: Explained, waveforms: ArrayStore, *, seconds: float
) -> dict[str, npt.NDArray[np.int16]]:
    """Cut out the moment that is meant, or the beginning, of the clip and its nearest normal."""
    rate = float(waveforms.settings["sample_rate"])
    cut = {}
    both = ("clip", explained.clip_id), ("nearest normal", explained.nearest[0])
    for (what, clip_id), name in zip(both, explained.names, strict=True):
        row = waveforms.row_of(clip_id)
        first = int(rate * max(0.0, (explained.reason.at_s or 0.0) - seconds / 2))
        first = min(first, max(0, len(row) - int(seconds * rate)))
        cut[f"{what}: {name.rsplit('/', 1)[-1]}"] = row[first : first + int(seconds * rate)]
    return cut
