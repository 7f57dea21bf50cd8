"""The command line behind ``run_all.sh``; ``help.txt`` beside this file is its manual."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from asdlib.errors import InputError
from asdlib.files import PROJECT_ROOT, write_atomically
from asdlib.report.progress import PROGRESS_VARIABLE
from asdlib.workbook import datasets
from asdlib.workbook.datasets import (
    check_data,
    corpus_folder,
    ensure_corpus,
    no_such_folder,
    say,
    split_words,
)
from asdlib.workbook.lab import note_parameters, prepare_lab
from asdlib.workbook.notebooks import (
    PROFILES,
    SCORING,
    Notebook,
    NotebookFailed,
    execute,
    list_notebooks,
    parse_assignments,
)
from asdlib.workbook.parameters import (
    check_machine_names,
    check_parameters,
    check_run_name,
    read_parameter,
)
from asdlib.workbook.run_pages import write_run_pages

_OWN_OPTIONS = {
    "data_dir": "--data",
    "out_dir": "--out",
    "run_name": "--name",
    "machines": "--machines",
}
#: Exit status of ``check`` where a recording was flagged.
FLAGGED = 3
_GOES_ON = "What was computed stays; the same command goes on from there."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        options = ", ".join(sorted(self._option_string_actions))
        raise InputError(f"{message}. There are: {options}. ./run_all.sh --help explains them.")


def _run_parser() -> _Parser:
    parser = _Parser(prog="run_all.sh", add_help=False, allow_abbrev=False)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--machines", type=split_words)
    parser.add_argument("--seeds", type=split_words)
    parser.add_argument("--profile")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--only")
    part.add_argument("--from", dest="first")
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--dataset")
    parser.add_argument("--extra-train", type=split_words)
    datasets.add_options(parser)
    return parser


def _choose(notebooks: list[Notebook], only: str | None, first: str | None) -> list[Notebook]:
    """Reduce the notebooks to those that the call asks for."""
    wanted = only or first
    numbers = [notebook.number for notebook in notebooks]
    if wanted is None:
        return notebooks
    if wanted not in numbers:
        raise InputError(f"notebook {wanted}: there are {', '.join(numbers)}.")
    place = numbers.index(wanted)
    return notebooks[place : place + 1] if only else notebooks[place:]


def _parameters(
    options: argparse.Namespace, notebooks: list[Notebook], data: Path, name: str
) -> dict[str, Any]:
    """Join profile, options and assignments; a later one wins.

    Refuses a ``--set`` of a parameter that an option of its own sets.
    """
    parameters = dict(PROFILES[options.profile])
    if options.seeds:
        parameters["seeds"] = read_parameter("seeds", options.seeds, like=[], where="--")
    assigned = parse_assignments(options.assignments, notebooks)
    for parameter, option in _OWN_OPTIONS.items():
        if parameter in assigned:
            raise InputError(f"--set {parameter}: has an option of its own, use {option}.")
    parameters.update(assigned)
    defaults = {name: value for one in notebooks for name, value in one.parameters.items()}
    defaults.pop("data_dir")  # may still have to be fetched or made
    check_parameters({**defaults, **parameters}, where="--set ")
    parameters.update(
        data_dir=str(data.resolve()),
        out_dir=str(options.out.resolve()),
        run_name=name,
        machines=options.machines or [],
    )
    return parameters


def _choose_dataset(options: argparse.Namespace) -> datasets.Choice | None:
    """Give the challenge's data that the call names, or nothing."""
    own = {"--subset": options.subset, "--extra-train": options.extra_train}
    own["--data-dir"] = options.data_dir
    if options.dataset is None:
        for option, value in own.items():
            if value is not None:
                raise InputError(f"{option}: belongs to --dataset, which is not given.")
        return None
    if options.data is not None:
        raise InputError("--data: is another folder of recordings than --dataset. Give one.")
    return datasets.choose(options, options.dataset)


def run(arguments: list[str]) -> int:
    """Execute the notebooks; see ``help.txt``."""
    options = _run_parser().parse_args(arguments)
    choice = _choose_dataset(options)
    options.profile = options.profile or ("full" if choice else "demo")
    if options.profile not in PROFILES:
        raise InputError(f"--profile {options.profile}: there are {', '.join(PROFILES)}.")
    notebooks = list_notebooks()
    chosen = _choose(notebooks, options.only, options.first)
    if options.data is not None and not options.data.is_dir():
        raise InputError(no_such_folder(options.data))
    data = options.data or corpus_folder(options.profile)
    # A folder may be called anything, a run may not.
    own = re.sub(r"[^\w.-]+", "_", data.resolve().name)
    name = options.name or (choice.name if choice else own)
    check_run_name(name)
    if choice:
        data, options.machines = options.out / "build" / name / "recordings", None
    parameters = _parameters(options, notebooks, data, name)
    # Written first, so that a folder that cannot be written is met before any work.
    write_atomically(options.out / "build" / name / "command.txt", " ".join(arguments) + "\n")
    if choice:
        channel = parameters.get("channel", datasets.NEAR_CHANNEL)
        parameters = {**datasets.bring(choice, data, say, channel), **parameters}
    elif options.data is None:
        ensure_corpus(options.profile, options.machines)
    # Later notebooks take what notebook 01 decoded.
    is_first = chosen[0] is notebooks[0]
    check_data(data, options.machines, {**chosen[0].parameters, **parameters} if is_first else None)
    check_machine_names(parameters, data, where="--set ")
    note_parameters(options.out, name, parameters)
    return _execute(chosen, parameters, options.out.resolve(), name)


def _execute(chosen: list[Notebook], parameters: dict[str, Any], out: Path, name: str) -> int:
    folder = out / "build" / name / "notebooks"
    for notebook in chosen:
        say(f"{notebook.path.stem:<28} started")
        elapsed = execute(notebook, parameters, folder)
        say(f"{notebook.path.stem:<28} done in {elapsed:.0f} s")
    write_run_pages(out, name)
    _print_results(out, name, is_new=any(one.path.stem == SCORING for one in chosen))
    return 0


def _print_results(out: Path, name: str, *, is_new: bool) -> None:
    """Print the result table if this call made it; an older one is only named."""
    table = out / "results" / name / "table.md"
    if table.exists() and is_new:
        sys.stdout.write("\n" + table.read_text(encoding="utf-8") + "\n")
    elif table.exists():
        sys.stdout.write(f"{os.path.relpath(table)} and the scores beside it are of an earlier "
                         f"run; --from {SCORING[:2]} makes them anew.\n")  # fmt: skip
    places = {
        "tables": out / "results" / name,
        "figures": out / "figures" / name,
        "notebooks": out / "build" / name / "notebooks",
        "report": out / "results" / name / "report.html",
        "all runs": out / "results" / "index.html",
    }
    for what, place in places.items():
        sys.stdout.write(f"{what:<10} {os.path.relpath(place)}\n")


def lab(arguments: list[str]) -> NoReturn:
    """Become JupyterLab on copies of the notebooks that open a run; see ``lab.py``."""
    parser = _Parser(prog="run_all.sh lab", add_help=False, allow_abbrev=False)
    parser.add_argument("--name")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
    options, further = parser.parse_known_args(arguments)
    out = options.out.resolve()
    first = prepare_lab(out, options.name).relative_to(out)
    _become("jupyterlab", f"--ServerApp.root_dir={out}", *further, str(first))


def test(arguments: list[str]) -> NoReturn:
    """Become the test suite, the whole of it on all cores: see ``tests/conftest.py``."""
    os.chdir(PROJECT_ROOT)
    _become("pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", *arguments)


def _become(module: str, *arguments: str) -> NoReturn:
    """Go on as another program, so that whoever ends this one ends that one."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


def _parser_of(command: str) -> _Parser:
    return _Parser(prog=f"run_all.sh {command}", add_help=False, allow_abbrev=False)


def _fetch(arguments: list[str]) -> int:
    return datasets.fetch_command(arguments, _parser_of("fetch"))


# Torch and Dask take seconds to load, which the other commands need not wait for.
def _score(arguments: list[str]) -> int:
    from asdlib.workbook.score import score

    return score(arguments, _parser_of("score"))


def _sweep(arguments: list[str]) -> int:
    from asdlib.workbook.sweep_results import sweep_command

    return sweep_command(arguments, _parser_of("sweep"), list_notebooks())


def _check(arguments: list[str]) -> int:
    from asdlib.workbook.check import check_command

    is_flagged = check_command(arguments, _parser_of("check"))
    return FLAGGED if is_flagged else 0


def _learn(arguments: list[str]) -> int:
    from asdlib.workbook.check import learn_command

    return learn_command(arguments, _parser_of("learn"))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "run": run, "check": _check, "learn": _learn, "fetch": _fetch, "score": _score,
    "sweep": _sweep, "lab": lab, "test": test,
}  # fmt: skip


def _stop_as_ctrl_c() -> None:
    """Let the signals of schedulers and closed terminals end a run as Ctrl-C does."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def _shortened(message: str) -> str:
    lines = message.splitlines()
    if len(lines) > 5:
        lines[4:] = [f"... {len(lines) - 4} more lines, which --debug shows."]
    return "\n".join(lines)


def _dispatch(command: str, arguments: list[str], *, is_debugged: bool) -> int:
    try:
        if command not in COMMANDS:
            raise InputError(f"{command}: there are the commands {', '.join(COMMANDS)}.")
        return COMMANDS[command](arguments)
    except (Exception, KeyboardInterrupt) as error:
        if is_debugged:
            traceback.print_exc()
        message, status = _explain(error)
    say(message if is_debugged else _shortened(message))
    return status


def _explain(error: BaseException) -> tuple[str, int]:
    """Give message and exit status of what ended a command."""
    if isinstance(error, NotebookFailed):
        return (f"{error}\n{_GOES_ON}", 130) if error.interrupted else (str(error), 1)
    if isinstance(error, InputError):
        return f"run_all.sh: {error}", 2
    if isinstance(error, KeyboardInterrupt):
        return f"run_all.sh: interrupted. {_GOES_ON}", 130
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"run_all.sh: {said}\n--debug shows where it happened.", 2


def main(arguments: list[str]) -> int:
    """Carry out a command; what ends it early is told in five lines at most.

    With ``--debug`` the traceback stands before them.
    """
    if not sys.stderr.isatty():
        os.environ[PROGRESS_VARIABLE] = "log"
    command = "run"
    if arguments and not arguments[0].startswith("-"):
        command, arguments = arguments[0], arguments[1:]
    is_debugged = "--debug" in arguments and command not in ("lab", "test")
    if is_debugged:
        arguments = [word for word in arguments if word != "--debug"]
    return _dispatch(command, arguments, is_debugged=is_debugged)


if __name__ == "__main__":
    _stop_as_ctrl_c()
    sys.exit(main(sys.argv[1:]))
