"""Clusters, frequency levels, the choice between them, and agreement with the truth."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.cluster import AgglomerativeClustering, KMeans
from spectra_corpus import array_store, waveform_store

from asdlib.annotation import (
    annotate,
    clustering,
    cross_table,
    frequencies,
    score_agreement,
    track_frequencies,
)
from asdlib.annotation.agreement import agreement
from asdlib.annotation.choice import choose_method, find_levels, information, name_frequencies
from asdlib.annotation.clustering import find_clusters, partition
from asdlib.annotation.labelling import ORACLE, find_clusters_by_domain
from asdlib.base import InputError

SR = 16000
COLUMNS = [
    "clip_id", "rank", "frequency_hz", "significance", "sideband_hz", "resolution_hz",
    "quantity",
]  # fmt: skip


def blobs(rng, n_groups, *, per_group=25, spread=1.0, dimensions=6):
    centres = 8 * rng.standard_normal((n_groups, dimensions))
    truth = np.repeat(np.arange(n_groups), per_group)
    return centres[truth] + spread * rng.standard_normal((len(truth), dimensions)), truth


# --- clusters ---------------------------------------------------------------------------


def test_the_number_of_clusters_is_found(rng):
    points, truth = blobs(rng, 4)
    found = find_clusters(points, seed=0)
    assert found.n_clusters == 4
    assert metrics.adjusted_rand_score(truth, found.labels) == 1.0
    assert found.confidence.min() > 0.3


def test_a_dozen_overlapping_clusters_do_not_depend_on_where_k_means_starts(rng):
    # From random starts it ends in local minima, and halves of the clips disagree for no reason.
    points, _ = blobs(rng, 12, per_group=8, spread=5.0)
    first, second = (partition(points, 12, seed) for seed in (0, 1))
    assert np.array_equal(first, second)
    drawn = [KMeans(12, n_init=4, random_state=s).fit(points).labels_ for s in (0, 1)]
    assert metrics.adjusted_rand_score(*drawn) < 0.9


def test_of_more_clips_than_can_be_joined_a_sample_finds_the_clusters_of_all(rng):
    points, truth = blobs(rng, 3, per_group=1667)
    points[5] += 100.0
    counted = []
    found = find_clusters(points, seed=0, max_clusters=3, on_progress=counted.append)
    assert (sum(counted), len(counted)) == (5001, 2)
    assert (found.n_clusters, found.is_outlier[5]) == (3, True)
    assert metrics.adjusted_rand_score(np.delete(truth, 5), np.delete(found.labels, 5)) == 1.0


def test_unstructured_points_are_one_cluster(rng):
    skewed = rng.standard_normal((120, 6)) * np.array([9, 4, 2, 1, 1, 1])
    found = find_clusters(skewed, seed=0)
    assert found.n_clusters == 1
    assert not found.labels.any()
    assert not found.criterion["is_accepted"].any()


def test_an_outlier_is_marked(rng):
    points, _ = blobs(rng, 3)
    points[7] += 6.0
    found = find_clusters(points, seed=0)
    assert found.is_outlier[7]
    assert found.is_outlier.sum() <= 3


def test_two_clips_far_away_are_outliers_and_no_cluster(rng):
    points, truth = blobs(rng, 2)
    far = 200 + rng.standard_normal((2, points.shape[1]))
    found = find_clusters(np.concatenate([points, far]), seed=0)
    assert metrics.adjusted_rand_score(truth, found.labels[:-2]) == 1.0
    assert found.n_clusters == 2
    assert found.is_outlier[-2:].all()


def test_domains_never_share_a_cluster(rng):
    points, truth = blobs(rng, 3)
    target = points[[0, 1, 2, 30, 31, 32]] + 3.0
    domains = ["source"] * len(points) + ["target"] * 6
    found = find_clusters_by_domain(np.vstack([points, target]), domains, seed=0)
    assert not set(found.labels[: len(points)]) & set(found.labels[len(points) :])
    assert metrics.adjusted_rand_score([0, 0, 0, 1, 1, 1], found.labels[-6:]) == 1.0


def test_a_large_second_domain_is_joined_by_a_sample(rng, monkeypatch):
    """Joining takes the square of its clips, so that no more than 2,000 are joined."""
    monkeypatch.setattr(clustering, "MAX_CLUSTERS", 3)
    points, truth = blobs(rng, 3, per_group=700, dimensions=20)
    inside = np.repeat([True, False], len(points))
    domains = np.where(inside, "source", "target")[:-1]  # the first is the larger one
    counted, joined = [], []
    fit = AgglomerativeClustering.fit
    monkeypatch.setattr(
        AgglomerativeClustering, "fit",
        lambda self, x, y=None: joined.append(len(x)) or fit(self, x, y),
    )  # fmt: skip
    both = np.vstack([points, points + 30.0])[:-1]
    found = find_clusters_by_domain(both, domains, seed=0, on_progress=counted.append)
    assert max(joined) == 2000
    assert sum(counted) == len(both)
    assert found.n_clusters == 6
    assert metrics.adjusted_rand_score(np.append(truth, truth[:-1] + 3), found.labels) == 1.0


def test_clusters_refuse_bad_input():
    with pytest.raises(InputError, match="NaN"):
        find_clusters(np.full((50, 2), np.nan), seed=0)


# --- levels -----------------------------------------------------------------------------


def track_of(rng, rates_hz, *, extra=(), resolution=0.1, quantity="envelope"):
    """One strong family per clip near its rate, and some others in every clip."""
    rows = []
    for i, rate in enumerate(rates_hz):
        own = rate * (1 + 0.005 * rng.standard_normal())
        families = [(own, 40.0), *((hz, 9.0) for hz in extra)]
        for rank, (hz, significance) in enumerate(families, start=1):
            rows.append((f"c{i}", rank, hz, significance, np.nan, resolution, quantity))
    return pd.DataFrame(rows, columns=COLUMNS), [f"c{i}" for i in range(len(rates_hz))]


def test_levels_are_found_beside_a_line_that_all_clips_share(rng):
    rates = np.repeat([12.0, 16.0, 20.0], 15)
    track, ids = track_of(rng, rates, extra=(50.0,))
    found = find_levels(track, ids)
    assert found.levels_hz == pytest.approx([12.0, 16.0, 20.0], rel=0.01)
    assert found.labels.tolist() == np.repeat([0, 1, 2], 15).tolist()
    assert found.coverage == 1.0


def test_levels_closer_than_their_scatter_are_one(rng):
    track, ids = track_of(rng, np.repeat([16.0, 16.05], 20))
    assert len(find_levels(track, ids).levels_hz) == 0  # one level tells no clip from another


def test_scattered_lines_are_no_levels(rng):
    track, ids = track_of(rng, np.exp(rng.uniform(np.log(2), np.log(200), 25)))
    assert find_levels(track, ids).coverage < 0.5


def test_lines_of_the_surroundings_are_left_out(rng):
    track, ids = track_of(rng, np.repeat([12.0, 16.0, 50.0], 15))
    found = find_levels(track, ids, exclude_hz=[50.0])
    assert len(found.levels_hz) == 2
    assert (found.labels[30:] == -1).all()


def test_the_quantity_that_tells_clips_apart_is_taken(rng):
    """One tone in all clips and scattered lines say nothing; the cycle does."""
    cycle, ids = track_of(rng, np.repeat([0.8, 1.2], 20), quantity="cycle")
    tones, _ = track_of(rng, np.full(40, 130.0), quantity="tones")
    envelope, _ = track_of(rng, np.exp(rng.uniform(np.log(2), np.log(200), 40)))
    found = find_levels(pd.concat([envelope, tones, cycle]), ids)
    assert found.quantity == "cycle"
    assert found.levels_hz == pytest.approx([0.8, 1.2], rel=0.01)
    assert found.stability == pytest.approx(1.0)
    assert found.coverage == 1.0
    assert abs(found.agreement) < 0.1


def test_of_equal_quantities_the_one_that_tells_more_is_taken(rng):
    rates = np.repeat([12.0, 16.0, 20.0], 15)
    fine, ids = track_of(rng, 11 * rates, quantity="tones")
    coarse, _ = track_of(rng, np.minimum(rates, 16.0))
    assert find_levels(pd.concat([coarse, fine]), ids).quantity == "tones"
    equal, _ = track_of(rng, rates)
    found = find_levels(pd.concat([equal, fine]), ids)
    assert found.quantity == "envelope"
    assert found.agreement == pytest.approx(1.0)


def test_levels_that_halves_of_the_clips_do_not_repeat_tell_nothing(rng):
    """Two families of one state that take turns at random in being the strongest."""
    rates = np.repeat([12.0, 16.0], 20)
    steady, ids = track_of(rng, rates, quantity="cycle")
    torn, _ = track_of(rng, rng.permutation(np.repeat(np.geomspace(3.0, 90.0, 13), 4))[:40])
    found = find_levels(pd.concat([torn, steady]), ids)
    assert found.quantity == "cycle"
    assert information(found.labels, 0.79) == 0.0
    assert information(found.labels, 1.0) == pytest.approx(np.log(2))


def test_levels_are_named_apart_and_without_exponents():
    assert name_frequencies(np.array([8.2, 2953.4, 3218.0])) == ["8.2", "2950", "3220"]
    assert name_frequencies(np.array([118.8, 119.1])) == ["118.8", "119.1"]
    assert name_frequencies(np.zeros(0)) == []


def test_no_families_no_levels():
    found = find_levels(pd.DataFrame(columns=COLUMNS), ["a", "b"])
    assert found.coverage == 0
    assert found.labels.tolist() == [-1, -1]


# --- the choice -------------------------------------------------------------------------


def evidence_of(**changes):
    """What the rule sees of a machine with trusted levels and clusters."""
    return {
        "n_levels": 4, "coverage": 0.95, "level_stability": 0.97, "level_quantity": "cycle",
        "level_information": 1.2, "n_clusters": 3, "cluster_stability": 0.9,
        "cluster_information": 0.5, "n_split_levels": 0, "level_predictability": 0.6,
        "level_agreement": 0.1,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "method", "words"),
    [
        ({}, "frequencies", "4 levels of cycle hold 95 % of clips"),
        ({"n_split_levels": 1}, "both", "1 fall into clusters"),
        ({"cluster_information": 1.4}, "clusters", "tell more than 4 levels of cycle"),
        ({"cluster_information": 1.4, "n_clusters": 1}, "frequencies", "4 levels"),
        ({"coverage": 0.7}, "clusters", "hold only 70 %"),
        ({"level_stability": 0.7}, "clusters", "unstable"),
        ({"level_predictability": 0.1}, "clusters", "show in nothing else"),
        ({"level_predictability": 0.1, "level_agreement": 0.5}, "frequencies", "4 levels"),
        ({"n_levels": 1}, "clusters", "no frequency tells clips apart"),
        ({"n_levels": 0, "n_clusters": 1}, "none", "no number of clusters is accepted"),
    ],
)
def test_the_rule(changes, method, words):
    chosen, reason = choose_method(evidence_of(**changes))
    assert chosen == method
    assert words in reason


# --- the whole --------------------------------------------------------------------------


def corpus(tmp_path: Path, rng, rates_hz, *, seconds=2.0, machine="m"):
    """Clip table and stores of clips that throb at the given rates (0 = steady)."""
    n = int(seconds * SR)
    t = np.arange(n) / SR
    rows = []
    for rate in rates_hz:
        depth = 0.8 if rate else 0.0
        y = (1 + depth * np.cos(2 * np.pi * rate * t + rng.uniform(0, 6))) * rng.standard_normal(n)
        rows.append(np.round(2000 * y).astype(np.int16))
    ids = [f"{machine}/train/{i:04d}.wav" for i in range(len(rows))]
    waveforms = waveform_store(tmp_path, ids, rows)
    mels = rng.standard_normal((len(rows), 16, 30)).astype(np.float16)
    log_mel = array_store(tmp_path / "log_mel", ids, mels)
    clips = pd.DataFrame(
        {
            "clip_id": ids,
            "machine_type": machine,
            "section": "00",
            "domain": "source",
            "split": "train",
            "attribute": pd.array([pd.NA] * len(ids), dtype="string"),
            "supplemental_kind": pd.array([pd.NA] * len(ids), dtype="string"),
        }
    )
    return clips, waveforms, log_mel


def test_rates_become_attributes(tmp_path, rng):
    rates = np.tile([9.0, 13.0], 11)
    clips, waveforms, log_mel = corpus(tmp_path, rng, rates, seconds=2.0)
    seen = []
    clustered = []
    found = annotate(clips, waveforms, log_mel, workers=1, on_progress=seen.append,
                     on_clustered=clustered.append)  # fmt: skip
    table = found.attributes
    assert table.columns.tolist() == ["clip_id", "attribute", "method", "confidence"]
    assert table["clip_id"].tolist() == clips["clip_id"].tolist()
    assert table["attribute"].tolist() == ["f_9Hz", "f_13Hz"] * 11
    assert set(table["method"]) == {"frequencies"}
    assert table["confidence"].between(0, 1).all()
    assert sum(seen) == sum(clustered) == len(clips)
    again = annotate(clips, waveforms, log_mel, workers=2)
    pd.testing.assert_frame_equal(again.attributes, table)


def test_families_are_computed_once(tmp_path, rng, monkeypatch):
    clips, waveforms, _ = corpus(tmp_path, rng, [9.0, 13.0], seconds=2.0)
    ids = clips["clip_id"].tolist()
    options = {"sr": SR, "seed": 0, "workers": 1, "cache_dir": tmp_path / "cache"}
    first = track_frequencies(ids, waveforms, **options)
    assert len(first.families)
    monkeypatch.setattr(frequencies, "characteristic_frequencies", None)
    again = track_frequencies(ids, waveforms, **options)
    pd.testing.assert_frame_equal(again.families, first.families)
    assert again.bands_hz == first.bands_hz
    with pytest.raises(TypeError):  # other clips are not in the cache
        track_frequencies(ids[:1], waveforms, **options)


def test_all_quantities_are_tracked_and_the_mains_left_out(tmp_path, rng):
    t = np.arange(6 * SR) / SR
    sounds = []
    for blade_pass_hz in (131.3, 156.8):
        hum = 0.1 * (np.cos(2 * np.pi * 100 * t) + np.cos(2 * np.pi * blade_pass_hz * t))
        loud = 0.2 + (t % 0.9 < 0.3)
        sounds.append(np.round(2000 * (hum + loud * rng.standard_normal(len(t)))).astype(np.int16))
    waveforms = waveform_store(tmp_path, ["a", "b"], sounds)
    found = track_frequencies(["a", "b"], waveforms, sr=SR, seed=0, workers=1).families
    strongest = found[found["rank"] == 1].set_index(["quantity", "clip_id"])["frequency_hz"]
    assert strongest["tones"].tolist() == pytest.approx([131.3, 156.8], abs=0.1)
    assert strongest["cycle"].tolist() == pytest.approx([1 / 0.9] * 2, rel=0.01)
    assert strongest["envelope"].tolist() == pytest.approx([1 / 0.9] * 2, rel=0.01)


def test_one_state_and_noise_are_one_class(tmp_path, rng):
    for name, rate in (("throbbing", 11.0), ("steady", 0.0)):
        clips, waveforms, log_mel = corpus(tmp_path / name, rng, [rate] * 24, seconds=2.0)
        found = annotate(clips, waveforms, log_mel, workers=1)
        assert set(found.attributes["attribute"]) == {"none"}
        assert found.evidence["method"].tolist() == ["none"]


def test_few_clips_and_given_attributes(tmp_path, rng):
    clips, waveforms, log_mel = corpus(tmp_path, rng, [9.0, 13.0] * 3, seconds=1.0)
    found = annotate(clips, waveforms, log_mel)
    assert set(found.attributes["method"]) == {"none"}
    assert "too little to tell: 6 clips" in found.evidence["reason"][0]
    clips["attribute"] = "spd_1"
    found = annotate(clips, waveforms, log_mel)
    assert set(found.attributes["method"]) == {"given"}
    assert set(found.attributes["attribute"]) == {"spd_1"}
    with pytest.raises(InputError, match="none, clusters, frequencies, both, true"):
        annotate(clips, waveforms, log_mel, method="guess")
    with pytest.raises(InputError, match="method: no machine fan. There are: "):
        annotate(clips, waveforms, log_mel, method={"fan": "none"})


def test_the_oracle_takes_the_true_attributes(tmp_path, rng):
    clips, waveforms, log_mel = corpus(tmp_path, rng, [9.0, 13.0] * 3, seconds=1.0)
    truth = pd.DataFrame({"clip_id": clips["clip_id"][::-1], "attribute": list("fedcba")})
    found = annotate(clips, waveforms, log_mel, method="true", truth=truth, workers=1)
    assert found.attributes["attribute"].tolist() == list("abcdef")
    assert set(found.attributes["method"]) == {"true"}
    assert found.evidence["reason"].tolist() == [ORACLE]
    ignored = annotate(clips, waveforms, log_mel, truth=truth, workers=1)
    assert set(ignored.attributes["attribute"]) == {"none"}
    first = clips["clip_id"].iloc[0]
    with pytest.raises(InputError, match=f"1 of its 6 training clips are not known, {first}"):
        annotate(clips, waveforms, log_mel, method="true", truth=truth[truth["clip_id"] != first])
    with pytest.raises(InputError, match="choose another method where there are none"):
        annotate(clips, waveforms, log_mel, method={"m": "true"})


# --- agreement --------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60))
def test_agreement_equals_scikit_learn(pairs):
    labels, truth = np.array(pairs).T
    found = agreement(labels, truth)
    assert found["ari"] == pytest.approx(metrics.adjusted_rand_score(truth, labels), abs=1e-9)
    expected = metrics.normalized_mutual_info_score(truth, labels)
    assert found["nmi"] == pytest.approx(expected, abs=1e-6)
    assert found["v_measure"] == pytest.approx(metrics.v_measure_score(truth, labels), abs=1e-6)


@pytest.mark.parametrize("share_right", [0.0, 0.6])
def test_agreement_intervals_hold_the_value_of_infinitely_many_clips(share_right):
    rng = np.random.default_rng(0)

    def draw(count):
        true = rng.integers(6, size=count)
        labels = np.where(rng.random(count) < share_right, true, rng.integers(6, size=count))
        return labels, true

    value = agreement(*draw(200_000))["ari"]
    clips = pd.DataFrame({"clip_id": [f"m/train/{i}.wav" for i in range(120)]})
    clips = clips.assign(machine_type="m", domain="source")
    is_inside = []
    for _ in range(60):
        labels, true = (clips[["clip_id"]].assign(attribute=a.astype(str)) for a in draw(120))
        found = score_agreement(labels, true, clips, n_halves=100)
        row = found[(found["metric"] == "ari") & (found["domain"] == "all")].iloc[0]
        is_inside.append(row["ci_low"] <= value <= row["ci_high"])
    # 95 % are meant; 50 or fewer of 60 would happen once in a thousand times.
    assert sum(is_inside) > 50


def test_agreement_of_two_or_three_clips_has_no_interval():
    clips = pd.DataFrame({"clip_id": ["m/train/a.wav", "m/train/b.wav", "m/train/c.wav"]})
    clips = clips.assign(machine_type="m", domain="source", attribute=["x", "y", "y"])
    labels = clips[["clip_id", "attribute"]]
    found = score_agreement(labels, labels, clips)
    assert (found["value"] == 1.0).all()
    assert found["ci_low"].isna().all()


@pytest.mark.parametrize("n_labels", [1, 2, 9])
def test_agreement_intervals_hold_their_own_value(n_labels, rng):
    clips = pd.DataFrame({"clip_id": [f"m/train/{i}.wav" for i in range(10)]})
    clips = clips.assign(machine_type="m", domain="target")
    true = clips[["clip_id"]].assign(attribute=["x"] * 5 + ["y"] * 5)
    for _ in range(10):
        labels = clips[["clip_id"]].assign(attribute=rng.integers(n_labels, size=10).astype(str))
        found = score_agreement(labels, true, clips)
        assert found["value"].between(found["ci_low"], found["ci_high"]).all()
    if n_labels == 1:  # halves of one true class would have counted as perfect agreement
        ari = found[found["metric"] == "ari"]
        assert (ari[["value", "ci_low", "ci_high"]] == 0.0).all(axis=None)


def test_agreement_by_domain_joined_by_clip_id(rng):
    ids = [f"m/train/{i}.wav" for i in range(40)]
    truth = pd.DataFrame({"clip_id": ids, "attribute": [f"a{i % 4}" for i in range(40)]})
    clips = pd.DataFrame(
        {"clip_id": ids, "machine_type": "m", "domain": ["source"] * 30 + ["target"] * 10}
    )
    labels = truth.assign(attribute=truth["attribute"].str.replace("a", "cluster_"))
    found = score_agreement(labels.sample(frac=1, random_state=0), truth, clips, n_halves=20)
    assert set(found["domain"]) == {"all", "source", "target"}
    assert (found["value"] == 1.0).all()
    assert found["n_clips"].max() == 40
    assert cross_table(labels, truth, clips["clip_id"]).to_numpy().trace() == 40
    shuffled = truth.assign(attribute=rng.permutation(truth["attribute"]))
    chance = score_agreement(shuffled, truth, clips, n_halves=20)
    chance = chance[(chance["metric"] == "ari") & (chance["domain"] == "all")]
    assert abs(chance["value"].iloc[0]) < 0.2
    with pytest.raises(InputError, match="twice"):
        score_agreement(pd.concat([labels, labels]), truth, clips)
    with pytest.raises(InputError, match="lacks the columns attribute"):
        score_agreement(labels[["clip_id"]], truth, clips)
