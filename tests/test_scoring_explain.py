"""Explanations of scores: neighbours, differences, place among the training scores."""

import numpy as np
import pandas as pd
import pytest

from asdlib.errors import InputError
from asdlib.scoring import explain, extreme_clips, score_machines

N_MELS, N_FRAMES = 4, 40


def clip_table():
    rows = [
        (f"{machine}/{split}/{i}.wav", machine, "00", split, "target" if i == 0 else "source",
         i == 2 if split == "test" else False)
        for machine in ("pump", "saw")
        for split, count in (("train", 5), ("test", 3))
        for i in range(count)
    ]  # fmt: skip
    columns = ["clip_id", "machine_type", "section", "split", "domain", "is_anomaly"]
    return pd.DataFrame(rows, columns=columns).astype({"is_anomaly": "boolean"})


@pytest.fixture
def world(rng):
    """Scores, embeddings and features, the last two in orders of their own."""
    clips = clip_table()
    embeddings = rng.standard_normal((len(clips), 6))
    scores = score_machines(embeddings, clips["clip_id"], clips, system="knn", seed=0)
    order, other = rng.permutation(len(clips)), rng.permutation(len(clips))
    log_mel = rng.normal(-40, 5, (len(clips), N_MELS, N_FRAMES)).astype(np.float16)
    return scores, {
        "embeddings": embeddings[order],
        "embedding_ids": clips["clip_id"].to_numpy()[order].tolist(),
        "log_mel": log_mel[other],
        "log_mel_ids": clips["clip_id"].to_numpy()[other].tolist(),
    }


def vector(given, clip_id):
    return given["embeddings"][given["embedding_ids"].index(clip_id)]


def level(given, clip_id):
    return given["log_mel"][given["log_mel_ids"].index(clip_id)].astype(float)


def test_neighbours_are_the_nearest_training_clips_of_the_machine(world):
    scores, given = world
    found = explain("saw/test/1.wav", scores, **given, n_neighbours=3).neighbours
    own = vector(given, "saw/test/1.wav")
    distance = {}
    for i in range(5):
        name = f"saw/train/{i}.wav"
        other = vector(given, name)
        cosine = own @ other / np.sqrt(own @ own) / np.sqrt(other @ other)
        distance[name] = 1 - cosine
    expected = sorted(distance, key=distance.get)[:3]
    assert found["clip_id"].tolist() == expected
    assert found["distance"].to_numpy() == pytest.approx([distance[name] for name in expected])
    score = scores.set_index("clip_id").loc["saw/test/1.wav", "anomaly_score"]
    assert found["distance"][0] == pytest.approx(score)  # 1-NN: the distance is the score


def test_percentile_counts_the_training_scores_below(world):
    scores, given = world
    scores = scores.copy()
    train = scores["clip_id"].str.startswith("saw/train")
    scores.loc[train, "anomaly_score"] = [1.0, 2.0, 3.0, 4.0, np.nan]
    scores.loc[scores["clip_id"] == "saw/test/0.wav", "anomaly_score"] = 3.5
    found = explain("saw/test/0.wav", scores, **given)
    assert found.percentile == 75.0
    assert found.training_scores.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert (found.domain, found.condition) == ("target", "normal")


def test_a_training_clip_is_not_explained_by_itself(world):
    scores, given = world
    found = explain("saw/train/2.wav", scores, **given, n_neighbours=99)
    assert sorted(found.neighbours["clip_id"]) == [f"saw/train/{i}.wav" for i in (0, 1, 3, 4)]
    assert len(found.training_scores) == 4


def test_a_delayed_neighbour_differs_in_nothing(world):
    scores, given = world
    own = level(given, "saw/test/1.wav")
    for i in range(5):
        given["log_mel"][given["log_mel_ids"].index(f"saw/train/{i}.wav")] = np.roll(own, 7 * i, 1)
    found = explain("saw/test/1.wav", scores, **given)
    assert np.abs(found.difference).max() < 1e-9


def test_difference_is_clip_less_neighbours(world):
    scores, given = world
    own = level(given, "saw/test/1.wav")
    for i in range(5):
        louder = own.copy()
        louder[2] += 3.0 + i  # neighbours louder in one band, by 5 dB on average
        given["log_mel"][given["log_mel_ids"].index(f"saw/train/{i}.wav")] = louder
    found = explain("saw/test/1.wav", scores, **given, n_neighbours=5)
    assert found.band_difference == pytest.approx([0, 0, -5, 0], abs=0.05)
    assert found.normal_log_mel.shape == found.log_mel.shape == (N_MELS, N_FRAMES)


def test_strongest_stretch_lies_where_it_was_put(world):
    scores, given = world
    own = level(given, "saw/test/1.wav")
    for i in range(5):
        given["log_mel"][given["log_mel_ids"].index(f"saw/train/{i}.wav")] = own
    given["log_mel"][given["log_mel_ids"].index("saw/test/1.wav")][:, 20:25] -= 30
    found = explain("saw/test/1.wav", scores, **given)
    assert found.strongest_stretch(5) == (20, 25)
    assert found.strongest_stretch(1000) == (0, N_FRAMES)


def test_extreme_clips_of_every_machine(world):
    scores, _ = world
    test = scores["split"] == "test"
    scores.loc[test, "anomaly_score"] = [0.2, 0.9, 0.5, 0.3, 0.1, 0.3]
    found = extreme_clips(scores)
    assert found.to_numpy().tolist() == [
        ["pump", "pump/test/1.wav"], ["pump", "pump/test/0.wav"],
        ["saw", "saw/test/0.wav"], ["saw", "saw/test/1.wav"],
    ]  # fmt: skip
    single = scores[~test | scores["clip_id"].eq("saw/test/2.wav")]
    assert extreme_clips(single).to_numpy().tolist() == [["saw", "saw/test/2.wav"]]


@pytest.mark.parametrize(
    ("clip_id", "change", "message"),
    [
        ("saw/test/9.wav", {}, "saw/test/9.wav: has no score"),
        ("saw/test/1.wav", {"embedding_ids": [f"x{i}" for i in range(16)]}, "has no embedding"),
        ("saw/test/1.wav", {"log_mel_ids": [f"x{i}" for i in range(16)]}, "has no features"),
        ("saw/test/1.wav", {"n_neighbours": 0}, "n_neighbours=0"),
    ],
)
def test_what_is_missing_is_named(world, clip_id, change, message):
    scores, given = world
    with pytest.raises(InputError, match=message):
        explain(clip_id, scores, **{**given, **change})


def test_one_system_and_one_seed_are_asked_for(world):
    scores, given = world
    with pytest.raises(InputError, match="holds 2 systems and seeds"):
        extreme_clips(pd.concat([scores, scores.assign(seed=1)]))
    alone = scores[(scores["split"] == "test") | (scores["machine_type"] == "pump")]
    with pytest.raises(InputError, match="saw: has no training clip"):
        explain("saw/test/1.wav", alone, **given)


def test_floors_below_a_high_pass_do_not_differ(world):
    scores, given = world
    given["log_mel"] = given["log_mel"].astype(np.float64)
    # Each clip is cut off 80 dB below its own loudest cell, in the two lowest bands.
    given["log_mel"][:, :2] = given["log_mel"].max(axis=(1, 2), keepdims=True) - 80
    found = explain("saw/test/1.wav", scores, **given, n_neighbours=3)
    assert (found.difference[:2] == 0).all()
    assert (found.difference[2:] != 0).all()
