"""What the challenge published each year, and where; what of it was pinned, and for whom.

The lock file beside the data holds what was fetched and the checksums that it is held to.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from asdlib.challenge.transfer import Patience, get
from asdlib.errors import InputError
from asdlib.files import write_atomically

LOCK_NAME = "challenge.lock.json"
SUBSETS = ("dev", "eval")
SUBSET_FOLDERS = {"dev": "dev_data", "eval": "eval_data"}
#: The organisers' repository with the truth, at the commit that it is read from.
TRUTH_REPOSITORY = "nttcslab/dcase2023_task2_baseline_ae"
TRUTH_COMMIT = "9b64dc42276a64f65b7cbf2761d3c9ec525cff94"


@dataclass(frozen=True)
class Hosts:
    """Base addresses without a trailing slash, so that a mirror or a test can stand in."""

    zenodo: str = "https://zenodo.org"
    github: str = "https://raw.githubusercontent.com"
    patience: Patience = Patience()

    @classmethod
    def from_environment(cls) -> Hosts:
        """Take the addresses from ``ASDLIB_ZENODO_URL`` and ``ASDLIB_GITHUB_URL`` where set."""
        return cls(
            zenodo=os.environ.get("ASDLIB_ZENODO_URL", cls.zenodo).rstrip("/"),
            github=os.environ.get("ASDLIB_GITHUB_URL", cls.github).rstrip("/"),
        )

    def record(self, record: int) -> str:
        """Address of a record's page, for a person."""
        return f"{self.zenodo}/records/{record}"

    def listing(self, record: int) -> str:
        """Address of a record's description, for a program."""
        return f"{self.zenodo}/api/records/{record}"

    def archive(self, record: int, file_name: str) -> str:
        """Address of one file of a record."""
        return f"{self.zenodo}/records/{record}/files/{file_name}"

    def truth(self, path: str) -> str:
        """Address of a released list."""
        return f"{self.github}/{TRUTH_REPOSITORY}/{TRUTH_COMMIT}/datasets/{path}"


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

    name: str  # as in ``--dataset``
    year: int
    records: Mapping[str, int]  # by part: dev, train (additional training data), test (evaluation)
    machines: Mapping[str, tuple[str, ...]]  # by subset
    #: Clips of every machine by split, where all machines have the same number.
    clips: Mapping[str, int] = field(default_factory=lambda: {"train": 1000, "test": 200})
    #: File names by part and machine type, where they depart from the rule.
    revised: Mapping[tuple[str, str], str] = field(default_factory=dict)
    truth: tuple[str, ...] = ()  # released lists, below ``datasets/`` of the organisers' repository
    channels: int = 1  # of every recording

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
        unknown = sorted(set(machines) - set(known))
        if unknown:
            raise InputError(
                f"--machines {','.join(unknown)}: not in {self.name} ({' and '.join(subsets)}). "
                f"There are: {', '.join(known)}."
            )
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
        file_name = self.revised.get((part, machine), rule.format(machine))
        subset = "dev" if part == "dev" else "eval"
        return Archive(self.records[part], file_name, subset, machine, splits)


@dataclass
class Job:
    """What is done, for whom it is reported, and how it is stopped."""

    hosts: Hosts = field(default_factory=Hosts.from_environment)
    say: Callable[[str], object] = lambda line: None  # gets every line that the user should read
    #: Gets the bytes to download; gives a context manager of what counts the bytes that came.
    open_progress: Callable[[int], Any] = lambda n_bytes: nullcontext(lambda n_bytes: None)
    keep_archives: bool = False  # after they were unpacked
    stopped: threading.Event = field(default_factory=threading.Event)  # ends all transfers

    def get(self, url: str) -> requests.Response:
        """Fetch something small."""
        return get(
            url,
            patience=self.hosts.patience,
            on_wait=lambda reason: self.say(f"{url}: {reason}"),
            stopped=self.stopped,
        )


class Lock:
    """Pinned names, sizes and checksums of one edition; every change is written at once."""

    def __init__(self, root: Path) -> None:
        self.path = root / LOCK_NAME
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


def edition(name: str) -> Edition:
    """Look an edition up by its name."""
    if name not in EDITIONS:
        raise InputError(f"data set {name}: there are {', '.join(EDITIONS)}.")
    return EDITIONS[name]


def _attribute_lists(folder: str, **machines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(
        f"ground_truth_attributes/{folder}/{subset}_data/{name}"
        f"/attributes_00_{split}_correspondence.csv"
        for subset in SUBSETS
        for name in machines[subset]
        for split in ("train", "test")
        # The organisers released no list of the test clips of this machine.
        if (name, split) != ("BrushlessMotor", "test")
    )


_DEV = ("ToyCar", "ToyTrain", "bearing", "fan", "gearbox", "slider", "valve")

EDITIONS: dict[str, Edition] = {
    "dcase2023": Edition(
        "dcase2023",
        2023,
        records={"dev": 7882613, "train": 7830345, "test": 7860847},
        machines={
            "dev": _DEV,
            "eval": ("ToyDrone", "ToyNscale", "ToyTank", "Vacuum", "bandsaw", "grinder", "shaker"),
        },
        truth=("eval_data_list_2023.csv",),
    ),
    "dcase2024": Edition(
        "dcase2024",
        2024,
        records={"dev": 10902294, "train": 11259435, "test": 11363076},
        machines={
            "dev": _DEV,
            "eval": (
                "3DPrinter", "AirCompressor", "BrushlessMotor", "HairDryer", "HoveringDrone",
                "RoboticArm", "Scanner", "ToothBrush", "ToyCircuit",
            ),
        },
        revised={
            ("train", "3DPrinter"): "eval_data_3DPrinter_train_r2.zip",
            ("train", "RoboticArm"): "eval_data_RoboticArm_train_r2.zip",
        },
        truth=(
            "eval_data_list_2024.csv",
            *_attribute_lists(
                "dcase2024t2",
                dev=("ToyTrain", "gearbox", "slider"),
                eval=("AirCompressor", "BrushlessMotor", "HoveringDrone", "ToothBrush"),
            ),
        ),
    ),
    "dcase2025": Edition(
        "dcase2025",
        2025,
        records={"dev": 15097779, "train": 15392814, "test": 15519362},
        machines={
            "dev": _DEV,
            "eval": (
                "AutoTrash", "BandSealer", "CoffeeGrinder", "HomeCamera", "Polisher",
                "ScrewFeeder", "ToyPet", "ToyRCCar",
            ),
        },
        truth=(
            "eval_data_list_2025.csv",
            *_attribute_lists(
                "dcase2025t2",
                dev=("ToyTrain", "bearing", "slider"),
                eval=("AutoTrash", "Polisher", "ScrewFeeder", "ToyPet"),
            ),
        ),
    ),
    "dcase2026": Edition(
        "dcase2026",
        2026,
        records={"dev": 19336329, "train": 20151556, "test": 20437238},
        machines={
            "dev": (
                "ToyCar", "ToyCarEmu", "bearingEmu", "fan", "gearboxEmu", "sliderEmu", "valveEmu",
            ),
            "eval": ("BlowerDustCollector", "Sander", "SewingMachine", "ToothBrush", "ToyDrone"),
        },
        clips={},
        revised={("dev", "ToyCar"): "dev_ToyCar_r2.zip"},
        channels=2,
    ),
}  # fmt: skip
