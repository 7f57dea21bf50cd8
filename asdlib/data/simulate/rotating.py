"""Rotating machines: bearing rig, fan and gearbox."""

from __future__ import annotations

import numpy as np

from asdlib.data.simulate.bearings import BearingGeometry, bearing_frequencies, fault_impacts
from asdlib.data.simulate.model import Clip, Fault, MachineModel, State
from asdlib.data.simulate.sources import (
    FloatArray,
    event_times,
    from_db,
    harmonic_series,
    impacts,
    resonance_gain,
    ring_down,
    rotation,
    shaped_noise,
)

# --- bearing rig ------------------------------------------------------------------------

BEARINGS = {"A": BearingGeometry(8, 0.27), "B": BearingGeometry(12, 0.19, 15.0)}
_BEARING_RESONANCES = {"A": (1700.0, 3100.0, 5200.0), "B": (2300.0, 4100.0, 6300.0)}


def _bearing_state(product: str, velocity: int, location: str, domain: str) -> State:
    lines = bearing_frequencies(float(velocity), BEARINGS[product])
    return State(
        attribute=f"pro_{product}_vel_{velocity}_loc_{location}",
        domain=domain,
        quantities={
            "shaft_rate_hz": float(velocity),
            "n_elements": BEARINGS[product].n_elements,
            "diameter_ratio": BEARINGS[product].diameter_ratio,
            "contact_angle_deg": BEARINGS[product].contact_angle_deg,
            "slot_tone_hz": 18.0 * velocity,
            **lines,
        },
        resonances_hz=_BEARING_RESONANCES[product],
        structure=f"pro_{product}_loc_{location}",
    )


def synthesise_bearing(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Bearing rig: shaft and slot tones, rolling noise in the housing's resonances.

    The rolling noise is modulated at the shaft rate (residual unbalance, load zone) and grows
    by 20 dB per decade of speed. Faults: pits of the outer and inner ring and of an element
    (impacts at BPFO, BPFI, 2 BSF), unbalance (tone and modulation at the shaft rate),
    looseness (impacts and modulation at half the shaft rate), dry raceway (asperity noise).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    rate_hz = state["shaft_rate_hz"] * clip.scatter(0.006)
    angle = rotation(n, sr, rate_hz, rng)
    unbalance = 0.10 * clip.scatter(0.3) + fault.grows("unbalance", 0.2, 0.6)
    shaft = harmonic_series(angle, [1.0, 0.5, 0.35, 0.25, 0.2, 0.15], rng, sample_rate=sr)
    slots = harmonic_series(angle, 0.75 ** np.arange(8), rng, sample_rate=sr, order=18)
    gain = resonance_gain(n, sr, state.resonances_hz, quality=2.5, floor_db=-14, tilt_db=-2)
    rolling = shaped_noise(n, gain, rng)
    depth = 0.45 * clip.scatter(0.15) + unbalance
    phase = rng.uniform()
    modulation = 1.0 + depth * np.cos(2 * np.pi * (angle + phase))
    modulation += fault.grows("looseness", 0.3, 0.8) * np.cos(np.pi * (angle + phase))
    speed_db = 20.0 * np.log10(state["shaft_rate_hz"] / 14.0)
    sound = clip.level(-3 + speed_db) * rolling * np.clip(modulation, 0.0, None)
    sound += clip.level(-9) * slots
    sound += clip.level(-9) * (1 + 3 * fault.grows("unbalance", 0.2, 0.7)) * shaft
    response = ring_down(sr, state.resonances_hz, rng, decay_s=0.0012)
    geometry = BearingGeometry(
        int(state["n_elements"]), state["diameter_ratio"], state["contact_angle_deg"]
    )
    for place in ("outer", "inner", "ball"):
        level = from_db(speed_db) * fault.level(f"{place}_pit", -11, -2)
        if level:
            sound += level * fault_impacts(angle, place, geometry, response, rng, sample_rate=sr)
    if fault.name == "looseness":
        times = event_times(angle, 0.5, rng, sample_rate=sr, slip=0.03)
        rattle = ring_down(sr, (700.0, 1500.0), rng, decay_s=0.006)
        size = fault.level("looseness", -12, -3) * np.sqrt(sr / (0.5 * rate_hz))
        sound += impacts(n, sr, times, size * np.exp(0.4 * rng.standard_normal(len(times))), rattle)
    dry = from_db(speed_db) * fault.level("dry_raceway", -13, -5)
    if dry:
        asperities = resonance_gain(n, sr, (3500.0, 6500.0), quality=1.2, floor_db=-20)
        sound += dry * shaped_noise(n, asperities, rng)
    return sound


# --- fan --------------------------------------------------------------------------------


def _fan_state(mixture: str, step: int, domain: str) -> State:
    rate_hz = {1: 18.6, 2: 22.4, 3: 26.8, 4: 20.5, 5: 24.6}[step]
    return State(
        attribute=f"m-n_{mixture}",
        domain=domain,
        quantities={
            "shaft_rate_hz": rate_hz,
            "n_blades": 7,
            "blade_pass_hz": 7 * rate_hz,
            "motor_hum_hz": 100.0,
        },
        resonances_hz=(410.0, 950.0, 2600.0),
        structure=f"duct_{mixture}",
    )


def synthesise_fan(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Axial fan: blade-pass harmonics, flow noise chopped by the blades, magnetic hum.

    The attribute is the mixture of machine and surroundings: a duct and a speed step. A
    faulty speed changes the level by 50 dB per decade, as the fifth to sixth power of flow
    speed. Faults: unbalance, damaged blade (sidebands at the shaft rate around blade pass),
    rubbing (a scrape once a revolution), clogged inlet (slower, more low and less high flow
    noise), wrong voltage (speed).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    detune = rng.choice((-1.0, 1.0)) * fault.grows("wrong_voltage", 0.03, 0.10)
    detune -= fault.grows("clogged_inlet", 0.01, 0.03)
    rate_hz = state["shaft_rate_hz"] * (1.0 + detune) * clip.scatter(0.008)
    angle = rotation(n, sr, rate_hz, rng, wander=0.003)
    blades = int(state["n_blades"])
    decay = 0.72 * clip.scatter(0.03)
    blade_pass = harmonic_series(angle, decay ** np.arange(14), rng, sample_rate=sr, order=blades)
    uneven = 0.12 * clip.scatter(0.3) + fault.grows("damaged_blade", 0.15, 0.6)
    shaft = harmonic_series(angle, 0.93 ** np.arange(40), rng, sample_rate=sr)
    hum = harmonic_series(
        rotation(n, sr, 100.0, rng, wander=1e-4), [1, 0.5, 0.35, 0.2], rng, sample_rate=sr
    )
    tilt = -4.0 + 0.3 * rng.standard_normal() - fault.grows("clogged_inlet", 0.8, 2.2)
    gain = resonance_gain(n, sr, state.resonances_hz, quality=1.5, floor_db=-10, tilt_db=tilt)
    flow = shaped_noise(n, gain, rng)
    flow *= 1.0 + 0.25 * np.cos(2 * np.pi * blades * angle)
    flow *= 1.0 + (0.08 * clip.scatter(0.3) + fault.grows("unbalance", 0.1, 0.4)) * np.cos(
        2 * np.pi * (angle + rng.uniform())
    )
    speed_db = 50.0 * np.log10(1.0 + detune)
    sound = clip.level(-3 + speed_db) * flow
    sound += clip.level(-8 + speed_db) * blade_pass
    sound += clip.level(-10) * uneven * 4 * shaft
    sound += clip.level(-14) * hum
    if fault.name == "unbalance":
        sound += fault.level("unbalance", -10, 0) * harmonic_series(
            angle, [1.0, 0.5, 0.3, 0.2, 0.1], rng, sample_rate=sr
        )
    if fault.name == "rubbing":
        scrape = shaped_noise(n, resonance_gain(n, sr, (3200.0, 5400.0), quality=3), rng)
        window = np.clip(np.cos(2 * np.pi * angle) - 0.75, 0.0, None) * 8.0
        sound += fault.level("rubbing", -15, -6) * scrape * window
    return sound


# --- gearbox ----------------------------------------------------------------------------

_PINION_TEETH, _WHEEL_TEETH = 17, 52
_SECOND_PINION_TEETH, _SECOND_WHEEL_TEETH = 14, 61


def _gearbox_state(volt: float, weight: int, domain: str) -> State:
    motor_hz = 14.5 * volt * (1.0 - 0.0004 * weight / volt)
    return State(
        attribute=f"volt_{volt:g}_wt_{weight}",
        domain=domain,
        quantities={
            "shaft_rate_hz": motor_hz,
            "mesh_hz": _PINION_TEETH * motor_hz,
            "wheel_rate_hz": motor_hz * _PINION_TEETH / _WHEEL_TEETH,
            "second_mesh_hz": motor_hz * _PINION_TEETH / _WHEEL_TEETH * _SECOND_PINION_TEETH,
            "load_n": 9.81 * weight / 1000.0,
            "volt": volt,
        },
        resonances_hz=(820.0, 1900.0, 3600.0),
        structure="gearbox",
    )


def synthesise_gearbox(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Two-stage spur gearbox on a DC motor.

    Mesh harmonics of both stages, amplitude and phase modulated at the rates of the shafts
    that carry the gears (sidebands), mesh level growing with load, motor slowing under it,
    rolling and lubricant noise. Faults: chipped tooth of pinion or wheel (an impact once per
    its revolution), worn teeth (higher mesh harmonics and wider sidebands), misalignment
    (modulation at twice the shaft rate), wrong voltage (speed), dry gears (friction noise).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    detune = rng.choice((-1.0, 1.0)) * fault.grows("wrong_voltage", 0.03, 0.09)
    rate_hz = state["shaft_rate_hz"] * (1.0 + detune) * clip.scatter(0.008)
    angle = rotation(n, sr, rate_hz, rng, wander=0.003)
    wheel = angle * _PINION_TEETH / _WHEEL_TEETH
    worn = fault.grows("worn_teeth", 0.25, 1.0)
    skew = fault.grows("misalignment", 0.25, 0.8)
    jitter = (0.02 + 0.03 * worn) * np.cos(2 * np.pi * (angle + rng.uniform())) / _PINION_TEETH
    harmonics = (0.62 + 0.14 * worn) * clip.scatter(0.03)
    mesh = harmonic_series(
        angle + jitter, harmonics ** np.arange(16), rng, sample_rate=sr, order=_PINION_TEETH
    )
    depth = 0.25 * clip.scatter(0.2) + 0.3 * worn
    mesh *= 1.0 + depth * np.cos(2 * np.pi * (angle + rng.uniform()))
    mesh *= 1.0 + skew * np.cos(4 * np.pi * (angle + rng.uniform()))
    second = harmonic_series(
        wheel, 0.7 ** np.arange(16), rng, sample_rate=sr, order=_SECOND_PINION_TEETH
    )
    second *= 1.0 + 0.35 * np.cos(2 * np.pi * (wheel + rng.uniform()))
    friction = shaped_noise(
        n, resonance_gain(n, sr, state.resonances_hz, quality=2, floor_db=-12, tilt_db=-2), rng
    )
    friction *= 1.0 + 0.3 * np.cos(2 * np.pi * (_PINION_TEETH * angle + rng.uniform()))
    load_db = 10.0 * np.log10((state["load_n"] + 0.6) / 1.6)
    speed_db = 20.0 * np.log10(state["volt"] / 1.75 * (1.0 + detune))
    sound = clip.level(-6 + load_db + speed_db) * mesh
    sound += clip.level(-9 + load_db + speed_db) * second
    sound += clip.level(-6 + speed_db) * friction
    for name, shaft, stage_hz in (
        ("chipped_pinion", angle, rate_hz),
        ("chipped_wheel", wheel, rate_hz * _PINION_TEETH / _WHEEL_TEETH),
    ):
        level = from_db(speed_db) * fault.level(name, -13, -4)
        if level:
            times = event_times(shaft, 1.0, rng, sample_rate=sr)
            response = ring_down(sr, state.resonances_hz, rng, decay_s=0.005)
            force = level * np.sqrt(sr / stage_hz) * np.exp(0.2 * rng.standard_normal(len(times)))
            sound += impacts(n, sr, times, force, response)
    dry = from_db(speed_db) * fault.level("dry_gears", -14, -5)
    if dry:
        sound += dry * shaped_noise(n, resonance_gain(n, sr, (2500.0, 5000.0), quality=1), rng)
    return sound


MODELS = {
    "bearingSim": MachineModel(
        machine_type="bearingSim",
        duration_s=(10.0, 10.0),
        has_attributes=False,
        supplemental="noise",
        states=(
            _bearing_state("A", 8, "A", "source"),
            _bearing_state("A", 16, "B", "source"),
            _bearing_state("B", 12, "A", "source"),
            _bearing_state("B", 20, "B", "source"),
            _bearing_state("A", 24, "A", "source"),
            _bearing_state("A", 12, "C", "target"),
            _bearing_state("B", 16, "D", "target"),
        ),
        faults=("outer_pit", "inner_pit", "ball_pit", "unbalance", "looseness", "dry_raceway"),
        synthesise=synthesise_bearing,
        snr_db=(-2.5, 2.5),
        domain_shift=0.4,
    ),
    "fanSim": MachineModel(
        machine_type="fanSim",
        duration_s=(10.0, 10.0),
        has_attributes=True,
        supplemental="noise",
        states=(
            _fan_state("W", 1, "source"),
            _fan_state("X", 2, "source"),
            _fan_state("Y", 3, "source"),
            _fan_state("Z", 4, "target"),
            _fan_state("V", 5, "target"),
        ),
        faults=("unbalance", "damaged_blade", "rubbing", "clogged_inlet", "wrong_voltage"),
        synthesise=synthesise_fan,
        snr_db=(0.5, 5.5),
        domain_shift=0.4,
    ),
    "gearboxSim": MachineModel(
        machine_type="gearboxSim",
        duration_s=(6.0, 8.0),
        has_attributes=True,
        supplemental="clean",
        states=(
            *(_gearbox_state(v, w, "source") for v in (1.5, 2.0, 2.5) for w in (50, 100)),
            _gearbox_state(1.75, 150, "target"),
            _gearbox_state(2.25, 0, "target"),
            _gearbox_state(3.0, 50, "target"),
        ),
        faults=(
            "chipped_pinion",
            "chipped_wheel",
            "worn_teeth",
            "misalignment",
            "wrong_voltage",
            "dry_gears",
        ),
        synthesise=synthesise_gearbox,
        snr_db=(-1.5, 3.5),
        domain_shift=0.4,
    ),
}
