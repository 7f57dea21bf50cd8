"""JupyterLab on a run: copies of the notebooks that hold its parameters and begin where it ended.

The copies write as the run ``<name>_lab``, so that a look, or an experiment, changes nothing of
the run itself.
"""

from __future__ import annotations

import ast
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from asdlib.data.store import content_key
from asdlib.errors import InputError
from asdlib.files import write_atomically
from asdlib.report.progress import say
from asdlib.workbook.datasets import corpus_folder, ensure_corpus
from asdlib.workbook.notebooks import Notebook, list_notebooks

_PARAMETERS = "parameters.json"
_DEFAULT = "simulated_demo"
#: What of a run's intermediate files its copy does without.
_LEFT = shutil.ignore_patterns("notebooks", "recordings", _PARAMETERS, "command.txt", ".*")


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
        ensure_corpus("demo")
        parameters = {"data_dir": str(corpus_folder("demo")), "out_dir": str(out)}
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
