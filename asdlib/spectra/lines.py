"""Lines of a spectrum: their evidence against the local noise floor, in one band or many.

The evidence of a line is -ln p, p being the probability that noise alone reaches its height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal, special

from asdlib.spectra.envelope import Array, Band, Spectrum, band_lines, complex_envelope

#: Slower repetitions than this many periods in the clip are not told from fluctuation.
MIN_PERIODS = 6
#: Widths over which a line is judged, and the line from which on each is tried: slip and a
#: wandering speed widen lines in proportion to their frequency [lines].
LINE_WIDTHS = {1: 0, 3: 0, 7: 100, 15: 400, 31: 1200}
#: Blocks of the running median grow from the first to the second width [lines].
_BLOCKS = (16.0, 160.0)
#: Up to here, where slow fluctuations make the floor steep, a narrow median counts too.
_STEEP_LINES, _LOCAL_LINES = 400, 17
#: Lines a running median is worth, against a mean.
_MEDIAN_EFFICIENCY = 0.48
_TINY = 1e-300
#: A line under this share of the mean squared envelope is not a modulation but arithmetic
#: (rounding, edges of the clip): noise alone reaches 0.01 in the longest and widest case.
MIN_MODULATION = 2e-3
#: Bands this far under the whole signal's power hold rounding errors only.
MIN_BAND_POWER = 1e-7
#: Reach of the floor of tones on both sides of a line, and the lines beside it left out.
_TONE_REACH, _TONE_GUARD = 40, 4
#: From this many running floors on, the lines around are a resonance.
_TONE_RISE = 1.5
#: Power bandwidth of the Blackman-Harris window: neighbouring lines are not independent [lines].
_TONE_BANDWIDTH = 2.0
#: A clip needs this many lines in a band for its noise floor to be known.
MIN_LINES = 64
#: Share of the clip at either end over which it is faded, against leakage of tones.
_FADE = 0.1
#: A single bin counts up to this share of the noise in the narrowest band.
_TONE_LIMIT = 0.05
#: Envelopes are limited to this many medians, so that a bang does not outweigh the clip.
_ENVELOPE_LIMIT = 10.0
#: Shapes of gamma distributions, and how many medians their 80 % points are.
_SHAPES = np.geomspace(0.3, 32.0, 90)
_SHAPE_RATIOS = special.gammaincinv(_SHAPES, 0.8) / special.gammaincinv(_SHAPES, 0.5)


def noise_floor(power: Array) -> tuple[Array, Array]:
    """Estimate the noise floor of a power spectrum, and how many lines it rests on.

    Running median over ln 2 (the mean of an exponential distribution) on logarithmic axes, twice;
    where a narrow running median lies higher at low frequency, it counts instead.
    """
    n_lines = len(power)
    edges, centres, position = _blocks(n_lines)
    floor = np.ones(n_lines)
    for _ in range(2):
        medians = np.log(np.maximum(_block_medians(power / floor, edges), _TINY))
        slope = (medians[1] - medians[0]) / (centres[1] - centres[0]) if len(centres) > 1 else 0.0
        known = np.interp(position, centres, medians)
        known += np.minimum(slope, 0.0) * np.minimum(position - centres[0], 0.0)
        floor *= np.exp(known)
    count = np.interp(position, centres, _MEDIAN_EFFICIENCY * (edges[2:] - edges[:-2]))
    steep = min(_STEEP_LINES, n_lines)
    local = ndimage.median_filter(power[:steep], _LOCAL_LINES, mode="nearest") / np.log(2.0)
    is_steep = local > 2 * floor[:steep]
    count[:steep][is_steep] = _MEDIAN_EFFICIENCY * _LOCAL_LINES
    np.maximum(floor[:steep], local, out=floor[:steep])
    return floor, count


@lru_cache(maxsize=64)
def _blocks(n_lines: int) -> tuple[npt.NDArray[np.int64], Array, Array]:
    """Edges of blocks, each from one to the next but one; log of their centres and of all lines."""
    edges, width = [MIN_PERIODS], _BLOCKS[0]
    while edges[-1] + width < n_lines:
        edges.append(edges[-1] + int(width))
        width = min(_BLOCKS[1], width * 1.25)
    ends = np.array([0, n_lines // 2, n_lines] if len(edges) < 3 else [*edges[:-1], n_lines])
    return ends, np.log((ends[:-2] + ends[2:]) / 2.0), np.log(np.maximum(np.arange(n_lines), 1.0))


def _block_medians(power: Array, edges: npt.NDArray[np.int64]) -> Array:
    """Median over ln 2 of blocks that overlap by half: block i from edge i to edge i + 2."""
    regular = int(np.searchsorted(np.diff(edges), int(_BLOCKS[1])))
    growing = [
        np.median(power[edges[i] : edges[i + 2]]) for i in range(min(regular, len(edges) - 2))
    ]
    blocks = len(edges) - 3 - regular  # the last block may be longer than the others
    if blocks >= 0:
        step = int(_BLOCKS[1])
        windows = np.lib.stride_tricks.sliding_window_view(power[edges[regular] :], 2 * step)
        growing.extend(np.median(windows[::step][:blocks], axis=1))
        growing.append(np.median(power[edges[-3] :]))
    return np.asarray(np.asarray(growing) / np.log(2.0))


def tone_floor(power: Array) -> tuple[Array, Array]:
    """Estimate the floor for tones, and how many lines it rests on: not under a resonance.

    At least the median around each line without it and its neighbours, so that a tone does not
    raise its own floor (order statistics, guard cells: H. Rohling, IEEE Trans. AES 19 (1983)).
    """
    floor, count = noise_floor(power)
    around = np.ones(2 * _TONE_REACH + 1, np.bool_)
    around[_TONE_REACH - _TONE_GUARD : _TONE_REACH + _TONE_GUARD + 1] = False
    local = ndimage.median_filter(power, footprint=around, mode="nearest") / np.log(2.0)
    # One count for a whole neighbourhood: a skirt with a higher one could outdo its tone.
    is_higher = ndimage.maximum_filter1d(local > _TONE_RISE * floor, 2 * _TONE_REACH + 1)
    n_local = _MEDIAN_EFFICIENCY * around.sum() / _TONE_BANDWIDTH
    return np.maximum(floor, local), np.where(is_higher, n_local, count)


def line_evidence(
    power: Array, floor: Array, n_floor: Array, *, worst_floor: bool = False
) -> tuple[Array, Array]:
    """Per line: power over the floor, and -ln p of local maxima at the width that shows most.

    Sums of neighbours follow a gamma distribution whose shape is read from the spectrum (80 % point
    over median: correlated or heavy-tailed lines raise no alarm), the floor rests on ``n_floor``
    lines (``worst_floor``: on the fewest of any line in a sum, so that it outdoes no tone that it
    reaches), so the ratio is F distributed. Bonferroni-corrected for the widths.
    """
    relative = np.divide(power, floor, out=np.zeros_like(power), where=floor > 0)
    best = np.zeros_like(relative)
    widths = np.ones(len(relative), np.int64)
    for width, lowest in LINE_WIDTHS.items():
        lowest = max(lowest, MIN_PERIODS)
        if len(power) < lowest + 64:
            break
        total = ndimage.uniform_filter1d(relative, width, mode="nearest") if width > 1 else relative
        median, upper = np.quantile(total[lowest:], [0.5, 0.8])
        ratio = upper / max(median, _TINY)
        shape = min(float(width), float(np.interp(ratio, _SHAPE_RATIOS[::-1], _SHAPES[::-1])))
        scaled = total * (special.gammaincinv(shape, 0.5) / max(median, _TINY))
        last = len(scaled) - width // 2
        high = lowest + np.flatnonzero(scaled[lowest:last] > shape + 2.0 * np.sqrt(shape))
        n_known = ndimage.minimum_filter1d(n_floor, width) if worst_floor else n_floor
        found = ratio_evidence(shape, scaled[high], n_known[high])
        better = found > best[high]
        best[high[better]] = found[better]
        widths[high[better]] = width
    tried = np.searchsorted(list(LINE_WIDTHS.values()), np.arange(len(best)), side="right")
    best = np.maximum(best - np.log(tried), 0.0)
    # One line, one place: neither the skirts of a line nor sums that reach it are others.
    highest = {width: ndimage.maximum_filter1d(best, width + 6) for width in LINE_WIDTHS}
    for width, nearby in highest.items():
        best[(widths == width) & (best < nearby)] = 0.0
    return relative, best


def gamma_evidence(shape: npt.ArrayLike, total: npt.ArrayLike) -> Array:
    r"""-ln of the probability that a sum of ``shape`` exponentials exceeds ``total``.

    Leading terms :math:`x - (a - 1) \ln x + \ln\Gamma(a) + \ln(1 - (a - 1)/x)` where it underflows.
    """
    a, x = np.broadcast_arrays(np.asarray(shape, np.float64), np.asarray(total, np.float64))
    near = -np.log(np.maximum(special.gammaincc(a, np.minimum(x, 300.0)), _TINY))
    far = np.maximum(x, 300.0)
    tail = far - (a - 1) * np.log(far) + special.gammaln(a) + np.log1p(-(a - 1) / far)
    return np.where(x < 300.0, near, tail)


def ratio_evidence(shape: float, total: Array, n_floor: Array) -> Array:
    """-ln p of a sum of ``shape`` exponentials over a mean of ``n_floor`` others.

    :math:`p = I_y(n, a), y = n / (n + x)`, regularised incomplete beta; leading terms if tiny.
    """
    y = n_floor / (n_floor + total)
    p = special.betainc(n_floor, shape, y)
    tail = -(n_floor * np.log(y) + (shape - 1) * np.log1p(-y))
    tail += np.log(n_floor) + special.betaln(n_floor, shape)
    return np.where(p > 1e-280, -np.log(np.maximum(p, _TINY)), tail)


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
    step = quantisation_step(samples)
    # Made flat by its running floor. Nothing under rounding is raised, and nothing far under the
    # highest: rounding errors of a tone are tones as well.
    floor, _ = noise_floor(np.abs(spectrum) ** 2)
    lowest = max(10 * n_samples * step**2 / 12, 1e-12 * floor.max())
    whitened = spectrum / np.sqrt(np.maximum(floor, lowest))
    # A steady tone times the noise around it has steps at the band's edges, which would pass for
    # lines. Modulated tones keep theirs: all of their bins stay well above noise.
    n_narrowest = min(high - low for low, high in bands_hz) * n_samples / sr
    bins = whitened.real**2 + whitened.imag**2
    highest = max(_TONE_LIMIT * n_narrowest, 10.0)
    loud = np.flatnonzero(bins > highest)
    whitened[loud] *= np.sqrt(highest / bins[loud])
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
        rows.append(line_evidence(modulation**2, *noise_floor(modulation**2)))
        used.append(band)
    if not rows:
        return None
    relative, evidence = np.zeros((2, len(rows), n_lines))
    for i, (own_relative, own_evidence) in enumerate(rows):
        relative[i, : len(own_relative)] = own_relative
        evidence[i, : len(own_evidence)] = own_evidence
    return LineSpectra(evidence, relative, used, spectrum, step, n_samples, sr)


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


def quantisation_step(samples: Array) -> float:
    """Step of an integer recording, as integers or as fractions of full scale; else 0."""
    for step in (1.0, 2.0**-7, 2.0**-15, 2.0**-23):
        counts = samples / step
        if np.array_equal(counts, np.round(counts)):
            return step
    return 0.0
