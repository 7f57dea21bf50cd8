"""Showing: a clip's reason as figure and sound, and a menu to choose any clip by."""

from __future__ import annotations

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
from asdlib.report.browse import browse_clips, grouped
from asdlib.workbook.explaining import Explained, Explainer


def browse_verdicts(
    verdicts: pd.DataFrame,
    clips: pd.DataFrame,
    view_scores: pd.DataFrame,
    waveforms: ArrayStore,
    explainer: Explainer,
    *,
    seconds: float,
) -> ipywidgets.VBox | None:
    """Choose any clip of ``verdicts``, the highest score first; see its reason and hear it.

    ``clips`` say domain and condition; the others are as for `explain_verdicts`. None where nobody
    can choose.
    """
    judged = verdicts.set_index("clip_id")
    shares = scoring.contribution_table(view_scores).T
    rate = float(waveforms.settings["sample_rate"])

    def show(_: str, clip_id: str) -> None:
        one = explainer.explain(
            clip_id, shares[clip_id].dropna(), samples=waveforms.row_of(clip_id), sample_rate=rate
        )
        row = judged.loc[clip_id]
        said = f"{row['verdict']}, score {row['anomaly_score']:.2f}"
        display(*draw(one, waveforms, said=said, seconds=seconds))  # type: ignore[no-untyped-call]

    own = clips[clips["clip_id"].isin(judged.index)]
    score = own["clip_id"].map(judged["anomaly_score"])
    return browse_clips(grouped(own.loc[score.sort_values(ascending=False).index]), show)


def draw(
    one: Explained, waveforms: ArrayStore, *, said: str, seconds: float
) -> tuple[Figure, HTML]:
    """Draw a clip's reason, and let it and its nearest normal clip be heard for some seconds.

    ``said`` is the verdict in the title.
    """
    figure = explain_figures.draw_reason(
        one.reason, one.contributions, title=f"{one.clip_id}, {said}: {one.sentence}",
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
    for what, clip_id in (("clip", explained.clip_id), ("nearest normal", explained.nearest[0])):
        row = waveforms.row_of(clip_id)
        first = int(rate * max(0.0, (explained.reason.at_s or 0.0) - seconds / 2))
        first = min(first, max(0, len(row) - int(seconds * rate)))
        cut[f"{what}: {clip_id.rsplit('/', 1)[-1]}"] = row[first : first + int(seconds * rate)]
    return cut
