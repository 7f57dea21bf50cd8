"""Comparisons: what a system gains over a reference, and what it finds of rehearsed changes.

Paired differences have intervals over seeds and clips, probabilities of detection exact ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.isotonic import IsotonicRegression

from asdlib.base import InputError, refuse_unknown
from asdlib.scoring.decisions import conformal_threshold, exact_interval
from asdlib.scoring.evaluation import compact, draw_metrics, joined
from asdlib.scoring.metrics import MAX_FPR, FloatArray, auc
from asdlib.scoring.resampling import bias_corrected_interval
from asdlib.scoring.scores import validate_scores

DIFFERENCE_COLUMNS = [
    *("system", "machine_type", "metric"),
    *("value", "spread", "n_seeds", "ci_low", "ci_high"),
    *("difference", "difference_spread", "difference_low", "difference_high"),
    *("n_normal", "n_anomaly", "reason"),
]
SENSITIVITY_COLUMNS = [
    *("system", "machine_type", "kind", "strength", "unit"),
    *("pod", "pod_low", "pod_high", "auc", "n_clips", "false_alarms", "found_from"),
]
#: Views that learn from all training clips, those that are put aside in a rehearsal too.
LEARNT = ("embedding", "autoencoder")
#: Probability of detection from which on a change counts as found.
FOUND = 0.9
#: Draws of every seed of a system; under None where it has no seeds.
_Draws = dict[int | None, FloatArray]
_IDENTITY = ["clip_id", "machine_type", "section", "domain", "is_anomaly"]


def mean_over_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Average the metrics of each system over its seeds.

    One row per system, machine and metric of what :func:`evaluate` gave, in order of appearance:
    ``value`` is the mean over the seeds; ``spread`` their standard deviation (n - 1; NaN for one
    seed); ``n_seeds``; ``ci_low`` and ``ci_high`` the means of the seeds' interval ends, which
    is the uncertainty from the clips for a typical seed, seeds not included; clip counts and
    ``reason`` of the first seed.
    """
    grouped = metrics.groupby(["system", "machine_type", "metric"], sort=False)
    return grouped.agg(
        value=("value", "mean"),
        spread=("value", "std"),
        n_seeds=("value", "size"),
        ci_low=("ci_low", "mean"),
        ci_high=("ci_high", "mean"),
        n_normal=("n_normal", "first"),
        n_anomaly=("n_anomaly", "first"),
        reason=("reason", "first"),
    ).reset_index()


def paired_differences(
    scores: pd.DataFrame,
    *,
    reference: str,
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda runs: None,
) -> pd.DataFrame:
    r"""Compare systems with a reference, metric by metric, on the same clips and seeds.

    Of every metric :math:`m` of :func:`asdlib.scoring.evaluate`, with :math:`S` seeds,

    .. math:: \Delta = \frac1S \sum_s \big(m_s^\mathrm{system} - m_s^\mathrm{reference}\big)

    One bootstrap resample draws :math:`S - 1` seeds with replacement (one fewer than there are,
    which makes the variance of their mean that of the :math:`S` seeds), and clips with
    replacement inside every machine x section x domain x condition: the same seeds and the same
    clips for the system and the reference, and the same clips for all seeds. The intervals are
    bias-corrected percentiles. They hold the scatter over seeds as well as that over clips; with
    one seed, over clips alone. Few seeds tell little of their own scatter: where it exceeds that
    of the clips, intervals of 95 % held the truth in about 83 % of simulated comparisons with
    three seeds, and in 93 % with five.

    Parameters
    ----------
    scores : DataFrame
        See :func:`asdlib.scoring.validate_scores`; rows of ``split == "test"`` are used. All
        systems and seeds must be scored on the same test clips. A system whose ``seed`` is
        empty depends on none, and is paired with every seed of the other.
    reference : str
        The system that the others are compared with.
    n_bootstrap, confidence, seed
        As for :func:`asdlib.scoring.evaluate`.
    on_progress : callable
        Called with the number of runs (systems x seeds) just finished.

    Returns
    -------
    DataFrame
        ``DIFFERENCE_COLUMNS``, one row per system (in order of appearance), machine and metric:

        - ``value``, mean over the system's seeds, 0 to 1; ``spread``, their standard deviation
          (n - 1; NaN for one); ``ci_low``, ``ci_high``;
        - ``difference`` to the reference over the seeds that both have, -1 to 1, positive
          where the system is better; ``difference_spread``, its standard deviation over the
          seeds; ``difference_low``, ``difference_high``. NaN for the reference itself;
        - clip counts, and in ``reason`` what there is to say.

    Raises
    ------
    InputError
        When the reference is not among the systems, or a run was scored on other clips than
        the reference.

    Examples
    --------
    >>> clip = {"machine_type": "fan", "section": "00", "domain": "source", "split": "test"}
    >>> rows = [
    ...     {**clip, "clip_id": f"{i}", "is_anomaly": i > 1, "anomaly_score": score, "seed": 0,
    ...      "system": system}
    ...     for system, given in {"old": [1, 3, 2, 4], "new": [1, 2, 3, 4]}.items()
    ...     for i, score in enumerate(given)
    ... ]
    >>> table = paired_differences(pd.DataFrame(rows), reference="old", n_bootstrap=100)
    >>> table.loc[table["metric"] == "auc_source", ["system", "value", "difference"]].values[-1]
    array(['new', 1.0, 0.25], dtype=object)
    """
    table = validate_scores(scores)
    table = compact(table[table["split"] == "test"])
    names = list(dict.fromkeys(table["system"]))
    refuse_unknown([reference], names, "the scores table has no system")
    _refuse_other_clips(table, reference)
    rows: dict[str, pd.DataFrame] = {}
    draws: dict[str, _Draws] = {name: {} for name in names}
    runs: Any = table.groupby(["system", "seed"], dropna=False, observed=True)
    for (name, number), run in runs:
        own, drawn = draw_metrics(run, max_fpr=MAX_FPR, n_bootstrap=n_bootstrap, seed=seed)
        rows.setdefault(name, own)
        draws[name][None if pd.isna(number) else int(number)] = drawn
        on_progress(1)
    parts = []
    for name in names:
        against = {} if name == reference else draws[reference]
        part = _compare(rows[name], draws[name], against, confidence, seed)
        parts.append(part.assign(system=name).reindex(columns=DIFFERENCE_COLUMNS))
    return pd.concat(parts, ignore_index=True)


def _compare(
    rows: pd.DataFrame, own: _Draws, reference: _Draws, confidence: float, seed: int
) -> pd.DataFrame:
    """Rows of one system; without differences where there is no reference."""
    every = np.stack(list(own.values()))
    value, low, high = _interval(every, confidence, seed)
    result = rows.assign(
        value=value, spread=_deviation(every), n_seeds=len(every), ci_low=low, ci_high=high
    )
    if not reference:
        return result
    # A system without seeds has the same draws for all.
    own = dict.fromkeys(reference, own[None]) if None in own else own
    reference = dict.fromkeys(own, reference[None]) if None in reference else reference
    common, all_seeds = [number for number in own if number in reference], {*own, *reference}
    if len(common) < len(all_seeds):
        remark = f"difference over {len(common)} of {len(all_seeds)} seeds"
        result["reason"] = result["reason"].map(
            joined(remark if common else "no seed in common with the reference")
        )
    if not common:
        return result
    paired = np.stack([own[number] - reference[number] for number in common])
    value, low, high = _interval(paired, confidence, seed)
    return result.assign(
        difference=value,
        difference_spread=_deviation(paired),
        difference_low=low,
        difference_high=high,
    )


def _interval(
    draws: FloatArray, confidence: float, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give mean and interval of draws of shape (n_seeds, 1 + n_bootstrap, n_metrics).

    Of all clips the mean over the seeds, of resamples that over seeds drawn, n - 1 of n: J. N. K.
    Rao and C. F. J. Wu, "Resampling inference with complex survey data", JASA 83 (1988).
    """
    count, resamples = len(draws), draws.shape[1] - 1
    fewer = max(1, count - 1)
    picked = np.random.default_rng([seed, count]).integers(0, count, (resamples, fewer))
    drawn = (picked[:, :, None] == np.arange(count)).sum(axis=1) / fewer
    weights = np.vstack([np.full(count, 1.0 / count), drawn])
    mean, *means = np.einsum("bs,sbm->bm", weights, draws)
    return mean, *bias_corrected_interval(mean, np.array(means), confidence=confidence)


def _deviation(draws: FloatArray) -> FloatArray:
    if len(draws) == 1:
        return np.full(draws.shape[2], np.nan)
    return np.asarray(np.std(draws[:, 0], axis=0, ddof=1), dtype=np.float64)


def _refuse_other_clips(table: pd.DataFrame, reference: str) -> None:
    """Refuse runs on other clips than the reference's: nothing would be paired."""
    expected = None
    order = table["system"].ne(reference).astype(int)  # the reference first
    keys = ["_order", "system", "seed"]
    for _, run in table.assign(_order=order).groupby(keys, dropna=False, observed=True):
        clips = run[_IDENTITY].sort_values("clip_id").reset_index(drop=True)
        if expected is None:
            expected = clips
        elif not clips.equals(expected):
            name, number = run["system"].iloc[0], run["seed"].iloc[0]
            differing = sorted(set(clips["clip_id"]) ^ set(expected["clip_id"]))
            what = f"such as {differing[0]}" if differing else "or other domains or conditions"
            raise InputError(
                f"System {name!r}, seed {number}: was scored on other test clips than "
                f"{reference!r} ({what}). Compare runs on the same clips."
            )


def detection_rates(
    scores: pd.DataFrame, plan: pd.DataFrame, *, false_alarm_rate: float = 0.05
) -> pd.DataFrame:
    """Probability of detection (POD) of every kind of change, strength by strength.

    ``pod`` has its exact 95 % interval (Clopper and Pearson) at the conformal threshold over both
    domains; ``auc`` is against the unchanged clips put aside, ``false_alarms`` theirs; from
    ``found_from`` on the POD, made monotone, reaches ``FOUND`` (NaN: never).
    """
    table = scores.merge(plan[["clip_id", "kind", "strength", "unit"]], on="clip_id", how="left")
    rows = []
    for (system, machine), own in table.groupby(["system", "machine_type"], sort=False):
        normal = own[own["kind"].isna()]
        threshold, _ = conformal_threshold(
            normal["anomaly_score"].to_numpy(), false_alarm_rate=false_alarm_rate
        )
        unchanged = normal.loc[normal["split"].eq("test"), "anomaly_score"].to_numpy()
        alarms = float(np.mean(unchanged > threshold))
        for (kind, unit), changed in own.groupby(["kind", "unit"], sort=False):
            of_kind = [
                (float(str(strength)), scored.to_numpy(np.float64))
                for strength, scored in changed.groupby("strength")["anomaly_score"]
            ]
            shares = [float(np.mean(values > threshold)) for _, values in of_kind]
            found = _found_from([strength for strength, _ in of_kind], shares)
            for (strength, values), share in zip(of_kind, shares, strict=True):
                low, high = exact_interval(round(share * len(values)), len(values))
                is_changed = np.repeat([False, True], [len(unchanged), len(values)])
                area = auc(np.concatenate([unchanged, values]), is_changed)
                rows.append(
                    [system, machine, kind, strength, unit, share, low, high]
                    + [area, len(values), alarms, found]
                )
    return pd.DataFrame(rows, columns=SENSITIVITY_COLUMNS)


def blind_spots(rates: pd.DataFrame, *, system: str = "final") -> pd.DataFrame:
    """Compare the fused system with the best single profile, kind by kind.

    Of `detection_rates` of ``system`` and its views, one row per machine and kind: ``machine_type,
    kind``, ``auc`` of the system and ``best_auc`` of the ``best_view``, both means over the
    strengths, and ``shortfall``, their difference where the profile is better. Views that were
    learnt (`LEARNT`) knew the clips that were put aside: what they hear of a change is no measure.
    """
    mean = rates.pivot_table(
        index=["machine_type", "kind"], columns="system", values="auc", sort=False
    )
    views = mean.drop(columns=[system, *LEARNT], errors="ignore")
    if views.empty:  # learnt views alone: nothing to compare with
        return pd.DataFrame(columns=["machine_type", "kind", "auc", "best_auc", "best_view",
                                     "shortfall"])  # fmt: skip
    best = {"best_auc": views.max(axis=1), "best_view": views.idxmax(axis=1)}
    table = pd.DataFrame({"auc": mean[system], **best})
    table["shortfall"] = (table["best_auc"] - table["auc"]).clip(lower=0.0)
    return table.reset_index()


def _found_from(strengths: Sequence[float], shares: Sequence[float]) -> float:
    """Smallest strength at which the monotone POD, linear between the strengths, is `FOUND`."""
    monotone = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(strengths, shares)
    if monotone[-1] < FOUND:
        return float("nan")
    first = int(np.argmax(monotone >= FOUND))
    return float(np.interp(FOUND, monotone[: first + 1], strengths[: first + 1]))
