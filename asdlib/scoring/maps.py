"""Two-dimensional maps of embeddings, for the eye only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

#: Fewest clips that t-SNE is asked to arrange; fewer are laid out along principal components.
_MIN_TSNE_CLIPS = 10
#: t-SNE slows down with the number of dimensions; what lies beyond these is noise to it.
_MAX_DIMENSIONS = 50


def embedding_map(
    embeddings: npt.NDArray[np.floating], *, seed: int = 0, perplexity: float = 30.0
) -> npt.NDArray[np.float32]:
    """Arrange clips in the plane so that near embeddings (by cosine) stay near.

    t-SNE of the length-normalised embeddings, started from their principal components. Fewer
    than 10 clips are laid out along their first two principal components. Distances between
    far groups mean nothing in such a map.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_clips, n_dimensions)
        Finite, of any length but zero.
    seed : int
        Seed of t-SNE.
    perplexity : float
        Size of a neighbourhood; lowered to a third of the clips where there are few.

    Returns
    -------
    ndarray of float32, shape (n_clips, 2)
        Without unit.

    References
    ----------
    L. van der Maaten and G. Hinton, "Visualizing data using t-SNE", JMLR 9 (2008).
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    rows = np.asarray(embeddings, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    components = _principal_components(rows)
    if len(rows) < _MIN_TSNE_CLIPS or components[:, 0].std() < 1e-9:
        return components[:, :2].astype(np.float32)
    tsne = TSNE(
        perplexity=min(perplexity, (len(rows) - 1) / 3.0),
        # The start that scikit-learn's "pca" would give, without computing it again.
        init=components[:, :2] / components[:, 0].std() * 1e-4,
        learning_rate="auto",
        random_state=seed,
    )
    # Threads that wait for each other at every step cost several times what they save here.
    with threadpool_limits(1):
        return np.asarray(tsne.fit_transform(components), dtype=np.float32)


def _principal_components(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores on the leading principal components, at least two columns (zeros if need be)."""
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    components = (left * singular)[:, :_MAX_DIMENSIONS]
    padding = max(0, 2 - components.shape[1])
    return np.pad(components, ((0, 0), (0, padding)))
