"""Bootstrap over clips: stratified resamples in blocks, and intervals from what they give."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

#: Weights that are held at once: the memory of a bootstrap does not grow with its resamples.
_BLOCK_VALUES = 1 << 18


def resample_weights(
    strata: npt.NDArray[np.int64], *, n_resamples: int, seed: int, name: str
) -> Iterator[FloatArray]:
    """Draw clips with replacement inside each stratum; yields how often each was drawn.

    The draw depends on ``seed``, ``name`` and ``strata`` only, so that differences of systems on
    the same clips are paired. Blocks of shape (n_of_this_block, n_clips), in all ``n_resamples``
    rows.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    at_once = max(1, _BLOCK_VALUES // max(1, len(strata)))
    blocks = [min(at_once, n_resamples - first) for first in range(0, n_resamples, at_once)]
    streams = [rng] * len(members)
    if len(blocks) > 1:
        # All draws of a stratum come before those of the next, whatever the blocks.
        for place, own in enumerate(members[:-1]):
            streams[place] = copy.deepcopy(rng)
            for count in blocks:
                rng.integers(0, len(own), (count, len(own)))
    for count in blocks:
        weights = np.empty((count, len(strata)))
        for own, stream in zip(members, streams, strict=True):
            drawn = stream.integers(0, len(own), (count, len(own)))
            drawn += np.arange(count)[:, None] * len(own)
            counts = np.bincount(drawn.ravel(), minlength=drawn.size)
            weights[:, own] = counts.reshape(drawn.shape)
        yield weights


def bias_corrected_interval(
    value: FloatArray,
    replicates: FloatArray,
    *,
    confidence: float,
    acceleration: npt.ArrayLike = 0.0,
    widening: npt.ArrayLike = 1.0,
) -> tuple[FloatArray, FloatArray]:
    r"""Bias-corrected and accelerated percentile interval of bootstrap replicates (BCa).

    The percentiles :math:`\Phi(z_0 + (z_0 \pm w z)/(1 - a (z_0 \pm w z)))` of ``replicates``
    (n_resamples, n_values), where :math:`\Phi(z_0)` is the share of replicates below the ``value``
    (n_values,), ties half, :math:`a` the acceleration, :math:`w` the widening (0 and 1:
    bias-corrected alone) and :math:`z` the normal quantile of the confidence. The partial AUC of a
    resample of few clips lies too high on average, and the nearer to 1 the less it scatters; plain
    percentiles inherit both. NaN where the value is, or without replicates. B. Efron, JASA 82
    (1987).
    """
    normal = NormalDist()
    low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    accelerations = np.broadcast_to(acceleration, value.shape)
    widenings = np.broadcast_to(widening, value.shape)
    n_resamples = len(replicates)
    for column in np.flatnonzero(~np.isnan(value)) if n_resamples else ():
        drawn = replicates[:, column]
        # Sums of rounded numbers: what differs by a rounding error is a tie.
        tie = np.isclose(drawn, value[column], rtol=0, atol=1e-12)
        below = (np.sum((drawn < value[column]) & ~tie) + 0.5 * tie.sum()) / n_resamples
        shift = normal.inv_cdf(np.clip(below, 0.5 / n_resamples, 1 - 0.5 / n_resamples))
        reach = widenings[column] * normal.inv_cdf(0.5 + 0.5 * confidence)
        ends = np.array([-reach, reach])
        # Where the acceleration would turn the order round, the end is the outermost replicate.
        steepness = np.maximum(1.0 - accelerations[column] * (shift + ends), 1e-3)
        places = 2.0 * shift + ends + accelerations[column] * (shift + ends) ** 2 / steepness
        low[column], high[column] = np.quantile(drawn, [normal.cdf(place) for place in places])
    return low, high


def small_sample_widening(n_clips: float) -> float:
    """How much wider an interval is to be that rests on ``n_clips`` clips: sqrt(n / (n - 1)).

    Resamples of n clips scatter by that much less than new clips would. Two at least count.
    """
    fewest = max(n_clips, 2.0)
    return float(np.sqrt(fewest / (fewest - 1.0)))


def pauc_acceleration(
    anomaly_score: FloatArray, is_anomaly: npt.NDArray[np.bool_], *, max_fpr: float
) -> float:
    """Acceleration of the partial AUC: a sixth of the skewness of every clip's influence on it.

    An anomaly adds the false-positive rates up to ``max_fpr`` at which it is found; a normal clip
    of the highest scores takes what lies between its score and the threshold at ``max_fpr``.
    """
    normal, anomalous = np.sort(anomaly_score[~is_anomaly]), np.sort(anomaly_score[is_anomaly])
    false_rate = 1.0 - np.searchsorted(normal, anomalous, "left") / len(normal)
    found_at = 1.0 - np.searchsorted(anomalous, normal, "left") / len(anomalous)
    threshold = np.quantile(normal, np.clip(1.0 - max_fpr, 0.0, 1.0))
    found = 1.0 - np.searchsorted(anomalous, threshold, "left") / len(anomalous)
    influence = np.concatenate(
        [
            _centred(np.maximum(0.0, max_fpr - false_rate)) / len(anomalous),
            _centred(np.where(normal > threshold, found_at - found, 0.0)) / len(normal),
        ]
    )
    if np.abs(influence).max() < 1e-12:  # no clip changes the value but for rounding
        return 0.0
    return float(np.sum(influence**3) / (6.0 * np.sum(influence**2) ** 1.5))


def _centred(values: FloatArray) -> FloatArray:
    return np.asarray(values - values.mean())
