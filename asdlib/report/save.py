"""Write figures and tables, byte-stable, each with its sidecar."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from asdlib.files import write_atomically
from asdlib.report.provenance import sidecar_text


def save_text(text: str, path: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a text file and its sidecar ``<stem>.json``; returns both paths."""
    sidecar = path.with_suffix(".json")
    write_atomically(path, text)
    write_atomically(sidecar, sidecar_text(provenance))
    return [path, sidecar]


def save_table(table: pd.DataFrame, path: Path, *, provenance: dict[str, Any]) -> list[Path]:
    """Write a table as CSV (empty where unknown) and its sidecar; returns both paths."""
    return save_text(table.to_csv(index=False, float_format="%.6g"), path, provenance=provenance)


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
    sidecar = stem.with_name(stem.name + ".json")
    write_atomically(sidecar, sidecar_text(provenance))
    return [*paths, sidecar]

