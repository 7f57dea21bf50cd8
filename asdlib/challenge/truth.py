"""The released truth: fetched beside the data, joined to scores, never to training data.

The lists lie in ``<edition>t2/truth``, outside every folder that clips are read from. Only what
scores (`reveal`) and the agreement of an annotation with true attributes look at them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from asdlib.challenge.catalogue import TRUTH_COMMIT, TRUTH_REPOSITORY, Edition
from asdlib.challenge.job import Job
from asdlib.challenge.lock import Lock
from asdlib.data import names
from asdlib.data.truth import read_eval_truth
from asdlib.errors import InputError
from asdlib.files import write_atomically

TRUTH_COLUMNS = ["machine_type", "file_name", "true_name", "domain", "is_anomaly", "attribute"]


def fetch_truth(edition: Edition, data_dir: Path, job: Job) -> Path:
    """Bring the released lists of an edition to ``<data_dir>/<edition>t2/truth``.

    The SHA-256 of every list is kept in the lock file and holds from then on. Lists placed by
    hand are recognised.

    Returns
    -------
    Path
        The folder of the lists.

    Raises
    ------
    InputError
        When a list cannot be had or is not what was pinned; says what to place where.
    """
    root = data_dir / edition.folder
    lock = Lock(root)
    for path in edition.truth:
        place = root / "truth" / path
        pinned = lock.truth(path).get("sha256")
        if place.exists() and pinned in (None, _sha256(place.read_bytes())):
            content = place.read_bytes()
        else:
            content = _download(edition, path, pinned, root, job)
            write_atomically(place, content)
        lock.note_truth(path, sha256=_sha256(content), size=len(content), commit=TRUTH_COMMIT)
    return root / "truth"


def eval_list(edition: Edition, data_dir: Path) -> Path:
    """Path of an edition's list of true names.

    Raises
    ------
    InputError
        When none was released or it is not there.
    """
    if edition.eval_list is None:
        raise InputError(
            f"{edition.name}: no list of true names is known here. Name a released "
            "eval_data_list_20XX.csv with --truth FILE."
        )
    path = data_dir / edition.folder / "truth" / edition.eval_list
    if not path.exists():
        raise InputError(
            f"{path}: is missing. Run ./run_all.sh fetch {edition.name} --subset eval."
        )
    return path


def truth_of_names(machine_types: Sequence[str], file_names: Sequence[str]) -> pd.DataFrame:
    """Read the truth of clips whose own names tell it, such as all development test clips.

    Returns
    -------
    DataFrame
        ``TRUTH_COLUMNS``, without the clips whose names hide it.
    """
    rows = []
    for machine_type, file_name in zip(machine_types, file_names, strict=True):
        clip = names.parse(file_name, split="test")
        if clip.condition is not None:
            is_anomaly = clip.condition == "anomaly"
            rows.append(
                (machine_type, file_name, file_name, clip.domain, is_anomaly, clip.attribute)
            )
    table = pd.DataFrame(rows, columns=TRUTH_COLUMNS)
    return table.astype({"domain": "string", "is_anomaly": "boolean", "attribute": "string"})


def reveal(table: pd.DataFrame, truth: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Give test clips of hidden truth their domain and condition, once everything is scored.

    Parameters
    ----------
    table : DataFrame
        Scores or clip table: ``clip_id, machine_type, split, domain, is_anomaly``.
    truth : path or DataFrame
        Released list (`asdlib.data.read_eval_truth`); with an empty text the table stays as it
        is.

    Returns
    -------
    DataFrame
        The table with ``domain`` and ``is_anomaly`` filled where both were unknown. Clips that
        the list does not have stay unknown.

    Examples
    --------
    >>> scores = pd.DataFrame({"clip_id": ["fan/test/section_00_0001.wav"],
    ...     "machine_type": "fan", "split": "test", "domain": None, "is_anomaly": None})
    >>> truth = truth_of_names(["fan"], ["section_00_target_test_anomaly_0007.wav"])
    >>> reveal(scores, truth.assign(file_name="section_00_0001.wav"))["domain"].item()
    'target'
    """
    if isinstance(truth, str) and not truth:
        return table
    known = truth if isinstance(truth, pd.DataFrame) else read_eval_truth(truth)
    keys = pd.MultiIndex.from_frame(known[["machine_type", "file_name"]])
    wanted = pd.MultiIndex.from_arrays(
        [table["machine_type"], table["clip_id"].str.rsplit("/", n=1).str[-1]]
    )
    place = keys.get_indexer(wanted)
    hidden = table["split"].eq("test") & table["domain"].isna() & table["is_anomaly"].isna()
    found = hidden.to_numpy(dtype=bool) & (place >= 0)
    revealed = table.copy()
    domain, is_anomaly = table["domain"].astype("string"), table["is_anomaly"].astype("boolean")
    domain[found] = known["domain"].array[place[found]]
    is_anomaly[found] = known["is_anomaly"].array[place[found]]
    revealed["domain"], revealed["is_anomaly"] = domain, is_anomaly
    return revealed


def _download(edition: Edition, path: str, pinned: str | None, root: Path, job: Job) -> bytes:
    url = job.hosts.truth(path)
    try:
        content = job.get(url).content
    except InputError as error:
        page = f"https://github.com/{TRUTH_REPOSITORY}/tree/{TRUTH_COMMIT}/datasets"
        raise type(error)(
            f"{error}\nIf a proxy is needed, set HTTPS_PROXY. Or place the lists of "
            f"{edition.name} ({', '.join(edition.truth)}) from {page} into {root / 'truth'}, "
            "with their folders."
        ) from error
    if pinned not in (None, _sha256(content)):
        raise InputError(
            f"{url}: has the SHA-256 {_sha256(content)}, pinned is {pinned}. A list at a fixed "
            f"commit cannot change: what arrived is damaged or the entry in {root} is wrong."
        )
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
