"""What a name, its folders or a ``clips.csv`` tell of a recording, and its row of the clip table.

In layouts other than the challenge's a clip without any information on its domain is of the domain
``source``: it then counts as one of the many that the normal condition is learnt from.

The columns of a ``clips.csv`` are ``path`` (below the folder) and, as far as names do not tell,
``machine_type``, ``split`` (train, test, supplemental), ``domain`` (source, target), ``condition``
(normal, anomaly; clean or noise for supplemental recordings) and ``session`` (what was recorded in
one go: a day, a set-up of the microphone). Every further column is an attribute. Empty fields are
unknown. Without a split, in the column or as a folder, normal recordings are learnt from and all
others are judged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from asdlib.base import InputError, read_table
from asdlib.data import names
from asdlib.data.audio import folders_in, read_header

CHALLENGE, NAMES_OF_2020, MIMII = "the challenge's names", "names of 2020", "MIMII"
PLAIN, LISTED = "plain folders", "as its clips.csv says"
#: Name of the file that may say what names and folders do not.
LISTING = "clips.csv"
#: Folders that tell the condition of what lies in them.
CONDITIONS = {"normal": False, "abnormal": True, "anomaly": True, "anomalous": True}
#: Folder name -> split. ``test_rename`` holds the clips of ``test`` under their true names;
#: ``source_test`` and ``target_test`` are the layout of 2021; of MIMII counts tell the rest.
SPLIT_FOLDERS = {
    **{name: name for name in ("train", "test", "supplemental")},
    **dict.fromkeys(("source_test", "target_test", "test_rename", "check"), "test"),
    **{name: "test" if is_anomaly else "train" for name, is_anomaly in CONDITIONS.items()},
}
#: A file of 2020: the condition, hidden for some, and the machine's id.
NAME_OF_2020 = re.compile(r"(?:(normal|anomaly)_)?(id_[0-9]{2})_[0-9]{8}\.[A-Za-z0-9]+")
#: Folders whose name does not become part of the clip's, being its split.
_UNNAMED = ("train", "normal", "test", "check", "supplemental")
_OWN_COLUMNS = ("path", "machine_type", "split", "domain", "condition", "session")


@dataclass(frozen=True)
class Told:
    """What is known of a recording before its header is read.

    ``name`` is the last part of its clip id, ``pairs`` are attributes by parameter.
    """

    name: str
    section: str = "00"
    domain: str | None = "source"
    is_anomaly: bool | None = None
    attribute: str | None = None
    supplemental_kind: str | None = None
    session: str | None = None
    pairs: Mapping[str, str] = field(default_factory=dict)


class Recording(NamedTuple):
    """A recording of a data folder, ``told`` of by its ``clips.csv``, else by its name there."""

    machine_type: str
    split: str
    path: Path
    folder: Path  # of its machine, or with the ``clips.csv``
    told: Told | None = None


def split_folders(machine_folder: Path) -> dict[str, list[Path]]:
    """Folders of every split of a machine, ``test`` rather than ``test_rename`` where both are."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(folders_in(machine_folder), key=lambda folder: folder.name.lower()):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        is_copy = folder.name.lower() == "test_rename" and "test" in found
        if split and not is_copy:
            found.setdefault(split, []).append(folder)
    return found


def make_row(
    machine_type: str, split: str, path: Path, told: Told, *, recording: str
) -> dict[str, Any]:
    """Read a recording's header and join what is told of it to a row of the clip table."""
    header = read_header(path)
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path!s}: the name is not in UTF-8. Rename it.") from error
    if header.n_samples == 0:
        raise InputError(f"{path}: holds no samples. Remove the file.")
    return {
        **vars(told),
        "clip_id": f"{machine_type}/{split}/{told.name}",
        "machine_type": machine_type,
        "split": split,
        "path": str(path.absolute()),
        "n_samples": header.n_samples,
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "recording": recording,
        "start_s": 0.0,
        "recorded_at": None,
    }


def told_by(layout_name: str, path: Path, split: str, folder: Path) -> Told:
    """Read what a layout tells of a recording of a machine's folder; a contradiction is refused."""
    if layout_name == CHALLENGE:
        return _told_by_name(path, split, folder)
    parts = path.relative_to(folder).parts
    folders = [part.lower() for part in parts[:-1]]
    if layout_name == MIMII:
        return Told(_clip_name(parts), is_anomaly=folders[0] == "abnormal")
    if layout_name == NAMES_OF_2020:
        match = NAME_OF_2020.fullmatch(path.name)
        if match is None:
            raise InputError(
                f"{path}: lies among names of 2020 (normal_id_00_00000000.wav) and has none. "
                "Rename it or move it elsewhere."
            )
        condition = CONDITIONS.get(match[1] or "")
        return Told(_clip_name([path.name]), is_anomaly=_condition(path, split, condition))
    domains = [name.removesuffix("_test") for name in reversed(folders)]
    domain = next((name for name in domains if name in names.DOMAINS), "source")
    name = _clip_name(parts[1:] if folders[0] in _UNNAMED else parts)
    if split == "supplemental":
        kind = next((name for name in reversed(folders) if name in names.KINDS), None)
        if kind is None:
            raise InputError(
                f"{path}: does not say what it is. Move it to supplemental/clean (the machine "
                "alone) or supplemental/noise (the surroundings alone)."
            )
        return Told(name, domain=domain, supplemental_kind=kind)
    told = [CONDITIONS[name] for name in folders if name in CONDITIONS]
    condition = told[-1] if told else None
    return Told(name, domain=domain, is_anomaly=_condition(path, split, condition))


def _told_by_name(path: Path, split: str, folder: Path) -> Told:
    """Read a name of the challenge; one in another format than wav is read as its wav's name."""
    is_wav = path.suffix.lower() == ".wav"
    try:
        clip = names.parse(path.name if is_wav else path.stem + ".wav", split=split)
    except InputError as error:
        said = str(error).replace(f"{path.stem}.wav", path.name, 1)
        raise InputError(f"{path.parent}/{said}") from error
    split_folder = path.relative_to(folder).parts[0].lower()
    domain = split_folder.removesuffix("_test") if split_folder.endswith("_test") else None
    if domain and clip.domain not in (None, domain):
        raise InputError(
            f"{path}: lies in the folder {split_folder} but is named like a "
            f"{clip.domain} clip. Move or rename it."
        )
    return Told(
        name=path.stem + ".wav",
        section=clip.section,
        domain=clip.domain or domain,
        is_anomaly=None if clip.condition is None else clip.condition == "anomaly",
        attribute=clip.attribute,
        supplemental_kind=clip.supplemental_kind,
        pairs=names.attribute_pairs(clip.attribute) if clip.attribute else {},
    )


def _condition(path: Path, split: str, condition: bool | None) -> bool | None:
    """Condition of a clip: normal in training, whatever else is said is refused."""
    if split == "train" and condition:
        raise InputError(
            f"{path}: lies among the training recordings, which are normal, but is named as "
            "anomalous. Move it to the test folder."
        )
    return False if split == "train" else condition


def _clip_name(parts: Sequence[str]) -> str:
    """Join the parts of a path to a clip's name: one line, ``.wav``, no spreadsheet formula."""
    name = names.printable("_".join([*parts[:-1], Path(parts[-1]).stem])) + ".wav"
    return f"_{name}" if name.startswith(("=", "+", "-", "@")) else name


def read_listing(path: Path, problems: list[str]) -> list[Recording]:
    """Read a data folder's ``clips.csv``; what is wrong with single lines goes to ``problems``."""
    table = read_table(path, ["path"])
    for column in table.columns:
        if column not in _OWN_COLUMNS:
            names.refuse_unplain(column, f"{path}: the column {column!r}")
    found: list[Recording] = []
    lines: dict[Path, int] = {}
    for number, row in zip(table.index, table.to_dict("records"), strict=True):
        try:
            one = _read_line(path.parent, {str(name): text for name, text in row.items()})
            if (first := lines.setdefault(one.path, number)) != number:
                raise InputError(f"lists {row['path']} again, after line {first}. Keep one line.")
        except InputError as error:
            problems.append(f"{path}, line {number}: {error}")
        else:
            found.append(one)
    if not found and not problems:
        raise InputError(f"{path}: lists no recording. Add lines, or delete it.")
    return found


def _read_line(root: Path, row: Mapping[str, str]) -> Recording:
    place = PurePosixPath(row["path"].replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or not (root / place).is_file():
        raise InputError(
            f"names {row['path']!r}, which is no file below {root}. Correct the path or delete the "
            "line."
        )
    folders = list(place.parts[:-1])
    machine_type = row.get("machine_type") or (folders[0] if folders else "")
    if not machine_type or names.unplain_character(machine_type):
        raise InputError(f"the machine_type is {machine_type!r}. {names.PLAIN_CHARACTERS}.")
    condition = _known(row, "condition", (*CONDITIONS, *names.KINDS))
    named = [split for name in folders if (split := SPLIT_FOLDERS.get(name.lower()))]
    split = _known(row, "split", ("train", "test", "supplemental")) or (named[0] if named else None)
    if split is None:
        split = "supplemental" if condition in names.KINDS else None
        split = split or ("train" if condition == "normal" else "test")
    if (condition in names.KINDS) != (split == "supplemental") or (
        split == "train" and CONDITIONS.get(condition or "")
    ):
        raise InputError(
            f"the split {split} and the condition {condition or '(none)'} do not go together: "
            "training recordings are normal, supplemental ones clean or noise."
        )
    pairs = {name: text for name, text in row.items() if name not in _OWN_COLUMNS and text}
    for text in (*pairs.values(), row.get("session", "")):
        names.refuse_unplain(text, repr(text))
    if folders and folders[0] == machine_type:
        folders = folders[1:]
    if folders and folders[0] in (split, "normal", "check"):
        folders = folders[1:]
    told = Told(
        name=_clip_name([*folders, place.name]),
        domain=_known(row, "domain", names.DOMAINS) or "source",
        is_anomaly=False if split == "train" else CONDITIONS.get(condition or ""),
        attribute="_".join(f"{name}_{text}" for name, text in pairs.items()) or None,
        supplemental_kind=condition if split == "supplemental" else None,
        session=row.get("session") or None,
        pairs=pairs,
    )
    return Recording(machine_type, split, root / place, root, told)


def _known(row: Mapping[str, str], column: str, expected: tuple[str, ...]) -> str | None:
    """Value of a column in lower case, None where it is empty; an unknown one is refused."""
    text = row.get(column, "").lower()
    if text and text not in expected:
        raise InputError(
            f"the {column} is {row[column]!r}. Expected {', '.join(expected)}, or nothing where "
            f"{LISTING} does not know it."
        )
    return text or None
