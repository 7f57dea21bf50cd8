"""Progress bars that can be read in a terminal, in a notebook and in a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython import get_ipython
from tqdm import tqdm

#: Set to "log" by whoever redirects the output to a file: one line every now and then
#: instead of a line that is overwritten.
PROGRESS_VARIABLE = "ASDLIB_PROGRESS"
#: Set by whoever executes a notebook with nobody before it: no menus there.
STATIC_VARIABLE = "ASDLIB_STATIC"
_LOG_INTERVAL_S = 10.0


class _LogBar(tqdm):  # type: ignore[misc]
    """A bar that writes whole lines, for output that cannot be overwritten."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:  # noqa: ARG002
        """Write the bar as a line of its own."""
        self.fp.write((msg if msg is not None else str(self)) + "\n")
        self.fp.flush()
        return True


@contextmanager
def progress_bar(
    total: int, description: str, *, unit: str = "clip", is_scaled: bool = False
) -> Iterator[Callable[[int], object]]:
    """Show a bar while a block runs; yields what counts it forward.

    It stands on standard error, in JupyterLab on standard output: the other is red there.
    ``is_scaled`` shows counts with k, M and G, as for bytes.
    """
    watched = _is_watched()
    file = sys.stdout if watched else sys.stderr
    options: dict[str, Any] = {"desc": description, "file": file, "ncols": 100}
    options |= {"unit": unit if is_scaled else f" {unit}", "unit_scale": is_scaled}
    options["delay"] = 1.0  # what is over in a second needs no bar
    if os.environ.get(PROGRESS_VARIABLE) == "log" and not watched:
        seconds = _LOG_INTERVAL_S
        bar = _LogBar(total=total, mininterval=seconds, maxinterval=seconds, **options)
    else:
        bar = tqdm(total=total, mininterval=0.5, **options)
    with bar:
        yield bar.update


def _is_watched() -> bool:
    """Whether this is a notebook that somebody sits before."""
    return get_ipython() is not None and not os.environ.get(STATIC_VARIABLE)


def shorten_interrupts() -> None:
    """Let an interrupted cell end in one line, where somebody sits before the notebook."""
    if _is_watched():
        get_ipython().set_custom_exc((KeyboardInterrupt,), _say_interrupted)


def _say_interrupted(_shell: Any, *_error: Any, tb_offset: int | None = None) -> list[str]:  # noqa: ARG001
    message = "Interrupted. What was computed stays: run the cell again to go on."
    sys.stderr.write(message + "\n")
    return [message]


def say(message: str) -> None:
    """Tell the user something on standard error."""
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
