"""What a run may see of the fetched data: links to recordings, and nothing of the truth.

A view is a data folder in the challenge's layout made of links: training and test clips of machines
that are scored, training clips of those that only train along. The truth of evaluation clips is not
in it, so that whatever reads clips, annotates, trains or selects cannot see it; the released lists
lie in ``<edition>t2/truth``, outside every folder that clips are read from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asdlib.challenge.catalogue import (
    SUBSET_FOLDERS,
    SUBSETS,
    TRUTH_COMMIT,
    TRUTH_REPOSITORY,
    Edition,
    Job,
    Lock,
)
from asdlib.challenge.unpack import published_splits
from asdlib.errors import InputError
from asdlib.files import write_atomically

FILE_NAME = "dataset.json"
_TRAINING = ("train", "supplemental")


@dataclass(frozen=True)
class Source:
    """Machines of an edition that a view takes."""

    edition: Edition
    data_dir: Path
    scored: Sequence[str] = ()  # machine types with training and test clips
    trained_along: Sequence[str] = ()  # with their training clips alone
    label: str = ""  # behind the names of machines of another year (``_2024``)


def lay_out(
    folder: Path, sources: Sequence[Source], *, channel: int | str | None
) -> dict[str, Any]:
    """Lay out a view anew and describe it in its ``dataset.json``; the first source is scored.

    ``verified``: all scored clips come from archives with the record's checksum; ``lock`` is the
    hash of every lock file.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / FILE_NAME).exists():
        raise InputError(f"{folder}: is in the way; a view of the recordings is laid out there.")
    shutil.rmtree(folder, ignore_errors=True)  # removes links, never what they point to
    for source in sources:
        for machine_type in [*source.scored, *source.trained_along]:
            splits = (*_TRAINING, "test") if machine_type in source.scored else _TRAINING
            _link_machine(folder / (machine_type + source.label), source, machine_type, splits)
    first = sources[0]
    facts = {
        "edition": first.edition.name,
        "subsets": [
            name for name in SUBSETS if set(first.scored) & set(first.edition.machines[name])
        ],
        "scored": sorted(first.scored),
        "trained_along": sorted(
            name + source.label for source in sources for name in source.trained_along
        ),
        "verified": is_verified(first.edition, first.data_dir, first.scored),
        "channel": channel,
        "channels": first.edition.channels,
        "lock": {
            source.edition.name: Lock(source.data_dir / source.edition.folder).digest()
            for source in sources
        },
    }
    write_atomically(folder / FILE_NAME, json.dumps(facts, indent=1) + "\n")
    return facts


def read_facts(folder: Path) -> Mapping[str, Any]:
    """Read what a view's ``dataset.json`` says; empty for any other folder."""
    path = folder / FILE_NAME
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def is_verified(edition: Edition, data_dir: Path, machines: Sequence[str]) -> bool:
    """Tell whether all clips of machines were unpacked from archives with the pinned checksum."""
    lock = Lock(data_dir / edition.folder)
    subsets = [subset for subset in SUBSETS if set(machines) & set(edition.machines[subset])]
    archives = edition.archives(subsets, machines=list(machines))
    return all(lock.archive(one.file_name).get("verified", False) for one in archives)


def fetch_truth(edition: Edition, data_dir: Path, job: Job) -> Path:
    """Bring the released lists of an edition, or those placed by hand, to its folder ``truth``.

    The SHA-256 of every list is kept in the lock file and holds from then on.
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
        facts = {"sha256": _sha256(content), "size": len(content), "commit": TRUTH_COMMIT}
        lock.note("truth", path, **facts)
    return root / "truth"


def eval_list(edition: Edition, data_dir: Path) -> Path:
    """Path of an edition's list of true names; one that is not there is refused."""
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


def _link_machine(folder: Path, source: Source, machine_type: str, splits: Sequence[str]) -> None:
    edition = source.edition
    subset = next(name for name in SUBSETS if machine_type in edition.machines[name])
    base = SUBSET_FOLDERS[subset]
    root = (source.data_dir / edition.folder).resolve()
    machine_folder = root / base / "raw" / machine_type
    there = published_splits(machine_folder)
    missing = [split for split in splits if split not in there and split != "supplemental"]
    if missing:
        raise InputError(f"{machine_folder}: has no folder {missing[0]}. Fetch the data first.")
    folder.mkdir(parents=True)
    for split in splits:
        if split in there:
            (folder / split).symlink_to(there[split])
    for path in sorted(machine_folder.glob("attributes_[0-9][0-9].csv")):
        (folder / path.name).symlink_to(path)
    lists = root / "truth" / "ground_truth_attributes" / edition.folder / base / machine_type
    # True attributes of training clips, for the agreement alone; never those of test clips.
    for path in sorted(lists.glob("attributes_*_train_correspondence.csv")):
        (folder / path.name).symlink_to(path)


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
