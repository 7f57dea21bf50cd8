"""What the challenge published each year, and where: records, archives, machines, truth."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from asdlib.challenge.transfer import Patience
from asdlib.errors import InputError

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
