"""The log of verdicts: one JSON line per clip, which a crash cannot spoil.

A line is appended by one write and pushed to the disk; a line that a power cut left unfinished
is closed by the next append and passed over by the reader, with its number.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock

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
    """Read a log.

    Parameters
    ----------
    path : Path
        A log that is not there is empty.

    Returns
    -------
    log : DataFrame
        Columns ``LOG_COLUMNS``; a clip that was checked several times stands where it was
        checked last; sorted by machine and time (when recorded, else when checked).
    damaged : list of int
        Numbers of the lines that cannot be read.
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
    """Join a log's clips to recordings, and say where an alarm persists.

    Parameters
    ----------
    log : DataFrame
        As from `read_log`.
    k, n : int
        An alarm persists while at least k of the machine's last n recordings are anomalous.

    Returns
    -------
    DataFrame
        One row per recording, in the order of time: ``machine_type, recording, recorded_at``;
        ``anomaly_score`` (highest of its clips), ``threshold``; ``is_anomalous``;
        ``is_persistent``; ``since``, when the persistent alarm began, NA without.
    """
    rows = log.assign(is_anomalous=log["verdict"].eq("anomalous"))
    rows["recorded_at"] = rows["recorded_at"].fillna(rows["checked_at"])
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
