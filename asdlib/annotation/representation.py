"""Clips as points: time statistics of log-mel spectrograms, and their principal components."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from asdlib.data.store import ArrayStore

Array = npt.NDArray[np.float64]

_MAX_COMPONENTS = 12


def clip_statistics(
    log_mel: ArrayStore,
    clip_ids: Sequence[str],
    *,
    noise_ids: Sequence[str] = (),
    level_normalised: bool = True,
) -> Array:
    """Represent every clip by the time statistics of its log-mel spectrogram.

    Mean and standard deviation over time and the 10 % and 90 % points of every mel band. The
    levels of a clip are counted from its own mean level, so that the distance to the
    microphone does not make a cluster. Where recordings of the surroundings alone exist,
    each band is weighted by the share of the machine's power in it.

    Parameters
    ----------
    log_mel : ArrayStore
        Rows (n_mels, n_frames) [dB].
    clip_ids : sequence of str
        The clips, all of one machine.
    noise_ids : sequence of str
        Supplemental noise clips of the machine.
    level_normalised : bool
        Subtract each clip's mean level.

    Returns
    -------
    ndarray of float64, shape (n_clips, 4 * n_mels)
        [dB], weighted.
    """
    rows = [_statistics(log_mel, position) for position in log_mel.positions(list(clip_ids))]
    statistics = np.stack(rows)
    weights = np.ones(statistics.shape[2])
    if len(noise_ids):
        noise = [_statistics(log_mel, i)[0] for i in log_mel.positions(list(noise_ids))]
        excess_db = np.median(statistics[:, 0], axis=0) - np.median(np.stack(noise), axis=0)
        weights = np.clip(1.0 - 10.0 ** (-excess_db / 10.0), 0.1, 1.0)
    if level_normalised:
        level = np.average(statistics[:, 0], axis=1, weights=weights)
        statistics[:, [0, 2, 3]] -= level[:, None, None]
    log_mel.release()
    return np.asarray((statistics * weights).reshape(len(statistics), -1))


def _statistics(log_mel: ArrayStore, position: np.int64) -> Array:
    spectrogram = np.asarray(log_mel.row(int(position)), dtype=np.float64)
    low, high = np.quantile(spectrogram, [0.1, 0.9], axis=1)
    return np.stack([spectrogram.mean(axis=1), spectrogram.std(axis=1), low, high])


def reduce_dimensions(statistics: Array, *, seed: int) -> Array:
    """Principal components that explain 90 % of the variance, 12 at most."""
    from sklearn.decomposition import PCA

    count = min(_MAX_COMPONENTS, *statistics.shape) - 1
    components = PCA(max(count, 1), random_state=seed).fit(statistics)
    explained = np.cumsum(components.explained_variance_ratio_)
    kept = int(np.searchsorted(explained, 0.9)) + 1
    return np.asarray(components.transform(statistics)[:, :kept], dtype=np.float64)
