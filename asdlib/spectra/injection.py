"""Known changes of a recording, at stated strengths: what a fault of each kind would add.

Nobody has the faults of a machine that is well. But a normal recording that was changed in a
known way tells which changes a detector hears, and from which strength on, at this microphone,
in this hall. Every change is one sentence of acoustics; where it sits (frequency, rate, moment)
is drawn at random, so that no detector can be built for it.

Strengths are in decibels: of a gain, or of what is added relative to the recording's own level
(root mean square). Only the change of speed is in per cent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal

from asdlib.errors import InputError

Array = npt.NDArray[np.float64]
#: A change: samples, sampling rate [Hz], strength, random generator -> samples.
Change = Callable[[Array, float, float, np.random.Generator], Array]

_GAP_S = 0.02
_EVENT_S = 0.25
_IMPACT_DECAY_S = 0.004


@dataclass(frozen=True)
class Injection:
    """One kind of change.

    Attributes
    ----------
    strengths : tuple of float
        Weakest first.
    unit : str
        Of the strengths: ``"dB"`` or ``"%"``.
    change : callable
        ``change(y, sr, strength, rng)`` gives as many samples as ``y`` has.
    """

    strengths: tuple[float, ...]
    unit: str
    change: Change


def inject(
    y: npt.ArrayLike, *, sr: float, kind: str, strength: float, rng: np.random.Generator
) -> Array:
    """Change a recording in a known way.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
        Samples, any unit.
    sr : float
        Sampling rate [Hz].
    kind : str
        A key of `INJECTIONS`.
    strength : float
        In the kind's unit; any, not only those of the table.
    rng : Generator
        Draws where the change sits.

    Returns
    -------
    ndarray of float64, shape (n_samples,)

    Raises
    ------
    InputError
        For an unknown kind, or a recording without sound.
    """
    if kind not in INJECTIONS:
        raise InputError(f"kind={kind!r}: expected one of {', '.join(INJECTIONS)}.")
    samples = np.asarray(y, dtype=np.float64)
    if samples.ndim != 1 or not samples.any():
        raise InputError("y holds no sound: there is nothing that a change could be relative to.")
    return INJECTIONS[kind].change(samples, sr, strength, rng)


def _gain(decibel: float) -> float:
    return float(10 ** (decibel / 20))


def _rms(y: Array) -> float:
    return float(np.sqrt(np.mean(y**2)))


def _add(y: Array, sound: Array, decibel: float) -> Array:
    """Add a sound at a level relative to the recording's own."""
    return y + sound * (_rms(y) * _gain(decibel) / max(_rms(sound), 1e-30))


def _frequency(sr: float, rng: np.random.Generator) -> float:
    """Draw a frequency from 300 Hz to 0.8 of the band, uniform in pitch [Hz]."""
    return float(np.exp(rng.uniform(np.log(300.0), np.log(0.4 * sr))))


def _level(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return y * _gain(strength)


def _noise(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return _add(y, rng.standard_normal(len(y)), strength)


def _filtered(y: Array, sr: float, strength: float, centre_hz: float, octaves: float) -> Array:
    """Raise a bell-shaped band over pitch by ``strength`` [dB]; phase is left alone."""
    frequencies_hz = np.fft.rfftfreq(len(y), 1 / sr)
    pitch = np.log2(np.maximum(frequencies_hz, 1.0) / centre_hz)
    bell_db = strength * np.exp(-0.5 * (pitch / (octaves / 2)) ** 2)
    return np.fft.irfft(np.fft.rfft(y) * 10 ** (bell_db / 20), len(y))


def _band_gain(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return _filtered(y, sr, strength, _frequency(sr, rng), octaves=1.0)


def _resonance(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Move a peak a twelfth of an octave wide up by that width: down here, up beside it."""
    centre_hz, width = _frequency(sr, rng), 1 / 12
    lowered = _filtered(y, sr, -strength, centre_hz, width)
    return _filtered(lowered, sr, strength, centre_hz * 2**width, width)


def _tone(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    phase = 2 * np.pi * _frequency(sr, rng) / sr * np.arange(len(y))
    return _add(y, np.sin(phase + rng.uniform(0, 2 * np.pi)), strength)


def _modulation(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Modulate the amplitude at 2 to 60 Hz; 0 dB is a depth of one."""
    rate_hz = np.exp(rng.uniform(np.log(2.0), np.log(60.0)))
    phase = 2 * np.pi * rate_hz / sr * np.arange(len(y)) + rng.uniform(0, 2 * np.pi)
    return np.asarray(y * (1 + _gain(strength) * np.sin(phase)))


def _ringing(y: Array, sr: float, starts: npt.NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Make decaying oscillations of one drawn frequency that begin at ``starts``."""
    frequency_hz = rng.uniform(0.1, 0.4) * sr
    time_s = np.arange(int(6 * _IMPACT_DECAY_S * sr)) / sr
    ring = np.exp(-time_s / _IMPACT_DECAY_S) * np.sin(2 * np.pi * frequency_hz * time_s)
    train = np.zeros(len(y))
    train[starts] = rng.uniform(0.7, 1.3, len(starts))
    return np.asarray(signal.fftconvolve(train, ring)[: len(y)])


def _impacts(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Add a train at 5 to 150 Hz whose intervals slip by 1 %, as rolling elements do."""
    period = sr / np.exp(rng.uniform(np.log(5.0), np.log(150.0)))
    count = int(len(y) / period) + 2
    moments = np.cumsum(period * (1 + 0.01 * rng.standard_normal(count))) - period * rng.random()
    starts = moments[(moments >= 0) & (moments < len(y))].astype(np.int64)
    return _add(y, _ringing(y, sr, starts, rng), strength) if len(starts) else y


def _random_impacts(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Add three a second on average, at least one."""
    count = max(int(rng.poisson(3 * len(y) / sr)), 1)
    return _add(y, _ringing(y, sr, rng.integers(0, len(y), count), rng), strength)


def _gaps(y: Array, sr: float, starts: npt.NDArray[np.int64], length_s: float, dip: float) -> Array:
    """Lower stretches by ``dip`` decibels, with raised-cosine edges."""
    length = min(max(int(length_s * sr), 4), len(y))
    window = signal.windows.tukey(length, 0.5)
    depth = np.zeros(len(y))
    for start in starts:
        first = min(max(int(start), 0), len(y) - length)
        depth[first : first + length] = np.maximum(depth[first : first + length], window)
    return np.asarray(y * 10.0 ** (-dip * depth / 20))


def _missing_event(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Lower the loudest quarter of a second."""
    length = min(max(int(_EVENT_S * sr), 4), len(y))
    energy = np.concatenate([[0.0], np.cumsum(y**2)])
    loudest = int(np.argmax(energy[length:] - energy[:-length]))
    return _gaps(y, sr, np.array([loudest]), _EVENT_S, strength)


def _dropouts(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Tear gaps of 20 ms, twice a second on average, at least one."""
    count = max(int(rng.poisson(2 * len(y) / sr)), 1)
    return _gaps(y, sr, rng.integers(0, len(y), count), _GAP_S, strength)


def _speed(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Run everything faster or slower; the end is filled up from the beginning."""
    factor = 1 + rng.choice([-1, 1]) * strength / 100
    places = np.arange(len(y)) * factor
    return np.asarray(np.interp(places % (len(y) - 1), np.arange(len(y)), y))


def _rubbing(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Add noise of a drawn octave, once a revolution at 5 to 40 Hz for part of it."""
    low_hz = rng.uniform(0.08, 0.2) * sr
    sos = signal.butter(2, [low_hz, 2 * low_hz], btype="bandpass", fs=sr, output="sos")
    noise = np.asarray(signal.sosfilt(sos, rng.standard_normal(len(y))))
    turn = np.arange(len(y)) * np.exp(rng.uniform(np.log(5.0), np.log(40.0))) / sr
    contact = np.maximum(np.cos(2 * np.pi * (turn + rng.random())), 0.0) ** 2
    return _add(y, noise * contact, strength)


#: Changes by name.
INJECTIONS = {
    "level": Injection((1.0, 2.0, 4.0, 8.0), "dB", _level),
    "noise": Injection((-24.0, -16.0, -8.0, 0.0), "dB", _noise),
    "band gain": Injection((2.0, 4.0, 8.0, 16.0), "dB", _band_gain),
    "shifted resonance": Injection((4.0, 8.0, 16.0, 32.0), "dB", _resonance),
    "tone": Injection((-40.0, -30.0, -20.0, -10.0), "dB", _tone),
    "modulation": Injection((-24.0, -16.0, -8.0, -1.0), "dB", _modulation),
    "impacts": Injection((-30.0, -22.0, -14.0, -6.0), "dB", _impacts),
    "random impacts": Injection((-30.0, -22.0, -14.0, -6.0), "dB", _random_impacts),
    "missing event": Injection((3.0, 6.0, 12.0, 24.0), "dB", _missing_event),
    "speed": Injection((1.0, 2.0, 5.0, 10.0), "%", _speed),
    "rubbing": Injection((-30.0, -22.0, -14.0, -6.0), "dB", _rubbing),
    "dropouts": Injection((3.0, 6.0, 12.0, 24.0), "dB", _dropouts),
}
