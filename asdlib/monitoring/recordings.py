"""New recordings: which files are meant, of which machine each is, and their clip table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib.data.clips import cut_windows
from asdlib.data.layout import is_recording, walk
from asdlib.data.names import printable
from asdlib.data.told import Told, make_row, recorded_at
from asdlib.data.waveforms import file_digest
from asdlib.errors import InputError, raise_problems


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
            told = Told(name=str(path), domain=domain)
            machine, shown = machine_of(path, machines), printable(str(path))
            row = make_row(machine, "test", path, told, recording=shown)
            row |= {"recorded_at": time, "content": file_digest(str(path))}
            row["path"] = str(path.absolute())  # notebook 06 looks from elsewhere
            rows += cut_windows(row, window_s)
        except InputError as error:
            problems.append(str(error))
    raise_problems(problems)
    texts = dict.fromkeys(("domain", "attribute", "supplemental_kind", "recorded_at"), "string")
    table = pd.DataFrame(rows).drop(columns=["name", "pairs"])
    return table.astype({**texts, "is_anomaly": "boolean"})
