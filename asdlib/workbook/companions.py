"""Simulated machines that train along where a run has few machines of its own.

    "... training an attribute classification model together with other machines that have
    attributes." (report, abstract)

A network learns what to listen for by telling sounds apart. One machine alone gives it a handful of
classes that differ in little, and whatever sets those apart, its background for one, it learns
instead of the machine (``benchmarks/companions.md``). Companions are never scored, and nothing but
the network knows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from filelock import FileLock

from asdlib import spectra
from asdlib.data import ArrayStore, open_waveforms, read_clips
from asdlib.data.cache import join_stores
from asdlib.data.simulate import MACHINES, SIZES, write_corpus
from asdlib.data.simulate.machines import COMPANION, VERSION, plan_machine
from asdlib.spectra import LogMelSettings
from asdlib.workbook.run import Run

#: The plants are others than those of the simulated corpus, whose seed is 0 if nobody chose one.
_SEED = 1_000_003


@dataclass(frozen=True)
class Material:
    """What the network learns from: the run's clips, and behind them those of companions."""

    clips: pd.DataFrame  # clip table; companions are called ``companion_<machine>``
    attributes: pd.DataFrame  # ``clip_id, attribute``
    features: ArrayStore  # log-mel of all clips
    spectrum: ArrayStore | None  # of all clips, for a network of two branches
    n_companions: int  # machines


def open_material(
    run: Run, clips: pd.DataFrame, attributes: pd.DataFrame, *, companions_below: int
) -> Material:
    """Gather what the network learns from; simulate companions where the run has few machines.

    Parameters
    ----------
    run : Run
        Of notebook 03; its log-mel store, and for two branches its waveforms, are opened. The
        recordings of companions lie below its cache, for all later runs.
    clips, attributes : DataFrame
        Clip table; ``clip_id, attribute`` of its training clips.
    companions_below : int
        In a run of fewer machine types than this simulated ones train along: all types that the run
        itself does not have, 100 clips of 5 s of the source and 10 of the target domain of each,
        with the attributes they were made with, without high-pass.

    Raises
    ------
    InputError
        When an earlier notebook has not run, or the disk is full.
    """
    features, spectrum = run.open_store_link("features.json"), None
    if run.settings.branches == "two":
        spectrum = _open_spectrum(run, run.open_store_link("waveforms.json"), features)
        run.write_store_link("spectrum.json", spectrum)
    own = set(clips["machine_type"])
    others = sorted(set(MACHINES) - own)
    if len(own) >= companions_below or not others:
        return Material(clips, attributes, features, spectrum, 0)
    made, waveforms = _simulate(run, others)
    with run.progress(len(made), "log-mel of companions") as count:
        log_mel = spectra.open_log_mel(
            waveforms, made, settings=LogMelSettings(**features.settings["log_mel"]),
            highpass_hz={}, duration_s=features.settings["duration_s"],
            long_clips=features.settings["long_clips"], on_progress=count, **run.store,
        )  # fmt: skip
    if spectrum is not None:
        spectrum = join_stores([spectrum, _open_spectrum(run, waveforms, log_mel)], **run.store)
    return Material(
        pd.concat([clips, made], ignore_index=True),
        pd.concat([attributes, made[["clip_id", "attribute"]]], ignore_index=True),
        join_stores([features, log_mel], **run.store),
        spectrum,
        len(others),
    )


def _open_spectrum(run: Run, waveforms: ArrayStore, features: ArrayStore) -> ArrayStore:
    """Spectra of the clips of a log-mel store, for the second branch."""
    with run.progress(len(features), "spectra") as count:
        return spectra.open_spectrum(
            waveforms, features, pool_bins=run.settings.spectrum_pool_bins, on_progress=count,
            **run.store,
        )  # fmt: skip


def _simulate(run: Run, machines: list[str]) -> tuple[pd.DataFrame, ArrayStore]:
    """Clip table, with the attributes they were made with, and waveforms of companions."""
    size = "companions"
    folder = run.cache / f"simulated_companions_v{VERSION}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    plans = [plan for name in MACHINES for plan in plan_machine(name, SIZES[size], _SEED)]
    with FileLock(f"{folder}.lock"), run.progress(len(plans), "simulating companions") as count:
        # All types, so that every run finds them there.
        write_corpus(folder, size=size, seed=_SEED, machines=MACHINES, on_progress=count)
    clips = read_clips(folder, machines=machines)
    state = {f"{plan.machine_type}/{plan.split}/{plan.file_name}": plan.state for plan in plans}
    clips["attribute"] = [state[clip_id].attribute for clip_id in clips["clip_id"]]
    for name in ("clip_id", "machine_type"):
        clips[name] = COMPANION + clips[name]
    with run.progress(len(clips), "decoding companions") as count:
        return clips, open_waveforms(clips, on_progress=count, **run.store)


def told_companions(class_names: Sequence[str]) -> str:
    """Say how many companions are among the classes of a network; nothing where there are none."""
    machines = {name.split("|")[0] for name in class_names}
    count = sum(machine.startswith(COMPANION) for machine in machines)
    return f", trained along with {count} simulated machines" if count else ""
