"""Choosing a backend without test labels: operating states that were never heard.

The test set may not choose anything. What training data can tell: leave one operating state
(one attribute, given or found) of a machine out of the bank, and ask whether its clips score
above the normal clips that stay. An unheard state is not a fault, but like a fault it is a
sound that the bank does not hold, and a backend that is blind to it, or to which every target
clip is as strange, is a poor one. The figures mirror the official ones: the normal clips of
each domain against all clips of the state.

The rule needs embeddings that have not learnt the states. A network that was trained to tell
them apart finds every one of them; so the rule is asked of profiles that nothing was learnt
for, and its answer is used for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.scoring.backends import make_backend
from asdlib.scoring.fusion import mean_and_scatter
from asdlib.scoring.knn import Backend, FloatArray
from asdlib.scoring.machines import fit_and_score
from asdlib.scoring.metrics import auc, harmonic_mean, pauc

#: Fewest clips of a state that is left out, and most clips of a machine that are looked at.
_FEWEST_CLIPS = 5
_MOST_CLIPS = 400
SELECTION_COLUMNS = [
    "backend",
    "neighbours",
    "machine_type",
    "n_states",
    "auc_source",
    "auc_target",
    "pauc",
    "hmean",
]
#: What is compared: name of a backend and its neighbours.
Candidate = tuple[str, int]
#: Neighbours among which the rule chooses.
NEIGHBOURS = (1, 2, 4, 8)
#: Where no machine has two operating states, the rule has nothing to go by.
_DEFAULT_NEIGHBOURS = 2


def held_out_states(
    profiles: Mapping[str, npt.NDArray[np.floating]],
    training: pd.DataFrame,
    *,
    candidates: Sequence[Candidate],
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda machines: None,
) -> pd.DataFrame:
    """How well each backend tells unheard operating states from normal clips.

    Parameters
    ----------
    profiles : mapping of str to ndarray, each of shape (n_clips, n_values)
        What is compared, by name; scores are fused over them as `fuse` does.
    training : DataFrame
        One row per clip of the profiles, in their order: ``machine_type``, ``domain`` and
        ``attribute`` (given or found; empty or NA for none). Training clips only.
    candidates : sequence of (str, int)
        Backends by name (`asdlib.scoring.make_backend`) and their neighbours.
    seed : int
        Which clips are looked at where a machine has more than 400.
    on_progress : callable
        Called with 1 after every machine.

    Returns
    -------
    DataFrame
        Columns ``SELECTION_COLUMNS``, one row per candidate and machine with two source states
        of five clips or more: means over the states left out.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for machine_type, clips in training.reset_index(drop=True).groupby("machine_type"):
        of_machine: npt.NDArray[np.int64] = clips.index.to_numpy()
        if len(of_machine) > _MOST_CLIPS:
            of_machine = np.sort(rng.permutation(of_machine)[:_MOST_CLIPS])
        chosen = training.iloc[of_machine]
        domain = chosen["domain"].fillna("").to_numpy(str)
        state = (chosen["domain"].fillna("") + "|" + chosen["attribute"].fillna("")).to_numpy(str)
        found, counts = np.unique(state[domain == "source"], return_counts=True)
        left_out = found[counts >= _FEWEST_CLIPS]
        if len(left_out) >= 2:
            own = {name: values[of_machine] for name, values in profiles.items()}
            for name, k in candidates:
                make = partial(make_backend, name, k=k)
                cells = [_cells(own, domain, state == out, make) for out in left_out]
                mean = pd.DataFrame(cells).mean()
                values = [mean["auc_source"], mean["auc_target"], mean["pauc"]]
                hmean = float(harmonic_mean(np.array(values), axis=0))
                rows.append([name, k, machine_type, len(left_out), *values, hmean])
        on_progress(1)
    return pd.DataFrame(rows, columns=SELECTION_COLUMNS)


def choose_neighbours(table: pd.DataFrame, backend: str) -> tuple[int, str]:
    """Take the neighbours with the highest mean over the machines.

    Parameters
    ----------
    table : DataFrame
        As from `held_out_states`.
    backend : str
        Name of the backend.

    Returns
    -------
    neighbours : int
        2 where no machine has two operating states to leave out.
    reason : str
        The evidence in a few words.
    """
    mean = table[table["backend"] == backend].groupby("neighbours")["hmean"].mean()
    if mean.empty:
        return _DEFAULT_NEIGHBOURS, "no machine has two operating states: the default"
    best = int(mean.idxmax())
    tried = ", ".join(f"{k}: {value:.3f}" for k, value in mean.items())
    return best, f"unheard states are told from normal clips best ({tried})"


def _cells(
    profiles: Mapping[str, npt.NDArray[np.floating]],
    domain: npt.NDArray[np.str_],
    is_out: npt.NDArray[np.bool_],
    make: Callable[[], Backend],
) -> dict[str, float]:
    """Official figures with the clips of one state in the place of anomalies."""
    normal: FloatArray = np.zeros(int((~is_out).sum()))
    strange: FloatArray = np.zeros(int(is_out.sum()))
    for values in profiles.values():
        kept, new = fit_and_score(
            values[~is_out], values[is_out], domains=domain[~is_out], make_backend=make
        )
        mean, scatter = mean_and_scatter(kept)
        normal += (kept - mean) / scatter
        strange += (new - mean) / scatter
    cells = {}
    for name in ("source", "target"):
        of_domain = normal[domain[~is_out] == name]
        cells[f"auc_{name}"] = _against(of_domain, strange, auc)
    return {**cells, "pauc": _against(normal, strange, pauc)}


def _against(
    normal: FloatArray, strange: FloatArray, metric: Callable[[FloatArray, FloatArray], float]
) -> float:
    known = normal[np.isfinite(normal)]
    if len(known) < 2:
        return float("nan")
    is_strange = np.repeat([False, True], [len(known), len(strange)])
    return float(metric(np.concatenate([known, strange]), is_strange))
