"""Characteristic frequencies: families of lines in squared envelope spectra.

The signal is looked at through all bands of the 1/3-binary tree. In each band every line of
the squared envelope spectrum is compared with the local noise floor, which gives the
probability that noise alone reaches its height. Lines at multiples of one frequency add up
to a family; the number of lines and bands that were tried is paid for, so that noise has a
family in fewer than one clip in a hundred.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError
from asdlib.spectra.envelope import Band, checked_signal
from asdlib.spectra.floor import MIN_PERIODS
from asdlib.spectra.kurtogram import band_tree
from asdlib.spectra.lines import LineSpectra, line_spectra
from asdlib.spectra.search import find_series
from asdlib.spectra.series import Series

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FrequencyFamily:
    """A frequency at which the sound repeats, with what belongs to it.

    Attributes
    ----------
    frequency_hz : float
        Fundamental, fitted to all its harmonics [Hz].
    significance : float
        -log10 of the probability that noise shows such a family anywhere in the clip.
    harmonics : tuple of int
        Orders that stand out of the noise floor, 1 = fundamental.
    sideband_hz : float or None
        Spacing of sidebands around the harmonics [Hz], such as the shaft rate around a
        ball-pass frequency; None when there are none.
    band_hz : (float, float)
        Band in which the family stands out most [Hz].
    resolution_hz : float
        1 / duration; the uncertainty of ``frequency_hz`` is a fraction of it [Hz].
    modulation : float
        Height of the highest harmonic over the mean squared envelope, 0 to 2.
    """

    frequency_hz: float
    significance: float
    harmonics: tuple[int, ...]
    sideband_hz: float | None
    band_hz: Band
    resolution_hz: float
    modulation: float


def characteristic_frequencies(
    y: npt.ArrayLike,
    *,
    sr: float,
    bands_hz: Sequence[Band] | None = None,
    min_hz: float | None = None,
    max_hz: float = 1000.0,
    max_families: int = 8,
    false_alarm: float = 2e-3,
) -> list[FrequencyFamily]:
    """Find the frequencies at which a sound repeats, strongest first.

    Every line of the squared envelope spectrum of every band has the evidence -ln p, p being
    the probability that the local noise floor (a running median) reaches its height. A
    candidate's evidence is that of its first harmonics together (a gamma tail). The
    strongest candidate becomes a family and takes its harmonics and sidebands out of the
    picture; then the next. Half and third of a strong line are candidates too, and win only
    when the lines in between are there.

    Silence, a constant tone and noise give an empty list. A constant offset is removed. A
    clipped signal is taken as it is: clipping a modulated signal keeps its modulation
    frequencies. A clip with fewer than 64 lines in its bands (a fraction of a second) is too
    short to know its noise floor and gives an empty list.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
        Sound or acceleration, any unit.
    sr : float
        Sampling rate [Hz].
    bands_hz : sequence of (float, float), optional
        Bands to look at [Hz]. By default all 1/3-binary bands of 500 Hz and more; one band
        is about fifty times faster.
    min_hz : float, optional
        Lowest fundamental [Hz]; by default six periods in the clip.
    max_hz : float
        Highest fundamental [Hz]; harmonics are followed to twice this frequency.
    max_families : int
        Longest list.
    false_alarm : float
        Share of noise clips that may give a family.

    Returns
    -------
    list of FrequencyFamily
        Strongest first; empty when no line stands out.

    Raises
    ------
    InputError
        For NaN, fewer than 64 samples or band edges outside 0 to ``sr / 2``.

    References
    ----------
    R. B. Randall and J. Antoni, "Rolling element bearing diagnostics - A tutorial",
    MSSP 25 (2011), sections 3 and 5. S. M. Ransom et al., AJ 124 (2002), eq. 7 (sum of
    harmonic powers).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> t = np.arange(48000) / 16000
    >>> y = (1 + np.cos(2 * np.pi * 107.3 * t)) * rng.standard_normal(48000)
    >>> [round(f.frequency_hz, 1) for f in characteristic_frequencies(y, sr=16000)]
    [107.3]
    """
    samples = checked_signal(y, sr=sr)
    if samples.ndim != 1:
        raise InputError(f"y has shape {samples.shape}, expected one signal (n_samples,).")
    if bands_hz is None:
        tree = band_tree(sr=sr, min_width_hz=500.0, max_bands=24)
        bands_hz = [band for level in tree for band in level]
    spectra = line_spectra(samples, sr=sr, bands_hz=bands_hz, max_hz=2 * max_hz)
    if spectra is None:
        return []
    lowest = MIN_PERIODS if min_hz is None else max(MIN_PERIODS, int(min_hz / spectra.spacing_hz))
    found = find_series(
        spectra,
        lowest=lowest,
        highest=int(max_hz / spectra.spacing_hz),
        max_series=max_families,
        false_alarm=false_alarm,
    )
    described = [_describe(spectra, series) for series in found]
    families = [family for family in described if family.modulation > 0]
    return sorted(families, key=lambda family: -family.significance)


def _describe(spectra: LineSpectra, series: Series) -> FrequencyFamily:
    return FrequencyFamily(
        frequency_hz=series.fundamental * spectra.spacing_hz,
        significance=float(series.evidence / np.log(10.0)),
        harmonics=series.orders,
        sideband_hz=None if series.spacing is None else series.spacing * spectra.spacing_hz,
        band_hz=spectra.bands_hz[series.band],
        resolution_hz=spectra.spacing_hz,
        modulation=spectra.modulation(series.band, series.lines),
    )
