"""Fusion and the final system: known answers."""

import numpy as np
import pandas as pd
import pytest

from asdlib import scoring
from asdlib.base import InputError


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


def test_fusion_averages_bounded_scores_in_units_of_training_scatter(rng):
    clips = clip_table()
    first, second = rng.normal(3, 2, len(clips)), rng.normal(-50, 10, len(clips))
    is_train = clips["split"].eq("train").to_numpy()
    fused = scoring.fuse([scores_of(clips, first), scores_of(clips, second)], system="f", seed=None)
    expected = np.zeros(len(clips))
    for score in (first, second):
        scatter = max(score[is_train].std(), 0.05 * abs(score[is_train].mean()))
        z = (score - score[is_train].mean()) / scatter
        expected += np.where(z < 0, -0.25, 1.0) * np.log(1 + np.abs(z)) / 2
    np.testing.assert_allclose(fused["anomaly_score"], expected)
    assert fused["system"].eq("f").all()
    assert fused["seed"].isna().all()


def test_one_view_cannot_outvote_the_others(rng):
    """A normal clip that one view puts 1000 scatters off stays below one that all put 8 off."""
    clips = clip_table(n_test=2)
    tables = []
    for view in range(4):
        score = rng.normal(0, 1, len(clips))
        score[-2:] = [1000.0 if view == 0 else 0.0, 8.0]
        tables.append(scores_of(clips, score))
    shouted, agreed = scoring.fuse(tables, system="f", seed=0)["anomaly_score"].to_numpy()[-2:]
    assert shouted < agreed


def test_what_one_view_hears_grossly_is_not_excused_by_being_usual_in_the_others(rng):
    """White noise instead of a fan: 52 scatters off in level, steadier than any training clip."""
    clips = clip_table(n_test=1)
    tables = []
    for heard in (52.2, -4.2, 5.0, -4.3, -3.2, 0.4, -2.8):
        score = rng.normal(0, 1, len(clips))
        score[-1] = heard
        tables.append(scores_of(clips, score))
    fused = scoring.fuse(tables, system="f", seed=0)["anomaly_score"].to_numpy()
    assert fused[-1] > np.quantile(fused[:-1], 0.9)


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
    views = {"lines": (ids, deaf), "spectrum": (ids, keen)}
    tables = scoring.score_views(views, clips, neighbours=2, seed=3)
    assert list(tables) == ["lines", "spectrum"]
    fused = scoring.fuse(list(tables.values()), system="final", seed=3)
    metrics = scoring.evaluate(fused, n_bootstrap=0)
    hmean = metrics[metrics["metric"] == "hmean"]["value"].iloc[0]
    assert metrics["system"].eq("final").all()
    assert hmean > 0.9


@pytest.mark.parametrize("n_target", [0, 1, 4])
@pytest.mark.parametrize("n_source", [1, 2, 6])
def test_final_system_scores_every_test_clip_of_tiny_machines(rng, n_source, n_target):
    clips = clip_table(n_source, n_target)
    view = (clips["clip_id"].tolist(), rng.normal(size=(len(clips), 4)))
    tables = scoring.score_views({"lines": view, "spectrum": view}, clips, neighbours=2, seed=None)
    final = scoring.fuse(list(tables.values()), system="final", seed=None)
    assert final.loc[final["split"] == "test", "anomaly_score"].notna().all()


def test_standardised_views_hear_a_quiet_value_beside_loud_ones(rng):
    """A value of small scatter that leaves it counts, whatever the others' level and scatter."""
    clips = clip_table(n_source=40, n_target=10, n_test=40)
    rows = rng.normal(-60, 1, (len(clips), 6)) * [1, 1, 1, 5, 5, 5]
    rows[clips["is_anomaly"].to_numpy(bool), 0] += 6
    tables = scoring.score_views(
        {"spectrum": (clips["clip_id"].tolist(), rows)}, clips, neighbours=2, seed=None
    )
    metrics = scoring.evaluate(tables["spectrum"], n_bootstrap=0)
    assert metrics[metrics["metric"] == "hmean"]["value"].iloc[0] > 0.9


def test_a_trained_view_is_calibrated_on_clips_that_it_did_not_learn_from(rng):
    clips = clip_table(n_source=20, n_target=0, n_test=4)
    rows = rng.normal(size=(24, 5)) + 3
    rows[:15] = rows[0] + 1e-3 * rows[:15]  # learnt by heart
    view = (clips["clip_id"].tolist(), rows)
    learnt = clips["clip_id"][:15]
    table = scoring.score_views({"embedding": view}, clips, neighbours=1, seed=0, learnt=learnt)
    known = table["embedding"]["anomaly_score"].notna()
    assert known.tolist() == [False] * 15 + [True] * 9
    # Without other clips there is nothing better than what it says of its own.
    table = scoring.score_views(
        {"embedding": view}, clips, neighbours=1, seed=0, learnt=clips["clip_id"][:18]
    )
    assert table["embedding"]["anomaly_score"].notna().all()
