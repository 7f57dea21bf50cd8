"""What the challenge published each year (``editions.yaml``), and what of it was pinned.

The lock file beside the data holds what was fetched and the checksums that it is held to. Released
truth lies in ``<edition>t2/truth``, outside every folder that clips are read from.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from asdlib.base import InputError, refuse_unknown, write_atomically
from asdlib.challenge.transfer import TRUTH_COMMIT, TRUTH_REPOSITORY, Job

LOCK_NAME = "challenge.lock.json"
SUBSETS = ("dev", "eval")
SUBSET_FOLDERS = {"dev": "dev_data", "eval": "eval_data"}


@dataclass(frozen=True)
class Archive:
    """One archive of one machine, in ``record`` under ``file_name``, of the subset dev or eval.

    It must bring the ``splits``; a ``supplemental`` folder may come along.
    """

    record: int
    file_name: str
    subset: str
    machine_type: str
    splits: tuple[str, ...]

    def machine_folder(self, root: Path) -> Path:
        """Folder of the machine below the folder of the edition."""
        return root / SUBSET_FOLDERS[self.subset] / "raw" / self.machine_type

    def placed(self, root: Path) -> list[Path]:
        """Files of that name where they are put here, by the official baseline, by a person."""
        places = (root / "archives", self.machine_folder(root).parent, root, root.parent)
        return [path for place in places if (path := place / self.file_name).is_file()]


@dataclass(frozen=True)
class Edition:
    """The data of one year."""

    name: str  # as in ``--dataset``, ends with the year
    records: Mapping[str, int]  # by part: dev, train (additional training data), test (evaluation)
    machines: Mapping[str, tuple[str, ...]]  # by subset
    #: Clips of every machine by split, where all machines have the same number.
    clips: Mapping[str, int] = field(default_factory=lambda: {"train": 1000, "test": 200})
    #: File names by part and by machine type, where they depart from the rule.
    revised: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    truth: tuple[str, ...] = ()  # released lists, below ``datasets/`` of the organisers' repository
    channels: int = 1  # of every recording

    @property
    def year(self) -> int:
        """Year of the challenge."""
        return int(self.name[-4:])

    @property
    def folder(self) -> str:
        """Name of its folder below the data folder."""
        return f"{self.name}t2"

    @property
    def eval_list(self) -> str | None:
        """Released list of the evaluation clips' true names, as in `truth`; None if none is."""
        return next((path for path in self.truth if path.startswith("eval_data_list")), None)

    def archives(
        self, subsets: Sequence[str], *, machines: Sequence[str] = (), with_test: bool = True
    ) -> list[Archive]:
        """List the archives of subsets and machines, by default all of them.

        Without ``with_test`` the additional training data comes without the evaluation clips.
        """
        known = [name for subset in subsets for name in self.machines[subset]]
        of = f": not in {self.name} ({' and '.join(subsets)})"
        refuse_unknown(machines, known, "--machines", of)
        found = []
        for subset in subsets:
            for name in self.machines[subset]:
                if machines and name not in machines:
                    continue
                if subset == "dev":
                    found.append(self._archive("dev", "dev_{}.zip", name, ("train", "test")))
                    continue
                found.append(self._archive("train", "eval_data_{}_train.zip", name, ("train",)))
                if with_test:
                    found.append(self._archive("test", "eval_data_{}_test.zip", name, ("test",)))
        return found

    def _archive(self, part: str, rule: str, machine: str, splits: tuple[str, ...]) -> Archive:
        file_name = self.revised.get(part, {}).get(machine, rule.format(machine))
        subset = "dev" if part == "dev" else "eval"
        return Archive(self.records[part], file_name, subset, machine, splits)


def _read_editions() -> dict[str, Edition]:
    text = Path(__file__).with_name("editions.yaml").read_text(encoding="utf-8")
    found: dict[str, Edition] = {}
    for name, entry in yaml.safe_load(text).items():
        machines = {subset: tuple(own) for subset, own in entry.pop("machines").items()}
        lists, one_list = entry.pop("attribute_lists", {}), entry.pop("no_test_list", [])
        truth = [entry.pop("eval_list")] if "eval_list" in entry else []
        truth += [
            f"ground_truth_attributes/{name}t2/{SUBSET_FOLDERS[subset]}/{machine}"
            f"/attributes_00_{split}_correspondence.csv"
            for subset, own in lists.items()
            for machine in own
            for split in (("train",) if machine in one_list else ("train", "test"))
        ]
        found[name] = Edition(name, machines=machines, truth=tuple(truth), **entry)
    return found


EDITIONS = _read_editions()


def edition(name: str) -> Edition:
    """Look an edition up by its name."""
    refuse_unknown([name], EDITIONS, "no data set")
    return EDITIONS[name]


class Lock:
    """Pinned names, sizes and checksums of one edition; every change is written at once."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / LOCK_NAME
        self._guard = threading.Lock()
        self._content: dict[str, dict[str, Any]] = {"archives": {}, "truth": {}}
        if self.path.exists():
            try:
                found = json.loads(self.path.read_text(encoding="utf-8"))
                self._content = {key: dict(found[key]) for key in self._content}
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(
                    f"{self.path}: cannot be read ({error}). Delete it: checksums are then "
                    "asked for again, and archives that are there are checked again."
                ) from error

    def archive(self, name: str) -> dict[str, Any]:
        """Facts about an archive: record, size, md5, verified, downloaded, clips."""
        return dict(self._content["archives"].get(name, {}))

    def truth(self, path: str) -> dict[str, Any]:
        """Facts about a released list: size and sha256."""
        return dict(self._content["truth"].get(path, {}))

    def digest(self) -> str:
        """First 16 digits of the SHA-256 of all pinned facts."""
        text = json.dumps(self._content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def note(self, part: str, name: str, **facts: Any) -> None:
        """Add or change facts about one of the ``archives`` or of the lists of ``truth``."""
        with self._guard:
            self._content[part][name] = {**self._content[part].get(name, {}), **facts}
            text = json.dumps(self._content, indent=1, sort_keys=True)
            write_atomically(self.path, text + "\n")


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
            content = _download_list(edition, path, pinned, root, job)
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


def _download_list(edition: Edition, path: str, pinned: str | None, root: Path, job: Job) -> bytes:
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
