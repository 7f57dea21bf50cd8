"""The command ``sweep``: cells executed as a batch on Dask distributed, and what they found.

The stages of cells are tasks, and what several have in common is one task. What finished stays, so
that a sweep that was stopped, failed in part or lost a worker goes on from there.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
from distributed import Client, Future, LocalCluster, as_completed
from distributed.scheduler import KilledWorker
from distributed.system import MEMORY_LIMIT
from tqdm import tqdm

from asdlib.base import PROJECT_ROOT, InputError, available_cores, write_atomically
from asdlib.data.scan import is_simulated
from asdlib.report import experiments, style
from asdlib.report.output import PROGRESS_VARIABLE, progress_bar, say, shown_path
from asdlib.scoring import evaluate, paired_differences, read_scores
from asdlib.workbook import notebooks
from asdlib.workbook.datasets import check_recordings, ensure_corpus, require_folder
from asdlib.workbook.parameters import check_run_name, read_parameter
from asdlib.workbook.run import Run
from asdlib.workbook.stages import THREADS_VARIABLE, run_stage
from asdlib.workbook.sweep_file import REFERENCE, Cell, SweepFile, plan_cells, read_sweep_file

CONNECT_TIMEOUT_S = 20.0
_BYTES_PER_WORKER = 3 << 30  # a kernel with torch, its features and a little training
_THREAD_VARIABLES = (THREADS_VARIABLE, "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


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
    tasks: dict[str, Future[str | None]] = {}
    ends: dict[Future[str | None], list[Cell]] = {}
    for place, cell in enumerate(cells):
        before = None
        for stage in cell.chain:
            if stage.key not in tasks:
                name = f"{stage.notebook.path.stem}-{stage.key}"
                tasks[stage.key] = client.submit(
                    run_stage, stage, before, key=name, pure=False, priority=-place
                )
            before = tasks[stage.key]
        ends.setdefault(tasks[cell.chain[-1].key], []).append(cell)
    try:
        for future in as_completed(list(ends), raise_errors=False):  # type: ignore[no-untyped-call]
            for cell in ends[future]:
                yield cell, _failure(future, cell)
    finally:
        client.cancel(list(tasks.values()))  # type: ignore[no-untyped-call]


def _failure(future: Future[str | None], cell: Cell) -> str | None:
    if future.status == "finished":
        failure: str | None = future.result()
        if failure is None and not cell.is_finished:
            failure = (
                f"folder     {cell.chain[-1].folder}\nerror      finished by a worker, but not to "
                "be found here: workers need the same folders under the same paths"
            )
        return failure
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
    try:
        cluster = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",  # any free port
            silence_logs=logging.CRITICAL,
            memory_limit=0,  # what needs memory are the kernels, which Dask does not see
            env={**dict.fromkeys(_THREAD_VARIABLES, threads), PROGRESS_VARIABLE: "log"},
            preload=["asdlib.workbook.stages"],
        )
    except (OSError, RuntimeError) as error:  # a timeout is an OSError, too
        raise InputError(
            f"--workers {count}: the workers do not come up ({str(error) or type(error).__name__})"
            ". Try fewer; what has finished stays, and the same command goes on from there."
        ) from error
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client


def collect_scores(cells: Sequence[Cell], failures: dict[str, str]) -> pd.DataFrame:
    """Join the test scores of finished cells; ``failures`` receives those without their system.

    ``system`` is the variant, ``seed`` the position.
    """
    parts = []
    for cell in cells:
        if cell.is_finished and cell.name not in failures:
            try:
                parts.append(_scores_of(cell))
            except InputError as error:
                failures[cell.name] = f"error      {error}"
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _scores_of(cell: Cell) -> pd.DataFrame:
    path, system = cell.chain[-1].results / "scores.csv", cell.variant.system
    scores = read_scores(path)
    own = scores[scores["split"].eq("test") & scores["system"].eq(system)]
    if own.empty:
        there = ", ".join(sorted(set(scores["system"])))
        raise InputError(f"{path}: has no system {system!r}. There are: {there}.")
    if own["clip_id"].duplicated().any():
        raise InputError(
            f"{path}: system {system!r} has one score per seed and clip; expected one per clip. "
            "Give the variant one seed a cell, or name a system that joins seeds."
        )
    return own.assign(system=cell.variant.name, seed=cell.position)


def compare(scores: pd.DataFrame, sweep: SweepFile) -> pd.DataFrame:
    """Compare all variants with the reference by :func:`asdlib.scoring.paired_differences`."""
    known = {variant.name: variant for variant in sweep.variants}
    order = [*known].index
    scores = scores.sort_values("system", key=lambda own: own.map(order), kind="stable")
    with progress_bar(
        scores.groupby(["system", "seed"]).ngroups, "intervals", unit="cell"
    ) as count:
        table = paired_differences(scores, reference=REFERENCE, on_progress=count)
    table = table.rename(columns={"system": "variant"})
    table.insert(1, "group", [known[name].group for name in table["variant"]])
    table.insert(2, "system", [known[name].system for name in table["variant"]])
    return table


def save_results(
    sweep: SweepFile, cells: Sequence[Cell], failures: dict[str, str],
    *, data: Path, out: Path, name: str,
) -> Path | None:  # fmt: skip
    """Write tables and figures of a sweep, as far as its cells have finished.

    Returns the Markdown table; None where no cell of the reference has finished.
    """
    place = {"data_dir": str(data), "out_dir": str(out), "run_name": name}
    run = Run("sweep", SimpleNamespace(**place, machines=sweep.machines), _facts(sweep, cells))
    scores = collect_scores(cells, failures)
    nothing = pd.DataFrame(columns=["system", "seed", "metric", "value"])
    metrics = evaluate(scores, n_bootstrap=0) if len(scores) else nothing
    # Of a failure the error, without the notebook and heading before it.
    reasons = {cell: failure.splitlines()[-1].removeprefix("error").strip()
               for cell, failure in failures.items()}  # fmt: skip
    run.save_table(_list_cells(cells, reasons, metrics), "cells")
    if scores.empty or REFERENCE not in set(scores["system"]):
        return None
    seeds = pd.Series({(cell.variant.name, cell.position): cell.seeds for cell in cells})
    metrics["seed"] = seeds[pd.MultiIndex.from_frame(metrics[["system", "seed"]])].to_numpy()
    # Intervals stand in the table of differences.
    metrics = metrics.drop(columns=["ci_low", "ci_high"]).rename(columns={"system": "variant"})
    run.save_table(metrics, "metrics")
    table = compare(scores, sweep)
    run.save_table(table, "sweep")
    title = f"{name}: {run.corpus} machines"
    run.save_text(experiments.render_sweep(table, title=title, failures=reasons), "sweep.md")
    if len(set(table["variant"])) > 1:
        style.use_style()
        run.save_figure(experiments.draw_sweep(table), "sweep")
        run.save_figure(experiments.draw_sweep_machines(table), "sweep_machines")
    return run.results / "sweep.md"


def _facts(sweep: SweepFile, cells: Sequence[Cell]) -> dict[str, Any]:
    told = [json.loads(path.read_text(encoding="utf-8"))
            for cell in cells for path in cell.chain[-1].results.glob("*.json")]  # fmt: skip
    return {
        "sweep": shown_path(sweep.path),
        "profile": sweep.profile,
        "reference": sweep.parameters,
        "variants": [vars(variant) for variant in sweep.variants],
        "data_manifest": cells[0].chain[0].data_key,
        "device": sorted({str(facts["device"]) for facts in told if "device" in facts}),
    }


def _list_cells(
    cells: Sequence[Cell], reasons: Mapping[str, str], metrics: pd.DataFrame
) -> pd.DataFrame:
    """One row per cell: what it was, whether it finished, its official score."""
    rows = metrics[metrics["metric"].eq("official_score")]
    official = rows.set_index(["system", "seed"])["value"].to_dict()
    return pd.DataFrame(
        {
            "variant": cell.variant.name,
            "group": cell.variant.group,
            "system": cell.variant.system,
            "seed": cell.seeds,
            "changes": json.dumps(cell.variant.changes, sort_keys=True),
            "state": "failed" if cell.name in reasons else "finished",
            "official_score": official.get((cell.variant.name, cell.position)),
            "seconds": sum(stage.seconds for stage in cell.chain if stage.is_finished),
            "key": cell.chain[-1].key,
            "error": reasons.get(cell.name, ""),
        }
        for cell in cells
    )


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command ``sweep`` takes; ``help.txt`` says what it means."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--scheduler")
    parser.add_argument("--workers", default="0")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--profile")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)


def sweep_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Execute the variants of a sweep file and compare them; see ``help.txt``."""
    add_sweep_options(parser)
    options = parser.parse_args(arguments)
    workers = read_parameter("workers", options.workers, where="--")
    books = [book for book in notebooks.list_notebooks() if book.path.stem <= notebooks.SCORING]
    plan = read_sweep_file(options.file, books, profile=options.profile)
    if data := options.data or plan.data:
        require_folder(data)
    else:
        data = ensure_corpus(plan.profile, plan.machines)
    mark = "_simulated" if is_simulated(data) and "simulated" not in options.file.stem else ""
    name = options.name or options.file.stem + mark
    check_run_name(name)
    check_recordings(data, plan.machines, {**books[0].parameters, **plan.parameters})
    # Written first, so that a folder that cannot be written is met before any work.
    write_atomically(options.out / "build" / name / "command.txt", " ".join(arguments) + "\n")
    out = options.out.resolve()
    cells = plan_cells(plan, books, data=data, build=out / "build")
    waiting = [stage for cell in cells if not cell.is_finished for stage in cell.chain]
    stages = {stage.key for stage in waiting if not stage.is_finished}
    say(f"{len(cells)} cells, of which {sum(cell.is_finished for cell in cells)} are finished; "
        f"{len(stages)} notebooks to execute")  # fmt: skip
    failures = run_cells(cells, scheduler=options.scheduler, workers=workers)
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
