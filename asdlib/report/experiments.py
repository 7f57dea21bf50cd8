"""Finished sweeps, read back from their tables, and what they allow to say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asdlib.errors import InputError
from asdlib.scoring import DIFFERENCE_COLUMNS


def read_sweeps(results: Path, *, names: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
    """Read the tables of finished sweeps.

    Parameters
    ----------
    results : Path
        Folder with a folder for every run and sweep.
    names : sequence of str
        Sweeps to read; empty for all that are there.

    Returns
    -------
    dict of str to DataFrame
        ``variant, group, system`` and the columns of
        :func:`asdlib.scoring.paired_differences`, by the sweep's name; the reference is the
        variant without differences.

    Raises
    ------
    InputError
        When a sweep is named that is not there, or a table lacks a column.
    """
    found = {path.parent.name: path for path in sorted(results.glob("*/sweep.csv"))}
    missing = sorted(set(names) - set(found))
    if missing:
        raise InputError(
            f"sweep {missing[0]}: {results} has no table of it. There are: "
            f"{', '.join(found) or 'none'}. ./run_all.sh sweep FILE makes one."
        )
    return {name: _read(found[name]) for name in (names or found)}


def findings(table: pd.DataFrame) -> list[str]:
    """Say which variants change the official score, and which cannot be told from none.

    Parameters
    ----------
    table : DataFrame
        A sweep's table as from `read_sweeps`.

    Returns
    -------
    list of str
        Sentences: gains, losses (largest first, in points of 0.01 with their intervals), and
        what the intervals leave open.
    """
    whole = table[(table["machine_type"] == "all") & (table["metric"] == "official_score")]
    rows = whole[whole["difference"].notna()]
    reference = whole[whole["difference"].isna()].iloc[0]
    is_gain, is_loss = rows["difference_low"] > 0, rows["difference_high"] < 0
    sentences = [
        f"Reference ({reference['system']}): official score {reference['value']:.3f}, "
        f"standard deviation {reference['spread']:.3f} over {reference['n_seeds']} seeds."
    ]
    for word, chosen in (("Better", rows[is_gain]), ("Worse", rows[is_loss])):
        ordered = chosen.sort_values("difference", key=abs, ascending=False)
        for row in ordered.to_dict(orient="records"):
            sentences.append(
                f"{word}: {row['variant']}, {100 * row['difference']:+.1f} points "
                f"[{100 * row['difference_low']:.1f}, {100 * row['difference_high']:.1f}]."
            )
    unsure = rows.loc[~is_gain & ~is_loss, "variant"]
    if len(unsure):
        sentences.append(f"Not told from the reference: {', '.join(unsure)}.")
    return sentences


def _read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path)
    expected = ["variant", "group", "system", *DIFFERENCE_COLUMNS[1:]]
    missing = [name for name in expected if name not in table.columns]
    if missing:
        raise InputError(
            f"{path}: lacks {', '.join(missing)}. Run the sweep again: finished cells are kept."
        )
    return table.fillna({"group": "", "reason": ""})
