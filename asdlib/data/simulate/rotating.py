"""Rotating machines: a fan whose faults are of colour alone, and a gearbox."""

from __future__ import annotations

import numpy as np

from asdlib.data.simulate.sources import (
    Clip,
    Fault,
    FloatArray,
    MachineModel,
    State,
    from_db,
    modulation,
)

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
        },
        resonances_hz=(410.0, 950.0, 2600.0),
        structure=f"duct_{mixture}",
    )


def synthesise_fan(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Ventilation fan: stationary flow noise, faint blade-pass tones and magnetic hum.

    The attribute is the mixture of machine and surroundings: a duct and a speed step.
    """
    slower = fault.grows("clogged_inlet", 0.002, 0.008)
    rate_hz = state["shaft_rate_hz"] * clip.pace * (1.0 - slower) * clip.scatter(0.008)
    angle = clip.rotation(rate_hz, wander=0.003)
    blades = int(state["n_blades"])
    blade_pass = clip.tones(angle, (0.72 * clip.scatter(0.03)) ** np.arange(14), order=blades)
    shaft = clip.tones(angle, 0.93 ** np.arange(40))
    hum = clip.tones(clip.rotation(100.0, wander=1e-4), [1, 0.5, 0.35, 0.2])
    tilt_db = -4.0 + 0.15 * clip.rng.standard_normal() - fault.grows("clogged_inlet", 0.8, 2.2)
    flow = clip.noise(state.resonances_hz, quality=1.5, floor_db=-10, tilt_db=tilt_db)
    flow = clip.coloured(flow, 1600, 16000, fault.grows("torn_filter", 2.0, 6.5))
    flow = clip.coloured(flow, 500, 1800, fault.grows("missing_lining", 2.0, 6.5))
    flow = clip.coloured(flow, 60, 350, fault.grows("stalled_blades", 3.0, 7.5))
    flow *= 1.0 + 0.1 * np.cos(2 * np.pi * blades * angle)
    sound = clip.level(-0.5 + fault.grows("fouled_blades", 2.5, 5.5)) * flow
    sound += clip.level(-13) * blade_pass + clip.level(-17) * shaft + clip.level(-16) * hum
    leak = fault.level("duct_leak", -12, -4)
    if leak:
        sound += leak * clip.of_fault.noise((3600.0,), quality=0.8)
    return sound


# --- gearbox ----------------------------------------------------------------------------

_PINION_TEETH, _WHEEL_TEETH = 17, 52
_SECOND_PINION_TEETH = 14


def _gearbox_state(volt: float, weight: int, domain: str) -> State:
    motor_hz = 14.5 * volt * (1.0 - 0.0004 * weight / volt)
    return State(
        attribute=f"volt_{volt:g}_wt_{weight}",
        domain=domain,
        quantities={
            "shaft_rate_hz": motor_hz,
            "mesh_hz": _PINION_TEETH * motor_hz,
            "load_n": 9.81 * weight / 1000.0,
            "volt": volt,
        },
        resonances_hz=(820.0, 1900.0, 3600.0),
        structure="gearbox",
    )


def synthesise_gearbox(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Two-stage spur gearbox on a DC motor: mesh harmonics of both stages, sidebands, friction."""
    rng, odd = clip.rng, clip.of_fault
    detune = fault.either_way("wrong_voltage", clip, 0.03, 0.09)
    rate_hz = state["shaft_rate_hz"] * clip.pace * (1.0 + detune) * clip.scatter(0.008)
    angle = clip.rotation(rate_hz, wander=0.003)
    wheel = angle * _PINION_TEETH / _WHEEL_TEETH
    worn = fault.grows("worn_teeth", 0.8, 1.4)
    jitter = (0.02 + 0.03 * worn) * np.cos(2 * np.pi * (angle + rng.uniform())) / _PINION_TEETH
    harmonics = (0.62 + 0.2 * worn) * clip.scatter(0.03)
    mesh = clip.tones(angle + jitter, harmonics ** np.arange(16), order=_PINION_TEETH)
    depth = 0.25 * clip.scatter(0.2) + 0.4 * worn
    mesh *= modulation(depth, angle + rng.uniform())
    second = clip.tones(wheel, 0.7 ** np.arange(16), order=_SECOND_PINION_TEETH)
    second *= 1.0 + 0.35 * np.cos(2 * np.pi * (wheel + rng.uniform()))
    friction = clip.noise(state.resonances_hz, quality=2, floor_db=-12, tilt_db=-2)
    friction *= 1.0 + 0.3 * np.cos(2 * np.pi * (_PINION_TEETH * angle + rng.uniform()))
    load_db = 10.0 * np.log10((state["load_n"] + 0.6) / 1.6)
    speed_db = 20.0 * np.log10(state["volt"] / 1.75 * (1.0 + detune))
    rough_db = fault.grows("rough_flanks", 2.5, 5.5)
    sound = clip.level(-5 + load_db + speed_db + rough_db) * mesh
    sound += clip.level(-8 + load_db + speed_db + rough_db) * second
    sound += clip.level(-5 + speed_db + rough_db) * friction
    sound = clip.coloured(sound, 80, 450, fault.grows("hard_mounts", 3.0, 9.0))
    sound = clip.coloured(sound, 1500, 4000, fault.grows("loose_cover", 2.0, 7.0))
    chipped = from_db(speed_db) * fault.level("chipped_pinion", -15, -7)
    if chipped:
        response = odd.ring(state.resonances_hz, decay_s=0.005)
        force = chipped * np.sqrt(clip.sample_rate / rate_hz)
        sound += odd.impacts(odd.events(angle, 1.0), force, response, spread=0.2)
    dry = from_db(speed_db) * fault.level("dry_gears", -10, -3)
    if dry:
        sound += dry * odd.noise((2500.0, 5000.0), quality=1)
    return sound


MODELS = (
    MachineModel(
        machine_type="fanSim",
        has_attributes=True,
        supplemental="noise",
        states=(
            _fan_state("W", 1, "source"),
            _fan_state("X", 2, "source"),
            _fan_state("Y", 3, "source"),
            _fan_state("Z", 4, "target"),
            _fan_state("V", 5, "target"),
        ),
        faults=(
            "clogged_inlet", "torn_filter", "missing_lining",
            "duct_leak", "stalled_blades", "fouled_blades",
        ),
        synthesise=synthesise_fan,
        snr_db=3.0,
        domain_shift=0.4,
    ),
    MachineModel(
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
            "chipped_pinion", "worn_teeth", "wrong_voltage",
            "dry_gears", "hard_mounts", "loose_cover", "rough_flanks",
        ),
        synthesise=synthesise_gearbox,
        snr_db=1.0,
        domain_shift=0.4,
    ),
)  # fmt: skip
