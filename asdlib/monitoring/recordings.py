"""New recordings: which files are meant, of which machine each is, and their clip table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib.data.clips import cut_windows
from asdlib.data.headers import read_header
from asdlib.data.layout import is_recording, walk
from asdlib.data.names import printable
from asdlib.data.plain import recorded_at
from asdlib.data.waveforms import file_digest
from asdlib.errors import InputError, raise_problems


def find_recordings(places: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """List recordings: files that are named and all below named folders, sorted, each once.

    Second, path and reason of every other file there; a place without any is refused.
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
            machine, header = machine_of(path, machines), read_header(path)
            row = {
                "clip_id": f"{machine}/test/{path}",
                "machine_type": machine,
                "section": "00",
                "domain": domain,
                "split": "test",
                "path": str(path.absolute()),
                "recording": printable(str(path)),
                "recorded_at": time,
                "start_s": 0.0,
                "content": file_digest(str(path)),
                "n_samples": header.n_samples,
                "sample_rate": header.sample_rate,
                "channels": header.channels,
            }
            rows += cut_windows(row, window_s)
        except InputError as error:
            problems.append(str(error))
    raise_problems(problems)
    table = pd.DataFrame(rows).astype({"domain": "string", "recorded_at": "string"})
    return table.assign(is_anomaly=pd.array([pd.NA] * len(table), dtype="boolean"))
