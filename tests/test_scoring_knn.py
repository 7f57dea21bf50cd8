import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import NearestNeighbors

from asdlib.base import InputError
from asdlib.scoring import (
    KNNBackend,
    embedding_map,
    neighbour_agreement,
    score_machines,
    time_average,
)
from asdlib.scoring.resampling import held_out_scores


def make_clips(machines):
    rows = [
        (f"{machine}/{split}/{i:03d}.wav", machine, "00", "source", split)
        for machine, counts in machines.items()
        for split, count in counts.items()
        for i in range(count)
    ]
    clips = pd.DataFrame(rows, columns=["clip_id", "machine_type", "section", "domain", "split"])
    clips["is_anomaly"] = pd.array([pd.NA] * len(clips), dtype="boolean")
    return clips


@pytest.mark.parametrize("k", [1, 3])
def test_equals_scikit_learn(rng, k):
    bank, clips = rng.normal(size=(40, 8)), rng.normal(size=(15, 8)).astype(np.float32)
    backend = KNNBackend(k=k)
    backend.fit(bank)
    reference = NearestNeighbors(n_neighbors=k + 1, metric="cosine").fit(bank)
    expected = reference.kneighbors(clips, k)[0].mean(axis=1)
    np.testing.assert_allclose(backend.anomaly_score(clips), expected, atol=1e-12)


def test_a_training_clip_scores_zero_against_itself(rng):
    bank = rng.normal(size=(20, 5))
    backend = KNNBackend()
    backend.fit(bank)
    np.testing.assert_allclose(backend.anomaly_score(bank * 3), 0, atol=1e-15)


def test_tells_apart_clips_that_differ_in_the_last_float32_digits():
    bank = np.array([[1.0, 0.0]], np.float32)
    backend = KNNBackend()
    backend.fit(bank)
    near, far = backend.anomaly_score(np.array([[1.0, 1e-4], [1.0, 2e-4]], np.float32))
    assert far / near == pytest.approx(4, rel=1e-3)


def test_small_banks_use_what_they_have():
    backend = KNNBackend(k=5)
    backend.fit(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert backend.anomaly_score(np.array([[1.0, 0.0]])) == pytest.approx(0.5)
    backend.fit(np.array([[1.0, 0.0]]))
    assert backend.anomaly_score(np.array([[-1.0, 0.0]])) == pytest.approx(2.0)


def test_bad_banks_are_refused():
    with pytest.raises(InputError, match="k = 0"):
        KNNBackend(k=0)
    with pytest.raises(InputError, match="metric = 'manhattan'"):
        KNNBackend(metric="manhattan")
    backend = KNNBackend()
    with pytest.raises(InputError, match="no bank yet"):
        backend.anomaly_score(np.ones((1, 2)))
    with pytest.raises(InputError, match="bank is empty"):
        backend.fit(np.ones((0, 2)))
    with pytest.raises(InputError, match="Row 1 has length 0"):
        backend.fit(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(InputError, match="Row 0 has length nan"):
        backend.fit(np.array([[np.nan, 0.0]]))
    backend.fit(np.ones((2, 2)))
    with pytest.raises(InputError, match="3 values, the bank's have 2"):
        backend.anomaly_score(np.ones((1, 3)))


def test_machines_are_scored_by_their_own_bank_joined_by_name(rng):
    clips = make_clips({"fan": {"train": 6, "test": 4, "supplemental": 3}, "pump": {"train": 1}})
    embeddings = rng.normal(size=(len(clips), 4))
    table = score_machines(embeddings, clips["clip_id"], clips, system="knn", seed=1)
    assert "supplemental" not in set(table["split"])
    assert len(table) == 11
    fan = KNNBackend()
    fan.fit(embeddings[:6])
    own = embeddings[:6]
    held_out = held_out_scores(KNNBackend, own, np.array(["source"] * 6))
    np.testing.assert_allclose(table["anomaly_score"][:6], held_out)
    np.testing.assert_allclose(table["anomaly_score"][6:10], fan.anomaly_score(embeddings[6:10]))
    assert np.isnan(table["anomaly_score"].iloc[10])
    order = rng.permutation(len(clips))
    shuffled = score_machines(
        embeddings[order], clips["clip_id"].to_numpy()[order], clips, system="knn", seed=1
    )
    pd.testing.assert_frame_equal(shuffled, table)
    assert table["seed"].eq(1).all()


def test_a_backend_with_two_methods_is_enough(rng):
    class DistanceToMean:
        def __init__(self, metric):
            assert metric == "cosine"

        def fit(self, embeddings, *, domains=None):
            assert len(domains) == len(embeddings)
            self.mean = embeddings.mean(axis=0)

        def anomaly_score(self, embeddings):
            return np.linalg.norm(embeddings - self.mean, axis=1)

    clips = make_clips({"fan": {"train": 4, "test": 2}, "pump": {"train": 1, "test": 1}})
    embeddings = rng.normal(size=(len(clips), 3))
    table = score_machines(
        embeddings, clips["clip_id"], clips, system="mean", seed=None, make_backend=DistanceToMean
    )
    # Four clips in three parts: the first two are held out together.
    expected = np.linalg.norm(embeddings[0] - embeddings[2:4].mean(axis=0))
    assert table["anomaly_score"].iloc[0] == pytest.approx(expected)
    assert table["anomaly_score"].isna().sum() == 1
    assert table["seed"].isna().all()


def test_bad_joins_are_refused_by_name(rng):
    clips = make_clips({"fan": {"train": 2, "test": 1}})
    embeddings = rng.normal(size=(3, 4))
    ids = clips["clip_id"].to_numpy()
    with pytest.raises(InputError, match=r"fan/test/000.wav: has no embedding"):
        score_machines(embeddings[:2], ids[:2], clips, system="s", seed=0)
    with pytest.raises(InputError, match="one embedding per clip"):
        score_machines(embeddings, ids[[0, 0, 1]], clips, system="s", seed=0)
    with pytest.raises(InputError, match="one embedding per clip"):
        score_machines(embeddings[:2], ids, clips, system="s", seed=0)
    with pytest.raises(InputError, match="fan: has 1 test clips and no training clip"):
        score_machines(embeddings[2:], ids[2:], clips.iloc[2:], system="s", seed=0)
    embeddings[1] = 0
    with pytest.raises(InputError, match=r"fan/train/001.wav: its embedding is zero"):
        score_machines(embeddings, ids, clips, system="s", seed=0)


def test_time_average(rng):
    log_mel = rng.normal(-40, 10, (5, 3, 7)).astype(np.float16)
    expected = log_mel.astype(np.float64).mean(axis=2)
    np.testing.assert_allclose(time_average(log_mel), expected, rtol=1e-5)
    with pytest.raises(InputError, match="expected \\(n_clips, n_mels, n_frames\\)"):
        time_average(log_mel[0])


@pytest.mark.parametrize("n_clips", [1, 2, 5, 30])
def test_embedding_map_of_any_number_of_clips(rng, n_clips):
    rows = rng.normal(size=(n_clips, 6))
    plane = embedding_map(rows, seed=1)
    assert plane.shape == (n_clips, 2)
    assert np.isfinite(plane).all()
    np.testing.assert_array_equal(plane, embedding_map(rows, seed=1))


def test_embedding_map_keeps_groups_apart_and_survives_equal_clips(rng):
    rows = np.repeat(np.eye(2, 8), 20, axis=0) * 5 + rng.normal(size=(40, 8)) * 0.3
    plane = embedding_map(rows)
    gap = np.linalg.norm(plane[:20].mean(axis=0) - plane[20:].mean(axis=0))
    assert gap > 2 * plane[:20].std()
    assert np.isfinite(embedding_map(np.ones((40, 8)))).all()


def test_separate_classes_agree_and_shuffled_ones_do_not(rng):
    labels = np.repeat(["a", "b", "c", "d"], 50)
    centres = {"a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1], "d": [-1, 0, 0]}
    points = np.array([centres[name] for name in labels]) + 0.05 * rng.standard_normal((200, 3))
    table = neighbour_agreement(points, labels, ["fan"] * 200)
    assert table.loc[0, "agreement"] == 1.0
    assert table.loc[0, "agreement_shuffled"] < 0.4
    assert table.loc[0, "n_classes"] == 4


def test_a_neighbour_is_never_of_another_machine_and_single_clips_are_left_out():
    points = np.array([[1.0, 0.0], [1.0, 0.01], [1.0, 0.0], [0.0, 1.0]])
    table = neighbour_agreement(points, ["x", "x", "y", "z"], ["fan", "fan", "pump", "saw"])
    assert table["machine_type"].tolist() == ["fan"]
    assert table.loc[0, "agreement"] == 1.0
