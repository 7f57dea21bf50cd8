"""A run's rehearsal: the stored detector hears held-out clips that were changed in known ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib import scoring, spectra, training
from asdlib.data import ArrayStore
from asdlib.data.store import open_existing
from asdlib.workbook.run import Run


def rehearse(
    run: Run,
    clips: pd.DataFrame,
    profiles: Mapping[str, ArrayStore],
    embeddings: training.Embeddings,
    residuals: Mapping[str, dict[str, npt.NDArray[Any]]],
    *,
    views: Sequence[str],
    neighbours: int,
    n_clips: int,
    false_alarm_rate: float,
) -> pd.DataFrame:
    """Score changed clips by the final system and each of its views.

    Network and autoencoder are as notebook 03 trained them, on the clips that are put aside here
    as well: what these two views hear of the changes is an upper bound.

    Parameters
    ----------
    run : Run
    clips : DataFrame
        Clip table of the scored machines.
    profiles : mapping of str to ArrayStore
        Stores of the profiles among the views.
    embeddings : Embeddings
        Of one seed.
    residuals : mapping of str to mapping of arrays
        Autoencoder of every machine, of that seed.
    views : sequence of str
        What the final system hears.
    neighbours : int
        k in each domain.
    n_clips : int
        Clips changed per machine.
    false_alarm_rate : float
        What the threshold promises.

    Returns
    -------
    DataFrame
        As from `asdlib.scoring.detection_rates`; empty where no machine has clips enough.
    """
    clips = clips.reset_index(drop=True)
    aside = scoring.held_out_part(clips)
    if n_clips == 0 or not aside.any():
        return pd.DataFrame(columns=scoring.SENSITIVITY_COLUMNS)
    plan = spectra.plan_rehearsal(clips, aside, n_clips=n_clips)
    waveforms = run.open_store_link("waveforms.json")
    options: dict[str, Any] = {"cache_dir": run.cache, "workers": run.workers}
    with run.progress(len(plan), "known changes") as count:
        changed = spectra.open_rehearsal(waveforms, plan, on_progress=count, **options)
    table = scoring.rehearsed_clips(clips, plan)
    rows = {}
    for kind, store in profiles.items():
        with run.progress(len(plan), f"changed clips, {kind}") as count:
            new = spectra.open_profiles(changed, plan, kind=kind, on_progress=count, **options)
        rows[kind] = _joined(store.ids, store.fixed(), new.ids, new.fixed())
    if "embedding" in views:
        with run.progress(len(plan), "changed clips, embedding") as count:
            new_rows = _embed(run, changed, plan, embeddings.made_by, count)
        rows["embedding"] = _joined(
            embeddings.clip_ids, embeddings.embedding, plan["clip_id"], new_rows
        )
    by_view = scoring.score_views(rows, table, neighbours=neighbours, seed=None)
    if scoring.AUTOENCODER in views:
        frames = spectra.open_frames(
            changed, plan, settings=spectra.OFFICIAL_LOG_MEL, min_frames=training.STACKED_FRAMES,
            **options,
        )  # fmt: skip
        of_machine = {
            str(name): training.reconstruct(residuals[str(name)], frames, own["clip_id"].tolist())
            for name, own in plan.groupby("machine_type")
        }
        both = scoring.score_autoencoder(of_machine, table, seed=None)
        by_view[scoring.AUTOENCODER] = scoring.autoencoder_view(both, seed=None)
    final = scoring.fuse(list(by_view.values()), system="final", seed=None)
    scores = pd.concat([*by_view.values(), final], ignore_index=True)
    return scoring.detection_rates(scores, plan, false_alarm_rate=false_alarm_rate)


def _embed(
    run: Run, changed: ArrayStore, plan: pd.DataFrame, made_by: Mapping[str, Any], count: Any
) -> npt.NDArray[np.float32]:
    """Embed the changed clips by the network that made the run's embeddings."""
    path = run.build / "checkpoints" / str(made_by["checkpoint"]) / "checkpoint.pt"
    model = training.load_model(run.stage_file(path))
    made_with = run.open_store_link("features.json").settings
    machines = plan["machine_type"].unique()
    features = spectra.open_log_mel(
        changed,
        plan,
        settings=spectra.LogMelSettings(**made_with["log_mel"]),
        highpass_hz={name: made_with["highpass_hz"][name] for name in machines},
        duration_s=made_with["duration_s"],
        long_clips=made_with["long_clips"],
        cache_dir=run.cache,
        workers=run.workers,
    )
    spectrum = None
    if model.identity.n_bins:
        learnt_from = open_existing(run.cache / "spectrum" / model.identity.spectrum_key)
        pool_bins = int(learnt_from.settings["pool_bins"])
        spectrum = spectra.open_spectrum(
            changed, features, pool_bins=pool_bins, cache_dir=run.cache, workers=run.workers
        ).fixed()
    return training.embed(
        model, features.fixed(), np.arange(len(plan)), spectrum=spectrum, on_progress=count
    )


def _joined(
    ids: Sequence[str] | pd.Index,
    rows: npt.NDArray[Any],
    new_ids: Sequence[str] | pd.Index | pd.Series,
    new_rows: npt.NDArray[Any],
) -> scoring.View:
    return [*ids, *new_ids], np.concatenate([rows, new_rows])
