import numpy as np
import pandas as pd
import pytest
from scipy import stats

from asdlib.base import InputError
from asdlib.scoring import (
    SCORE_COLUMNS,
    conformal_threshold,
    decide,
    false_alarms,
    read_submission,
    write_submission,
)


@pytest.fixture
def scores(rng):
    rows = [
        (
            f"{machine}/{split}/section_00_{i:04d}.wav",
            machine,
            "00",
            "source",
            split,
            False if split == "train" else pd.NA,
            rng.gamma(3.0),
            pd.NA,
            "knn",
            0,
        )
        for machine in ("fan", "ToyCar_2")
        for split, count in (("train", 50), ("test", 12))
        for i in reversed(range(count))
    ]
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


@pytest.mark.parametrize("n_train", [9, 19, 60])
@pytest.mark.parametrize("draw", ["gamma", "cauchy"])
def test_a_conformal_threshold_keeps_its_promise_for_any_distribution(rng, n_train, draw):
    sample = rng.gamma(3.0, size=(4000, n_train + 1))
    if draw == "cauchy":
        sample = rng.standard_cauchy((4000, n_train + 1))
    rang = [row[-1] > conformal_threshold(row[:-1])[0] for row in sample]
    # Exactly 1 - ceil((n + 1) 0.9) / (n + 1), give or take three binomial standard deviations.
    expected = 1 - np.ceil((n_train + 1) * 0.9 - 1e-9) / (n_train + 1)
    assert np.mean(rang) == pytest.approx(expected, abs=3 * np.sqrt(0.09 / 4000))
    assert expected <= 0.1 + 1e-9


def test_thresholds_that_promise_nothing_say_so():
    assert conformal_threshold([1.0, 3.0, 2.0]) == (3.0, "3 clips cannot promise it, 9 could")
    assert conformal_threshold(np.arange(9)) == (8.0, "")
    threshold, reason = conformal_threshold([np.nan])
    assert np.isnan(threshold)
    assert reason == "no training clip has a score"
    with pytest.raises(InputError, match="false_alarm_rate = 10"):
        conformal_threshold([1.0], false_alarm_rate=10)


def test_the_promise_holds_in_the_domain_that_scores_higher(scores):
    fan = scores["machine_type"] == "fan"
    target = fan & (scores["split"] == "train") & (np.arange(len(scores)) % 2 == 0)
    scores.loc[target, "domain"] = "target"
    scores.loc[target, "anomaly_score"] += 100
    decided, thresholds = decide(scores)
    thresholds = thresholds.set_index("machine_type")
    assert thresholds.loc["fan", "threshold"] > 100
    # Whoever knows one domain alone cannot promise anything of another.
    said = "no second session is told: in a new one more may ring"
    one = f"one domain: it says nothing of changed conditions; {said}"
    assert thresholds["reason"].to_dict() == {"fan": said, "ToyCar_2": one}
    rang = decided.loc[target, "is_decided_anomalous"].astype(bool)
    assert rang.mean() <= 0.1


def test_sessions_too_few_for_a_promise_are_named_domain_by_domain(scores):
    # One clip in two is of the target; each domain's sessions can be left out, or are one.
    domain = np.where(np.arange(len(scores)) % 2 == 0, "target", "source")
    clips = scores[["clip_id", "machine_type", "split"]].assign(domain=domain)
    number = np.arange(len(scores)) // 2

    def said(n_source, n_target, rate=0.1):
        of = np.where(domain == "target", number % n_target, number % n_source)
        table = scores.assign(domain=domain)
        told = clips.assign(session=pd.Series(of, clips.index).astype("string"))
        _, thresholds = decide(table, clips=told, false_alarm_rate=rate)
        return thresholds.set_index("machine_type").loc["fan", "reason"]

    of_sessions = "sessions cannot promise it of a new one, 9 could"
    unknown = "no second session is told: in a new one more may ring"
    assert said(9, 9) == ""
    assert said(9, 8) == f"target: 8 {of_sessions}"
    assert said(3, 1) == f"source: 3 {of_sessions}; target: {unknown}"
    assert said(1, 1) == unknown
    assert said(3, 3, rate=0.25) == ""


def test_promised_and_met_false_alarms(scores):
    decided, thresholds = decide(scores)
    test = decided["split"] == "test"
    decided.loc[test, "is_anomaly"] = False
    met = false_alarms(decided, thresholds)
    assert met["n_normal"].tolist() == [12, 12]
    assert met["promised"].eq(0.1).all()
    for row in met.itertuples():
        own = decided[test & (decided["machine_type"] == row.machine_type)]
        assert row.met == pytest.approx(own["is_decided_anomalous"].astype(bool).mean())
        interval = stats.binomtest(round(row.met * 12), 12).proportion_ci()
        assert (row.met_low, row.met_high) == pytest.approx((interval.low, interval.high))
    decided.loc[test, "is_anomaly"] = pd.NA
    assert false_alarms(decided, thresholds).empty


def test_decisions_compare_with_the_machines_own_threshold(scores):
    scores.loc[scores["machine_type"] == "fan", "anomaly_score"] *= 1000
    decided, thresholds = decide(scores)
    assert thresholds["n_train"].tolist() == [50, 50]
    for row in thresholds.itertuples():
        of_machine = decided[decided["machine_type"] == row.machine_type]
        above = of_machine["anomaly_score"] > row.threshold
        assert of_machine["is_decided_anomalous"].eq(above).all()
        assert above[of_machine["split"] == "train"].mean() == pytest.approx(0.1, abs=0.1)


def test_a_machine_without_training_scores_gets_no_decision(scores):
    no_train = (scores["machine_type"] == "fan") & (scores["split"] == "train")
    scores.loc[no_train, "anomaly_score"] = np.nan
    decided, thresholds = decide(scores)
    reasons = thresholds.set_index("machine_type")["reason"]
    assert reasons["fan"] == "no training clip has a score"
    is_empty = decided["is_decided_anomalous"].isna()
    assert is_empty.eq(decided["machine_type"] == "fan").all()


def test_submission_is_read_back_as_written(scores, tmp_path):
    decided, _ = decide(scores)
    paths = write_submission(decided, tmp_path / "submission")
    assert sorted(path.name for path in paths) == [
        "anomaly_score_ToyCar_2_section_00_test.csv",
        "anomaly_score_fan_section_00_test.csv",
        "decision_result_ToyCar_2_section_00_test.csv",
        "decision_result_fan_section_00_test.csv",
    ]
    first = (tmp_path / "submission" / "anomaly_score_fan_section_00_test.csv").read_text()
    assert first.startswith("section_00_0000.wav,")
    assert len(first.splitlines()) == 12
    decisions = (tmp_path / "submission" / "decision_result_fan_section_00_test.csv").read_text()
    assert {line.split(",")[1] for line in decisions.splitlines()} <= {"0", "1"}
    read = read_submission(tmp_path / "submission")
    columns = ["clip_id", "machine_type", "section", "anomaly_score", "is_decided_anomalous"]
    expected = decided[decided["split"] == "test"].sort_values("clip_id")[columns]
    read = read.sort_values("clip_id")[columns]
    pd.testing.assert_frame_equal(
        read.reset_index(drop=True), expected.reset_index(drop=True), check_dtype=False
    )
    assert (read["anomaly_score"].to_numpy() == expected["anomaly_score"].to_numpy()).all()


def test_submission_folder_holds_one_submission(scores, tmp_path):
    (tmp_path / "notes.csv").write_text("mine")
    (tmp_path / "anomaly_score_valve_section_00_test.csv").write_text("a.wav,1\n")
    write_submission(scores, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "anomaly_score_ToyCar_2_section_00_test.csv",
        "anomaly_score_fan_section_00_test.csv",
        "notes.csv",
    ]
    two = pd.concat([scores, scores.assign(seed=1)])
    with pytest.raises(InputError, match="2 systems and seeds"):
        write_submission(two, tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other.csv", "a.wav,1\n", "holds no anomaly_score"),
        ("anomaly_score_<b>_section_00_test.csv", "a.wav,1\n", "<b>.*expected anomaly_score_<mach"),
        ("anomaly_score_fan_section_x_test.csv", "a.wav,1\n", "expected anomaly_score_<machine>"),
        ("anomaly_score_fan_section_00_test.csv", "file,value\na.wav,1\n", "line 1: expected"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav\n", "line 1: expected file,value"),
        (
            "anomaly_score_fan_section_00_test.csv",
            "a.wav,0.5\nsection_00_0000.wav,1,9\n",
            r"test\.csv, line 2: .*with a decimal point, found 'section_00_0000\.wav,1,9'",
        ),
        ("anomaly_score_fan_section_00_test.csv", "a.wav;1,9\n", "line 1: .*found 'a.wav;1,9'"),
        ("anomaly_score_fan_section_00_test.csv", 'a.wav,"1,9"\n', "line 1: expected file,value"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav,1_0\n", "line 1: expected file,value"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav,\n", "line 1: expected file,value"),
        ("anomaly_score_fan_section_00_test.csv", "", "is empty"),
        ("anomaly_score_fan_section_00_test.csv", "a.wav,1\na.wav,2\n", "a.wav more than once"),
    ],
)
def test_bad_submissions_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_submission(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("b.wav,1\n", "same files"), ("a.wav,2\n", "decisions 0 or 1")],
)
def test_decisions_must_match_the_scores(tmp_path, text, message):
    (tmp_path / "anomaly_score_fan_section_00_test.csv").write_text("a.wav,0.5\n")
    (tmp_path / "decision_result_fan_section_00_test.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_submission(tmp_path)
