"""The command line behind ``run_all.sh``; ``help.txt`` beside this file is its manual."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from asdlib.data.layout import is_simulated
from asdlib.errors import InputError
from asdlib.files import PROJECT_ROOT, write_atomically
from asdlib.report.progress import PROGRESS_VARIABLE
from asdlib.workbook import datasets
from asdlib.workbook.datasets import (
    check_machines,
    corpus_folder,
    ensure_corpus,
    no_such_folder,
    say,
    split_words,
)
from asdlib.workbook.notebooks import (
    EXPERIMENTS,
    NOTEBOOK_FOLDER,
    PROFILES,
    Notebook,
    NotebookFailed,
    execute,
    list_notebooks,
    parse_assignments,
)
from asdlib.workbook.parameters import check_machine_names, check_parameters, check_run_name
from asdlib.workbook.sweep_file import SweepFile, read_sweep_file

COMMANDS = ("run", "fetch", "score", "sweep", "lab", "test")
_OWN_OPTIONS = {
    "data_dir": "--data",
    "out_dir": "--out",
    "run_name": "--name",
    "machines": "--machines",
}
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


def _sweep_parser() -> _Parser:
    parser = _Parser(prog="run_all.sh sweep", add_help=False, allow_abbrev=False)
    parser.add_argument("file", type=Path)
    parser.add_argument("--scheduler")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--profile")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
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


def _seeds(words: list[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise InputError(f"--seeds {','.join(words)}: expected whole numbers.") from error


def _parameters(
    options: argparse.Namespace, notebooks: list[Notebook], data: Path, name: str
) -> dict[str, Any]:
    """Join profile, options and assignments; a later one wins.

    Raises
    ------
    InputError
        When ``--set`` names a parameter that an option of its own sets.
    """
    parameters = dict(PROFILES[options.profile])
    if options.seeds:
        parameters["seeds"] = _seeds(options.seeds)
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
    name = options.name or (choice.name if choice else data.resolve().name)
    check_run_name(name)
    if choice:
        data, options.machines = options.out / "build" / name / "recordings", None
    parameters = _parameters(options, notebooks, data, name)
    # Written first, so that a folder that cannot be written is met before any work.
    write_atomically(options.out / "build" / name / "command.txt", " ".join(arguments) + "\n")
    if choice:
        channel = int(parameters.get("channel", datasets.NEAR_CHANNEL))
        parameters = {**datasets.bring(choice, data, say, channel), **parameters}
    elif options.data is None:
        ensure_corpus(options.profile, options.machines)
    check_machines(data, options.machines)
    check_machine_names(parameters, data, where="--set ")
    return _execute(chosen, parameters, options.out.resolve(), name)


def _execute(chosen: list[Notebook], parameters: dict[str, Any], out: Path, name: str) -> int:
    folder = out / "build" / name / "notebooks"
    for notebook in chosen:
        say(f"{notebook.path.stem:<28} started")
        try:
            elapsed = execute(notebook, parameters, folder)
        except NotebookFailed as failure:
            say(str(failure))
            if failure.interrupted:
                say(_GOES_ON)
                return 130
            return 1
        say(f"{notebook.path.stem:<28} done in {elapsed:.0f} s")
    _print_results(out, name)
    return 0


def _print_results(out: Path, name: str) -> None:
    table = out / "results" / name / "table.md"
    if table.exists():
        sys.stdout.write("\n" + table.read_text(encoding="utf-8") + "\n")
    places = {
        "tables": out / "results" / name,
        "figures": out / "figures" / name,
        "notebooks": out / "build" / name / "notebooks",
    }
    for what, place in places.items():
        sys.stdout.write(f"{what:<10} {os.path.relpath(place)}\n")


def sweep(arguments: list[str]) -> int:
    """Execute the variants of a sweep file and compare them; see ``help.txt``."""
    options = _sweep_parser().parse_args(arguments)
    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers {options.workers}: expected 1 or more.")
    notebooks = [part for part in list_notebooks() if part.path.stem != EXPERIMENTS]
    plan = read_sweep_file(options.file, notebooks, profile=options.profile)
    is_given = options.data is not None or plan.data is not None
    data = options.data or plan.data or corpus_folder(plan.profile)
    if is_given and not data.is_dir():
        raise InputError(no_such_folder(data))
    if not is_given:
        ensure_corpus(plan.profile, plan.machines)
    name = options.name or _sweep_name(options.file.stem, data)
    check_run_name(name)
    check_machines(data, plan.machines)
    # Written first, so that a folder that cannot be written is met before any work.
    write_atomically(options.out / "build" / name / "command.txt", " ".join(arguments) + "\n")
    return _sweep(plan, notebooks, data, name, options)


def _sweep_name(stem: str, data: Path) -> str:
    """Name results after the sweep file, and say there if the recordings are simulated."""
    return f"{stem}_simulated" if is_simulated(data) and "simulated" not in stem else stem


def _sweep(
    plan: SweepFile, notebooks: list[Notebook], data: Path, name: str, options: argparse.Namespace
) -> int:
    # Dask takes a second to load, which the other commands need not wait for.
    from asdlib.workbook.sweep import plan_cells, run_cells
    from asdlib.workbook.sweep_results import save_results

    out = options.out.resolve()
    cells = plan_cells(plan, notebooks, data=data, build=out / "build")
    stages = {stage.key for cell in cells for stage in cell.missing if not cell.is_finished}
    say(f"{len(cells)} cells, of which {sum(cell.is_finished for cell in cells)} are finished; "
         f"{len(stages)} notebooks to execute")  # fmt: skip
    failures = run_cells(cells, scheduler=options.scheduler, workers=options.workers)
    table = save_results(plan, cells, failures, data=data, out=out, name=name)
    if table is None:
        say("No cell of the reference has a result, so there is nothing to compare with.")
    else:
        sys.stdout.write("\n" + table.read_text(encoding="utf-8") + "\n")
    for what in ("results", "figures"):
        sys.stdout.write(f"{what:<10} {os.path.relpath(out / what / name)}\n")
    if failures:
        say(f"{len(failures)} of {len(cells)} cells failed; the same command tries them again.")
    return 1 if failures else 0


def fetch(arguments: list[str]) -> int:
    """Fetch the challenge's data; see ``help.txt``."""
    parser = _Parser(prog="run_all.sh fetch", add_help=False, allow_abbrev=False)
    return datasets.fetch_command(arguments, parser)


def score(arguments: list[str]) -> int:
    """Score submission folders; see ``help.txt``."""
    from asdlib.workbook.score import score as score_folders

    parser = _Parser(prog="run_all.sh score", add_help=False, allow_abbrev=False)
    return score_folders(arguments, parser)


def lab(arguments: list[str]) -> int:
    """Open JupyterLab on the notebooks; the simulated corpus is made first if missing."""
    ensure_corpus("demo")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={PROJECT_ROOT}"]
    first = sorted(NOTEBOOK_FOLDER.glob("*.ipynb"))[0].relative_to(PROJECT_ROOT)
    return subprocess.run([*command, *arguments, str(first)], check=False).returncode


def test(arguments: list[str]) -> int:
    """Run the test suite, the whole of it on all cores: see ``tests/conftest.py``."""
    spread = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", *spread, *arguments]
    return subprocess.run(command, cwd=PROJECT_ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Dispatch a command; bad input ends with one message and exit status 2."""
    if not sys.stderr.isatty():
        os.environ[PROGRESS_VARIABLE] = "log"
    command = "run"
    if arguments and not arguments[0].startswith("-"):
        command, arguments = arguments[0], arguments[1:]
    try:
        if command not in COMMANDS:
            raise InputError(f"{command}: there are the commands {', '.join(COMMANDS)}.")
        commands = {
            "run": run,
            "fetch": fetch,
            "score": score,
            "sweep": sweep,
            "lab": lab,
            "test": test,
        }
        return commands[command](arguments)
    except InputError as error:
        say(f"run_all.sh: {error}")
        return 2
    except KeyboardInterrupt:
        say(f"run_all.sh: interrupted. {_GOES_ON}")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
