"""Rolling-element bearings: characteristic frequencies, fault impacts, a known answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asdlib.data.simulate.sources import (
    FloatArray,
    event_times,
    from_db,
    impacts,
    ring_down,
    rotation,
)
from asdlib.errors import InputError

FAULT_PLACES = ("outer", "inner", "ball")


@dataclass(frozen=True)
class BearingGeometry:
    """Geometry of a rolling bearing.

    Attributes
    ----------
    n_elements : int
        Number of rolling elements.
    diameter_ratio : float
        Element diameter over pitch diameter, d/D, between 0 and 1.
    contact_angle_deg : float
        Contact angle [degrees].
    """

    n_elements: int
    diameter_ratio: float
    contact_angle_deg: float = 0.0


def bearing_frequencies(shaft_rate_hz: float, geometry: BearingGeometry) -> dict[str, float]:
    """Characteristic frequencies of a bearing with a fixed outer ring.

    With r = d/D cos(alpha) and n elements: FTF = fr/2 (1 - r), BPFO = n FTF,
    BPFI = n fr/2 (1 + r), BSF = fr D/(2d) (1 - r^2) [1]_.

    Parameters
    ----------
    shaft_rate_hz : float
        Rate of the inner ring, fr [Hz].
    geometry : BearingGeometry
        n, d/D and alpha.

    Returns
    -------
    dict of str to float
        ``ftf_hz``, ``bpfo_hz``, ``bpfi_hz``, ``bsf_hz``, without slip.

    References
    ----------
    .. [1] R. B. Randall, J. Antoni, "Rolling element bearing diagnostics - a tutorial",
       Mechanical Systems and Signal Processing 25 (2011), equations 1 to 4.

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
    rng: np.random.Generator,
    *,
    sample_rate: int,
    slip: float = 0.01,
) -> FloatArray:
    """Impacts of a local fault, at about unit root mean square.

    A pit of the outer ring is struck at BPFO with nearly equal force; one of the inner ring
    at BPFI, with the load zone passing once a revolution; one of an element at 2 BSF, with
    the load zone passing once a turn of the cage.

    Parameters
    ----------
    angle : ndarray, shape (n_samples,)
        Revolutions of the shaft.
    place : str
        ``outer``, ``inner`` or ``ball``.
    geometry : BearingGeometry
        Sets the rates.
    response : ndarray, shape (n_taps,)
        What one impact of unit force sounds like.
    rng : numpy.random.Generator
        Slip and force.
    sample_rate : int
        Sampling rate [Hz].
    slip : float
        Relative standard deviation of the angle between impacts.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
    """
    orders = bearing_frequencies(1.0, geometry)
    order = {"outer": orders["bpfo_hz"], "inner": orders["bpfi_hz"], "ball": 2 * orders["bsf_hz"]}[
        place
    ]
    times = event_times(angle, order, rng, sample_rate=sample_rate, slip=slip)
    force = 1.0 + 0.2 * rng.standard_normal(len(times))
    zone_order = {"outer": 0.0, "inner": 1.0, "ball": orders["ftf_hz"]}[place]
    if zone_order:
        turn = np.interp(times * sample_rate, np.arange(len(angle)), angle) * zone_order
        force *= np.clip(0.4 + np.cos(2 * np.pi * turn), 0.05, None)
    mean_square = np.sum(force**2) * np.sum(response**2) / len(angle)
    train = impacts(len(angle), sample_rate, times, force, response)
    return train / float(np.sqrt(mean_square))


def bearing_signal(
    duration_s: float,
    sample_rate: int,
    shaft_rate_hz: float,
    *,
    fault: str | None,
    geometry: BearingGeometry,
    snr_db: float = 0.0,
    resonances_hz: tuple[float, ...] = (2800.0, 4300.0),
    slip: float = 0.01,
    rng: np.random.Generator,
) -> FloatArray:
    """Simulate a bearing whose fault lines are known from its geometry.

    Fault impacts with slip excite structural resonances, in white noise: the envelope
    spectrum around the resonances has lines at the multiples of BPFO, BPFI (with sidebands
    at the shaft rate) or 2 BSF (with sidebands at FTF).

    Parameters
    ----------
    duration_s : float
        Length [s].
    sample_rate : int
        Sampling rate [Hz].
    shaft_rate_hz : float
        Rate of the inner ring [Hz].
    fault : {"outer", "inner", "ball"} or None
        Place of the pit; None: noise alone.
    geometry : BearingGeometry
        Sets the fault lines, see `bearing_frequencies`.
    snr_db : float
        Level of the impacts over the noise [dB].
    resonances_hz : tuple of float
        Structural resonances that ring [Hz].
    slip : float
        Relative standard deviation of the angle between impacts.
    rng : numpy.random.Generator
        Randomness.

    Returns
    -------
    ndarray of float64, shape (round(duration_s * sample_rate),)
        The noise has unit root mean square.

    Raises
    ------
    InputError
        For an unknown fault, or numbers outside their range.

    References
    ----------
    R. B. Randall, J. Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical
    Systems and Signal Processing 25 (2011), section 2.

    Examples
    --------
    >>> geometry = BearingGeometry(n_elements=8, diameter_ratio=0.25)
    >>> y = bearing_signal(1.0, 16000, 20.0, fault="outer", geometry=geometry,
    ...                    rng=np.random.default_rng(0))
    >>> y.shape
    (16000,)
    """
    if fault is not None and fault not in FAULT_PLACES:
        raise InputError(f"fault {fault!r}: expected one of {', '.join(FAULT_PLACES)}, or None.")
    if duration_s <= 0 or sample_rate <= 0 or shaft_rate_hz <= 0:
        raise InputError("duration_s, sample_rate and shaft_rate_hz must be positive.")
    if not 0 < geometry.diameter_ratio < 1 or geometry.n_elements < 1:
        raise InputError(f"{geometry}: expected n_elements >= 1 and 0 < diameter_ratio < 1.")
    n_samples = round(duration_s * sample_rate)
    sound = rng.standard_normal(n_samples)
    if fault is None:
        return sound
    angle = rotation(n_samples, sample_rate, shaft_rate_hz, rng, wander=0.0)
    response = ring_down(sample_rate, resonances_hz, rng, decay_s=0.0015, scatter=0.0)
    train = fault_impacts(angle, fault, geometry, response, rng, sample_rate=sample_rate, slip=slip)
    return sound + from_db(snr_db) * train
