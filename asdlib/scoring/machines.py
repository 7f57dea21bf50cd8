"""From embeddings to a scores table: one backend per machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.errors import InputError
from asdlib.scoring.knn import Backend, FloatArray, KNNBackend
from asdlib.scoring.scores import scored_clips, scores_table

#: Parts in which training clips are held out for a backend that cannot leave one out.
_N_FOLDS = 10


@runtime_checkable
class _LeavesOneOut(Protocol):
    """A backend that scores its own training clips without refitting."""

    def leave_one_out(self) -> FloatArray: ...


def score_machines(
    embeddings: npt.NDArray[np.floating],
    clip_ids: Sequence[str],
    clips: pd.DataFrame,
    *,
    system: str,
    seed: int | None,
    make_backend: Callable[[], Backend] = KNNBackend,
    on_progress: Callable[[int], object] = lambda machines: None,
) -> pd.DataFrame:
    """Score all training and test clips, machine by machine.

    A backend is fitted on the machine's training clips. Its test clips are scored against all
    of them; each training clip against others only, because it would find itself: by the
    backend's ``leave_one_out`` where it has one, else by refitting without a tenth of the clips
    at a time.

    Parameters
    ----------
    embeddings : ndarray of float, shape (n_clips, n_dimensions)
    clip_ids : sequence of str
        The clip of each embedding; joined to ``clips`` by name, never by position.
    clips : DataFrame
        Clip table. Supplemental clips are not scored.
    system : str
        Name of the system, for the table.
    seed : int or None
        Seed of the run; None where nothing is random.
    make_backend : callable
        Gives a fresh backend for every machine; by default cosine 1-NN.
    on_progress : callable
        Called with 1 after every machine.

    Returns
    -------
    DataFrame
        Columns ``SCORE_COLUMNS``, in the order of ``clips``, ``is_decided_anomalous`` still
        empty (see :func:`asdlib.scoring.decide`). The training clip of a one-clip machine has
        no score (NaN): there is no other clip to compare it with.

    Raises
    ------
    InputError
        When a clip has no embedding, a machine has no training clip, or an embedding is zero
        or not finite; the clip or machine is named.
    """
    scored = scored_clips(clips)
    rows = _joined(embeddings, clip_ids, scored["clip_id"])
    domain = scored["domain"].to_numpy()
    is_train = scored["split"].eq("train").to_numpy()
    anomaly_score = np.full(len(scored), np.nan)
    for machine_type in sorted(scored["machine_type"].unique()):
        of_machine = scored["machine_type"].eq(machine_type).to_numpy()
        train = np.flatnonzero(of_machine & is_train)
        test = np.flatnonzero(of_machine & ~is_train)
        if len(train) == 0:
            raise InputError(
                f"{machine_type}: has {len(test)} test clips and no training clip to compare "
                "them with. Add normal clips to its folder 'train' or leave the machine out."
            )
        anomaly_score[train], anomaly_score[test] = fit_and_score(
            rows[train], rows[test], domains=domain[train], make_backend=make_backend
        )
        on_progress(1)
    return scores_table(scored, anomaly_score, system=system, seed=seed)


def fit_and_score(
    train: npt.NDArray[np.floating],
    new: npt.NDArray[np.floating],
    *,
    domains: npt.NDArray[Any],
    make_backend: Callable[[], Backend],
) -> tuple[FloatArray, FloatArray]:
    """Fit a backend on the normal clips of one machine; score them and new clips.

    Parameters
    ----------
    train : ndarray of float, shape (n_train, n_dimensions)
        Normal training clips.
    new : ndarray of float, shape (n_new, n_dimensions)
        Clips to be scored, none of them in ``train``.
    domains : ndarray of str, shape (n_train,)
        Domain of each training clip.
    make_backend : callable
        Gives a fresh backend.

    Returns
    -------
    train_score : ndarray of float64, shape (n_train,)
        Of each training clip against the others only.
    new_score : ndarray of float64, shape (n_new,)
    """
    backend = make_backend()
    backend.fit(train, domains=domains)
    new_score = backend.anomaly_score(new) if len(new) else np.empty(0)
    if isinstance(backend, _LeavesOneOut):
        return backend.leave_one_out(), new_score
    return _held_out_scores(make_backend, train, domains), new_score


def _joined(
    embeddings: npt.NDArray[np.floating], clip_ids: Sequence[str], wanted: pd.Series
) -> npt.NDArray[np.floating]:
    """Embeddings of the wanted clips, checked, in their order."""
    names = pd.Index(clip_ids)
    if len(names) != len(embeddings) or not names.is_unique:
        raise InputError(
            f"{len(embeddings)} embeddings for {len(names)} clip names ({names.nunique()} "
            "different): expected one embedding per clip."
        )
    positions = names.get_indexer(pd.Index(wanted))
    missing = wanted[positions < 0]
    if len(missing):
        raise InputError(
            f"{missing.iloc[0]}: has no embedding ({len(missing)} clips have none). "
            "Compute the embeddings from the same clip table."
        )
    rows = embeddings[positions]
    length = np.linalg.norm(rows.astype(np.float64), axis=1)
    bad = ~np.isfinite(length) | (length == 0)
    if bad.any():
        raise InputError(
            f"{wanted[bad].iloc[0]}: its embedding is zero or not finite ({bad.sum()} clips). "
            "The clip may be silent or damaged: leave it out, or retrain."
        )
    return rows


def _held_out_scores(
    make_backend: Callable[[], Backend],
    embeddings: npt.NDArray[np.floating],
    domains: npt.NDArray[Any],
) -> FloatArray:
    """Score each tenth of the training clips by a backend fitted on the others."""
    score = np.full(len(embeddings), np.nan)
    fold = np.arange(len(embeddings)) % _N_FOLDS
    for held_out in range(min(_N_FOLDS, len(embeddings))):
        out = fold == held_out
        if out.all():
            break
        backend = make_backend()
        backend.fit(embeddings[~out], domains=domains[~out])
        score[out] = backend.anomaly_score(embeddings[out])
    return score
