"""Do near embeddings share a class? A look at the embeddings that needs no test label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd


def neighbour_agreement(
    embeddings: npt.NDArray[np.floating],
    labels: Sequence[str],
    machine_types: Sequence[str],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of clips whose nearest neighbour within the machine has the same class.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_clips, n_dimensions)
        Compared by cosine distance.
    labels : sequence of str, length n_clips
        Class of each clip.
    machine_types : sequence of str, length n_clips
        Machine of each clip.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    DataFrame
        One row per machine: ``machine_type, n_clips, n_classes, agreement,
        agreement_shuffled``; shares 0 to 1, the second with the classes shuffled within the
        machine, which is what chance gives. Machines of a single clip are left out.
    """
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"machine_type": machine_types, "label": labels})
    rows = []
    for machine_type, clips in table.groupby("machine_type", sort=True):
        if len(clips) < 2:
            continue
        own = embeddings[clips.index.to_numpy()]
        search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(own)
        # Asked without an argument, the search leaves the clip itself out.
        nearest = search.kneighbors(return_distance=False)[:, 0]
        label = clips["label"].to_numpy()
        shuffled = rng.permutation(label)
        rows.append(
            {
                "machine_type": machine_type,
                "n_clips": len(clips),
                "n_classes": len(set(label)),
                "agreement": float(np.mean(label == label[nearest])),
                "agreement_shuffled": float(np.mean(shuffled == shuffled[nearest])),
            }
        )
    columns = ["machine_type", "n_clips", "n_classes", "agreement", "agreement_shuffled"]
    return pd.DataFrame(rows, columns=columns)
