"""The notebooks as programs: their parameters, their execution, their HTML."""

from __future__ import annotations

import ast
import difflib
import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import nbformat
import papermill
import yaml
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

from asdlib.base import PROJECT_ROOT, InputError
from asdlib.report.output import STATIC_VARIABLE
from asdlib.workbook.pages import write_page
from asdlib.workbook.parameters import read_parameter

NOTEBOOK_FOLDER = PROJECT_ROOT / "notebooks"
#: Writes the result table, and is the last one of a sweep.
SCORING = "04_knn_scoring"
_INTERRUPTED = "interrupted"
_START_TIMEOUT_S = 300  # of a kernel, on a machine that is busy or has a slow disk

#: What a profile changes against the defaults in the notebooks (the demo profile).
PROFILES: dict[str, dict[str, Any]] = {
    "smoke": {
        "stem_channels": 4,
        "epochs": 2,
        "ae_epochs": 2,
        "ae_min_steps": 0,
        "batch_size": 16,
        "duration_s": 2.0,
        "crop_frames": 0,
        "n_bootstrap": 100,
        "sensitivity_clips": 1,
        "companions_below": 0,
    },
    "demo": {},
    "full": {
        "stem_channels": 64,
        "epochs": 30,
        "ae_epochs": 100,
        "ae_batch_size": 256,
        "ae_min_steps": 0,
        "batch_size": 64,
        "crop_frames": 0,
    },
}


class NotebookFailed(Exception):  # noqa: N818 - it reads as what happened
    """A cell raised, or was ``interrupted`` by the user; the message is what the user sees."""

    def __init__(self, message: str, *, interrupted: bool) -> None:
        super().__init__(message)
        self.interrupted = interrupted


@dataclass(frozen=True)
class Notebook:
    """One stripped notebook of the project; ``parameters`` are the defaults that it states."""

    path: Path
    parameters: dict[str, Any]

    @property
    def number(self) -> str:
        """Its two digits."""
        return self.path.stem[:2]


def list_notebooks(folder: Path = NOTEBOOK_FOLDER) -> list[Notebook]:
    """Find the ordered notebooks and read their parameters."""
    notebooks = []
    for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        with warnings.catch_warnings():
            # papermill warns of type hints that it does not know; the values are what counts.
            warnings.simplefilter("ignore")
            inspected = papermill.inspect_notebook(str(path))
        literals = {name: ast.literal_eval(entry["default"]) for name, entry in inspected.items()}
        notebooks.append(Notebook(path, literals))
    return notebooks


def parse_assignments(assignments: list[str], notebooks: list[Notebook]) -> dict[str, Any]:
    """Read ``name=value`` words against the parameters that the notebooks have."""
    values = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise InputError(f"--set {assignment}: expected NAME=VALUE.")
        try:
            values[name] = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes text alone
        except yaml.YAMLError as error:
            raise InputError(
                f"--set {assignment}: expected a value such as 3, word, [a, b] or {{a: 1}}; "
                "brackets and quotes must be closed."
            ) from error
    return read_parameters(values, notebooks, where="--set ")


def read_parameters(
    texts: Mapping[str, Any], notebooks: list[Notebook], *, where: str
) -> dict[str, Any]:
    """Read text, or lists and dictionaries of text, as what the parameters were declared to be.

    ``where`` stands before a name in messages; a name that no notebook has is refused.
    """
    known = list(dict.fromkeys(name for notebook in notebooks for name in notebook.parameters))
    for name in texts:
        if name not in known:
            similar = difflib.get_close_matches(name, known)
            hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
            raise InputError(
                f"{where}{name}: no notebook has this parameter.{hint}\nThere are: "
                f"{', '.join(known)}."
            )
    return {name: read_parameter(name, text, where=where) for name, text in texts.items()}


def execute(
    notebook: Notebook,
    parameters: Mapping[str, Any],
    folder: Path,
    *,
    messages: TextIO | None = None,
) -> float:
    """Execute one notebook with papermill, write it and its HTML to ``folder``, give the time [s].

    Parameters that it does not have are left out. Its standard error goes to ``messages``. On
    `NotebookFailed` notebook and HTML show how far it came.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / notebook.path.name
    chosen = {name: value for name, value in parameters.items() if name in notebook.parameters}
    started = time.monotonic()
    os.environ[STATIC_VARIABLE] = "1"  # the kernel inherits it
    try:
        papermill.execute_notebook(
            _literally(notebook.path),
            _literally(output),
            parameters=chosen,
            engine_name=_SparingEngine.__name__,
            kernel_name="python3",
            kernel_manager_class=_OwnKernel,
            start_timeout=_START_TIMEOUT_S,
            progress_bar=False,
            stderr_file=messages or sys.stderr,
            cwd=str(notebook.path.parent),
            # The kernel listens on this machine alone, and is interrupted before it is ended: that
            # it says so is no news. What fails in a cell comes as the cell's error.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except (PapermillExecutionError, KeyboardInterrupt, OSError, RuntimeError) as error:
        said = _why(error)
        message = _failure_lines(output, said)
        raise NotebookFailed(message, interrupted=said == _INTERRUPTED) from error
    finally:
        book = _read(output)
        if book is not None:
            write_page(
                book,
                output.with_suffix(".html"),
                links=run_pages(folder.parents[2], folder.parent.name),
            )
    return time.monotonic() - started


def _why(error: BaseException) -> str:
    """Say why an execution ended: a cell, the user, a kernel, a full disk."""
    if "KeyboardInterrupt" in (type(error).__name__, getattr(error, "ename", "")):
        return _INTERRUPTED
    if isinstance(error, PapermillExecutionError):
        return f"{error.ename}: {error.evalue or 'says nothing more'}"
    if isinstance(error, DeadKernelError):
        return "the kernel died; was there too little memory?"
    if "Kernel didn't respond" in str(error):
        return (f"the kernel has not started within {_START_TIMEOUT_S} s: is the machine busy? "
                "The same command tries again.")  # fmt: skip
    return f"{type(error).__name__}: {error}"


def _literally(path: Path) -> str:
    """Write a path so that papermill, which fills in what stands in braces, leaves it alone."""
    return str(path).replace("{", "{{").replace("}", "}}")


class _SparingEngine(NBClientEngine):  # type: ignore[misc]  # papermill has no types
    """Saves a notebook every half minute and at its end, not before and after every cell."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, *words: Any, **options: Any) -> None:
        save = nb_man.save

        def save_if_due() -> None:
            passed = nb_man.now() - nb_man.last_save_time
            if passed.total_seconds() >= nb_man.autosave_cell_every:
                save()

        nb_man.save = save_if_due
        try:
            super().execute_managed_notebook(nb_man, *words, **options)
        finally:
            nb_man.save = save


papermill_engines.register(_SparingEngine.__name__, _SparingEngine)


class _OwnKernel(AsyncKernelManager):
    """Kernels of this interpreter, whatever somebody has installed under their name."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Start ipykernel with this interpreter."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def _read(path: Path) -> Any:
    """Read an executed notebook; None where there is none, or only a part on a full disk."""
    try:
        return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, nbformat.ValidationError):
        return None


def _failure_lines(output: Path, error: str) -> str:
    """Name notebook, heading of the cell that was running, and error in three lines."""
    heading = reached = "(before the first cell)"
    book = _read(output)
    for cell in book.cells if book is not None else []:
        state = cell.metadata.get("papermill", {})
        if cell.cell_type == "markdown":
            titles = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = titles[-1].lstrip("# ") if titles else heading
        elif state.get("start_time"):
            reached = heading
        if state.get("status") == "failed":
            break
    lines = error.strip().splitlines()
    # A heading alone says nothing: what it announces stands in the lines below it.
    said = " ".join(lines[:3]) if lines[0].endswith(":") else lines[0]
    return f"notebook   {output}\ncell       {reached}\nerror      {said}"


def run_pages(out: Path, name: str) -> dict[str, Path]:
    """Pages of a run: what links call them, and where they lie."""
    stems = [path.stem for path in sorted(NOTEBOOK_FOLDER.glob("[0-9][0-9]_*.ipynb"))]
    folder, results = out / "build" / name / "notebooks", out / "results"
    return {
        **{stem.replace("_", " "): folder / f"{stem}.html" for stem in stems},
        "report": results / name / "report.html",
        "figures": results / name / "figures.html",
        "all runs": results / "index.html",
    }
