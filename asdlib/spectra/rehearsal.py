"""A rehearsal: normal training clips that are held out and changed, as if they were new.

What a detector will hear of tomorrow's faults can be asked today: a third of every domain's
training clips is put aside, some of them are changed in known ways
(:mod:`asdlib.spectra.injection`), and all of them are scored as new recordings by what is left.
No label of a test clip is needed, and none is used.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import ClipFunction, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.injection import INJECTIONS, inject


def plan_rehearsal(
    clips: pd.DataFrame, held_out: npt.NDArray[np.bool_], *, n_clips: int
) -> pd.DataFrame:
    """Choose the clips that are changed, and how.

    Parameters
    ----------
    clips : DataFrame
        Clip table.
    held_out : ndarray of bool, shape (n_clips,)
        Its rows that are put aside: normal training clips.
    n_clips : int
        Clips changed per machine, evenly spaced over the held-out ones of each domain, at least
        one of each; every kind and strength of `INJECTIONS` is made of each of them.

    Returns
    -------
    DataFrame
        One row per changed clip: the columns of ``clips`` (``split`` "test", ``is_anomaly``
        True), ``made_from``, ``kind``, ``strength`` and ``unit``. A ``clip_id`` is made of the
        clip's own, kind and strength.
    """
    chosen = []
    for _, machine in clips[held_out].groupby("machine_type", sort=True):
        domains = [own for _, own in machine.groupby(machine["domain"].fillna(""), sort=True)]
        share = [max(1, round(n_clips * len(own) / len(machine))) for own in domains]
        for own, count in zip(domains, share, strict=True):
            places = np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(np.int64)
            chosen.append(own.iloc[np.unique(places)])
    kinds = pd.DataFrame(
        [
            (kind, strength, injection.unit)
            for kind, injection in INJECTIONS.items()
            for strength in injection.strengths
        ],
        columns=["kind", "strength", "unit"],
    )
    plan = pd.concat(chosen, ignore_index=True).merge(kinds, how="cross")
    plan["made_from"] = plan["clip_id"]
    change = plan["kind"] + " " + plan["strength"].map("{:g}".format) + " " + plan["unit"]
    plan["clip_id"] = plan["made_from"] + " + " + change
    plan["split"] = "test"
    plan["is_anomaly"] = pd.array([True] * len(plan), dtype="boolean")
    return plan


def open_rehearsal(
    waveforms: ArrayStore,
    plan: pd.DataFrame,
    *,
    cache_dir: Path,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> ArrayStore:
    """Open the store of the changed clips; change what of it is missing.

    Parameters
    ----------
    waveforms : ArrayStore
        int16 samples of the clips as they are.
    plan : DataFrame
        As from `plan_rehearsal`.
    cache_dir, workers, on_progress
        See `asdlib.data.map_clips`.

    Returns
    -------
    ArrayStore
        int16, one row per row of the plan, identified by its ``clip_id``: what a recorder
        would have kept, beyond full scale too.
    """
    sr = float(waveforms.settings.get("sample_rate", 16000))
    made_from = plan["made_from"].tolist()
    changes = list(zip(plan["kind"], plan["strength"], made_from, strict=True))
    positions = waveforms.positions(made_from)

    def make_function() -> ClipFunction:
        def change(index: int, samples: npt.NDArray[np.int16], out: npt.NDArray[np.int16]) -> None:
            if not samples.any():
                return
            kind, strength, clip_id = changes[index]
            # Of one clip and kind, the change sits at the same place in all strengths.
            rng = np.random.default_rng(zlib.crc32(f"{clip_id} {kind}".encode()))
            changed = inject(samples / FULL_SCALE, sr=sr, kind=kind, strength=strength, rng=rng)
            scaled = np.round(changed * FULL_SCALE)
            out[:] = np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)

        return change

    return map_clips(
        waveforms,
        made_from,
        make_function,
        kind="injected",
        settings={"changes": [list(change[:2]) for change in changes], "sample_rate": sr},
        lengths=np.diff(waveforms.offsets)[positions],
        dtype="<i2",
        names=plan["clip_id"].tolist(),
        cache_dir=cache_dir,
        workers=workers,
        on_progress=on_progress,
    )
