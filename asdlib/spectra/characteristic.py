"""Characteristic frequencies: families of lines in squared envelope spectra.

    "Therefore, we conduct envelope spectrum analysis on audio signals to extract characteristic
    frequencies within the target sound frequency bands." (report, section 2.1)

The bands are those of the 1/3-binary tree, of a machine those in which a few of its clips have
their strongest families. In each, every line of the squared envelope spectrum is compared with
the local noise floor (`asdlib.spectra.lines`); lines at multiples of one frequency add up to a
family (`asdlib.spectra.search`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from asdlib.spectra.envelope import FALSE_ALARM, Band, checked_clip, judged_bands
from asdlib.spectra.lines import MIN_PERIODS, LineSpectra, line_spectra
from asdlib.spectra.search import find_series
from asdlib.spectra.series import Series

#: Bands of a machine.
N_BANDS = 6


@dataclass(frozen=True, kw_only=True)
class Family:
    """Lines at multiples of one frequency."""

    frequency_hz: float  # fitted to all harmonics
    significance: float  # -log10 of the probability that noise shows one anywhere
    harmonics: tuple[int, ...]  # orders above the noise floor, 1 = fundamental
    sideband_hz: float | None  # spacing around the harmonics, such as the shaft rate
    resolution_hz: float  # 1 / duration; the frequency is known to a part of it
    band_hz: Band  # where the family stands out most
    modulation: float  # highest harmonic over the mean squared envelope, 0 to 2; of tones 0


def characteristic_frequencies(
    y: npt.ArrayLike,
    *,
    sr: float,
    bands_hz: Sequence[Band] | None = None,
    min_hz: float | None = None,
    max_hz: float = 1000.0,
    max_families: int = 8,
    false_alarm: float = FALSE_ALARM,
    shaft_rate_hz: float | None = None,
) -> list[Family]:
    """Find the frequencies at which a sound repeats, strongest first.

    A candidate's evidence is that of its first harmonics together (S. M. Ransom et al., AJ 124
    (2002), eq. 7). Silence, a constant tone, noise, and a clip with fewer than 64 lines in its
    bands (a fraction of a second) give an empty list.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
        Sound or acceleration, any unit, at ``sr`` [Hz].
    bands_hz : sequence of (float, float), optional
        Bands to look at [Hz]. By default all 1/3-binary bands of 500 Hz and more; one band
        is about fifty times faster.
    min_hz, max_hz : float
        Lowest fundamental, by default six periods in the clip, and highest; harmonics are
        followed to twice this frequency [Hz].
    max_families, false_alarm : int, float
        Longest list; share of noise clips that may give a family.
    shaft_rate_hz : float, optional
        Spacing of sidebands to try even if the shaft is not heard [Hz].

    Raises
    ------
    InputError
        For NaN, fewer than 64 samples or band edges outside 0 to ``sr / 2``.
    """
    samples = checked_clip(y, sr=sr)
    if bands_hz is None:
        bands_hz = judged_bands(sr=sr)
    spectra = line_spectra(samples, sr=sr, bands_hz=bands_hz, max_hz=2 * max_hz)
    if spectra is None:
        return []
    found = find_series(
        spectra,
        lowest=max(MIN_PERIODS, int((min_hz or 0.0) / spectra.spacing_hz)),
        highest=int(max_hz / spectra.spacing_hz),
        max_series=max_families,
        false_alarm=false_alarm,
        spacing=None if not shaft_rate_hz else shaft_rate_hz / spectra.spacing_hz,
    )
    families = [
        family_of(spectra, series, spectra.modulation(series.band, series.lines))
        for series in found
    ]
    return sorted((f for f in families if f.modulation > 0), key=lambda f: -f.significance)


def strongest_bands(sample: Iterable[list[Family]]) -> list[Band]:
    """Bands in which the families of a few clips stand out most."""
    weights: dict[Band, float] = {}
    for family in chain.from_iterable(sample):
        gain = np.sqrt(family.significance)
        weights[family.band_hz] = weights.get(family.band_hz, 0.0) + gain
    return sorted(weights, key=lambda band: -weights[band])[:N_BANDS]


def family_of(spectra: LineSpectra, series: Series, modulation: float = 0.0) -> Family:
    """Take a family from lines to Hz."""
    hz = spectra.spacing_hz
    return Family(
        frequency_hz=series.fundamental * hz,
        significance=float(series.evidence / np.log(10.0)),
        harmonics=series.orders,
        sideband_hz=None if series.spacing is None else series.spacing * hz,
        resolution_hz=hz,
        band_hz=spectra.bands_hz[series.band],
        modulation=modulation,
    )
