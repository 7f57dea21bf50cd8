"""Which machines a data folder holds, in which layout, and what lies in a folder.

Four layouts are read, one per data folder: the challenge's names (2021 to 2026), the names of
2020, MIMII, and plain folders whose files may be called anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from asdlib.base import InputError, reading

#: Extensions of what is taken for a recording; libsndfile knows its format by the content.
_RECORDINGS = (
    *(".wav", ".wave", ".rf64", ".w64", ".flac", ".aif", ".aiff", ".aifc"),
    *(".caf", ".au", ".snd", ".ogg", ".oga", ".opus", ".mp3"),
)
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
#: Folders that tell the condition of what lies in them.
CONDITIONS = {"normal": False, "abnormal": True, "anomaly": True, "anomalous": True}
_PLAIN_FOLDERS = {
    **{name: split for name, split in SPLIT_FOLDERS.items() if name != "test_rename"},
    "check": "test",
    **{name: "test" if is_anomaly else "train" for name, is_anomaly in CONDITIONS.items()},
}
CHALLENGE, NAMES_OF_2020, MIMII = "the challenge's names", "names of 2020", "MIMII"
PLAIN, LISTED = "plain folders", "as its clips.csv says"
#: Folder name -> split, by layout; MIMII's splits follow from its counts.
SPLITS: Mapping[str, Mapping[str, str]] = {
    CHALLENGE: SPLIT_FOLDERS,
    NAMES_OF_2020: SPLIT_FOLDERS,
    PLAIN: _PLAIN_FOLDERS,
}
EXPECTED_LAYOUT = (
    "Expected <machine>/train/** and, for what is to be judged, <machine>/test/** below it (or "
    "normal/ and check/), or a clips.csv that says what the files are."
)
#: Name of the file that may say what names and folders do not; see `asdlib.data.told`.
LISTING = "clips.csv"
#: A file of 2020: the condition, hidden for some, and the machine's id.
NAME_OF_2020 = re.compile(r"(?:(normal|anomaly)_)?(id_[0-9]{2})_[0-9]{8}\.[A-Za-z0-9]+")
_CHALLENGE_NAME = re.compile(r"section_[0-9]", re.IGNORECASE)
_MIMII_ID = re.compile(r"id_[0-9]{2}")
_SPLIT_WORDS = {"train", "training", "test", "testing", "tests", "supplemental"}


def find_machines(root: Path) -> dict[str, list[Path]]:
    """Find the machines below a root: machine type -> folders, sorted by machine type.

    The root holds their folders, is one, or lies above ``raw`` or ``{dev,eval}_data/raw``; two data
    sets are refused. Of 2020 and MIMII every id is a machine (``fan_id_00``).
    """
    if not root.is_dir():
        raise InputError(f"{root}: is no folder. {EXPECTED_LAYOUT}")
    if split_folders(root, _PLAIN_FOLDERS) and not _is_mimii(root):
        beside = [child.name for child in folders_in(root) if _is_machine(child)]
        beside = [name for name in beside if name.lower() not in _PLAIN_FOLDERS]
        if beside:
            own = ", ".join(name for name in _PLAIN_FOLDERS if (root / name).is_dir())
            raise InputError(
                f"{root}: is the folder of one machine ({own}) and holds others "
                f"({', '.join(beside)}). Put the machines beside each other in one folder."
            )
        return {name: [root] for name in _machine_types(root)}
    machines = _mimii_machines(root)
    for base in [] if _is_mimii(root) else _bases(root):
        for folder in folders_in(base):
            if _is_machine(folder):
                for name in _machine_types(folder):
                    machines.setdefault(name, []).append(folder)
    if not machines:
        raise InputError(f"{root}: holds no machine. {EXPECTED_LAYOUT}")
    return dict(sorted(machines.items()))


def layout_of(folder: Path) -> str | None:
    """Tell a machine folder's layout by its first telling name; None without recordings."""
    if _is_mimii(folder):
        return MIMII
    found = None
    for split_folder in sum(split_folders(folder, _PLAIN_FOLDERS | SPLIT_FOLDERS).values(), []):
        for path in list_recordings(split_folder):
            if _CHALLENGE_NAME.match(path.name):
                return CHALLENGE
            is_of_2020 = found == NAMES_OF_2020 or NAME_OF_2020.fullmatch(path.name)
            found = NAMES_OF_2020 if is_of_2020 else PLAIN
    return found


def is_simulated(folder: Path) -> bool:
    """Whether recordings come from the workbook's own generator."""
    resolved = folder.resolve()
    return any((place / "simulated.json").exists() for place in (resolved, *resolved.parents[:2]))


def split_folders(
    machine_folder: Path, names: Mapping[str, str] = SPLIT_FOLDERS
) -> dict[str, list[Path]]:
    """Folders of every split of a machine, ``test`` rather than ``test_rename`` where both are."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(folders_in(machine_folder), key=lambda folder: folder.name.lower()):
        split = names.get(folder.name.lower())
        is_copy = folder.name.lower() == "test_rename" and "test" in found
        if split and not is_copy:
            found.setdefault(split, []).append(folder)
    return found


def list_recordings(folder: Path) -> list[Path]:
    """List the recordings of a folder and of those below it."""
    return [path for path, reason in walk(folder) if not reason and is_recording(path)]


def _machine_types(folder: Path) -> list[str]:
    """Names of a folder's machines: its own, or of 2020 one per id."""
    name = folder.resolve().name if folder.name in ("", "..") else folder.name
    if layout_of(folder) != NAMES_OF_2020:
        return [name]
    matches = (NAME_OF_2020.fullmatch(path.name) for path in list_recordings(folder))
    return [f"{name}_{own_id}" for own_id in sorted({match[2] for match in matches if match})]


def _mimii_machines(root: Path) -> dict[str, list[Path]]:
    """Machines of MIMII: ids of the root, of folders in it, or of those below a level's folder."""
    places = [root, *folders_in(root)]
    places += [below for folder in places[1:] for below in folders_in(folder)]
    machines: dict[str, list[Path]] = {}
    below_places = (child for place in places for child in folders_in(place))
    for folder in dict.fromkeys([root, *below_places]):
        if _is_mimii(folder):
            whole = folder.resolve()
            machines.setdefault(f"{whole.parent.name}_{whole.name}", []).append(folder)
    for name, folders in machines.items():
        if len(folders) > 1:
            shown = ", ".join(str(folder.relative_to(root)) for folder in folders)
            raise InputError(f"{root}: holds {name} twice ({shown}). Name the folder of one level.")
    return machines


def _is_mimii(folder: Path) -> bool:
    return (folder / "normal").is_dir() and bool(_MIMII_ID.fullmatch(folder.resolve().name))


def _bases(root: Path) -> list[Path]:
    """Folders that hold machine folders: the root, or what the challenge has between."""
    found = _bases_in(root)
    if found:
        return found
    below = {child.name: _bases_in(child) for child in folders_in(root)}
    sets = {name: bases for name, bases in below.items() if bases}
    if len(sets) > 1:
        raise InputError(
            f"{root}: holds several data sets ({', '.join(sets)}). Name one of these folders."
        )
    return [base for bases in sets.values() for base in bases]


def _bases_in(root: Path) -> list[Path]:
    if any(_is_machine(folder) for folder in folders_in(root)):
        return [root]
    inner = [root / "raw", root / "dev_data" / "raw", root / "eval_data" / "raw"]
    return [base for base in inner if base.is_dir() and any(map(_is_machine, folders_in(base)))]


def _is_machine(folder: Path) -> bool:
    """Whether it has a split, or recordings where a split was meant, so that their loss is told."""
    return not _is_mimii(folder) and (
        bool(split_folders(folder, _PLAIN_FOLDERS | SPLIT_FOLDERS))
        or _has_recordings(folder)
        or any(is_near_miss(child.name) and _has_recordings(child) for child in folders_in(folder))
    )


def is_near_miss(name: str) -> bool:
    """Whether a folder's name is nearly that of a split: ``tests``, ``training``, ``train_old``."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    return bool(words & _SPLIT_WORDS) or bool(
        get_close_matches(name.lower(), list(SPLIT_FOLDERS), n=1, cutoff=0.8)
    )


def _has_recordings(folder: Path) -> bool:
    return any(is_recording(path) and not _is_hidden(path) for path in _entries(folder))


def is_recording(path: Path) -> bool:
    """Whether a file's name says that it is a recording."""
    return path.suffix.lower() in _RECORDINGS


def _is_hidden(path: Path) -> bool:
    return path.name.startswith((".", "__"))


def walk(folder: Path, skip: Collection[Path] = ()) -> Iterator[tuple[Path, str]]:
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
                yield from walk(path, skip)
        else:
            yield path, "" if path.is_file() else "a link to nothing"


def folders_in(root: Path) -> list[Path]:
    """Folders directly in a folder, without hidden ones."""
    return [path for path in _entries(root) if not _is_hidden(path) and path.is_dir()]


def _entries(folder: Path) -> list[Path]:
    with reading(folder):
        return sorted(folder.iterdir())
