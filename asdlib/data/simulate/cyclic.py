"""Machines of air and motion: a fan, whose faults are of colour alone, a slide and a valve."""

from __future__ import annotations

import numpy as np

from asdlib.data.simulate.sources import Clip, Fault, FloatArray, MachineModel, State, from_db

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


# --- slide ------------------------------------------------------------------------------

# Product: stroke [m], acceleration [m/s2], dwell at each end [s], way per drive turn [m],
# drive order of the whine (belt teeth or balls of the screw), rail resonances [Hz].
_SLIDES: dict[str, tuple[float, float, float, float, int, tuple[float, ...]]] = {
    "A": (0.20, 5.0, 0.08, 0.050, 20, (1100.0, 2600.0, 4800.0)),
    "B": (0.12, 3.0, 0.12, 0.010, 6, (1700.0, 3400.0, 5900.0)),
}


def _slide_state(product: str, velocity_mm_s: int, domain: str) -> State:
    stroke, acceleration, dwell, lead, order, resonances = _SLIDES[product]
    speed = velocity_mm_s / 1000.0
    half_s = stroke / speed + speed / acceleration + dwell
    return State(
        attribute=f"pro_{product}_vel_{velocity_mm_s}",
        domain=domain,
        quantities={
            "speed_m_s": speed,
            "stroke_m": stroke,
            "acceleration_m_s2": acceleration,
            "dwell_s": dwell,
            "cycle_time_s": 2 * half_s,
            "shaft_rate_hz": speed / lead,
            "drive_order": order,
        },
        resonances_hz=resonances,
        structure=f"pro_{product}",
    )


def synthesise_slide(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Linear slide (A: belt, B: ball screw) going to and fro between two ends."""
    rng, odd, stroke = clip.rng, clip.of_fault, state["stroke_m"]
    speed = state["speed_m_s"] * clip.pace * clip.scatter(0.01)
    velocity, place, starts = _to_and_fro(state, speed, clip)
    pace = np.abs(velocity) / speed
    drive = np.cumsum(np.abs(velocity)) / clip.sample_rate
    drive = drive * state["shaft_rate_hz"] / state["speed_m_s"] + rng.uniform()
    resonances = state.resonances(-fault.grows("worn_carriage", 0.06, 0.18))
    friction = clip.noise(resonances, quality=2, floor_db=-14, tilt_db=-2) * pace**1.5
    friction *= 1.0 + fault.grows("misaligned_rail", 0.7, 1.7) * (place / stroke - 0.5)
    friction *= 1.0 + 0.2 * np.cos(2 * np.pi * drive)
    order = int(state["drive_order"])
    whine = clip.tones(drive, (0.7 * clip.scatter(0.04)) ** np.arange(10), order=order) * pace
    speed_db = 15.0 * np.log10(state["speed_m_s"] / 0.3)
    sound = clip.level(1 + speed_db) * friction + clip.level(-4 + speed_db) * whine
    harder = 1.0 + fault.grows("worn_damper", 0.4, 1.4)
    per_stroke = np.sqrt(clip.sample_rate * state["cycle_time_s"] / 2)
    thump = clip.ring((260.0, 620.0, 1500.0), decay_s=0.012)
    sound += clip.impacts(starts, clip.level(-9) * harder * per_stroke, thump, spread=0.2)
    sound = clip.coloured(sound, 1600, 16000, fault.grows("missing_bellows", 2.0, 7.0))
    if fault.name == "missing_grease":
        harsh = odd.noise((3000.0, 5500.0), quality=1.5)
        sound += from_db(speed_db) * fault.level("missing_grease", -6, 0) * harsh * pace
    if fault.name == "damaged_rail":
        passed = np.diff(np.sign(place - odd.rng.uniform(0.3, 0.7) * stroke)) != 0
        times = np.flatnonzero(passed) / clip.sample_rate
        response = odd.ring(state.resonances_hz, decay_s=0.005)
        force = fault.level("damaged_rail", -15, -7) * per_stroke
        sound += odd.impacts(times, force, response, spread=0.3)
    if fault.name == "loose_belt":
        times = (starts[:, None] + np.array([0.05, 0.085, 0.115]) * odd.scatter(0.1)).ravel()
        response = odd.ring((480.0, 1150.0, 2300.0), decay_s=0.006)
        force = fault.level("loose_belt", -14, -5) * per_stroke / np.sqrt(6.0)
        sound += odd.impacts(times, force, response, spread=0.3)
    return sound


def _to_and_fro(
    state: State, speed: float, clip: Clip
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Velocity [m/s] and place [m] over the clip, times [s] at which a stroke starts or ends.

    The clip begins anywhere in the cycle; summed up from the cycle's beginning at rest at one end,
    the place passes all of the rail.
    """
    ramp = speed / state["acceleration_m_s2"]
    cruise = max(state["stroke_m"] / speed - ramp, 0.0)
    dwell = state["dwell_s"] * clip.scatter(0.03)
    half = 2 * ramp + cruise + dwell
    before = int(clip.rng.uniform(0, 2 * half) * clip.sample_rate)
    time = np.arange(before + clip.n_samples) / clip.sample_rate
    knots = np.array([0.0, ramp, ramp + cruise, 2 * ramp + cruise, half])
    profile = np.interp(time % half, knots, [0.0, speed, speed, 0.0, 0.0])
    velocity = np.where(time % (2 * half) < half, profile, -profile)
    place = np.cumsum(velocity) / clip.sample_rate
    first = np.arange(np.ceil(time[-1] / half) + 1) * half
    starts = np.sort(np.concatenate([first, first + half - dwell])) - before / clip.sample_rate
    starts = starts[(starts > 0) & (starts < clip.n_samples / clip.sample_rate)]
    return velocity[before:], place[before:], starts


# --- valve ------------------------------------------------------------------------------

# Pattern: times [s] of one period at which the valve opens, and how long it stays open [s].
_PATTERNS: dict[str, tuple[float, tuple[float, ...], float]] = {
    "00": (1.00, (0.0,), 0.30),
    "01": (1.50, (0.0, 0.5), 0.22),
    "02": (2.00, (0.0, 0.35, 0.7), 0.15),
    "03": (1.25, (0.0, 0.45), 0.30),
    "04": (0.70, (0.0,), 0.18),
}


def _valve_state(pattern: str, domain: str) -> State:
    period_s, openings, open_s = _PATTERNS[pattern]
    return State(
        attribute=f"pat_{pattern}",
        domain=domain,
        quantities={
            "cycle_time_s": period_s,
            "click_rate_hz": 2 * len(openings) / period_s,
            "open_s": open_s,
        },
        resonances_hz=(1500.0, 3300.0, 6100.0),
        structure="valve",
    )


def synthesise_valve(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Solenoid valve that opens in a pattern: clicks, flow hiss while open, coil hum."""
    n, sr, rng, odd = clip.n_samples, clip.sample_rate, clip.rng, clip.of_fault
    period_s, openings, open_s = _PATTERNS[state.attribute.removeprefix("pat_")]
    period_s *= clip.scatter(0.004) / clip.pace
    cycles = np.arange(-1, int(n / sr / period_s) + 2) * period_s
    opens = (cycles[:, None] + np.array(openings)).ravel() - rng.uniform(0, period_s)
    opens = opens + 0.002 * rng.standard_normal(len(opens))
    late = 1.0 + fault.grows("weak_spring", 0.1, 0.4)
    closes = opens + open_s * late * np.exp(0.01 * rng.standard_normal(len(opens)))
    works = np.ones(len(opens))
    if fault.name == "missing_click":
        share = fault.grows("missing_click", 0.12, 0.5)
        heard = np.flatnonzero((opens > 0.3) & (closes < n / sr))
        works[odd.rng.permutation(heard)[: max(1, round(share * len(heard)))]] = 0.0
    sharp = clip.ring(state.resonances_hz, decay_s=0.002)
    dull = clip.ring((700.0, 1700.0, 3600.0), decay_s=0.004)
    unit = np.sqrt(sr / state["click_rate_hz"])
    soft = 1.0 - fault.grows("weak_spring", 0.2, 0.55)
    sound = clip.impacts(opens, clip.level(0.5) * unit * works, sharp, spread=0.12)
    sound += clip.impacts(closes, clip.level(-2.5) * soft * unit * works, dull, spread=0.12)
    flow = works * np.exp(0.1 * rng.standard_normal(len(opens)))
    is_open = _gate(opens, closes, flow, clip)
    narrow = fault.grows("clogged_seat", 0.25, 0.6) - fault.grows("eroded_seat", 0.25, 0.5)
    pressure_db = fault.either_way("wrong_pressure", clip, 3.0, 6.5)
    hiss = clip.noise((2400.0 * (1 + narrow), 5200.0 * (1 + narrow / 2)), 1.2, floor_db=-16)
    hiss *= clip.level(-2 + pressure_db) * (1.0 - max(narrow, 0.0))
    leak = fault.level("leak", -10, -2)
    sound += hiss * (is_open + leak * (1.0 - np.clip(is_open, 0.0, 1.0)))
    if fault.name == "burr":
        scrape = odd.noise((4200.0, 6800.0), quality=3)
        before = _gate(opens - 0.035, opens, np.ones(len(opens)), clip)
        sound += fault.level("burr", -4, 4) * scrape * before
    coil = clip.tones(np.arange(n) / sr * 100.0 + rng.uniform(), [1, 0.6, 0.4, 0.3, 0.2])
    return sound + clip.level(-10) * coil * (0.2 + 0.8 * is_open)


def _gate(starts: FloatArray, ends: FloatArray, heights: FloatArray, clip: Clip) -> FloatArray:
    """Heights between starts and ends [s], zero elsewhere, with flanks of 4 ms."""
    steps = np.zeros(clip.n_samples)
    for times, sign in ((starts, 1.0), (ends, -1.0)):
        positions = np.clip((times * clip.sample_rate).astype(int), 0, clip.n_samples - 1)
        np.add.at(steps, positions, sign * heights)
    width = int(0.004 * clip.sample_rate)
    box = np.clip(np.cumsum(steps), 0.0, None)
    total = np.concatenate([np.zeros(width), np.cumsum(box)])
    return np.asarray((total[width:] - total[:-width]) / width)


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
        machine_type="sliderSim",
        has_attributes=False,
        supplemental="noise",
        states=(
            _slide_state("A", 300, "source"),
            _slide_state("A", 500, "source"),
            _slide_state("B", 120, "source"),
            _slide_state("B", 200, "source"),
            _slide_state("A", 400, "target"),
            _slide_state("B", 160, "target"),
        ),
        faults=(
            "damaged_rail", "loose_belt", "misaligned_rail", "worn_damper",
            "missing_grease", "worn_carriage", "missing_bellows",
        ),
        snr_db=0.0,
        domain_shift=0.3,
        synthesise=synthesise_slide,
    ),
    MachineModel(
        machine_type="valveSim",
        has_attributes=True,
        supplemental="clean",
        states=(
            *(_valve_state(pattern, "source") for pattern in ("00", "01", "02")),
            *(_valve_state(pattern, "target") for pattern in ("03", "04")),
        ),
        faults=(
            "leak", "missing_click", "weak_spring", "burr",
            "clogged_seat", "eroded_seat", "wrong_pressure",
        ),
        snr_db=2.0,
        domain_shift=0.3,
        synthesise=synthesise_valve,
    ),
)  # fmt: skip
