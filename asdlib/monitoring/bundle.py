"""A detector on disk: a folder that can be moved, with versions that one can go back to.

``bundles/<name>/current`` names the version in use, ``v001``, ``v002`` ... hold one each:
``bundle.json`` (settings, versions of computations and packages, hash of every other file),
``clips.csv``, ``thresholds.csv``, ``bank.npz`` (rows of the normal clips by view), ``network.pt``
and one ``autoencoder_<machine>.npz`` per machine. Loading one reads numbers and text and runs no
code.

``log.jsonl`` beside them has one line per clip that was checked, appended by one write and pushed
to the disk; a line that a power cut left unfinished is closed by the next append and passed over.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock

from asdlib.base import InputError, file_hash, refuse_unknown, write_atomically, writing
from asdlib.data.cache import VERSIONS, read_arrays, write_arrays
from asdlib.data.clips import read_clip_table
from asdlib.monitoring.alarms import persistent_alarms
from asdlib.monitoring.detector import Detector
from asdlib.scoring import since_when
from asdlib.training import load_model, load_reconstruction

#: Of the files' form; a bundle of another one is refused.
FORMAT = 3
_CURRENT, _FACTS, _CLIPS, _THRESHOLDS, _BANK, _NETWORK = (
    "current", "bundle.json", "clips.csv", "thresholds.csv", "bank.npz", "network.pt",
)  # fmt: skip
#: Facts of versions that are the same detector.
_SHAPING = ("format", "settings", "computations", "sha256")
#: Computations that no score rests on: a bundle outlives their versions.
_BESIDE = ("average_spectra", "injected", "families", "reasons", "maps")
#: What a line holds: the verdict's columns, and by what and when it was found.
LOG_COLUMNS = [
    *("recording", "clip_id", "machine_type", "recorded_at", "start_s", "anomaly_score"),
    *("threshold", "verdict", "percentile", "heard", "reason"),
    *("content", "path", "version", "checked_at"),
]
_NUMBERS = ("start_s", "anomaly_score", "threshold", "percentile")


def save_bundle(detector: Detector, folder: Path, *, made_from: Mapping[str, Any]) -> Path:
    """Write a detector as the next version of a bundle, whole, and make that the current one.

    Where a version holds the same detector, nothing changes, and its folder is given: a run that
    is repeated does not put aside what was learnt since. ``made_from`` are facts for the reader.
    """
    partial = folder / ".partial"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
            try:
                return _write_version(detector, folder, partial, made_from)
            finally:
                shutil.rmtree(partial, ignore_errors=True)


def _write_version(
    detector: Detector, folder: Path, partial: Path, made_from: Mapping[str, Any]
) -> Path:
    """Write the next version by way of a folder of its own, unless there is an equal one."""
    number = 1 + max((int(name[1:]) for name in versions(folder)), default=0)
    target = folder / f"v{number:03d}"
    partial.mkdir()
    write_atomically(partial / _CLIPS, detector.clips.to_csv(index=False))
    write_atomically(partial / _THRESHOLDS, detector.calibrate().to_csv(index=False))
    settings = np.asarray(_as_text(detector.settings))
    write_arrays(partial / _BANK, {**detector.rows, "settings": settings})
    for machine, arrays in detector.residuals.items():
        write_arrays(partial / f"autoencoder_{machine}.npz", dict(arrays))
    if detector.model is not None:
        shutil.copyfile(detector.model.path, partial / _NETWORK)
    facts = {
        "format": FORMAT,
        "version": target.name,
        "settings": detector.settings,
        "computations": {
            kind: version for kind, version in VERSIONS.items() if kind not in _BESIDE
        },
        "made_from": dict(made_from),
        "sha256": {path.name: file_hash(path) for path in sorted(partial.iterdir())},
    }
    own = json.loads(_as_text(facts))
    for version in versions(folder):
        known = json.loads((folder / version / _FACTS).read_text(encoding="utf-8"))
        if all(known.get(name) == own[name] for name in _SHAPING):
            if not (folder / _CURRENT).exists():  # killed before it was made the current one
                use_version(folder, version)
            return folder / version
    write_atomically(partial / _FACTS, _as_text(facts) + "\n")
    partial.replace(target)
    use_version(folder, target.name)
    return target


def versions(folder: Path) -> list[str]:
    """Names of the bundle's versions, the oldest first."""
    found = folder.glob("v[0-9][0-9][0-9]*") if folder.is_dir() else ()
    names = [path.name for path in found if (path / _FACTS).is_file()]
    return sorted(names, key=lambda name: int(name[1:]))


def use_version(folder: Path, version: str) -> None:
    """Make a version the current one; refuses one that is not there."""
    refuse_unknown([version], versions(folder), f"{folder}: has no version")
    write_atomically(folder / _CURRENT, version + "\n")


def load_bundle(folder: Path) -> tuple[Detector, dict[str, Any]]:
    """Read the current version of ``bundles/<name>``, and the content of its ``bundle.json``.

    Every file's hash is compared. `InputError` when there is no bundle, a file is missing or not
    what was written, or the code computes otherwise than when the bundle was made.
    """
    try:
        place = folder / (folder / _CURRENT).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InputError(
            f"{folder}: there is no bundle. A finished run leaves one: ./run_all.sh --data DIR "
            "--name NAME, and --out where that was given."
        ) from error
    facts = _read_facts(place)
    model = load_model(place / _NETWORK) if _NETWORK in facts["sha256"] else None
    residuals = {
        name.removeprefix("autoencoder_").removesuffix(".npz"): load_reconstruction(place / name)
        for name in facts["sha256"]
        if name.startswith("autoencoder_")
    }
    rows = read_arrays(place / _BANK, what="rows", made_in="notebook 04")
    del rows["settings"]
    clips = read_clip_table(place / _CLIPS)
    clips["is_learnt"] = clips["is_learnt"].eq("True").astype(bool)
    thresholds = pd.read_csv(
        place / _THRESHOLDS, dtype={"machine_type": "string", "seed": "Int64"},
        keep_default_na=False, na_values=[""], float_precision="round_trip",
    )  # fmt: skip
    return Detector(facts["settings"], clips, rows, residuals, model, thresholds), facts


def _read_facts(place: Path) -> dict[str, Any]:
    """Read ``bundle.json`` and hold all files to it."""
    damaged = "Copy the bundle again, go back a version (learn --use), or make it anew (--from 04)."
    try:
        facts = json.loads((place / _FACTS).read_text(encoding="utf-8"))
        found = {name: file_hash(place / name) for name in facts["sha256"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{place}: is no whole bundle ({error}). {damaged}") from error
    changed = [name for name, digest in facts["sha256"].items() if found[name] != digest]
    if changed:
        raise InputError(f"{place / changed[0]}: is not what was written. {damaged}")
    if facts.get("format") != FORMAT:
        raise InputError(f"{place}: has form {facts.get('format')}, this is form {FORMAT}. "
                         "Make it anew (--from 04).")  # fmt: skip
    other = [kind for kind, version in facts["computations"].items()
             if kind not in _BESIDE and VERSIONS.get(kind) != version]  # fmt: skip
    if other:
        raise InputError(
            f"{place}: was made by another version of {', '.join(other)} than this code has. "
            "Make it anew (--from 04)."
        )
    return dict(facts)


def _as_text(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1, sort_keys=True, default=str)


def append_verdicts(path: Path, verdicts: pd.DataFrame) -> None:
    """Append verdicts (``LOG_COLUMNS``) to a log: all or, after a crash, the first of them."""
    lines = json_lines(verdicts[LOG_COLUMNS])
    if not lines:
        return
    with writing(path, "Free space or make it writable."):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")), path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            torn = end > 0 and file.read(1) != b"\n"
            file.write((("\n" if torn else "") + "\n".join(lines) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def json_lines(table: pd.DataFrame) -> list[str]:
    """Write every row as a JSON object, null where it is unknown."""
    records = json.loads(table.to_json(orient="records", double_precision=15))
    return [json.dumps(record, ensure_ascii=False) for record in records]


def read_log(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Read a log: columns ``LOG_COLUMNS``, sorted by machine and time (recorded, else checked).

    A clip that was checked several times stands where it was checked last; a log that is not there
    is empty. With it the numbers of the lines that cannot be read.
    """
    records: list[dict[str, Any]] = []
    damaged = []
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            record = json.loads(line) if line else None
            if record is not None:
                records.append({name: record[name] for name in LOG_COLUMNS})
        except (ValueError, KeyError, TypeError):
            damaged.append(number)
    log = pd.DataFrame(records, columns=LOG_COLUMNS)
    log[list(_NUMBERS)] = log[list(_NUMBERS)].astype("float64")
    log = log.drop_duplicates(["machine_type", "content", "start_s"], keep="last")
    time = log["recorded_at"].fillna(log["checked_at"])
    order = log.assign(time=time).sort_values(["machine_type", "time", "recording", "start_s"])
    return order[LOG_COLUMNS].reset_index(drop=True), damaged


def trend(log: pd.DataFrame, *, k: int, n: int) -> pd.DataFrame:
    """Join a log's clips (`read_log`) to recordings, and say where an alarm persists.

    It does while at least k of the machine's last n recordings are anomalous. One row per
    recording, in the order of time: ``machine_type, recording, recorded_at``; ``anomaly_score``
    (highest of its clips), ``threshold``; ``is_anomalous``; ``is_persistent``; ``since``, when the
    persistent alarm began, NA without.
    """
    time = log["recorded_at"].fillna(log["checked_at"])
    rows = log.assign(is_anomalous=log["verdict"].eq("anomalous"), recorded_at=time)
    recordings = rows.groupby(["machine_type", "recording", "content"], sort=False, as_index=False)
    joined = recordings.agg(
        recorded_at=("recorded_at", "first"), anomaly_score=("anomaly_score", "max"),
        threshold=("threshold", "last"), is_anomalous=("is_anomalous", "any"),
    )  # fmt: skip
    joined["is_persistent"], joined["since"] = False, pd.Series(pd.NA, joined.index, "string")
    for _, own in joined.groupby("machine_type", sort=False):
        persists = persistent_alarms(own["is_anomalous"], k=k, n=n)
        since = pd.Series(since_when(persists, own["recorded_at"]), own.index, "string")
        joined.loc[own.index, "is_persistent"] = persists
        joined.loc[own.index, "since"] = since.mask(since.eq(""))
    return joined
