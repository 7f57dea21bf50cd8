"""Sweeps: variants x seeds of the notebooks, executed as a batch on Dask distributed.

Every variant and seed is a *cell*: one chain of notebooks. Its stages (`asdlib.workbook.stages`)
are tasks; what several cells have in common is one task. A stage that finished stays finished,
so a sweep that was stopped, failed in part or lost a worker goes on from there.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Client, Future, LocalCluster, as_completed
from distributed.scheduler import KilledWorker
from distributed.system import MEMORY_LIMIT
from tqdm import tqdm

from asdlib.cores import available_cores
from asdlib.errors import InputError
from asdlib.report.progress import PROGRESS_VARIABLE, progress_bar
from asdlib.workbook.notebooks import PROFILES, Notebook
from asdlib.workbook.stages import (
    THREADS_VARIABLE,
    Place,
    Stage,
    code_key,
    key_of_data,
    plan_chain,
    run_stage,
)
from asdlib.workbook.sweep_file import SweepFile, Variant

if TYPE_CHECKING:
    _Task = Future[str | None]

CONNECT_TIMEOUT_S = 20.0
_BYTES_PER_WORKER = 3 << 30  # a kernel with torch, its features and a little training
_THREAD_VARIABLES = (THREADS_VARIABLE, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Cell:
    """One variant with one of its seeds."""

    variant: Variant
    position: int  # which of the variant's seeds; cells of one position are paired
    chain: list[Stage]  # the notebooks, in order

    @property
    def seeds(self) -> str:
        """Its seed, or those of an ensemble, as text."""
        return "+".join(map(str, self.variant.seeds[self.position]))

    @property
    def name(self) -> str:
        """Name for messages."""
        return f"{self.variant.name}, seed {self.seeds}"

    @property
    def is_finished(self) -> bool:
        """Whether its last notebook ran to the end."""
        return self.chain[-1].is_finished

    @property
    def missing(self) -> list[Stage]:
        """Its stages behind the last finished one."""
        finished = [place for place, stage in enumerate(self.chain) if stage.is_finished]
        return self.chain[finished[-1] + 1 :] if finished else self.chain


def plan_cells(
    sweep: SweepFile, notebooks: Sequence[Notebook], *, data: Path, build: Path
) -> list[Cell]:
    """Give all cells of a sweep: first those of the first seed, so that each seed is complete."""
    place = Place(data.resolve(), key_of_data(data, sweep.machines), build.resolve() / "sweeps")
    books = [(notebook, code_key(notebook.path)) for notebook in notebooks]
    common = {**PROFILES[sweep.profile], **sweep.parameters, "machines": sweep.machines}
    cells = []
    for position in range(len(sweep.variants[0].seeds)):
        for variant in sweep.variants:
            seeds = list(variant.seeds[position])
            chain = plan_chain(books, {**common, **variant.changes, "seeds": seeds}, place)
            cells.append(Cell(variant, position, chain))
    return cells


def run_cells(
    cells: Sequence[Cell], *, scheduler: str | None = None, workers: int | None = None
) -> dict[str, str]:
    """Execute what is not finished of the cells; returns by name why a cell failed.

    On a running ``scheduler``, whose workers see the same paths, or ``workers`` processes here, by
    default one per core as the memory reaches.
    """
    waiting = [cell for cell in cells if not cell.is_finished]
    failures: dict[str, str] = {}
    with progress_bar(len(cells), "sweep", unit="cell") as count:
        count(len(cells) - len(waiting))
        if waiting:
            with _connect(scheduler, workers) as client:
                for cell, failure in _execute(client, waiting):
                    if failure:
                        failures[cell.name] = failure
                        tqdm.write(f"cell       {cell.name}\n{failure}", file=sys.stderr)
                    count(1)
    return failures


def _execute(client: Client, cells: Sequence[Cell]) -> Iterator[tuple[Cell, str | None]]:
    """Give each cell when it ends, with the reason if it failed."""
    tasks: dict[str, _Task] = {}
    ends: dict[_Task, list[Cell]] = {}
    for place, cell in enumerate(cells):
        before: _Task | None = None
        for stage in cell.missing:
            if stage.key not in tasks:
                name = f"{stage.notebook.path.stem}-{stage.key}"
                tasks[stage.key] = client.submit(
                    run_stage, stage, before, key=name, pure=False, priority=-place
                )
            before = tasks[stage.key]
        if before is not None:
            ends.setdefault(before, []).append(cell)
    try:
        done = as_completed(list(ends), raise_errors=False)  # type: ignore[no-untyped-call]
        for future in done:
            failure = _failure(future)
            for cell in ends[future]:
                if failure is None and not cell.is_finished:
                    failure = (
                        f"folder     {cell.chain[-1].folder}\nerror      finished by a worker, but "
                        "not to be found here: workers need the same folders under the same paths"
                    )
                yield cell, failure
    finally:
        client.cancel(list(tasks.values()))  # type: ignore[no-untyped-call]


def reason_of(failure: str) -> str:
    """Give the error of a failure, without the notebook and heading before it."""
    return failure.splitlines()[-1].removeprefix("error").strip()


def _failure(future: _Task) -> str | None:
    if future.status == "finished":
        reason: str | None = future.result()
        return reason
    error = future.exception()  # type: ignore[no-untyped-call]
    if isinstance(error, KilledWorker):
        return "error      its worker died again and again: too little memory? Try fewer workers."
    return f"error      {type(error).__name__}: {error}"


@contextmanager
def _connect(scheduler: str | None, workers: int | None) -> Iterator[Client]:
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise InputError(
                f"--scheduler {scheduler}: no scheduler answers ({error}). Start one with "
                "'dask scheduler', and give the address that it prints."
            ) from error
        with client:
            yield client
        return
    count = workers or max(1, min(available_cores(), MEMORY_LIMIT // _BYTES_PER_WORKER))
    threads = str(max(1, available_cores() // count))
    environment = {**dict.fromkeys(_THREAD_VARIABLES, threads), PROGRESS_VARIABLE: "log"}
    try:
        cluster = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any free port
            silence_logs=logging.CRITICAL,
            memory_limit=0,  # what needs memory are the kernels, which Dask does not see
            env=environment,
            preload=["asdlib.workbook.stages"],
        )
    except (OSError, RuntimeError) as error:  # a timeout is an OSError, too
        said = str(error) or type(error).__name__
        raise InputError(
            f"--workers {count}: the workers do not come up ({said}). "
            "Try fewer; what has finished stays, and the same command goes on from there."
        ) from error
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client
