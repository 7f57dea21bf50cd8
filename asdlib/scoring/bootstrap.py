"""Resamples of a clip set: how often each clip is drawn, stratum by stratum."""

from __future__ import annotations

import zlib

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


def percentile_interval(
    replicates: FloatArray, *, confidence: float
) -> tuple[FloatArray, FloatArray]:
    """Central interval of bootstrap replicates.

    Parameters
    ----------
    replicates : ndarray of float64, shape (n_resamples, ...)
    confidence : float
        Share of the replicates inside, over 0 and under 1.

    Returns
    -------
    low, high : ndarray of float64, shape (...)
    """
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(replicates, [tail, 100.0 - tail], axis=0)
    return np.asarray(low), np.asarray(high)
