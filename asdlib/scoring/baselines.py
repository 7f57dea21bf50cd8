"""What a system must beat: the trivial detector's rows, the official baseline's two scores."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.data.audio import REMOVED_DB
from asdlib.errors import InputError
from asdlib.scoring.scores import scored_clips, scores_table, without_learnt

FloatArray = npt.NDArray[np.float64]

#: Domains with fewer stacks do not show how the residuals of so many bands scatter.
FEWEST_STACKS = 128
#: Added to every variance, as a share of their mean: bands that never vary keep a distance finite.
_RIDGE = 1e-6


def time_average(log_mel: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Average log-mel spectrum of each clip: the trivial detector, scored by cosine 1-NN.

    Levels (n_clips, n_mels, n_frames) [dB], which may be memory-mapped, → float32
    (n_clips, n_mels); 0 in bands that a high-pass took away, which adds nothing to a product.
    """
    if log_mel.ndim != 3 or log_mel.shape[2] == 0:
        raise InputError(
            f"log_mel has shape {log_mel.shape}: expected (n_clips, n_mels, n_frames)."
        )
    average = np.asarray(log_mel.mean(axis=2, dtype=np.float32))
    average[average < REMOVED_DB / 2] = 0.0
    return average


def selective_mahalanobis(
    mean_residual: npt.NDArray[np.floating],
    covariance: npt.NDArray[np.floating],
    n_stacks: npt.NDArray[np.integer],
) -> FloatArray:
    r"""Smallest squared Mahalanobis distance of each clip's mean residual over the domains.

    :math:`s(x) = \min_d \bar r^T \Sigma_d^{-1} \bar r` of ``mean_residual`` (n_clips, n_bands) [dB]
    and ``covariance`` (n_domains, n_bands, n_bands) [dB²]: squared and around zero, as in the
    organisers' code (N. Harada et al., EUSIPCO 2023). A domain of fewer than 128 stacks is left out
    where another has more: its inverse is far too large wherever they happened not to vary.
    """
    counts = np.asarray(n_stacks)
    if len(counts) == 0:
        raise InputError("There is no domain with a covariance: expected at least one.")
    enough = counts >= min(FEWEST_STACKS, counts.max())
    residual = np.asarray(mean_residual, dtype=np.float64)
    distances = []
    for matrix in np.asarray(covariance, dtype=np.float64)[enough]:
        mean_variance = np.trace(matrix) / len(matrix)
        if not (np.isfinite(matrix).all() and mean_variance > 0):
            raise InputError(
                "A covariance of residuals is zero or not finite. Are all training clips silent "
                "or the same?"
            )
        regular = matrix + _RIDGE * mean_variance * np.eye(len(matrix))
        distances.append(np.sum(residual * np.linalg.solve(regular, residual.T).T, axis=1))
    return np.asarray(np.min(distances, axis=0))


def score_autoencoder(
    reconstructions: Mapping[str, Mapping[str, npt.NDArray[Any]]],
    clips: pd.DataFrame,
    *,
    seed: int | None,
    learnt: Collection[str] = (),
) -> pd.DataFrame:
    """Score all training and test clips by the official baseline, in its two ways.

    ``ae_mse``: mean squared error of the clip; ``ae_mahalanobis``: `selective_mahalanobis` of its
    mean residual. Otherwise as `asdlib.scoring.score_machines`, one row per clip and system.

    Parameters
    ----------
    reconstructions : mapping of str to mapping of arrays
        By machine type: ``clip_id``, ``mse`` (n_clips,), ``mean_residual`` (n_clips, n_bands),
        ``covariance`` (n_domains, n_bands, n_bands) and ``n_stacks`` (n_domains,).
    """
    scored = scored_clips(clips)
    scores: dict[str, dict[str, float]] = {"ae_mse": {}, "ae_mahalanobis": {}}
    for machine_type in sorted(scored["machine_type"].unique()):
        if machine_type not in reconstructions:
            raise InputError(f"{machine_type}: has no autoencoder. Run notebook 03 with it.")
        arrays = reconstructions[machine_type]
        names = arrays["clip_id"].tolist()
        scores["ae_mse"] |= dict(zip(names, arrays["mse"], strict=True))
        squared = selective_mahalanobis(
            arrays["mean_residual"], arrays["covariance"], arrays["n_stacks"]
        )
        scores["ae_mahalanobis"] |= dict(zip(names, squared, strict=True))
    missing = [clip_id for clip_id in scored["clip_id"] if clip_id not in scores["ae_mse"]]
    if missing:
        raise InputError(
            f"{missing[0]}: has no residual ({len(missing)} clips have none). Run notebook 03 "
            "with the same clips."
        )
    tables = []
    for name, of_clip in scores.items():
        own = np.array([of_clip[clip_id] for clip_id in scored["clip_id"]])
        known = without_learnt(scored, own, learnt)
        tables.append(scores_table(scored, known, system=name, seed=seed))
    return pd.concat(tables, ignore_index=True)
