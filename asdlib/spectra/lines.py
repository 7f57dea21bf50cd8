"""Evidence of single lines in squared envelope spectra, against the local noise floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal, special

from asdlib.spectra.envelope import Band, band_lines, complex_envelope

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]

#: A line under this share of the mean squared envelope is not a modulation but arithmetic
#: (rounding, edges of the clip): noise alone reaches 0.01 in the longest and widest case.
MIN_MODULATION = 2e-3
#: Bands this far under the whole signal's power hold rounding errors only.
MIN_BAND_POWER = 1e-7
#: Lines are judged over one or several neighbouring bins, since slip widens them.
LINE_WIDTHS = (1, 3, 7)
#: Slower repetitions than this many periods in the clip are not told from fluctuation.
MIN_PERIODS = 6
#: A clip needs this many lines in a band for its noise floor to be known.
MIN_LINES = 64
#: Width of the narrow running median [lines].
_LOCAL_LINES = 17
#: Share of the clip at either end over which it is faded, against leakage of tones.
_FADE = 0.1
#: Envelopes are limited to this many medians, so that a bang does not outweigh the clip.
_ENVELOPE_LIMIT = 10.0


@dataclass
class LineSpectra:
    """Evidence of every line in every band, on the common grid of k / duration.

    ``evidence`` is changed while families take their lines away.
    """

    evidence: Array  # (n_bands, n_lines), -ln p; 0 where a band has no such line
    power: Array  # (n_bands, n_lines), over the floor
    bands_hz: list[Band]
    spectrum: Spectrum  # of the whole signal
    step: float  # of its samples' values
    n_samples: int
    sr: float

    @property
    def spacing_hz(self) -> float:
        """Distance of lines [Hz]."""
        return self.sr / self.n_samples

    @property
    def n_tests(self) -> int:
        """Number of lines that were judged, over all bands."""
        return int(np.count_nonzero(self.power))

    def modulation(self, band: int, lines: Sequence[int]) -> float:
        """Largest of some lines over the mean squared envelope; 0 when it means nothing."""
        first, last = band_lines(self.bands_hz[band], sr=self.sr, n_samples=self.n_samples)
        power = 2 * float(np.sum(np.abs(self.spectrum[first:last]) ** 2)) / self.n_samples**2
        heights = _modulation(self.spectrum, first, last, n_samples=self.n_samples)
        height = float(heights[list(lines)].max())
        return height if height > max(MIN_MODULATION, 2 * self.step / np.sqrt(power)) else 0.0


def line_spectra(
    samples: Array, *, sr: float, bands_hz: Sequence[Band], max_hz: float
) -> LineSpectra | None:
    """Judge every line up to ``max_hz`` in every band; None for silence and short clips."""
    n_samples = samples.shape[-1]
    fade = signal.windows.tukey(n_samples, 2 * _FADE)
    centred = samples - samples.mean()
    power = float(np.mean(centred**2))
    if power <= 1e-20 * max(1.0, float(np.mean(samples**2))):
        return None
    spectrum = fft.rfft(centred * fade)
    step = _quantisation_step(samples)
    whitened = spectrum / _floor_amplitude(spectrum, lowest=10 * n_samples * step**2 / 12)
    n_lines = min(n_samples // 2, int(max_hz * n_samples / sr) + 1)
    rows: list[tuple[Array, Array]] = []
    used: list[Band] = []
    for band in bands_hz:
        first, last = band_lines(band, sr=sr, n_samples=n_samples)
        band_power = 2 * float(np.sum(np.abs(spectrum[first:last]) ** 2)) / n_samples**2
        rounding = step**2 / 12 * (last - first) / (n_samples / 2)
        if band_power < max(MIN_BAND_POWER * power, 30 * rounding) or last - first < MIN_LINES:
            continue
        modulation = _modulation(whitened, first, last, n_samples=n_samples)
        # The upper part of a band's lines rests on few pairs of bins.
        modulation = modulation[: min(n_lines, max(MIN_LINES, int(0.8 * (last - first))))]
        rows.append(line_evidence(modulation**2))
        used.append(band)
    if not rows:
        return None
    out = LineSpectra(
        evidence=np.zeros((len(rows), n_lines)),
        power=np.zeros((len(rows), n_lines)),
        bands_hz=used,
        spectrum=spectrum,
        step=step,
        n_samples=n_samples,
        sr=sr,
    )
    for i, (relative, evidence) in enumerate(rows):
        out.power[i, : len(relative)] = relative
        out.evidence[i, : len(evidence)] = evidence
    return out


def _floor_amplitude(spectrum: Spectrum, *, lowest: float) -> Array:
    """Square root of the running floor of the power spectrum, by which it is made flat.

    Nothing under ``lowest`` is raised: rounding errors of a tone are tones as well.
    """
    floor, _ = _noise_floor(np.abs(spectrum) ** 2)
    return np.asarray(np.sqrt(np.maximum(floor, max(lowest, 1e-12 * floor.max()))))


def _modulation(spectrum: Spectrum, first: int, last: int, *, n_samples: int) -> Array:
    """Squared envelope spectrum of a band over its mean, the envelope's peaks limited."""
    envelope = complex_envelope(spectrum, first, last, n_samples=n_samples)
    squared = envelope.real**2 + envelope.imag**2
    fade = signal.windows.tukey(len(squared), 2 * _FADE) ** 2
    flat = slice(int(_FADE * len(squared)), int((1 - _FADE) * len(squared)))
    np.minimum(squared, _ENVELOPE_LIMIT * np.median(squared[flat]) * fade, out=squared)
    mean = squared.sum() / fade.sum()
    squared -= mean * fade
    return np.asarray(np.abs(fft.rfft(squared)[: last - first]) * (2.0 / (mean * fade.sum())))


def _quantisation_step(samples: Array) -> float:
    """Step of an integer recording, as integers or as fractions of full scale; else 0."""
    for step in (1.0, 2.0**-7, 2.0**-15, 2.0**-23):
        counts = samples / step
        if np.array_equal(counts, np.round(counts)):
            return step
    return 0.0


def line_evidence(power: Array) -> tuple[Array, Array]:
    """Power over the running floor, and -ln p of every local maximum given that floor.

    A sum over neighbouring lines follows a gamma distribution whose shape is read from the
    spectrum itself (its 80 % point over its median), so that a sound whose lines are
    correlated, or heavier in the tail than Gaussian noise, does not raise false alarms.
    """
    floor, n_floor = _noise_floor(power)
    relative = np.divide(power, floor, out=np.zeros_like(power), where=floor > 0)
    best = np.zeros_like(relative)
    for width in LINE_WIDTHS:
        total = ndimage.uniform_filter1d(relative, width, mode="nearest")
        median, upper = np.quantile(total[MIN_PERIODS:], [0.5, 0.8])
        shape = min(float(width), _gamma_shape(upper / max(median, 1e-300)))
        scaled = total * (special.gammaincinv(shape, 0.5) / max(median, 1e-300))
        high = np.flatnonzero(scaled > shape + 1.0)  # the others have no evidence to speak of
        found = gamma_evidence(shape, scaled[high]) - np.log(len(LINE_WIDTHS))
        best[high] = np.maximum(best[high], found)
    # The floor itself is an estimate from n_floor lines, which fattens the tail.
    best = n_floor * np.log1p(best / n_floor)
    best[:MIN_PERIODS] = 0.0
    # One line, one place: the skirts of a line must not pass for lines or sidebands.
    best[relative < ndimage.maximum_filter1d(relative, max(LINE_WIDTHS))] = 0.0
    return relative, best


_SHAPES = np.geomspace(0.3, 8.0, 60)
_SHAPE_RATIOS = special.gammaincinv(_SHAPES, 0.8) / special.gammaincinv(_SHAPES, 0.5)


def _gamma_shape(ratio: float) -> float:
    """Shape of the gamma distribution whose 80 % point is ``ratio`` medians."""
    return float(np.interp(ratio, _SHAPE_RATIOS[::-1], _SHAPES[::-1]))


def gamma_evidence(shape: float, total: npt.ArrayLike) -> Array:
    r"""-ln of the probability that a sum of ``shape`` exponentials exceeds ``total``.

    For large totals, where the probability is under the smallest float, the leading terms
    :math:`x - (a - 1) \ln x + \ln\Gamma(a) + \ln(1 - (a - 1)/x)` are used.
    """
    x = np.asarray(total, dtype=np.float64)
    near = -np.log(np.maximum(special.gammaincc(shape, np.minimum(x, 300.0)), 1e-300))
    far = np.maximum(x, 300.0)
    tail = far - (shape - 1) * np.log(far) + special.gammaln(shape) + np.log1p(-(shape - 1) / far)
    return np.where(x < 300.0, near, tail)


def _noise_floor(power: Array) -> tuple[Array, Array]:
    """Estimate the noise floor and the effective number of lines it rests on.

    The floor is a running median over ln 2, the mean of an exponential distribution.

    Blocks grow from 32 lines at low frequency to 160. Where a narrow running median lies
    higher (slow fluctuations make the floor steep there), it counts instead.
    """
    edges = [MIN_PERIODS]
    width = 32.0
    while edges[-1] < len(power):
        edges.append(edges[-1] + int(width))
        width = min(160.0, width * 1.25)
    centres, medians, counts = [], [], []
    for first, last in zip(edges, edges[2:] or edges[1:], strict=False):
        block = power[first:last]
        if len(block) >= 24:
            centres.append(first + len(block) / 2)
            medians.append(float(np.median(block)) / np.log(2.0))
            counts.append(0.48 * len(block))
    lines = np.arange(len(power))
    floor = np.exp(np.interp(lines, centres, np.log(np.maximum(medians, 1e-300))))
    local = ndimage.median_filter(power, _LOCAL_LINES, mode="nearest") / np.log(2.0)
    count = np.interp(lines, centres, counts)
    return np.maximum(floor, local), np.where(local > 2 * floor, 0.48 * _LOCAL_LINES, count)
