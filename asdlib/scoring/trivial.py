"""The trivial detector: what a system must beat to have learnt anything."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asdlib.errors import InputError


def time_average(log_mel: npt.NDArray[np.floating], *, block: int = 64) -> npt.NDArray[np.float32]:
    """Average log-mel spectrum of each clip, the embedding of the trivial detector.

    Scored by :class:`asdlib.scoring.KNNBackend` with one neighbour it is the trivial detector:
    cosine 1-NN on the time-averaged log-mel, no training.

    Parameters
    ----------
    log_mel : ndarray of float, shape (n_clips, n_mels, n_frames)
        Level [dB]; may be memory-mapped.
    block : int
        Clips converted at once.

    Returns
    -------
    ndarray of float32, shape (n_clips, n_mels)
        Level [dB].

    Raises
    ------
    InputError
        When the array has another number of axes or no frame.

    Examples
    --------
    >>> time_average(np.full((2, 3, 4), -40.0)).tolist()
    [[-40.0, -40.0, -40.0], [-40.0, -40.0, -40.0]]
    """
    if log_mel.ndim != 3 or log_mel.shape[2] == 0:
        raise InputError(
            f"log_mel has shape {log_mel.shape}: expected (n_clips, n_mels, n_frames)."
        )
    average = np.empty(log_mel.shape[:2], np.float32)
    for first in range(0, len(log_mel), block):
        rows = slice(first, first + block)
        average[rows] = log_mel[rows].mean(axis=2, dtype=np.float32)
    return average
