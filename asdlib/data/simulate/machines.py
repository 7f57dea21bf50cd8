"""The seven machine types and how one clip of them is made."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.fft

from asdlib.data.simulate import cyclic, rotating, toys
from asdlib.data.simulate.model import Clip, Fault, MachineModel, State
from asdlib.data.simulate.scene import Hall, draw_curve, draw_hall, record, seeded
from asdlib.data.simulate.sources import FloatArray
from asdlib.errors import InputError

VERSION = 1
SAMPLE_RATE_HZ = 16000
LEAD_S = 0.25

MODELS: dict[str, MachineModel] = dict(
    sorted({**toys.MODELS, **rotating.MODELS, **cyclic.MODELS}.items())
)
MACHINES: tuple[str, ...] = tuple(MODELS)


def find_model(machine_type: str) -> MachineModel:
    """Model of a machine type.

    Raises
    ------
    InputError
        For an unknown machine type.
    """
    if machine_type not in MODELS:
        raise InputError(
            f"machine type {machine_type!r} is not simulated: expected one of "
            f"{', '.join(MACHINES)}."
        )
    return MODELS[machine_type]


def describe(machine_type: str) -> dict[str, dict[str, float | str]]:
    """Physical quantities behind every attribute of a machine type.

    Parameters
    ----------
    machine_type : str
        One of ``MACHINES``.

    Returns
    -------
    dict of str to dict
        Attribute -> ``domain`` and the nominal quantities, their unit as suffix of the name
        (``shaft_rate_hz``, ``bpfo_hz``, ``joint_rate_hz``, ``cycle_time_s``, ...).

    Raises
    ------
    InputError
        For an unknown machine type.

    Examples
    --------
    >>> describe("fanSim")["m-n_W"]["blade_pass_hz"]
    130.2
    """
    return {
        state.attribute: {"domain": state.domain, **state.quantities}
        for state in find_model(machine_type).states
    }


def states_of(model: MachineModel, domain: str) -> list[State]:
    """Operating states of one domain, in order of definition."""
    return [state for state in model.states if state.domain == domain]


@lru_cache(maxsize=64)
def plant_hall(seed: int, machine_type: str, domain: str) -> Hall:
    """Hall and microphone of a machine type in a domain, drawn once per corpus seed."""
    rng = seeded(VERSION, seed, machine_type, "hall", domain)
    if domain == "source":
        return draw_hall(rng)
    origin = plant_hall(seed, machine_type, "source")
    return draw_hall(rng, origin=origin, shift=MODELS[machine_type].domain_shift)


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
    rng: np.random.Generator,
    with_machine: bool = True,
    with_background: bool = True,
) -> FloatArray:
    """Sound of one clip.

    Parameters
    ----------
    machine_type : str
        One of ``MACHINES``.
    state : State
        Operating state, one of the model's.
    fault : Fault, optional
        None: healthy.
    duration_s : float
        Length [s].
    seed : int
        Seed of the corpus: draws the plant (halls, microphones, structures).
    rng : numpy.random.Generator
        Scatter of this clip.
    with_machine, with_background : bool
        Leave out the machine (noise) or the hall (clean).

    Returns
    -------
    ndarray of float64, shape (round(duration_s * 16000),)
        In units of full scale, unclipped.
    """
    model = find_model(machine_type)
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    shortest = n_samples + round(LEAD_S * SAMPLE_RATE_HZ)
    lead = scipy.fft.next_fast_len(shortest, real=True) - n_samples
    clip = Clip(n_samples + lead, SAMPLE_RATE_HZ, rng)
    lowest_db, highest_db = model.snr_db
    snr_db = float(rng.triangular(lowest_db, 0.5 * (lowest_db + highest_db), highest_db))
    sound = model.synthesise(state, fault or Fault(), clip) if with_machine else None
    return record(
        sound,
        plant_hall(seed, machine_type, state.domain),
        plant_path(seed, machine_type, state.structure),
        sample_rate=SAMPLE_RATE_HZ,
        lead_samples=lead,
        n_samples=n_samples,
        snr_db=snr_db if with_background else None,
        rng=rng,
    )
