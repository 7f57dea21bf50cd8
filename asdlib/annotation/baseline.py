"""What a simpler annotation would give: a fixed number of clusters, or chance."""

from __future__ import annotations

import numpy as np
import pandas as pd

from asdlib.data.store import ArrayStore
from asdlib.errors import InputError


def fixed_clusters(
    clips: pd.DataFrame, log_mel: ArrayStore, *, n_clusters: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Cluster every machine's time-averaged log-mel spectra by k-means with a fixed k.

    Parameters
    ----------
    clips : DataFrame
        Clip table of the clips to annotate: ``clip_id, machine_type``.
    log_mel : ArrayStore
        Log-mel spectrograms of these clips [dB].
    n_clusters : int
        Clusters per machine; a machine with fewer clips gets as many as it has clips.
    seed : int
        Of the initial centres.

    Returns
    -------
    DataFrame
        ``clip_id, attribute``.

    Raises
    ------
    InputError
        When there is no positive number of clusters.
    """
    from sklearn.cluster import KMeans

    if n_clusters < 1:
        raise InputError(f"n_clusters = {n_clusters}: expected 1 or more.")
    tables = []
    for _, group in clips.groupby("machine_type", sort=True):
        positions = log_mel.positions(group["clip_id"])
        spectra = np.stack([log_mel.row(int(p)).astype(np.float32).mean(axis=1) for p in positions])
        model = KMeans(min(n_clusters, len(group)), n_init=10, random_state=seed)
        labels = model.fit_predict(spectra)
        tables.append(
            pd.DataFrame({"clip_id": group["clip_id"], "attribute": [f"k_{k}" for k in labels]})
        )
    return pd.concat(tables, ignore_index=True)


def shuffled(attributes: pd.DataFrame, clips: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Shuffle attributes among the clips of each machine: what chance gives.

    Parameters
    ----------
    attributes : DataFrame
        ``clip_id, attribute``.
    clips : DataFrame
        Clip table: ``clip_id, machine_type``.
    seed : int
        Of the shuffle.

    Returns
    -------
    DataFrame
        ``clip_id, attribute``.
    """
    rng = np.random.default_rng(seed)
    joined = attributes[["clip_id", "attribute"]].merge(
        clips[["clip_id", "machine_type"]], on="clip_id"
    )
    mixed = joined.groupby("machine_type")["attribute"].transform(rng.permutation)
    return joined[["clip_id"]].assign(attribute=mixed)
