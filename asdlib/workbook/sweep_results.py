"""The command ``sweep``, and what a sweep found: tables, Markdown, figures with provenance."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from asdlib.data.layout import is_simulated
from asdlib.errors import InputError
from asdlib.files import PROJECT_ROOT, write_atomically
from asdlib.report import experiments, style
from asdlib.report.progress import progress_bar, say
from asdlib.report.save import save_figure, shown_path
from asdlib.scoring import evaluate, paired_differences, read_scores
from asdlib.workbook import notebooks
from asdlib.workbook.datasets import check_recordings, corpus_folder, ensure_corpus, require_folder
from asdlib.workbook.kinds import read_whole
from asdlib.workbook.notebooks import SCORING
from asdlib.workbook.parameters import check_run_name
from asdlib.workbook.run import Run
from asdlib.workbook.sweep import Cell, plan_cells, reason_of, run_cells
from asdlib.workbook.sweep_file import REFERENCE, SweepFile, read_sweep_file


def collect_scores(cells: Sequence[Cell], failures: dict[str, str]) -> pd.DataFrame:
    """Join the test scores of all finished cells: ``system`` is the variant, ``seed`` the position.

    ``failures`` receives the cells that did not score the system that their variant names.
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
    place = {variant.name: number for number, variant in enumerate(sweep.variants)}
    scores = scores.sort_values("system", key=lambda names: names.map(place), kind="stable")
    runs = len(scores[["system", "seed"]].drop_duplicates())
    with progress_bar(runs, "intervals", unit="cell") as count:
        table = paired_differences(scores, reference=REFERENCE, on_progress=count)
    table = table.rename(columns={"system": "variant"})
    for column, attribute in ((1, "group"), (2, "system")):
        known = {variant.name: getattr(variant, attribute) for variant in sweep.variants}
        table.insert(column, attribute, table["variant"].map(known))
    return table


def save_results(
    sweep: SweepFile,
    cells: Sequence[Cell],
    failures: dict[str, str],
    *,
    data: Path,
    out: Path,
    name: str,
) -> Path | None:
    """Write tables and figures of a sweep, as far as its cells have finished.

    Returns the Markdown table; None where no cell of the reference has finished.
    """
    place = {"data_dir": str(data), "out_dir": str(out), "run_name": name}
    settings = SimpleNamespace(**place, machines=sweep.machines, workers=0)
    run = Run("sweep", settings, _facts(sweep, cells))
    scores = collect_scores(cells, failures)
    metrics = evaluate(scores, n_bootstrap=0) if len(scores) else pd.DataFrame()
    run.save_table(_list_cells(cells, failures, metrics), "cells")
    if scores.empty or REFERENCE not in set(scores["system"]):
        return None
    run.save_table(_by_seed(metrics, cells), "metrics")
    table = compare(scores, sweep)
    run.save_table(table, "sweep")
    reasons = {cell: reason_of(failure) for cell, failure in failures.items()}
    title = f"{name}: {run.corpus} machines"
    run.save_text(experiments.render_sweep(table, title=title, failures=reasons), "sweep.md")
    if len(set(table["variant"])) > 1:
        style.use_style()
        drawn = {"sweep": experiments.draw_sweep(table),
                 "sweep_machines": experiments.draw_sweep_machines(table)}  # fmt: skip
        for stem, figure in drawn.items():
            save_figure(figure, run.figures / stem, provenance=run.provenance(),
                        is_simulated=run.is_simulated)  # fmt: skip
    return run.results / "sweep.md"


def _by_seed(metrics: pd.DataFrame, cells: Sequence[Cell]) -> pd.DataFrame:
    """Metrics of every cell with its seed; intervals stand in the table of differences."""
    seeds = {(cell.variant.name, cell.position): cell.seeds for cell in cells}
    keys = zip(metrics["system"], metrics["seed"], strict=True)
    table = metrics.assign(seed=[seeds[key] for key in keys])
    return table.drop(columns=["ci_low", "ci_high"]).rename(columns={"system": "variant"})


def _facts(sweep: SweepFile, cells: Sequence[Cell]) -> dict[str, Any]:
    sidecars = [path for cell in cells for path in cell.chain[-1].results.glob("*.json")]
    told = [json.loads(path.read_text(encoding="utf-8")) for path in sidecars]
    return {
        "sweep": shown_path(sweep.path),
        "profile": sweep.profile,
        "reference": sweep.parameters,
        "variants": [asdict(variant) for variant in sweep.variants],
        "data_manifest": cells[0].chain[0].place.key,
        "device": sorted({str(facts["device"]) for facts in told if "device" in facts}),
    }


def _list_cells(
    cells: Sequence[Cell], failures: Mapping[str, str], metrics: pd.DataFrame
) -> pd.DataFrame:
    """One row per cell: what it was, whether it finished, its official score."""
    official: dict[tuple[str, int], float] = {}
    if len(metrics):
        rows = metrics[metrics["metric"] == "official_score"]
        keys = zip(rows["system"], rows["seed"], strict=True)
        official = dict(zip(keys, rows["value"], strict=True))
    return pd.DataFrame(
        {
            "variant": cell.variant.name,
            "group": cell.variant.group,
            "system": cell.variant.system,
            "seed": cell.seeds,
            "changes": json.dumps(cell.variant.changes, sort_keys=True),
            "state": "failed" if cell.name in failures else "finished",
            "official_score": official.get((cell.variant.name, cell.position)),
            "seconds": sum(stage.seconds for stage in cell.chain if stage.is_finished),
            "key": cell.chain[-1].key,
            "error": reason_of(failures[cell.name]) if cell.name in failures else "",
        }
        for cell in cells
    )


def add_sweep_options(parser: argparse.ArgumentParser) -> None:
    """Add what the command ``sweep`` takes; ``help.txt`` says what it means."""
    parser.add_argument("file", type=Path)
    parser.add_argument("--scheduler")
    parser.add_argument("--workers", type=read_whole)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--profile")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)


def sweep_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Execute the variants of a sweep file and compare them; see ``help.txt``."""
    add_sweep_options(parser)
    options = parser.parse_args(arguments)
    if options.workers is not None and not (type(options.workers) is int and options.workers > 0):
        raise InputError(f"--workers {options.workers}: expected a whole number, 1 or more.")
    books = [book for book in notebooks.list_notebooks() if book.path.stem <= SCORING]
    plan = read_sweep_file(options.file, books, profile=options.profile)
    is_given = options.data is not None or plan.data is not None
    data = options.data or plan.data or corpus_folder(plan.profile)
    if is_given:
        require_folder(data)
    else:
        ensure_corpus(plan.profile, plan.machines)
    stem = options.file.stem
    is_marked = is_simulated(data) and "simulated" not in stem
    name = options.name or (f"{stem}_simulated" if is_marked else stem)
    check_run_name(name)
    check_recordings(data, plan.machines, {**books[0].parameters, **plan.parameters})
    # Written first, so that a folder that cannot be written is met before any work.
    write_atomically(options.out / "build" / name / "command.txt", " ".join(arguments) + "\n")
    out = options.out.resolve()
    cells = plan_cells(plan, books, data=data, build=out / "build")
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
