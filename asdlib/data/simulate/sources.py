"""What the machine models are built from: elements of sound, operating states, faults.

Rotation, tones, noise and impacts are vectorised over samples and normalised: a model states its
levels itself. Tones and noise have unit root mean square (noise above 100 Hz, tones before what a
small source fails to radiate), an impact response has unit energy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

FloatArray = npt.NDArray[np.float64]
# Levels are stated above this frequency, both of machines and of halls.
LEVEL_FROM_HZ = 100.0
# A source smaller than the wavelength radiates little: its noise falls by 12 dB per octave below
# this frequency (F. Fahy, P. Gardonio, "Sound and Structural Vibration", 2nd ed. (2007), chapter
# 3). Without it a spectrum that rises towards low frequencies holds most of its power where
# nothing is heard, and a level stated for the whole says nothing.
RADIATES_FROM_HZ = 60.0


def from_db(level_db: float) -> float:
    """Amplitude ratio of a level: ``10 ** (level_db / 20)``."""
    return float(10.0 ** (level_db / 20.0))


def modulation(depth: float, turns: FloatArray) -> FloatArray:
    """Amplitude modulation once a turn that leaves the mean power alone."""
    course: FloatArray = 1.0 + depth * np.cos(2 * np.pi * turns)
    return course / float(np.sqrt(1.0 + depth**2 / 2.0))


@lru_cache(maxsize=16)
def _frequency_grid(n_samples: int, sample_rate: int) -> tuple[FloatArray, FloatArray]:
    """Frequencies [Hz] of the real FFT, the first raised to the second, and their octaves."""
    grid = np.arange(n_samples // 2 + 1, dtype=np.float64) * (sample_rate / n_samples)
    grid[0] = grid[1]
    octaves: FloatArray = np.log2(grid)
    grid.flags.writeable = octaves.flags.writeable = False  # all clips share them
    return grid, octaves


def _radiated(frequencies_hz: FloatArray) -> FloatArray:
    """Magnitude response of a small source: ``x^2 / (1 + x^2)``, x = f / ``RADIATES_FROM_HZ``."""
    square = (frequencies_hz / RADIATES_FROM_HZ) ** 2
    return square / (1.0 + square)


@dataclass(frozen=True)
class Clip:
    """A clip to synthesise, and the elements of machine and hall in its length and randomness.

    What a fault draws comes from ``of_fault``, so that a faulty clip and its healthy twin differ by
    the fault alone. ``pace`` is the speed of the session over nominal speed.
    """

    n_samples: int
    sample_rate: int
    rng: np.random.Generator
    pace: float = 1.0

    @cached_property
    def of_fault(self) -> Clip:
        """The same clip with the randomness of the fault."""
        return replace(self, rng=self.rng.spawn(1)[0])

    @property
    def frequencies_hz(self) -> FloatArray:
        """Frequencies [Hz] of the real FFT; the first is the second, so that it has a logarithm."""
        return _frequency_grid(self.n_samples, self.sample_rate)[0]

    @property
    def octaves(self) -> FloatArray:
        """Octaves above 1 Hz of these frequencies."""
        return _frequency_grid(self.n_samples, self.sample_rate)[1]

    def slope_gain(self, tilt_db: float) -> FloatArray:
        """Magnitude response of a slope of ``tilt_db`` per octave, zero at 1 kHz."""
        return np.asarray(np.exp2(tilt_db / 6.0206 * (self.octaves - np.log2(1000.0))))

    def scatter(self, relative: float) -> float:
        """Draw a factor around one, ``exp(relative * normal)``: scatter from clip to clip."""
        return float(np.exp(relative * self.rng.standard_normal()))

    def level(self, level_db: float, scatter_db: float = 0.4) -> float:
        """Draw the amplitude of a level [dB] that scatters from clip to clip by ``scatter_db``."""
        return from_db(level_db + scatter_db * self.rng.standard_normal())

    def rotation(self, rate_hz: float, wander: float = 0.002) -> FloatArray:
        """Angle of a shaft over time, in revolutions, not wrapped; its rate wanders."""
        n, sr = self.n_samples, self.sample_rate
        knots = max(4, int(n / sr / 0.3))
        positions = np.linspace(0, n, knots)
        course = np.interp(np.arange(n), positions, self.rng.standard_normal(knots))
        rate = rate_hz * (1.0 + wander * course)
        return np.asarray(np.cumsum(rate) / sr + self.rng.uniform())

    def tones(self, angle: FloatArray, amplitudes: npt.ArrayLike, order: float = 1.0) -> FloatArray:
        """Tones ``sum_k a_k cos(2 pi k order angle + theta_k)`` below 0.45 times the rate."""
        highest_hz = float(np.max(np.diff(angle[::16]))) / 16 * self.sample_rate * order
        series = np.asarray(amplitudes, float)
        count = min(len(series), int(0.45 * self.sample_rate / max(highest_hz, 1e-9)))
        phases = np.exp(2j * np.pi * self.rng.uniform(size=len(series)))
        if count == 0:
            return np.zeros_like(angle)
        weights = series[:count] * phases[:count]
        scale = np.sqrt(np.sum(np.abs(weights) ** 2) / 2.0)
        weights *= _radiated(highest_hz * np.arange(1, count + 1, dtype=float)) / scale
        unit = np.exp(2j * np.pi * ((order * angle) % 1.0)).astype(np.complex64)
        total = np.zeros_like(unit)
        for weight in weights[::-1].astype(np.complex64):  # Horner's rule in exp(2 pi i angle)
            total += weight
            total *= unit
        return np.asarray(total.real, np.float64)

    def shaped_noise(self, gain: FloatArray) -> FloatArray:
        """Gaussian noise of a magnitude spectrum from a small source; unit level above 100 Hz."""
        n, sr = self.n_samples, self.sample_rate
        gain = gain * _radiated(self.frequencies_hz)
        first = int(np.ceil(LEVEL_FROM_HZ * n / sr))
        white = self.rng.standard_normal((len(gain), 2), dtype=np.float32).view(np.complex64)
        noise = scipy.fft.irfft(white[:, 0] * gain.astype(np.float32), n).astype(float)
        return np.asarray(noise * float(n / (2.0 * np.sqrt(np.sum(gain[first:] ** 2)))))

    def noise(
        self,
        centres_hz: Sequence[float],
        quality: float,
        floor_db: float = -20.0,
        tilt_db: float = 0.0,
    ) -> FloatArray:
        """Noise of a structure: resonances of equal height on a floor, tilted in dB per octave."""
        grid = self.frequencies_hz
        power = np.full_like(grid, from_db(floor_db) ** 2)
        for centre in centres_hz:
            power += 1.0 / (1.0 + (quality * (grid / centre - centre / grid)) ** 2)
        gain = np.sqrt(power)
        if tilt_db:
            gain *= self.slope_gain(tilt_db)
        return self.shaped_noise(gain)

    def coloured(
        self, sound: FloatArray, low_hz: float, high_hz: float, gain_db: float
    ) -> FloatArray:
        """Change a sound by ``gain_db`` between two frequencies, shoulders half an octave wide."""
        if not gain_db:
            return sound
        octaves = self.octaves
        inside = np.tanh(4.0 * (octaves - np.log2(low_hz)))
        inside -= np.tanh(4.0 * (octaves - np.log2(high_hz)))
        gain = np.exp2(gain_db / 6.0206 * 0.5 * inside)
        return np.asarray(scipy.fft.irfft(scipy.fft.rfft(sound) * gain, self.n_samples))

    def ring(
        self, centres_hz: Sequence[float], decay_s: float, scatter: float = 0.01
    ) -> FloatArray:
        """Response of a structure to an impact: damped resonances, unit energy."""
        time = np.arange(int(7 * decay_s * self.sample_rate)) / self.sample_rate
        response = np.zeros_like(time)
        for centre in centres_hz:
            frequency = centre * (1.0 + scatter * self.rng.standard_normal())
            tau = decay_s * np.sqrt(centres_hz[0] / frequency)
            gain = from_db(2.0 * self.rng.standard_normal())
            response += gain * np.exp(-time / tau) * np.sin(2 * np.pi * frequency * time)
        return response / float(np.sqrt(np.sum(response**2)))

    def events(self, angle: FloatArray, order: float, slip: float = 0.0) -> FloatArray:
        """Draw the times [s] of events that come ``order`` times per revolution; slip adds up."""
        count = int((angle[-1] - angle[0]) * order * 1.2) + 3
        steps = (1.0 + slip * self.rng.standard_normal(count)) / order
        angles = angle[0] + (self.rng.uniform() - 1.0) / order + np.cumsum(steps)
        angles = angles[(angles > angle[0]) & (angles < angle[-1])]
        return np.asarray(np.interp(angles, angle, np.arange(len(angle)) / self.sample_rate))

    def impacts(
        self,
        times_s: FloatArray,
        force: FloatArray | float,
        response: FloatArray,
        spread: float = 0.0,
    ) -> FloatArray:
        """Train of impacts: every event adds ``force * response``, log-normal by ``spread``."""
        if spread:
            force = force * np.exp(spread * self.rng.standard_normal(len(times_s)))
        position = np.asarray(times_s) * self.sample_rate
        inside = (position >= 0) & (position < self.n_samples - 1)
        weight = np.broadcast_to(force, position.shape)[inside]
        first = position[inside].astype(int)
        part = position[inside] - first
        pulses = np.bincount(first, weight * (1.0 - part), self.n_samples)
        pulses += np.bincount(first + 1, weight * part, self.n_samples)
        return np.asarray(scipy.signal.oaconvolve(pulses, response)[: self.n_samples])


@dataclass(frozen=True)
class State:
    """One operating state of a machine; those of one ``structure`` share the transfer path."""

    attribute: str  # as in file names, e.g. car_B1_spd_31V_mic_1
    domain: str  # source or target
    quantities: Mapping[str, float]  # their unit is the suffix of the name
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
    """A machine type: its states, faults and sound."""

    machine_type: str  # folder name, ending in Sim
    has_attributes: bool  # whether names and attributes_00.csv show the attribute
    supplemental: str  # clean (machine without background) or noise (the reverse)
    states: tuple[State, ...]
    faults: tuple[str, ...]
    snr_db: float  # over the background above 100 Hz; state, path and session add to it
    domain_shift: float  # how far the target's hall and microphone lie from the source's
    #: Sound at about unit root mean square above 100 Hz.
    synthesise: Callable[[State, Fault, Clip], FloatArray]
    duration_s: tuple[float, float] = (10.0, 10.0)  # shortest and longest clip
