"""Where the recordings of a data folder lie: its machines and their splits; what is passed over.

Four layouts are read, one per data folder: the challenge's names (2021 to 2026), the names of
2020, MIMII, and plain folders whose files may be called anything. Or a ``clips.csv`` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from asdlib.base import InputError, first_few, raise_problems, refuse_unknown
from asdlib.data import names, told
from asdlib.data.audio import files_in, folders_in, is_recording, list_recordings, walk

_UNREADABLE_FORMATS = (".m4a", ".aac", ".wma", ".amr", ".mp4", ".ac3", ".raw", ".pcm", ".tdms")
EXPECTED_LAYOUT = (
    "Expected <machine>/train/** and, for what is to be judged, <machine>/test/** below it (or "
    "normal/ and check/), or a clips.csv that says what the files are."
)
_CHALLENGE_NAME = re.compile(r"section_[0-9]", re.IGNORECASE)
_MIMII_ID = re.compile(r"id_[0-9]{2}")
_SPLIT_WORDS = {"train", "training", "test", "testing", "tests", "supplemental"}
_ATTRIBUTE_FILE = re.compile(r"attributes_[0-9]{2}\.csv")
# Read by others than the clip table, or written by the workbook itself.
_KNOWN_FILE = re.compile(
    r"attributes_[0-9]{2}_(train|test)_correspondence\.csv|eval_data_list_[0-9]{4}\.csv|"
    r"faults_[0-9]{2}_test\.csv|sessions_[0-9]{2}\.csv|(simulated|dataset|challenge\.lock)\.json"
)


@dataclass
class Scan:
    """Files of the chosen machines, and what was passed over with the reason for it.

    ``problems`` are what is wrong with single files.
    """

    root: Path
    machines: dict[str, list[Path]] = field(default_factory=dict)  # folders by machine type
    layout: str = told.PLAIN
    recordings: list[told.Recording] = field(default_factory=list)
    attribute_files: dict[Path, list[Path]] = field(default_factory=dict)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """Say what was passed over: one line per reason, with the number and the first few."""
        by_reason: dict[str, list[str]] = {}
        for path, reason in self.passed_over:
            inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
            by_reason.setdefault(reason, []).append(names.printable(str(inside)))
        return [f"{len(paths)} passed over ({reason}): {first_few(paths)}"
                for reason, paths in by_reason.items()]  # fmt: skip


def machine_types(root: Path, machines: Sequence[str] | None = None) -> list[str]:
    """Machine types of a data folder, in order; chosen ``machines`` must be among them."""
    return list(_start(root, machines)[0])


def scan_folder(root: str | Path, machines: Sequence[str] | None = None) -> Scan:
    """List the recordings of a data folder, by their places alone, and what is passed over.

    A chosen machine that is not there or not named plainly is refused, and so are machines of
    different layouts and recordings in a folder whose name is nearly that of a split.
    """
    found, scan = _start(Path(root), machines)
    if scan.layout == told.LISTED:
        listed = {one.path for one in scan.recordings} | {scan.root / told.LISTING}
        scan.recordings = [one for one in scan.recordings if one.machine_type in scan.machines]
        for path, reason in walk(scan.root, skip=listed):
            _pass_over(scan, path, reason)
        return scan
    _find_layout(scan)
    problems: list[str] = []
    types: dict[Path, list[str]] = {}  # of 2020 several machines share a folder
    for name, folders in scan.machines.items():
        try:
            names.refuse_unplain(name, f"{folders[0]}: the machine's name")
        except InputError as error:
            problems.append(str(error))
        for folder in folders:
            types.setdefault(folder, []).append(name)
    for folder, own in types.items():
        _scan_machine(own, folder, scan, problems)
    raise_problems(problems, what="folders")
    everywhere = {folder for folders in found.values() for folder in folders}
    for path, reason in walk(scan.root, skip=everywhere) if scan.root not in everywhere else ():
        _pass_over(scan, path, reason)
    return scan


def _start(root: Path, machines: Sequence[str] | None) -> tuple[dict[str, list[Path]], Scan]:
    """Find the folders of all machines, and begin a scan of the chosen ones."""
    scan = Scan(root)
    if (root / told.LISTING).is_file():
        scan.layout = told.LISTED
        scan.recordings = told.read_listing(root / told.LISTING, scan.problems)
        found = {one.machine_type: [root] for one in scan.recordings}
    else:
        found = _find_machines(root)
    named = ["(none was named)"] if machines is not None and not machines else machines
    refuse_unknown(named or (), sorted(found), f"{root}: has no machine")
    scan.machines = {name: found[name] for name in sorted(set(machines or found))}
    return dict(sorted(found.items())), scan


def _find_machines(root: Path) -> dict[str, list[Path]]:
    """Find the machines below a root: machine type -> folders.

    The root holds their folders, is one, or lies above ``raw`` or ``{dev,eval}_data/raw``; two data
    sets are refused.
    """
    if not root.is_dir():
        raise InputError(f"{root}: is no folder. {EXPECTED_LAYOUT}")
    places = [root]
    if told.split_folders(root):
        beside = [child.name for child in folders_in(root) if _is_machine(child)]
        if beside := [name for name in beside if name.lower() not in told.SPLIT_FOLDERS]:
            own = ", ".join(name for name in told.SPLIT_FOLDERS if (root / name).is_dir())
            raise InputError(
                f"{root}: is the folder of one machine ({own}) and holds others "
                f"({', '.join(beside)}). Put the machines beside each other in one folder."
            )
    elif not (places := _machine_folders(root)):
        below = {child.name: _machine_folders(child) for child in folders_in(root)}
        sets = [name for name, own in below.items() if own]
        places = [one for own in below.values() for one in own]
        # Of MIMII every machine may come in a set of its own, ``6_dB_fan/fan/id_00``.
        if len(sets) > 1 and any(map(told.split_folders, places)):
            raise InputError(
                f"{root}: holds several data sets ({', '.join(sets)}). Name one of these folders."
            )
    found: dict[str, list[Path]] = {}
    for name, folder in (one for place in places for one in _machines_in(place)):
        found.setdefault(name, []).append(folder)
        if len(found[name]) > 1 and _is_mimii(folder):
            shown = ", ".join(str(one.relative_to(root)) for one in found[name])
            raise InputError(f"{root}: holds {name} twice ({shown}). Name the folder of one level.")
    if not found:
        raise InputError(f"{root}: holds no machine. {EXPECTED_LAYOUT}")
    return found


def _machine_folders(root: Path) -> list[Path]:
    """Machine folders in a folder, or in what the challenge has between."""
    inner = [root / "raw", root / "dev_data" / "raw", root / "eval_data" / "raw"]
    for bases in ([root], [base for base in inner if base.is_dir()]):
        if found := [one for base in bases for one in folders_in(base) if _is_machine(one)]:
            return found
    return []


def _machines_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Machines of a folder, by name: itself, or of 2020 and MIMII (``fan_id_00``) one per id."""
    whole = folder.resolve()
    if _is_mimii(folder):
        yield f"{whole.parent.name}_{whole.name}", folder
        return
    ids = [child for child in folders_in(folder) if _is_mimii(child)]
    yield from (one for child in ids for one in _machines_in(child))
    name = whole.name if folder.name in ("", "..") else folder.name
    if layout_of(folder) == told.NAMES_OF_2020:
        matches = (told.NAME_OF_2020.fullmatch(path.name) for path in list_recordings(folder))
        yield from ((f"{name}_{own}", folder) for own in {match[2] for match in matches if match})
    elif told.split_folders(folder) or not ids:
        yield name, folder


def _find_layout(scan: Scan) -> None:
    """Find the layout that all machines with recordings share."""
    by_layout: dict[str, list[str]] = {}
    for folder in dict.fromkeys(one for folders in scan.machines.values() for one in folders):
        if found := layout_of(folder):
            by_layout.setdefault(found, []).append(folder.name)
    if len(by_layout) > 1:
        parts = "; ".join(f"{name}: {first_few(own)}" for name, own in by_layout.items())
        raise InputError(
            f"{scan.root}: mixes layouts ({parts}). Choose machines of one layout (--machines), or "
            f"move the others to a folder of their own."
        )
    scan.layout = next(iter(by_layout), told.PLAIN)


def layout_of(folder: Path) -> str | None:
    """Tell a machine folder's layout by its first telling name; None without recordings."""
    if _is_mimii(folder):
        return told.MIMII
    found = None
    for path in (one for own in told.split_folders(folder).values() for one in own):
        for name in (one.name for one in list_recordings(path)):
            if _CHALLENGE_NAME.match(name):
                return told.CHALLENGE
            is_of_2020 = found == told.NAMES_OF_2020 or told.NAME_OF_2020.fullmatch(name)
            found = told.NAMES_OF_2020 if is_of_2020 else told.PLAIN
    return found


def _scan_machine(types: list[str], folder: Path, scan: Scan, problems: list[str]) -> None:
    """List what lies in a folder, that of one machine type or of 2020 of several."""
    splits = told.split_folders(folder)
    if len(trained := splits.get("train", [])) > 1:
        both = " and ".join(one.name for one in trained)
        problems.append(f"{folder}: has both {both}. Keep what is learnt from in one of them.")
    skip, own = set(), []
    for split, place in ((split, place) for split, places in splits.items() for place in places):
        skip.add(place)
        for path, reason in walk(place):
            if reason or not is_recording(path):
                _pass_over(scan, path, reason)
                continue
            match = told.NAME_OF_2020.fullmatch(path.name)
            match = match if scan.layout == told.NAMES_OF_2020 else None
            machine = next((one for one in types if not match or one.endswith(match[2])), None)
            if machine:  # of 2020 it may not be chosen
                own.append(told.Recording(machine, split, path, folder))
    scan.recordings += _split_mimii(own) if scan.layout == told.MIMII else own
    for child in folders_in(folder):
        if child not in skip and child.name.lower() in told.SPLIT_FOLDERS:
            scan.passed_over.append((child, "it holds the clips of test, which is read"))
            skip.add(child)
        elif child not in skip and _is_near_miss(child.name) and list_recordings(child):
            problems.append(
                f"{child}: holds recordings, but no split has this name. Expected "
                f"{', '.join(told.SPLIT_FOLDERS)}; rename the folder or move it elsewhere."
            )
    for path, reason in walk(folder, skip=skip):
        is_attributes = path.parent == folder and _ATTRIBUTE_FILE.fullmatch(path.name)
        if is_attributes and scan.layout == told.CHALLENGE:
            scan.attribute_files.setdefault(folder, []).append(path)
        else:
            _pass_over(scan, path, reason)


def _split_mimii(recordings: list[told.Recording]) -> list[told.Recording]:
    """Split as MIMII's own baseline does, from whose paper the rule is (Purohit et al., 2019).

    Of the normal clips the first are test clips, as many as are abnormal; here at most half.
    """
    normal = [one for one in recordings if one.split == "train"]
    n_test = min(len(recordings) - len(normal), len(normal) // 2)
    tested = [one._replace(split="test") for one in normal[:n_test]]
    return [*tested, *normal[n_test:], *(one for one in recordings if one.split == "test")]


def _pass_over(scan: Scan, path: Path, reason: str) -> None:
    """Note why a file is not read; what is known to lie there is not told."""
    if not reason and is_recording(path):
        reason = (
            f"not listed in {told.LISTING}"
            if scan.layout == told.LISTED
            else "in no split's folder"
        )
    elif not reason and path.suffix.lower() in _UNREADABLE_FORMATS:
        reason = "a format that cannot be read (convert it to wav or flac)"
    if reason or not _KNOWN_FILE.fullmatch(path.name):
        scan.passed_over.append((path, reason or "no recording"))


def is_simulated(folder: Path) -> bool:
    """Whether recordings come from the workbook's own generator."""
    resolved = folder.resolve()
    return any((place / "simulated.json").exists() for place in (resolved, *resolved.parents[:2]))


def _is_mimii(folder: Path) -> bool:
    return (folder / "normal").is_dir() and bool(_MIMII_ID.fullmatch(folder.resolve().name))


def _is_machine(folder: Path) -> bool:
    """Whether it has a split, or recordings where a split was meant, so that their loss is told."""
    below = folders_in(folder)
    return (
        bool(told.split_folders(folder))
        or any(map(is_recording, files_in(folder)))
        or any(
            _is_near_miss(one.name) and any(map(is_recording, files_in(one))) or _is_mimii(one)
            for one in below
        )
    )


def _is_near_miss(name: str) -> bool:
    """Whether a folder's name is nearly that of a split: ``tests``, ``training``, ``train_old``."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    return bool(words & _SPLIT_WORDS) or bool(
        get_close_matches(name.lower(), list(told.SPLIT_FOLDERS), n=1, cutoff=0.8)
    )
