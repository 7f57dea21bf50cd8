"""Many faults in one message."""

from __future__ import annotations

from collections.abc import Sequence

from asdlib.errors import InputError

_SHOWN = 5


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one error that lists the first few problems and counts the rest; none, no error.

    Raises
    ------
    InputError
        When there is any problem.
    """
    if not problems:
        return
    lines = list(problems[:_SHOWN])
    if len(problems) > 1:
        lines.insert(0, f"{len(problems)} files cannot be used:")
    if len(problems) > _SHOWN:
        lines.append(f"... and {len(problems) - _SHOWN} more.")
    raise InputError("\n".join(lines))
