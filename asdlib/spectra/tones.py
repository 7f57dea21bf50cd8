"""Tonal families: tones of the plain spectrum at the multiples of one frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from asdlib.errors import InputError
from asdlib.spectra.characteristic import Family, family_facts, find_series
from asdlib.spectra.envelope import FALSE_ALARM, Array, checked_clip, is_constant
from asdlib.spectra.lines import (
    MIN_LINES,
    LineSpectra,
    line_evidence,
    noise_floor,
    quantisation_step,
    tone_floor,
)
from asdlib.spectra.series import Series

#: From this duration on, a resonance is told from a tone by the running floor alone [s].
_LONG_CLIP_S = 5.0
#: Grid frequencies [Hz], and how far a grid strays from them.
MAINS_HZ, _MAINS_TOLERANCE = (50.0, 60.0), 0.002


@dataclass(frozen=True, kw_only=True)
class TonalFamily(Family):
    """Tones at multiples of one frequency, such as blade pass or gear mesh."""

    level_db: float  # of its tones over the noise floor of their lines
    is_mains: bool  # fundamental is a multiple of 50 or 60 Hz


def tonal_families(y: npt.ArrayLike, *, sr: float, min_hz: float = 20.0) -> list[TonalFamily]:
    """Find the tones of a sound, grouped by their fundamental, strongest first.

    Lines of the power spectrum (Blackman-Harris: no skirts of a strong tone), judged as in
    `characteristic_frequencies`, from ``min_hz`` (put the high-pass there) to 0.45 ``sr``, at
    most 4000 Hz. A machine at exactly 50 or 60 Hz is not told from mains hum.
    """
    samples = checked_clip(y, sr=sr)
    max_hz = min(0.45 * sr, 4000.0)
    if not 0 <= min_hz < max_hz:
        raise InputError(
            f"min_hz = {min_hz:g}: expected 0 <= min_hz < {max_hz:g} Hz at sr = {sr:g} Hz."
        )
    spectra = _tone_lines(samples, sr=sr, min_hz=min_hz, max_hz=max_hz)
    if spectra is None:
        return []
    lowest = max(8, int(min_hz / spectra.spacing_hz))
    found = find_series(
        spectra,
        lowest=lowest,
        highest=spectra.evidence.shape[1] - 1,
        max_series=8,
        false_alarm=FALSE_ALARM,
    )
    families = [_describe(spectra, series) for series in found]
    return sorted(families, key=lambda family: -family.significance)


def _tone_lines(samples: Array, *, sr: float, min_hz: float, max_hz: float) -> LineSpectra | None:
    """Lines of the power spectrum; None for silence and clips of too few lines."""
    n_samples = len(samples)
    first, last = int(min_hz * n_samples / sr), int(max_hz * n_samples / sr) + 1
    centred = samples - samples.mean()
    if last - first < MIN_LINES or is_constant(samples):
        return None
    window = signal.get_window("blackmanharris", n_samples)
    spectrum = fft.rfft(centred * window)
    power = np.abs(spectrum[:last]) ** 2
    # Rounding is a floor too: nothing under it is a tone.
    step = quantisation_step(samples)
    power += step**2 / 12 * float(np.sum(window**2)) + 1e-18 * float(power.max())
    power[:first] = np.median(power[first : first + MIN_LINES])
    # In a long clip a resonance spans hundreds of lines, which the running floor follows by
    # itself, while a speed that wanders by 1 % fills the lines that a local floor would rest on.
    is_short = n_samples < _LONG_CLIP_S * sr
    floor = tone_floor(power) if is_short else noise_floor(power)
    relative, evidence, widths = line_evidence(power, *floor)
    evidence[:first] = 0.0
    return LineSpectra(
        evidence=evidence[None],
        widths=widths[None],
        power=relative[None],
        bands_hz=[(min_hz, max_hz)],
        spectrum=spectrum,
        step=step,
        n_samples=n_samples,
        sr=sr,
    )


def _describe(spectra: LineSpectra, series: Series) -> TonalFamily:
    facts = family_facts(spectra, series)
    heights = spectra.power[0, list(series.lines)]
    return TonalFamily(
        **facts,
        level_db=float(10 * np.log10(max(heights.sum(), 1e-12))),
        is_mains=is_mains(facts["frequency_hz"], resolution_hz=spectra.spacing_hz),
    )


def is_mains(frequency_hz: float, *, resolution_hz: float = 0.0) -> bool:
    """Whether a frequency is a multiple of the grid's, 50 or 60 Hz, within 0.2 %."""
    for grid_hz in MAINS_HZ:
        order = max(1, round(frequency_hz / grid_hz))
        distance = abs(frequency_hz - order * grid_hz)
        if distance <= max(_MAINS_TOLERANCE * order * grid_hz, 0.5 * resolution_hz):
            # High multiples lie so close together that any tone would be one.
            return order <= 12
    return False
