"""The command line behind ``run_all.sh``; ``help.txt`` beside this file is its manual."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from asdlib.base import PROJECT_ROOT, InputError
from asdlib.report.output import PROGRESS_VARIABLE, say

_GOES_ON = "What was computed stays; the same command goes on from there."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        options = ", ".join(sorted(self._option_string_actions))
        raise InputError(f"{message}. There are: {options}. ./run_all.sh --help explains them.")


def _parser_of(command: str) -> _Parser:
    return _Parser(prog=f"run_all.sh {command}", add_help=False, allow_abbrev=False)


def _carry_out(command: str, module: str, function: str, arguments: list[str]) -> int:
    """Load what a command needs with it: notebooks, torch and Dask take seconds each."""
    carry_out = getattr(import_module(f"asdlib.workbook.{module}"), function)
    return int(carry_out(arguments, _parser_of(command)))


def lab(arguments: list[str]) -> NoReturn:
    """Become JupyterLab on copies of the notebooks that open a run; see ``prepare_lab``."""
    from asdlib.workbook.run_command import prepare_lab

    parser = _parser_of("lab")
    parser.add_argument("--name")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
    options, further = parser.parse_known_args(arguments)
    out = options.out.resolve()
    first = prepare_lab(out, options.name)
    # Jupyter's question about its news covers a corner of the page.
    settings = (f"--ServerApp.root_dir={out}", "--LabApp.news_url=None")
    _become("jupyterlab", *settings, *further, str(first))


def test(arguments: list[str]) -> NoReturn:
    """Become the test suite, the whole of it on all cores: see ``tests/conftest.py``."""
    os.chdir(PROJECT_ROOT)
    _become("pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", *arguments)


def _become(module: str, *arguments: str) -> NoReturn:
    """Go on as another program, so that whoever ends this one ends that one."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": partial(_carry_out, "run", "run_command", "run_command"),
    "check": partial(_carry_out, "check", "check", "check_command"),
    "learn": partial(_carry_out, "learn", "check", "learn_command"),
    "fetch": partial(_carry_out, "fetch", "datasets", "fetch_command"),
    "score": partial(_carry_out, "score", "score", "score_command"),
    "sweep": partial(_carry_out, "sweep", "sweep", "sweep_command"),
    "lab": lab,
    "test": test,
}


def _stop_as_ctrl_c() -> None:
    """Let the signals of schedulers and closed terminals end a run as Ctrl-C does."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def _explain(error: BaseException) -> tuple[str, int]:
    """Give message and exit status of what ended a command."""
    if isinstance(error, InputError):
        return f"run_all.sh: {error}", 2
    if isinstance(error, KeyboardInterrupt):
        return f"run_all.sh: interrupted. {_GOES_ON}", 130
    from asdlib.workbook.notebooks import NotebookFailed  # whoever raises it has loaded it

    if isinstance(error, NotebookFailed):
        return (f"{error}\n{_GOES_ON}", 130) if error.interrupted else (str(error), 1)
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"run_all.sh: {said}\n--debug shows where it happened.", 2


def main(arguments: list[str]) -> int:
    """Carry out a command; what ends it early is told in five lines at most.

    With ``--debug`` the traceback and every line stand there.
    """
    if not sys.stderr.isatty():
        os.environ[PROGRESS_VARIABLE] = "log"
    command = "run"
    if arguments and not arguments[0].startswith("-"):
        command, arguments = arguments[0], arguments[1:]
    is_debugged = "--debug" in arguments and command not in ("lab", "test")
    if is_debugged:
        arguments = [word for word in arguments if word != "--debug"]
    try:
        if command not in COMMANDS:
            raise InputError(f"{command}: there are the commands {', '.join(COMMANDS)}.")
        return COMMANDS[command](arguments)
    except (Exception, KeyboardInterrupt) as error:
        if is_debugged:
            traceback.print_exc()
        message, status = _explain(error)
    lines = message.splitlines()
    if len(lines) > 5 and not is_debugged:
        lines[4:] = [f"... {len(lines) - 4} more lines, which --debug shows."]
    say("\n".join(lines))
    return status


if __name__ == "__main__":
    _stop_as_ctrl_c()
    sys.exit(main(sys.argv[1:]))
