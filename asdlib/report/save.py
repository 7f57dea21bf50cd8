"""Write figures and tables, byte-stable, each with its sidecar."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from asdlib.files import file_hash, write_atomically
from asdlib.report.provenance import sidecar_text


def sidecar_path(path: Path) -> Path:
    """Give the path of a result's sidecar: the file name with ``.json`` behind it."""
    return path.with_name(path.name + ".json")


def write_sidecar(path: Path, *files: Path, provenance: dict[str, Any]) -> Path:
    """Write a sidecar that names its files with the first digits of their SHA-256."""
    hashes = {file.name: file_hash(file) for file in files}
    write_atomically(path, sidecar_text({**provenance, "sha256": hashes}))
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
    """Write a table as CSV (empty where unknown) as `save_text` does."""
    return save_text(table.to_csv(index=False), path, provenance=provenance)


def mark_as_simulated(figure: Figure) -> None:
    """Say in a figure's title that it shows simulated data, unless the title does already."""
    titled = [axes for axes in figure.axes if axes.get_title()]
    title = figure.get_suptitle() or (titled[0].get_title() if titled else "")
    if "simulated" in title.lower():
        return
    if figure.get_suptitle() or not titled:
        figure.suptitle(f"{title} (simulated)".strip())
    else:
        titled[0].set_title(f"{title} (simulated)")


def save_figure(figure: Figure, stem: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a figure as PNG and PDF with one sidecar; the same figure gives the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    stem : Path
        Path without suffix.
    provenance : dict
        What the sidecar says.

    Returns
    -------
    list of Path
        PNG, PDF and sidecar.
    """
    paths = []
    for suffix, stamps in ((".png", {"Software": None}), (".pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], metadata=stamps)
        path = stem.with_name(stem.name + suffix)
        write_atomically(path, buffer.getvalue())
        paths.append(path)
    sidecar = stem.with_name(f"{stem.name}.json")
    return [*paths, write_sidecar(sidecar, *paths, provenance=provenance)]
