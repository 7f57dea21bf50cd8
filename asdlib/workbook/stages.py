"""One notebook executed with one set of parameters, in a folder keyed by all that shaped it.

A chain of notebooks is a chain of stages. A stage's key holds its notebook's own parameters and
the key of the stage before it, so chains that begin alike share their first stages: these are
executed once, and once only, however many chains and sweeps need them.

Every stage has a folder of its own with the layout of a run (``build``, ``results``,
``figures``), which begins as a copy of what the stage before it left. What takes long, such as
stores and networks, carries keys itself and lies in the one cache of all runs: where the code has
changed, if only by a word, stages are executed anew, and what they compute is found there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock

from asdlib.base import PROJECT_ROOT, InputError, file_hash, write_atomically
from asdlib.data import read_clips, read_true_attributes
from asdlib.data.scan import is_simulated
from asdlib.data.store import content_key
from asdlib.data.waveforms import content_hash
from asdlib.report.output import package_versions
from asdlib.workbook.notebooks import Notebook, NotebookFailed, execute

#: Parameters that say where a notebook works, not what it computes.
PLACE_PARAMETERS = ("data_dir", "out_dir", "run_name", "workers")
THREADS_VARIABLE = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Stage:
    """A notebook with all that shapes what it computes."""

    notebook: Notebook
    parameters: dict[str, Any]  # its own, those of the place left out
    data: Path  # folder of the recordings
    data_key: str  # of what they hold, see `key_of_data`
    key: str  # hash of code, packages, parameters, and of the stage before or the data
    folder: Path  # its own, ``build/sweeps/<notebook>/<key>``; the notebook's ``out_dir``
    before: Path | None  # folder of the stage before

    @property
    def run_name(self) -> str:
        """Name of the run's folders inside every stage."""
        return "simulated" if is_simulated(self.data) else "recorded"

    @property
    def results(self) -> Path:
        """Folder of its tables."""
        return self.folder / "results" / self.run_name

    @property
    def _marker(self) -> Path:
        return self.folder / "finished.json"

    @property
    def is_finished(self) -> bool:
        """Whether the notebook ran to its end here."""
        return self._marker.exists()

    @property
    def seconds(self) -> float:
        """How long the notebook took [s]."""
        return float(json.loads(self._marker.read_text(encoding="utf-8"))["seconds"])

    def finish(self, seconds: float) -> None:
        """Mark the stage as finished."""
        facts = {"key": self.key, "parameters": self.parameters, "seconds": round(seconds, 1)}
        write_atomically(self._marker, json.dumps(facts, indent=1, sort_keys=True) + "\n")


def key_of_data(data: Path, machines: Sequence[str]) -> str:
    """Key of the recordings: every file's content, and what is told of them."""
    clips = read_clips(data, machines=list(machines) or None)
    told = clips.drop(columns=["path", "recorded_at"]).to_csv(index=False)
    train = clips[clips["split"] == "train"]
    truth = read_true_attributes(data, train).to_csv(index=False)
    return content_key({"files": content_hash(clips), "clips": told, "truth": truth})


def code_key(notebook: Path) -> str:
    """Hash a notebook's code cells with asdlib, but for what only draws (``asdlib.report``).

    The ``parameters`` cell is left out: parameters are keyed by their values.
    """
    cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    code = [
        cell.source
        for cell in cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    ]
    package = PROJECT_ROOT / "asdlib"
    files = [path for path in package.rglob("*.py") if package / "report" not in path.parents]
    return content_key({"code": code, "asdlib": sorted(map(file_hash, files))})


def plan_chain(
    notebooks: Sequence[tuple[Notebook, str]],
    parameters: Mapping[str, Any],
    *,
    data: Path,
    data_key: str,
    root: Path,
) -> list[Stage]:
    """Give the stages of one chain below ``root``: notebooks in order, with the keys of code."""
    chain: list[Stage] = []
    key, before = content_key({"data": data_key, "packages": package_versions()}), None
    for notebook, code in notebooks:
        own = {
            name: parameters.get(name, default)
            for name, default in notebook.parameters.items()
            if name not in PLACE_PARAMETERS
        }
        key = content_key({"before": key, "code": code, "parameters": own})
        folder = root / notebook.path.stem / key
        chain.append(Stage(notebook, own, data, data_key, key, folder, before))
        before = folder
    return chain


def run_stage(stage: Stage, failure_before: str | None = None) -> str | None:
    """Execute a stage, unless it is finished or the one before it failed; returns why it failed.

    Runs in a process of its own, with as many threads as ``OMP_NUM_THREADS`` says there.
    """
    if failure_before is not None or stage.is_finished:
        return failure_before
    try:
        stage.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(stage.folder / "lock"):
            if not stage.is_finished:  # another process may have been faster
                _execute(stage)
    except NotebookFailed as failure:
        return str(failure)
    except (InputError, OSError) as error:
        return f"folder     {stage.folder}\nerror      {error}"
    return None


def _execute(stage: Stage) -> None:
    name, build = stage.run_name, stage.folder / "build"
    if stage.before is not None:
        skipped = shutil.ignore_patterns("notebooks")
        for part in ("build", "results"):
            old, new = (folder / part / name for folder in (stage.before, stage.folder))
            if old.exists():
                shutil.copytree(old, new, ignore=skipped, dirs_exist_ok=True)
    cache, link = stage.folder.parents[2] / "cache", build / "cache"
    for folder in (cache, build):
        folder.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(cache, build), target_is_directory=True)
    values = {
        **stage.parameters,
        "data_dir": str(stage.data),
        "out_dir": str(stage.folder),
        "run_name": name,
        "workers": int(os.environ.get(THREADS_VARIABLE, "1")),
    }
    with (stage.folder / "messages.txt").open("w", encoding="utf-8") as messages:
        seconds = execute(stage.notebook, values, build / name / "notebooks", messages=messages)
    shutil.rmtree(stage.folder / "bundles", ignore_errors=True)  # cells are compared, not kept
    stage.finish(seconds)


def dask_setup(worker: object) -> None:  # noqa: ARG001 - dask calls it by this name
    """Let a worker of a local cluster leave Ctrl-C to the program that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
