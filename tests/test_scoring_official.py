"""The organisers' table: by hand, against scikit-learn, and against what they published."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hmean
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from asdlib.base import InputError
from asdlib.challenge import reveal
from asdlib.data import read_eval_truth
from asdlib.scoring import (
    OFFICIAL_METRICS,
    evaluate,
    official_table,
    published_figures,
    read_submission,
)

GOLDEN = Path(__file__).parent / "golden" / "worked_example"


def make_scores(clips, *, machine_type="fan"):
    """Scores table from ``(domain, is_anomaly, score, decided)``."""
    table = pd.DataFrame(clips, columns=["domain", "is_anomaly", "anomaly_score", "decided"])
    table["clip_id"] = [f"{machine_type}/test/section_00_{i:04d}.wav" for i in range(len(table))]
    return table.rename(columns={"decided": "is_decided_anomalous"}).assign(
        machine_type=machine_type, section="00", split="test", system="x", seed=0
    )


def rows_of(table, machine_type="fan"):
    return table[table["machine_type"] == machine_type].set_index("row")[list(OFFICIAL_METRICS)]


@pytest.fixture
def worked():
    submission = read_submission(GOLDEN).assign(
        domain=pd.NA, is_anomaly=pd.NA, system="worked", seed=0
    )
    return reveal(submission, read_eval_truth(GOLDEN / "eval_data_list.csv"))


def test_the_worked_example(worked):
    table = official_table(worked)
    expected = pd.read_csv(GOLDEN / "expected.csv", dtype=str)
    assert table[["machine_type", "row"]].to_numpy().tolist() == (
        expected[["machine_type", "row"]].to_numpy().tolist()
    )
    for metric in OFFICIAL_METRICS:
        by_hand = [float(Fraction(x)) if isinstance(x, str) else np.nan for x in expected[metric]]
        assert table[metric].to_numpy() == pytest.approx(by_hand, abs=1e-12, nan_ok=True)


def test_our_metrics_give_the_same_official_score(worked):
    metrics = evaluate(worked, n_bootstrap=0)
    ours = metrics.loc[metrics["metric"] == "official_score", "value"].item()
    assert ours == pytest.approx(4485 / 6341, abs=1e-12)


# Few distinct scores, so that ties are the rule; down to one clip a cell; constant scores.
CELL = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=80, deadline=None)
@given(st.tuples(CELL, CELL, CELL, CELL))
def test_equals_scikit_learn_and_scipy(cells):
    kinds = [("source", False), ("source", True), ("target", False), ("target", True)]
    clips = [(*kind, *clip) for kind, cell in zip(kinds, cells, strict=True) for clip in cell]
    table = rows_of(official_table(make_scores(clips)))
    domain = np.array([clip[0] for clip in clips])
    truth, score, decided = (np.array([clip[i] for clip in clips]) for i in (1, 2, 3))
    expected = {}
    for name in ("source", "target"):
        own = domain == name
        pair = (truth[own], decided[own])
        expected[name] = [
            roc_auc_score(truth[own | truth], score[own | truth]),
            roc_auc_score(truth, score, max_fpr=0.1),
            precision_score(*pair, zero_division=0),
            recall_score(*pair, zero_division=0),
            f1_score(*pair, zero_division=0),
        ]
        assert table.loc[name].to_numpy() == pytest.approx(expected[name], abs=1e-12)
    both = np.array([expected["source"], expected["target"]])
    harmonic = hmean(np.maximum(both, np.finfo(float).eps), axis=0)
    assert table.loc["harmonic mean"].to_numpy() == pytest.approx(harmonic, abs=1e-12)
    assert table.loc["arithmetic mean"].to_numpy() == pytest.approx(both.mean(axis=0), abs=1e-12)


def test_decisions_as_the_organisers_document_them():
    """ToyDrone of the 2026 baseline: counts chosen to give its precision and recall."""
    counts = {"source": (24, 17), "target": (43, 39)}  # hits, false alarms; 50 clips of each kind
    clips = []
    for domain, (hits, false_alarms) in counts.items():
        clips += [(domain, True, 0.0, i < hits) for i in range(50)]
        clips += [(domain, False, 0.0, i < false_alarms) for i in range(50)]
    table = rows_of(official_table(make_scores(clips)))
    documented = {
        "source": (0.5853658536585366, 0.48, 0.5274725274725274),
        "target": (0.524390243902439, 0.86, 0.6515151515151516),
        "arithmetic mean": (0.5548780487804879, 0.67, 0.5894938394938395),
        "harmonic mean": (0.5532028946663093, 0.6161194029850746, 0.582968507272984),
    }
    for row, values in documented.items():
        found = table.loc[row, ["precision", "recall", "f1"]].to_numpy(dtype=float)
        assert found == pytest.approx(values, abs=1e-12)


@pytest.mark.parametrize(
    ("edition", "system", "source", "target", "partial", "official"),
    [
        ("dcase2023", "baseline MSE", 0.7423495, 0.5253827, 0.5517420, 0.5925469),
        ("dcase2023", "baseline Mahalanobis", 0.7871141, 0.5309086, 0.5682103, 0.6105082),
        ("dcase2024", "baseline MSE", 0.7150555, 0.5057977, 0.5172271, 0.5650830),
        ("dcase2024", "baseline Mahalanobis", 0.6718222, 0.5144113, 0.5324024, 0.5648933),
        ("dcase2025", "baseline MSE", 0.6879822, 0.4495492, 0.5452967, 0.5442828),
        ("dcase2025", "baseline Mahalanobis", 0.7199339, 0.4788331, 0.5459161, 0.5650558),
        ("dcase2026", "baseline MSE", 0.6606243, 0.5732432, 0.5687314, 0.5980290),
        ("dcase2026", "baseline Mahalanobis", 0.6085642, 0.4985221, 0.5467371, 0.5476277),
    ],
)
def test_published_evaluation_cells_give_the_published_means(
    edition, system, source, target, partial, official
):
    table = published_figures(edition, ["eval"])
    means = table[(table["system"] == system) & (table["machine_type"] == "all")]
    found = means.set_index("metric")["value"]
    expected = {
        "auc_source": source, "auc_target": target, "pauc": partial, "official_score": official,
    }  # fmt: skip
    assert found.to_dict() == pytest.approx(expected, abs=1e-6)


def test_a_year_without_published_figures():
    assert published_figures("dcase2020", ["eval"]).empty


def test_without_decisions_the_areas_stand_alone():
    clips = [(domain, truth, i, None) for i, (domain, truth) in enumerate(
        [("source", False), ("source", True), ("target", False), ("target", True)])]  # fmt: skip
    table = rows_of(official_table(make_scores(clips)))
    assert table[["auc", "pauc"]].notna().all(axis=None)
    assert table[["precision", "recall", "f1"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(is_anomaly=pd.NA), "its domain or condition is unknown"),
        (lambda t: t.assign(is_anomaly=False), "fan: has no anomalous clips"),
        (lambda t: t[t["domain"] == "source"], "no normal clips of the domain target"),
        (lambda t: pd.concat([t, t.assign(seed=1)]), "2 systems and seeds"),
    ],
)
def test_what_gives_no_table_is_refused(worked, change, message):
    with pytest.raises(InputError, match=message):
        official_table(change(worked))


def test_the_result_folder_of_the_official_baseline(tmp_path):
    stem = "DCASE2025T2fan_section_00_test_seed13711_id(0_)_Eval.csv"
    (tmp_path / f"anomaly_score_{stem}").write_text("section_00_0000.wav,0.5\n")
    (tmp_path / f"decision_result_{stem}").write_text("section_00_0000.wav,1\n")
    (tmp_path / "result_DCASE2025T2fan_test_seed13711_id(0_)_Eval_roc.csv").write_text("x")
    found = read_submission(tmp_path).iloc[0]
    assert found["clip_id"] == "fan/test/section_00_0000.wav"
    assert found["is_decided_anomalous"]
    other = stem.replace("13711", "2")
    (tmp_path / f"anomaly_score_{other}").write_text("section_00_0000.wav,0.5\n")
    with pytest.raises(InputError, match="two score files of fan"):
        read_submission(tmp_path)
