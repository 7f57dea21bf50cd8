"""What notebook 06 shows beside the rehearsal: the bundle against its run, the log's recordings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML

from asdlib import spectra
from asdlib.data import ArrayStore, open_waveforms
from asdlib.data.audio import read_mono
from asdlib.errors import InputError
from asdlib.monitoring import Detector, level_above_normal, new_clips
from asdlib.report.explain_figures import audio_players
from asdlib.scoring import read_scores
from asdlib.workbook.run import Run

#: Recordings of a machine whose spectra are drawn, the newest ones.
_MOST_SPECTRA = 300


def compare_with_run(
    run: Run, detector: Detector, waveforms: ArrayStore, *, per_machine: int
) -> pd.DataFrame:
    """Score a run's first test clips by its bundle: ``clip_id, run, bundle``.

    Parameters
    ----------
    run : Run
    detector : Detector
    waveforms : ArrayStore
        int16 samples of the run's clips.
    per_machine : int
        Clips of every machine.
    """
    clips = run.clips()
    is_test = clips["split"].eq("test") & clips["machine_type"].isin(detector.machines)
    new = clips[is_test].groupby("machine_type").head(per_machine).reset_index(drop=True)
    if new.empty:
        return pd.DataFrame({"clip_id": [], "run": [], "bundle": []}, dtype="float64")
    described = detector.describe(
        waveforms, new, cache_dir=run.cache, workers=run.workers, progress=run.progress
    )
    own = detector.score(new, described)["final"].set_index("clip_id")["anomaly_score"]
    scores = read_scores(run.stage_file(run.results / "scores.csv"))
    of_run = scores[scores["system"].eq("final")].drop_duplicates("clip_id")  # of the first seed
    known = of_run.set_index("clip_id")["anomaly_score"]
    ids = new["clip_id"].tolist()
    return pd.DataFrame({"clip_id": ids, "run": known[ids].array, "bundle": own[ids].array})


def levels_of_log(
    run: Run, detector: Detector, log: pd.DataFrame
) -> dict[str, tuple[npt.NDArray[np.floating], list[str]]]:
    """Levels above normal of the newest recordings in a log, as far as their files are there.

    Returns
    -------
    dict of str to (ndarray of shape (n_clips, n_bands), list of str)
        By machine, in the order of time: `asdlib.monitoring.level_above_normal` and times.
    """
    levels = {}
    for machine, own in log.groupby("machine_type"):
        recordings = own.drop_duplicates("path").tail(_MOST_SPECTRA)
        paths = [Path(path) for path in recordings["path"] if Path(path).is_file()]
        if not paths:
            continue
        new = new_clips(paths, [str(machine)], window_s=detector.settings["window_s"])
        new = new.sort_values(["recorded_at", "clip_id"], ignore_index=True)
        options: dict[str, Any] = {"cache_dir": run.cache, "workers": run.workers}
        waveforms = open_waveforms(new, **options, **detector.settings["waveforms"])
        rows = spectra.open_profiles(waveforms, new, kind="spectrum", **options).fixed()
        above = level_above_normal(detector, str(machine), {"spectrum": rows})
        levels[str(machine)] = (above, new["recorded_at"].str[:16].tolist())
    return levels


def flagged_players(detector: Detector, flagged: pd.DataFrame) -> Iterator[HTML]:
    """Give a player for every flagged clip whose recording is still there."""
    made_with = dict(detector.settings["waveforms"])
    made_with["scale"] = made_with.get("scale") or 1.0
    for row in flagged.to_dict("records"):
        try:
            samples = read_mono(str(row["path"]), **made_with)
        except InputError:
            continue
        caption = f"{row['machine_type']}: {row['recording']}"
        yield audio_players({caption: samples}, sample_rate=made_with["sample_rate"])
