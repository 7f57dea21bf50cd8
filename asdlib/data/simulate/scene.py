"""The scene around a machine: sessions, transfer path, factory background, microphone, levels.

A plant is drawn once per corpus seed: halls (one per machine type and domain) with neighbouring
machines and microphones, the structure-borne path of every machine, and its sessions. Each clip
then scatters around its session. All linear parts act in one frequency response.

Sizes are those of recordings. Within one recording of a desk fan, of brushless motors and between
neighbouring clips of a lathe normal clips scatter by 0.1 to 0.5 dB in level and by 0.5 to 1.1 dB
in a third of an octave; between days, specimens or distant clips of the same healthy machines by
1 to 4 dB and 1.3 to 7 dB, as much as many of their faults.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.fft

from asdlib.data.simulate.sources import Clip, FloatArray, from_db

# Knots of smooth level curves [Hz], two an octave.
CURVE_KNOTS_HZ = 62.5 * 2.0 ** (np.arange(15) / 2.0)
# Scatter of background colour and transfer path from clip to clip, per knot [dB].
CLIP_SCATTER_DB = 0.5
# A recorder is AC-coupled: second-order high-pass [Hz], nothing at all at 0 Hz. Pulses and
# half-waves have a mean, and without this the mean sample of a clip tells the fault.
MICROPHONE_FROM_HZ = 20.0
SPEED_OF_SOUND_M_S = 343.0


def seeded(*parts: object) -> np.random.Generator:
    """Random generator that depends on every part (numbers and words), and on nothing else."""
    words = [zlib.crc32(str(part).encode()) for part in parts]
    return np.random.default_rng(words)


@dataclass(frozen=True)
class Scene:
    """What surrounds one machine type in one domain and session; curves at ``CURVE_KNOTS_HZ``."""

    tilt_db: float  # slope of the broadband background [dB per octave]
    colour_db: FloatArray  # deviation of the background from that slope
    level_db: float  # background above 100 Hz, set by the microphone's gain [dB re full scale]
    hum_db: float  # mains hum over the background
    neighbours: tuple[tuple[float, float, float], ...]  # rate_hz, order, level_db of each
    impact_rate_hz: float  # foreign impacts
    microphone_db: FloatArray  # microphone and its mounting
    path_db: FloatArray  # what the session changes of the machine's path
    distance_m: float  # microphone from machine
    machine_db: float = 0.0  # machine over background, over that of the first session
    pace: float = 1.0  # speed of the machine over nominal speed


def draw_curve(rng: np.random.Generator, *, spread_db: float) -> FloatArray:
    """Draw a smooth level curve [dB] of mean zero at ``CURVE_KNOTS_HZ``."""
    knots = rng.standard_normal(len(CURVE_KNOTS_HZ) + 2)
    curve = spread_db * (0.5 * knots[:-2] + 0.7 * knots[1:-1] + 0.5 * knots[2:])
    return curve - float(curve.mean())


def _draw_neighbour(rng: np.random.Generator) -> tuple[float, float, float]:
    return float(rng.uniform(11, 49)), float(rng.integers(5, 14)), float(rng.uniform(-14, -7))


def draw_scene(
    rng: np.random.Generator, *, origin: Scene | None = None, shift: float = 1.0
) -> Scene:
    """Draw the first session of a hall; with an ``origin``, of one that differs by ``shift``."""
    scene = Scene(
        tilt_db=float(rng.uniform(-4.5, -2.5)),
        colour_db=draw_curve(rng, spread_db=3.0),
        level_db=float(rng.uniform(-44, -38)),
        hum_db=float(rng.uniform(-12, -4)),
        neighbours=(_draw_neighbour(rng), _draw_neighbour(rng)),
        impact_rate_hz=float(rng.uniform(0.1, 0.4)),
        microphone_db=draw_curve(rng, spread_db=2.0),
        path_db=np.zeros(len(CURVE_KNOTS_HZ)),
        distance_m=float(rng.uniform(0.4, 1.0)),
    )
    if origin is None:
        return scene
    return replace(
        scene,
        tilt_db=origin.tilt_db + 0.5 * shift * float(rng.standard_normal()),
        colour_db=origin.colour_db + shift * scene.colour_db,
        # The second microphone is set to a lower gain.
        level_db=origin.level_db - float(rng.uniform(1.5, 3.5)),
        neighbours=(origin.neighbours[0], scene.neighbours[1]),
        microphone_db=origin.microphone_db + shift * scene.microphone_db,
    )


def next_session(scene: Scene, rng: np.random.Generator) -> Scene:
    """Scene of the session after this one: a step of a random walk, so that drift accumulates."""
    gain_db, hall_db, machine_db, hum_db, near_db, pace = rng.standard_normal(6)
    rate_hz, order, level_db = scene.neighbours[0]
    return replace(
        scene,
        tilt_db=scene.tilt_db + 0.1 * float(rng.standard_normal()),
        colour_db=scene.colour_db + draw_curve(rng, spread_db=0.8),
        level_db=scene.level_db + 0.8 * float(gain_db) + 0.8 * float(hall_db),
        hum_db=scene.hum_db + 1.0 * float(hum_db),
        neighbours=((rate_hz, order, level_db + 1.5 * float(near_db)), _draw_neighbour(rng)),
        impact_rate_hz=float(rng.uniform(0.1, 0.4)),
        microphone_db=scene.microphone_db + draw_curve(rng, spread_db=0.6),
        path_db=scene.path_db + draw_curve(rng, spread_db=0.6),
        # A louder hall is louder beside the same machine.
        machine_db=scene.machine_db + 0.6 * float(machine_db) - 0.8 * float(hall_db),
        pace=scene.pace * float(np.exp(0.003 * pace)),
    )


def curve_gain(clip: Clip, curve_db: FloatArray) -> FloatArray:
    """Magnitude response that follows level knots [dB], linear over the logarithm of frequency."""
    return np.exp2(np.interp(clip.octaves, np.log2(CURVE_KNOTS_HZ), curve_db) / 6.0206)


def background(scene: Scene, clip: Clip) -> FloatArray:
    """Sound of the hall without the machine, at unit level above 100 Hz, before the microphone."""
    n, sr, rng = clip.n_samples, clip.sample_rate, clip.rng
    curve = scene.colour_db + CLIP_SCATTER_DB * rng.standard_normal(len(scene.colour_db))
    slope = clip.slope_gain(scene.tilt_db + 0.15 * float(rng.standard_normal()))
    sound = clip.shaped_noise(curve_gain(clip, curve) * slope)
    mains = clip.rotation(50.0, wander=2e-4)
    hum = clip.tones(mains, [0.6, 1, 0.3, 0.5, 0.2, 0.3, 0.1, 0.15])
    sound += clip.level(scene.hum_db, scatter_db=0.5) * hum
    for rate_hz, order, level_db in scene.neighbours:
        angle = clip.rotation(rate_hz * clip.scatter(0.01))
        tones = clip.tones(angle, 0.7 ** np.arange(8), order=order)
        sound += clip.level(level_db, scatter_db=1.0) * tones
    for _ in range(rng.poisson(scene.impact_rate_hz * n / sr)):
        response = clip.ring(list(rng.uniform(300, 4000, 3)), float(rng.uniform(0.01, 0.05)))
        start = int(rng.uniform(0, n - len(response)))
        sound[start : start + len(response)] += rng.lognormal(2.2, 0.5) * response
    return sound


def _path_gain(scene: Scene, path_db: FloatArray, clip: Clip) -> npt.NDArray[np.complex128]:
    """Response from machine to membrane: structure, times direct sound and two reflections."""
    rng, grid = clip.rng, clip.frequencies_hz
    curve = path_db + scene.path_db + CLIP_SCATTER_DB * rng.standard_normal(len(path_db))
    total = np.ones(len(grid), complex)
    for detour, strength in ((1.1, 0.25), (1.9, 0.15)):
        extra_m = detour * scene.distance_m * (1.0 + 0.02 * rng.standard_normal())
        total += strength * np.exp(-2j * np.pi * grid * extra_m / SPEED_OF_SOUND_M_S)
    return np.asarray(total * curve_gain(clip, curve))


def _microphone_gain(scene: Scene, clip: Clip) -> npt.NDArray[np.complex128]:
    curve = scene.microphone_db + 0.2 * clip.rng.standard_normal(len(scene.microphone_db))
    ratio = 1j * clip.frequencies_hz / MICROPHONE_FROM_HZ
    coupling = ratio**2 / (1.0 + np.sqrt(2.0) * ratio + ratio**2)
    coupling[0] = 0.0
    return np.asarray(coupling * curve_gain(clip, curve))


def record(
    machine: FloatArray | None,
    scene: Scene,
    path_db: FloatArray,
    clip: Clip,
    *,
    lead_samples: int,
    snr_db: float,
    with_background: bool,
) -> FloatArray:
    """Mix machine and hall as a microphone would, in units of full scale, and drop the lead-in.

    The machine (None: hall alone) lies ``snr_db`` over the background above 100 Hz, whether that is
    heard or not.
    """
    levels, path, hall, microphone = (replace(clip, rng=rng) for rng in clip.rng.spawn(4))
    hall_db, machine_db = 0.4 * levels.rng.standard_normal(2)
    spectrum = np.zeros(clip.n_samples // 2 + 1, complex)
    if machine is not None:
        gain = _path_gain(scene, path_db, path)
        level = from_db(snr_db + scene.machine_db + machine_db)
        spectrum += level * gain * scipy.fft.rfft(machine)
    if with_background:
        spectrum += scipy.fft.rfft(background(scene, hall))
    spectrum *= from_db(scene.level_db + hall_db)
    spectrum *= _microphone_gain(scene, microphone)
    return np.asarray(scipy.fft.irfft(spectrum, clip.n_samples)[lead_samples:])
