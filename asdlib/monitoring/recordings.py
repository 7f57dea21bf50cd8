"""New recordings, their machine and clip table, and the log of what was said of them.

The log has one JSON line per clip, appended by one write and pushed to the disk; a line that a
power cut left unfinished is closed by the next append and passed over by the reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

from asdlib.data.clips import cut_windows
from asdlib.data.layout import is_recording, walk
from asdlib.data.names import printable
from asdlib.data.told import Told, make_row, named_day, recorded_at
from asdlib.data.waveforms import file_digest
from asdlib.errors import InputError, raise_problems
from asdlib.files import writing
from asdlib.monitoring.alarms import persistent_alarms
from asdlib.scoring import since_when

#: What a line holds: the verdict's columns, and by what and when it was found.
LOG_COLUMNS = [
    *("recording", "clip_id", "machine_type", "recorded_at", "start_s", "anomaly_score"),
    *("threshold", "verdict", "percentile", "heard", "reason"),
    *("content", "path", "version", "checked_at"),
]
_NUMBERS = ("start_s", "anomaly_score", "threshold", "percentile")


def find_recordings(places: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """List recordings: files that are named and all below named folders, sorted, each once.

    Second, path and reason of every other file there.
    """
    recordings: set[Path] = set()
    passed_over: set[str] = set()
    for place in places:
        if place.is_file():
            recordings.add(place)
        elif not place.is_dir():
            raise InputError(f"{place}: is neither a recording nor a folder of recordings.")
        for path, reason in walk(place) if place.is_dir() else ():
            if not reason and is_recording(path):
                recordings.add(path)
            else:
                passed_over.add(f"{path} ({reason or 'no recording'})")
    return sorted(recordings), sorted(passed_over)


def machine_of(path: Path, machines: Sequence[str]) -> str:
    """Tell a recording's machine: the only one there is, or the innermost folder named like one."""
    if len(machines) == 1:
        return machines[0]
    for part in reversed(path.absolute().parts[:-1]):
        if part in machines:
            return part
    raise InputError(
        f"{path}: lies in no folder named like a machine. There are {', '.join(machines)}; "
        "name it with --machine."
    )


def new_clips(
    paths: Sequence[Path],
    machines: Sequence[str],
    *,
    window_s: float = 0.0,
    domain: str | None = None,
) -> pd.DataFrame:
    """Clip table of new recordings, as `asdlib.data.read_clips` makes it of a data folder.

    All are test clips; ``content`` is a hash of the file. Recordings of more than twice
    ``window_s`` [s] are cut, 0 keeps them whole. Files that cannot be used are refused, all named.
    """
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    times = recorded_at(paths, [str(path.absolute()) for path in paths])
    for path, time in zip(paths, times, strict=True):
        try:
            told = Told(str(path), domain=domain, session=named_day(str(path.absolute())))
            machine, shown = machine_of(path, machines), printable(str(path))
            row = make_row(machine, "test", path, told, recording=shown)
            row |= {"recorded_at": time, "content": file_digest(str(path))}
            row["path"] = str(path.absolute())  # notebook 06 looks from elsewhere
            rows += cut_windows(row, window_s)
        except InputError as error:
            problems.append(str(error))
    raise_problems(problems)
    names = ("domain", "attribute", "supplemental_kind", "recorded_at", "session")
    texts = dict.fromkeys(names, "string")
    table = pd.DataFrame(rows).drop(columns=["name", "pairs"])
    return table.astype({**texts, "is_anomaly": "boolean"})


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
