"""Showing: a clip's reason as figure and sound, and a menu to choose any clip by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from asdlib import scoring, spectra
from asdlib.base import one_thread
from asdlib.data import ArrayStore
from asdlib.data.cache import arrays_key, kept
from asdlib.report import explain_figures
from asdlib.report.browse import browse_clips, grouped, show_recording
from asdlib.workbook.explaining import Explained, Explainer


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
    figure = explain_figures.draw_reason(
        one.reason, one.contributions, title=f"{one.names[0]}, {said}: {one.sentence} ({corpus})",
        level_db=sound.level_db, band_centres_hz=sound.centres_hz, duration_s=len(samples) / rate,
    )  # fmt: skip
    # What is displayed later must not be shown a second time by itself.
    plt.close(figure)
    cut = _excerpts(one, waveforms, seconds=seconds)
    return figure, explain_figures.audio_players(cut, sample_rate=rate)


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
