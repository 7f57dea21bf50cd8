"""The scene around a machine: transfer path, factory background, microphone, levels.

A plant is drawn once per corpus seed: its halls (one per machine type and domain), their
neighbouring machines and microphones, and the structure-borne path of every machine. Each
clip then scatters around its plant. All linear parts act in one frequency response.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft

from asdlib.data.simulate.sources import (
    FloatArray,
    frequency_grid,
    from_db,
    harmonic_series,
    octave_grid,
    ring_down,
    rotation,
    shaped_noise,
)

# Knots of smooth level curves [Hz], two an octave.
CURVE_KNOTS_HZ = 62.5 * 2.0 ** (np.arange(15) / 2.0)
SNR_BAND_FROM_HZ = 100.0
# Scatter of background colour and transfer path from clip to clip, per knot [dB].
CLIP_SCATTER_DB = 2.0
SPEED_OF_SOUND_M_S = 343.0


def seeded(*parts: object) -> np.random.Generator:
    """Random generator that depends on every part (numbers and words), and on nothing else."""
    words = [zlib.crc32(str(part).encode()) for part in parts]
    return np.random.default_rng(words)


@dataclass(frozen=True)
class Hall:
    """Background and microphone of one machine type in one domain.

    Attributes
    ----------
    tilt_db : float
        Slope of the broadband background [dB per octave].
    curve_db : ndarray, shape (15,)
        Deviation of the background from that slope at ``CURVE_KNOTS_HZ`` [dB].
    level_db : float
        Level of the background above 100 Hz, set by the gain of the microphone [dB re full
        scale].
    hum_db : float
        Level of the mains hum below the background [dB].
    neighbours : tuple of (rate_hz, order, level_db)
        Machines next door: harmonic series at ``order * rate_hz``.
    impact_rate_hz : float
        Mean rate of foreign impacts.
    microphone_db : ndarray, shape (15,)
        Response of the microphone and its mounting at ``CURVE_KNOTS_HZ`` [dB].
    distance_m : float
        Distance of the microphone from the machine.
    """

    tilt_db: float
    curve_db: FloatArray
    level_db: float
    hum_db: float
    neighbours: tuple[tuple[float, float, float], ...]
    impact_rate_hz: float
    microphone_db: FloatArray
    distance_m: float


def draw_curve(rng: np.random.Generator, *, spread_db: float) -> FloatArray:
    """Draw a smooth level curve [dB] of mean zero at ``CURVE_KNOTS_HZ``."""
    knots = rng.standard_normal(len(CURVE_KNOTS_HZ) + 2)
    curve = spread_db * (0.5 * knots[:-2] + 0.7 * knots[1:-1] + 0.5 * knots[2:])
    return curve - float(curve.mean())


def draw_hall(rng: np.random.Generator, *, origin: Hall | None = None, shift: float = 1.0) -> Hall:
    """Draw a hall; with an ``origin``, one that differs from it by ``shift``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Randomness of the plant.
    origin : Hall, optional
        The source domain's hall.
    shift : float
        Scale of the differences to it in colour and microphone.
    """
    colour = draw_curve(rng, spread_db=3.0)
    microphone = draw_curve(rng, spread_db=2.0)
    neighbours = tuple(
        (float(rng.uniform(11, 49)), float(rng.integers(5, 14)), float(rng.uniform(-14, -7)))
        for _ in range(2)
    )
    tilt_db = float(rng.uniform(-4.5, -2.5))
    level_db = float(rng.uniform(-44, -38))
    if origin is not None:
        colour = origin.curve_db + shift * colour
        microphone = origin.microphone_db + shift * microphone
        neighbours = (origin.neighbours[0], neighbours[1])
        # The second microphone is set to a lower gain.
        level_db = origin.level_db - float(rng.uniform(1.5, 3.5))
        tilt_db = origin.tilt_db + 0.5 * shift * float(rng.standard_normal())
    return Hall(
        tilt_db=tilt_db,
        curve_db=colour,
        level_db=level_db,
        hum_db=float(rng.uniform(-12, -4)),
        neighbours=neighbours,
        impact_rate_hz=float(rng.uniform(0.1, 0.4)),
        microphone_db=microphone,
        distance_m=float(rng.uniform(0.4, 1.0)),
    )


def curve_gain(n_samples: int, sample_rate: int, curve_db: FloatArray) -> FloatArray:
    """Magnitude response that follows level knots [dB], linear over the logarithm of frequency."""
    octaves = octave_grid(n_samples, sample_rate)
    return np.exp2(np.interp(octaves, np.log2(CURVE_KNOTS_HZ), curve_db) / 6.0206)


def background(
    hall: Hall, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    """Sound of the hall without the machine, at unit level above 100 Hz, before the microphone.

    Coloured noise, mains hum with odd and even harmonics, neighbouring machines whose speed
    and level scatter, foreign impacts; the colour scatters from clip to clip.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    curve = hall.curve_db + CLIP_SCATTER_DB * rng.standard_normal(len(hall.curve_db))
    gain = curve_gain(n_samples, sample_rate, curve)
    gain *= np.exp2(
        (hall.tilt_db + 0.15 * rng.standard_normal())
        / 6.0206
        * (octave_grid(n_samples, sample_rate) - np.log2(1000.0))
    )
    grid = frequency_grid(n_samples, sample_rate)
    gain *= (grid / 60.0) ** 2 / (1.0 + (grid / 60.0) ** 2)
    share = np.sqrt(np.sum(gain[grid >= SNR_BAND_FROM_HZ] ** 2) / np.sum(gain**2))
    sound = shaped_noise(n_samples, gain, rng) / float(share)
    mains = rotation(n_samples, sample_rate, 50.0, rng, wander=2e-4)
    hum = harmonic_series(
        mains, [0.6, 1, 0.3, 0.5, 0.2, 0.3, 0.1, 0.15], rng, sample_rate=sample_rate
    )
    sound += from_db(hall.hum_db + 1.5 * rng.standard_normal()) * hum
    for rate_hz, order, level_db in hall.neighbours:
        angle = rotation(
            n_samples, sample_rate, rate_hz * (1.0 + 0.01 * rng.standard_normal()), rng
        )
        tones = harmonic_series(
            angle, 0.7 ** np.arange(8), rng, sample_rate=sample_rate, order=order
        )
        sound += from_db(level_db + 2.0 * rng.standard_normal()) * tones
    return sound + _foreign_impacts(hall, n_samples, sample_rate, rng)


def _foreign_impacts(
    hall: Hall, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    """Add up dropped tools and doors: a few ringing impacts at random times."""
    duration_s = n_samples / sample_rate
    count = rng.poisson(hall.impact_rate_hz * duration_s)
    sound = np.zeros(n_samples)
    for _ in range(count):
        response = ring_down(
            sample_rate,
            list(rng.uniform(300, 4000, 3)),
            rng,
            decay_s=float(rng.uniform(0.01, 0.05)),
        )
        start = int(rng.uniform(0, n_samples - len(response)))
        sound[start : start + len(response)] += rng.lognormal(2.2, 0.5) * response
    return sound


def path_gain(
    hall: Hall,
    path_db: FloatArray,
    n_samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.complex128]:
    """Complex response from the machine to the microphone's membrane.

    Structure, direct sound and two early reflections ``1 + sum_i r_i exp(-2 pi i f t_i)``
    whose path differences follow from a distance and a placement that scatter.
    """
    grid = frequency_grid(n_samples, sample_rate)
    curve = path_db + CLIP_SCATTER_DB * rng.standard_normal(len(path_db))
    response = curve_gain(n_samples, sample_rate, curve).astype(complex)
    reflections: Sequence[tuple[float, float]] = [(1.1, 0.25), (1.9, 0.15)]
    total = np.ones_like(response)
    for detour, strength in reflections:
        extra_m = detour * hall.distance_m * (1.0 + 0.05 * rng.standard_normal())
        total += strength * np.exp(-2j * np.pi * grid * extra_m / SPEED_OF_SOUND_M_S)
    total *= response
    return total


def record(
    machine: FloatArray | None,
    hall: Hall,
    path_db: FloatArray,
    *,
    sample_rate: int,
    lead_samples: int,
    n_samples: int,
    snr_db: float | None,
    rng: np.random.Generator,
) -> FloatArray:
    """Mix machine and hall as a microphone would and drop the lead-in.

    Parameters
    ----------
    machine : ndarray, shape (lead_samples + n_samples,), or None
        Machine sound at about unit root mean square; None: hall alone.
    hall : Hall
        Background and microphone.
    path_db : ndarray, shape (15,)
        Structure of the machine.
    sample_rate : int
        Sampling rate [Hz].
    lead_samples, n_samples : int
        Lead-in that is dropped (start of filters and impacts), and length kept.
    snr_db : float or None
        Level over the background above 100 Hz of a machine of unit level [dB]; None: no
        background.
    rng : numpy.random.Generator
        Scatter of the clip.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Sound pressure in units of full scale.
    """
    length = lead_samples + n_samples
    level = from_db(hall.level_db + 1.0 * rng.standard_normal())
    spectrum = np.zeros(length // 2 + 1, complex)
    if machine is not None:
        path = path_gain(hall, path_db, length, sample_rate, rng)
        spectrum += from_db(snr_db if snr_db is not None else 0.0) * path * scipy.fft.rfft(machine)
    if machine is None or snr_db is not None:
        spectrum += scipy.fft.rfft(background(hall, length, sample_rate, rng))
    microphone = hall.microphone_db + 0.3 * rng.standard_normal(len(hall.microphone_db))
    spectrum *= level * curve_gain(length, sample_rate, microphone)
    sound: FloatArray = scipy.fft.irfft(spectrum, length)[lead_samples:]
    return sound
