"""The organisers' figures: their result table for a system, and what was published.

The official score of DCASE Task 2 is the harmonic mean of all machine x {AUC source, AUC target,
pAUC} cells; the cells are those of `asdlib.scoring.evaluate`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from asdlib.errors import InputError
from asdlib.scoring.evaluation import CELL_METRICS, section_cells
from asdlib.scoring.metrics import harmonic_mean
from asdlib.scoring.scores import one_run

FloatArray = npt.NDArray[np.float64]

OFFICIAL_METRICS = ("auc", "pauc", "precision", "recall", "f1")
OFFICIAL_COLUMNS = ["machine_type", "section", "row", *OFFICIAL_METRICS, "n_normal", "n_anomaly"]
MACHINES_2025_DEV = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")
_DOMAINS = ("source", "target")
#: The organisers put this in place of smaller values before a harmonic mean.
_SMALLEST = sys.float_info.epsilon
_PUBLISHED = Path(__file__).with_name("published.csv")
_REPORTS = "DCASE 2025 Challenge Task 2 technical reports, development set"
_DEV_SOURCES = {
    "report (Chu and Qian)": "F. Chu and M. Qian, DCASE 2025 Challenge technical report, table 2",
    "baseline MSE": "DCASE 2025 Challenge Task 2, official autoencoder baseline, mean squared "
    "error",
    "baseline Mahalanobis": "DCASE 2025 Challenge Task 2, official autoencoder baseline, "
    "selective Mahalanobis distance",
}
#: Released clips of a machine by split, domain and condition (anomalous or not).
_RELEASED_2025_DEV = {
    ("train", "source", False): 990,
    ("train", "target", False): 10,
    **{("test", domain, is_anomaly): 50 for domain in _DOMAINS for is_anomaly in (False, True)},
}


def official_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Compute the table that the organisers' evaluator prints, for one system and seed.

    ``auc``: normal clips of a domain against the anomalous ones of both; precision, recall, F1:
    that domain alone; ``pauc``: all clips, in both rows. ``official score`` stands in the column
    ``auc`` of machine ``all``. Unknown truth is refused. T. Nishida et al., arXiv:2506.10097.
    """
    table = one_run(scores)
    test = table[table["split"].eq("test")]
    unknown = test["is_anomaly"].isna() | test["domain"].isna()
    if unknown.any():
        raise InputError(
            f"{test.loc[unknown, 'clip_id'].iloc[0]}: its domain or condition is unknown "
            f"({unknown.sum()} clips). Name the list that tells it (--truth)."
        )
    parts = []
    machines = [clips for _, clips in test.groupby(["machine_type", "section"], dropna=False)]
    halves = [_halves(clips) for clips in machines]
    for clips, both in zip(machines, halves, strict=True):
        own = pd.concat([both, _means(both)], ignore_index=True)
        parts.append(own.assign(**clips.iloc[0][["machine_type", "section"]]))
    every = pd.concat(halves, ignore_index=True)
    official = _total(every, row="official score")
    # The AUC of both domains and, once per machine, the pAUC.
    official["auc"] = _harmonic(np.concatenate([every["auc"], every["pauc"][::2]]))
    of_all = pd.concat([_means(every), pd.DataFrame([official])], ignore_index=True)
    parts.append(of_all.assign(machine_type="all", section=""))
    return pd.concat(parts, ignore_index=True)[OFFICIAL_COLUMNS]


def _halves(clips: pd.DataFrame) -> pd.DataFrame:
    """Figures of both domains of one machine's test clips."""
    machine_type = clips["machine_type"].iloc[0]
    *areas, partial = section_cells(clips, name=machine_type)
    rows = []
    for domain, area in zip(_DOMAINS, areas, strict=True):
        if not area.is_computed:
            what = "anomalous clips" if area.n_normal else f"normal clips of the domain {domain}"
            raise InputError(f"{machine_type}: has no {what}; the official table needs them.")
        quality = _decision_quality(clips[clips["domain"].eq(domain)])
        figures = (area.draws[0], partial.draws[0], *quality)
        rows.append((domain, *figures, area.n_normal, area.n_anomaly))
    return pd.DataFrame(rows, columns=OFFICIAL_COLUMNS[2:])


def _decision_quality(clips: pd.DataFrame) -> list[float]:
    """Precision, recall and F1 of decisions, 0 where nothing could be counted."""
    if clips["is_decided_anomalous"].isna().any():
        return [np.nan] * 3
    truth, decided = clips["is_anomaly"].astype(bool), clips["is_decided_anomalous"].astype(bool)
    quality = precision_recall_fscore_support(truth, decided, average="binary", zero_division=0)
    return list(quality[:3])


def _means(halves: pd.DataFrame) -> pd.DataFrame:
    """Compute the organisers' four means over domains (and machines)."""
    rows = []
    for name in ("arithmetic mean", "harmonic mean", *(f"{d} harmonic mean" for d in _DOMAINS)):
        part = halves[halves["row"].eq(name.split()[0])] if name.split()[0] in _DOMAINS else halves
        mean = np.mean if name.startswith("arithmetic") else _harmonic
        figures = {metric: mean(part[metric].to_numpy()) for metric in OFFICIAL_METRICS}
        total = {**_total(halves, row=name), "n_normal": part["n_normal"].sum()}
        rows.append({**total, **figures})
    return pd.DataFrame(rows)


def _total(halves: pd.DataFrame, *, row: str) -> dict[str, Any]:
    """Count normal and anomalous clips; both halves of a machine share the latter."""
    counts = {"n_normal": halves["n_normal"].sum(), "n_anomaly": halves["n_anomaly"][::2].sum()}
    return {"row": row, **dict.fromkeys(OFFICIAL_METRICS, np.nan), **counts}


def _harmonic(values: FloatArray) -> float:
    floored = np.maximum(values, _SMALLEST)
    return float(len(floored) / np.sum(1.0 / floored))


def published_figures(edition: str, subsets: Sequence[str]) -> pd.DataFrame:
    """Read the published figures of an edition: ``system, machine_type, metric, value, source``.

    Known cells and their means; of other systems the harmonic mean per machine and the official
    score. With ``dev`` and ``eval`` no mean over all machines, which nobody published.
    """
    table = pd.read_csv(_PUBLISHED)
    table = table[table["edition"].eq(edition) & table["subset"].isin(subsets)]
    parts = []
    for (subset, system), cells in table.groupby(["subset", "system"], sort=False):
        source = _DEV_SOURCES.get(str(system), _REPORTS)
        if subset == "eval":
            source = (
                f"DCASE {edition.removeprefix('dcase')} Challenge Task 2, official autoencoder "
                f"{system}, evaluation set, documentation of the organisers' evaluator"
            )
        rows = _mean_rows(cells) if cells["pauc"].isna().all() else _cell_rows(cells)
        part = pd.DataFrame(rows, columns=["machine_type", "metric", "value"])
        parts.append(part.assign(system=str(system), source=source))
    columns = ["system", "machine_type", "metric", "value", "source"]
    if not parts:
        return pd.DataFrame(columns=columns).astype({"value": float})
    published = pd.concat(parts, ignore_index=True)[columns]
    return published[published["machine_type"] != "all"] if len(subsets) > 1 else published


def _cell_rows(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    """All cells, machine by machine, and their harmonic means."""
    values = table[list(CELL_METRICS)].to_numpy(dtype=float)
    rows = []
    for machine_type, cells in zip(table["machine_type"], values, strict=True):
        rows += [(machine_type, *cell) for cell in zip(CELL_METRICS, cells, strict=True)]
        rows.append((machine_type, "hmean", float(harmonic_mean(cells))))
    means = harmonic_mean(values, axis=0)
    rows += [("all", *cell) for cell in zip(CELL_METRICS, means, strict=True)]
    return [*rows, ("all", "official_score", float(harmonic_mean(values.ravel())))]


def _mean_rows(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    return [
        (machine_type, "official_score" if machine_type == "all" else "hmean", value)
        for machine_type, value in zip(table["machine_type"], table["hmean"], strict=True)
    ]


def is_dcase2025_dev(clips: pd.DataFrame) -> bool:
    """Tell whether a clip table is the real 2025 development set, whole or some of its machines.

    Real is a machine of a released name with 990 source, 10 target and 50 test clips per domain and
    condition: only then may published figures stand beside a run.
    """
    names = set(clips["machine_type"].unique())
    if not names or not names <= set(MACHINES_2025_DEV):
        return False
    used = clips[clips["split"].isin(["train", "test"])]
    keys = ["machine_type", "split", "domain", "is_anomaly"]
    counts = used.groupby(keys, dropna=False, observed=True).size().to_dict()
    return counts == {
        (name, *kind): size for name in names for kind, size in _RELEASED_2025_DEV.items()
    }
