"""Fusion, the final system and the choice of neighbours: known answers."""

import numpy as np
import pandas as pd
import pytest

from asdlib import scoring
from asdlib.errors import InputError
from asdlib.scoring.selection import SELECTION_COLUMNS


def clip_table(n_source=12, n_target=4, n_test=6, machine_type="fan"):
    names = [f"source_{i}" for i in range(n_source)] + [f"target_{i}" for i in range(n_target)]
    rows = [(f"{machine_type}/train/{name}.wav", "train", name[:6], False) for name in names]
    rows += [
        (f"{machine_type}/test/{i}.wav", "test", "source" if i % 2 else "target", i >= n_test // 2)
        for i in range(n_test)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "split", "domain", "is_anomaly"])
    table["is_anomaly"] = table["is_anomaly"].astype("boolean")
    return table.assign(machine_type=machine_type, section="00")


def scores_of(clips, score, system="a"):
    columns = ["clip_id", "machine_type", "section", "domain", "split", "is_anomaly"]
    table = clips[columns].assign(anomaly_score=score, system=system)
    table["is_decided_anomalous"] = pd.array([pd.NA] * len(table), dtype="boolean")
    table["seed"] = pd.array([0] * len(table), dtype="Int64")
    return table


def test_fusion_averages_in_units_of_training_scatter(rng):
    clips = clip_table()
    first, second = rng.normal(3, 2, len(clips)), rng.normal(-50, 10, len(clips))
    is_train = clips["split"].eq("train").to_numpy()
    fused = scoring.fuse([scores_of(clips, first), scores_of(clips, second)], system="f", seed=None)
    expected = np.zeros(len(clips))
    for score in (first, second):
        scatter = max(score[is_train].std(), 0.05 * abs(score[is_train].mean()))
        expected += (score - score[is_train].mean()) / scatter / 2
    np.testing.assert_allclose(fused["anomaly_score"], expected)
    assert fused["system"].eq("f").all()
    assert fused["seed"].isna().all()


def test_fusion_joins_by_name_and_is_blind_to_affine_changes(rng):
    clips = clip_table()
    score = rng.normal(0, 1, len(clips))
    one = scores_of(clips, score)
    other = scores_of(clips, 100 * score).sample(frac=1, random_state=1)
    alone = scoring.fuse([one], system="f", seed=0)
    both = scoring.fuse([one, other], system="f", seed=0)
    np.testing.assert_allclose(both["anomaly_score"], alone["anomaly_score"])


def test_fusing_other_clips_is_refused(rng):
    one, other = clip_table(), clip_table(n_test=8)
    with pytest.raises(InputError, match="not of the same clips"):
        scoring.fuse(
            [scores_of(one, np.zeros(len(one))), scores_of(other, np.zeros(len(other)), "b")],
            system="f",
            seed=0,
        )
    with pytest.raises(InputError, match="nothing to fuse"):
        scoring.fuse([], system="f", seed=0)


def test_final_system_hears_what_one_of_its_views_hears(rng):
    clips = clip_table(n_source=40, n_target=10, n_test=40)
    ids = clips["clip_id"].tolist()
    deaf = rng.normal(5, 1, (len(clips), 10))
    keen = deaf.copy()
    keen[clips["is_anomaly"].to_numpy(bool), 0] += 30
    neighbours = dict.fromkeys(scoring.FINAL_BACKENDS, 2)
    tables = scoring.score_views(
        {"deaf": (ids, deaf), "keen": (ids, keen)}, clips, neighbours=neighbours, seed=3
    )
    assert list(tables) == ["deaf", "keen"]
    metrics = scoring.evaluate(scoring.score_final(tables, seed=3), n_bootstrap=0)
    hmean = metrics[metrics["metric"] == "hmean"]["value"].iloc[0]
    assert metrics["system"].eq("final").all()
    assert hmean > 0.9


@pytest.mark.parametrize("n_target", [0, 1, 4])
@pytest.mark.parametrize("n_source", [1, 2, 6])
def test_final_system_scores_every_test_clip_of_tiny_machines(rng, n_source, n_target):
    clips = clip_table(n_source, n_target)
    view = (clips["clip_id"].tolist(), rng.normal(size=(len(clips), 4)))
    neighbours = dict.fromkeys(scoring.FINAL_BACKENDS, 2)
    tables = scoring.score_views({"v": view}, clips, neighbours=neighbours, seed=None)
    final = scoring.score_final(tables, seed=None)
    assert final.loc[final["split"] == "test", "anomaly_score"].notna().all()


def states(rng, *, noise):
    """Three source states and one target state: directions of their own, blurred by noise."""
    attribute = np.repeat(["a", "b", "c", "d"], [15, 15, 15, 5])
    domain = np.repeat(["source", "target"], [45, 5])
    direction = {"a": 0, "b": 1, "c": 2, "d": 3}
    values = np.eye(6)[[direction[name] for name in attribute]] * 3 + 2
    values = values + noise * rng.normal(size=values.shape)
    training = pd.DataFrame({"machine_type": "fan", "domain": domain, "attribute": attribute})
    return values, training


def test_unheard_states_are_found_where_the_profile_shows_them(rng):
    candidates = [("knn", 1), ("local_density", 2)]
    clear, training = states(rng, noise=0.1)
    table = scoring.held_out_states({"p": clear}, training, candidates=candidates)
    assert list(table.columns) == SELECTION_COLUMNS
    assert table["n_states"].eq(3).all()
    assert table["hmean"].gt(0.95).all()
    blurred, training = states(rng, noise=100.0)
    table = scoring.held_out_states({"p": blurred}, training, candidates=candidates)
    assert table["auc_source"].between(0.3, 0.7).all()


def test_the_choice_takes_the_best_neighbours_and_says_why(rng):
    table = pd.DataFrame(
        {
            "backend": ["knn"] * 4,
            "neighbours": [1, 2, 1, 2],
            "machine_type": ["fan", "fan", "pump", "pump"],
            "hmean": [0.6, 0.5, 0.6, 0.8],
        }
    )
    assert scoring.choose_neighbours(table, "knn") == (
        2,
        "unheard states are told from normal clips best (1: 0.600, 2: 0.650)",
    )


def test_machines_of_one_state_leave_nothing_to_choose_by(rng):
    values, training = states(rng, noise=0.1)
    table = scoring.held_out_states(
        {"p": values}, training.assign(attribute=pd.NA), candidates=[("knn", 1)]
    )
    assert table.empty
    assert scoring.choose_neighbours(table, "knn")[0] == 2
