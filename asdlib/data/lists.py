"""The organisers' lists: attributes that come with clips, and what was released afterwards.

The latter are hidden attributes and the true names of evaluation clips. Only scoring and the
agreement of an annotation may read these; training never does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib.base import InputError, raise_problems, read_rows, read_table
from asdlib.data import names
from asdlib.data.audio import is_recording
from asdlib.data.scan import Scan
from asdlib.data.told import SPLIT_FOLDERS, split_folders

_PAIR_COLUMN = re.compile(r"d([0-9]+)p")
_CORRESPONDENCE = re.compile(r"attributes_[0-9]{2}_(train|test)_correspondence\.csv")


def given_attributes(
    folder: Path, scan: Scan, named: dict[tuple[str, str], str | None]
) -> dict[tuple[str, str], dict[str, str]]:
    """Attributes given by the files of one machine, checked against the clips that are there.

    ``named`` are the attributes by split and file name that the clips' own names tell.
    """
    problems = scan.problems
    given: dict[tuple[str, str], dict[str, str]] = {}
    splits = split_folders(folder)
    for path in scan.attribute_files.get(folder, []):
        absent: Counter[str] = Counter()
        for (split, file_name), pairs in _read_attributes(path, scan.passed_over).items():
            try:
                key = (split or names.parse(file_name).split, file_name)
            except InputError as error:
                problems.append(f"{path}: {error}")
                continue
            if key[0] not in splits:
                absent[key[0]] += 1
                continue
            if key not in named:
                problems.append(
                    f"{path}: lists {key[0]}/{file_name}, which is not there. "
                    "Add the clip or delete the line."
                )
            elif not _agrees(named[key], pairs):
                problems.append(
                    f"{path}: gives {file_name} the attributes {pairs}, its name says "
                    f"{named[key]}. Correct one of them."
                )
            given[key] = pairs
        for split, n_lines in absent.items():
            reason = f"{n_lines} of its lines are about {split}, which is not there"
            scan.passed_over.append((path, reason))
    return given


def _read_attributes(
    path: Path, passed_over: list[tuple[Path, str]]
) -> dict[tuple[str | None, str], dict[str, str]]:
    """Read an ``attributes_XX.csv``: (split or None, file name in ``.wav``) -> parameters, values.

    Columns ``file_name,d1p,d1v,d2p,d2v,...``; parameter columns may be missing, names be paths.
    """
    table = read_table(path, ["file_name"])
    numbers = [match[1] for column in table.columns if (match := _PAIR_COLUMN.fullmatch(column))]
    pairs = [(f"d{number}p", f"d{number}v") for number in sorted(numbers, key=int)]
    read = {"file_name", *(column for pair in pairs for column in pair)}
    if unpaired := sorted(read - set(table.columns)):
        parameter = unpaired[0].replace("v", "p")
        raise InputError(f"{path}: has the column {parameter} but no {unpaired[0]}.")
    for column in table.columns:
        if column not in read:
            passed_over.append((path, f"its column {column!r} is none of d1p, d1v, d2p, ..."))
    found: dict[tuple[str | None, str], dict[str, str]] = {}
    for number, row in zip(table.index, table.to_dict("records"), strict=True):
        entry = row["file_name"].replace("\\", "/")
        *folders, name = entry.split("/")
        split = SPLIT_FOLDERS.get(folders[-1].lower()) if folders else None
        stem = name[: -len(Path(name).suffix)] if is_recording(Path(name)) else name
        values = {row[p]: row[v] for p, v in pairs if row[p] and row[p].lower() != "noattribute"}
        for text in (*values, *values.values()):
            names.refuse_unplain(text, f"{path}, line {number}: {text!r}")
        key = (split, stem + ".wav")
        if found.setdefault(key, values) != values:
            raise InputError(f"{path}: gives two different attributes to {entry}. Keep one line.")
    return found


def _agrees(attribute: str | None, pairs: dict[str, str]) -> bool:
    """Whether every parameter of the attribute file stands in the name with its value."""
    if attribute is None:
        return True
    text = attribute.replace("_", "").lower()
    return all((p + v).replace("_", "").lower() in text for p, v in pairs.items())


def read_true_attributes(
    root: str | Path, clips: pd.DataFrame, *, eval_truth: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Find the true attributes of clips that were published as ``noAttribute``.

    They stand in ``<machine>/attributes_XX_{train,test}_correspondence.csv`` with the columns
    ``source_file_name`` (the name that carries the attributes) and ``target_file_name``.

    ``root`` is a folder with these files somewhere below it, of one year only where years share a
    machine; ``clips`` a clip table or a part of it. The lists of 2024 name evaluation clips as the
    ``true_name`` of ``eval_truth`` (`read_eval_truth`), those of 2025 as they were published; both
    are found with it. Gives ``clip_id, attribute`` of every clip that a file covers, in the order
    of the table. A file that covers a machine's split must cover all of its clips, alone and once.
    """
    found = _find_correspondences(Path(root))
    keys = list(zip(clips["machine_type"], clips["split"], strict=True))
    listed = {key: _read_correspondence(found[key]) for key in sorted(set(keys) & set(found))}
    columns = ["machine_type", "file_name", "true_name"]
    known = [] if eval_truth is None else eval_truth[columns].itertuples(index=False)
    true_names = {(machine_type, name): true for machine_type, name, true in known}
    rows, problems = [], []
    for key, clip_id in zip(keys, clips["clip_id"], strict=True):
        if key not in listed:
            continue
        file_name = Path(clip_id).name
        attribute = listed[key].get(file_name)
        if attribute is None and key[1] == "test":
            attribute = listed[key].get(true_names.get((key[0], file_name), ""))
        if attribute is None:
            problems.append(
                f"{found[key]}: does not list {file_name}. Is it the list of another year, or "
                "are the true names of the evaluation clips missing (eval_truth)?"
            )
        rows.append((clip_id, attribute))
    raise_problems(problems)
    table = pd.DataFrame(rows, columns=["clip_id", "attribute"])
    return table.astype({"clip_id": "object", "attribute": "string"})


def read_eval_truth(path: str | Path) -> pd.DataFrame:
    """Read the released list of the evaluation clips' true names, ``eval_data_list_20XX.csv``.

    Columns ``machine_type, file_name, true_name, domain, is_anomaly, attribute``, the last NA where
    the true name carries none. A line with one field starts a machine.
    """
    path = Path(path)
    rows = []
    machine_type = None
    for number, fields in read_rows(path):
        if len(fields) == 1 and names.unplain_character(fields[0]) is None:
            machine_type = fields[0]
            continue
        if len(fields) != 2 or machine_type is None:
            raise InputError(
                f"{path}, line {number}: expected a machine type or, below one, "
                f"'published name,true name', found {','.join(fields)!r}."
            )
        file_name, true_name = fields
        try:
            published = names.parse(file_name, split="test")
            true = names.parse(true_name, split="test")
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        if published.domain is not None or true.domain is None:
            raise InputError(
                f"{path}, line {number}: expected a published name such as section_00_0000.wav "
                f"and a true name with domain and condition, found {file_name} and {true_name}."
            )
        is_anomaly = true.condition == "anomaly"
        rows.append((machine_type, file_name, true_name, true.domain, is_anomaly, true.attribute))
    table = _truth_table(rows)
    if table.empty:
        raise InputError(f"{path}: lists no clip. Expected an eval_data_list_20XX.csv.")
    twice = table[table.duplicated(["machine_type", "file_name"])]
    if not twice.empty:
        raise InputError(
            f"{path}: lists {twice['file_name'].iloc[0]} of {twice['machine_type'].iloc[0]} twice."
        )
    return table


def truth_of_names(machine_types: Sequence[str], file_names: Sequence[str]) -> pd.DataFrame:
    """Truth of clips whose own names tell it, as of development test clips."""
    rows = []
    for machine_type, file_name in zip(machine_types, file_names, strict=True):
        clip = names.parse(file_name, split="test")
        if clip.condition is not None:
            is_anomaly = clip.condition == "anomaly"
            rows.append(
                (machine_type, file_name, file_name, clip.domain, is_anomaly, clip.attribute)
            )
    return _truth_table(rows)


def reveal(table: pd.DataFrame, truth: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Give test clips of hidden truth their domain and condition, once everything is scored.

    Of ``table`` (scores or clips: ``clip_id, machine_type, split, domain, is_anomaly``) both are
    filled where both were unknown and the released list ``truth`` (path, or table of
    `read_eval_truth`) has the clip; with an empty text the table stays as it is.

    Examples
    --------
    >>> scores = pd.DataFrame({"clip_id": ["fan/test/section_00_0001.wav"],
    ...     "machine_type": "fan", "split": "test", "domain": None, "is_anomaly": None})
    >>> truth = truth_of_names(["fan"], ["section_00_target_test_anomaly_0007.wav"])
    >>> reveal(scores, truth.assign(file_name="section_00_0001.wav"))["domain"].item()
    'target'
    """
    if isinstance(truth, str) and not truth:
        return table
    known = truth if isinstance(truth, pd.DataFrame) else read_eval_truth(truth)
    keys = pd.MultiIndex.from_frame(known[["machine_type", "file_name"]])
    wanted = pd.MultiIndex.from_arrays(
        [table["machine_type"], table["clip_id"].str.rsplit("/", n=1).str[-1]]
    )
    place = keys.get_indexer(wanted)
    hidden = table["split"].eq("test") & table["domain"].isna() & table["is_anomaly"].isna()
    found = hidden.to_numpy(dtype=bool) & (place >= 0)
    revealed = table.copy()
    domain, is_anomaly = table["domain"].astype("string"), table["is_anomaly"].astype("boolean")
    domain[found] = known["domain"].array[place[found]]
    is_anomaly[found] = known["is_anomaly"].array[place[found]]
    revealed["domain"], revealed["is_anomaly"] = domain, is_anomaly
    return revealed


def _truth_table(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    columns = ["machine_type", "file_name", "true_name", "domain", "is_anomaly", "attribute"]
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({"domain": "string", "is_anomaly": "boolean", "attribute": "string"})


def _find_correspondences(root: Path) -> dict[tuple[str, str], Path]:
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(root.rglob("attributes_*_correspondence.csv")):
        match = _CORRESPONDENCE.fullmatch(path.name)
        if match is None:
            continue
        key = (path.parent.name, match[1])
        if key in found:
            raise InputError(
                f"{root}: holds two lists of true attributes for {key[0]} ({key[1]}), "
                f"{found[key]} and {path}. Name the folder of one year."
            )
        found[key] = path
    return found


def _read_correspondence(path: Path) -> dict[str, str]:
    """Map published file names to true attributes."""
    table = read_table(path, ["source_file_name", "target_file_name"])
    attributes: dict[str, str] = {}
    columns = table[["source_file_name", "target_file_name"]]
    for true_name, file_name in columns.itertuples(index=False):
        true, published = names.parse(true_name), names.parse(file_name)
        known = [
            (getattr(true, part), getattr(published, part))
            for part in ("section", "domain", "split", "condition")
        ]
        if true.attribute is None or any(b is not None and a != b for a, b in known):
            raise InputError(
                f"{path}: pairs {true_name} with {file_name}. Expected one clip, first under its "
                "name with attributes."
            )
        if file_name in attributes:
            raise InputError(f"{path}: lists {file_name} twice. Keep one line.")
        attributes[file_name] = true.attribute
    return attributes
