"""The command ``run``: what is executed, with which parameters, on which recordings.

And JupyterLab on a run: copies of the notebooks that hold its parameters and begin where it ended.
They write as the run ``<name>_lab``, so that a look, or an experiment, changes nothing of the run.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from asdlib.base import PROJECT_ROOT, InputError, refuse_unknown, write_atomically
from asdlib.data.store import content_key
from asdlib.report.output import say
from asdlib.workbook import datasets
from asdlib.workbook.notebooks import (
    PROFILES,
    SCORING,
    Notebook,
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
_PARAMETERS = "parameters.json"
#: The run that ``lab`` opens where none is named.
_DEFAULT = "simulated_demo"
#: What of a run's intermediate files its copy does without.
_LEFT = shutil.ignore_patterns("notebooks", "recordings", _PARAMETERS, "command.txt", ".*")


def add_options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the options of ``run``."""
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--machines", type=datasets.split_words)
    parser.add_argument("--seeds", type=datasets.split_words)
    parser.add_argument("--profile")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--only")
    part.add_argument("--from", dest="first")
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    parser.add_argument("--dataset")
    parser.add_argument("--extra-train", type=datasets.split_words)
    datasets.add_options(parser)
    return parser


def _choose(notebooks: list[Notebook], only: str | None, first: str | None) -> list[Notebook]:
    """Reduce the notebooks to those that the call asks for."""
    wanted = only or first
    numbers = [notebook.number for notebook in notebooks]
    if wanted is None:
        return notebooks
    refuse_unknown([wanted], numbers, "no notebook")
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
        parameters["seeds"] = read_parameter("seeds", options.seeds, where="--")
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


def run_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Execute the notebooks; see ``help.txt``."""
    options = add_options(parser).parse_args(arguments)
    choice = _choose_dataset(options)
    options.profile = options.profile or ("full" if choice else "demo")
    refuse_unknown([options.profile], PROFILES, "no --profile")
    notebooks = list_notebooks()
    chosen = _choose(notebooks, options.only, options.first)
    if options.data is not None:
        datasets.require_folder(options.data)
    data = options.data or datasets.corpus_folder(options.profile)
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
        parameters = {**datasets.bring(choice, data, channel), **parameters}
    elif options.data is None:
        datasets.ensure_corpus(options.profile, options.machines)
    # Later notebooks take what notebook 01 decoded.
    reads = {**chosen[0].parameters, **parameters} if chosen[0] is notebooks[0] else None
    datasets.check_recordings(data, options.machines, reads)
    check_machine_names(parameters, data, where="--set ")
    note_parameters(options.out, name, parameters)
    return _execute(chosen, parameters, options.out.resolve(), name)


def _execute(chosen: list[Notebook], parameters: dict[str, Any], out: Path, name: str) -> int:
    folder = out / "build" / name / "notebooks"
    for notebook in chosen:
        say(f"{notebook.path.stem:<28} started")
        figures = out / "figures" / name
        for picture in _figures(figures, notebook, ".png"):
            picture.unlink()  # an older run's are no longer true, and may bear other names
        try:
            elapsed = execute(notebook, parameters, folder)
        finally:
            for drawing in _figures(figures, notebook, ""):
                if not drawing.with_suffix(".png").exists():
                    drawing.unlink()  # stayed for a picture that might have come out the same
        say(f"{notebook.path.stem:<28} done in {elapsed:.0f} s")
    write_run_pages(out, name)
    print_results(out, name, is_new=any(one.path.stem == SCORING for one in chosen))
    return 0


def _figures(folder: Path, notebook: Notebook, suffix: str) -> list[Path]:
    """Files of a notebook's figures."""
    found = folder.glob(f"*{notebook.number}_*{suffix}")
    return [f for f in found if f.name.removeprefix("simulated_").startswith(notebook.number)]


def print_results(out: Path, name: str, *, is_new: bool) -> None:
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
    for what, place in ((what, place) for what, place in places.items() if place.exists()):
        sys.stdout.write(f"{what:<10} {os.path.relpath(place)}\n")


def note_parameters(out: Path, name: str, parameters: Mapping[str, Any]) -> None:
    """Leave the parameters of a run where `prepare_lab` finds them."""
    text = json.dumps(dict(parameters), indent=1, sort_keys=True)
    write_atomically(out / "build" / name / _PARAMETERS, text + "\n")


def prepare_lab(out: Path, name: str | None) -> Path:
    """Copy the notebooks with a run's parameters, and what the run has left; gives the first copy.

    ``name`` None is the simulated corpus, which need not have run. Copies that are up to date stay;
    what a reader changed in others is kept beside the new ones.
    """
    noted = out / "build" / (name or _DEFAULT) / _PARAMETERS
    if not noted.exists() and name is not None:
        there = sorted(path.parent.name for path in noted.parents[1].glob(f"*/{_PARAMETERS}"))
        raise InputError(
            f"--name {name}: there is no such run in {noted.parents[1]}. "
            f"There are: {', '.join(there) or 'none'}. Another place is named with --out."
        )
    name = name or _DEFAULT
    if noted.exists():
        parameters = json.loads(noted.read_text(encoding="utf-8"))
    else:
        datasets.ensure_corpus("demo")
        parameters = {"data_dir": str(datasets.corpus_folder("demo")), "out_dir": str(out)}
    own = f"{name}_lab"
    _bring(out / "build" / name, out / "build" / own)
    _bring(out / "bundles" / name, out / "bundles" / own)
    for file in ("attributes.csv", "attributes.csv.json", "scores.csv", "scores.csv.json"):
        if (out / "results" / name / file).exists():
            (out / "results" / own).mkdir(parents=True, exist_ok=True)
            _copy_newer(out / "results" / name / file, out / "results" / own / file)
    folder = out / "build" / own / "notebooks"
    for notebook in list_notebooks():
        _write_copy(notebook, {**parameters, "run_name": own}, folder / notebook.path.name)
    say(f"Run {name}: opened as {own}, which writes results/{own} and figures/{own}.")
    return sorted(folder.glob("01_*.ipynb"))[0]


def _bring(source: Path, target: Path) -> None:
    """Copy a run's intermediate files; what is newer in the copy stays."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT, copy_function=_copy_newer, dirs_exist_ok=True)


def _copy_newer(source: str | Path, target: str | Path) -> None:
    if not Path(target).exists() or Path(target).stat().st_mtime < Path(source).stat().st_mtime:
        shutil.copy2(source, target)


def _write_copy(notebook: Notebook, parameters: Mapping[str, Any], path: Path) -> None:
    """Write a notebook with these parameters, unless the same stands there already."""
    book = nbformat.read(notebook.path, as_version=4)  # type: ignore[no-untyped-call]
    for cell in book.cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = [_with_value(line, parameters) for line in cell.source.splitlines()]
            cell.source = "\n".join(lines)
    key = content_key({"cells": [cell.source for cell in book.cells]})
    book.metadata["copied_from"] = key
    if path.exists():
        old = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        if old.metadata.get("copied_from") == key:
            return
        stamp = time.strftime("%Y%m%d_%H%M%S", time.localtime(path.stat().st_mtime))
        path.replace(path.with_name(f"older_{path.stem}_{stamp}.ipynb"))
    write_atomically(path, nbformat.writes(book) + "\n")  # type: ignore[no-untyped-call]


def _with_value(line: str, parameters: Mapping[str, Any]) -> str:
    """Give a line of a parameters cell the run's value: ``name: type = value  # comment``."""
    statement = ast.parse(line).body[0]
    if not isinstance(statement, ast.AnnAssign) or statement.value is None:
        return line
    name = ast.unparse(statement.target)
    if name not in parameters:
        return line
    value = statement.value
    return line[: value.col_offset] + repr(parameters[name]) + line[value.end_col_offset :]
