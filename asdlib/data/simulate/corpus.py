"""Writing a corpus: files, resumption, worker processes."""

from __future__ import annotations

import csv
import io
import json
import math
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from asdlib.base import InputError, available_cores, refuse_unknown, write_atomically
from asdlib.data.simulate.machines import (
    MACHINES,
    SAMPLE_RATE_HZ,
    SIZES,
    VERSION,
    ClipPlan,
    find_model,
    plan_machine,
    synthesise_clip,
)
from asdlib.data.simulate.scene import seeded
from asdlib.data.simulate.sources import FloatArray

MANIFEST = "simulated.json"
_UNFINISHED = ".simulated.unfinished.json"
_CLIPS_PER_TASK = 6

Job = tuple[Path, ClipPlan, int]


def write_corpus(
    root: str | Path,
    *,
    size: str = "demo",
    seed: int = 0,
    machines: Sequence[str] | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Path:
    """Write the simulated corpus in the challenge's layout, or finish one that is unfinished.

    Files: ``dev_data/raw/<machine>/{train,test,supplemental}/*.wav`` and ``attributes_00.csv``;
    ``ground_truth_attributes/simulated/dev_data/<machine>/`` with hidden attributes, faults and
    sessions; last of all ``simulated.json``, whose presence means that all else is there.

    ``root`` is made if missing, and returned; ``size`` is a key of `SIZES`. ``machines`` are types,
    by default all seven; those already there are kept. A clip depends on ``VERSION``, ``seed``, its
    machine type, its name and length, not on other machines, on counts, or on the number of
    ``workers`` (processes, by default one per usable core). ``on_progress`` gets the number of
    clips just finished, those found finished first.

    `InputError`: unknown size or machine, a folder that holds another corpus or other data or
    cannot be written. Finished clips stay and the next call goes on from them.
    """
    root = Path(root)
    refuse_unknown([size], SIZES, "no size")
    wanted = list(MACHINES if machines is None else machines)
    for machine_type in wanted:
        find_model(machine_type)
    wanted = sorted({*wanted, *_machines_there(root, size, seed)})
    plans = {machine: plan_machine(machine, SIZES[size], seed) for machine in wanted}
    manifest = _manifest(size, seed, plans)
    raw = root / "dev_data" / "raw"
    jobs: list[Job] = [
        (raw / machine / plan.split / plan.file_name, plan, seed)
        for machine, clips in plans.items()
        for plan in clips
    ]
    there = {path for machine in wanted for path in (raw / machine).glob("*/*.wav")}
    todo = [job for job in jobs if job[0] not in there]
    on_progress(len(jobs) - len(todo))
    if not todo and _read_json(root / MANIFEST) == manifest:
        return root
    write_atomically(root / _UNFINISHED, _to_json(manifest))
    (root / MANIFEST).unlink(missing_ok=True)
    _write_clips(todo, workers, on_progress)
    for machine, clips in plans.items():
        _write_tables(root, machine, clips)
    write_atomically(root / MANIFEST, _to_json(manifest))
    (root / _UNFINISHED).unlink(missing_ok=True)
    return root


def finished_machines(root: Path) -> set[str]:
    """Machine types of the finished simulated corpus at ``root``; empty where there is none."""
    return set((_read_json(root / MANIFEST) or {"machines": ()})["machines"])


def _machines_there(root: Path, size: str, seed: int) -> list[str]:
    """Machines of the corpus at ``root``, finished or not; refuse anything else there."""
    found = _read_json(root / MANIFEST) or _read_json(root / _UNFINISHED)
    if found is None:
        if (root / "dev_data").exists():
            raise InputError(
                f"{root}: holds data but no {MANIFEST}, so it is not a simulated corpus. "
                "Choose an empty folder."
            )
        return []
    wanted = {"version": VERSION, "size": size, "seed": seed}
    there = {key: found.get(key) for key in wanted}
    if there != wanted:
        words = [", ".join(f"{key} {value}" for key, value in d.items()) for d in (there, wanted)]
        raise InputError(
            f"{root}: holds a simulated corpus of {words[0]}, expected {words[1]}. "
            "Choose another folder or delete this one."
        )
    return [machine for machine in found["machines"] if machine in MACHINES]


def _manifest(size: str, seed: int, plans: dict[str, list[ClipPlan]]) -> dict[str, Any]:
    return {
        "description": "simulated machine sounds, no recordings",
        "generator": "asdlib.data.simulate",
        "version": VERSION,
        "size": size,
        "seed": seed,
        "sample_rate": SAMPLE_RATE_HZ,
        "counts_per_machine": asdict(SIZES[size]),
        "machines": {
            machine: {
                "clips": len(clips),
                "has_attributes": find_model(machine).has_attributes,
                "supplemental": find_model(machine).supplemental,
            }
            for machine, clips in plans.items()
        },
    }


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
    except ValueError as error:
        raise InputError(f"{path}: is not readable as JSON. Delete this corpus.") from error


def _to_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _write_clips(
    jobs: list[Job], workers: int | None, on_progress: Callable[[int], object]
) -> None:
    workers = min(workers or available_cores(), math.ceil(len(jobs) / _CLIPS_PER_TASK))
    if workers <= 1:
        for job in jobs:
            _write_clip(job)
            on_progress(1)
        return
    # Spawned, not forked: the calling process may hold threads (torch, Jupyter), and a fork
    # of those can deadlock. Ctrl-C is left to the parent process.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        for _ in pool.map(_write_clip, jobs, chunksize=_CLIPS_PER_TASK):
            on_progress(1)
    finally:
        # After an error or Ctrl-C only the clips in work are finished.
        pool.shutdown(wait=True, cancel_futures=True)


def _write_clip(job: Job) -> None:
    path, plan, seed = job
    write_wav(path, render(plan, seed))


def render(plan: ClipPlan, seed: int) -> FloatArray:
    """Sound of a planned clip, in units of full scale, shape (n_samples,)."""
    return synthesise_clip(
        plan.machine_type,
        plan.state,
        fault=plan.fault,
        duration_s=plan.duration_s,
        seed=seed,
        session=plan.session,
        rng=seeded(VERSION, seed, plan.machine_type, plan.true_name, "clip"),
        with_machine=plan.kind != "noise",
        with_background=plan.kind != "clean",
    )


def write_wav(path: Path, sound: FloatArray) -> None:
    """Write a sound in units of full scale as 16 kHz mono PCM16, whole or not at all."""
    pcm = np.clip(np.round(sound * 32768.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    soundfile.write(buffer, pcm, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    write_atomically(path, buffer.getvalue())


def _write_tables(root: Path, machine_type: str, clips: list[ClipPlan]) -> None:
    """Write ``attributes_00.csv``, the hidden attributes and the faults of a machine type."""
    model = find_model(machine_type)
    listed = [clip for clip in clips if clip.split != "supplemental"]
    words = [clip.state.attribute.split("_") if model.has_attributes else [] for clip in listed]
    rows = [
        [f"{machine_type}/{clip.split}/{clip.file_name}", *own]
        for clip, own in zip(listed, words, strict=True)
    ]
    width = max(map(len, words)) // 2
    header = ["file_name", *(f"d{i}{c}" for i in range(1, width + 1) for c in "pv")]
    _write_csv(root / "dev_data" / "raw" / machine_type / "attributes_00.csv", [header, *rows])
    truth = root / "ground_truth_attributes" / "simulated" / "dev_data" / machine_type
    faults = [
        [clip.file_name, clip.fault.name, f"{clip.fault.severity:.4f}"]
        for clip in listed
        if clip.fault.name
    ]
    _write_csv(truth / "faults_00_test.csv", [["file_name", "fault", "severity"], *faults])
    sessions = [[f"{clip.split}/{clip.file_name}", str(clip.session)] for clip in clips]
    _write_csv(truth / "sessions_00.csv", [["file_name", "session"], *sessions])
    if model.has_attributes:
        return
    for split in ("train", "test"):
        pairs = [[clip.true_name, clip.file_name] for clip in listed if clip.split == split]
        _write_csv(
            truth / f"attributes_00_{split}_correspondence.csv",
            [["source_file_name", "target_file_name"], *pairs],
        )


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_atomically(path, buffer.getvalue())
