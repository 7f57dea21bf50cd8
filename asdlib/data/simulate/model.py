"""What every machine model is made of: operating states, faults, and the synthesis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from asdlib.data.simulate.sources import FloatArray


@dataclass(frozen=True)
class State:
    """One operating state of a machine: an attribute and what it means physically.

    Attributes
    ----------
    attribute : str
        As in file names, e.g. ``car_B1_spd_31V_mic_1``.
    domain : str
        ``source`` or ``target``.
    quantities : mapping of str to float
        Physical quantities by name, the unit as suffix.
    resonances_hz : tuple of float
        Structural resonances of the machine in this state.
    structure : str
        Names the transfer path: states of one structure share it.
    """

    attribute: str
    domain: str
    quantities: Mapping[str, float]
    resonances_hz: tuple[float, ...]
    structure: str

    def __getitem__(self, quantity: str) -> float:
        return self.quantities[quantity]


@dataclass(frozen=True)
class Fault:
    """A fault and its severity from 0 (at the edge of normal scatter) to 1 (plain).

    A healthy machine is ``Fault("", 0.0)``.
    """

    name: str = ""
    severity: float = 0.0

    def grows(self, name: str, faintest: float, plainest: float) -> float:
        """Value between two ends by severity if this is the fault ``name``, else zero."""
        if name != self.name:
            return 0.0
        return faintest + (plainest - faintest) * self.severity

    def level(self, name: str, faintest_db: float, plainest_db: float) -> float:
        """Amplitude between two levels [dB] if this is the fault ``name``, else zero."""
        if name != self.name:
            return 0.0
        return float(10 ** (self.grows(name, faintest_db, plainest_db) / 20.0))


@dataclass(frozen=True)
class Clip:
    """Length, sampling rate and randomness of the clip to synthesise."""

    n_samples: int
    sample_rate: int
    rng: np.random.Generator

    def scatter(self, relative: float) -> float:
        """Factor around one, ``exp(relative * normal)``: clip-to-clip scatter of a quantity."""
        return float(np.exp(relative * self.rng.standard_normal()))

    def level(self, level_db: float, scatter_db: float = 1.0) -> float:
        """Amplitude of a level [dB] that scatters from clip to clip by ``scatter_db``."""
        return float(10.0 ** ((level_db + scatter_db * self.rng.standard_normal()) / 20.0))


@dataclass(frozen=True)
class MachineModel:
    """A machine type: its states, faults and sound.

    Attributes
    ----------
    machine_type : str
        Folder name, ending in ``Sim``.
    duration_s : tuple of float
        Shortest and longest clip [s].
    has_attributes : bool
        Whether names and ``attributes_00.csv`` show the attribute.
    supplemental : str
        ``clean`` (machine without background) or ``noise`` (background without machine).
    states : tuple of State
        Operating states of both domains.
    faults : tuple of str
        Names that ``synthesise`` understands.
    snr_db : tuple of float
        Ends of the triangular distribution of the nominal level over the background above
        100 Hz [dB]; operating state and transfer path add to it.
    domain_shift : float
        How far the target's hall, microphone and path lie from the source's.
    synthesise : callable
        ``synthesise(state, fault, clip)`` -> sound at about unit root mean square.
    """

    machine_type: str
    duration_s: tuple[float, float]
    has_attributes: bool
    supplemental: str
    states: tuple[State, ...]
    faults: tuple[str, ...]
    snr_db: tuple[float, float]
    domain_shift: float
    synthesise: Callable[[State, Fault, Clip], FloatArray]
