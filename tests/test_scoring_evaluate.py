import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from asdlib.base import InputError
from asdlib.scoring import (
    METRIC_COLUMNS,
    evaluate,
    is_dcase2025_dev,
    mean_over_seeds,
    published_figures,
    read_scores,
    roc_curves,
    validate_scores,
)
from asdlib.scoring.official import MACHINES_2025_DEV


def make_scores(rng, cells, *, system="knn", seed=0, section="00"):
    """Scores of {machine: {(domain, is_anomaly): count}}; anomalies score one higher."""
    rows = [
        (
            f"{machine}/test/{section}_{domain}_{is_anomaly}_{i:04d}.wav",
            machine,
            section,
            domain,
            "test",
            is_anomaly,
            rng.normal() + bool(is_anomaly),
            pd.NA,
            system,
            seed,
        )
        for machine, counts in cells.items()
        for (domain, is_anomaly), count in counts.items()
        for i in range(count)
    ]
    columns = "clip_id machine_type section domain split is_anomaly anomaly_score"
    table = pd.DataFrame(rows, columns=[*columns.split(), "is_decided_anomalous", "system", "seed"])
    return table.astype({"is_anomaly": "boolean"})


FULL = {("source", False): 9, ("source", True): 8, ("target", False): 7, ("target", True): 6}
NO_TARGET = {("source", False): 6, ("source", True): 5}


def value(metrics, machine_type, metric, column="value"):
    row = metrics[(metrics["machine_type"] == machine_type) & (metrics["metric"] == metric)]
    assert len(row) == 1
    return row[column].iloc[0]


def test_a_worked_example_by_hand():
    rows = [  # domain, anomaly, score
        ("source", False, 1),
        ("source", False, 3),
        ("target", False, 4),
        ("target", False, 2),
        ("source", True, 5),
        ("source", True, 2),
        ("target", True, 3),
        ("target", True, 6),
    ]
    table = pd.DataFrame(rows, columns=["domain", "is_anomaly", "anomaly_score"])
    table = table.assign(
        clip_id=[f"fan/test/{i}.wav" for i in range(8)],
        machine_type="fan",
        section="00",
        split="test",
        is_decided_anomalous=pd.NA,
        system="knn",
        seed=0,
    )
    metrics = evaluate(table, n_bootstrap=0)
    # Source normals 1, 3 against 5, 2, 3, 6: 1 loses to all four; 3 to 5 and 6, ties with 3.
    assert value(metrics, "fan", "auc_source") == pytest.approx((4 + 2.5) / 8)
    # Target normals 4, 2 against the same: 4 loses to 5 and 6; 2 to 5, 3, 6, ties with 2.
    assert value(metrics, "fan", "auc_target") == pytest.approx((2 + 3.5) / 8)
    # Both: the highest normal is 4, two of four anomalies above: TPR 0.5 up to FPR 0.25.
    assert value(metrics, "fan", "pauc") == pytest.approx(0.5 * (1 + (0.05 - 0.005) / 0.095))
    cells = [6.5 / 8, 5.5 / 8, 0.5 * (1 + 0.045 / 0.095)]
    assert value(metrics, "fan", "hmean") == pytest.approx(3 / sum(1 / c for c in cells))
    assert value(metrics, "all", "official_score") == value(metrics, "fan", "hmean")
    assert value(metrics, "fan", "auc_source", "n_normal") == 2
    assert value(metrics, "fan", "auc_source", "n_anomaly") == 4
    assert value(metrics, "fan", "pauc", "n_normal") == 4
    assert metrics["ci_low"].isna().all()


def test_table_form_and_agreement_with_scikit_learn(rng):
    scores = make_scores(rng, {"fan": FULL, "valve": FULL})
    metrics = evaluate(scores, n_bootstrap=50)
    assert list(metrics.columns) == METRIC_COLUMNS
    assert metrics["metric"].tolist() == (
        ["auc_source", "auc_target", "pauc", "hmean"] * 2
        + ["auc_source", "auc_target", "pauc", "official_score"]
    )
    assert metrics["value"].between(0, 1).all()
    assert (metrics["ci_low"] <= metrics["value"]).all()
    assert (metrics["value"] <= metrics["ci_high"]).all()
    cells = []
    for machine in ("fan", "valve"):
        part = scores[scores["machine_type"] == machine]
        for domain in ("source", "target"):
            used = part[(part["domain"] == domain) | part["is_anomaly"]]
            cells.append(roc_auc_score(used["is_anomaly"].astype(bool), used["anomaly_score"]))
            assert value(metrics, machine, f"auc_{domain}") == pytest.approx(cells[-1])
        truth = part["is_anomaly"].astype(bool)
        cells.append(roc_auc_score(truth, part["anomaly_score"], max_fpr=0.1))
        assert value(metrics, machine, "pauc") == pytest.approx(cells[-1])
    official = len(cells) / sum(1 / cell for cell in cells)
    assert value(metrics, "all", "official_score") == pytest.approx(official)


@pytest.mark.parametrize(
    ("system", "official", "source", "target", "partial"),
    [
        ("report (Chu and Qian)", 0.6325, 0.6871, 0.6716, 0.5559),
        ("baseline MSE", 0.5626, 0.6678, 0.5139, 0.5294),
    ],
)
def test_published_cells_give_the_published_means(system, official, source, target, partial):
    table = published_figures("dcase2025", ["dev"])
    rows = table[(table["system"] == system) & (table["machine_type"] == "all")]
    values = rows.set_index("metric")["value"]
    assert values["official_score"] == pytest.approx(official, abs=6e-5)
    assert values["auc_source"] == pytest.approx(source, abs=6e-5)
    assert values["auc_target"] == pytest.approx(target, abs=6e-5)
    assert values["pauc"] == pytest.approx(partial, abs=6e-5)


def test_published_means_per_machine_are_those_of_the_cells():
    table = published_figures("dcase2025", ["dev"])
    report = table[(table["system"] == "report (Chu and Qian)") & (table["metric"] == "hmean")]
    published = [0.7311, 0.5694, 0.5711, 0.5302, 0.7367, 0.6174, 0.7524]
    np.testing.assert_allclose(report["value"], published, atol=6e-5)
    assert table["source"].str.len().gt(10).all()
    for _, rows in table.groupby("system"):
        means = rows[rows["metric"] == "hmean"]
        assert tuple(means["machine_type"]) == MACHINES_2025_DEV
        official = rows.loc[rows["metric"] == "official_score", "value"].item()
        # Harmonic mean of harmonic means over equal counts; others rounded theirs.
        assert 7 / (1 / means["value"]).sum() == pytest.approx(official, abs=2e-4)


def test_a_cell_that_cannot_be_computed_is_empty_with_its_reason(rng):
    scores = make_scores(rng, {"fan": NO_TARGET, "valve": FULL, "pump": {("source", False): 3}})
    metrics = evaluate(scores, n_bootstrap=20)
    assert np.isnan(value(metrics, "fan", "auc_target"))
    assert np.isnan(value(metrics, "fan", "auc_target", "ci_low"))
    assert value(metrics, "fan", "auc_target", "reason") == (
        "no normal test clips in the target domain"
    )
    assert value(metrics, "pump", "hmean", "reason").startswith("covers 0 of 3 cells; missing: ")
    assert value(metrics, "pump", "pauc", "reason") == "no anomalous test clips"
    assert np.isnan(value(metrics, "pump", "hmean"))
    reason = value(metrics, "all", "official_score", "reason")
    assert reason.startswith("covers 5 of 9 cells; missing: fan auc_target (no normal")
    cells = [value(metrics, "valve", name) for name in ("auc_source", "auc_target", "pauc")]
    cells += [value(metrics, "fan", name) for name in ("auc_source", "pauc")]
    expected = 5 / sum(1 / cell for cell in cells)
    assert value(metrics, "all", "official_score") == pytest.approx(expected)
    assert value(metrics, "all", "auc_target") == value(metrics, "valve", "auc_target")


def test_unlabelled_test_clips_give_empty_cells_and_partly_known_ones_a_remark(rng):
    scores = make_scores(rng, {"fan": FULL})
    unknown = scores.assign(is_anomaly=pd.NA, domain=pd.NA)
    metrics = evaluate(unknown, n_bootstrap=5)
    assert metrics["value"].isna().all()
    assert value(metrics, "fan", "pauc", "reason") == "condition of the test clips unknown"
    partly = scores.copy()
    partly.loc[0, "is_anomaly"] = pd.NA
    reason = value(evaluate(partly, n_bootstrap=5), "fan", "pauc", "reason")
    assert reason == "condition of 1 of 30 test clips unknown"
    no_domain = evaluate(scores.assign(domain=""), n_bootstrap=5)
    assert value(no_domain, "fan", "auc_source", "reason") == "domain of the test clips unknown"
    assert value(no_domain, "fan", "pauc") == value(evaluate(scores, n_bootstrap=5), "fan", "pauc")


def test_training_rows_are_ignored_and_a_machine_without_test_clips_is_named(rng):
    scores = make_scores(rng, {"fan": FULL})
    train = make_scores(rng, {"fan": NO_TARGET, "pump": NO_TARGET})
    train = train.assign(split="train", clip_id="train/" + train["clip_id"], anomaly_score=np.nan)
    metrics = evaluate(pd.concat([scores, train]), n_bootstrap=5)
    alone = evaluate(scores, n_bootstrap=5)
    assert value(metrics, "fan", "hmean") == value(alone, "fan", "hmean")
    assert value(metrics, "pump", "pauc", "reason") == "no test clips"


def test_sections_are_cells_of_their_own(rng):
    first = make_scores(rng, {"fan": FULL}, section="00")
    second = make_scores(rng, {"fan": FULL}, section="01")
    # Any mixture of the sections' scores would change their AUC; their harmonic mean does not.
    second["anomaly_score"] += 100
    both = evaluate(pd.concat([first, second]), n_bootstrap=5)
    cells = [value(evaluate(part, n_bootstrap=5), "fan", "pauc") for part in (first, second)]
    assert value(both, "fan", "pauc") == pytest.approx(2 / sum(1 / cell for cell in cells))
    assert value(both, "fan", "pauc", "n_normal") == 32
    official = value(both, "all", "official_score")
    assert official == pytest.approx(value(both, "fan", "hmean"))


def test_reads_its_own_csv_back_in_any_spelling_of_truth(rng, tmp_path):
    scores = make_scores(rng, {"fan": FULL, "pump": NO_TARGET}, seed=pd.NA)
    scores.loc[0, "is_anomaly"] = pd.NA
    expected = evaluate(scores, n_bootstrap=10)
    path = tmp_path / "scores.csv"
    scores.to_csv(path, index=False)
    pd.testing.assert_frame_equal(evaluate(pd.read_csv(path), n_bootstrap=10), expected)
    pd.testing.assert_frame_equal(evaluate(read_scores(path), n_bootstrap=10), expected)
    numbers = scores.assign(is_anomaly=scores["is_anomaly"].astype("Float64"), extra=1)
    pd.testing.assert_frame_equal(evaluate(numbers, n_bootstrap=10), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_row_order_other_machines_and_other_systems_change_nothing(seed):
    rng = np.random.default_rng(seed)
    fan = make_scores(rng, {"fan": FULL})
    more = make_scores(rng, {"valve": FULL})
    other = fan.assign(system="other", anomaly_score=-fan["anomaly_score"])
    together = pd.concat([other, more, fan]).sample(frac=1, random_state=seed)
    alone = evaluate(fan, n_bootstrap=20)
    mixed = evaluate(together, n_bootstrap=20)
    mixed = mixed[(mixed["system"] == "knn") & (mixed["machine_type"] == "fan")]
    pd.testing.assert_frame_equal(
        mixed.reset_index(drop=True), alone[alone["machine_type"] == "fan"].reset_index(drop=True)
    )


def test_perfect_separation_says_that_its_interval_is_a_point(rng):
    scores = make_scores(rng, {"fan": FULL})
    scores["anomaly_score"] = scores["is_anomaly"].astype(float)
    metrics = evaluate(scores, n_bootstrap=20)
    assert value(metrics, "all", "official_score") == pytest.approx(1.0)
    assert "no resample changes the value" in value(metrics, "fan", "auc_source", "reason")


def test_few_normal_clips_are_remarked_on_in_the_partial_auc(rng):
    metrics = evaluate(make_scores(rng, {"fan": NO_TARGET}), n_bootstrap=20)
    assert "only 6 normal clips" in value(metrics, "fan", "pauc", "reason")


def test_mean_over_seeds(rng):
    runs = [make_scores(rng, {"fan": FULL, "pump": NO_TARGET}, seed=seed) for seed in range(3)]
    metrics = evaluate(pd.concat(runs), n_bootstrap=20)
    mean = mean_over_seeds(metrics)
    values = metrics[(metrics["machine_type"] == "fan") & (metrics["metric"] == "pauc")]["value"]
    assert value(mean, "fan", "pauc") == pytest.approx(values.mean())
    assert value(mean, "fan", "pauc", "spread") == pytest.approx(values.std(ddof=1))
    assert value(mean, "fan", "pauc", "n_seeds") == 3
    assert np.isnan(value(mean, "pump", "auc_target"))
    assert "target domain" in value(mean, "pump", "auc_target", "reason")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["domain", "seed"]), "lacks domain, seed"),
        (lambda t: t.iloc[:0], "is empty"),
        (lambda t: t.replace({"split": {"test": "Test"}}), "split is 'Test'"),
        (lambda t: t.replace({"domain": {"source": "src"}}), "domain is 'src'"),
        (lambda t: t.assign(is_anomaly="yes"), "is_anomaly is 'yes'"),
        (lambda t: t.assign(machine_type="all"), "'all'"),
        (lambda t: t.assign(system=""), "system is empty"),
        (lambda t: t.assign(seed=0.5), "whole number"),
        (lambda t: t.assign(anomaly_score="high"), "anomaly_score is 'high'"),
        (lambda t: pd.concat([t, t.iloc[[4]]]), r"source_False_0004.wav: stands more than once"),
        (
            lambda t: t.assign(anomaly_score=t["anomaly_score"].where(t.index != 3)),
            r"source_False_0003.wav: anomaly_score is nan",
        ),
        (
            lambda t: t.assign(anomaly_score=t["anomaly_score"].where(t.index != 3, np.inf)),
            r"source_False_0003.wav: anomaly_score is inf",
        ),
    ],
)
def test_bad_tables_are_refused_by_name(rng, change, message):
    with pytest.raises(InputError, match=message):
        evaluate(change(make_scores(rng, {"fan": FULL})), n_bootstrap=5)


def test_bad_parameters_and_files_are_refused(rng, tmp_path):
    scores = make_scores(rng, {"fan": FULL})
    with pytest.raises(InputError, match="n_bootstrap = -1"):
        evaluate(scores, n_bootstrap=-1)
    with pytest.raises(InputError, match="confidence = 95"):
        evaluate(scores, confidence=95)
    with pytest.raises(InputError, match="max_fpr = 2"):
        evaluate(scores, max_fpr=2)
    with pytest.raises(InputError, match=r"absent\.csv: cannot be read"):
        read_scores(tmp_path / "absent.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"bad\.csv: The scores table lacks clip_id"):
        read_scores(tmp_path / "bad.csv")


def test_validation_brings_sections_to_two_digits(rng):
    scores = make_scores(rng, {"fan": NO_TARGET})
    for section in (0, 0.0, "0", "00"):
        assert validate_scores(scores.assign(section=section))["section"].eq("00").all()


def test_roc_curves_end_in_the_corners_and_hold_the_area(rng):
    scores = make_scores(rng, {"fan": FULL, "pump": NO_TARGET})
    curves = roc_curves(scores)
    metrics = evaluate(scores, n_bootstrap=0)
    assert set(curves.loc[curves["machine_type"] == "pump", "normal_domain"]) == {"source", "both"}
    for domain in ("source", "target"):
        points = curves[(curves["machine_type"] == "fan") & (curves["normal_domain"] == domain)]
        x, y = points["false_positive_rate"], points["true_positive_rate"]
        assert (x.iloc[0], y.iloc[0], x.iloc[-1], y.iloc[-1]) == (0, 0, 1, 1)
        assert np.trapezoid(y, x) == pytest.approx(value(metrics, "fan", f"auc_{domain}"))
    assert roc_curves(scores.assign(is_anomaly=pd.NA)).empty


def test_only_the_released_counts_are_the_2025_development_set():
    counts = {
        ("train", "source", False): 990,
        ("train", "target", False): 10,
        **{("test", d, a): 50 for d in ("source", "target") for a in (False, True)},
    }
    rows = [
        (machine, *key)
        for machine in ("fan", "bearing")
        for key, n in counts.items()
        for _ in range(n)
    ]
    clips = pd.DataFrame(rows, columns=["machine_type", "split", "domain", "is_anomaly"])
    clips["is_anomaly"] = clips["is_anomaly"].astype("boolean")
    assert is_dcase2025_dev(clips)
    assert not is_dcase2025_dev(clips.iloc[1:])
    assert not is_dcase2025_dev(clips.replace({"fan": "fanSim"}))
    assert not is_dcase2025_dev(clips.iloc[:0])


def test_memory_does_not_grow_with_the_resamples():
    """1,000 resamples of 20,000 clips once took 1.6 GB; a million clips are to take 300 MB."""
    n_clips = 20_000
    rng = np.random.default_rng(0)
    is_anomaly = rng.random(n_clips) < 0.3
    scores = pd.DataFrame({"clip_id": [f"fan/test/{i:06d}.wav" for i in range(n_clips)]}).assign(
        machine_type="fan", section="00", split="test", is_anomaly=is_anomaly, system="knn", seed=0,
        domain=np.where(rng.random(n_clips) < 0.1, "target", "source"),
        anomaly_score=rng.normal(size=n_clips) + is_anomaly,
    )  # fmt: skip
    tracemalloc.start()
    try:
        metrics = evaluate(scores, n_bootstrap=100)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert metrics["ci_low"].notna().all()
    # 300 bytes a clip, and blocks of resamples that are as large for any number of clips.
    assert peak_bytes < 300 * n_clips + 30e6
