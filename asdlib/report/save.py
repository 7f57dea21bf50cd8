"""Write figures, tables and texts, byte-stable, each with a sidecar that says whence it comes."""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from asdlib.base import PROJECT_ROOT, file_hash, write_atomically
from asdlib.report.style import wrapped_title

_PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-learn", "librosa", "matplotlib")
#: Texts that a spreadsheet would run as a formula; +3, -3.5 and names such as "-pump" it would not.
_FORMULA = re.compile(r"[=@\t\r]|[+-](?![\w .+-]*$)")


@cache
def package_versions() -> dict[str, str]:
    """Installed versions of the packages that shape results, and of Python."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def collect_provenance(**facts: Any) -> dict[str, Any]:
    """Join JSON-serialisable facts of a run with the state of code, packages and clock."""
    return {
        **facts,
        "git": _git_state(),
        "versions": package_versions(),
        "platform": platform.machine(),
        "utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _git_state() -> dict[str, Any]:
    """Commit of the code and whether tracked files differ from it; None outside git."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(PROJECT_ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        # Results are rewritten by every run, so they do not make the code "dirty".
        changed = ask("status", "--porcelain", "--untracked-files=no", "--", "asdlib", "notebooks")
        return {"commit": ask("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def shown_path(path: Path) -> str:
    """Give a path as results may show it: relative to the project where it lies inside it."""
    resolved = path.resolve()
    if resolved.is_relative_to(PROJECT_ROOT):
        return resolved.relative_to(PROJECT_ROOT).as_posix()
    return resolved.as_posix()


def sidecar_path(path: Path) -> Path:
    """Give the path of a result's sidecar: the file name with ``.json`` behind it."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, *files: Path, provenance: dict[str, Any]) -> Path:
    """Write a sidecar that names its files with the first digits of their SHA-256."""
    facts = {**provenance, "sha256": {file.name: file_hash(file) for file in files}}
    write_atomically(path, json.dumps(facts, indent=1, sort_keys=True, default=str) + "\n")
    return path


def was_edited(path: Path) -> bool:
    """Whether a result exists and differs from what its sidecar says was written."""
    sidecar = sidecar_path(path)
    if not path.exists() or not sidecar.exists():
        return path.exists()
    return bool(json.loads(sidecar.read_text())["sha256"].get(path.name) != file_hash(path))


def save_text(text: str, path: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a text file and its sidecar; returns both paths.

    A file that somebody changed by hand since it was written is not lost: it is kept beside
    the new one with ``_edited`` behind its stem, and its path is the third that is returned.
    """
    kept = []
    if was_edited(path) and path.read_text(encoding="utf-8") != text:
        kept = [path.replace(path.with_name(f"{path.stem}_edited{path.suffix}"))]
    write_atomically(path, text)
    return [path, write_sidecar(sidecar_path(path), path, provenance=provenance), *kept]


def save_table(table: pd.DataFrame, path: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a table as CSV (empty where unknown) as `save_text` does.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.
    """
    harmless = table.copy(deep=False)
    for name in table.select_dtypes(exclude=["number", "bool"]):
        texts = table[name].astype(object)
        is_formula = texts.map(lambda text: isinstance(text, str) and bool(_FORMULA.match(text)))
        if is_formula.any():
            harmless[name] = texts.mask(is_formula, "'" + texts.astype("string"))
    return save_text(harmless.to_csv(index=False), path, provenance=provenance)


def save_figure(
    figure: Figure, stem: Path, *, provenance: dict[str, Any], is_simulated: bool
) -> list[Path]:
    """Write a figure as PNG and PDF with one sidecar and close it; returns the three paths.

    The same figure gives the same bytes: a PDF that was written with the same picture, by the same
    packages, stays. What shows simulated data says so in its title and begins with ``simulated_``.
    ``stem`` is the path without suffix.
    """
    if is_simulated:
        _mark_as_simulated(figure)
        stem = stem.with_name(f"simulated_{stem.name}")
    picture, drawing, sidecar = (
        stem.with_name(stem.name + end) for end in (".png", ".pdf", ".json")
    )
    _write_figure(figure, picture, {"Software": None})
    if not _is_of(sidecar, picture, drawing, versions=provenance.get("versions")):
        with plt.rc_context({"figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)  # arranged once: the PDF follows the PNG
        _write_figure(figure, drawing, {"CreationDate": None})
    plt.close(figure)
    return [picture, drawing, write_sidecar(sidecar, picture, drawing, provenance=provenance)]


def _write_figure(figure: Figure, path: Path, stamps: dict[str, None]) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], metadata=stamps)
    write_atomically(path, buffer.getvalue())


def _is_of(sidecar: Path, *files: Path, versions: object) -> bool:
    """Whether files are what a sidecar names, and were made by these versions of packages."""
    try:
        facts = json.loads(sidecar.read_text())
        same = facts["sha256"] == {file.name: file_hash(file) for file in files}
        return bool(same and facts["versions"] == versions)
    except (OSError, ValueError, KeyError):
        return False


def _mark_as_simulated(figure: Figure) -> None:
    """Say in a figure's title that it shows simulated data, unless the title does already."""
    titled = [axes for axes in figure.axes if axes.get_title()]
    title = figure.get_suptitle() or (titled[0].get_title() if titled else "")
    if "simulated" in title.lower():
        return
    marked = f"{title} (simulated)".strip()
    if titled and not figure.get_suptitle():
        titled[0].set_title(wrapped_title(figure, marked))
        return
    above = [text for text in figure.texts if text.get_text() == title]
    marked = wrapped_title(figure, marked)
    if above:
        above[0].set_text(marked)  # where it stands
    else:
        figure.suptitle(marked)
