"""Attribute files ``attributes_XX.csv``: read, and held against the names of the clips."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pandas as pd

from asdlib.data import names
from asdlib.data.layout import SPLIT_FOLDERS, is_recording, split_folders
from asdlib.data.scan import Scan
from asdlib.errors import InputError
from asdlib.files import read_table

_PAIR_COLUMN = re.compile(r"d([0-9]+)p")


def given_attributes(
    folder: Path,
    scan: Scan,
    named: dict[tuple[str, str], str | None],
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
    pairs = _pair_columns(path, table.columns)
    read = {"file_name", *(column for pair in pairs for column in pair)}
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
            if letter := names.unplain_character(text):
                raise InputError(
                    f"{path}, line {number}: {text!r} has the character {letter!r}. Expected "
                    "letters, digits, '_', '-', '+', '.' and blanks alone."
                )
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


def _pair_columns(path: Path, columns: pd.Index) -> list[tuple[str, str]]:
    numbers = [match[1] for column in columns if (match := _PAIR_COLUMN.fullmatch(column))]
    for number in numbers:
        if f"d{number}v" not in columns:
            raise InputError(f"{path}: has the column d{number}p but no d{number}v.")
    return [(f"d{number}p", f"d{number}v") for number in sorted(numbers, key=int)]
