"""The scores table: one row per clip, system and seed, and what it must hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.data.store import write_text_atomically
from asdlib.errors import InputError
from asdlib.scoring.knn import Backend, KNNBackend

SCORE_COLUMNS = [
    "clip_id",
    "machine_type",
    "section",
    "domain",
    "split",
    "is_anomaly",
    "anomaly_score",
    "is_decided_anomalous",
    "system",
    "seed",
]

_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
_DOMAINS = {"source", "target"}
_SPLITS = {"train", "test", "supplemental"}


def score_machines(
    embeddings: npt.NDArray[np.floating],
    clip_ids: Sequence[str],
    clips: pd.DataFrame,
    *,
    system: str,
    seed: int | None,
    make_backend: Callable[[], Backend] = KNNBackend,
    on_progress: Callable[[int], object] = lambda machines: None,
) -> pd.DataFrame:
    """Score all training and test clips, machine by machine.

    A backend is fitted on the machine's training clips. Its test clips are scored against all
    of them; each training clip against the others only, because it would find itself.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_clips, n_dimensions)
    clip_ids : sequence of str
        The clip of each embedding; joined to ``clips`` by name, never by position.
    clips : DataFrame
        Clip table. Supplemental clips are not scored.
    system : str
        Name of the system, for the table.
    seed : int or None
        Seed of the run; None where nothing is random.
    make_backend : callable
        Gives a fresh backend for every machine; by default cosine 1-NN.
    on_progress : callable
        Called with 1 after every machine.

    Returns
    -------
    DataFrame
        Columns ``SCORE_COLUMNS``, in the order of ``clips``, ``is_decided_anomalous`` still
        empty. The training clip of a one-clip machine has no score (NaN): there is no other
        clip to compare it with.

    Raises
    ------
    InputError
        When a clip has no embedding, a machine has no training clip, or an embedding is zero
        or not finite; the clip or machine is named.
    """
    position_of = pd.Index(clip_ids)
    if len(position_of) != len(embeddings) or not position_of.is_unique:
        raise InputError(
            f"{len(embeddings)} embeddings for {len(position_of)} clip names, of which "
            f"{position_of.nunique()} differ: expected one of each per clip."
        )
    scored = clips[clips["split"].isin(["train", "test"])].reset_index(drop=True)
    positions = position_of.get_indexer(pd.Index(scored["clip_id"]))
    if (positions < 0).any():
        missing = scored["clip_id"][positions < 0]
        raise InputError(
            f"{missing.iloc[0]}: has no embedding ({len(missing)} clips have none). "
            "Compute the embeddings from the same clip table."
        )
    _check_embeddings(embeddings, positions, scored["clip_id"])
    anomaly_score = np.full(len(scored), np.nan)
    is_train = scored["split"].eq("train").to_numpy()
    for machine_type, index in scored.groupby("machine_type", sort=True).indices.items():
        train, test = index[is_train[index]], index[~is_train[index]]
        if len(train) == 0:
            raise InputError(
                f"{machine_type}: has {len(test)} test clips and no training clip to compare "
                "them with. Add normal clips under its folder 'train' or leave the machine out."
            )
        backend = make_backend()
        backend.fit(embeddings[positions[train]], domains=scored["domain"].to_numpy()[train])
        anomaly_score[train] = backend.leave_one_out()
        if len(test):
            anomaly_score[test] = backend.anomaly_score(embeddings[positions[test]])
        on_progress(1)
    table = scored[["clip_id", "machine_type", "section", "domain", "split", "is_anomaly"]].copy()
    table["anomaly_score"] = anomaly_score
    table["is_decided_anomalous"] = pd.array([pd.NA] * len(table), dtype="boolean")
    table["system"] = system
    table["seed"] = pd.array([seed] * len(table), dtype="Int64")
    return table


def validate_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Check a scores table and bring its columns to one form.

    Parameters
    ----------
    scores : DataFrame
        As computed, or as read from a CSV file by any program: truth values may be booleans,
        0/1 or text, unknown ones empty. Further columns are dropped.

    Returns
    -------
    DataFrame
        ``SCORE_COLUMNS`` (``is_decided_anomalous`` empty where it was missing); ``domain``
        and ``section`` as string, unknown as NA; ``is_anomaly`` and ``is_decided_anomalous``
        as nullable boolean; ``seed`` as Int64; ``anomaly_score`` as float64.

    Raises
    ------
    InputError
        When a column is missing, the table is empty, a clip stands twice in one system and
        seed, a test clip's score is not finite, or a value cannot be read.
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
    _refuse_unknown(table, "domain", _DOMAINS)
    _refuse_unknown(table, "split", _SPLITS)
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


def write_scores(scores: pd.DataFrame, path: Path) -> None:
    """Check a scores table and write it as CSV, empty where unknown, all digits kept.

    Raises
    ------
    InputError
        When the table does not pass :func:`validate_scores` or cannot be written.
    """
    write_text_atomically(path, validate_scores(scores).to_csv(index=False, lineterminator="\n"))


def _check_embeddings(
    embeddings: npt.NDArray[np.floating], positions: npt.NDArray[np.intp], clip_id: pd.Series
) -> None:
    length = np.linalg.norm(np.asarray(embeddings, dtype=np.float64)[positions], axis=1)
    bad = ~np.isfinite(length) | (length == 0)
    if bad.any():
        raise InputError(
            f"{clip_id[bad].iloc[0]}: its embedding is zero or not finite ({bad.sum()} clips). "
            "Listen to the clip: it may be silent or damaged. Leave it out or retrain."
        )


def _text(column: pd.Series) -> pd.Series:
    text = column.astype("string").str.strip()
    return text.mask(text.eq("").fillna(False))


def _refuse_unknown(table: pd.DataFrame, name: str, known: set[str]) -> None:
    bad = table[name].notna() & ~table[name].isin(known)
    if bad.any():
        first = table.loc[bad].iloc[0]
        raise InputError(
            f"{first['clip_id']}: {name} is {first[name]!r}; expected "
            f"{', '.join(sorted(known))}{' or empty' if name == 'domain' else ''}."
        )


def _truth(table: pd.DataFrame, name: str) -> pd.Series:
    text = _text(table[name]).str.lower()
    bad = text.notna() & ~text.isin(list(_TRUTH))
    if bad.any():
        first = table.loc[bad].iloc[0]
        raise InputError(
            f"{first['clip_id']}: {name} is {first[name]!r}; expected True, False, 1, 0 or empty."
        )
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
        given = pd.to_numeric(text, errors="coerce")
        unreadable = text.notna() & given.isna() & ~text.str.lower().isin(["nan"])
        if unreadable.any():
            first = table.loc[unreadable].iloc[0]
            raise InputError(
                f"{first['clip_id']}: anomaly_score is {first['anomaly_score']!r}; "
                "expected a number."
            )
    number = given.astype("Float64").astype("float64")
    bad = table["split"].eq("test") & ~np.isfinite(number)
    if bad.any():
        first = table.loc[bad].iloc[0]
        raise InputError(
            f"{first['clip_id']}: anomaly_score is {first['anomaly_score']}; every test clip "
            "needs a finite score."
        )
    return number
