r"""The final system: several ways to hear a clip, none of which may shout the others down.

A *view* is one way to describe a clip. None hears every fault: a network is deaf to what its
classes do not differ in, a profile of tones to impacts, a profile blind to level to a fault of
level. So nothing is singled out. Every view is scored by the domain that suits the clip best
(`asdlib.scoring.resampling.DomainMinimumBackend`), in units of its own scatter over held-out
normal training clips, and the views are averaged with a bounded influence of each:

.. math:: s(x) = \frac1V \sum_v b(z_v), \qquad z_v = \frac{s_v(x) - \mu_v}{\sigma_v}, \qquad
          b(z) = \begin{cases} \ln(1 + z) & z \ge 0 \\ -\frac14 \ln(1 - z) & z < 0 \end{cases}

A view that is three scatters off counts 1.4, one that is thirty off 3.4: it must not be able to
outvote all others, for a view whose scatter happens to be tiny gives a normal clip of another
day such a z. To be more usual than usual in one view says little against a fault in another
(noise is steady), so that it counts a quarter: with a whole count, a clip whose spectrum was 50
scatters off was called normal by the others. Rehearsed changes ask for still less; normal clips
of another session ring more often then. No weight is fitted to clips.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from asdlib.base import InputError
from asdlib.scoring import resampling
from asdlib.scoring.knn import Backend, KNNBackend
from asdlib.scoring.scores import rows_of_clips, scored_clips, scores_table, without_learnt

#: Views of rows, and how rows are compared: by direction, or in units of every value's scatter
#: over the machine's training clips.
VIEW_METRICS = {
    "spectrum": "standardised",
    "fluctuation": "standardised",
    "lines": "cosine",
    "envelope": "cosine",
    "modulation": "cosine",
    "embedding": "cosine",
}
#: The view that has its scores from elsewhere: both ways of the official baseline.
AUTOENCODER = "autoencoder"
VIEWS = (*VIEW_METRICS, AUTOENCODER)

#: Share that counts of being more usual than the training clips.
_MORE_USUAL = 0.25

#: Clips of the rows, and the rows, shape (n_clips, n_values).
View = tuple[Sequence[str], npt.NDArray[np.floating]]


def score_machines(
    rows: npt.NDArray[np.floating],
    clip_ids: Sequence[str],
    clips: pd.DataFrame,
    *,
    system: str,
    seed: int | None,
    metric: str = "cosine",
    make_backend: Callable[..., Backend] = KNNBackend,
    learnt: Collection[str] = (),
) -> pd.DataFrame:
    """Score all training and test clips, machine by machine.

    A backend is fitted on the machine's training clips. Its test clips are scored against all
    of them; a training clip would find itself, so each session of the training clips, where they
    are told, else each third is scored against the others (`asdlib.scoring.resampling.parts`).

    Parameters
    ----------
    rows : ndarray of float, shape (n_clips, n_values)
        Embeddings or profiles.
    clip_ids : sequence of str
        The clip of each row; joined to ``clips`` by name, never by position.
    clips : DataFrame
        Clip table. Supplemental clips are not scored.
    system : str
        Name of the system, for the table.
    seed : int or None
        Seed of the run; None where nothing is random.
    metric : str
        See `VIEW_METRICS`.
    make_backend : callable
        Gives a fresh backend for every machine, called with ``metric=``; by default 1-NN.
    learnt : collection of str
        Training clips that the rows' network learnt from (`asdlib.training.learnt_clips`).

    Returns
    -------
    DataFrame
        Columns ``SCORE_COLUMNS``, in the order of ``clips``, ``is_decided_anomalous`` still
        empty (see :func:`asdlib.scoring.decide`). A training clip has no score (NaN) where it is
        the machine's only one, or was learnt from and three others of the machine were not.

    Raises
    ------
    InputError
        When a clip has no row, a machine has no training clip, or a row is not finite or, for
        the cosine, zero; the clip or machine is named.
    """
    scored = scored_clips(clips)
    joined = rows_of_clips(rows, clip_ids, scored["clip_id"], what="embedding")
    length = np.linalg.norm(joined, axis=1)
    bad = ~np.isfinite(length) | ((length == 0) & (metric == "cosine"))
    if bad.any():
        raise InputError(
            f"{scored.loc[bad, 'clip_id'].iloc[0]}: its embedding is zero or not finite "
            f"({bad.sum()} clips). The clip may be silent or damaged: leave it out, or retrain."
        )
    make = partial(make_backend, metric=metric)
    anomaly_score = np.full(len(scored), np.nan)
    for machine_type, own in scored.groupby("machine_type"):
        is_train = own["split"].eq("train").to_numpy()
        if not is_train.any():
            raise InputError(
                f"{machine_type}: has {len(own)} test clips and no training clip to compare "
                "them with. Add normal clips to its folder 'train' or leave the machine out."
            )
        values = joined[own.index]
        domains = own.loc[is_train, "domain"].fillna("").to_numpy(str)
        sessions = None
        if "session" in own:
            sessions = own.loc[is_train, "session"].fillna("").to_numpy(str)
        backend = make()
        backend.fit(values[is_train], domains=domains)
        score = np.empty(len(own))
        score[~is_train] = backend.anomaly_score(values[~is_train]) if (~is_train).any() else []
        score[is_train] = (
            backend.held_out(sessions)
            if isinstance(backend, resampling.DomainMinimumBackend)
            else resampling.held_out_scores(make, values[is_train], domains, sessions)
        )
        anomaly_score[own.index] = score
    known = without_learnt(scored, anomaly_score, learnt)
    return scores_table(scored, known, system=system, seed=seed)


def score_views(
    views: Mapping[str, View],
    clips: pd.DataFrame,
    *,
    neighbours: int,
    seed: int | None,
    learnt: Collection[str] = (),
) -> dict[str, pd.DataFrame]:
    """Score all training and test clips by each view of rows alone: one scores table per view.

    Parameters
    ----------
    views : mapping of str to (clip ids, ndarray of shape (n_clips, n_values))
        By name, keys of `VIEW_METRICS`.
    neighbours : int
        Neighbours in each domain.
    clips, seed, learnt
        As for `score_machines`; ``learnt`` concerns the view ``embedding`` alone.
    """
    # Products keep their threads: with another number of them, scores differ in the last digit.
    with threadpool_limits(1, user_api="openmp"):
        return {
            view: score_machines(
                values,
                clip_ids,
                clips,
                system=view,
                seed=seed,
                metric=VIEW_METRICS[view],
                make_backend=partial(resampling.DomainMinimumBackend, neighbours),
                learnt=learnt if view == "embedding" else (),
            )
            for view, (clip_ids, values) in views.items()
        }


def fuse(tables: Sequence[pd.DataFrame], *, system: str, seed: int | None) -> pd.DataFrame:
    """Average the scores of several views, systems or seeds with bounded influence of each.

    Parameters
    ----------
    tables : sequence of DataFrame
        Scores of the same clips as from `score_machines`, one table each; others are refused.
    system, seed
        Of the fused scores; None for several seeds.

    Returns
    -------
    DataFrame
        Of the first table's form; ``anomaly_score`` is the mean of the `bounded` scores over the
        tables that know one, about 0 for a normal clip.
    """
    if not tables:
        raise InputError("There is nothing to fuse: expected one scores table or more.")
    fused = tables[0].reset_index(drop=True).copy()
    parts = [bounded(table).reindex(fused["clip_id"]).to_numpy() for table in tables]
    for table in tables:
        if len(table) != len(fused) or set(table["clip_id"]) != set(fused["clip_id"]):
            raise InputError(
                f"The scores of system {table['system'].iloc[0]!r} are not of the same clips as "
                "the first table's. Fuse systems that were scored on one clip table."
            )
    fused["anomaly_score"] = pd.DataFrame(parts).mean().to_numpy()
    fused["is_decided_anomalous"] = pd.array([pd.NA] * len(fused), dtype="boolean")
    fused["system"] = system
    fused["seed"] = pd.array([seed] * len(fused), dtype="Int64")
    return fused


def autoencoder_view(both: pd.DataFrame, *, seed: int | None) -> pd.DataFrame:
    """Fuse both scores of the official baseline (`asdlib.scoring.score_autoencoder`) to a view."""
    tables = [own for _, own in both.groupby("system")]
    return fuse(tables, system=AUTOENCODER, seed=seed)


def bounded(table: pd.DataFrame) -> pd.Series:
    """Give what one view adds to the final score, b(z) of the module's equation, by ``clip_id``.

    z is taken machine by machine over the training clips of one system's table.
    """
    score = pd.Series(np.nan, index=table["clip_id"])
    for _, machine in table.groupby("machine_type", sort=False):
        values = machine["anomaly_score"].to_numpy(np.float64)
        mean, scatter = resampling.mean_and_scatter(values[machine["split"].eq("train").to_numpy()])
        z = (values - mean) / scatter
        share = np.where(z < 0, -_MORE_USUAL, 1.0)
        score[machine["clip_id"]] = share * np.log1p(np.abs(z))
    return score


def with_contributions(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Join the scores tables of the views of one seed, training clips among them.

    The column ``contribution`` is what each adds to the final score
    (`bounded`).
    """
    parts = [
        table.assign(contribution=bounded(table).reindex(table["clip_id"]).to_numpy())
        for table in tables
    ]
    return pd.concat(parts, ignore_index=True)


def contribution_table(view_scores: pd.DataFrame) -> pd.DataFrame:
    """Arrange contributions by clip (rows, ``clip_id``) and view (columns): the mean over seeds."""
    return view_scores.pivot_table(
        index="clip_id", columns="system", values="contribution", sort=False
    )
