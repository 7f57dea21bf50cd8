"""Every file of a data folder: a recording with its machine and split, or passed over and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asdlib.base import InputError, first_few, raise_problems, read_table, refuse_unknown
from asdlib.data import layout, names
from asdlib.data.told import Recording, read_listing

_PAIR_COLUMN = re.compile(r"d([0-9]+)p")
_ATTRIBUTE_FILE = re.compile(r"attributes_[0-9]{2}\.csv")
# Read by others than the clip table, or written by the workbook itself.
_KNOWN_FILE = re.compile(
    r"attributes_[0-9]{2}_(train|test)_correspondence\.csv|eval_data_list_[0-9]{4}\.csv|"
    r"faults_[0-9]{2}_test\.csv|sessions_[0-9]{2}\.csv|(simulated|dataset|challenge\.lock)\.json"
)
_UNREADABLE_FORMATS = (".m4a", ".aac", ".wma", ".amr", ".mp4", ".ac3", ".raw", ".pcm", ".tdms")


@dataclass
class Scan:
    """Files of the chosen machines, and what was passed over with the reason for it.

    ``problems`` are what is wrong with single files.
    """

    root: Path
    machines: dict[str, list[Path]]
    layout: str
    recordings: list[Recording] = field(default_factory=list)
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
    if (root / layout.LISTING).is_file():
        found = sorted({one.machine_type for one in read_listing(root / layout.LISTING, [])})
    else:
        found = list(layout.find_machines(root))
    _check_choice(root, machines, found)
    return found


def scan_folder(root: str | Path, machines: Sequence[str] | None = None) -> Scan:
    """List the recordings of a data folder, by their places alone, and what is passed over.

    A chosen machine that is not there or not named plainly is refused, and so are machines of
    different layouts and recordings in a folder whose name is nearly that of a split.
    """
    root = Path(root)
    if (root / layout.LISTING).is_file():
        return _scan_listing(root, machines)
    found = layout.find_machines(root)
    _check_choice(root, machines, list(found))
    chosen = {name: found[name] for name in sorted(set(machines or found))}
    scan = Scan(root, chosen, _one_layout(root, chosen))
    problems: list[str] = []
    types: dict[Path, list[str]] = {}  # of 2020 several machines share a folder
    for name, folders in chosen.items():
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
    for path, reason in layout.walk(root, skip=everywhere) if root not in everywhere else ():
        _pass_over(scan, path, reason)
    return scan


def _check_choice(root: Path, machines: Sequence[str] | None, found: list[str]) -> None:
    named = ["(none was named)"] if machines is not None and not machines else machines
    refuse_unknown(named or (), found, f"{root}: has no machine")


def _one_layout(root: Path, machines: dict[str, list[Path]]) -> str:
    """Layout that all machines with recordings share."""
    by_layout: dict[str, list[str]] = {}
    for folder in dict.fromkeys(folder for folders in machines.values() for folder in folders):
        if found := layout.layout_of(folder):
            by_layout.setdefault(found, []).append(folder.name)
    if len(by_layout) > 1:
        parts = "; ".join(f"{name}: {first_few(own)}" for name, own in by_layout.items())
        raise InputError(
            f"{root}: mixes layouts ({parts}). Choose machines of one layout (--machines), or "
            f"move the others to a folder of their own."
        )
    return next(iter(by_layout), layout.PLAIN)


def _scan_listing(root: Path, machines: Sequence[str] | None) -> Scan:
    problems: list[str] = []
    recordings = read_listing(root / layout.LISTING, problems)
    found = sorted({one.machine_type for one in recordings})
    _check_choice(root, machines, found)
    chosen = dict.fromkeys(sorted(set(machines or found)), [root])
    own = [one for one in recordings if one.machine_type in chosen]
    scan = Scan(root, chosen, layout.LISTED, own, problems=problems)
    listed = {one.path for one in recordings}
    for path, reason in layout.walk(root):
        if path not in listed and path != root / layout.LISTING:
            is_left_out = not reason and layout.is_recording(path)
            _pass_over(scan, path, f"not listed in {layout.LISTING}" if is_left_out else reason)
    return scan


def _scan_machine(types: list[str], folder: Path, scan: Scan, problems: list[str]) -> None:
    """List what lies in a folder, that of one machine type or of 2020 of several."""
    if scan.layout == layout.MIMII:
        split_of = _split_mimii(folder)
        for path, reason in layout.walk(folder):
            if path in split_of:
                scan.recordings.append(Recording(types[0], split_of[path], path, folder))
            else:
                _pass_over(scan, path, reason)
        return
    splits = layout.split_folders(folder, layout.SPLITS[scan.layout])
    skip = {split_folder for folders in splits.values() for split_folder in folders}
    for split, folders in splits.items():
        if split == "train" and len(folders) > 1:
            both = " and ".join(one.name for one in folders)
            problems.append(f"{folder}: has both {both}. Keep what is learnt from in one of them.")
        for split_folder in folders:
            for path, reason in layout.walk(split_folder):
                if reason or not layout.is_recording(path):
                    _pass_over(scan, path, reason)
                    continue
                is_of_2020 = scan.layout == layout.NAMES_OF_2020
                match = layout.NAME_OF_2020.fullmatch(path.name) if is_of_2020 else None
                own = [name for name in types if match is None or name.endswith(match[2])]
                if own:  # of 2020 the machine may not be chosen
                    scan.recordings.append(Recording(own[0], split, path, folder))
    for child in layout.folders_in(folder):
        if child not in skip and child.name.lower() in layout.SPLITS[scan.layout]:
            scan.passed_over.append((child, "it holds the clips of test, which is read"))
            skip.add(child)
        elif (
            child not in skip and layout.is_near_miss(child.name) and layout.list_recordings(child)
        ):
            problems.append(
                f"{child}: holds recordings, but no split has this name. Expected "
                f"{', '.join(layout.SPLITS[scan.layout])}; rename the folder or move it elsewhere."
            )
    for path, reason in layout.walk(folder, skip=skip):
        is_attributes = path.parent == folder and _ATTRIBUTE_FILE.fullmatch(path.name)
        if is_attributes and scan.layout == layout.CHALLENGE:
            scan.attribute_files.setdefault(folder, []).append(path)
        else:
            _pass_over(scan, path, reason)


def _split_mimii(folder: Path) -> dict[Path, str]:
    """Split as MIMII's own baseline does, from whose paper the rule is (Purohit et al., 2019).

    Of the normal clips the first are test clips, as many as are abnormal; here at most half.
    """
    normal, place = layout.list_recordings(folder / "normal"), folder / "abnormal"
    abnormal = layout.list_recordings(place) if place.is_dir() else []
    n_test = min(len(abnormal), len(normal) // 2)
    tested = [*normal[:n_test], *abnormal]
    return {**dict.fromkeys(normal, "train"), **dict.fromkeys(tested, "test")}


def _pass_over(scan: Scan, path: Path, reason: str) -> None:
    """Note why a file is not read; what is known to lie there is not told."""
    if not reason and layout.is_recording(path):
        reason = "in no split's folder"
    elif not reason and path.suffix.lower() in _UNREADABLE_FORMATS:
        reason = "a format that cannot be read (convert it to wav or flac)"
    if reason or not _KNOWN_FILE.fullmatch(path.name):
        scan.passed_over.append((path, reason or "no recording"))


def given_attributes(
    folder: Path, scan: Scan, named: dict[tuple[str, str], str | None]
) -> dict[tuple[str, str], dict[str, str]]:
    """Attributes given by the files of one machine, checked against the clips that are there.

    ``named`` are the attributes by split and file name that the clips' own names tell.
    """
    problems = scan.problems
    given: dict[tuple[str, str], dict[str, str]] = {}
    splits = layout.split_folders(folder)
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
        split = layout.SPLIT_FOLDERS.get(folders[-1].lower()) if folders else None
        stem = name[: -len(Path(name).suffix)] if layout.is_recording(Path(name)) else name
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
