"""Why a clip has its score: its nearest normal clips, what differs; and maps for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from asdlib.data.audio import REMOVED_DB
from asdlib.errors import InputError
from asdlib.scoring.scores import validate_scores

FloatArray = npt.NDArray[np.float64]

#: A spectrogram that reaches this far down [dB] was cut off there; averages less sharply.
_FULL_RANGE_DB = 60.0
_FLOOR_WIDTH_DB = 1.0
#: Fewest clips that t-SNE is asked to arrange; fewer are laid out along principal components.
_MIN_TSNE_CLIPS = 10
#: t-SNE slows down with the number of dimensions; what lies beyond these is noise to it.
_MAX_DIMENSIONS = 50


@dataclass(frozen=True)
class Explanation:
    """What a clip's anomaly score is made of.

    Attributes
    ----------
    clip_id, machine_type : str
    domain, condition : str
        As far as they are known: ``source``, ``target`` or ``unknown``; ``normal``,
        ``anomalous`` or ``unknown``.
    anomaly_score : float
    percentile : float
        Share of the machine's training clips that score lower [%]; NaN without any score.
    training_scores : ndarray of float64, shape (n_train,)
        Scores of the machine's training clips, NaN left out.
    neighbours : DataFrame
        ``clip_id, domain, distance``: the nearest training clips, nearest first.
    log_mel, normal_log_mel : ndarray of float64, shape (n_mels, n_frames)
        The clip, and the mean of its neighbours, each shifted in time to fit it [dB].
    """

    clip_id: str
    machine_type: str
    domain: str
    condition: str
    anomaly_score: float
    percentile: float
    training_scores: FloatArray
    neighbours: pd.DataFrame
    log_mel: FloatArray
    normal_log_mel: FloatArray

    @property
    def difference(self) -> FloatArray:
        """Clip less neighbours, shape (n_mels, n_frames) [dB].

        0 where both lie on their floor, as below a high-pass: the floors follow the loudest
        cell of each clip and say nothing.
        """
        on_floor = _on_floor(self.log_mel) & _on_floor(self.normal_log_mel)
        return np.where(on_floor, 0.0, self.log_mel - self.normal_log_mel)

    @property
    def band_difference(self) -> FloatArray:
        """Mean of the difference over time, shape (n_mels,) [dB]."""
        return np.asarray(self.difference.mean(axis=1))

    def strongest_stretch(self, n_frames: int) -> tuple[int, int]:
        """First and last (exclusive) of the ``n_frames`` frames that differ most.

        Most by the absolute difference, averaged over bands and frames; the whole clip where
        it is not longer.
        """
        per_frame = np.abs(self.difference).mean(axis=0)
        count = min(max(n_frames, 1), len(per_frame))
        summed = np.convolve(per_frame, np.ones(count), mode="valid")
        first = int(np.argmax(summed))
        return first, first + count


def extreme_clips(scores: pd.DataFrame) -> pd.DataFrame:
    """Find the most and the least anomalous test clip of every machine.

    ``machine_type, clip_id`` from a scores table of one system and seed, the most anomalous
    before the least; one row for a machine of one test clip, none for a machine without. Of
    equal scores the first clip counts.
    """
    test = _one_run(scores).query("split == 'test'")
    rows = []
    for machine_type, clips in test.groupby("machine_type", sort=True):
        ends = (clips["anomaly_score"].idxmax(), clips["anomaly_score"].idxmin())
        rows += [(machine_type, clips.loc[end, "clip_id"]) for end in dict.fromkeys(ends)]
    return pd.DataFrame(rows, columns=["machine_type", "clip_id"])


def explain(
    clip_id: str,
    scores: pd.DataFrame,
    *,
    embeddings: npt.NDArray[np.floating],
    embedding_ids: Sequence[str],
    log_mel: npt.NDArray[np.floating],
    log_mel_ids: Sequence[str],
    n_neighbours: int = 5,
) -> Explanation:
    """Put a clip beside its nearest normal clips, and its score among theirs.

    Neighbours are the training clips of the machine that are nearest by cosine distance of the
    embeddings; any system's scores can be explained by any embedding. Before their levels are
    averaged [dB], each neighbour is shifted in time, as on a ring, to where it correlates best
    with the clip: strokes at equal intervals cancel, other events do not.

    Parameters
    ----------
    clip_id : str
        The clip.
    scores : DataFrame
        Scores table of one system and seed: this clip's score and the training clips'.
    embeddings : ndarray of float, shape (n_embeddings, n_dimensions)
    embedding_ids : sequence of str
        Clip of each embedding.
    log_mel : ndarray of float, shape (n_rows, n_mels, n_frames)
        Level [dB]; may be memory-mapped.
    log_mel_ids : sequence of str
        Clip of each row.
    n_neighbours : int
        Training clips to compare with; all where there are fewer.

    Raises
    ------
    InputError
        When the table has several systems or seeds, the clip is not in it, a clip has no
        embedding or no features, or the machine has no other training clip.
    """
    if n_neighbours < 1:
        raise InputError(f"n_neighbours={n_neighbours}: expected at least 1.")
    table = _one_run(scores)
    found = table[table["clip_id"] == clip_id]
    if found.empty:
        raise InputError(f"{clip_id}: has no score in this table. Expected one of its clips.")
    clip = found.iloc[0]
    is_training = table["split"].eq("train") & table["machine_type"].eq(clip["machine_type"])
    training = table[is_training & table["clip_id"].ne(clip_id)]
    if training.empty:
        raise InputError(f"{clip['machine_type']}: has no training clip to explain {clip_id} by.")
    neighbours = _nearest(clip_id, training, embeddings, embedding_ids, n_neighbours)
    rows = _positions([clip_id, *neighbours["clip_id"]], log_mel_ids, "features")
    levels = [_with_floor(level) for level in np.asarray(log_mel[rows], dtype=np.float64)]
    training_scores = training["anomaly_score"].dropna().to_numpy(np.float64)
    score = float(clip["anomaly_score"])
    return Explanation(
        clip_id=clip_id,
        machine_type=str(clip["machine_type"]),
        domain=_word(clip["domain"]),
        condition={"True": "anomalous", "False": "normal"}.get(str(clip["is_anomaly"]), "unknown"),
        anomaly_score=score,
        percentile=100.0 * float(np.mean(training_scores < score))
        if len(training_scores)
        else float("nan"),
        training_scores=training_scores,
        neighbours=neighbours,
        log_mel=levels[0],
        normal_log_mel=np.mean([_shifted(level, levels[0]) for level in levels[1:]], axis=0),
    )


def _nearest(
    clip_id: str,
    training: pd.DataFrame,
    embeddings: npt.NDArray[np.floating],
    embedding_ids: Sequence[str],
    n_neighbours: int,
) -> pd.DataFrame:
    rows = _positions([clip_id, *training["clip_id"]], embedding_ids, "embedding")
    vectors = np.asarray(embeddings[rows], dtype=np.float64)
    distance = cdist(vectors[:1], vectors[1:], "cosine")[0]
    nearest = np.argsort(distance, kind="stable")[:n_neighbours]
    found = training.iloc[nearest]
    return pd.DataFrame(
        {
            "clip_id": found["clip_id"].to_list(),
            "domain": [_word(domain) for domain in found["domain"]],
            "distance": distance[nearest],
        }
    )


def _with_floor(level: FloatArray) -> FloatArray:
    """Put bands that a high-pass took away on the lowest level of the others."""
    kept = level > REMOVED_DB / 2
    return np.where(kept, level, level.min(where=kept, initial=level.max()))


def _on_floor(level: FloatArray) -> npt.NDArray[np.bool_]:
    """Where a spectrogram lies at the lowest level that its range of 80 dB allows."""
    lowest = level.min()
    has_floor = level.max() - lowest > _FULL_RANGE_DB
    return np.asarray(has_floor & (level < lowest + _FLOOR_WIDTH_DB))


def _shifted(level: FloatArray, reference: FloatArray) -> FloatArray:
    """Roll a spectrogram along time to where it correlates best with another one."""
    spectra = [np.fft.rfft(x - x.mean(axis=1, keepdims=True), axis=1) for x in (level, reference)]
    correlation = np.fft.irfft(np.sum(spectra[1] * spectra[0].conj(), axis=0), level.shape[1])
    return np.roll(level, int(np.argmax(correlation)), axis=1)


def _positions(wanted: Sequence[str], ids: Sequence[str], what: str) -> npt.NDArray[np.int64]:
    positions = pd.Index(ids).get_indexer(pd.Index(wanted))
    if (positions < 0).any():
        missing = wanted[int(np.flatnonzero(positions < 0)[0])]
        raise InputError(f"{missing}: has no {what}. Use those of the same clip table.")
    return positions.astype(np.int64)


def _one_run(scores: pd.DataFrame) -> pd.DataFrame:
    table = validate_scores(scores)
    runs = table[["system", "seed"]].drop_duplicates()
    if len(runs) > 1:
        raise InputError(
            f"The scores table holds {len(runs)} systems and seeds: expected one. Select it, "
            "for example scores[scores['system'] == 'knn']."
        )
    return table


def _word(domain: object) -> str:
    return "unknown" if pd.isna(domain) else str(domain)  # type: ignore[call-overload]


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
        tsne = TSNE(perplexity=min(perplexity, (len(rows) - 1) / 3.0), random_state=seed)
        return np.asarray(tsne.fit_transform(components), dtype=np.float32)
