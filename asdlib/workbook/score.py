"""Score submission folders against the truth: ours, other teams', the official baseline's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asdlib.base import PROJECT_ROOT, InputError, refuse_unknown
from asdlib.challenge import EDITIONS, reveal, truth_of_names
from asdlib.data import read_eval_truth
from asdlib.report.output import collect_provenance, save_table, save_text
from asdlib.report.tables import render_markdown, render_official, result_table
from asdlib.scoring import evaluate, official_table, published_figures, read_submission
from asdlib.workbook.datasets import truth_list
from asdlib.workbook.parameters import check_run_name


def score_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Score submission folders and print the official table; see ``help.txt``."""
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--name")
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
    parser.add_argument("--data-dir", type=Path, default=PROJECT_ROOT / "data")
    options = parser.parse_args(arguments)
    systems = _name_systems(options.folders)
    name = options.name or "score_" + "_".join(systems)
    check_run_name(name)
    submissions = {system: read_submission(folder) for system, folder in systems.items()}
    machines = {name for table in submissions.values() for name in table["machine_type"]}
    truth = _read_truth(options.truth, machines, options.data_dir.resolve())
    parts = [
        _with_truth(submissions[system], truth, folder).assign(system=system, seed=None)
        for system, folder in systems.items()
    ]
    _save(pd.concat(parts, ignore_index=True), options, name, truth)
    return 0


def _name_systems(folders: Sequence[Path]) -> dict[str, Path]:
    """Name systems after their folders, or the folder above where it is called ``submission``."""
    systems: dict[str, Path] = {}
    for folder in folders:
        resolved = folder.resolve()
        name = resolved.parent.name if resolved.name == "submission" else resolved.name
        if name in systems:
            raise InputError(f"{folder}: a second system called {name}. Rename one of the folders.")
        systems[name] = folder
    return systems


def _read_truth(name: str, machines: set[str], data_dir: Path) -> pd.DataFrame:
    """Read the list that ``--truth`` names; none is needed for development machines alone."""
    if name in EDITIONS:
        known = EDITIONS[name].machines
        own = [machine for names in known.values() for machine in names]
        refuse_unknown(sorted(machines), own, f"{name}: has no machine")
        if not machines & set(known["eval"]):
            return truth_of_names([], [])
    return read_eval_truth(truth_list(name, data_dir))


def _with_truth(submission: pd.DataFrame, truth: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Give the clips of a submission, by published or true names, their truth: a scores table.

    Refuses evaluation machines whose clips are not exactly those of the list.
    """
    names = submission["clip_id"].str.rsplit("/", n=1).str[-1]
    published = truth.set_index(["machine_type", "true_name"])["file_name"]
    known = [
        published.get(key, key[1]) for key in zip(submission["machine_type"], names, strict=True)
    ]
    table = submission.assign(file_name=names, published=known, domain=None, is_anomaly=None)
    table["clip_id"] = table["machine_type"] + "/test/" + table["published"]
    for machine_type, own in truth.groupby("machine_type"):
        listed = set(own["file_name"])
        found = set(table.loc[table["machine_type"].eq(machine_type), "published"])
        missing, more = sorted(listed - found), sorted(found - listed)
        if found and (missing or more):
            raise InputError(
                f"{folder}: of {machine_type} {len(missing)} of {len(listed)} clips are missing "
                f"and {len(more)} are unknown, such as {[*missing, *more][0]}. Expected exactly "
                "the clips of the list."
            )
    named = table[~table["machine_type"].isin(truth["machine_type"])]
    own_truth = truth_of_names(named["machine_type"].tolist(), named["file_name"].tolist())
    return reveal(reveal(table, truth), own_truth).drop(columns=["file_name", "published"])


def _save(
    scores: pd.DataFrame, options: argparse.Namespace, name: str, truth: pd.DataFrame
) -> None:
    folder = options.out.resolve() / "results" / name
    provenance = collect_provenance(
        command="score", folders=[str(path) for path in options.folders], truth=options.truth
    )
    metrics = evaluate(scores)
    officials = {
        system: official_table(rows) for system, rows in scores.groupby("system", sort=False)
    }
    official = pd.concat(officials, names=["system"]).reset_index("system")
    machines, listed = set(scores["machine_type"]), set(truth["machine_type"])
    table = result_table(metrics, published=_published(options.truth, machines, scores))
    missing = ", ".join(sorted(listed - machines)) if machines & listed else ""
    notes = (f"Machines of the list without scores: {missing}; means run without them.",)
    title = f"{name}: scored against {Path(options.truth).name}"
    text = render_markdown(table, title=title, notes=notes if missing else ())
    text += render_official(official)
    parts = {"scores": scores, "metrics": metrics, "official": official, "table": table}
    for stem, part in parts.items():
        save_table(part, folder / f"{stem}.csv", provenance=provenance)
    save_text(text, folder / "table.md", provenance=provenance)
    sys.stdout.write(f"\n{text}\ntables     {folder}\n")


def _published(truth: str, machines: set[str], scores: pd.DataFrame) -> pd.DataFrame | None:
    if truth not in EDITIONS:
        return None
    subsets = [name for name, known in EDITIONS[truth].machines.items() if machines & set(known)]
    published = published_figures(truth, subsets)
    return published[~published["system"].isin(scores["system"])]
