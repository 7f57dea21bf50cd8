"""Toy vehicles: a car on a dynamometer and a train on a track with rail joints."""

from __future__ import annotations

import numpy as np

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

# --- car --------------------------------------------------------------------------------

# Car: motor constant [Hz/V], teeth of pinion and crown wheel, body resonances [Hz]. The second
# specimen of a type (A2 beside A1) differs by manufacture only.
_CARS: dict[str, tuple[float, int, int, tuple[float, ...]]] = {
    "A1": (4.95, 11, 37, (1050.0, 2450.0, 4700.0)),
    "B1": (4.60, 9, 38, (900.0, 2100.0, 4300.0)),
    "B2": (4.68, 9, 38, (930.0, 2170.0, 4200.0)),
    "C1": (5.30, 10, 42, (1150.0, 2700.0, 5200.0)),
    "C2": (5.22, 10, 42, (1120.0, 2620.0, 5350.0)),
    "E1": (4.40, 12, 40, (800.0, 1900.0, 3900.0)),
}


def _car_state(car: str, volt: int, domain: str) -> State:
    constant, pinion, crown, resonances = _CARS[car]
    motor_hz = constant * (volt - 6.0)
    microphone = 1 if domain == "source" else 2
    return State(
        attribute=f"car_{car}_spd_{volt}V_mic_{microphone}",
        domain=domain,
        quantities={
            "shaft_rate_hz": motor_hz,
            "commutation_hz": 6 * motor_hz,
            "pinion_teeth": pinion,
            "mesh_hz": pinion * motor_hz,
            "wheel_rate_hz": motor_hz * pinion / crown,
            "volt": volt,
        },
        resonances_hz=resonances,
        structure=f"car_{car}",
    )


def synthesise_car(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Toy car on rollers: commutator whine, gear mesh, tyres.

    The voltage less the drop at the brushes sets the motor's rate; six commutations a
    revolution, pinion mesh with sidebands of the motor shaft, tyre noise modulated at the
    wheel rate. Faults: bent axle (modulation and mesh wobble at the wheel rate), chipped
    pinion (an impact once per motor revolution), worn brush (sparking noise at commutation),
    loose wheel (rattle at irregular wheel turns), wrong voltage (speed).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    detune = rng.choice((-1.0, 1.0)) * fault.grows("wrong_voltage", 0.012, 0.035)
    rate_hz = state["shaft_rate_hz"] * (1.0 + detune) * clip.scatter(0.007)
    motor = rotation(n, sr, rate_hz, rng, wander=0.003)
    wheel = motor * (state["wheel_rate_hz"] / state["shaft_rate_hz"])
    bent = fault.grows("bent_axle", 0.2, 0.8)
    whine = harmonic_series(motor, (0.7 * clip.scatter(0.04)) ** np.arange(10), rng,
                            sample_rate=sr, order=6)  # fmt: skip
    wobble = np.cos(2 * np.pi * (wheel + rng.uniform()))
    mesh = harmonic_series(
        motor + 0.002 * bent * wobble,
        (0.68 * clip.scatter(0.04)) ** np.arange(10),
        rng,
        sample_rate=sr,
        order=int(state["pinion_teeth"]),
    )
    mesh *= 1.0 + 0.3 * clip.scatter(0.2) * np.cos(2 * np.pi * (motor + rng.uniform()))
    mesh *= 1.0 + bent * wobble
    gain = resonance_gain(n, sr, state.resonances_hz, quality=3, floor_db=-14, tilt_db=-1)
    tyres = shaped_noise(n, gain, rng) * (1.0 + (0.2 * clip.scatter(0.2) + bent) * wobble)
    speed_db = 30.0 * np.log10(rate_hz / 130.0)
    sound = clip.level(-6 + speed_db) * whine
    sound += clip.level(-7 + speed_db) * mesh
    sound += clip.level(-5 + speed_db) * tyres
    for name, shaft, order, force_scatter, centres in (
        ("chipped_pinion", motor, 1.0, 0.15, state.resonances_hz),
        ("loose_wheel", wheel, 0.7, 0.6, (420.0, 1300.0, 2900.0)),
    ):
        level = from_db(speed_db) * fault.level(name, -12, -3)
        if level:
            slip = 0.25 if name == "loose_wheel" else 0.0
            times = event_times(shaft, order, rng, sample_rate=sr, slip=slip)
            force = level * np.sqrt(n / len(times))
            spread = np.exp(force_scatter * rng.standard_normal(len(times)))
            sound += impacts(
                n, sr, times, force * spread, ring_down(sr, centres, rng, decay_s=0.004)
            )
    sparks = fault.level("worn_brush", -14, -5)
    if sparks:
        hiss = shaped_noise(n, resonance_gain(n, sr, (6200.0,), quality=1, floor_db=-12), rng)
        sound += sparks * hiss * np.clip(np.cos(2 * np.pi * 6 * motor), 0.0, None) * 2.0
    return sound


# --- train ------------------------------------------------------------------------------

# Train: wheelbase of the bogie [m], gear order of the motor whine, wheel resonances [Hz].
_TRAINS: dict[str, tuple[float, int, tuple[float, ...]]] = {
    "A1": (0.030, 13, (1000.0, 2500.0, 5000.0)),
    "B1": (0.024, 12, (1300.0, 3000.0, 5600.0)),
    "C1": (0.036, 16, (850.0, 2000.0, 4300.0)),
    "E1": (0.028, 14, (1150.0, 2250.0, 4800.0)),
}
_RAIL_M, _WHEEL_CIRCUMFERENCE_M, _OVAL_M = 0.108, 0.044, 1.9
_MOTOR_RATIO = 7.5


def _train_state(train: str, step: int, domain: str) -> State:
    wheelbase_m, order, resonances = _TRAINS[train]
    speed_m_s = 0.075 * step
    wheel_hz = speed_m_s / _WHEEL_CIRCUMFERENCE_M
    microphone = 1 if domain == "source" else 2
    return State(
        attribute=f"car_{train}_spd_{step}_mic_{microphone}",
        domain=domain,
        quantities={
            "speed_m_s": speed_m_s,
            "joint_rate_hz": speed_m_s / _RAIL_M,
            "wheel_rate_hz": wheel_hz,
            "shaft_rate_hz": wheel_hz * _MOTOR_RATIO,
            "whine_order": order,
            "whine_hz": wheel_hz * _MOTOR_RATIO * order,
            "wheelbase_m": wheelbase_m,
            "lap_rate_hz": speed_m_s / _OVAL_M,
        },
        resonances_hz=resonances,
        structure=f"car_{train}",
    )


def synthesise_train(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Toy train on an oval of straight rails: joints, rolling, motor whine, laps.

    Every axle of a bogie strikes every rail joint, so clicks come in pairs, their delay being
    wheelbase over speed; joints differ a little. Rolling noise grows with speed; the level
    breathes as the train passes the microphone once a lap. Faults: flat wheel (an impact once
    per turn of the wheel), broken joint (one joint of the oval hits hard), bent axle
    (modulation at the wheel rate), rattling coupling, wrong voltage (speed), dry axle (squeal
    in curves).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    detune = rng.choice((-1.0, 1.0)) * fault.grows("wrong_voltage", 0.02, 0.065)
    speed = state["speed_m_s"] * (1.0 + detune) * clip.scatter(0.01)
    wheel = rotation(n, sr, speed / _WHEEL_CIRCUMFERENCE_M, rng, wander=0.004)
    way_m = wheel * _WHEEL_CIRCUMFERENCE_M + rng.uniform(0, _OVAL_M)
    near = 1.0 + 0.35 * np.cos(2 * np.pi * way_m / _OVAL_M)
    gain = resonance_gain(n, sr, state.resonances_hz, quality=2.5, floor_db=-14, tilt_db=-2)
    bent = fault.grows("bent_axle", 0.35, 1.0)
    rolling = shaped_noise(n, gain, rng)
    rolling *= 1.0 + (0.15 * clip.scatter(0.2) + bent) * np.cos(2 * np.pi * wheel)
    motor = wheel * _MOTOR_RATIO
    whine = harmonic_series(
        motor,
        (0.75 * clip.scatter(0.04)) ** np.arange(10),
        rng,
        sample_rate=sr,
        order=int(state["whine_order"]),
    )
    whine *= 1.0 + (0.2 + 0.5 * bent) * np.cos(2 * np.pi * (wheel + rng.uniform()))
    speed_db = 25.0 * np.log10(speed / 0.55)
    sound = clip.level(-6 + speed_db) * rolling + clip.level(-9 + speed_db) * whine
    sound += clip.level(-2 + speed_db) * _joint_clicks(state, fault, clip, way_m)
    response = ring_down(sr, state.resonances_hz, rng, decay_s=0.004)
    for name, order, slip in (("flat_wheel", 1.0, 0.0), ("rattling_coupling", 1.7, 0.5)):
        level = from_db(speed_db) * fault.level(name, -12, -3)
        if level:
            if name == "rattling_coupling":
                response = ring_down(sr, (2700.0, 3900.0), rng, decay_s=0.002)
            times = event_times(wheel, order, rng, sample_rate=sr, slip=slip)
            force = np.sqrt(n / len(times)) * np.exp(0.4 * rng.standard_normal(len(times)))
            sound += level * impacts(n, sr, times, force, response)
    squeal = from_db(speed_db) * fault.level("dry_axle", -16, -6)
    if squeal:
        curve = np.clip(np.sin(4 * np.pi * way_m / _OVAL_M), 0.0, None)
        tone = harmonic_series(
            rotation(n, sr, 2400.0 * clip.scatter(0.08), rng, wander=0.01), [1, 0.3], rng,
            sample_rate=sr,
        )  # fmt: skip
        sound += squeal * curve * 2.0 * tone
    return sound * near


def _joint_clicks(state: State, fault: Fault, clip: Clip, way_m: FloatArray) -> FloatArray:
    """Clicks of the axles of two bogies over the joints, at about unit root mean square."""
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    time = np.arange(n) / sr
    joints = round(_OVAL_M / _RAIL_M)
    strength = np.exp(0.25 * rng.standard_normal(joints))
    strength[0] *= 1.0 + fault.grows("broken_joint", 1.5, 4.0)
    first = int(way_m[0] / _RAIL_M)
    last = int(way_m[-1] / _RAIL_M) + 1
    numbers = np.arange(first, last + 1)
    offsets = np.array([0.0, state["wheelbase_m"]])
    places = numbers[:, None] * _RAIL_M + offsets
    force = strength[numbers % joints][:, None] * np.array([1.0, 0.7])
    force = force * np.exp(0.15 * rng.standard_normal(force.shape))
    inside = (places > way_m[0]) & (places < way_m[-1])
    times = np.interp(places[inside], way_m, time)
    response = ring_down(sr, state.resonances_hz, rng, decay_s=0.003)
    rate_hz = 1.5 * state["joint_rate_hz"]
    return impacts(n, sr, times, force[inside] * np.sqrt(sr / rate_hz), response)


MODELS = {
    "ToyCarSim": MachineModel(
        machine_type="ToyCarSim",
        duration_s=(12.0, 12.0),
        has_attributes=True,
        supplemental="clean",
        states=(
            *(_car_state(car, v, "source") for car in ("B1", "B2", "C1", "C2")
              for v in (31, 34, 40)),
            *(_car_state(car, v, "target") for car in ("A1", "E1") for v in (28, 37)),
        ),
        faults=("bent_axle", "chipped_pinion", "worn_brush", "loose_wheel", "wrong_voltage"),
        snr_db=(-2.5, 2.5),
        domain_shift=0.4,
        synthesise=synthesise_car,
    ),
    "ToyTrainSim": MachineModel(
        machine_type="ToyTrainSim",
        duration_s=(10.0, 10.0),
        has_attributes=False,
        supplemental="clean",
        states=(
            _train_state("B1", 6, "source"),
            _train_state("B1", 8, "source"),
            _train_state("C1", 7, "source"),
            _train_state("C1", 10, "source"),
            _train_state("A1", 9, "target"),
            _train_state("E1", 9, "target"),
        ),
        faults=(
            "flat_wheel",
            "broken_joint",
            "bent_axle",
            "rattling_coupling",
            "wrong_voltage",
            "dry_axle",
        ),
        snr_db=(-2.5, 2.5),
        domain_shift=0.3,
        synthesise=synthesise_train,
    ),
}  # fmt: skip
