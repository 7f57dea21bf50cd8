"""The challenge's submission files: one pair of CSVs per machine and section, no header."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from asdlib.errors import InputError
from asdlib.files import read_rows, write_atomically
from asdlib.scoring.scores import one_run, parse_numbers

_NAME = re.compile(r"(anomaly_score|decision_result)_(.+)_section_(\d+)_test\.csv")
# The official baseline puts the data set before the machine, and seed and model behind the name:
# anomaly_score_DCASE2025T2fan_section_00_test_seed13711_id(0_)_Eval.csv
_READ_NAME = re.compile(
    r"(?P<kind>anomaly_score|decision_result)_(?:DCASE20\d\dT2)?"
    r"(?P<machine>[\w\u0300-\u036f .+-]+?)_section_(?P<section>\d+)_test(?P<run>_seed\d+.*)?\.csv"
)


def write_submission(scores: pd.DataFrame, folder: Path) -> list[Path]:
    """Write anomaly scores and decisions of all test clips as the challenge wants them.

    ``anomaly_score_<machine>_section_<nn>_test.csv`` holds ``<file>.wav,<score>`` and
    ``decision_result_...`` holds ``<file>.wav,<0 or 1>``, sorted by file name. Files of an
    earlier run that are not written again are removed, so that the folder is one submission.

    Parameters
    ----------
    scores : DataFrame
        Scores table of one system and one seed, with decisions. A machine without a threshold
        (a one-clip machine) has no decisions and gets no ``decision_result`` file.
    folder : Path

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        When there is more than one system or seed, or the folder cannot be written.
    """
    table = one_run(scores)
    test = table[table["split"].eq("test")].copy()
    test["file"] = test["clip_id"].str.rsplit("/", n=1).str[-1]
    contents: dict[str, str] = {}
    for (machine_type, section), part in test.groupby(["machine_type", "section"], dropna=False):
        rows = part.sort_values("file")
        place = f"{machine_type}_section_{section}_test.csv"
        contents[f"anomaly_score_{place}"] = _csv(rows[["file", "anomaly_score"]])
        decided = rows["is_decided_anomalous"]
        if decided.notna().all():
            rows["decision"] = decided.astype("int64")
            contents[f"decision_result_{place}"] = _csv(rows[["file", "decision"]])
    paths = []
    for name, text in contents.items():
        write_atomically(folder / name, text)
        paths.append(folder / name)
    for path in folder.glob("*.csv"):
        if _NAME.fullmatch(path.name) and path.name not in contents:
            path.unlink()
    return paths


def read_submission(folder: Path) -> pd.DataFrame:
    """Read a submission folder, anybody's, or a result folder of the official baseline.

    ``clip_id, machine_type, section, split, anomaly_score, is_decided_anomalous`` (empty where no
    file says it). Two files for one section are refused, and decisions on other clips.
    """
    score_files = sorted(folder.glob("anomaly_score_*_test*.csv"))
    if not score_files:
        raise InputError(
            f"{folder}: holds no anomaly_score_<machine>_section_<nn>_test.csv. "
            "Expected a submission folder of the challenge."
        )
    parts: dict[tuple[str, str], pd.DataFrame] = {}
    for path in score_files:
        match = _READ_NAME.fullmatch(path.name)
        if match is None:
            raise InputError(f"{path}: expected anomaly_score_<machine>_section_<nn>_test.csv.")
        key = (match["machine"], match["section"])
        if key in parts:
            raise InputError(
                f"{folder}: holds two score files of {match['machine']}, section "
                f"{match['section']}. Keep the files of one run."
            )
        part = _read_decided(path)
        part["machine_type"], part["section"] = key
        parts[key] = part
    table = pd.concat(list(parts.values()), ignore_index=True)
    table["clip_id"] = table["machine_type"] + "/test/" + table["file"]
    table["split"] = "test"
    columns = ["clip_id", "machine_type", "section", "split"]
    return table[[*columns, "anomaly_score", "is_decided_anomalous"]]


def _read_decided(path: Path) -> pd.DataFrame:
    """Scores of one file with the decisions of the file beside it, where there is one."""
    part = _read_pairs(path, "anomaly_score")
    decisions = path.with_name(path.name.replace("anomaly_score", "decision_result", 1))
    if not decisions.exists():
        part["is_decided_anomalous"] = pd.array([pd.NA] * len(part), dtype="boolean")
        return part
    decided = _read_pairs(decisions, "is_decided_anomalous")
    if set(decided["file"]) != set(part["file"]):
        raise InputError(f"{decisions}: does not list the same files as {path.name}.")
    if not decided["is_decided_anomalous"].isin([0, 1]).all():
        raise InputError(f"{decisions}: expected decisions 0 or 1.")
    part = part.merge(decided, on="file", validate="one_to_one")
    part["is_decided_anomalous"] = part["is_decided_anomalous"].eq(1).astype("boolean")
    return part


def _csv(rows: pd.DataFrame) -> str:
    return rows.to_csv(index=False, header=False, lineterminator="\n")


def _read_pairs(path: Path, name: str) -> pd.DataFrame:
    """Rows ``file,value`` of one file, as columns "file" and ``name``."""
    lines = read_rows(path)
    if not lines:
        raise InputError(f"{path}: is empty; expected rows of file,value.")
    values = parse_numbers(pd.Series([fields[-1] for _, fields in lines], dtype="string"))
    for (number, fields), value in zip(lines, values, strict=True):
        if len(fields) != 2 or not fields[0] or ";" in fields[0] or pd.isna(value):
            raise InputError(
                f"{path}, line {number}: expected file,value without a header and with a decimal "
                f"point, found {','.join(fields)!r}."
            )
    rows = pd.DataFrame({"file": [fields[0] for _, fields in lines], name: values})
    if rows["file"].duplicated().any():
        name_twice = rows.loc[rows["file"].duplicated(), "file"].iloc[0]
        raise InputError(f"{path}: lists {name_twice} more than once.")
    rows["file"] = rows["file"].str.rsplit("/", n=1).str[-1]
    return rows
