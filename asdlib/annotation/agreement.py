"""Agreement of an annotation with true attributes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.errors import InputError

Codes = npt.NDArray[np.int64]
METRICS = ("ari", "nmi", "v_measure", "purity")
#: Half of fewer clips than these is a single clip, which agrees with everything.
_FEWEST_HALVED = 4


def score_agreement(
    attributes: pd.DataFrame,
    truth: pd.DataFrame,
    clips: pd.DataFrame,
    *,
    n_halves: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two label tables by machine and domain, joined by ``clip_id``.

    Adjusted Rand index (0 = chance), normalised mutual information and V-measure (equal by
    definition for arithmetic means; both are listed since both are reported elsewhere) and
    purity (share of clips in the majority class of their label).

    Intervals come from random halves of the clips, drawn without replacement: around their
    mean, a statistic of half of the clips scatters as that of all of them does around the
    truth [1]_. A bootstrap would draw clips twice, which agree with themselves, and move
    chance above 0.

    Parameters
    ----------
    attributes : DataFrame
        ``clip_id, attribute``: the annotation.
    truth : DataFrame
        ``clip_id, attribute``: true attributes. Clips without truth are left out.
    clips : DataFrame
        Clip table: ``clip_id, machine_type, domain``.
    n_halves : int
        Halves drawn for the intervals.
    level : float
        Confidence level of the intervals.
    seed : int

    Returns
    -------
    DataFrame
        ``machine_type, domain, metric, value, ci_low, ci_high, n_clips, n_labels,
        n_true``; domain "all" counts both. NaN where a cell has fewer than two clips, or,
        in the interval, four. Empty where ``truth`` is.

    Raises
    ------
    InputError
        When a table lacks a column, lists a clip twice, or the truth covers none of the clips.

    References
    ----------
    .. [1] J. Shao, D. Tu, "The Jackknife and Bootstrap", Springer 1995, section 5.2 (random
           subsampling, the delete-d jackknife with d = n / 2).
    """
    for name, table in (("attributes", attributes), ("truth", truth)):
        missing = {"clip_id", "attribute"} - set(table.columns)
        if missing:
            raise InputError(f"{name} lacks the columns {', '.join(sorted(missing))}.")
        if table["clip_id"].duplicated().any():
            twice = table.loc[table["clip_id"].duplicated(), "clip_id"].iloc[0]
            raise InputError(f"{name} lists {twice} twice. Keep one row per clip.")
    joined = attributes[["clip_id", "attribute"]].merge(
        truth[["clip_id", "attribute"]].dropna(), on="clip_id", suffixes=("", "_true")
    )
    joined = joined.merge(clips[["clip_id", "machine_type", "domain"]], on="clip_id")
    if joined.empty and len(truth):
        raise InputError("No clip is in attributes, truth and clips alike. Check clip_id.")
    rows: list[tuple[object, ...]] = []
    for machine, group in joined.groupby("machine_type", sort=True):
        parts = [("all", group), *group.groupby(group["domain"].fillna("unknown"), sort=True)]
        for domain, part in parts:
            rows.extend(
                (machine, domain, *row)
                for row in _score(part, n_halves=n_halves, level=level, seed=seed)
            )
    columns = ["machine_type", "domain", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=[*columns, "n_clips", "n_labels", "n_true"])


def _score(
    part: pd.DataFrame, *, n_halves: int, level: float, seed: int
) -> list[tuple[object, ...]]:
    labels = pd.factorize(part["attribute"].fillna("none"))[0].astype(np.int64)
    true = pd.factorize(part["attribute_true"])[0].astype(np.int64)
    counts = (len(part), len(np.unique(labels)), len(np.unique(true)))
    if len(part) < 2:
        return [(metric, np.nan, np.nan, np.nan, *counts) for metric in METRICS]
    values = agreement(labels, true)
    rng = np.random.default_rng(seed)
    halves = [rng.permutation(len(part))[: len(part) // 2] for _ in range(n_halves)]
    draws = pd.DataFrame([agreement(labels[half], true[half]) for half in halves])
    tails = [(1 - level) / 2, (1 + level) / 2]
    rows: list[tuple[object, ...]] = []
    for metric in METRICS:
        deviation = (draws[metric] - draws[metric].mean()).quantile(tails).to_numpy()
        low, high = np.clip(values[metric] + deviation, -1.0 if metric == "ari" else 0.0, 1.0)
        if len(part) < _FEWEST_HALVED:
            low = high = np.nan
        rows.append((metric, values[metric], float(low), float(high), *counts))
    return rows


def agreement(labels: npt.ArrayLike, true: npt.ArrayLike) -> dict[str, float]:
    """Compute adjusted Rand index, NMI, V-measure and purity of two labellings.

    Examples
    --------
    >>> agreement([0, 0, 1, 1], [5, 5, 3, 3])
    {'ari': 1.0, 'nmi': 1.0, 'v_measure': 1.0, 'purity': 1.0}
    """
    table = _contingency(np.asarray(labels), np.asarray(true))
    n = table.sum()
    pairs = float((table * (table - 1)).sum()) / 2
    row_pairs = float((table.sum(1) * (table.sum(1) - 1)).sum()) / 2
    column_pairs = float((table.sum(0) * (table.sum(0) - 1)).sum()) / 2
    expected = row_pairs * column_pairs / max(n * (n - 1) / 2, 1)
    largest = (row_pairs + column_pairs) / 2
    ari = 1.0 if largest == expected else (pairs - expected) / (largest - expected)
    h_labels, h_true = _entropy(table.sum(1)), _entropy(table.sum(0))
    information = h_labels + h_true - _entropy(table.ravel())
    mean = (h_labels + h_true) / 2
    nmi = 1.0 if mean == 0 else max(0.0, information / mean)
    purity = float(table.max(axis=1).sum() / n)
    return {"ari": float(ari), "nmi": float(nmi), "v_measure": float(nmi), "purity": purity}


def _contingency(labels: npt.NDArray[np.generic], true: npt.NDArray[np.generic]) -> Codes:
    _, a = np.unique(labels, return_inverse=True)
    _, b = np.unique(true, return_inverse=True)
    width = int(b.max()) + 1
    counts = np.bincount(a * width + b, minlength=(int(a.max()) + 1) * width)
    return counts.reshape(-1, width).astype(np.int64)


def _entropy(counts: npt.NDArray[np.int64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def cross_table(attributes: pd.DataFrame, truth: pd.DataFrame, clip_ids: pd.Series) -> pd.DataFrame:
    """Count clips by artificial (rows) and true attribute (columns)."""
    joined = attributes.merge(truth[["clip_id", "attribute"]], on="clip_id", suffixes=("", "_true"))
    joined = joined[joined["clip_id"].isin(clip_ids)]
    return pd.crosstab(joined["attribute"], joined["attribute_true"])
