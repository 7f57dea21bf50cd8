"""Known changes of a recording, at stated strengths: what a fault of each kind would add.

Nobody has the faults of a machine that is well, but a normal recording that was changed tells which
changes a detector hears, and from which strength on, at this microphone, in this hall. Where a
change sits (frequency, rate, moment) is drawn at random, so that no detector can be built for it.
A rehearsal puts a third of every domain's training clips aside, changes some of them so, and has
all of them scored as new recordings by what is left. No label of a test clip is used.

Strengths are in decibels: of a gain, or of what is added relative to the recording's own level
(root mean square). Only the change of speed is in per cent.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import signal
from typing_extensions import Unpack

from asdlib.base import InputError
from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import StoreOptions, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.envelope import Array

Starts = npt.NDArray[np.int64]
#: A change: samples, sampling rate [Hz], strength, random generator -> samples.
Change = Callable[[Array, float, float, np.random.Generator], Array]

_GAP_S = 0.02
_EVENT_S = 0.25
_IMPACT_DECAY_S = 0.004
#: Length of a clip that counts as one [s], and the most clips of a machine that are changed.
_CLIP_S, _MOST_CLIPS = 10.0, 40


@dataclass(frozen=True)
class Injection:
    """One kind of change: ``change(y, sr, strength, rng)`` gives as many samples as ``y`` has."""

    strengths: tuple[float, ...]  # weakest first
    unit: str  # of the strengths, dB or %
    change: Change


def inject(
    y: npt.ArrayLike, *, sr: float, kind: str, strength: float, rng: np.random.Generator
) -> Array:
    """Change a recording (n_samples,) by one of `INJECTIONS`, at a strength in its unit."""
    if kind not in INJECTIONS:
        raise InputError(f"kind={kind!r}: expected one of {', '.join(INJECTIONS)}.")
    samples = np.asarray(y, dtype=np.float64)
    if samples.ndim != 1 or not samples.any():
        raise InputError("y holds no sound: there is nothing that a change could be relative to.")
    return INJECTIONS[kind].change(samples, sr, strength, rng)


def _gain(decibel: float) -> float:
    return float(10 ** (decibel / 20))


def add_sound(y: Array, sound: Array, decibel: float) -> Array:
    """Add a sound at a level [dB] relative to the recording's own."""
    own, others = (float(np.sqrt(np.mean(each**2))) for each in (y, sound))
    return y + sound * (own * _gain(decibel) / max(others, 1e-30))


def _draw(rng: np.random.Generator, low_hz: float, high_hz: float) -> float:
    """Draw a frequency or rate, uniform in pitch [Hz]."""
    return float(np.exp(rng.uniform(np.log(low_hz), np.log(high_hz))))


def _starts(y: Array, sr: float, rng: np.random.Generator, *, per_s: float) -> Starts:
    """Draw moments at random, so many a second on average, at least one."""
    count = max(int(rng.poisson(per_s * len(y) / sr)), 1)
    return rng.integers(0, len(y), count)


def _level(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return y * _gain(strength)


def _noise(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return add_sound(y, rng.standard_normal(len(y)), strength)


def _filtered(y: Array, sr: float, strength: float, centre_hz: float, octaves: float) -> Array:
    """Raise a bell-shaped band over pitch by ``strength`` [dB]; phase is left alone."""
    frequencies_hz = np.fft.rfftfreq(len(y), 1 / sr)
    pitch = np.log2(np.maximum(frequencies_hz, 1.0) / centre_hz)
    bell_db = strength * np.exp(-0.5 * (pitch / (octaves / 2)) ** 2)
    return np.fft.irfft(np.fft.rfft(y) * 10 ** (bell_db / 20), len(y))


def _band_gain(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return _filtered(y, sr, strength, _draw(rng, 300.0, 0.4 * sr), octaves=1.0)


def _resonance(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Move a peak a twelfth of an octave wide up by that width: down here, up beside it."""
    centre_hz, width = _draw(rng, 300.0, 0.4 * sr), 1 / 12
    lowered = _filtered(y, sr, -strength, centre_hz, width)
    return _filtered(lowered, sr, strength, centre_hz * 2**width, width)


def _tone(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    phase = 2 * np.pi * _draw(rng, 300.0, 0.4 * sr) / sr * np.arange(len(y))
    return add_sound(y, np.sin(phase + rng.uniform(0, 2 * np.pi)), strength)


def _modulation(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Modulate the amplitude at 2 to 60 Hz; 0 dB is a depth of one."""
    rate_hz = _draw(rng, 2.0, 60.0)
    phase = 2 * np.pi * rate_hz / sr * np.arange(len(y)) + rng.uniform(0, 2 * np.pi)
    return np.asarray(y * (1 + _gain(strength) * np.sin(phase)))


def _ringing(y: Array, sr: float, starts: Starts, rng: np.random.Generator) -> Array:
    """Make decaying oscillations of one drawn frequency that begin at ``starts``."""
    frequency_hz = rng.uniform(0.1, 0.4) * sr
    time_s = np.arange(int(6 * _IMPACT_DECAY_S * sr)) / sr
    ring = np.exp(-time_s / _IMPACT_DECAY_S) * np.sin(2 * np.pi * frequency_hz * time_s)
    train = np.zeros(len(y))
    train[starts] = rng.uniform(0.7, 1.3, len(starts))
    return np.asarray(signal.fftconvolve(train, ring)[: len(y)])


def _impacts(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    """Add a train at 5 to 150 Hz whose intervals slip by 1 %, as rolling elements do."""
    period = sr / _draw(rng, 5.0, 150.0)
    count = int(len(y) / period) + 2
    moments = np.cumsum(period * (1 + 0.01 * rng.standard_normal(count))) - period * rng.random()
    starts = moments[(moments >= 0) & (moments < len(y))].astype(np.int64)
    return add_sound(y, _ringing(y, sr, starts, rng), strength) if len(starts) else y


def _random_impacts(y: Array, sr: float, strength: float, rng: np.random.Generator) -> Array:
    return add_sound(y, _ringing(y, sr, _starts(y, sr, rng, per_s=3), rng), strength)


def _gaps(y: Array, sr: float, starts: Starts, length_s: float, dip: float) -> Array:
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
    return _gaps(y, sr, _starts(y, sr, rng, per_s=2), _GAP_S, strength)


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
    turn = np.arange(len(y)) * _draw(rng, 5.0, 40.0) / sr
    contact = np.maximum(np.cos(2 * np.pi * (turn + rng.random())), 0.0) ** 2
    return add_sound(y, noise * contact, strength)


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


def plan_rehearsal(
    clips: pd.DataFrame,
    held_out: npt.NDArray[np.bool_],
    *,
    n_clips: int,
    duration_s: float | npt.NDArray[np.floating],
) -> pd.DataFrame:
    """Choose the clips that are changed, and how; one row per changed clip.

    ``n_clips`` of a machine, evenly spaced over the ``held_out`` ones of each domain, in every kind
    and strength of `INJECTIONS`. A machine with clips of less than 10 s (``duration_s``, of all
    or of each) has more changed, for the same length of sound, 40 at most: few clips tell little.
    Columns of ``clips``, ``made_from, kind, strength, unit``.
    """
    chosen = []
    length_s = pd.Series(duration_s, clips.index)
    for _, machine in clips[held_out].groupby("machine_type", sort=True):
        more = max(1.0, _CLIP_S / float(length_s[machine.index].median()))
        n_changed = max(n_clips, min(round(more * n_clips), _MOST_CLIPS))
        domains = [own for _, own in machine.groupby(machine["domain"].fillna(""), sort=True)]
        share = [max(1, round(n_changed * len(own) / len(machine))) for own in domains]
        for own, count in zip(domains, share, strict=True):
            places = np.linspace(0, len(own) - 1, min(count, len(own))).round().astype(np.int64)
            chosen.append(own.iloc[np.unique(places)])
    columns = ["kind", "strength", "unit"]
    kinds = [(kind, s, each.unit) for kind, each in INJECTIONS.items() for s in each.strengths]
    plan = pd.concat(chosen, ignore_index=True)
    plan = plan.merge(pd.DataFrame(kinds, columns=columns), how="cross")
    plan["made_from"] = plan["clip_id"]
    change = plan["kind"] + " " + plan["strength"].map("{:g}".format) + " " + plan["unit"]
    plan["clip_id"] = plan["made_from"] + " + " + change
    is_anomaly = pd.array([True] * len(plan), dtype="boolean")
    return plan.assign(split="test", is_anomaly=is_anomaly)


def open_rehearsal(
    waveforms: ArrayStore, plan: pd.DataFrame, **options: Unpack[StoreOptions]
) -> ArrayStore:
    """Open the store of the changed clips of a plan, int16; change what of it is missing.

    Clipped at full scale, as a recorder would; a row per row of the plan, by its ``clip_id``.
    """
    sr = float(waveforms.settings.get("sample_rate", 16000))
    made_from = plan["made_from"].tolist()
    changes = list(zip(plan["kind"], plan["strength"], made_from, strict=True))
    positions = waveforms.positions(made_from)

    def change(index: int, samples: npt.NDArray[np.int16], out: npt.NDArray[np.int16]) -> None:
        if not samples.any():
            return
        kind, strength, clip_id = changes[index]
        # Of one clip and kind, the change sits at the same place in all strengths.
        rng = np.random.default_rng(zlib.crc32(f"{clip_id} {kind}".encode()))
        changed = inject(samples / FULL_SCALE, sr=sr, kind=kind, strength=strength, rng=rng)
        out[:] = np.clip(np.round(changed * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)

    return map_clips(
        waveforms,
        made_from,
        lambda: change,
        kind="injected",
        settings={"changes": [list(change[:2]) for change in changes], "sample_rate": sr},
        lengths=np.diff(waveforms.offsets)[positions],
        dtype="<i2",
        names=plan["clip_id"].tolist(),
        **options,
    )
