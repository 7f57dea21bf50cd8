"""The detector of a run: gathered, rehearsed, kept as a bundle; what notebook 06 shows of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from IPython.display import HTML

from asdlib import scoring, spectra
from asdlib.base import InputError
from asdlib.data import ArrayStore, open_waveforms
from asdlib.data.audio import read_mono
from asdlib.data.clips import new_clips
from asdlib.data.waveforms import file_digest
from asdlib.monitoring import Detector, level_above_normal, save_bundle
from asdlib.report.clip_figures import audio_players
from asdlib.training import Embeddings, learnt_clips, load_model
from asdlib.workbook.explaining import HearShifted
from asdlib.workbook.run import Run

_OF_WAVEFORMS = ("sample_rate", "resample", "channel", "scale")
_OF_FEATURES = ("log_mel", "highpass_hz", "duration_s", "long_clips")
#: Recordings of a machine whose spectra are drawn, the newest ones.
_MOST_SPECTRA = 300


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
    known: spectra.KnownRates,
) -> Detector:
    """Gather the final system of one seed, with the training clips as its bank.

    ``clips`` are the clip table of the scored machines, ``profiles`` the stores of the profiles
    among the ``views`` that the final system hears, ``residuals`` those of every machine's
    autoencoder. ``neighbours`` is k in each domain, ``false_alarm_rate`` what the thresholds
    promise; ``known`` names frequencies in reasons. `InputError` when the network's checkpoint is
    missing or damaged.
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
        place = run.cache / "checkpoints" / str(embeddings.made_by["checkpoint"])
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

    A third of the bank is put aside and plays new recordings, of which ``n_clips`` of 10 s per
    machine, more of shorter ones, are changed (`asdlib.spectra.plan_rehearsal`). Network and
    autoencoder are as notebook 03 trained them, on those clips as well: what these two views hear
    of the changes is an upper bound. Gives a table as from `asdlib.scoring.detection_rates`, whose
    threshold promises ``false_alarm_rate``; empty where no machine has clips enough.
    """
    clips = detector.clips
    aside = scoring.held_out_part(clips)
    if n_clips == 0 or not aside.any():
        return pd.DataFrame(columns=scoring.SENSITIVITY_COLUMNS)
    waveforms = run.open_store_link("waveforms.json")
    n_samples = np.diff(waveforms.offsets)[waveforms.positions(clips["clip_id"])]
    duration_s = n_samples / waveforms.settings["sample_rate"]
    plan = spectra.plan_rehearsal(clips, aside, n_clips=n_clips, duration_s=duration_s)
    with run.progress(len(plan), "known changes") as count:
        changed = spectra.open_rehearsal(waveforms, plan, on_progress=count, **run.store)
    rehearsed = replace(detector, clips=scoring.rehearsed_clips(clips))
    described = rehearsed.describe(changed, plan, progress=run.progress, **run.store)
    scores = pd.concat(rehearsed.score(plan, described).values(), ignore_index=True)
    return scoring.detection_rates(scores, plan, false_alarm_rate=false_alarm_rate)


def keep_bundle(run: Run, detector: Detector) -> Path:
    """Keep the detector as a version of ``bundles/<run name>``, for later recordings."""
    content = [file_digest(path) for path in detector.clips["path"]]
    # A bundle goes to other machines, where these paths mean nothing.
    clips = detector.clips.drop(columns="path").assign(content=content)
    return save_bundle(replace(detector, clips=clips), run.bundle, made_from=run.provenance())


def compare_with_run(
    run: Run, detector: Detector, waveforms: ArrayStore, *, per_machine: int
) -> pd.DataFrame:
    """Score a run's first test clips of every machine by its bundle: ``clip_id, run, bundle``."""
    clips = run.clips()
    is_test = clips["split"].eq("test") & clips["machine_type"].isin(detector.machines)
    new = clips[is_test].groupby("machine_type").head(per_machine).reset_index(drop=True)
    if new.empty:
        return pd.DataFrame({"clip_id": [], "run": [], "bundle": []}, dtype="float64")
    described = detector.describe(waveforms, new, progress=run.progress, **run.store)
    own = detector.score(new, described)["final"].set_index("clip_id")["anomaly_score"]
    scores = scoring.read_scores(run.stage_file(run.results / "scores.csv"))
    of_run = scores[scores["system"].eq("final")].drop_duplicates("clip_id")  # of the first seed
    known = of_run.set_index("clip_id")["anomaly_score"]
    ids = new["clip_id"].tolist()
    return pd.DataFrame({"clip_id": ids, "run": known[ids].array, "bundle": own[ids].array})


def levels_of_log(
    run: Run, detector: Detector, log: pd.DataFrame
) -> dict[str, tuple[npt.NDArray[np.floating], list[str]]]:
    """Levels above normal of the newest recordings in a log, as far as their files are there.

    By machine, in the order of time: `asdlib.monitoring.level_above_normal` (n_clips, n_bands) and
    the recordings' times.
    """
    levels = {}
    for machine, own in log.groupby("machine_type"):
        recordings = own.drop_duplicates("path").tail(_MOST_SPECTRA)
        paths = [Path(path) for path in recordings["path"] if Path(path).is_file()]
        if not paths:
            continue
        new = new_clips(paths, [str(machine)], window_s=detector.settings["window_s"])
        new = new.sort_values(["recorded_at", "clip_id"], ignore_index=True)
        waveforms = open_waveforms(new, **run.store, **detector.settings["waveforms"])
        rows = spectra.open_profiles(waveforms, new, kind="spectrum", **run.store).fixed()
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
