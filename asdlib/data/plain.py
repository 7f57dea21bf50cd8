"""What place and name tell of recordings that the challenge's grammar does not name.

Dates in names of files and folders become the time axis. In these layouts a clip without any
information on its domain is of the domain ``source``: it then counts as one of the many that the
normal condition is learnt from, so that every part of the workbook treats it alike.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asdlib.data.headers import read_header
from asdlib.data.layout import CONDITIONS, MIMII, NAME_OF_2020, NAMES_OF_2020, PLAIN, SPLITS
from asdlib.data.names import DOMAINS, KINDS, printable
from asdlib.errors import InputError

#: Folders whose name does not become part of the clip's, being its split.
_UNNAMED = ("train", "normal", "test", "check", "supplemental")
# A time of four or six digits may follow without a separator.
_DATE = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})([-_.]?)([0-9]{2})\2([0-9]{2})(?=(?:[0-9]{4}(?:[0-9]{2})?)?(?![0-9]))"
)
_TIME = re.compile(r"[ _/.@T-]*([0-9]{2})[-_:.h]?([0-9]{2})(?:[-_:.m]?([0-9]{2}))?(?![0-9])")
_NUMBER_BELOW = re.compile(r"/[0-9]+(?![0-9])")


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
    pairs: Mapping[str, str] = field(default_factory=dict)


def told_by_place(path: Path, split: str, folder: Path, layout: str) -> Told:
    """Read a recording of 2020, of MIMII or of a plain folder; a contradiction is refused."""
    parts = path.relative_to(folder).parts
    folders = [part.lower() for part in parts[:-1]]
    if layout == NAMES_OF_2020:
        match = NAME_OF_2020.fullmatch(path.name)
        if match is None:
            raise InputError(
                f"{path}: lies among names of 2020 (normal_id_00_00000000.wav) and has none. "
                "Rename it or move it elsewhere."
            )
        condition = CONDITIONS.get(match[1] or "")
        return Told(clip_name([path.name]), is_anomaly=_condition(path, split, condition))
    if layout == MIMII:
        return Told(clip_name(parts), is_anomaly=folders[0] == "abnormal")
    told = [CONDITIONS[name] for name in folders if name in CONDITIONS]
    domains = [name.removesuffix("_test") for name in reversed(folders)]
    domain = next((name for name in domains if name in DOMAINS), "source")
    kind = next((name for name in reversed(folders) if name in KINDS), None)
    name = clip_name(parts[1:] if folders[0] in _UNNAMED else parts)
    if split == "supplemental":
        if kind is None:
            raise InputError(
                f"{path}: does not say what it is. Move it to supplemental/clean (the machine "
                "alone) or supplemental/noise (the surroundings alone)."
            )
        return Told(name, domain=domain, supplemental_kind=kind)
    condition = told[-1] if told else None
    return Told(name, domain=domain, is_anomaly=_condition(path, split, condition))


def make_row(
    machine_type: str, split: str, path: Path, told: Told, *, recording: str
) -> dict[str, Any]:
    """Read a recording's header and join what is told of it to a row of the clip table."""
    header = read_header(path)
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{path!s}: the name is not in UTF-8. Rename it.") from error
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


def clip_name(parts: Sequence[str]) -> str:
    """Join the parts of a path to a clip's name: one line, ``.wav``, no spreadsheet formula."""
    name = printable("_".join([*parts[:-1], Path(parts[-1]).stem])) + ".wav"
    return f"_{name}" if name.startswith(("=", "+", "-", "@")) else name


def inside_folder(root: Path, path: Path) -> str:
    """Path of a recording below its data folder, as it is shown; no spreadsheet formula."""
    inside = printable(path.relative_to(root).as_posix())
    return f"./{inside}" if inside.startswith(("=", "+", "-", "@")) else inside


def split_of(folder: str) -> str | None:
    """Split that a plain folder's name says."""
    return SPLITS[PLAIN].get(folder.lower())


def recorded_at(paths: Sequence[Path], inside: Sequence[str]) -> list[str]:
    """When recordings were made: by names of files and folders, else by the file's time.

    The last date in a path counts, with the time of day behind it. A number below a folder's date
    (``2026-05-02/0715.wav``) is a time of day only if all numbers there can be one.
    """
    found = [_read_date(text) for text in inside]
    numbered = {
        text.rpartition("/")[0]
        for text, (date, time, rest) in zip(inside, found, strict=True)
        if date and not time and _NUMBER_BELOW.match(rest)
    }
    moments = []
    for path, text, (date, time, rest) in zip(paths, inside, found, strict=True):
        is_number = bool(_NUMBER_BELOW.match(rest)) and text.rpartition("/")[0] in numbered
        moment = datetime.datetime.fromtimestamp(int(path.stat().st_mtime))
        if date:
            midnight = datetime.time()
            moment = datetime.datetime.combine(date, midnight if is_number else time or midnight)
        moments.append(moment.isoformat())
    return moments


def _read_date(text: str) -> tuple[datetime.date | None, datetime.time | None, str]:
    """Last date in a path, the time of day behind it, and what follows the date."""
    for match in reversed(list(_DATE.finditer(text))):
        try:
            date = datetime.date(int(match[1]), int(match[3]), int(match[4]))
        except ValueError:
            continue
        rest = text[match.end() :]
        time = _TIME.match(rest)
        if time is None:
            return date, None, rest
        hour, minute, second = (int(part or 0) for part in time.groups())
        try:
            return date, datetime.time(hour, minute, second), rest
        except ValueError:
            return date, None, rest
    return None, None, ""


def _condition(path: Path, split: str, condition: bool | None) -> bool | None:
    """Condition of a clip: normal in training, whatever else is said is refused."""
    if split != "train":
        return condition
    if condition:
        raise InputError(
            f"{path}: lies among the training recordings, which are normal, but is named as "
            "anomalous. Move it to the test folder."
        )
    return False
