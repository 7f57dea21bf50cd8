"""Tables of notebook 02: agreement of labellings with the truth, each value with its interval."""

from __future__ import annotations

import math

import pandas as pd

_NAMES = {"nmi": "NMI", "ari": "ARI", "v_measure": "V-measure", "purity": "purity"}


def tabulate_agreement(scores: pd.DataFrame) -> pd.DataFrame:
    """Lay out the agreement of one labelling, a row per machine and domain.

    Parameters
    ----------
    scores : DataFrame
        As `asdlib.annotation.score_agreement` gives them.

    Returns
    -------
    DataFrame
        Index ``machine_type, domain``; number of clips, labels and true attributes, then each
        measure as text, ``value [low, high]``.
    """
    keys = ["machine_type", "domain"]
    if scores.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=keys))
    counts = scores.groupby(keys)[["n_clips", "n_labels", "n_true"]].first()
    texts = _with_interval(scores).pivot_table(
        index=keys, columns="metric", values="text", aggfunc="first"
    )
    named = texts[list(_NAMES)].rename(columns=_NAMES).rename_axis(columns=None)
    return counts.join(named)


def compare_labellings(scores: pd.DataFrame, *, metric: str) -> pd.DataFrame:
    """Lay out one measure of several labellings side by side.

    Parameters
    ----------
    scores : DataFrame
        Rows of `asdlib.annotation.score_agreement` with a column ``labelling``.
    metric : {"nmi", "ari", "v_measure", "purity"}

    Returns
    -------
    DataFrame
        Index ``machine_type, domain``, a column per labelling in order of appearance, text
        ``value [low, high]``.
    """
    chosen = _with_interval(scores[scores["metric"] == metric])
    table = chosen.pivot_table(
        index=["machine_type", "domain"], columns="labelling", values="text", aggfunc="first"
    )
    order = list(dict.fromkeys(chosen["labelling"]))
    return table.reindex(columns=order).rename_axis(columns=_NAMES[metric])


def _with_interval(scores: pd.DataFrame) -> pd.DataFrame:
    """Add the text ``value [low, high]``; three clips or fewer have a value alone, or a dash."""
    texts = []
    for value, low, high in scores[["value", "ci_low", "ci_high"]].to_numpy(dtype=float):
        text = "—" if math.isnan(value) else f"{value:.2f}"
        texts.append(text if math.isnan(low) else f"{text} [{low:.2f}, {high:.2f}]")
    return scores.assign(text=texts)
