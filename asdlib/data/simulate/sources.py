"""Elements that the machine models are built from: rotation, tones, noise and impacts.

Every element is vectorised over samples and normalised, so that a model states its levels
itself: tones and noise have unit root mean square, an impact response has unit energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.signal

FloatArray = npt.NDArray[np.float64]


def from_db(level_db: float) -> float:
    """Amplitude ratio of a level: ``10 ** (level_db / 20)``."""
    return float(10.0 ** (level_db / 20.0))


@lru_cache(maxsize=16)
def frequency_grid(n_samples: int, sample_rate: int) -> FloatArray:
    """Frequencies [Hz] of the real FFT of ``n_samples``; the first bin is set to the second.

    So that logarithms and ratios exist everywhere; nothing audible lies there.
    """
    grid = np.arange(n_samples // 2 + 1, dtype=np.float64) * (sample_rate / n_samples)
    grid[0] = grid[1]
    grid.flags.writeable = False
    return grid


@lru_cache(maxsize=16)
def octave_grid(n_samples: int, sample_rate: int) -> FloatArray:
    """Octaves above 1 Hz, ``log2(frequency)``, of the real FFT bins of ``n_samples``."""
    grid: FloatArray = np.log2(frequency_grid(n_samples, sample_rate))
    grid.flags.writeable = False
    return grid


def slow_scatter(n_samples: int, sample_rate: int, rng: np.random.Generator) -> FloatArray:
    """Slow random course of a quantity: unit variance at knots 0.3 s apart, linear between."""
    knots = max(4, int(n_samples / sample_rate / 0.3))
    positions = np.linspace(0, n_samples, knots)
    course: FloatArray = np.interp(np.arange(n_samples), positions, rng.standard_normal(knots))
    return course


def rotation(
    n_samples: int,
    sample_rate: int,
    rate_hz: float | FloatArray,
    rng: np.random.Generator,
    *,
    wander: float = 0.002,
) -> FloatArray:
    """Angle of a shaft over time, in revolutions.

    ``angle(t) = angle_0 + integral of rate_hz * (1 + wander * slow_scatter)``.

    Parameters
    ----------
    n_samples, sample_rate : int
        Length and sampling rate [Hz].
    rate_hz : float or ndarray, shape (n_samples,)
        Nominal rate of rotation [Hz].
    rng : numpy.random.Generator
        Start angle and wander.
    wander : float
        Relative standard deviation of the speed within the clip.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Revolutions, not wrapped.
    """
    rate = rate_hz * (1.0 + wander * slow_scatter(n_samples, sample_rate, rng))
    angle: FloatArray = np.cumsum(rate) / sample_rate + rng.uniform()
    return angle


def harmonic_series(
    angle: FloatArray,
    amplitudes: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    sample_rate: int,
    order: float = 1.0,
) -> FloatArray:
    """Tones at the multiples of an order of a shaft, with unit root mean square.

    ``sum_k a_k cos(2 pi k order angle + theta_k)``, k = 1, 2, ..., random phases theta_k.
    Harmonics above 0.45 times the sampling rate are left out.

    Parameters
    ----------
    angle : ndarray, shape (n_samples,)
        Revolutions of the shaft.
    amplitudes : array_like, shape (n_harmonics,)
        Amplitudes of the harmonics from the first on; only their ratios matter.
    rng : numpy.random.Generator
        Phases.
    sample_rate : int
        Sampling rate [Hz].
    order : float
        Fundamental in multiples of the rate of rotation (teeth, blades, ...).

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    highest_hz = float(np.max(np.diff(angle[::16]))) / 16 * sample_rate * order
    series = np.asarray(amplitudes, float)
    count = min(len(series), int(0.45 * sample_rate / max(highest_hz, 1e-9)))
    phases = np.exp(2j * np.pi * rng.uniform(size=len(series)))
    if count == 0:
        return np.zeros_like(angle)
    weights = series[:count] * phases[:count]
    unit = np.exp(2j * np.pi * ((order * angle) % 1.0)).astype(np.complex64)
    total = np.zeros_like(unit)
    for weight in weights[::-1].astype(np.complex64):  # Horner's rule in exp(2 pi i angle)
        total += weight
        total *= unit
    scale = np.sqrt(np.sum(np.abs(weights) ** 2) / 2.0)
    tones: FloatArray = total.real.astype(float) / float(scale)
    return tones


def resonance_gain(
    n_samples: int,
    sample_rate: int,
    centres_hz: Sequence[float],
    *,
    quality: float = 4.0,
    floor_db: float = -20.0,
    tilt_db: float = 0.0,
) -> FloatArray:
    """Magnitude response of a structure: a floor and resonances of equal height on it.

    ``|H|^2 = floor + sum_i 1 / (1 + (Q (f/f_i - f_i/f))^2)``, times a tilt over frequency.

    Parameters
    ----------
    n_samples, sample_rate : int
        Define the bins of the real FFT.
    centres_hz : sequence of float
        Resonance frequencies [Hz].
    quality : float
        Quality factor Q of each.
    floor_db : float
        Level of the floor below the peaks [dB].
    tilt_db : float
        Slope [dB per octave], zero at 1 kHz.

    Returns
    -------
    ndarray of float64, shape (n_samples // 2 + 1,)
    """
    grid = frequency_grid(n_samples, sample_rate)
    power = np.full_like(grid, from_db(floor_db) ** 2)
    for centre in centres_hz:
        power += 1.0 / (1.0 + (quality * (grid / centre - centre / grid)) ** 2)
    gain = np.sqrt(power)
    if tilt_db:
        gain *= np.exp2(tilt_db / 6.0206 * (octave_grid(n_samples, sample_rate) - np.log2(1000.0)))
    return gain


def shaped_noise(n_samples: int, gain: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Gaussian noise of a given magnitude spectrum and unit expected mean square.

    Parameters
    ----------
    n_samples : int
        Length.
    gain : ndarray, shape (n_samples // 2 + 1,)
        Magnitude response; its overall factor does not matter.
    rng : numpy.random.Generator
        Randomness.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    white = rng.standard_normal((len(gain), 2), dtype=np.float32).view(np.complex64)[:, 0]
    noise: npt.NDArray[np.float32] = scipy.fft.irfft(white * gain.astype(np.float32), n_samples)
    scale = n_samples / (2.0 * np.sqrt(np.sum(gain**2)))
    return noise.astype(float) * float(scale)


def ring_down(
    sample_rate: int,
    centres_hz: Sequence[float],
    rng: np.random.Generator,
    *,
    decay_s: float = 0.004,
    scatter: float = 0.01,
) -> FloatArray:
    """Response of a structure to an impact: damped resonances, unit energy.

    ``sum_i g_i exp(-t / tau_i) sin(2 pi f_i t)``, with tau_i = ``decay_s`` at the first
    resonance and shorter in proportion to the square root of frequency above it.

    Parameters
    ----------
    sample_rate : int
        Sampling rate [Hz].
    centres_hz : sequence of float
        Resonance frequencies [Hz].
    rng : numpy.random.Generator
        Scatter of frequencies and gains.
    decay_s : float
        Decay time of the first resonance [s].
    scatter : float
        Relative standard deviation of the resonance frequencies.

    Returns
    -------
    ndarray of float64, shape (n_taps,)
    """
    time = np.arange(int(7 * decay_s * sample_rate)) / sample_rate
    response = np.zeros_like(time)
    for centre in centres_hz:
        frequency = centre * (1.0 + scatter * rng.standard_normal())
        tau = decay_s * np.sqrt(centres_hz[0] / frequency)
        gain = from_db(2.0 * rng.standard_normal())
        response += gain * np.exp(-time / tau) * np.sin(2 * np.pi * frequency * time)
    return response / float(np.sqrt(np.sum(response**2)))


def event_times(
    angle: FloatArray,
    order: float,
    rng: np.random.Generator,
    *,
    sample_rate: int,
    slip: float = 0.0,
) -> FloatArray:
    """Draw the times [s] of events that come ``order`` times per revolution, with random slip.

    The angle between two events is ``(1 + slip * normal) / order`` revolutions, so that
    deviations add up as those of a rolling element do [1]_.

    References
    ----------
    .. [1] R. B. Randall, J. Antoni, "Rolling element bearing diagnostics - a tutorial",
       Mechanical Systems and Signal Processing 25 (2011), section 2.2.
    """
    count = int((angle[-1] - angle[0]) * order * 1.2) + 3
    steps = (1.0 + slip * rng.standard_normal(count)) / order
    angles = angle[0] + (rng.uniform() - 1.0) / order + np.cumsum(steps)
    angles = angles[(angles > angle[0]) & (angles < angle[-1])]
    times: FloatArray = np.interp(angles, angle, np.arange(len(angle)) / sample_rate)
    return times


def impacts(
    n_samples: int,
    sample_rate: int,
    times_s: FloatArray,
    amplitudes: FloatArray | float,
    response: FloatArray,
) -> FloatArray:
    """Train of impacts: every event adds ``amplitude * response`` at its time.

    Times between samples are split linearly over the two neighbours.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    position = np.asarray(times_s) * sample_rate
    inside = (position >= 0) & (position < n_samples - 1)
    weight = np.broadcast_to(amplitudes, position.shape)[inside]
    first = position[inside].astype(int)
    part = position[inside] - first
    pulses = np.bincount(first, weight * (1.0 - part), n_samples)
    pulses += np.bincount(first + 1, weight * part, n_samples)
    train: FloatArray = scipy.signal.oaconvolve(pulses, response)[:n_samples]
    return train
