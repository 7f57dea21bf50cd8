"""Bearings and gears: characteristic frequencies, a known answer, a bearing rig and a gearbox."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asdlib.base import InputError, refuse_unknown
from asdlib.data.simulate.sources import (
    Clip,
    Fault,
    FloatArray,
    MachineModel,
    State,
    from_db,
    modulation,
)

FAULT_PLACES = ("outer", "inner", "ball")
SLIP = 0.01  # relative standard deviation of the angle between impacts


@dataclass(frozen=True)
class BearingGeometry:
    """Geometry of a rolling bearing."""

    n_elements: int
    diameter_ratio: float  # element over pitch diameter, d/D, between 0 and 1
    contact_angle_deg: float = 0.0


def bearing_frequencies(shaft_rate_hz: float, geometry: BearingGeometry) -> dict[str, float]:
    """Characteristic frequencies of a bearing with a fixed outer ring, without slip.

    With r = d/D cos(alpha), n elements and fr the rate of the inner ring: FTF = fr/2 (1 - r),
    BPFO = n FTF, BPFI = n fr/2 (1 + r), BSF = fr D/(2d) (1 - r^2) (R. B. Randall, J. Antoni,
    Mechanical Systems and Signal Processing 25 (2011), equations 1 to 4).

    Examples
    --------
    >>> lines = bearing_frequencies(25.0, BearingGeometry(8, 0.235 / 1.245))
    >>> round(lines["bpfo_hz"], 1), round(lines["bpfi_hz"], 1)
    (81.1, 118.9)
    """
    ratio = geometry.diameter_ratio * np.cos(np.deg2rad(geometry.contact_angle_deg))
    ftf = shaft_rate_hz / 2 * (1 - ratio)
    return {
        "ftf_hz": float(ftf),
        "bpfo_hz": float(geometry.n_elements * ftf),
        "bpfi_hz": float(geometry.n_elements * shaft_rate_hz / 2 * (1 + ratio)),
        "bsf_hz": float(shaft_rate_hz / (2 * geometry.diameter_ratio) * (1 - ratio**2)),
    }


def fault_impacts(
    angle: FloatArray,
    place: str,
    geometry: BearingGeometry,
    response: FloatArray,
    clip: Clip,
) -> FloatArray:
    """Impacts of a local fault of a shaft's bearing, at about unit root mean square.

    The outer ring is struck at BPFO, the inner at BPFI, stronger in the load zone once a
    revolution, an element at 2 BSF, once a turn of the cage.
    """
    orders = bearing_frequencies(1.0, geometry)
    order, zone_order = {
        "outer": (orders["bpfo_hz"], 0.0),
        "inner": (orders["bpfi_hz"], 1.0),
        "ball": (2 * orders["bsf_hz"], orders["ftf_hz"]),
    }[place]
    times = clip.events(angle, order, SLIP)
    force = 1.0 + 0.2 * clip.rng.standard_normal(len(times))
    if zone_order:
        turn = np.interp(times * clip.sample_rate, np.arange(len(angle)), angle) * zone_order
        force *= np.clip(0.4 + np.cos(2 * np.pi * turn), 0.05, None)
    mean_square = np.sum(force**2) * np.sum(response**2) / len(angle)
    train = clip.impacts(times, force, response)
    return train / float(np.sqrt(mean_square))


def bearing_signal(
    duration_s: float,
    sample_rate: int,
    shaft_rate_hz: float,
    *,
    fault: str | None,
    geometry: BearingGeometry,
    resonances_hz: tuple[float, ...] = (2800.0, 4300.0),
    rng: np.random.Generator,
) -> FloatArray:
    """Simulate a bearing whose fault lines are known from its geometry, shape (n_samples,).

    Impacts of a pit at the ``fault`` ("outer", "inner", "ball"; None: noise alone) excite the
    resonances [Hz] with slip, in white noise; both have unit root mean square. The envelope
    spectrum around a resonance has lines at the multiples of BPFO, BPFI (with sidebands at the rate
    of shaft and inner ring) or 2 BSF (with sidebands at FTF).
    """
    refuse_unknown([] if fault is None else [fault], FAULT_PLACES, "no fault")
    if duration_s <= 0 or sample_rate <= 0 or shaft_rate_hz <= 0:
        raise InputError("duration_s, sample_rate and shaft_rate_hz must be positive.")
    if not 0 < geometry.diameter_ratio < 1 or geometry.n_elements < 1:
        raise InputError(f"{geometry}: expected n_elements >= 1 and 0 < diameter_ratio < 1.")
    clip = Clip(round(duration_s * sample_rate), sample_rate, rng)
    sound = rng.standard_normal(clip.n_samples)
    if fault is None:
        return sound
    angle = clip.rotation(shaft_rate_hz, wander=0.0)
    response = clip.ring(resonances_hz, decay_s=0.0015, scatter=0.0)
    return sound + fault_impacts(angle, fault, geometry, response, clip)


# --- bearing rig ------------------------------------------------------------------------

BEARINGS = {"A": BearingGeometry(8, 0.27), "B": BearingGeometry(12, 0.19, 15.0)}
_RESONANCES_HZ = {"A": (1700.0, 3100.0, 5200.0), "B": (2300.0, 4100.0, 6300.0)}


def _bearing_state(product: str, velocity: int, location: str, domain: str) -> State:
    return State(
        attribute=f"pro_{product}_vel_{velocity}_loc_{location}",
        domain=domain,
        quantities={
            "shaft_rate_hz": float(velocity),
            **bearing_frequencies(float(velocity), BEARINGS[product]),
        },
        resonances_hz=_RESONANCES_HZ[product],
        structure=f"pro_{product}_loc_{location}",
    )


def synthesise_bearing(state: State, fault: Fault, clip: Clip) -> FloatArray:
    """Bearing rig: shaft and slot tones, rolling noise in the housing's resonances.

    Rolling noise is modulated at the shaft rate (residual unbalance, load zone) and grows by 20 dB
    per decade of speed.
    """
    rng = clip.rng
    rate_hz = state["shaft_rate_hz"] * clip.pace * clip.scatter(0.006)
    angle = clip.rotation(rate_hz)
    shaft = clip.tones(angle, [1.0, 0.5, 0.35, 0.25, 0.2, 0.15])
    slots = clip.tones(angle, 0.75 ** np.arange(8), order=18)
    resonances = state.resonances(-fault.grows("lost_preload", 0.08, 0.20))
    rolling = clip.noise(resonances, quality=2.5, floor_db=-14, tilt_db=-2)
    depth = 0.45 * clip.scatter(0.15) + 0.10 * clip.scatter(0.3)
    phase = rng.uniform()
    course = 1.0 + depth * np.cos(2 * np.pi * (angle + phase))
    course += fault.grows("looseness", 0.07, 0.3) * np.cos(np.pi * (angle + phase))
    speed_db = 20.0 * np.log10(state["shaft_rate_hz"] / 14.0)
    rough_db = fault.grows("worn_raceway", 3.0, 7.5)
    sound = clip.level(-3 + speed_db + rough_db) * rolling * np.clip(course, 0.0, None)
    sound += clip.level(-9) * slots + clip.level(-9) * shaft
    odd = clip.of_fault
    geometry = BEARINGS[state.attribute.split("_")[1]]
    for place in FAULT_PLACES:
        level = from_db(speed_db) * fault.level(f"{place}_pit", -14, -6)
        if level:
            response = odd.ring(state.resonances_hz, decay_s=0.0012)
            sound += level * fault_impacts(angle, place, geometry, response, odd)
    if fault.name == "looseness":
        times = odd.events(angle, 0.5, slip=0.03)
        size = fault.level("looseness", -22, -14) * np.sqrt(clip.sample_rate / (0.5 * rate_hz))
        sound += odd.impacts(times, size, odd.ring((700.0, 1500.0), 0.006), spread=0.4)
    dry = from_db(speed_db) * fault.level("dry_raceway", -9, -2)
    if dry:
        sound += dry * odd.noise((3500.0, 6500.0), quality=1.2)
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
        machine_type="bearingSim",
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
        faults=(
            "outer_pit", "inner_pit", "ball_pit", "looseness",
            "worn_raceway", "dry_raceway", "lost_preload",
        ),
        synthesise=synthesise_bearing,
        snr_db=0.0,
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
