"""The seven machine types, how one clip of them is made, and which clips a corpus has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import scipy.fft

from asdlib.base import refuse_unknown
from asdlib.data.simulate import bearings, cyclic, toys
from asdlib.data.simulate.scene import Scene, draw_curve, draw_scene, next_session, record, seeded
from asdlib.data.simulate.sources import Clip, Fault, FloatArray, MachineModel, State

VERSION = 2
SAMPLE_RATE_HZ = 16000
LEAD_S = 0.25

MODELS: dict[str, MachineModel] = {
    model.machine_type: model
    for model in sorted(
        (*toys.MODELS, *bearings.MODELS, *cyclic.MODELS), key=lambda model: model.machine_type
    )
}
MACHINES: tuple[str, ...] = tuple(MODELS)

# Sessions of the training and of the test clips of a domain: half of the test sessions were
# never heard in training, for normal and anomalous clips alike.
SESSIONS: dict[tuple[str, str], tuple[int, ...]] = {
    ("source", "train"): (0, 1, 2, 3),
    ("source", "test"): (2, 3, 4, 5),
    ("target", "train"): (0, 1),
    ("target", "test"): (0, 1, 2, 3),
}


def find_model(machine_type: str) -> MachineModel:
    """Model of a machine type; an unknown one raises InputError."""
    refuse_unknown([machine_type], MACHINES, "not simulated: machine type")
    return MODELS[machine_type]


def states_of(model: MachineModel, domain: str) -> list[State]:
    """Operating states of one domain, in order of definition."""
    return [state for state in model.states if state.domain == domain]


@lru_cache(maxsize=256)
def plant_scene(seed: int, machine_type: str, domain: str, session: int) -> Scene:
    """Hall, microphone and drift of a machine type in a session, drawn once per corpus seed."""
    if session:
        rng = seeded(VERSION, seed, machine_type, "session", domain, session)
        return next_session(plant_scene(seed, machine_type, domain, session - 1), rng)
    rng = seeded(VERSION, seed, machine_type, "hall", domain)
    if domain == "source":
        return draw_scene(rng)
    origin = plant_scene(seed, machine_type, "source", 0)
    return draw_scene(rng, origin=origin, shift=MODELS[machine_type].domain_shift)


@lru_cache(maxsize=256)
def plant_path(seed: int, machine_type: str, structure: str) -> FloatArray:
    """Structure-borne path of a specimen or place, drawn once per corpus seed."""
    rng = seeded(VERSION, seed, machine_type, "path", structure)
    return draw_curve(rng, spread_db=3.0)


def synthesise_clip(
    machine_type: str,
    state: State,
    *,
    fault: Fault | None = None,
    duration_s: float = 10.0,
    seed: int = 0,
    session: int = 0,
    rng: np.random.Generator,
    with_machine: bool = True,
    with_background: bool = True,
) -> FloatArray:
    """Sound of one clip in units of full scale, unclipped, shape (round(duration_s * 16000),).

    With the same ``rng`` a faulty clip is its healthy twin with the fault, and machine alone and
    hall alone add up to the mixture; ``seed`` and ``session`` draw the plant.
    """
    model = find_model(machine_type)
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    shortest = n_samples + round(LEAD_S * SAMPLE_RATE_HZ)
    lead = scipy.fft.next_fast_len(shortest, real=True) - n_samples
    scene = plant_scene(seed, machine_type, state.domain, session)
    of_machine, of_scene = rng.spawn(2)
    clip = Clip(n_samples + lead, SAMPLE_RATE_HZ, of_machine, scene.pace)
    return record(
        model.synthesise(state, fault or Fault(), clip) if with_machine else None,
        scene,
        plant_path(seed, machine_type, state.structure),
        replace(clip, rng=of_scene),
        lead_samples=lead,
        snr_db=model.snr_db,
        with_background=with_background,
    )


#: Stands before the type of a machine that trains along with a run's own.
COMPANION = "companion_"


@dataclass(frozen=True)
class CorpusSize:
    """Clips per machine (``test``: per domain and condition), and how long they are."""

    train_source: int
    train_target: int
    test: int
    supplemental: int
    short_s: float | None = None  # length where the machine's clips are 10 s; None: as they are


SIZES: dict[str, CorpusSize] = {
    "smoke": CorpusSize(12, 3, 4, 4, short_s=2.0),
    "demo": CorpusSize(100, 10, 25, 20),
    # Of the network's training, see asdlib.workbook; it hears a clip 5 s at a time.
    "companions": CorpusSize(100, 10, 0, 0, short_s=5.0),
    "full": CorpusSize(990, 10, 50, 100),
}


@dataclass(frozen=True)
class ClipPlan:
    """One clip to be written: ``file_name`` as published, ``true_name`` with its attribute.

    ``kind`` is ``mixed``, ``clean`` or ``noise``; the fault of a normal clip ``Fault("", 0)``.
    """

    machine_type: str
    split: str
    file_name: str
    true_name: str
    state: State
    fault: Fault
    session: int
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
    group = f"section_00_{domain}_{split}_{condition}"
    if split == "supplemental":
        group = f"section_00_{'machine' if kind == 'clean' else 'noise'}_{domain}"
    sessions = SESSIONS[domain, "test" if split == "test" else "train"]
    for number in range(count):
        key = (seed, machine_type, group)
        state = states[_turn(len(states), number, *key, "state")]
        severity, spread = seeded(VERSION, *key, number, "plan").uniform(size=2)
        fault = Fault()
        if condition == "anomaly":
            which = _turn(len(model.faults), number, *key, "fault")
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
            file_name=f"{group}_{number:04d}_{shown}.wav",
            true_name=f"{group}_{number:04d}_{attribute}.wav",
            state=state,
            fault=fault,
            session=sessions[_turn(len(sessions), number, *key, "session")],
            duration_s=duration_s,
            kind=kind,
        )


def _turn(count: int, number: int, *key: object) -> int:
    """Choice among ``count`` for clip ``number``: every block of ``count`` has each once."""
    order = seeded(VERSION, *key, number // count).permutation(count)
    return int(order[number % count])
