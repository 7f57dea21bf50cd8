"""Bootstrap over clips: stratified resamples, and intervals from what they give."""

from __future__ import annotations

import zlib
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def resample_weights(
    strata: npt.NDArray[np.int64], *, n_resamples: int, seed: int, name: str
) -> FloatArray:
    """Draw clips with replacement inside each stratum.

    The draw depends on ``seed``, ``name`` and ``strata`` only. Two systems scored on the same
    clips, in the same order, therefore meet the same resamples: their differences are paired,
    and no interval depends on which other machines stand in the table.

    Parameters
    ----------
    strata : ndarray of int64, shape (n_clips,)
        Stratum of every clip, such as domain x condition; each keeps its size.
    n_resamples : int
        Number of resamples.
    seed : int
        Seed of the draw.
    name : str
        What is resampled, such as a machine type; different names draw independently.

    Returns
    -------
    ndarray of float64, shape (n_resamples, n_clips)
        How often each clip was drawn: 0, 1, 2...
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    weights = np.empty((n_resamples, len(strata)))
    row = np.arange(n_resamples)[:, None]
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        size = len(members)
        drawn = rng.integers(0, size, (n_resamples, size)) + row * size
        counts = np.bincount(drawn.ravel(), minlength=n_resamples * size)
        weights[:, members] = counts.reshape(n_resamples, size)
    return weights


def bias_corrected_interval(
    value: FloatArray, replicates: FloatArray, *, confidence: float
) -> tuple[FloatArray, FloatArray]:
    r"""Bias-corrected percentile interval of bootstrap replicates.

    The percentiles :math:`\Phi(2 z_0 \pm z_{\alpha/2})` of the replicates, where
    :math:`\Phi(z_0)` is the share of replicates below the value (ties count half). The partial
    AUC of a resample of few clips lies too high on average; plain percentiles inherit that.

    Parameters
    ----------
    value : ndarray of float64, shape (n_values,)
        What was measured on all clips.
    replicates : ndarray of float64, shape (n_resamples, n_values)
        The same on every resample.
    confidence : float
        Over 0 and under 1.

    Returns
    -------
    low, high : ndarray of float64, shape (n_values,)
        NaN where the value is NaN or there are no replicates.

    References
    ----------
    B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans", SIAM 1982, chapter 10.
    """
    normal = NormalDist()
    low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    n_resamples = len(replicates)
    for column in np.flatnonzero(~np.isnan(value)) if n_resamples else ():
        drawn = replicates[:, column]
        # Sums of rounded numbers: what differs by a rounding error is a tie.
        tie = np.isclose(drawn, value[column], rtol=0, atol=1e-12)
        below = (np.sum((drawn < value[column]) & ~tie) + 0.5 * tie.sum()) / n_resamples
        shift = 2.0 * normal.inv_cdf(np.clip(below, 0.5 / n_resamples, 1 - 0.5 / n_resamples))
        reach = normal.inv_cdf(0.5 + 0.5 * confidence)
        shares = [normal.cdf(shift - reach), normal.cdf(shift + reach)]
        low[column], high[column] = np.quantile(drawn, shares)
    return low, high
