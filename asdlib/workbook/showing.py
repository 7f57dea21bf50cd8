"""Showing: a clip's reason as figure and sound, and a menu to choose any clip by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML, display
from matplotlib.figure import Figure

from asdlib import scoring, spectra
from asdlib.data import ArrayStore
from asdlib.report import explain_figures
from asdlib.report.browse import browse_clips, grouped, show_recording
from asdlib.workbook.explaining import Explained, Explainer


def show_verdict(
    clip_id: str,
    *,
    verdicts: pd.DataFrame,
    view_scores: pd.DataFrame,
    waveforms: ArrayStore,
    explainer: Explainer,
    seconds: float,
) -> None:
    """Display a judged clip's reason and let it be heard; a training clip is only shown and heard.

    The tables, waveforms and explainer are as for `explain_verdicts`.
    """
    judged = verdicts[verdicts["clip_id"].eq(clip_id)]
    if judged.empty:
        show_recording(clip_id, waveforms, spectra.LogMelSettings())
        return
    own = scoring.contribution_table(view_scores[view_scores["clip_id"].eq(clip_id)])
    rate = float(waveforms.settings["sample_rate"])
    one = explainer.explain(
        clip_id, own.iloc[0].dropna(), samples=waveforms.row_of(clip_id), sample_rate=rate
    )
    said = f"{judged['verdict'].item()}, score {judged['anomaly_score'].item():.2f}"
    display(*draw(one, waveforms, said=said, seconds=seconds))  # type: ignore[no-untyped-call]


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


def draw(
    one: Explained, waveforms: ArrayStore, *, said: str, seconds: float
) -> tuple[Figure, HTML]:
    """Draw a clip's reason, and let it and its nearest normal clip be heard for some seconds.

    ``said`` is the verdict in the title.
    """
    figure = explain_figures.draw_reason(
        one.reason, one.contributions, title=f"{one.names[0]}, {said}: {one.sentence}",
        **_spectrogram(one.clip_id, waveforms),
    )  # fmt: skip
    # What is displayed later must not be shown a second time by itself.
    plt.close(figure)
    cut = _excerpts(one, waveforms, seconds=seconds)
    rate = int(waveforms.settings["sample_rate"])
    return figure, explain_figures.audio_players(cut, sample_rate=rate)


def _spectrogram(clip_id: str, waveforms: ArrayStore) -> dict[str, Any]:
    """Log-mel of a clip as the profiles see it, with its bands [Hz] and duration [s]."""
    samples, rate = waveforms.row_of(clip_id), float(waveforms.settings["sample_rate"])
    sound = spectra.Sound(samples, rate)
    return {"level_db": sound.level_db, "band_centres_hz": sound.centres_hz,
            "duration_s": len(samples) / rate}  # fmt: skip


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
