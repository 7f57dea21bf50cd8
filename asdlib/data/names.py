"""What names tell: the challenge's file names, which ``parse`` reads and ``format`` writes; dates.

Five forms of the former occur (``SS`` section, ``NNNN`` running number)::

    section_SS_{source|target}_{train|test}_{normal|anomaly}_NNNN[_ATTRIBUTE].wav
    section_SS_{source|target}_test_NNNN.wav                             evaluation clip of 2021
    section_SS_{source|target}_{normal|anomaly}_NNNN[_ATTRIBUTE].wav      released eval truth
    section_SS_NNNN.wav                                                  published eval clip
    section_SS_{machine|clean|noise}[_{source|target}]_NNNN[_ATTRIBUTE].wav    supplemental
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from asdlib.base import InputError

EXPECTED_FORMS = (
    "section_00_source_train_normal_0000_<attribute>.wav, section_00_0000.wav (evaluation) or "
    "section_00_<machine|clean|noise>_source_0000_<attribute>.wav (supplemental)"
)

#: Domains, and kinds of supplemental clips.
DOMAINS, KINDS = ("source", "target"), ("clean", "noise")
#: What `unplain_character` accepts, for messages.
PLAIN_CHARACTERS = "Expected letters, digits, '_', '-', '+', '.' and blanks alone"
_CONDITIONS = ("normal", "anomaly")
_KINDS = {"machine": "clean", "clean": "clean", "noise": "noise"}
_MEASURED = {
    *((domain, condition) for domain in DOMAINS for condition in _CONDITIONS),
    *((domain, "test", condition) for domain in DOMAINS for condition in _CONDITIONS),
    *((domain, "train", "normal") for domain in DOMAINS),
    *((domain, "test") for domain in DOMAINS),
}
_SUPPLEMENTAL = {*DOMAINS, *_KINDS, "supplemental", "train", "normal"}
_WORD = "source|target|train|test|supplemental|normal|anomaly|machine|clean|noise"
# A dot only between digits ("0.03"), so that "a.wav.wav" is no name.
_SUFFIX = r"(?:[A-Za-z0-9_+-]|(?<=[0-9])\.(?=[0-9]))*"
_NAME = re.compile(
    rf"section_(?P<section>[0-9]{{2}})(?P<words>(?:_(?:{_WORD}))*)"
    rf"_(?P<index>[0-9]{{4}}|[1-9][0-9]{{4,}})(?:_(?P<suffix>{_SUFFIX}))?"
    r"(?P<extension>\.[wW][aA][vV])"
)
# A parameter's name begins and ends with a letter ("v1pat"); "spd1000" is a value.
_PARAMETER = re.compile(r"[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z])?")
# A time of four or six digits may follow without a separator.
_DATE = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})([-_.]?)([0-9]{2})\2([0-9]{2})(?=(?:[0-9]{4}(?:[0-9]{2})?)?(?![0-9]))"
)
_TIME = re.compile(r"[ _/.@T-]*([0-9]{2})[-_:.h]?([0-9]{2})(?:[-_:.m]?([0-9]{2}))?(?![0-9])")
_NUMBER_BELOW = re.compile(r"/[0-9]+(?![0-9])")


@dataclass(frozen=True)
class ClipName:
    """What the file name of a clip says; parts that make no name of the challenge are refused.

    ``words`` stand between section and number: ``("source", "train", "normal")``, none in a
    published evaluation clip. ``suffix`` is the text after it, ``""`` behind a trailing underscore.
    """

    section: str
    words: tuple[str, ...]
    index: int
    suffix: str | None = None
    extension: str = ".wav"

    def __post_init__(self) -> None:
        kinds = [word for word in self.words if word in _KINDS]
        is_supplemental = (
            len(kinds) == 1
            and set(self.words) <= _SUPPLEMENTAL
            and len(set(self.words)) == len(self.words)
            and not set(DOMAINS) <= set(self.words)
        )
        is_published = not self.words and self.suffix is None
        if not (is_supplemental or is_published or self.words in _MEASURED) or not _NAME.fullmatch(
            format(self)
        ):
            raise InputError(f"{format(self)}: is no clip name. Expected {EXPECTED_FORMS}.")

    @property
    def domain(self) -> str | None:
        """``source`` or ``target``; None where the name hides it."""
        return next((word for word in self.words if word in DOMAINS), None)

    @property
    def split(self) -> str:
        """``train``, ``test`` or ``supplemental``; names without a split are test clips."""
        if self.supplemental_kind is not None:
            return "supplemental"
        return "train" if "train" in self.words else "test"

    @property
    def condition(self) -> str | None:
        """``normal`` or ``anomaly``; None where the name hides it, and for supplemental clips."""
        if self.supplemental_kind is not None:
            return None
        return next((word for word in self.words if word in _CONDITIONS), None)

    @property
    def supplemental_kind(self) -> str | None:
        """``clean`` (the machine alone) or ``noise`` (the factory alone); None for other clips."""
        return next((_KINDS[word] for word in self.words if word in _KINDS), None)

    @property
    def attribute(self) -> str | None:
        """Attribute text without stray underscores; None for ``noAttribute`` or none at all."""
        text = (self.suffix or "").strip("_")
        return None if text.lower() in ("", "noattribute") else text


def parse(file_name: str, *, split: str | None = None) -> ClipName:
    """Read a clip's file name, which must agree with the ``split`` whose folder it lies in."""
    match = _NAME.fullmatch(file_name)
    if match is None:
        raise InputError(f"{file_name}: is no clip name. Expected {EXPECTED_FORMS}.")
    clip_name = ClipName(
        section=match["section"],
        words=tuple(match["words"].split("_")[1:]),
        index=int(match["index"]),
        suffix=match["suffix"],
        extension=match["extension"],
    )
    if split is not None and clip_name.split != split:
        raise InputError(
            f"{file_name}: lies in the folder {split} but is named like a {clip_name.split} clip. "
            "Move or rename it."
        )
    return clip_name


def format(clip_name: ClipName) -> str:
    """Write a clip's file name; the exact inverse of `parse`."""
    parts = ["section", clip_name.section, *clip_name.words, f"{clip_name.index:04d}"]
    if clip_name.suffix is not None:
        parts.append(clip_name.suffix)
    return "_".join(parts) + clip_name.extension


def attribute_pairs(text: str) -> dict[str, str]:
    """Split an attribute text, ``car_B2_spd_7``, into parameters and values where they alternate.

    Text that does not alternate is the value of ``attribute``.
    """
    tokens = text.split("_")
    names, values = tokens[0::2], tokens[1::2]
    alternate = (
        len(names) == len(values) == len(set(names))
        and all(_PARAMETER.fullmatch(name) for name in names)
        and all(values)
    )
    return dict(zip(names, values, strict=True)) if alternate else {"attribute": text}


def unplain_character(text: str) -> str | None:
    """Find what a machine type, an attribute or its value may not hold; None where all is plain.

    Letters of any language, digits, ``_ - + .`` and blanks only: names stand in paths and pages.
    """
    for character in text:
        kind = unicodedata.category(character)
        if kind[0] not in "LM" and kind != "Nd" and character not in " _-+.":
            return character
    return None


def refuse_unplain(text: str, what: str) -> None:
    """Refuse a text that may not stand in a table; ``what`` it is begins the message."""
    if letter := unplain_character(text):
        raise InputError(f"{what} has the character {letter!r}. {PLAIN_CHARACTERS}; rename it.")


def printable(text: str) -> str:
    """Give a text in one line: characters that control or hide are shown by their number."""
    return "".join(
        f"\\x{ord(character):02x}" if unicodedata.category(character)[0] in "C" else character
        for character in text.replace("\u2028", "\x0a").replace("\u2029", "\x0a")
    )


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


def named_day(inside: str) -> str | None:
    """Day that the names of file and folders tell, ``YYYY-MM-DD``."""
    date = _read_date(inside)[0]
    return None if date is None else date.isoformat()


def _read_date(text: str) -> tuple[datetime.date | None, datetime.time | None, str]:
    """Last date in a path, the time of day behind it, and what follows the date."""
    for match in reversed(list(_DATE.finditer(text))):
        try:
            date = datetime.date(int(match[1]), int(match[3]), int(match[4]))
        except ValueError:
            continue
        rest = text[match.end() :]
        time = _TIME.match(rest)
        with suppress(ValueError):
            if time:
                hour, minute, second = (int(part or 0) for part in time.groups())
                return date, datetime.time(hour, minute, second), rest
        return date, None, rest
    return None, None, ""
