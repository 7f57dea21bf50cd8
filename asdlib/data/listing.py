"""``clips.csv`` in a data folder: what the names of files and folders do not say.

Its columns are ``path`` (below the folder) and, as far as names do not tell, ``machine_type``,
``split`` (train, test, supplemental), ``domain`` (source, target) and ``condition`` (normal,
anomaly; clean or noise for supplemental recordings). Every further column is an attribute. Empty
fields are unknown. Without a split, in the column or as a folder, normal recordings are learnt
from and all others are judged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from asdlib.data.layout import CONDITIONS, LISTING
from asdlib.data.names import DOMAINS, KINDS, PLAIN_CHARACTERS, unplain_character
from asdlib.data.plain import Told, clip_name, split_of
from asdlib.errors import InputError
from asdlib.files import read_table

_OWN_COLUMNS = ("path", "machine_type", "split", "domain", "condition")
_SPLITS = ("train", "test", "supplemental")


@dataclass(frozen=True)
class Entry:
    """One line: a recording, its machine and split, and what is told of it."""

    path: Path
    machine_type: str
    split: str
    told: Told


def read_listing(path: Path, problems: list[str]) -> list[Entry]:
    """Read a data folder's ``clips.csv``; what is wrong with single lines goes to ``problems``."""
    table = read_table(path, ["path"])
    for column in table.columns:
        if column not in _OWN_COLUMNS and (letter := unplain_character(column)) is not None:
            raise InputError(
                f"{path}: the column {column!r} has the character {letter!r}. {PLAIN_CHARACTERS}."
            )
    entries: list[Entry] = []
    lines: dict[Path, int] = {}
    for number, row in zip(table.index, table.to_dict("records"), strict=True):
        try:
            entry = _read_line(path.parent, {str(name): text for name, text in row.items()})
            if (first := lines.setdefault(entry.path, number)) != number:
                raise InputError(f"lists {row['path']} again, after line {first}. Keep one line.")
        except InputError as error:
            problems.append(f"{path}, line {number}: {error}")
        else:
            entries.append(entry)
    if not entries and not problems:
        raise InputError(f"{path}: lists no recording. Add lines, or delete it.")
    return entries


def _read_line(root: Path, row: Mapping[str, str]) -> Entry:
    place = PurePosixPath(row["path"].replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or not (root / place).is_file():
        raise InputError(
            f"names {row['path']!r}, which is no file below {root}. Correct the path or delete the "
            "line."
        )
    folders = list(place.parts[:-1])
    machine_type = row.get("machine_type") or (folders[0] if folders else "")
    if not machine_type or unplain_character(machine_type):
        raise InputError(f"the machine_type is {machine_type!r}. {PLAIN_CHARACTERS}.")
    condition = _known(row, "condition", (*CONDITIONS, *KINDS))
    named = [folder for folder in folders if split_of(folder)]
    split = _known(row, "split", _SPLITS) or (split_of(named[0]) if named else None)
    if split is None:
        split = "supplemental" if condition in KINDS else None
        split = split or ("train" if condition == "normal" else "test")
    if (condition in KINDS) != (split == "supplemental") or (
        split == "train" and CONDITIONS.get(condition or "")
    ):
        raise InputError(
            f"the split {split} and the condition {condition or '(none)'} do not go together: "
            "training recordings are normal, supplemental ones clean or noise."
        )
    pairs = {name: text for name, text in row.items() if name not in _OWN_COLUMNS and text}
    for text in pairs.values():
        if letter := unplain_character(text):
            raise InputError(f"{text!r} has the character {letter!r}. {PLAIN_CHARACTERS}.")
    if folders and folders[0] == machine_type:
        folders = folders[1:]
    if folders and folders[0] in (split, "normal", "check"):
        folders = folders[1:]
    told = Told(
        name=clip_name([*folders, place.name]),
        domain=_known(row, "domain", DOMAINS) or "source",
        is_anomaly=False if split == "train" else CONDITIONS.get(condition or ""),
        attribute="_".join(f"{name}_{text}" for name, text in pairs.items()) or None,
        supplemental_kind=condition if split == "supplemental" else None,
        pairs=pairs,
    )
    return Entry(root / place, machine_type, split, told)


def _known(row: Mapping[str, str], column: str, expected: tuple[str, ...]) -> str | None:
    """Value of a column in lower case, None where it is empty; an unknown one is refused."""
    text = row.get(column, "").lower()
    if text and text not in expected:
        raise InputError(
            f"the {column} is {row[column]!r}. Expected {', '.join(expected)}, or nothing where "
            f"{LISTING} does not know it."
        )
    return text or None


def read_clip_table(path: Path) -> pd.DataFrame:
    """Read a clip table that was written to CSV: texts with NA, nullable truth, numbers."""
    clips = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
    clips["is_anomaly"] = clips["is_anomaly"].map({"True": True, "False": False})
    counts = dict.fromkeys(("n_samples", "sample_rate", "channels"), "int64")
    return clips.astype({"is_anomaly": "boolean", "start_s": "float64", **counts})
