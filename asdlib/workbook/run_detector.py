"""The detector of a run: gathered from its stages, rehearsed, and kept as a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib import scoring, spectra
from asdlib.data import ArrayStore
from asdlib.data.waveforms import file_digest
from asdlib.monitoring import Detector, save_bundle
from asdlib.spectra import KnownRates
from asdlib.training import Embeddings, learnt_clips, load_model
from asdlib.workbook.explaining import HearShifted
from asdlib.workbook.run import Run

_OF_WAVEFORMS = ("sample_rate", "resample", "channel", "scale")
_OF_FEATURES = ("log_mel", "highpass_hz", "duration_s", "long_clips")


def gather_detector(
    run: Run,
    clips: pd.DataFrame,
    profiles: Mapping[str, ArrayStore],
    embeddings: Embeddings,
    residuals: Mapping[str, dict[str, npt.NDArray[Any]]],
    *,
    views: Sequence[str],
    neighbours: int,
    false_alarm_rate: float,
    known: KnownRates,
) -> Detector:
    """Gather the final system of one seed, with the training clips as its bank.

    Parameters
    ----------
    run : Run
    clips : DataFrame
        Clip table of the scored machines.
    profiles : mapping of str to ArrayStore
        Stores of the profiles among the views, and of ``spectrum``.
    embeddings : Embeddings
    residuals : mapping of str to mapping of arrays
        Autoencoder of every machine.
    views : sequence of str
        What the final system hears.
    neighbours : int
        k in each domain.
    false_alarm_rate : float
        What its thresholds promise.
    known : KnownRates
        Names frequencies in its reasons.

    Raises
    ------
    InputError
        When the network's checkpoint is missing or damaged.
    """
    bank = clips[clips["split"].eq("train")].reset_index(drop=True)
    bank["is_learnt"] = bank["clip_id"].isin(learnt_clips(clips)["clip_id"])
    rows = {
        kind: np.asarray(store.fixed()[store.positions(bank["clip_id"])])
        for kind, store in profiles.items()
    }
    features = dict(run.open_store_link("features.json").settings)
    model = None
    if "embedding" in views:
        place = run.build / "checkpoints" / str(embeddings.made_by["checkpoint"])
        model = load_model(run.stage_file(place / "checkpoint.pt"))
        own = pd.Index(embeddings.clip_ids).get_indexer(pd.Index(bank["clip_id"]))
        rows["embedding"] = embeddings.embedding[own]
        if model.identity.n_bins:
            settings = run.open_store_link("spectrum.json").settings
            features["pool_bins"] = int(settings["pool_bins"])
    made_with = run.open_store_link("waveforms.json").settings
    link = json.loads(run.stage_file(run.build / "waveforms.json").read_text())
    settings = {
        "views": list(views),
        "neighbours": neighbours,
        "false_alarm_rate": false_alarm_rate,
        "shaft_rate_hz": known.shaft_rate_hz,
        "bearing": dict(known.bearing),
        "window_s": float(link.get("window_s", 0.0)),
        "waveforms": {name: made_with[name] for name in _OF_WAVEFORMS if name in made_with},
        "features": {name: features.get(name) for name in (*_OF_FEATURES, "pool_bins")},
    }
    learnt = dict(residuals) if scoring.AUTOENCODER in views else {}
    return Detector(settings, bank, rows, learnt, model)


def hear_again(run: Run, detector: Detector) -> HearShifted | None:
    """Let the network hear clips of a run again, as `Explainer` wants it; None without network."""
    if detector.model is None:
        return None
    spectrum = None
    if detector.model.identity.n_bins:
        spectrum = run.open_store_link("spectrum.json").fixed()
    return partial(detector.hear_shifted, run.open_store_link("features.json"), spectrum)


def rehearse(
    run: Run, detector: Detector, *, n_clips: int, false_alarm_rate: float
) -> pd.DataFrame:
    """Score changed clips by the final system and each of its views.

    A third of the bank is put aside and plays new recordings. Network and autoencoder are as
    notebook 03 trained them, on those clips as well: what these two views hear of the changes
    is an upper bound.

    Parameters
    ----------
    run : Run
    detector : Detector
    n_clips : int
        Clips changed per machine.
    false_alarm_rate : float
        What the threshold promises.

    Returns
    -------
    DataFrame
        As from `asdlib.scoring.detection_rates`; empty where no machine has clips enough.
    """
    clips = detector.clips
    aside = scoring.held_out_part(clips)
    if n_clips == 0 or not aside.any():
        return pd.DataFrame(columns=scoring.SENSITIVITY_COLUMNS)
    plan = spectra.plan_rehearsal(clips, aside, n_clips=n_clips)
    waveforms = run.open_store_link("waveforms.json")
    options: dict[str, Any] = {"cache_dir": run.cache, "workers": run.workers}
    with run.progress(len(plan), "known changes") as count:
        changed = spectra.open_rehearsal(waveforms, plan, on_progress=count, **options)
    rehearsed = replace(detector, clips=scoring.rehearsed_clips(clips))
    described = rehearsed.describe(changed, plan, progress=run.progress, **options)
    scores = pd.concat(rehearsed.score(plan, described).values(), ignore_index=True)
    return scoring.detection_rates(scores, plan, false_alarm_rate=false_alarm_rate)


def keep_bundle(run: Run, detector: Detector) -> Path:
    """Keep the detector as a version of ``bundles/<run name>``, for later recordings."""
    content = [file_digest(path) for path in detector.clips["path"]]
    # A bundle goes to other machines, where these paths mean nothing.
    clips = detector.clips.drop(columns="path").assign(content=content)
    return save_bundle(replace(detector, clips=clips), run.bundle, made_from=run.provenance())
