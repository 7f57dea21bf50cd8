"""The clip table: one row per wav file of a data folder, read from names and headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib.data import names
from asdlib.data.attributes import given_attributes
from asdlib.data.headers import read_header
from asdlib.data.layout import EXPECTED_LAYOUT, Scan, scan_folder
from asdlib.errors import InputError, raise_problems

_DTYPES = {
    "clip_id": "object",
    "machine_type": "object",
    "section": "object",
    "domain": "string",
    "split": "object",
    "is_anomaly": "boolean",
    "attribute": "string",
    "supplemental_kind": "string",
    "path": "object",
    "n_samples": "int64",
    "sample_rate": "int64",
    "channels": "int64",
}
_BEHIND_ATTRIBUTES = ["path", "n_samples", "sample_rate", "channels"]


def read_clips(root: str | Path, *, machines: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a data folder in the challenge's layout.

    Names and headers are read, no sound. Recordings may lie in folders below their split, and in
    any format that libsndfile reads. ``attributes_XX.csv`` beside the splits of a machine must
    agree with the file names; it supplies the attributes of clips named ``noAttribute``. Where
    both ``test`` and ``test_rename`` exist, ``test`` is read: the other holds the same clips
    under their true names. What else lies there is passed over; `scan_clips` tells it.

    Parameters
    ----------
    root : path
        Folder with ``<machine>/train/*.wav``, or a folder above ``dev_data/raw`` or
        ``eval_data/raw``.
    machines : sequence of str, optional
        Machine types to read; all by default.

    Returns
    -------
    DataFrame
        One row per clip, sorted by ``clip_id``:

        - ``clip_id``: ``<machine>/<split>/<file name>``, always with the extension ``.wav``;
        - ``machine_type``, ``section`` (two digits), ``split`` (train, test, supplemental);
        - ``domain``: source or target, NA where the name hides it;
        - ``is_anomaly``: nullable boolean, NA where the name hides it and for supplemental clips;
        - ``attribute``: text such as ``car_B2_spd_7_mic_1``, NA where there is none;
        - ``supplemental_kind``: clean or noise, NA for other clips;
        - ``attribute_<parameter>``: its value, one column per parameter found;
        - ``path``; ``n_samples`` (frames); ``sample_rate`` [Hz]; ``channels``.

    Raises
    ------
    InputError
        No such folder or machine, a machine without training clips or with a name that is not
        plain, a name of no known form, two clips of one id, a file that is empty, truncated or
        no recording, an attribute file that names a missing clip or contradicts a name. Many
        faulty files are counted and the first few listed.

    Examples
    --------
    >>> clips = read_clips("data/dev_data/raw", machines=["fan"])       # doctest: +SKIP
    >>> clips.groupby(["machine_type", "split", "domain"]).size()       # doctest: +SKIP
    """
    return scan_clips(root, machines=machines)[0]


def scan_clips(
    root: str | Path, *, machines: Sequence[str] | None = None
) -> tuple[pd.DataFrame, Scan]:
    """Read the clip table, and tell what of the folder is not in it; see `read_clips`."""
    scan = scan_folder(root, machines)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for machine_type, folders in scan.machines.items():
        n_before = len(rows)
        for folder in folders:
            rows += _read_machine(machine_type, folder, scan, problems)
        if not problems and all(row["split"] != "train" for row in rows[n_before:]):
            problems.append(
                f"{folders[0]}: holds no training clips. {EXPECTED_LAYOUT} "
                "Leave the machine out (machines) or add its train folder."
            )
    raise_problems(problems)
    _refuse_duplicates(rows)
    return _make_table(rows), scan


def _read_machine(
    machine_type: str, folder: Path, scan: Scan, problems: list[str]
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    named: dict[tuple[str, str], names.ClipName] = {}
    for split, path in scan.recordings[folder]:
        file_name = path.stem + ".wav"
        try:
            clip_name = _parse(path, split, folder)
        except InputError as error:
            problems.append(f"{path.parent}/{error}")
            continue
        named[split, file_name] = clip_name
        try:
            header = read_header(path)
        except InputError as error:
            problems.append(str(error))
            continue
        if header.n_samples == 0:
            problems.append(f"{path}: holds no samples. Remove the file.")
        rows.append(
            {
                "clip_id": f"{machine_type}/{split}/{file_name}",
                "machine_type": machine_type,
                "section": clip_name.section,
                "domain": clip_name.domain,
                "split": split,
                "is_anomaly": _is_anomaly(clip_name),
                "attribute": clip_name.attribute,
                "supplemental_kind": clip_name.supplemental_kind,
                "pairs": _pairs(clip_name),
                "path": str(path.absolute()),
                "n_samples": header.n_samples,
                "sample_rate": header.sample_rate,
                "channels": header.channels,
            }
        )
    given = given_attributes(folder, scan, named, problems)
    for row in rows:
        pairs = given.get((row["split"], Path(row["clip_id"]).name), {})
        if pairs:
            row["pairs"] = pairs
            row["attribute"] = row["attribute"] or "_".join(f"{p}_{v}" for p, v in pairs.items())
    return rows


def _parse(path: Path, split: str, folder: Path) -> names.ClipName:
    """Read a recording's name; one in another format than wav is named as its wav would be."""
    is_wav = path.suffix.lower() == ".wav"
    try:
        clip_name = names.parse(path.name if is_wav else path.stem + ".wav", split=split)
    except InputError as error:
        raise InputError(str(error).replace(f"{path.stem}.wav", path.name, 1)) from error
    split_folder = path.relative_to(folder).parts[0].lower()
    domain = split_folder.removesuffix("_test")
    if split_folder != domain and clip_name.domain not in (None, domain):
        raise InputError(
            f"{path.name}: lies in the folder {split_folder} but is named like a "
            f"{clip_name.domain} clip. Move or rename it."
        )
    return clip_name


def _pairs(clip_name: names.ClipName) -> dict[str, str]:
    return {} if clip_name.attribute is None else names.attribute_pairs(clip_name.attribute)


def _is_anomaly(clip_name: names.ClipName) -> bool | None:
    return None if clip_name.condition is None else clip_name.condition == "anomaly"


def _refuse_duplicates(rows: list[dict[str, Any]]) -> None:
    paths: dict[str, str] = {}
    problems = []
    for row in rows:
        first = paths.setdefault(row["clip_id"], row["path"])
        if first != row["path"]:
            problems.append(
                f"{row['path']}: is a second clip of the id {row['clip_id']}, beside {first}. "
                "Remove one."
            )
    raise_problems(problems)


def _make_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    table = pd.DataFrame([{name: row[name] for name in _DTYPES} for row in rows]).astype(_DTYPES)
    parameters = sorted({parameter for row in rows for parameter in row["pairs"]})
    for parameter in parameters:
        values = [row["pairs"].get(parameter) for row in rows]
        table[f"attribute_{parameter}"] = pd.array(values, dtype="string")
    last = [name for name in table.columns if name in _BEHIND_ATTRIBUTES]
    first = [name for name in table.columns if name not in _BEHIND_ATTRIBUTES]
    return table[first + last].sort_values("clip_id", ignore_index=True)


def count_clips(clips: pd.DataFrame) -> pd.DataFrame:
    """Count the clips of each machine by what they are for.

    Parameters
    ----------
    clips : DataFrame
        Clip table.

    Returns
    -------
    DataFrame
        One row per machine: ``machine_type``, ``train_source``, ``train_target``,
        ``test_<domain>_<normal|anomalous>`` for both domains, ``test_unknown``, ``clean``,
        ``noise``, ``attributes`` (different ones named in training) and ``shortest_s``,
        ``longest_s`` [s].
    """
    condition = clips["is_anomaly"].map({True: "anomalous", False: "normal"}).astype("string")
    kind = "test_" + clips["domain"] + "_" + condition
    kind = kind.fillna("test_unknown")
    kind = kind.mask(clips["split"] == "train", "train_" + clips["domain"])
    kind = kind.mask(clips["split"] == "supplemental", clips["supplemental_kind"])
    names = ["train_source", "train_target"]
    names += [f"test_{d}_{c}" for d in ("source", "target") for c in ("normal", "anomalous")]
    names += ["test_unknown", "clean", "noise"]
    table = pd.crosstab(clips["machine_type"], kind).reindex(columns=names, fill_value=0)
    train = clips[clips["split"] == "train"]
    table["attributes"] = train.groupby("machine_type")["attribute"].nunique()
    seconds = clips["n_samples"] / clips["sample_rate"]
    table["shortest_s"] = seconds.groupby(clips["machine_type"]).min()
    table["longest_s"] = seconds.groupby(clips["machine_type"]).max()
    return table.rename_axis(columns=None).reset_index()
