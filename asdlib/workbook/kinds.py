"""Kinds of values that parameters may have, and the strict reading of them from text.

In text a number is what C and JSON take for one: ``1e-3`` is, ``032``, ``1_0``, ``0x10`` and
``inf`` are not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from asdlib.errors import InputError

_LARGEST = 2**53  # whole numbers beyond are not told apart as floating-point numbers
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLAGS = {"true": True, "True": True, "false": False, "False": False}
_NOTHING = ("null", "None", "~")


@dataclass(frozen=True)
class Kind:
    """What a parameter may be: ``expected`` in words.

    ``read`` gives back the text that it cannot read, which ``accepts`` then refuses.
    """

    expected: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = str

    def refusal(self, value: Any) -> str | None:
        """Say what was expected of a value that is refused."""
        try:
            return None if self.accepts(value) else f"expected {self.expected}."
        except InputError as error:
            return str(error)


def read_whole(text: Any) -> Any:
    """Read a whole number, or give back what is none."""
    return int(text) if isinstance(text, str) and _WHOLE.fullmatch(text) else text


def _read_number(text: Any) -> Any:
    return float(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else text


def whole(lowest: int) -> Kind:
    """Whole number from ``lowest`` on."""
    return Kind(
        f"a whole number, {lowest} or more",
        lambda value: type(value) is int and lowest <= value <= _LARGEST,
        read_whole,
    )


def number(words: str, is_in: Callable[[float], bool] = lambda _: True) -> Kind:
    """Finite number in a range."""

    def accepts(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and is_in(value)

    return Kind(f"a number {words}".rstrip(), accepts, _read_number)


def word(expected: str, accepts: Callable[[str], bool] = lambda _: True) -> Kind:
    """Text that stays as it is written."""
    return Kind(expected, lambda value: type(value) is str and accepts(value))


def choice(*names: str) -> Kind:
    """One of a few names."""
    return word(" or ".join(names), lambda name: name in names)


def name_among(what: str, module: str, names: str) -> Kind:
    """Name among those of a room, which is loaded when it is asked for: that may take seconds."""

    def accepts(name: str) -> bool:
        known = getattr(import_module(module), names)
        if name not in known:
            raise InputError(f"{what} {name!r}: expected one of {', '.join(known)}.")
        return True

    return word(f"the name of a {what}", accepts)


def taken_by(expected: str, module: str, function: str) -> Kind:
    """Word that a room's function takes, which otherwise raises and says what there is."""

    def accepts(name: str) -> bool:
        getattr(import_module(module), function)(name)
        return True

    return word(expected, accepts)


def optional(kind: Kind) -> Kind:
    """Value of a kind, or nothing."""
    return Kind(
        f"{kind.expected}, or null",
        lambda value: value is None or kind.accepts(value),
        lambda text: None if text in _NOTHING else kind.read(text),
    )


def list_of(kind: Kind, words: str = "", accepts: Callable[[Any], bool] = lambda _: True) -> Kind:
    """List of a kind; text without brackets is a list of one."""
    return Kind(
        f"a list{words}, each entry {kind.expected}",
        lambda value: type(value) is list and all(map(kind.accepts, value)) and accepts(value),
        lambda text: [kind.read(entry) for entry in (text if isinstance(text, list) else [text])],
    )


def by_machine(kind: Kind, expected: str = "") -> Kind:
    """Values of a kind by names."""

    def accepts(value: Any) -> bool:
        return type(value) is dict and all(
            type(name) is str and kind.accepts(entry) for name, entry in value.items()
        )

    def read(text: Any) -> Any:
        is_dict = isinstance(text, dict)
        return {name: kind.read(entry) for name, entry in text.items()} if is_dict else text

    return Kind(expected or f"{{machine: {kind.expected}}}", accepts, read)


FLAG = Kind(
    "true or false",
    lambda value: type(value) is bool,
    lambda text: _FLAGS.get(text, text) if isinstance(text, str) else text,
)
TEXT = word("a text")
