"""One notebook executed with one set of parameters, in a folder keyed by all that shaped it.

A chain of notebooks is a chain of stages. A stage's key holds its notebook's own parameters and
the key of the stage before it, so chains that begin alike share their first stages: these are
executed once, and once only, however many chains and sweeps need them.

Every stage has a folder of its own with the layout of a run (``build``, ``results``,
``figures``), which begins as a copy of what the stage before it left. Stores and checkpoints,
which carry keys themselves, lie in one place for all stages.

Of code, comments, layout and docstrings do not count, nor does what only draws
(``asdlib.report``): a better figure or a mended sentence must not train networks again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from filelock import FileLock

from asdlib.base import PROJECT_ROOT, InputError, write_atomically
from asdlib.data import read_clips, read_true_attributes
from asdlib.data.scan import is_simulated
from asdlib.data.store import content_key
from asdlib.data.waveforms import content_hash
from asdlib.report.save import package_versions
from asdlib.workbook.notebooks import Notebook, NotebookFailed, execute

#: Parameters that say where a notebook works, not what it computes.
PLACE_PARAMETERS = ("data_dir", "out_dir", "run_name", "workers")
#: Folders of a run whose content is keyed: all stages share them.
SHARED_FOLDERS = ("checkpoints", "toy")
#: Folder of every seed that is shaped by the parameters of this prefix, the seed and the first
#: notebook alone: stages that agree in these share it.
SHARED_SEED_FOLDER, SHAPED_BY = "autoencoder", "ae_"
THREADS_VARIABLE = "OMP_NUM_THREADS"
_DRAWS = "report"
_ORCHESTRATES = "workbook"


@dataclass(frozen=True)
class Place:
    """Where the stages of a sweep read and write."""

    data: Path  # folder of the recordings
    key: str  # of what they hold, see `key_of_data`
    root: Path  # of all stages, below the folder ``build`` that also has the stores

    @property
    def run_name(self) -> str:
        """Name of the run's folders inside every stage."""
        return "simulated" if is_simulated(self.data) else "recorded"


@dataclass(frozen=True)
class Stage:
    """A notebook with all that shapes what it computes."""

    notebook: Notebook
    parameters: dict[str, Any]  # its own, those of the place left out
    place: Place
    key: str  # hash of code, packages, parameters, and of the stage before or the data
    before: Path | None  # folder of the stage before
    first: str  # key of the chain's first stage

    @property
    def folder(self) -> Path:
        """The stage's own folder; the notebook's ``out_dir``."""
        return self.place.root / self.notebook.path.stem / self.key

    @property
    def results(self) -> Path:
        """Folder of its tables."""
        return self.folder / "results" / self.place.run_name

    @property
    def build(self) -> Path:
        """Folder of its intermediate files."""
        return self.folder / "build" / self.place.run_name

    @property
    def shared(self) -> dict[Path, Path]:
        """Folders that it shares with other stages: where it finds them, and where they lie."""
        shared = self.place.root / "shared"
        links = {self.folder / "build" / "cache": self.place.root.parent / "cache"}
        links |= {self.build / name: shared / name for name in SHARED_FOLDERS}
        own = {name: one for name, one in self.parameters.items() if name.startswith(SHAPED_BY)}
        for seed in self.parameters.get("seeds", []) if own else []:
            key = content_key({"first": self.first, "seed": seed, "parameters": own})
            link = self.build / f"seed_{seed}" / SHARED_SEED_FOLDER
            links[link] = shared / SHARED_SEED_FOLDER / key
        return links

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
    """Hash a stripped notebook's code with the rooms of asdlib that it uses, directly or not.

    Its ``parameters`` cell is left out: parameters are keyed by their values. Of
    ``asdlib.workbook`` the modules count that the notebook imports itself.
    """
    cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    source = "\n".join(
        cell.source
        for cell in cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    )
    digest = hashlib.sha256(_meaning(source).encode())
    for path in _used_files(source):
        digest.update(_meaning(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def _used_files(source: str) -> list[Path]:
    """Files of the rooms that some code imports, and of the rooms that those import."""
    package = PROJECT_ROOT / "asdlib"
    waiting, rooms, modules = [source], set(), set()
    while waiting:
        for name in _imported(waiting.pop()):
            parts = name.split(".")
            if len(parts) < 2 or parts[0] != "asdlib" or parts[1] == _DRAWS:
                continue
            room = package / parts[1]
            if parts[1] == _ORCHESTRATES:
                module = room / f"{parts[-1]}.py"
                modules |= {module} if module.exists() else set()
            elif room.is_dir() and room not in rooms:
                rooms.add(room)
                waiting += [path.read_text(encoding="utf-8") for path in room.rglob("*.py")]
    return sorted(modules | {path for room in rooms for path in room.rglob("*.py")})


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def _meaning(source: str) -> str:
    """Return the syntax tree as text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


def plan_chain(
    notebooks: Sequence[tuple[Notebook, str]], parameters: Mapping[str, Any], place: Place
) -> list[Stage]:
    """Give the stages of one chain: notebooks in order, each with the key of its code."""
    chain: list[Stage] = []
    key, before = content_key({"data": place.key, "packages": package_versions()}), None
    for notebook, code in notebooks:
        own = {
            name: parameters.get(name, default)
            for name, default in notebook.parameters.items()
            if name not in PLACE_PARAMETERS
        }
        key = content_key({"before": key, "code": code, "parameters": own})
        first = chain[0].key if chain else key
        chain.append(Stage(notebook, own, place, key, before, first))
        before = chain[-1].folder
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
    place = stage.place
    if stage.before is not None:
        skipped = shutil.ignore_patterns("notebooks", *SHARED_FOLDERS)
        for part in ("build", "results"):
            old, new = (one / part / place.run_name for one in (stage.before, stage.folder))
            if old.exists():
                shutil.copytree(old, new, ignore=skipped, dirs_exist_ok=True)
    for link, folder in stage.shared.items():
        folder.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
    values = {
        **stage.parameters,
        "data_dir": str(place.data),
        "out_dir": str(stage.folder),
        "run_name": place.run_name,
        "workers": int(os.environ.get(THREADS_VARIABLE, "1")),
    }
    with (stage.folder / "messages.txt").open("w", encoding="utf-8") as messages:
        seconds = execute(stage.notebook, values, stage.build / "notebooks", messages=messages)
    shutil.rmtree(stage.folder / "bundles", ignore_errors=True)  # cells are compared, not kept
    stage.finish(seconds)


def dask_setup(worker: object) -> None:  # noqa: ARG001 - dask calls it by this name
    """Let a worker of a local cluster leave Ctrl-C to the program that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
