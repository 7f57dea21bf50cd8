"""Toy vehicles: a car on a dynamometer and a train on a track with rail joints."""

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
            "pinion_teeth": pinion,
            "mesh_hz": pinion * motor_hz,
            "wheel_rate_hz": motor_hz * pinion / crown,
        },
        resonances_hz=resonances,
        structure=f"car_{car}",
    )


def synthesise_car(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Toy car on rollers: commutator whine, gear mesh, tyres.

    The voltage less the drop at the brushes sets the motor's rate.
    """
    rng, odd = clip.rng, clip.of_fault
    detune = fault.either_way("wrong_voltage", clip, 0.015, 0.045)
    rate_hz = state["shaft_rate_hz"] * clip.pace * (1.0 + detune) * clip.scatter(0.007)
    motor = clip.rotation(rate_hz, wander=0.003)
    wheel = motor * (state["wheel_rate_hz"] / state["shaft_rate_hz"])
    bent = fault.grows("bent_axle", 0.25, 0.8)
    whine = clip.tones(motor, (0.7 * clip.scatter(0.04)) ** np.arange(10), order=6)
    turns = wheel + rng.uniform()
    harmonics = (0.68 * clip.scatter(0.04)) ** np.arange(10)
    mesh = clip.tones(
        motor + 0.002 * bent * np.cos(2 * np.pi * turns),
        harmonics,
        order=int(state["pinion_teeth"]),
    )
    mesh *= 1.0 + 0.3 * clip.scatter(0.2) * np.cos(2 * np.pi * (motor + rng.uniform()))
    mesh *= modulation(bent, turns)
    tyres = clip.noise(state.resonances_hz, quality=3, floor_db=-14, tilt_db=-1)
    tyres = clip.coloured(tyres, 300, 1500, fault.grows("worn_tyres", 3.5, 8.5))
    tyres = clip.coloured(tyres, 2000, 16000, -fault.grows("worn_tyres", 2.0, 5.0))
    tyres *= modulation(0.2 * clip.scatter(0.2) + bent, turns)
    speed_db = 30.0 * np.log10(rate_hz / 130.0)
    sound = clip.level(-6 + speed_db) * whine + clip.level(-7 + speed_db) * mesh
    sound += clip.level(-4 + speed_db) * tyres
    sound = clip.coloured(sound, 1600, 16000, fault.grows("missing_body", 2.0, 7.0))
    chipped = from_db(speed_db) * fault.level("chipped_pinion", -9, -1)
    if chipped:
        force = chipped * np.sqrt(clip.sample_rate / rate_hz)
        response = odd.ring(state.resonances_hz, decay_s=0.004)
        sound += odd.impacts(odd.events(motor, 1.0), force, response, spread=0.15)
    sparks = fault.level("worn_brush", -11, -4)
    if sparks:
        hiss = odd.noise((6200.0,), quality=1, floor_db=-12)
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
            "shaft_rate_hz": wheel_hz * _MOTOR_RATIO,
            "whine_order": order,
            "wheelbase_m": wheelbase_m,
            "lap_rate_hz": speed_m_s / _OVAL_M,
        },
        resonances_hz=resonances,
        structure=f"car_{train}",
    )


def synthesise_train(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Toy train on an oval of straight rails: joints, rolling, motor whine, laps.

    Every axle of a bogie strikes every joint: clicks come in pairs, wheelbase over speed apart.
    """
    odd = clip.of_fault
    detune = fault.either_way("wrong_voltage", clip, 0.025, 0.065)
    speed = state["speed_m_s"] * clip.pace * (1.0 + detune) * clip.scatter(0.01)
    wheel = clip.rotation(speed / _WHEEL_CIRCUMFERENCE_M, wander=0.004)
    way_m = wheel * _WHEEL_CIRCUMFERENCE_M + clip.rng.uniform(0, _OVAL_M)
    rolling = clip.noise(state.resonances_hz, quality=2.5, floor_db=-14, tilt_db=-2)
    rough_db = fault.grows("rough_wheels", 2.0, 4.0)
    rolling = from_db(rough_db) * clip.coloured(rolling, 1500, 16000, rough_db)
    rolling *= 1.0 + 0.15 * clip.scatter(0.2) * np.cos(2 * np.pi * wheel)
    harmonics = (0.75 * clip.scatter(0.04)) ** np.arange(10)
    whine = clip.tones(wheel * _MOTOR_RATIO, harmonics, order=int(state["whine_order"]))
    whine *= 1.0 + 0.2 * np.cos(2 * np.pi * (wheel + clip.rng.uniform()))
    speed_db = 25.0 * np.log10(speed / 0.55)
    sound = clip.level(-5 + speed_db) * rolling + clip.level(-8 + speed_db) * whine
    sound += clip.level(-2 + speed_db) * _joint_clicks(state, fault, clip, way_m)
    sound = clip.coloured(sound, 300, 1300, fault.grows("missing_pads", 3.0, 8.0))
    for name, faintest_db, order, slip, centres_hz, decay_s in (
        ("flat_wheel", -7.0, 1.0, 0.0, state.resonances_hz, 0.004),
        ("rattling_coupling", -13.0, 1.7, 0.5, (2700.0, 3900.0), 0.002),
    ):
        level = from_db(speed_db) * fault.level(name, faintest_db, faintest_db + 7.0)
        if level:
            response = odd.ring(centres_hz, decay_s)
            rate_hz = order * speed / _WHEEL_CIRCUMFERENCE_M
            force = level * np.sqrt(clip.sample_rate / rate_hz)
            sound += odd.impacts(odd.events(wheel, order, slip), force, response, spread=0.4)
    return sound * (1.0 + 0.35 * np.cos(2 * np.pi * way_m / _OVAL_M))


def _joint_clicks(state: State, fault: Fault, clip: Clip, way_m: FloatArray) -> FloatArray:
    """Clicks of the axles of two bogies over the joints, at about unit root mean square."""
    joints = round(_OVAL_M / _RAIL_M)
    strength = np.exp(0.25 * clip.rng.standard_normal(joints))
    numbers = np.arange(int(way_m[0] / _RAIL_M), int(way_m[-1] / _RAIL_M) + 2)
    response = clip.ring(state.resonances_hz, decay_s=0.003)
    places = numbers[:, None] * _RAIL_M + np.array([0.0, state["wheelbase_m"]])
    force = strength[numbers % joints][:, None] * np.array([1.0, 0.7])
    force = force * np.exp(0.15 * clip.rng.standard_normal(force.shape))
    inside = (places > way_m[0]) & (places < way_m[-1])
    time = np.arange(clip.n_samples) / clip.sample_rate
    times = np.interp(places[inside], way_m, time)
    force = force[inside] * np.sqrt(clip.sample_rate / (1.5 * state["joint_rate_hz"]))
    clicks = clip.impacts(times, force, response)
    level = fault.level("broken_joint", -15, -7)
    if level:
        odd = clip.of_fault
        # Not among the first or last few, which lead-in and end of the clip may cut off.
        broken = int(odd.rng.choice(numbers[3:-2])) % joints
        struck = np.interp(places[numbers % joints == broken].ravel(), way_m, time, -1.0, -1.0)
        force = level * np.sqrt(clip.sample_rate / (2.0 * state["lap_rate_hz"]))
        clicks += odd.impacts(struck, force, odd.ring((420.0, 950.0), 0.006), spread=0.15)
    return clicks


MODELS = (
    MachineModel(
        machine_type="ToyCarSim",
        duration_s=(12.0, 12.0),
        has_attributes=True,
        supplemental="clean",
        states=(
            *(_car_state(car, v, "source") for car in ("B1", "B2", "C1", "C2")
              for v in (31, 34, 40)),
            *(_car_state(car, v, "target") for car in ("A1", "E1") for v in (28, 37)),
        ),
        faults=(
            "bent_axle", "chipped_pinion", "wrong_voltage",
            "worn_brush", "worn_tyres", "missing_body",
        ),
        snr_db=0.0,
        domain_shift=0.4,
        synthesise=synthesise_car,
    ),
    MachineModel(
        machine_type="ToyTrainSim",
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
            "flat_wheel", "broken_joint", "rattling_coupling",
            "wrong_voltage", "rough_wheels", "missing_pads",
        ),
        snr_db=0.0,
        domain_shift=0.3,
        synthesise=synthesise_train,
    ),
)  # fmt: skip
