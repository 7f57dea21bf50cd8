"""Published figures of DCASE Task 2, as tables with sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asdlib.scoring.evaluation import CELL_METRICS
from asdlib.scoring.metrics import harmonic_mean

MACHINES_2025_DEV = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")

REPORT = "report (Chu and Qian)"
BASELINE_MSE = "baseline MSE"
BASELINE_MAHALANOBIS = "baseline Mahalanobis"

_SOURCES = {
    REPORT: "F. Chu and M. Qian, DCASE 2025 Challenge technical report, table 2",
    BASELINE_MSE: "DCASE 2025 Challenge Task 2, official autoencoder baseline, mean squared error",
    BASELINE_MAHALANOBIS: "DCASE 2025 Challenge Task 2, official autoencoder baseline, "
    "selective Mahalanobis distance",
}
#: Percent; AUC source, AUC target, pAUC of every machine, in the order of MACHINES_2025_DEV.
_CELLS_PERCENT = {
    REPORT: [
        (94.30, 77.02, 57.32),
        (59.18, 63.24, 50.05),
        (57.08, 62.68, 52.47),
        (54.78, 53.70, 50.74),
        (79.92, 78.44, 64.68),
        (74.24, 61.68, 52.89),
        (79.28, 84.04, 65.11),
    ],
    BASELINE_MSE: [
        (71.05, 53.52, 49.70),
        (61.76, 56.46, 50.19),
        (66.53, 53.15, 61.12),
        (70.96, 38.75, 49.46),
        (64.80, 50.49, 52.49),
        (70.10, 48.77, 52.32),
        (63.53, 67.18, 57.35),
    ],
    BASELINE_MAHALANOBIS: [
        (73.17, 50.91, 49.05),
        (50.87, 46.15, 48.32),
        (63.63, 59.03, 61.86),
        (77.99, 38.56, 50.82),
        (73.26, 51.61, 55.07),
        (73.79, 50.27, 53.61),
        (56.22, 61.00, 52.53),
    ],
}
#: Percent; harmonic mean of every machine, and official score.
_MEANS_PERCENT = {
    "Yang (from scratch)": ((59.26, 62.16, 53.17, 57.60, 69.84, 65.55, 67.14), 61.62),
    "Wang (pre-trained, winner)": ((57.90, 62.96, 53.72, 54.97, 65.84, 59.51, 77.32), 60.93),
    "GenRep (frozen encoder)": ((63.47, 70.53, 63.48, 55.23, 61.41, 63.52, 78.98), 64.53),
    "best ensemble": ((61.10, 67.31, 64.38, 59.79, 76.86, 74.25, 88.39), 69.12),
}
_COLUMNS = ["system", "machine_type", "metric", "value", "source"]
_EVAL_FILE = Path(__file__).with_name("published_eval.csv")
_MEANS_SOURCE = "DCASE 2025 Challenge Task 2 technical reports, development set"


def published_2025_dev() -> pd.DataFrame:
    """Figures that others published on the 2025 development set.

    Returns
    -------
    DataFrame
        ``system, machine_type, metric, value, source``; values 0 to 1. The report and both
        official baselines with all their cells, their means computed from the cells; other
        systems with the harmonic mean per machine and the official score only.
    """
    rows: list[tuple[str, str, str, float, str]] = []
    for system, percent in _CELLS_PERCENT.items():
        cells = pd.DataFrame(percent, MACHINES_2025_DEV, CELL_METRICS) / 100.0
        rows += _cell_rows(system, cells, _SOURCES[system])
    for system, (means, official) in _MEANS_PERCENT.items():
        for machine_type, mean in zip(MACHINES_2025_DEV, means, strict=True):
            rows.append((system, machine_type, "hmean", mean / 100.0, _MEANS_SOURCE))
        rows.append((system, "all", "official_score", official / 100.0, _MEANS_SOURCE))
    return pd.DataFrame(rows, columns=_COLUMNS)


def published_eval(edition: str) -> pd.DataFrame:
    """Figures of both official baselines on the evaluation set of a year.

    Parameters
    ----------
    edition : str
        ``dcase2023`` to ``dcase2026``; the table is empty for any other.

    Returns
    -------
    DataFrame
        As `published_2025_dev`: every cell as the organisers' evaluator prints it, and the
        means computed from the cells.
    """
    table = pd.read_csv(_EVAL_FILE)
    table = table[table["edition"] == edition]
    rows: list[tuple[str, str, str, float, str]] = []
    for system, cells in table.groupby("system", sort=False):
        source = (
            f"DCASE {edition.removeprefix('dcase')} Challenge Task 2, official autoencoder "
            f"{system}, evaluation set, documentation of the organisers' evaluator"
        )
        by_machine = cells.set_index("machine_type")[list(CELL_METRICS)]
        rows += _cell_rows(str(system), by_machine, source)
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"value": float})


def published_figures(edition: str, subsets: Sequence[str]) -> pd.DataFrame:
    """All published figures that may stand beside a run on a year's real data.

    Parameters
    ----------
    edition : str
        ``dcase2023`` to ``dcase2026``.
    subsets : sequence of str
        ``dev``, ``eval`` or both; with both, means over all machines are left out, because
        nobody published them over both.

    Returns
    -------
    DataFrame
        As `published_2025_dev`; empty where nothing is known here.
    """
    parts = []
    if "dev" in subsets and edition == "dcase2025":
        parts.append(published_2025_dev())
    if "eval" in subsets:
        parts.append(published_eval(edition))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)
    return table[table["machine_type"] != "all"] if len(subsets) > 1 else table


def _cell_rows(
    system: str, cells: pd.DataFrame, source: str
) -> list[tuple[str, str, str, float, str]]:
    """Rows of all cells, machine by machine, and of their harmonic means."""
    values = cells.to_numpy(dtype=float)
    rows = []
    for machine_type, row in zip(cells.index, values, strict=True):
        named = {**dict(zip(CELL_METRICS, row, strict=True)), "hmean": harmonic_mean(row)}
        rows += [(system, str(machine_type), m, float(v), source) for m, v in named.items()]
    means = dict(zip(CELL_METRICS, harmonic_mean(values, axis=0), strict=True))
    means["official_score"] = harmonic_mean(values.ravel())
    rows += [(system, "all", metric, float(value), source) for metric, value in means.items()]
    return rows


def is_dcase2025_dev(clips: pd.DataFrame) -> bool:
    """Tell whether a clip table is the real 2025 development set, whole or some of its machines.

    Published figures may stand beside a run only then. A machine counts as real when it has
    the released name and counts: 990 source and 10 target training clips, and 50 test clips
    per domain and condition.

    Parameters
    ----------
    clips : DataFrame
        Clip table, or any table with ``machine_type, split, domain, is_anomaly``.

    Returns
    -------
    bool
    """
    names = set(clips["machine_type"].unique())
    if not names or not names <= set(MACHINES_2025_DEV):
        return False
    used = clips[clips["split"].isin(["train", "test"])]
    keys = ["machine_type", "split", "domain", "is_anomaly"]
    counts = used.groupby(keys, dropna=False, observed=True).size()
    expected = {
        (name, split, domain, is_anomaly): size
        for name in names
        for split, domain, is_anomaly, size in (
            ("train", "source", False, 990),
            ("train", "target", False, 10),
            ("test", "source", False, 50),
            ("test", "source", True, 50),
            ("test", "target", False, 50),
            ("test", "target", True, 50),
        )
    }
    return counts.to_dict() == expected
