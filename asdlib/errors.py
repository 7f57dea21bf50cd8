"""The one error type for bad input, and many faults in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_SHOWN = 5


class InputError(ValueError):
    """Something that was handed in cannot be used.

    The message names the file or value, says what was expected and what to do about it.
    Nothing half-written is left behind when it is raised.
    """


def refuse_unknown(names: Iterable[str], known: Iterable[str], where: str, of: str = "") -> None:
    """Refuse names that are not ``known``, and say which are: ``where`` NAMES ``of``."""
    there = list(known)
    if unknown := [name for name in dict.fromkeys(names) if name not in there]:
        raise InputError(
            f"{where} {', '.join(unknown)}{of}. There are: {', '.join(there) or 'none'}."
        )


def raise_problems(problems: Sequence[str], *, what: str = "files") -> None:
    """Raise one error that lists the first few problems and counts the rest; none, no error."""
    if not problems:
        return
    lines = list(problems[:_SHOWN])
    if len(problems) > 1:
        lines.insert(0, f"{len(problems)} {what} cannot be used:")
    if len(problems) > _SHOWN:
        lines.append(f"... and {len(problems) - _SHOWN} more.")
    raise InputError("\n".join(lines))
