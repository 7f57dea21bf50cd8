"""Backends by name, as notebooks and sweeps ask for them; what must be beaten; maps of embeddings.

A name is a way to score, alone or behind a bank that is thinned (k-means) or filled up (SMOTE).
Local density weighs ten target clips against a thousand source clips. To be beaten are the trivial
detector, whose rows are made here, and the official baseline's two scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances_chunked
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from asdlib.base import InputError
from asdlib.data.audio import REMOVED_DB
from asdlib.scoring.knn import Backend, KNNBackend, Rows
from asdlib.scoring.metrics import FloatArray
from asdlib.scoring.resampling import DomainMinimumBackend
from asdlib.scoring.scores import rows_of_clips, scored_clips, scores_table, without_learnt

Bank = tuple[FloatArray, npt.NDArray[np.str_]]
#: Two clips of the bank that are equal would make every other clip infinitely abnormal there.
_SMALLEST_RADIUS = 1e-9
#: Fewest clips that t-SNE is asked to arrange, and most dimensions: beyond lies noise to it.
_MIN_TSNE_CLIPS, _MAX_DIMENSIONS = 10, 50
#: Domains with fewer stacks do not show how the residuals of so many bands scatter.
FEWEST_STACKS = 128
#: Added to every variance, as a share of their mean: bands that never vary keep a distance finite.
_RIDGE = 1e-6


class LocalDensityBackend(KNNBackend):
    r"""Smallest ratio of the distance to a clip of the bank and that clip's own radius.

    :math:`s(x) = \min_i d(x, y_i) / r_i`, :math:`r_i` the mean distance of :math:`y_i` to its k
    nearest: ten target clips lie far apart, and by plain distance all look abnormal. K. Wilkinghoff
    et al., "Keeping the Balance: Anomaly Score Calculation for Domain Generalization", ICASSP 2025.
    """

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Keep the bank and the radius of each of its clips."""
        super().fit(rows)
        k = min(self.k, len(self.fitted()) - 1)
        self.radius = np.ones(1)
        if k > 0:  # asked without rows, the search leaves the clip itself out
            distance = self.search.kneighbors(n_neighbors=k)[0]
            self.radius = np.maximum(distance.mean(axis=1), _SMALLEST_RADIUS)

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,); about 1 inside the bank."""
        clips = self.checked_like_bank(rows)
        if len(clips) == 0:
            return np.empty(0)
        chunks = pairwise_distances_chunked(
            clips, self.fitted(), metric=self.metric,
            reduce_func=lambda distance, start: (distance / self.radius).min(axis=1),
        )  # fmt: skip
        return np.concatenate(list(chunks))


SCORES: dict[str, Any] = {
    "knn": KNNBackend,
    "local_density": LocalDensityBackend,
    "domain_minimum": DomainMinimumBackend,
}


def make_backend(name: str, *, k: int = 1, metric: str = "cosine") -> Backend:
    """Make a fresh backend of k neighbours, by "cosine" or "euclidean" distance.

    ``name`` says how clips are scored (`SCORES`), alone or behind a bank (`BANKS`) and ``+``:
    ``knn``, ``local_density``, ``kmeans+knn``, ``smote+local_density``, ...; any other is refused.
    """
    bank, _, score = name.rpartition("+")
    if score not in SCORES or (bank and bank not in BANKS):
        raise InputError(
            f"backend {name!r}: expected {', '.join(SCORES)}, alone or behind a bank, "
            f"{' or '.join(f'{bank}+...' for bank in BANKS)}."
        )
    backend: Backend = SCORES[score](k, metric)
    return BankBackend(backend, BANKS[bank]) if bank else backend


class BankBackend:
    """A backend that is fitted on a changed bank (`BANKS`)."""

    def __init__(self, backend: Backend, make_bank: Callable[..., Bank]) -> None:
        self._backend, self._make_bank = backend, make_bank

    def fit(self, rows: Rows, *, domains: npt.ArrayLike | None = None) -> None:
        """Change the bank and fit the backend on it; without domains all clips are source."""
        names = np.full(len(rows), "source") if domains is None else np.asarray(domains, str)
        bank, bank_domains = self._make_bank(np.asarray(rows, np.float64), names)
        self._backend.fit(bank, domains=bank_domains)

    def anomaly_score(self, rows: Rows) -> FloatArray:
        """Score clips, shape (n_clips, n_values) -> (n_clips,)."""
        return self._backend.anomaly_score(rows)


def kmeans_bank(rows: FloatArray, domains: npt.NDArray[np.str_], *, n_centres: int = 16) -> Bank:
    """Replace the source clips by k-means centres; keep all others. Rows come back at length one.

    A thousand source clips against ten target clips become sixteen against ten; without any
    ``"source"`` all are clustered (K. Wilkinghoff, ICASSP 2024).
    """
    unit = _unit_length(rows)
    is_source = domains == "source" if (domains == "source").any() else np.full(len(unit), True)
    if is_source.sum() <= n_centres:
        return unit, domains
    clustering = KMeans(n_centres, n_init=4, random_state=0).fit(unit[is_source])
    name = str(domains[is_source][0])
    return (
        np.concatenate([clustering.cluster_centers_.astype(np.float64), unit[~is_source]]),
        np.concatenate([np.full(n_centres, name), domains[~is_source]]),
    )


def smote_bank(rows: FloatArray, domains: npt.NDArray[np.str_], *, ratio: float = 0.2) -> Bank:
    """Fill up the target clips with points between them: ``ratio`` for each source clip.

    A new point lies between a target clip and one of its 2 nearest, and comes last (N. Chawla et
    al., "SMOTE", JAIR 16, 2002, section 4.2). Rows come back at length one.
    """
    unit = _unit_length(rows)
    target = unit[domains == "target"]
    wanted = round(ratio * int((domains == "source").sum())) - len(target)
    if wanted <= 0 or len(target) < 2:
        return unit, domains
    rng = np.random.default_rng(0)
    search = NearestNeighbors(n_neighbors=min(2, len(target) - 1), metric="cosine").fit(target)
    nearest = search.kneighbors(return_distance=False)
    start = rng.integers(len(target), size=wanted)
    end = nearest[start, rng.integers(nearest.shape[1], size=wanted)]
    place = rng.random((wanted, 1))
    new = target[start] + place * (target[end] - target[start])
    return (
        np.concatenate([unit, _unit_length(new)]),
        np.concatenate([domains, np.full(wanted, "target")]),
    )


def _unit_length(rows: FloatArray) -> FloatArray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, np.finfo(np.float64).tiny))


#: Banks by name.
BANKS: dict[str, Callable[..., Bank]] = {"kmeans": kmeans_bank, "smote": smote_bank}


def neighbour_agreement(
    embeddings: npt.NDArray[np.floating],
    labels: Sequence[str],
    machine_types: Sequence[str],
    *,
    seed: int = 0,
) -> pd.DataFrame:
    """Share of clips whose nearest neighbour within the machine has the same class.

    Of ``embeddings`` (n_clips, n_dimensions), by cosine distance. One row per machine of two clips
    or more: ``machine_type, n_clips, n_classes, agreement, agreement_shuffled``, shares 0 to 1, the
    second with the classes shuffled within the machine, which is what chance gives.
    """
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
        shares = [float(np.mean(one == one[nearest])) for one in (label, shuffled)]
        rows.append((machine_type, len(clips), len(set(label)), *shares))
    columns = ["machine_type", "n_clips", "n_classes", "agreement", "agreement_shuffled"]
    return pd.DataFrame(rows, columns=columns)


def embedding_map(
    embeddings: npt.NDArray[np.floating], *, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Arrange clips in the plane so that near embeddings stay near: (n_clips, 2), without unit.

    t-SNE (L. van der Maaten, G. Hinton, JMLR 9 (2008)) by cosine, started from the principal
    components, along which fewer than 10 clips are laid out. Far distances mean nothing in it.
    """
    if len(embeddings) < 2:
        return np.zeros((len(embeddings), 2), np.float32)
    rows = np.asarray(embeddings, dtype=np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    components = PCA(min(*rows.shape, _MAX_DIMENSIONS), svd_solver="full").fit_transform(rows)
    if len(rows) < _MIN_TSNE_CLIPS or components[:, 0].std() < 1e-9:
        padding = max(0, 2 - components.shape[1])
        return np.pad(components[:, :2], ((0, 0), (0, padding))).astype(np.float32)
    # Threads that wait for each other at every step cost several times what they save here.
    with threadpool_limits(1):
        tsne = TSNE(perplexity=min(30.0, (len(rows) - 1) / 3.0), random_state=seed)
        return np.asarray(tsne.fit_transform(components), dtype=np.float32)


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
    clip_ids: list[str] = []
    scores = []
    for machine_type in sorted(scored["machine_type"].unique()):
        if machine_type not in reconstructions:
            raise InputError(f"{machine_type}: has no autoencoder. Run notebook 03 with it.")
        arrays = reconstructions[machine_type]
        squared = selective_mahalanobis(
            arrays["mean_residual"], arrays["covariance"], arrays["n_stacks"]
        )
        clip_ids += arrays["clip_id"].tolist()
        scores.append(np.stack([arrays["mse"], squared], axis=1))
    both = rows_of_clips(np.concatenate(scores), clip_ids, scored["clip_id"], what="residual")
    tables = [
        scores_table(scored, without_learnt(scored, own, learnt), system=name, seed=seed)
        for name, own in zip(("ae_mse", "ae_mahalanobis"), both.T, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)
