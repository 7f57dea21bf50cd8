"""The scores table: one row per clip, system and seed, and what it must hold."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.base import InputError
from asdlib.scoring.resampling import N_PARTS, parts

SCORE_COLUMNS = [
    *("clip_id", "machine_type", "section", "domain", "split", "is_anomaly"),
    *("anomaly_score", "is_decided_anomalous", "system", "seed"),
]

#: Columns that name what is scored, decided and drawn by itself.
RUN_KEYS = ["system", "seed", "machine_type"]
_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_DOMAINS, _SPLITS = ("source", "target"), ("supplemental", "test", "train")
#: With fewer clips there is no scatter worth the name.
_FEWEST_OTHERS = 3


def validate_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Check a scores table and bring its columns to `SCORE_COLUMNS` of one form.

    From any program's CSV: truth as booleans, 0/1 or text, unknown ones empty; further columns are
    dropped. Refuses missing columns, a clip twice in one system and seed, and a test clip's score
    that is not finite. Unknown is NA; truth and decision are nullable booleans.
    """
    required = [name for name in SCORE_COLUMNS if name != "is_decided_anomalous"]
    missing = [name for name in required if name not in scores.columns]
    if missing:
        raise InputError(
            f"The scores table lacks {', '.join(missing)}. Expected the columns "
            f"{', '.join(SCORE_COLUMNS)}."
        )
    if scores.empty:
        raise InputError("The scores table is empty: expected one row per clip.")
    table = scores.reindex(columns=SCORE_COLUMNS).reset_index(drop=True)
    for name in ("clip_id", "machine_type", "split", "system"):
        table[name] = _text(table[name])
        if table[name].isna().any():
            row = int(np.flatnonzero(table[name].isna())[0])
            raise InputError(f"Scores table, row {row}: {name} is empty.")
    table["domain"] = _text(table["domain"])
    table["section"] = _text(table["section"]).str.replace(r"\.0$", "", regex=True).str.zfill(2)
    for name, known in (("domain", _DOMAINS), ("split", _SPLITS)):
        expected = ", ".join(known) + (" or empty" if name == "domain" else "")
        _refuse(table, table[name].notna() & ~table[name].isin(known), name, expected)
    if table["machine_type"].eq("all").any():
        raise InputError("A machine type is called 'all', the name of the means: rename it.")
    for name in ("is_anomaly", "is_decided_anomalous"):
        table[name] = _truth(table, name)
    table["seed"] = _whole_numbers(table)
    table["anomaly_score"] = _scores(table)
    doubled = table.duplicated(["system", "seed", "clip_id"])
    if doubled.any():
        first = table.loc[doubled].iloc[0]
        raise InputError(
            f"{first['clip_id']}: stands more than once in the scores of system "
            f"{first['system']!r}. Expected one score per clip, system and seed."
        )
    return table


def one_run(scores: pd.DataFrame) -> pd.DataFrame:
    """Validate scores that must be of one system and seed."""
    table = validate_scores(scores)
    runs = table[["system", "seed"]].drop_duplicates()
    if len(runs) > 1:
        raise InputError(
            f"The scores table holds {len(runs)} systems and seeds: expected one. Select it, "
            "for example scores[scores['system'] == 'knn']."
        )
    return table


def scored_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Reduce a clip table to the clips that are scored: training and test, rows renumbered."""
    return clips[clips["split"].isin(["train", "test"])].reset_index(drop=True)


def rows_of_clips(
    rows: npt.NDArray[np.floating], clip_ids: Sequence[str], wanted: pd.Series, *, what: str
) -> npt.NDArray[np.float64]:
    """Rows of the wanted clips in their order; a clip without one, or with two, is refused."""
    names = pd.Index(clip_ids)
    if len(names) != len(rows) or not names.is_unique:
        raise InputError(
            f"{len(rows)} {what}s for {len(names)} clip names ({names.nunique()} different): "
            f"expected one {what} per clip."
        )
    positions = names.get_indexer(pd.Index(wanted))
    missing = wanted[positions < 0]
    if len(missing):
        raise InputError(
            f"{missing.iloc[0]}: has no {what} ({len(missing)} clips have none). Run notebook 03 "
            "with the same clip table."
        )
    return np.asarray(rows[positions], np.float64)


def held_out_part(clips: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Rows that a rehearsal puts aside: the last third of the normal training clips of each domain.

    None of a machine whose training clips are fewer than six.
    """
    aside = np.zeros(len(clips), bool)
    train = clips.reset_index(drop=True)
    train = train[train["split"].eq("train")]
    for _, own in train.groupby("machine_type"):
        if len(own) >= 2 * N_PARTS:
            is_last = parts(own["domain"].fillna("").to_numpy(str)) == N_PARTS - 1
            aside[own.index[is_last]] = True
    return aside


def rehearsed_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Clip table of a rehearsal: training clips, those of `held_out_part` as normal test clips."""
    train = clips[clips["split"].eq("train")].reset_index(drop=True)
    train["is_anomaly"] = pd.array([False] * len(train), dtype="boolean")
    train.loc[held_out_part(train), "split"] = "test"
    return train


def without_learnt(
    clips: pd.DataFrame, anomaly_score: npt.NDArray[np.float64], learnt: Collection[str]
) -> npt.NDArray[np.float64]:
    """Forget what a trained system gives the training clips that it learnt from: NaN.

    It knows them, new normal clips score higher. Where fewer than three others of a machine are
    known they are kept: a scatter that is too small says more than none.
    """
    score = anomaly_score.copy()
    is_train, is_learnt = clips["split"].eq("train"), clips["clip_id"].isin(list(learnt))
    others = is_train & ~is_learnt & np.isfinite(score)
    enough = others.groupby(clips["machine_type"]).transform("sum") >= _FEWEST_OTHERS
    score[(is_train & is_learnt & enough).to_numpy()] = np.nan
    return score


def scores_table(
    clips: pd.DataFrame, anomaly_score: npt.NDArray[np.float64], *, system: str, seed: int | None
) -> pd.DataFrame:
    """Write one system's scores (NaN where there is none) as a table, nothing decided yet.

    ``clips`` are as from `scored_clips`; ``seed`` is None where nothing is random.
    """
    table = clips[["clip_id", "machine_type", "section", "domain", "split", "is_anomaly"]].copy()
    table["anomaly_score"] = anomaly_score
    table["is_decided_anomalous"] = pd.array([pd.NA] * len(table), dtype="boolean")
    table["system"] = system
    table["seed"] = pd.array([seed] * len(table), dtype="Int64")
    return table


def read_scores(path: Path) -> pd.DataFrame:
    """Read and check a ``scores.csv``.

    Raises
    ------
    InputError
        When the file is missing, is not a table, or does not pass :func:`validate_scores`.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise InputError(
            f"{path}: cannot be read as a scores table ({error}). Run notebook 04."
        ) from error
    try:
        return validate_scores(table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


#: What `float` takes for a number but for ``1_0`` and digits of other scripts.
_NUMBER = re.compile(
    r"\s*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf|infinity|nan)\s*", re.IGNORECASE
)


def parse_numbers(text: pd.Series) -> pd.Series:
    """Numbers of a text column to the last digit, NaN where a text is none or empty.

    pandas' own parsers may miss the last binary digit, which would break or make ties.
    """

    def parse(entry: object) -> float:
        return float(str(entry)) if _NUMBER.fullmatch(str(entry)) else float("nan")

    return text.map(parse, na_action="ignore").astype("Float64").astype("float64")


def _text(column: pd.Series) -> pd.Series:
    """Text without blanks around it, NA where there is none; equal texts share their memory."""
    codes, found = pd.factorize(column)
    text = pd.Series(found).astype("string").str.strip()
    text = text.mask(text.eq("").fillna(False))
    return pd.Series(text.array.take(codes, allow_fill=True), index=column.index)


def _refuse(table: pd.DataFrame, bad: pd.Series, name: str, expected: str) -> None:
    """Refuse a table of which some rows are ``bad``, by the first of them."""
    if bad.any():
        first = table.loc[bad].iloc[0]
        raise InputError(f"{first['clip_id']}: {name} is {first[name]!r}; expected {expected}.")


def _truth(table: pd.DataFrame, name: str) -> pd.Series:
    text = _text(table[name]).str.lower()
    bad = text.notna() & ~text.isin(list(_TRUTH))
    _refuse(table, bad, name, "True, False, 1, 0 or empty")
    return text.map(_TRUTH).astype("boolean")


def _whole_numbers(table: pd.DataFrame) -> pd.Series:
    number = pd.to_numeric(_text(table["seed"]), errors="coerce").astype("Float64")
    bad = (_text(table["seed"]).notna() & number.isna()) | (number.mod(1) != 0).fillna(False)
    if bad.any():
        raise InputError(
            f"seed is {table.loc[bad, 'seed'].iloc[0]!r}; expected a whole number or empty."
        )
    return number.astype("Int64")


def _scores(table: pd.DataFrame) -> pd.Series:
    given: Any = table["anomaly_score"]
    if not pd.api.types.is_numeric_dtype(given):
        text = _text(given)
        given = parse_numbers(text)
        unreadable = text.notna() & given.isna() & ~text.str.lower().isin(["nan"])
        _refuse(table, unreadable, "anomaly_score", "a number")
    number: pd.Series = given.astype("Float64").astype("float64")
    bad = np.isinf(number) | (table["split"].eq("test") & number.isna())
    if bad.any():
        first = table.loc[bad].iloc[0]
        raise InputError(
            f"{first['clip_id']}: anomaly_score is {number[bad].iloc[0]}; every test clip "
            "needs a finite score."
        )
    return number
