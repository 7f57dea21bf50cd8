"""What every machine model is made of: operating states, faults, and the synthesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asdlib.data.simulate.sources import Clip, FloatArray, from_db


@dataclass(frozen=True)
class State:
    """One operating state of a machine: an attribute and what it means physically.

    States of one ``structure`` share the transfer path; ``quantities`` carry their unit as suffix.
    """

    attribute: str  # as in file names, e.g. car_B1_spd_31V_mic_1
    domain: str  # source or target
    quantities: Mapping[str, float]
    resonances_hz: tuple[float, ...]
    structure: str

    def __getitem__(self, quantity: str) -> float:
        return self.quantities[quantity]

    def resonances(self, change: float = 0.0) -> tuple[float, ...]:
        """Structural resonances [Hz], moved by a relative change."""
        return tuple(centre * (1.0 + change) for centre in self.resonances_hz)


@dataclass(frozen=True)
class Fault:
    """A fault and its severity from 0 (faint) to 1 (plain); healthy is ``Fault("", 0.0)``."""

    name: str = ""
    severity: float = 0.0

    def grows(self, name: str, faintest: float, plainest: float) -> float:
        """Value between two ends by severity if this is the fault ``name``, else zero."""
        if name != self.name:
            return 0.0
        return faintest + (plainest - faintest) * self.severity

    def level(self, name: str, faintest_db: float, plainest_db: float) -> float:
        """Amplitude between two levels [dB] if this is the fault ``name``, else zero."""
        return from_db(self.grows(name, faintest_db, plainest_db)) if name == self.name else 0.0

    def either_way(self, name: str, clip: Clip, faintest: float, plainest: float) -> float:
        """Value of either sign if this is the fault ``name``, else zero."""
        value = self.grows(name, faintest, plainest)
        return value * float(clip.of_fault.rng.choice((-1.0, 1.0))) if value else 0.0


@dataclass(frozen=True)
class MachineModel:
    """A machine type: its states, faults and sound.

    ``synthesise(state, fault, clip)`` gives its sound at about unit root mean square above 100 Hz.
    """

    machine_type: str  # folder name, ending in Sim
    has_attributes: bool  # whether names and attributes_00.csv show the attribute
    supplemental: str  # clean (machine without background) or noise (the reverse)
    states: tuple[State, ...]
    faults: tuple[str, ...]
    snr_db: float  # over the background above 100 Hz; state, path and session add to it
    domain_shift: float  # how far the target's hall and microphone lie from the source's
    synthesise: Callable[[State, Fault, Clip], FloatArray]
    duration_s: tuple[float, float] = (10.0, 10.0)  # shortest and longest clip
