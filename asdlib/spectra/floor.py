"""Noise floor of a spectrum, and how improbable a line is above it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage, special

Array = npt.NDArray[np.float64]

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


def noise_floor(power: Array) -> tuple[Array, Array]:
    """Estimate the noise floor of a power spectrum, and the lines that it rests on.

    Twice a running median over ln 2 (the mean of an exponential distribution), interpolated
    over the logarithm of both axes, the second time of the spectrum divided by the first.
    Where a narrow running median lies higher at low frequency, it counts instead.

    Parameters
    ----------
    power : ndarray of float64, shape (n_lines,)

    Returns
    -------
    floor : ndarray of float64, shape (n_lines,)
        Unit of ``power``.
    n_floor : ndarray of float64, shape (n_lines,)
        Effective number of lines behind the estimate.
    """
    n_lines = len(power)
    edges = _edges(n_lines)
    centres = np.log((edges[:-2] + edges[2:]) / 2.0)
    position = _log_lines(n_lines)
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
def _edges(n_lines: int) -> npt.NDArray[np.int64]:
    edges, width = [MIN_PERIODS], _BLOCKS[0]
    while edges[-1] + width < n_lines:
        edges.append(edges[-1] + int(width))
        width = min(_BLOCKS[1], width * 1.25)
    if len(edges) < 3:
        edges = [0, n_lines // 2]
    edges[-1] = n_lines
    return np.array([edges[0], n_lines // 2, n_lines] if len(edges) < 3 else edges)


@lru_cache(maxsize=64)
def _log_lines(n_lines: int) -> Array:
    return np.asarray(np.log(np.maximum(np.arange(n_lines), 1.0)))


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


def line_evidence(power: Array) -> tuple[Array, Array, npt.NDArray[np.int64]]:
    """Power over the running floor, and -ln p of every local maximum given that floor.

    A sum over neighbouring lines follows a gamma distribution whose shape is read from the
    spectrum itself (its 80 % point over its median), so that a sound whose lines are
    correlated, or heavier in the tail than Gaussian noise, does not raise false alarms. The
    floor is an estimate too, which makes the ratio of both an F distribution.

    Parameters
    ----------
    power : ndarray of float64, shape (n_lines,)

    Returns
    -------
    relative : ndarray of float64, shape (n_lines,)
        Power over the floor.
    evidence : ndarray of float64, shape (n_lines,)
        -ln p, the number of widths paid for; 0 beside a higher line.
    widths : ndarray of int64, shape (n_lines,)
        Over how many lines the evidence is highest.
    """
    floor, n_floor = noise_floor(power)
    relative = np.divide(power, floor, out=np.zeros_like(power), where=floor > 0)
    best = np.zeros_like(relative)
    widths = np.ones(len(relative), np.int64)
    for width, lowest in LINE_WIDTHS.items():
        lowest = max(lowest, MIN_PERIODS)
        if len(power) < lowest + 64:
            break
        total = ndimage.uniform_filter1d(relative, width, mode="nearest") if width > 1 else relative
        median, upper = np.quantile(total[lowest:], [0.5, 0.8])
        shape = min(float(width), gamma_shape(upper / max(median, _TINY)))
        scaled = total * (special.gammaincinv(shape, 0.5) / max(median, _TINY))
        last = len(scaled) - width // 2
        high = lowest + np.flatnonzero(scaled[lowest:last] > shape + 2.0 * np.sqrt(shape))
        found = ratio_evidence(shape, scaled[high], n_floor[high])
        better = found > best[high]
        best[high[better]] = found[better]
        widths[high[better]] = width
    tried = np.searchsorted(list(LINE_WIDTHS.values()), np.arange(len(best)), side="right")
    best = np.maximum(best - np.log(tried), 0.0)
    # One line, one place: neither the skirts of a line nor sums that reach it are others.
    highest = {width: ndimage.maximum_filter1d(best, width + 6) for width in LINE_WIDTHS}
    for width, nearby in highest.items():
        best[(widths == width) & (best < nearby)] = 0.0
    return relative, best, widths


_SHAPES = np.geomspace(0.3, 32.0, 90)
_SHAPE_RATIOS = special.gammaincinv(_SHAPES, 0.8) / special.gammaincinv(_SHAPES, 0.5)


def gamma_shape(ratio: float) -> float:
    """Shape of the gamma distribution whose 80 % point is ``ratio`` medians."""
    return float(np.interp(ratio, _SHAPE_RATIOS[::-1], _SHAPES[::-1]))


def gamma_evidence(shape: npt.ArrayLike, total: npt.ArrayLike) -> Array:
    r"""-ln of the probability that a sum of ``shape`` exponentials exceeds ``total``.

    For large totals, where the probability is under the smallest float, the leading terms
    :math:`x - (a - 1) \ln x + \ln\Gamma(a) + \ln(1 - (a - 1)/x)` are used.
    """
    a, x = np.broadcast_arrays(np.asarray(shape, np.float64), np.asarray(total, np.float64))
    near = -np.log(np.maximum(special.gammaincc(a, np.minimum(x, 300.0)), _TINY))
    far = np.maximum(x, 300.0)
    tail = far - (a - 1) * np.log(far) + special.gammaln(a) + np.log1p(-(a - 1) / far)
    return np.where(x < 300.0, near, tail)


def ratio_evidence(shape: float, total: Array, n_floor: Array) -> Array:
    r"""-ln p of a sum of ``shape`` exponentials over a mean of ``n_floor`` others.

    .. math:: p = I_y(n, a), \quad y = n / (n + x)

    with the regularised incomplete beta function; its leading terms where p is too small.
    """
    y = n_floor / (n_floor + total)
    p = special.betainc(n_floor, shape, y)
    tail = -(n_floor * np.log(y) + (shape - 1) * np.log1p(-y))
    tail += np.log(n_floor) + special.betaln(n_floor, shape)
    return np.where(p > 1e-280, -np.log(np.maximum(p, _TINY)), tail)
