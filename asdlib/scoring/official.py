"""The organisers' result table: AUC, pAUC, precision, recall and F1 with all their means."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.errors import InputError
from asdlib.scoring.metrics import auc, pauc
from asdlib.scoring.scores import validate_scores

FloatArray = npt.NDArray[np.float64]

OFFICIAL_METRICS = ("auc", "pauc", "precision", "recall", "f1")
OFFICIAL_COLUMNS = ["machine_type", "section", "row", *OFFICIAL_METRICS, "n_normal", "n_anomaly"]
DOMAINS = ("source", "target")
#: The organisers put this in place of smaller values before a harmonic mean.
_SMALLEST = sys.float_info.epsilon


def official_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Compute the table that the organisers' evaluator prints, for one system and seed.

    Of a domain: ``auc`` of its normal clips against the anomalous clips of both domains;
    precision, recall and F1 of the decisions on the clips of that domain alone, 0 where their
    denominator is 0. ``pauc`` is that of all clips of the machine and stands in both rows. Means
    run over the rows of both domains, or of one; a harmonic mean takes values below the smallest
    positive step of a double near one for that step.

    Parameters
    ----------
    scores : DataFrame
        Scores table with the truth of its test clips (`asdlib.scoring.validate_scores`).

    Returns
    -------
    DataFrame
        ``OFFICIAL_COLUMNS``; values 0 to 1. ``row`` is ``source``, ``target`` or a mean; the
        machine ``all`` has the means over all machines and sections, and ``official score``, which
        stands in the column ``auc``. Without decisions precision, recall and F1 are NaN.

    Raises
    ------
    InputError
        When there are several systems, the truth of a clip is unknown, or a machine lacks
        normal clips of a domain or anomalous ones.

    References
    ----------
    T. Nishida et al., "Description and discussion on DCASE 2025 challenge task 2", 2025,
    arXiv:2506.10097; the organisers' evaluator of each year.
    """
    table = validate_scores(scores)
    runs = table[["system", "seed"]].drop_duplicates()
    if len(runs) > 1:
        raise InputError(f"The scores hold {len(runs)} systems and seeds; expected one.")
    test = table[table["split"].eq("test")]
    unknown = test["is_anomaly"].isna() | test["domain"].isna()
    if unknown.any():
        raise InputError(
            f"{test.loc[unknown, 'clip_id'].iloc[0]}: its domain or condition is unknown "
            f"({unknown.sum()} clips). Name the list that tells it (--truth)."
        )
    rows: list[tuple[object, ...]] = []
    halves: list[_Half] = []
    for (machine_type, section), clips in test.groupby(["machine_type", "section"], dropna=False):
        both = [_half(clips, domain) for domain in DOMAINS]
        rows += [(machine_type, section, *half.row) for half in [*both, *_means(both)]]
        halves += both
    rows += [("all", "", *half.row) for half in _means(halves)]
    # The AUC of both domains and, once per machine, the pAUC.
    each = [half.figures[0] for half in halves] + [half.figures[1] for half in halves[::2]]
    score = _Half("official score", np.full(5, np.nan), *_total(halves))
    score.figures[0] = _harmonic(np.array(each))
    rows.append(("all", "", *score.row))
    return pd.DataFrame(rows, columns=OFFICIAL_COLUMNS)


@dataclass(frozen=True)
class _Half:
    """The figures of one domain of one machine, or a mean of such; shape (5,)."""

    name: str
    figures: FloatArray
    n_normal: int
    n_anomaly: int

    @property
    def row(self) -> tuple[object, ...]:
        return (self.name, *self.figures.tolist(), self.n_normal, self.n_anomaly)


def _half(clips: pd.DataFrame, domain: str) -> _Half:
    score = clips["anomaly_score"].to_numpy()
    anomalous = clips["is_anomaly"].to_numpy(dtype=bool)
    own = clips["domain"].eq(domain).to_numpy(dtype=bool)
    normal = own & ~anomalous
    if not normal.any() or not anomalous.any():
        what = "anomalous clips" if normal.any() else f"normal clips of the domain {domain}"
        raise InputError(
            f"{clips['machine_type'].iloc[0]}: has no {what}; the official table needs them."
        )
    used = own | anomalous
    decided = clips["is_decided_anomalous"]
    quality = (np.nan, np.nan, np.nan)
    if decided.notna().all():
        quality = _decision_quality(anomalous[own], decided.to_numpy(dtype=bool)[own])
    values = (auc(score[used], anomalous[used]), pauc(score, anomalous), *quality)
    return _Half(domain, np.array(values), int(normal.sum()), int(anomalous.sum()))


def _decision_quality(
    anomalous: npt.NDArray[np.bool_], decided: npt.NDArray[np.bool_]
) -> tuple[float, float, float]:
    """Precision, recall and F1 of decisions, 0 where nothing could be counted."""
    hits = float(np.sum(anomalous & decided))
    precision = hits / max(float(decided.sum()), _SMALLEST)
    recall = hits / max(float(anomalous.sum()), _SMALLEST)
    return precision, recall, 2.0 * precision * recall / max(precision + recall, _SMALLEST)


def _means(halves: list[_Half]) -> list[_Half]:
    """Compute the organisers' four means over domains (and machines)."""
    source, target = ([half for half in halves if half.name == domain] for domain in DOMAINS)
    parts = {
        "arithmetic mean": halves,
        "harmonic mean": halves,
        "source harmonic mean": source,
        "target harmonic mean": target,
    }
    means = []
    for name, part in parts.items():
        values = np.array([half.figures for half in part])
        mean = values.mean(axis=0) if name == "arithmetic mean" else _harmonic(values)
        means.append(_Half(name, mean, sum(half.n_normal for half in part), _total(halves)[1]))
    return means


def _total(halves: list[_Half]) -> tuple[int, int]:
    """Count normal and anomalous clips; both halves of a machine share the latter."""
    return sum(half.n_normal for half in halves), sum(half.n_anomaly for half in halves[::2])


def _harmonic(values: FloatArray) -> FloatArray:
    floored = np.maximum(values, _SMALLEST)
    return np.asarray(len(floored) / np.sum(1.0 / floored, axis=0))
