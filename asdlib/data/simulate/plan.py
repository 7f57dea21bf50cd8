"""Which clips a corpus has: counts, names, states, faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asdlib.data.simulate.machines import VERSION, find_model, states_of
from asdlib.data.simulate.model import Fault, State
from asdlib.data.simulate.scene import seeded


@dataclass(frozen=True)
class CorpusSize:
    """Clips per machine, and how long they are.

    Attributes
    ----------
    train_source, train_target : int
        Normal training clips.
    test : int
        Test clips per domain and condition.
    supplemental : int
        Clean or noise clips.
    short_s : float or None
        Length of the clips of machines whose clips are 10 s [s]; None: as they are.
    """

    train_source: int
    train_target: int
    test: int
    supplemental: int
    short_s: float | None = None


SIZES: dict[str, CorpusSize] = {
    "smoke": CorpusSize(12, 3, 4, 4, short_s=2.0),
    "demo": CorpusSize(100, 10, 25, 20),
    "full": CorpusSize(990, 10, 50, 100),
}


@dataclass(frozen=True)
class ClipPlan:
    """One clip to be written.

    Attributes
    ----------
    machine_type, split : str
        Folder.
    file_name : str
        As published.
    true_name : str
        With the attribute where the published name hides it.
    state : State
        Operating state.
    fault : Fault
        ``Fault("", 0)`` for a normal clip.
    duration_s : float
        Length [s].
    kind : str
        ``mixed``, ``clean`` or ``noise``.
    """

    machine_type: str
    split: str
    file_name: str
    true_name: str
    state: State
    fault: Fault
    duration_s: float
    kind: str = "mixed"


def plan_machine(machine_type: str, size: CorpusSize, seed: int) -> list[ClipPlan]:
    """All clips of a machine type, in order of their names' groups.

    The clip of a name is the same in a corpus of any size of the same clip lengths.
    """
    cells = [
        ("source", "train", "normal", size.train_source),
        ("target", "train", "normal", size.train_target),
        *(
            (domain, "test", condition, size.test)
            for domain in ("source", "target")
            for condition in ("normal", "anomaly")
        ),
        ("source", "supplemental", "", size.supplemental),
    ]
    return [clip for cell in cells for clip in _plan_cell(machine_type, size, seed, *cell)]


def _plan_cell(
    machine_type: str,
    size: CorpusSize,
    seed: int,
    domain: str,
    split: str,
    condition: str,
    count: int,
) -> Iterator[ClipPlan]:
    model = find_model(machine_type)
    states = states_of(model, domain)
    kind = model.supplemental if split == "supplemental" else "mixed"
    for number in range(count):
        if split == "supplemental":
            stem = f"section_00_{'machine' if kind == 'clean' else 'noise'}_{domain}_{number:04d}"
        else:
            stem = f"section_00_{domain}_{split}_{condition}_{number:04d}"
        state = states[_turn(len(states), number, seed, machine_type, stem[:-5], "state")]
        fault = Fault()
        rng = seeded(VERSION, seed, machine_type, stem, "plan")
        severity, spread = rng.uniform(size=2)
        if condition == "anomaly":
            which = _turn(len(model.faults), number, seed, machine_type, stem[:-5], "fault")
            fault = Fault(model.faults[which], float(severity))
        attribute = "noAttribute" if kind == "noise" else state.attribute
        shown = attribute if model.has_attributes else "noAttribute"
        shortest, longest = model.duration_s
        duration_s = shortest + (longest - shortest) * float(spread)
        if size.short_s is not None and longest <= 10.0:
            duration_s *= size.short_s / 10.0
        yield ClipPlan(
            machine_type=machine_type,
            split=split,
            file_name=f"{stem}_{shown}.wav",
            true_name=f"{stem}_{attribute}.wav",
            state=state,
            fault=fault,
            duration_s=duration_s,
            kind=kind,
        )


def _turn(count: int, number: int, *key: object) -> int:
    """Choice among ``count`` for clip ``number``: every block of ``count`` has each once."""
    order = seeded(VERSION, *key, number // count).permutation(count)
    return int(order[number % count])
