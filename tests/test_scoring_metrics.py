import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from asdlib.base import InputError
from asdlib.scoring import auc, harmonic_mean, pauc, resampling
from asdlib.scoring.metrics import Ranking, area_below
from asdlib.scoring.resampling import (
    bias_corrected_interval,
    pauc_acceleration,
    small_sample_widening,
)


def resample_weights(strata, **options):
    return np.vstack(list(resampling.resample_weights(strata, **options)))


# Few distinct values, so that ties between and within the conditions are the rule.
TIED = st.integers(-3, 3).map(float)
ANY = st.one_of(TIED, st.floats(-1e6, 1e6, allow_nan=False))


@settings(max_examples=150, deadline=None)
@given(
    normal=st.lists(ANY, min_size=1, max_size=30),
    anomalous=st.lists(ANY, min_size=1, max_size=30),
    max_fpr=st.sampled_from([0.01, 0.1, 0.25, 0.5, 0.9, 1.0]),
)
@example(normal=[1.0], anomalous=[1.0], max_fpr=0.1)
@example(normal=[0.0] * 20, anomalous=[0.0] * 3, max_fpr=0.1)
@example(normal=[0.0, 1.0], anomalous=[2.0, 3.0], max_fpr=0.1)
@example(normal=[2.0, 3.0], anomalous=[0.0, 1.0], max_fpr=0.1)
@example(normal=list(map(float, range(10))), anomalous=[8.5], max_fpr=0.1)
def test_equals_scikit_learn(normal, anomalous, max_fpr):
    score = np.array(normal + anomalous)
    truth = np.repeat([False, True], [len(normal), len(anomalous)])
    assert auc(score, truth) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)
    expected = roc_auc_score(truth, score, max_fpr=max_fpr)
    assert pauc(score, truth, max_fpr=max_fpr) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    score=st.lists(TIED, min_size=2, max_size=20),
    data=st.data(),
)
def test_weights_count_a_clip_as_often_as_it_was_drawn(score, data):
    n = len(score)
    truth = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    drawn_score, drawn_truth = np.repeat(score, times), np.repeat(truth, times)
    if drawn_truth.all() or not drawn_truth.any():
        return
    weight = times[None].astype(float)
    ranking = Ranking(np.array(score))
    curve = ranking.rates(weight * ~truth), ranking.rates(weight * truth)
    for max_fpr in (0.1, 1.0):
        expected = roc_auc_score(drawn_truth, drawn_score, max_fpr=max_fpr)
        assert area_below(*curve, max_fpr=max_fpr)[0] == pytest.approx(expected, abs=1e-12)


def test_is_unchanged_by_a_monotone_map_and_a_shuffle(rng):
    score, truth = rng.normal(size=60), rng.random(60) < 0.4
    order = rng.permutation(60)
    for metric in (auc, pauc):
        value = metric(score, truth)
        assert metric(np.exp(score) * 7, truth) == pytest.approx(value, abs=1e-12)
        assert metric(score[order], truth[order]) == pytest.approx(value, abs=1e-12)
    assert auc(-score, truth) == pytest.approx(1 - auc(score, truth), abs=1e-12)


def test_known_answers():
    normal, anomalous = np.arange(10.0), np.arange(10.0) + 100
    score, truth = np.append(normal, anomalous), np.repeat([False, True], 10)
    assert auc(score, truth) == 1.0
    assert pauc(score, truth) == pytest.approx(1.0)
    assert auc(-score, truth) == 0.0
    # No area at all: (1 + (0 - p²/2) / (p - p²/2)) / 2 at p = 0.1.
    assert pauc(-score, truth) == pytest.approx(0.5 * (1 - 0.005 / 0.095))
    assert auc(np.zeros(20), truth) == 0.5
    assert pauc(np.zeros(20), truth) == pytest.approx(0.5)


@pytest.mark.parametrize("truth", [[], [True, True], [False]])
def test_one_condition_alone_has_no_area(truth):
    assert np.isnan(auc(np.zeros(len(truth)), truth))
    assert np.isnan(pauc(np.zeros(len(truth)), truth))


def test_refuses_what_has_no_order():
    with pytest.raises(InputError, match=r"anomaly_score\[1\] = nan"):
        auc([0.0, np.nan], [False, True])
    with pytest.raises(InputError, match="one value of each per clip"):
        auc([0.0, 1.0], [True])
    with pytest.raises(InputError, match="max_fpr = 0"):
        pauc([0.0, 1.0], [False, True], max_fpr=0)


def test_harmonic_mean():
    assert harmonic_mean(np.array([0.5, 0.25])) == pytest.approx(1 / 3)
    assert harmonic_mean(np.array([0.5, 0.0])) == 0.0
    assert harmonic_mean(np.array([0.5, np.nan])) == 0.5
    assert np.isnan(harmonic_mean(np.array([np.nan])))


def test_resamples_keep_the_size_of_every_stratum_and_are_reproducible():
    strata = np.array([0, 0, 0, 1, 2, 2])
    weights = resample_weights(strata, n_resamples=50, seed=3, name="fan")
    for stratum, size in ((0, 3), (1, 1), (2, 2)):
        assert (weights[:, strata == stratum].sum(axis=1) == size).all()
    assert len(np.unique(weights, axis=0)) > 5
    again = resample_weights(strata, n_resamples=50, seed=3, name="fan")
    np.testing.assert_array_equal(weights, again)
    assert (weights != resample_weights(strata, n_resamples=50, seed=3, name="pump")).any()


@pytest.mark.parametrize("block_values", [1, 6, 13, 100])
def test_blocks_change_no_draw(monkeypatch, block_values):
    strata = np.array([2, 0, 0, 0, 1, 2, 2])
    whole = resample_weights(strata, n_resamples=37, seed=5, name="fan")
    monkeypatch.setattr(resampling, "_BLOCK_VALUES", block_values)
    blocks = list(resampling.resample_weights(strata, n_resamples=37, seed=5, name="fan"))
    assert len(blocks) == -(-37 // max(1, block_values // 7))
    np.testing.assert_array_equal(np.vstack(blocks), whole)


def test_interval_of_an_unbiased_normal_replicate(rng):
    replicates = rng.normal(0.7, 0.05, (20000, 1))
    low, high = bias_corrected_interval(np.array([0.7]), replicates, confidence=0.95)
    assert low[0] == pytest.approx(0.7 - 1.96 * 0.05, abs=0.005)
    assert high[0] == pytest.approx(0.7 + 1.96 * 0.05, abs=0.005)
    # Replicates that lie too high are moved back below the value.
    shifted = bias_corrected_interval(np.array([0.68]), replicates, confidence=0.95)
    assert shifted[1][0] < high[0] - 0.02
    assert np.isnan(bias_corrected_interval(np.array([np.nan]), replicates, confidence=0.9)).all()


def test_interval_covers_the_truth_about_as_often_as_it_says(rng):
    from statistics import NormalDist

    truth = NormalDist().cdf(1 / np.sqrt(2))  # AUC of unit normals one apart
    is_anomaly = np.repeat([False, True], 25)
    hits = 0
    for trial in range(200):
        score = rng.normal(size=50) + is_anomaly
        weights = resample_weights(
            is_anomaly.astype(np.int64), n_resamples=300, seed=trial, name="machine"
        )
        weights = np.vstack([np.ones(50), weights])
        ranking = Ranking(score)
        curve = ranking.rates(weights * ~is_anomaly), ranking.rates(weights * is_anomaly)
        area = area_below(*curve, max_fpr=1.0)[:, None]
        low, high = bias_corrected_interval(area[0], area[1:], confidence=0.95)
        hits += bool(low[0] <= truth <= high[0])
    assert 0.89 <= hits / 200 <= 0.99


def test_acceleration_is_that_of_a_jackknife(rng):
    is_anomaly = np.repeat([False, True], [400, 300])
    score = rng.normal(size=700) + 1.5 * is_anomaly
    weights = 1.0 - np.eye(700)
    ranking = Ranking(score)
    left_out = area_below(
        ranking.rates(weights * ~is_anomaly), ranking.rates(weights * is_anomaly), max_fpr=0.1
    )
    influence = np.concatenate(
        [own.mean() - own for own in (left_out[~is_anomaly], left_out[is_anomaly])]
    )
    expected = np.sum(influence**3) / (6 * np.sum(influence**2) ** 1.5)
    found = pauc_acceleration(score, is_anomaly, max_fpr=0.1)
    assert found == pytest.approx(expected, rel=0.02, abs=1e-4)
    assert pauc_acceleration(is_anomaly * 1.0, is_anomaly, max_fpr=0.1) == 0.0


def test_small_samples_widen():
    assert small_sample_widening(5) == pytest.approx(np.sqrt(1.25))
    assert small_sample_widening(1e9) == pytest.approx(1.0)
    assert small_sample_widening(0.1) == small_sample_widening(2)


def test_pauc_intervals_of_fifty_clips_hold_the_truth_about_as_often_as_they_say():
    """What ``benchmarks/interval_coverage.py`` measures: percentiles alone reach 88 %."""
    truth = 0.7866  # of unit normals two apart, up to a rate of 0.1
    is_anomaly = np.repeat([False, True], 50)
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(150):
        score = rng.normal(size=100) + 2.0 * is_anomaly
        weights = resample_weights(
            is_anomaly.astype(np.int64), n_resamples=300, seed=trial, name="machine"
        )
        weights = np.vstack([np.ones(100), weights])
        ranking = Ranking(score)
        rates = ranking.rates(weights * ~is_anomaly), ranking.rates(weights * is_anomaly)
        area = area_below(*rates, max_fpr=0.1)[:, None]
        low, high = bias_corrected_interval(
            area[0], area[1:], confidence=0.95, widening=small_sample_widening(5),
            acceleration=pauc_acceleration(score, is_anomaly, max_fpr=0.1),
        )  # fmt: skip
        hits += bool(low[0] <= truth <= high[0])
    # Binomial(150, 0.92) reaches 131 with p > 0.98.
    assert hits >= 131
