"""Where the challenge's layout keeps its files: machine folders, wav files, attribute files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asdlib.data import names
from asdlib.errors import InputError

# Folder name -> split. `test_rename` holds the clips of `test` under their true names.
SPLIT_FOLDERS = {
    "train": "train",
    "test": "test",
    "test_rename": "test",
    "supplemental": "supplemental",
}
EXPECTED_LAYOUT = "Expected <machine>/train/*.wav below it, or dev_data/raw/<machine>/train/*.wav."
_PAIR_COLUMN = re.compile(r"d([0-9]+)p")


def find_machines(root: Path) -> dict[str, list[Path]]:
    """Find the machine folders below a root.

    Parameters
    ----------
    root : Path
        Folder of machine folders; or one above ``raw``, ``dev_data/raw`` and
        ``eval_data/raw``, with at most one further folder (``dcase2025t2``) in between.

    Returns
    -------
    dict
        Machine type -> its folders (two where development and evaluation data share a name),
        sorted by machine type.

    Raises
    ------
    InputError
        When there is none, when the root is a machine folder itself, or when several data sets
        lie below it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: is no folder. {EXPECTED_LAYOUT}")
    if split_folders(root):
        raise InputError(f"{root}: is the folder of one machine. Name the folder above it.")
    bases = _bases(root)
    if not bases:
        below = {child.name: _bases(child) for child in _folders(root)}
        sets = {name: found for name, found in below.items() if found}
        if len(sets) > 1:
            raise InputError(
                f"{root}: holds several data sets ({', '.join(sets)}). Name one of these folders."
            )
        bases = [base for found in sets.values() for base in found]
    machines: dict[str, list[Path]] = {}
    for base in bases:
        for folder in _folders(base):
            if _is_machine(folder):
                machines.setdefault(folder.name, []).append(folder)
    if not machines:
        raise InputError(f"{root}: holds no machine. {EXPECTED_LAYOUT}")
    return dict(sorted(machines.items()))


def is_simulated(folder: Path) -> bool:
    """Whether recordings come from the workbook's own generator."""
    resolved = folder.resolve()
    return any((place / "simulated.json").exists() for place in (resolved, *resolved.parents[:2]))


def split_folders(machine_folder: Path) -> dict[str, Path]:
    """Folder of every split of a machine, ``test`` rather than ``test_rename`` where both are."""
    by_name = {folder.name.lower(): folder for folder in _folders(machine_folder)}
    found: dict[str, Path] = {}
    for name, split in SPLIT_FOLDERS.items():
        if name in by_name:
            found.setdefault(split, by_name[name])
    return found


def list_wavs(folder: Path) -> list[Path]:
    """Wav files of a folder by name; hidden and other files are passed over."""
    return [
        path
        for path in _entries(folder)
        if path.suffix.lower() == ".wav" and not path.name.startswith(".") and path.is_file()
    ]


def read_attributes(path: Path) -> dict[tuple[str | None, str], dict[str, str]]:
    """Read an ``attributes_XX.csv``.

    Its columns are ``file_name,d1p,d1v,d2p,d2v,...``; the parameter columns may be missing, and
    a file name may be a path or lack its ``.wav``.

    Returns
    -------
    dict
        (split named by the path or None, file name in lower-case ``.wav``) -> parameters and
        values, without the empty ones.

    Raises
    ------
    InputError
        When the file is no such table or gives a clip two different attributes.
    """
    table = read_table(path, ["file_name"])
    pairs = _pair_columns(path, table.columns)
    found: dict[tuple[str | None, str], dict[str, str]] = {}
    for row in table.to_dict("records"):
        entry = row["file_name"].replace("\\", "/").strip()
        *folders, name = entry.split("/")
        split = SPLIT_FOLDERS.get(folders[-1].lower()) if folders else None
        stem = name[:-4] if name.lower().endswith(".wav") else name
        values = {
            row[p].strip(): row[v].strip()
            for p, v in pairs
            if row[p].strip() and row[p].strip().lower() != "noattribute"
        }
        key = (split, stem + ".wav")
        if found.setdefault(key, values) != values:
            raise InputError(f"{path}: gives two different attributes to {entry}. Keep one line.")
    return found


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a CSV of texts that must have the given columns; empty fields are empty texts.

    Raises
    ------
    InputError
        When the file is unreadable, is no CSV or lacks a column.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}).") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{path}: lacks the column {missing[0]}, its first line must be "
            f"{','.join(columns)}{',d1p,d1v,...' if 'file_name' in columns else ''}."
        )
    return table.fillna("")


def agrees(clip_name: names.ClipName, pairs: dict[str, str]) -> bool:
    """Whether every parameter of the attribute file stands in the name with its value."""
    if clip_name.attribute is None:
        return True
    text = clip_name.attribute.replace("_", "").lower()
    return all((p + v).replace("_", "").lower() in text for p, v in pairs.items())


def _pair_columns(path: Path, columns: pd.Index) -> list[tuple[str, str]]:
    numbers = [match[1] for column in columns if (match := _PAIR_COLUMN.fullmatch(column))]
    for number in numbers:
        if f"d{number}v" not in columns:
            raise InputError(f"{path}: has the column d{number}p but no d{number}v.")
    return [(f"d{number}p", f"d{number}v") for number in sorted(numbers, key=int)]


def _bases(root: Path) -> list[Path]:
    if any(_is_machine(folder) for folder in _folders(root)):
        return [root]
    inner = [root / "raw", root / "dev_data" / "raw", root / "eval_data" / "raw"]
    return [base for base in inner if base.is_dir() and any(map(_is_machine, _folders(base)))]


def _is_machine(folder: Path) -> bool:
    """Whether it has a split; wavs without one count too, so that their loss is noticed."""
    return bool(split_folders(folder)) or bool(list_wavs(folder))


def _folders(root: Path) -> list[Path]:
    return [
        path for path in _entries(root) if not path.name.startswith((".", "__")) and path.is_dir()
    ]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}).") from error
