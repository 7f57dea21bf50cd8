"""The final system: several views of a clip, two answers to the imbalance of the domains.

A view is one way to describe a clip: what a network has learnt, and profiles that nothing was
learnt for. None hears every fault: a network is deaf to what its classes do not differ in, a
profile of tones to impacts. Ten target clips among a thousand source clips need a backend that
weighs them, and local density and domain-wise standardisation each do so on an assumption that
no training data can test. So nothing is singled out: every view is scored by both, and all
are averaged in units of their scatter over normal training clips. The neighbours of each
backend follow from the rule of :mod:`asdlib.scoring.selection`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.scoring.backends import make_backend
from asdlib.scoring.evaluation import evaluate
from asdlib.scoring.fusion import fuse
from asdlib.scoring.machines import score_machines

#: Backends that every view is scored by.
FINAL_BACKENDS = ("local_density", "domain_minimum")

#: Clips of the rows, and the rows, shape (n_clips, n_values).
View = tuple[Sequence[str], npt.NDArray[np.floating]]


def score_views(
    views: Mapping[str, View],
    clips: pd.DataFrame,
    *,
    neighbours: Mapping[str, int],
    seed: int | None,
    on_progress: Callable[[int], object] = lambda machines: None,
) -> dict[str, pd.DataFrame]:
    """Score all training and test clips by each view alone.

    Parameters
    ----------
    views : mapping of str to (clip ids, ndarray of shape (n_clips, n_values))
        What is compared, by name.
    clips : DataFrame
        Clip table.
    neighbours : mapping of str to int
        Neighbours of each backend of ``FINAL_BACKENDS``.
    seed : int or None
        Seed of the network among the views.
    on_progress : callable
        Called with 1 after every machine of every view and backend.

    Returns
    -------
    dict of str to DataFrame
        One scores table per view (see :func:`asdlib.scoring.score_machines`), ``system`` its
        name: the mean of the backends' standardised scores.

    Raises
    ------
    InputError
        As `score_machines`.
    """
    tables = {}
    for view, (clip_ids, values) in views.items():
        by_backend = [
            score_machines(
                values,
                clip_ids,
                clips,
                system=f"{view}, {name}",
                seed=seed,
                make_backend=partial(make_backend, name, k=neighbours[name]),
                on_progress=on_progress,
            )
            for name in FINAL_BACKENDS
        ]
        tables[view] = fuse(by_backend, system=view, seed=seed)
    return tables


def score_final(tables: Mapping[str, pd.DataFrame], *, seed: int | None) -> pd.DataFrame:
    """Fuse the views to the scores table of system ``final``.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        As from `score_views`.
    seed : int or None
        Seed of the network among the views.
    """
    return fuse(list(tables.values()), system="final", seed=seed)


def hindsight(
    views: Mapping[str, View],
    clips: pd.DataFrame,
    *,
    candidates: Sequence[tuple[str, int]],
    on_progress: Callable[[int], object] = lambda candidates: None,
) -> pd.DataFrame:
    """Official score that every backend would have reached: test labels, so never for a choice.

    Parameters
    ----------
    views : mapping of str to (clip ids, ndarray of shape (n_clips, n_values))
        As for `score_views`.
    clips : DataFrame
        Clip table.
    candidates : sequence of (str, int)
        Backends by name and their neighbours; each scores all views alone.
    on_progress : callable
        Called with 1 after every candidate.

    Returns
    -------
    DataFrame
        ``backend, neighbours, official_score``; NaN where nothing can be computed.
    """
    rows = []
    for name, k in candidates:
        make = partial(make_backend, name, k=k)
        tables = [
            score_machines(values, clip_ids, clips, system=view, seed=None, make_backend=make)
            for view, (clip_ids, values) in views.items()
        ]
        metrics = evaluate(fuse(tables, system=name, seed=None), n_bootstrap=0)
        official = metrics.loc[metrics["metric"] == "official_score", "value"].iloc[0]
        rows.append([name, k, official])
        on_progress(1)
    return pd.DataFrame(rows, columns=["backend", "neighbours", "official_score"])
