"""Where the challenge's layout keeps its files: machine folders, recordings, attribute files.

Everything below a data folder is read, or passed over with a reason that is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from asdlib.data import names
from asdlib.data.headers import RECORDINGS
from asdlib.errors import InputError, raise_problems

# Folder name -> split. `test_rename` holds the clips of `test` under their true names;
# `source_test` and `target_test` are the layout of 2021.
SPLIT_FOLDERS = {
    "train": "train",
    "test": "test",
    "source_test": "test",
    "target_test": "test",
    "test_rename": "test",
    "supplemental": "supplemental",
}
EXPECTED_LAYOUT = "Expected <machine>/train/*.wav below it, or dev_data/raw/<machine>/train/*.wav."
_ATTRIBUTE_FILE = re.compile(r"attributes_[0-9]{2}\.csv")
# Read by others than the clip table, or written by the workbook itself.
_KNOWN_FILE = re.compile(
    r"attributes_[0-9]{2}_(train|test)_correspondence\.csv|eval_data_list_[0-9]{4}\.csv|"
    r"faults_[0-9]{2}_test\.csv|sessions_[0-9]{2}\.csv|(simulated|dataset|challenge\.lock)\.json"
)
_UNREADABLE_FORMATS = (".m4a", ".aac", ".wma", ".amr", ".mp4", ".ac3", ".raw", ".pcm", ".tdms")
_SPLIT_WORDS = {"train", "training", "test", "testing", "tests", "supplemental"}


@dataclass
class Scan:
    """Files of the chosen machines, and what was passed over with the reason for it.

    ``machines`` maps a machine type to its folders, ``recordings`` a machine folder to (split,
    path), ``attribute_files`` a machine folder to its ``attributes_XX.csv``.
    """

    root: Path
    machines: dict[str, list[Path]]
    recordings: dict[Path, list[tuple[str, Path]]] = field(default_factory=dict)
    attribute_files: dict[Path, list[Path]] = field(default_factory=dict)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)

    def told(self) -> list[str]:
        """Say what was passed over: one line per reason, with the number and the first few."""
        by_reason: dict[str, list[str]] = {}
        for path, reason in self.passed_over:
            inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
            by_reason.setdefault(reason, []).append(str(inside))
        return [
            f"{len(paths)} passed over ({reason}): {', '.join(paths[:3])}"
            f"{', ...' if len(paths) > 3 else ''}"
            for reason, paths in by_reason.items()
        ]


def scan_folder(root: str | Path, machines: Sequence[str] | None = None) -> Scan:
    """List the recordings of a data folder, by their places alone, and what is passed over.

    A chosen machine that is not there or not named plainly is refused, and so are recordings in a
    folder whose name is nearly that of a split.
    """
    root = Path(root)
    found = find_machines(root)
    unknown = [machine for machine in machines or () if machine not in found]
    if unknown or (machines is not None and not machines):
        raise InputError(
            f"{root}: has no machine {', '.join(unknown) or '(none was named)'}. "
            f"There are: {', '.join(found)}."
        )
    scan = Scan(root, {name: found[name] for name in sorted(set(machines or found))})
    problems: list[str] = []
    for name, folders in scan.machines.items():
        if letter := names.unplain_character(name):
            problems.append(
                f"{folders[0]}: the machine's name has the character {letter!r}. Expected letters, "
                "digits, '_', '-', '+', '.' and blanks alone; rename the folder."
            )
        for folder in folders:
            _scan_machine(folder, scan, problems)
    raise_problems(problems, what="folders")
    everywhere = {folder for folders in found.values() for folder in folders}
    for path, reason in _walk(root, skip=everywhere):
        if not _KNOWN_FILE.fullmatch(path.name):
            scan.passed_over.append((path, reason or _why_not_read(path)))
    return scan


def _scan_machine(folder: Path, scan: Scan, problems: list[str]) -> None:
    splits = split_folders(folder)
    recordings = scan.recordings.setdefault(folder, [])
    skip = {split_folder for folders in splits.values() for split_folder in folders}
    for split, folders in splits.items():
        for split_folder in folders:
            for path, reason in _walk(split_folder):
                if not reason and is_recording(path):
                    recordings.append((split, path))
                else:
                    scan.passed_over.append((path, reason or _why_not_read(path)))
    for child in _folders(folder):
        if child not in skip and child.name.lower() in SPLIT_FOLDERS:
            scan.passed_over.append((child, "it holds the clips of test, which is read"))
            skip.add(child)
        elif child not in skip and _is_near_miss(child.name) and list_recordings(child):
            problems.append(
                f"{child}: holds recordings, but no split has this name. Expected "
                f"{', '.join(SPLIT_FOLDERS)}; rename the folder or move it elsewhere."
            )
    for path, reason in _walk(folder, skip=skip):
        if path.parent == folder and _ATTRIBUTE_FILE.fullmatch(path.name):
            scan.attribute_files.setdefault(folder, []).append(path)
        elif not _KNOWN_FILE.fullmatch(path.name):
            scan.passed_over.append((path, reason or _why_not_read(path)))


def find_machines(root: Path) -> dict[str, list[Path]]:
    """Find the machine folders below a root: machine type -> folders, sorted by machine type.

    The root holds them, or lies above ``raw``, ``dev_data/raw`` and ``eval_data/raw``, with at
    most one further folder (``dcase2025t2``) in between. Two folders are of one machine where
    development and evaluation data share a name; several data sets below a root are refused.
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


def split_folders(machine_folder: Path) -> dict[str, list[Path]]:
    """Folders of every split of a machine, ``test`` rather than ``test_rename`` where both are."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(_folders(machine_folder), key=lambda folder: folder.name.lower()):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        is_copy = folder.name.lower() == "test_rename" and "test" in found
        if split and not is_copy:
            found.setdefault(split, []).append(folder)
    return found


def list_recordings(folder: Path) -> list[Path]:
    """List the recordings of a split's folder and of those below it."""
    return [path for path, reason in _walk(folder) if not reason and is_recording(path)]


def _bases(root: Path) -> list[Path]:
    if any(_is_machine(folder) for folder in _folders(root)):
        return [root]
    inner = [root / "raw", root / "dev_data" / "raw", root / "eval_data" / "raw"]
    return [base for base in inner if base.is_dir() and any(map(_is_machine, _folders(base)))]


def _is_machine(folder: Path) -> bool:
    """Whether it has a split, or recordings where a split was meant, so that their loss is told."""
    return (
        bool(split_folders(folder))
        or _has_recordings(folder)
        or any(_is_near_miss(child.name) and _has_recordings(child) for child in _folders(folder))
    )


def _is_near_miss(name: str) -> bool:
    """Whether a folder's name is nearly that of a split: ``tests``, ``training``, ``train_old``."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    return bool(words & _SPLIT_WORDS) or bool(
        get_close_matches(name.lower(), list(SPLIT_FOLDERS), n=1, cutoff=0.8)
    )


def _has_recordings(folder: Path) -> bool:
    return any(is_recording(path) and not _is_hidden(path) for path in _entries(folder))


def is_recording(path: Path) -> bool:
    """Whether a file's name says that it is a recording."""
    return path.suffix.lower() in RECORDINGS


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def _why_not_read(path: Path) -> str:
    if is_recording(path):
        return "in no split's folder"
    if path.suffix.lower() in _UNREADABLE_FORMATS:
        return "a format that cannot be read (convert it to wav or flac)"
    return "no recording"


def _walk(folder: Path, skip: Collection[Path] = ()) -> Iterator[tuple[Path, str]]:
    """Files below a folder, each with the reason to pass it over, empty where there is none."""
    for path in _entries(folder):
        if path in skip:
            continue
        if _is_hidden(path):
            yield path, "hidden"
        elif path.is_dir():
            leads_on = any(path in place.parents for place in skip)
            if path.is_symlink() and not leads_on:
                yield path, "a link to a folder"
            else:
                yield from _walk(path, skip)
        else:
            yield path, "" if path.is_file() else "a link to nothing"


def _folders(root: Path) -> list[Path]:
    return [path for path in _entries(root) if not _is_hidden(path) and path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror}).") from error
