"""Verdicts: threshold, percentile, what was heard and since when, flagged first."""

import pandas as pd
import pytest

from asdlib.base import InputError
from asdlib.report.tables import render_verdicts
from asdlib.scoring import (
    VERDICT_COLUMNS,
    contribution_table,
    decide,
    explained_clips,
    fuse,
    verdict_table,
    with_contributions,
)
from asdlib.scoring.decisions import verdict_count

#: Contributions of two views to the test clips of one machine, in the order of their names.
TEST = {"a": (0.1, -0.2), "b": (9.0, 3.0), "c": (7.0, 30.0), "d": (-1.0, -1.0), "e": (8.0, 2.0)}


def scores_of(system, values, *, machine="pump"):
    train = {f"{machine}/train/{i}": float(i % 5) / 4 - 0.5 for i in range(20)}
    test = {f"{machine}/test/{name}": value for name, value in values.items()}
    table = pd.DataFrame(
        {"clip_id": [*train, *test], "anomaly_score": [*train.values(), *test.values()]}
    )
    table["split"] = ["train"] * len(train) + ["test"] * len(test)
    return table.assign(
        machine_type=machine, section="00", domain="source", is_anomaly=pd.NA, system=system, seed=0
    ).astype({"is_anomaly": "boolean", "seed": "Int64"})


@pytest.fixture
def world():
    views = [scores_of(view, {name: both[i] for name, both in TEST.items()})
             for i, view in enumerate(("lines", "envelope"))]  # fmt: skip
    final, thresholds = decide(fuse(views, system="final", seed=0))
    clips = final[["clip_id", "machine_type"]].copy()
    return final, with_contributions(views), thresholds, clips


def test_a_verdict_says_how_sure_it_is_and_what_was_heard(world):
    table = verdict_table(*world)
    assert list(table) == VERDICT_COLUMNS
    assert table["clip_id"].str[-1].tolist() == ["c", "b", "e", "a", "d"]
    assert table["verdict"].tolist() == ["anomalous"] * 3 + ["normal"] * 2
    assert table["heard"].tolist() == ["envelope", "lines", "lines", "lines", ""]
    percentile = dict(zip(table["clip_id"].str[-1], table["percentile"], strict=True))
    assert percentile["b"] == 100.0
    assert percentile["d"] == 0.0
    assert 0.0 < percentile["a"] < 100.0
    assert (table["threshold"] == world[2]["threshold"].item()).all()
    assert table["reason"].eq("").all()


def test_contributions_add_up_to_the_score(world):
    final, views, _, _ = world
    mean = contribution_table(views).mean(axis=1).loc[final["clip_id"]]
    assert mean.to_numpy() == pytest.approx(final["anomaly_score"].to_numpy())


def test_since_follows_the_order_of_the_recordings(world):
    final, views, thresholds, clips = world
    by_name = verdict_table(final, views, thresholds, clips).set_index("clip_id")["since"]
    # b and c stand beside each other; d, which is normal, lies before e.
    assert by_name.to_dict() == {
        "pump/test/c": "pump/test/b", "pump/test/b": "pump/test/b", "pump/test/e": "pump/test/e",
        "pump/test/a": "", "pump/test/d": "",
    }  # fmt: skip
    names = clips["clip_id"].str[-1]
    dated = clips.assign(
        recorded_at=("2026-05-0" + names.map(dict(zip("adbec", "12345", strict=True))))
    )
    table = verdict_table(final, views, thresholds, dated.assign(recording="day.wav", start_s=2.5))
    assert table.set_index("clip_id")["since"]["pump/test/c"] == "2026-05-03"
    assert table["recording"].eq("day.wav").all()
    assert table["start_s"].eq(2.5).all()


def test_without_a_threshold_the_verdict_is_unknown(world):
    _, _, _, clips = world
    views = [scores_of(view, {"a": 1.0}) for view in ("lines", "envelope")]
    views = [view[view["split"].eq("test")] for view in views]
    final, thresholds = decide(fuse(views, system="final", seed=0))
    table = verdict_table(final, with_contributions(views), thresholds, clips)
    assert table[["verdict", "since"]].to_numpy().tolist() == [["unknown", ""]]
    assert table["percentile"].isna().all()


def test_other_systems_thresholds_are_refused(world):
    final, views, thresholds, clips = world
    with pytest.raises(InputError, match="no threshold of system 'final'"):
        verdict_table(final, views, thresholds.assign(system="knn"), clips)
    with pytest.raises(InputError, match="holds 2 systems and seeds"):
        verdict_table(pd.concat([final, final.assign(seed=1)]), views, thresholds, clips)


def test_flagged_clips_and_the_ends_of_each_machine_are_explained(world):
    table = verdict_table(*world)
    assert explained_clips(table, most=12)["clip_id"].str[-1].tolist() == ["c", "b", "e", "d"]
    assert explained_clips(table, most=2)["clip_id"].str[-1].tolist() == ["c", "b", "d"]
    assert explained_clips(table.iloc[:0], most=2).empty


def test_the_list_is_short_and_sums_up(world):
    table = verdict_table(*world)
    table["reason"] = "a tone at 1203 Hz"
    text = render_verdicts(table, most=2)
    lines = text.splitlines()
    assert sum(line.startswith("| pump") for line in lines) == 2
    assert lines[-1] == "3 of 5 clips of 1 machine are anomalous; the rest in verdicts.csv."
    assert "a tone at 1203 Hz" in lines[2]
    assert verdict_count(table, n_shown=5) == "3 of 5 clips of 1 machine are anomalous."
