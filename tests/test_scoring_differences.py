"""Paired differences against an explicit resampling with scikit-learn's AUC, and their laws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from asdlib.base import InputError
from asdlib.scoring import evaluate, paired_differences
from asdlib.scoring.resampling import resample_weights

N_BOOTSTRAP = 60


def make_scores(
    gains: dict[str, float],
    *,
    seeds: tuple[int | None, ...] = (0, 1, 2),
    machines: tuple[str, ...] = ("fan", "pump"),
    n_clips: int = 15,
    seed_scatter: float = 0.0,
    random_state: int = 0,
) -> pd.DataFrame:
    """Scores of systems that raise anomalies by a gain, on clips and noise that they share."""
    rng = np.random.default_rng(random_state)
    clips = [
        (machine, domain, condition, i)
        for machine in machines
        for domain in ("source", "target")
        for condition in (False, True)
        for i in range(n_clips)
    ]
    common = rng.standard_normal(len(clips))
    parts = []
    for system, gain in gains.items():
        for seed in seeds:
            own = gain + seed_scatter * rng.standard_normal()
            rows = pd.DataFrame(clips, columns=["machine_type", "domain", "is_anomaly", "i"])
            rows["clip_id"] = (
                rows["machine_type"] + "/test/" + rows["domain"] + rows["is_anomaly"].astype(str)
                + rows["i"].astype(str)
            )  # fmt: skip
            noise = 0.5 * rng.standard_normal(len(clips))
            rows["anomaly_score"] = common + noise + own * rows["is_anomaly"]
            parts.append(rows.assign(section="00", split="test", system=system, seed=seed))
    return pd.concat(parts, ignore_index=True)


def row(table: pd.DataFrame, system: str, machine_type: str, metric: str) -> pd.Series:
    found = table[
        (table["system"] == system)
        & (table["machine_type"] == machine_type)
        & (table["metric"] == metric)
    ]
    assert len(found) == 1
    return found.iloc[0]


def reference_draws(scores: pd.DataFrame, machine: str) -> dict[str, np.ndarray]:
    """Draw source AUCs with scikit-learn: clips repeated as drawn, then seeds as drawn."""
    own = scores[scores["machine_type"] == machine].sort_values("clip_id")
    first = own[(own["system"] == "old") & (own["seed"] == 0)]
    strata = pd.factorize(
        first["domain"] + np.where(first["is_anomaly"], "|anomaly", "|normal")
    )[0]  # fmt: skip
    options = {"n_resamples": N_BOOTSTRAP, "seed": 0, "name": machine}
    drawn = np.vstack(list(resample_weights(strata.astype(np.int64), **options))).astype(int)
    seeds = np.random.default_rng([0, 3]).integers(0, 3, (N_BOOTSTRAP, 2))
    counted = ((first["domain"] == "source") | first["is_anomaly"]).to_numpy()
    result = {}
    for system, runs in own.groupby("system"):
        per_seed = [run for _, run in runs.groupby("seed")]
        means = []
        for clip_counts, picked_seeds in zip(drawn, seeds, strict=True):
            picked = np.repeat(np.flatnonzero(counted), clip_counts[counted])
            values = [
                roc_auc_score(run["is_anomaly"].to_numpy()[picked],
                              run["anomaly_score"].to_numpy()[picked])
                for run in per_seed
            ]  # fmt: skip
            means.append(np.mean(np.array(values)[picked_seeds]))
        result[str(system)] = np.array(means)
    return result


def test_values_and_differences_are_those_of_the_seeds():
    scores = make_scores({"old": 1.0, "new": 1.5}, seed_scatter=0.2)
    table = paired_differences(scores, reference="old", n_bootstrap=10)
    seeds = evaluate(scores, n_bootstrap=0).pivot_table(
        index=["machine_type", "metric"], columns=["system", "seed"], values="value"
    )
    for machine_type, metric in seeds.index:
        found = row(table, "new", machine_type, metric)
        new, old = (
            seeds.loc[(machine_type, metric), "new"],
            seeds.loc[(machine_type, metric), "old"],
        )
        assert found["value"] == pytest.approx(new.mean())
        assert found["spread"] == pytest.approx(new.std())
        assert found["difference"] == pytest.approx((new - old).mean())
        assert found["difference_spread"] == pytest.approx((new - old).std())
        assert found["n_seeds"] == 3
    official = row(table, "new", "all", "official_score")
    assert (official["n_normal"], official["n_anomaly"]) == (60, 60)


def test_interval_equals_an_explicit_resampling_of_seeds_and_clips():
    scores = make_scores({"old": 1.0, "new": 1.3}, seed_scatter=0.3)
    table = paired_differences(scores, reference="old", n_bootstrap=N_BOOTSTRAP)
    found = row(table, "new", "pump", "auc_source")
    drawn = reference_draws(scores, "pump")
    # The median-unbiased percentiles, written out for the differences.
    from scipy.stats import norm

    for name, draws, value in (
        ("ci", drawn["new"], found["value"]),
        ("difference", drawn["new"] - drawn["old"], found["difference"]),
    ):
        is_tie = np.abs(draws - value) < 1e-12
        shift = 2 * norm.ppf(np.mean((draws < value) & ~is_tie) + 0.5 * np.mean(is_tie))
        shares = norm.cdf([shift - norm.ppf(0.975), shift + norm.ppf(0.975)])
        low, high = np.quantile(draws, shares)
        assert found[f"{name}_low"] == pytest.approx(low, abs=1e-9)
        assert found[f"{name}_high"] == pytest.approx(high, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 1.5))
def test_exchanging_system_and_reference_changes_the_sign(random_state, gain):
    scores = make_scores(
        {"old": 0.5, "new": gain}, n_clips=5, machines=("fan",), random_state=random_state
    )
    forth = paired_differences(scores, reference="old", n_bootstrap=40)
    back = paired_differences(scores, reference="new", n_bootstrap=40)
    forth, back = forth[forth["system"] == "new"], back[back["system"] == "old"]
    for ours, theirs in (
        ("difference", "difference"),
        ("difference_low", "difference_high"),
        ("difference_high", "difference_low"),
    ):
        assert forth[ours].to_numpy() == pytest.approx(-back[theirs].to_numpy(), abs=1e-9)


def test_monotone_copies_of_the_reference_differ_by_nothing():
    scores = make_scores({"old": 1.0})
    copy = scores.assign(system="copy", anomaly_score=np.exp(scores["anomaly_score"]))
    table = paired_differences(pd.concat([scores, copy]), reference="old", n_bootstrap=50)
    copied = table[table["system"] == "copy"]
    assert copied[["difference", "difference_low", "difference_high"]].abs().max().max() < 1e-12
    assert table.loc[table["system"] == "old", "difference"].isna().all()


def test_pairing_narrows_the_interval():
    scores = make_scores({"old": 1.0, "new": 1.2}, n_clips=30)
    table = paired_differences(scores, reference="old", n_bootstrap=300)
    new, old = (row(table, name, "all", "official_score") for name in ("new", "old"))
    paired = new["difference_high"] - new["difference_low"]
    unpaired = np.hypot(new["ci_high"] - new["ci_low"], old["ci_high"] - old["ci_low"])
    assert paired < 0.7 * unpaired


def test_intervals_hold_the_scatter_over_seeds():
    options = {"n_clips": 60, "machines": ("fan",), "seeds": tuple(range(6))}
    calm = make_scores({"old": 1.0, "new": 1.0}, **options)
    wild = make_scores({"old": 1.0, "new": 1.0}, seed_scatter=0.8, **options)
    width = {}
    for name, scores in {"calm": calm, "wild": wild}.items():
        table = paired_differences(scores, reference="old", n_bootstrap=300)
        found = row(table, "new", "all", "official_score")
        width[name] = found["difference_high"] - found["difference_low"]
    assert width["wild"] > 2 * width["calm"]


@pytest.mark.parametrize(
    ("seeds", "seed_scatter", "at_least"),
    # Of 50: 45 expected. Binomial(50, 0.9) reaches 37 and Binomial(50, 0.8) 30 with p > 0.999;
    # intervals that know of clips alone reach about 20 in the second case.
    [((0, 1, 2), 0.0, 37), ((0, 1, 2, 3, 4), 0.3, 30)],
)
def test_interval_covers_no_difference_about_as_often_as_it_says(seeds, seed_scatter, at_least):
    covered = 0
    for repetition in range(50):
        scores = make_scores(
            {"old": 0.8, "new": 0.8}, machines=("fan",), n_clips=25, seeds=seeds,
            seed_scatter=seed_scatter, random_state=repetition,
        )  # fmt: skip
        table = paired_differences(
            scores, reference="old", n_bootstrap=100, confidence=0.9, seed=repetition
        )
        found = row(table, "new", "fan", "auc_source")
        covered += found["difference_low"] <= 0 <= found["difference_high"]
    assert covered >= at_least


def test_system_without_seeds_is_paired_with_every_seed():
    scores = make_scores({"net": 1.2})
    trivial = make_scores({"trivial": 0.5}, seeds=(None,))
    both = pd.concat([scores, trivial], ignore_index=True)
    found = row(
        paired_differences(both, reference="trivial", n_bootstrap=20), "net", "fan", "auc_target"
    )
    seeds = evaluate(both, n_bootstrap=0).query("machine_type == 'fan' and metric == 'auc_target'")
    net = seeds.loc[seeds["system"] == "net", "value"].to_numpy()
    base = seeds.loc[seeds["system"] == "trivial", "value"].iloc[0]
    assert found["difference"] == pytest.approx(np.mean(net - base))
    assert found["difference_spread"] == pytest.approx(np.std(net, ddof=1))
    assert found["reason"] == ""


def test_missing_seeds_are_left_out_of_the_difference_and_said():
    scores = make_scores({"old": 1.0, "new": 1.5}, seed_scatter=0.2)
    lacking = scores[(scores["system"] != "new") | (scores["seed"] != 1)]
    found = row(
        paired_differences(lacking, reference="old", n_bootstrap=10), "new", "fan", "auc_source"
    )
    alone = scores[scores["seed"] != 1]
    expected = row(
        paired_differences(alone, reference="old", n_bootstrap=10), "new", "fan", "auc_source"
    )
    assert found["difference"] == pytest.approx(expected["difference"])
    assert found["n_seeds"] == 2
    assert "2 of 3 seeds" in found["reason"]


def test_other_clips_are_refused():
    scores = make_scores({"old": 1.0, "new": 1.5})
    fewer = scores[(scores["system"] == "old") | (scores["clip_id"] != "fan/test/sourceTrue3")]
    with pytest.raises(InputError, match="'new', seed 0: .*sourceTrue3.*the same clips"):
        paired_differences(fewer, reference="old")
    moved = scores.copy()
    moved.loc[(moved["system"] == "new") & (moved["i"] == 0), "domain"] = "source"
    with pytest.raises(InputError, match="other domains"):
        paired_differences(moved, reference="old")


def test_unknown_reference_lists_the_systems():
    with pytest.raises(InputError, match="no system best. There are: old, new"):
        paired_differences(make_scores({"old": 1.0, "new": 1.5}), reference="best")
