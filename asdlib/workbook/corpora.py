"""The recordings that a call of the command line means: they are there, or they are simulated."""

from __future__ import annotations

from pathlib import Path

from asdlib.data.layout import find_machines
from asdlib.data.simulate import MACHINES, SIZES, finished_machines, write_corpus
from asdlib.errors import InputError
from asdlib.report.progress import progress_bar
from asdlib.report.provenance import PROJECT_ROOT


def corpus_folder(size: str) -> Path:
    """Folder of the project's own simulated corpus of a size."""
    return PROJECT_ROOT / "data" / f"simulated_{size}"


def ensure_corpus(size: str, machines: list[str] | None = None) -> None:
    """Generate what is missing of these machines (default: all) of the simulated corpus."""
    folder = corpus_folder(size)
    there, wanted = finished_machines(folder), set(machines or MACHINES)
    if wanted <= there:
        return
    plan = SIZES[size]
    per_machine = plan.train_source + plan.train_target + 4 * plan.test + plan.supplemental
    with progress_bar(len(wanted | there) * per_machine, "simulated corpus") as bar:
        write_corpus(folder, size=size, machines=sorted(wanted), on_progress=bar.update)


def check_machines(data: Path, machines: list[str] | None) -> None:
    """Refuse machine types that the recordings lack."""
    there = sorted(find_machines(data))
    unknown = sorted(set(machines or []) - set(there))
    if unknown:
        raise InputError(
            f"--machines {','.join(unknown)}: not in {data}. There are: {', '.join(there)}."
        )


def no_such_folder(data: Path) -> str:
    """Say that the data folder is not there, and which folders are."""
    place = next(parent for parent in data.absolute().parents if parent.is_dir())
    folders = sorted(path.name for path in place.iterdir() if path.is_dir())
    shown = ", ".join(folders[:10]) + (", ..." if len(folders) > 10 else "")
    return (
        f"--data {data}: expected an existing folder of recordings. "
        f"In {place} there are: {shown or 'no folders'}."
    )
