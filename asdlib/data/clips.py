"""The clip table: a row per clip of a data folder, or of new recordings, without their sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib.base import InputError, raise_problems
from asdlib.data.audio import is_recording, walk
from asdlib.data.lists import given_attributes
from asdlib.data.names import named_day, printable, recorded_at
from asdlib.data.scan import EXPECTED_LAYOUT, Scan, scan_folder
from asdlib.data.told import LISTED, PLAIN, Told, make_row, told_by
from asdlib.data.waveforms import file_digest

_DTYPES = {
    "clip_id": "object",
    "machine_type": "object",
    "section": "object",
    "domain": "string",
    "split": "object",
    "is_anomaly": "boolean",
    "attribute": "string",
    "supplemental_kind": "string",
    "path": "object",
    "n_samples": "int64",
    "sample_rate": "int64",
    "channels": "int64",
    "recording": "object",
    "start_s": "float64",
    "recorded_at": "string",
    "session": "string",
}
_BEHIND_ATTRIBUTES = list(_DTYPES)[list(_DTYPES).index("path") :]


def read_clips(
    root: str | Path, *, machines: Sequence[str] | None = None, window_s: float = 0.0
) -> pd.DataFrame:
    """Read the clips of a data folder: names and headers, no sound.

    One of these layouts, told by the names; every other file is passed over, which `scan_clips`
    tells. Recordings may have any format that libsndfile reads.

    - The challenge, 2021 to 2026: ``<machine>/{train,test,supplemental}``, names as `parse` reads
      them. ``attributes_XX.csv`` beside the splits must agree with the names; it supplies the
      attributes of clips named ``noAttribute``. ``test_rename`` is read where there is no ``test``.
    - 2020: ``<machine>/{train,test}/{normal,anomaly}_id_00_00000000.wav``; every id is a machine,
      ``fan_id_00``, as of MIMII: ``<machine>/id_00/{normal,abnormal}``. Of MIMII the first normal
      clips are test clips, as many as are abnormal, at most half of them.
    - Plain folders: ``<machine>/{train,normal}`` and ``<machine>/{test,check}`` with any names and
      folders below, or such a folder itself. Folders called normal, abnormal, anomaly or
      anomalous, in test or beside normal, tell the condition; source and target the domain.
    - A ``clips.csv`` that lists the recordings, see `asdlib.data.told`.

    ``root`` holds the machines, is one, or lies above ``dev_data/raw`` or ``eval_data/raw``;
    ``machines`` are the types to read, by default all. Recordings of more than twice ``window_s``
    [s] are cut into clips of about this length; 0 keeps them whole.

    One row per clip, sorted by ``clip_id``:

    - ``clip_id``: ``<machine>/<split>/<file name>``, always with the extension ``.wav``; folders
      below the split are joined to the name with ``_``, a window's start is appended as
      ``@00620.0s``;
    - ``machine_type``, ``section`` (two digits), ``split`` (train, test, supplemental);
    - ``domain``: source or target, NA where a name of the challenge hides it;
    - ``is_anomaly``: nullable boolean, NA where it is unknown and for supplemental clips;
    - ``attribute``: text such as ``car_B2_spd_7_mic_1``, NA where there is none;
    - ``supplemental_kind``: clean or noise, NA for other clips;
    - ``attribute_<parameter>``: its value, one column per parameter found;
    - ``path``; ``n_samples`` (frames of the clip); ``sample_rate`` [Hz]; ``channels``;
    - ``recording``: path of the file below ``root``; ``start_s``: where in it the clip begins [s];
      ``recorded_at``: when, ``YYYY-MM-DDTHH:MM:SS``, by the last date in names of file and folders,
      else by the file's time; NA but for plain folders;
    - ``session``: what was recorded in one go, by ``clips.csv`` or, in plain folders, the day that
      the names tell; NA where nothing does.

    `InputError`: no such folder or machine, a machine without training clips or with a name that is
    not plain, several layouts, a name that does not fit, two clips of one id, a file that is empty,
    truncated or no recording, a list that names a missing clip or contradicts a name.
    """
    return scan_clips(root, machines=machines, window_s=window_s)[0]


def scan_clips(
    root: str | Path,
    *,
    machines: Sequence[str] | None = None,
    window_s: float = 0.0,
    refuse: bool = True,
) -> tuple[pd.DataFrame, Scan]:
    """Read the clip table, and tell what of the folder is not in it; see `read_clips`.

    Without ``refuse`` what is wrong with single files stays in ``problems`` of the scan.
    """
    scan = scan_folder(root, machines)
    found: list[dict[str, Any]] = []
    named: dict[Path, dict[tuple[str, str], str | None]] = {}
    for machine_type, split, path, folder, listed in scan.recordings:
        try:
            told = listed or told_by(scan.layout, path, split, folder)
            named.setdefault(folder, {})[split, told.name] = told.attribute
            row = make_row(machine_type, split, path, told, recording=_shown(path, scan.root))
            found.append({**row, "folder": folder})
        except InputError as error:
            scan.problems.append(printable(str(error)))
    given = {one: given_attributes(one, scan, named.get(one, {})) for one in scan.attribute_files}
    for row in found:
        if pairs := given.get(row["folder"], {}).get((row["split"], row["name"])):
            row["pairs"] = pairs
            row["attribute"] = row["attribute"] or "_".join(f"{p}_{v}" for p, v in pairs.items())
    trained = {row["machine_type"] for row in found if row["split"] == "train"}
    if scan.problems:  # where training recordings are there and faulty, that is what is told
        trained |= {one.machine_type for one in scan.recordings if one.split == "train"}
    scan.problems += [
        f"{folders[0]}: holds no training clips. {EXPECTED_LAYOUT} "
        "Leave the machine out (machines) or add its train folder."
        for machine_type, folders in scan.machines.items()
        if machine_type not in trained
    ]
    if scan.layout in (PLAIN, LISTED):
        inside = [str(row["recording"]) for row in found]
        times = recorded_at([Path(row["path"]) for row in found], inside)
        found = [
            {**row, "recorded_at": time, "session": row["session"] or named_day(name)}
            for row, time, name in zip(found, times, inside, strict=True)
        ]
    windows = [window for row in found for window in cut_windows(row, window_s)]
    paths: dict[str, str] = {}
    for row in windows:
        if (first := paths.setdefault(row["clip_id"], row["path"])) != row["path"]:
            scan.problems.append(
                f"{row['path']}: is a second clip of the id {row['clip_id']}, beside {first}. "
                "Rename or remove one."
            )
    if refuse:
        raise_problems(scan.problems)
    return _make_table(windows), scan


def _shown(path: Path, root: Path) -> str:
    """Path below the data folder in one line, and no formula."""
    inside = printable(path.relative_to(root).as_posix())
    return f"./{inside}" if inside.startswith(("=", "+", "-", "@")) else inside


def cut_windows(row: dict[str, Any], window_s: float) -> Iterator[dict[str, Any]]:
    """Cut a recording of more than two windows into equal ones; each begins where one ends."""
    n_samples, rate = row["n_samples"], row["sample_rate"]
    if not 0 < 2 * window_s < n_samples / rate:
        yield row
        return
    n_windows = round(n_samples / rate / window_s)
    edges = [place * n_samples // n_windows for place in range(n_windows + 1)]
    for first, last in pairwise(edges):
        start_s = first / rate
        window = {**row, "start_s": start_s, "n_samples": last - first}
        window["clip_id"] = f"{row['clip_id'].removesuffix('.wav')}@{start_s:07.1f}s.wav"
        if row["recorded_at"]:
            moment = datetime.fromisoformat(row["recorded_at"]) + timedelta(seconds=int(start_s))
            window["recorded_at"] = moment.isoformat()
        yield window


def _make_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    cells = [[row[name] for name in _DTYPES] for row in rows]
    table = pd.DataFrame(cells, columns=list(_DTYPES)).astype(_DTYPES)
    parameters = sorted({parameter for row in rows for parameter in row["pairs"]})
    for parameter in parameters:
        values = [row["pairs"].get(parameter) for row in rows]
        table[f"attribute_{parameter}"] = pd.array(values, dtype="string")
    last = [name for name in table.columns if name in _BEHIND_ATTRIBUTES]
    first = [name for name in table.columns if name not in _BEHIND_ATTRIBUTES]
    return table[first + last].sort_values("clip_id", ignore_index=True)


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
    nullable = {name: kind for name, kind in _DTYPES.items() if kind in ("string", "boolean")}
    return pd.DataFrame(rows).drop(columns=["name", "pairs"]).astype(nullable)


def read_clip_table(path: Path) -> pd.DataFrame:
    """Read a clip table that was written to CSV: texts with NA, nullable truth, numbers."""
    clips = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    clips["is_anomaly"] = clips["is_anomaly"].map({"True": True, "False": False})
    counts = dict.fromkeys(("n_samples", "sample_rate", "channels"), "int64")
    return clips.astype({"is_anomaly": "boolean", "start_s": "float64", **counts})


def count_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Count the clips of each machine of a clip table by what they are for.

    One row per machine: ``machine_type``, ``train_source``, ``train_target``,
    ``test_<domain>_<normal|anomalous>``, ``test_unknown``, ``clean``, ``noise``, ``attributes``
    (different ones named in training) and ``shortest_s``, ``longest_s`` [s].
    """
    condition = clips["is_anomaly"].map({True: "anomalous", False: "normal"}).astype("string")
    kind = ("test_" + clips["domain"] + "_" + condition).fillna("test_unknown")
    kind = kind.mask(clips["split"] == "train", "train_" + clips["domain"])
    kind = kind.mask(clips["split"] == "supplemental", clips["supplemental_kind"])
    names = ["train_source", "train_target"]
    names += [f"test_{d}_{c}" for d in ("source", "target") for c in ("normal", "anomalous")]
    names += ["test_unknown", "clean", "noise"]
    table = pd.crosstab(clips["machine_type"], kind).reindex(columns=names, fill_value=0)
    train = clips[clips["split"] == "train"]
    table["attributes"] = train.groupby("machine_type")["attribute"].nunique()
    seconds = clips["n_samples"] / clips["sample_rate"]
    table["shortest_s"] = seconds.groupby(clips["machine_type"]).min()
    table["longest_s"] = seconds.groupby(clips["machine_type"]).max()
    return table.rename_axis(columns=None).reset_index()
