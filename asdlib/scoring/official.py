"""What the organisers want and print: submission files, their result table, published figures.

The official score of DCASE Task 2 is the harmonic mean of all machine x {AUC source, AUC target,
pAUC} cells; the cells are those of `asdlib.scoring.evaluate`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support

from asdlib.base import InputError, read_rows, write_atomically
from asdlib.scoring.evaluation import CELL_METRICS, section_cells
from asdlib.scoring.metrics import FloatArray, harmonic_mean
from asdlib.scoring.scores import one_run, parse_numbers

OFFICIAL_METRICS = ("auc", "pauc", "precision", "recall", "f1")
OFFICIAL_COLUMNS = ["machine_type", "section", "row", *OFFICIAL_METRICS, "n_normal", "n_anomaly"]
MACHINES_2025_DEV = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")
_DOMAINS = ("source", "target")
#: The organisers put this in place of smaller values before a harmonic mean.
_SMALLEST = sys.float_info.epsilon
_PUBLISHED = Path(__file__).with_name("published.csv")
#: Released clips of a machine by split, domain and condition (anomalous or not).
_RELEASED_2025_DEV = {
    ("train", "source", False): 990,
    ("train", "target", False): 10,
    **{("test", domain, is_anomaly): 50 for domain in _DOMAINS for is_anomaly in (False, True)},
}
_NAME = re.compile(r"(anomaly_score|decision_result)_(.+)_section_(\d+)_test\.csv")
# The official baseline puts the data set before the machine, and seed and model behind the name:
# anomaly_score_DCASE2025T2fan_section_00_test_seed13711_id(0_)_Eval.csv
_READ_NAME = re.compile(
    r"(?P<kind>anomaly_score|decision_result)_(?:DCASE20\d\dT2)?"
    r"(?P<machine>[\w\u0300-\u036f .+-]+?)_section_(?P<section>\d+)_test(?P<run>_seed\d+.*)?\.csv"
)


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
    means = _means(every)
    official = means[means["row"].eq("harmonic mean")].assign(row="official score")
    official[list(OFFICIAL_METRICS)] = np.nan
    # The AUC of both domains and, once per machine, the pAUC.
    official["auc"] = _harmonic(np.concatenate([every["auc"], every["pauc"][::2]]))
    parts += [part.assign(machine_type="all", section="") for part in (means, official)]
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
        figures = [mean(part[metric].to_numpy()) for metric in OFFICIAL_METRICS]
        # Both halves of a machine share the anomalous clips.
        rows.append([name, *figures, part["n_normal"].sum(), halves["n_anomaly"][::2].sum()])
    return pd.DataFrame(rows, columns=OFFICIAL_COLUMNS[2:])


def _harmonic(values: FloatArray) -> float:
    floored = np.maximum(values, _SMALLEST)
    return float(len(floored) / np.sum(1.0 / floored))


def published_figures(edition: str, subsets: Sequence[str]) -> pd.DataFrame:
    """Read the published figures of an edition: ``system, machine_type, metric, value, source``.

    Known cells and their means; of other systems the harmonic mean per machine and the official
    score. With ``dev`` and ``eval`` no mean over all machines, which nobody published.
    """
    keys, names = ["system", "source"], list(CELL_METRICS)
    table = pd.read_csv(_PUBLISHED)
    table = table[table["edition"].eq(edition) & table["subset"].isin(subsets)]
    of_machine = pd.Series(harmonic_mean(table[names].to_numpy(float)), table.index)
    table = table.assign(hmean=table["hmean"].fillna(of_machine))
    means = []
    for key, own in table.dropna(subset="pauc").groupby(keys, sort=False):
        cells = own[names].to_numpy()
        official = float(harmonic_mean(cells.ravel()))
        means.append([*key, "all", *harmonic_mean(cells, axis=0), official])
    names.append("hmean")
    whole = pd.DataFrame(means, columns=[*keys, "machine_type", *names])
    table = pd.concat([table, whole.astype(dict.fromkeys(names, float))], ignore_index=True)
    if len(subsets) > 1:
        table = table[table["machine_type"] != "all"]
    values = table.melt([*keys, "machine_type"], names, var_name="metric", ignore_index=False)
    values = values.dropna(subset="value").sort_index(kind="stable", ignore_index=True)
    is_official = values["machine_type"].eq("all") & values["metric"].eq("hmean")
    values["metric"] = values["metric"].mask(is_official, "official_score")
    return values[["system", "machine_type", "metric", "value", "source"]]


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


def write_submission(scores: pd.DataFrame, folder: Path) -> list[Path]:
    """Write anomaly scores and decisions of all test clips as the challenge wants them.

    ``anomaly_score_<machine>_section_<nn>_test.csv`` holds ``<file>.wav,<score>`` and
    ``decision_result_...`` holds ``<file>.wav,<0 or 1>``, sorted by file name; a machine without a
    threshold gets no decisions. Files of an earlier run that are not written again are removed, so
    that the folder is one submission. ``scores`` are of one system and seed, others are refused;
    gives the paths written.
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
