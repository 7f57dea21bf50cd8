"""Machines that work in cycles: a linear slide and a solenoid valve."""

from __future__ import annotations

import numpy as np

from asdlib.data.simulate.model import Clip, Fault, MachineModel, State
from asdlib.data.simulate.sources import (
    FloatArray,
    harmonic_series,
    impacts,
    resonance_gain,
    ring_down,
    shaped_noise,
)

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
            "drive_tone_hz": order * speed / lead,
        },
        resonances_hz=resonances,
        structure=f"pro_{product}",
    )


def synthesise_slide(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Linear slide (A: belt, B: ball screw) going to and fro between two ends.

    The carriage follows a trapezoidal speed profile with a dwell at each end. Friction noise
    follows the speed to the power 1.5, the drive's whine glides with the speed, the ends
    thump. Faults: damaged rail (an impact at one place of every pass), loose belt (slap after
    every start), missing grease (more and harsher friction), damaged drive (modulation once
    per turn of the drive), misaligned rail (friction grows towards one end), worn damper
    (harder thumps).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    speed = state["speed_m_s"] * clip.scatter(0.01)
    velocity, starts = _to_and_fro(state, speed, clip)
    place = np.clip(np.cumsum(velocity) / sr, 0.0, state["stroke_m"])
    pace = np.abs(velocity) / speed
    drive = np.cumsum(np.abs(velocity)) / sr * state["shaft_rate_hz"] / state["speed_m_s"]
    drive += rng.uniform()
    gain = resonance_gain(n, sr, state.resonances_hz, quality=2, floor_db=-14, tilt_db=-2)
    friction = shaped_noise(n, gain, rng) * pace**1.5
    friction *= 1.0 + fault.grows("misaligned_rail", 0.5, 1.5) * place / state["stroke_m"]
    worn = fault.grows("damaged_drive", 0.3, 1.0)
    friction *= 1.0 + (0.2 + worn) * np.cos(2 * np.pi * drive)
    whine = harmonic_series(
        drive,
        (0.7 * clip.scatter(0.04)) ** np.arange(10),
        rng,
        sample_rate=sr,
        order=int(state["drive_order"]),
    )
    whine *= pace * (1.0 + worn * np.cos(2 * np.pi * drive))
    speed_db = 15.0 * np.log10(state["speed_m_s"] / 0.3)
    sound = clip.level(-1 + speed_db) * friction + clip.level(-5 + speed_db) * whine
    harder = 1.0 + fault.grows("worn_damper", 0.5, 2.0)
    thump = ring_down(sr, (260.0, 620.0, 1500.0), rng, decay_s=0.012)
    size = clip.level(-9) * harder * np.sqrt(sr * state["cycle_time_s"] / 2)
    sound += impacts(n, sr, starts, size * np.exp(0.2 * rng.standard_normal(len(starts))), thump)
    if fault.name == "missing_grease":
        harsh = shaped_noise(n, resonance_gain(n, sr, (3000.0, 5500.0), quality=1.5), rng)
        sound += fault.level("missing_grease", -9, 0) * harsh * pace
    times: FloatArray = np.empty(0)
    if fault.name == "damaged_rail":
        passed = np.diff(np.sign(place - rng.uniform(0.3, 0.7) * state["stroke_m"])) != 0
        times = np.flatnonzero(passed) / sr
        response = ring_down(sr, state.resonances_hz, rng, decay_s=0.005)
    elif fault.name == "loose_belt":
        delays = np.array([0.05, 0.085, 0.115]) * clip.scatter(0.1)
        times = (starts[:, None] + delays).ravel()
        response = ring_down(sr, (480.0, 1150.0, 2300.0), rng, decay_s=0.006)
    if len(times):
        level = fault.level("damaged_rail", -14, -4) + fault.level("loose_belt", -14, -4)
        force = level * np.sqrt(n / len(times)) * np.exp(0.3 * rng.standard_normal(len(times)))
        sound += impacts(n, sr, times, force, response)
    return sound


def _to_and_fro(state: State, speed: float, clip: Clip) -> tuple[FloatArray, FloatArray]:
    """Velocity [m/s] over the clip and the times [s] at which a stroke starts or ends."""
    ramp = speed / state["acceleration_m_s2"]
    cruise = max(state["stroke_m"] / speed - ramp, 0.0)
    dwell = state["dwell_s"] * clip.scatter(0.03)
    half = 2 * ramp + cruise + dwell
    time = np.arange(clip.n_samples) / clip.sample_rate
    knots = np.array([0.0, ramp, ramp + cruise, 2 * ramp + cruise, half])
    offset = clip.rng.uniform(0, 2 * half)
    phase = (time + offset) % (2 * half)
    forward = phase < half
    profile = np.interp(phase % half, knots, [0.0, speed, speed, 0.0, 0.0])
    velocity = np.where(forward, profile, -profile)
    first = np.arange(np.floor(offset / half), np.ceil((offset + time[-1]) / half) + 1) * half
    starts = np.sort(np.concatenate([first, first + half - dwell])) - offset
    return velocity, starts[(starts > 0) & (starts < time[-1])]


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
            "openings_per_cycle": len(openings),
            "click_rate_hz": 2 * len(openings) / period_s,
            "open_s": open_s,
        },
        resonances_hz=(1500.0, 3300.0, 6100.0),
        structure="valve",
    )


def synthesise_valve(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Solenoid valve that opens in a pattern: clicks, flow hiss while open, coil hum.

    The plunger clicks sharply on opening and duller on closing; between the two the flow
    hisses. Faults: leak (hiss while closed), missing clicks (some strokes fail), bouncing
    plunger (a click is followed by smaller ones), weak spring (late and soft closing),
    clogged seat (less and higher hiss), burr (scraping before the click).
    """
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    period_s, openings, open_s = _PATTERNS[state.attribute.removeprefix("pat_")]
    period_s *= clip.scatter(0.004)
    cycles = np.arange(-1, int(n / sr / period_s) + 2) * period_s
    opens = (cycles[:, None] + np.array(openings)).ravel() - rng.uniform(0, period_s)
    if fault.name == "missing_click":
        opens = opens[rng.uniform(size=len(opens)) > fault.grows("missing_click", 0.12, 0.5)]
    opens = opens + 0.002 * rng.standard_normal(len(opens))
    late = 1.0 + fault.grows("weak_spring", 0.1, 0.4)
    closes = opens + open_s * late * np.exp(0.01 * rng.standard_normal(len(opens)))
    sharp = ring_down(sr, state.resonances_hz, rng, decay_s=0.002)
    dull = ring_down(sr, (700.0, 1700.0, 3600.0), rng, decay_s=0.004)
    unit = np.sqrt(sr / state["click_rate_hz"])
    sound = np.zeros(n)
    soft = 1.0 - fault.grows("weak_spring", 0.2, 0.55)
    for times, level, response in (
        (opens, clip.level(-1), sharp),
        (closes, clip.level(-4) * soft, dull),
    ):
        force = level * unit * np.exp(0.12 * rng.standard_normal(len(times)))
        sound += impacts(n, sr, times, force, response)
        rebound = fault.grows("bouncing_plunger", 0.2, 0.5)
        for count, delay_s in enumerate((0.022, 0.037, 0.048), start=1):
            if rebound:
                sound += impacts(n, sr, times + delay_s, force * rebound**count, response)
    is_open = _gate(opens, closes, n, sr)
    narrow = fault.grows("clogged_seat", 0.2, 0.6)
    centres = (2400.0 * (1 + narrow), 5200.0)
    hiss = shaped_noise(n, resonance_gain(n, sr, centres, quality=1.2, floor_db=-16), rng)
    leak = fault.level("leak", -16, -6)
    sound += clip.level(-5) * hiss * (is_open * (1.0 - narrow) + leak * (1.0 - is_open))
    if fault.name == "burr":
        scrape = shaped_noise(n, resonance_gain(n, sr, (4200.0, 6800.0), quality=3), rng)
        sound += fault.level("burr", -8, 3) * scrape * _gate(opens - 0.035, opens, n, sr)
    mains = np.arange(n) / sr * 100.0 + rng.uniform()
    coil = harmonic_series(mains, [1, 0.6, 0.4, 0.3, 0.2], rng, sample_rate=sr)
    return sound + clip.level(-11) * coil * (0.2 + 0.8 * is_open)


def _gate(starts: FloatArray, ends: FloatArray, n_samples: int, sample_rate: int) -> FloatArray:
    """One between starts and ends [s], zero elsewhere, with flanks of 4 ms."""
    steps = np.zeros(n_samples)
    for times, step in ((starts, 1.0), (ends, -1.0)):
        positions = np.clip((times * sample_rate).astype(int), 0, n_samples - 1)
        np.add.at(steps, positions, step)
    width = int(0.004 * sample_rate)
    box = np.clip(np.cumsum(steps), 0.0, 1.0)
    total = np.concatenate([np.zeros(width), np.cumsum(box)])
    flanked: FloatArray = (total[width:] - total[:-width]) / width
    return flanked


MODELS = {
    "sliderSim": MachineModel(
        machine_type="sliderSim",
        duration_s=(10.0, 10.0),
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
            "damaged_rail",
            "loose_belt",
            "missing_grease",
            "damaged_drive",
            "misaligned_rail",
            "worn_damper",
        ),
        snr_db=(-2.5, 2.5),
        domain_shift=0.3,
        synthesise=synthesise_slide,
    ),
    "valveSim": MachineModel(
        machine_type="valveSim",
        duration_s=(10.0, 10.0),
        has_attributes=True,
        supplemental="clean",
        states=(
            _valve_state("00", "source"),
            _valve_state("01", "source"),
            _valve_state("02", "source"),
            _valve_state("03", "target"),
            _valve_state("04", "target"),
        ),
        faults=(
            "leak",
            "missing_click",
            "bouncing_plunger",
            "weak_spring",
            "clogged_seat",
            "burr",
        ),
        snr_db=(-0.5, 4.5),
        domain_shift=0.3,
        synthesise=synthesise_valve,
    ),
}
