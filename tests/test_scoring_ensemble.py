"""Ensembles of runs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import zscore

from asdlib.errors import InputError
from asdlib.scoring import SCORE_COLUMNS, ensemble, evaluate, validate_scores

N_TRAIN, N_TEST = 20, 60


def run(seed, rng, *, scale=1.0, noise=1.0, machines=("pump", "saw"), system="knn"):
    rows = []
    for machine in machines:
        for split, count in (("train", N_TRAIN), ("test", N_TEST)):
            for i in range(count):
                is_anomaly = split == "test" and i % 2 == 1
                score = scale * (0.8 * is_anomaly + noise * rng.standard_normal())
                domain = "target" if i % 4 < 2 else "source"
                rows.append((f"{machine}/{split}/{i}", machine, "00", domain, split, is_anomaly,
                             score, None, system, seed))  # fmt: skip
    return pd.DataFrame(rows, columns=SCORE_COLUMNS)


def test_ensemble_is_the_mean_of_standardised_scores(rng):
    runs = [run(0, rng), run(1, rng, scale=50.0)]
    shuffled = pd.concat([runs[0], runs[1].sample(frac=1.0, random_state=1)])
    found = ensemble(shuffled, system="ensemble").set_index("clip_id")["anomaly_score"]
    for machine in ("pump", "saw"):
        expected = []
        for table in runs:
            score = table.set_index("clip_id")["anomaly_score"]
            train = score[score.index.str.startswith(f"{machine}/train")].to_numpy()
            test = score[score.index.str.startswith(f"{machine}/test")].to_numpy()
            expected.append((test - train.mean()) / train.std(ddof=1))
            assert zscore(train, ddof=1).mean() == pytest.approx(0, abs=1e-12)
        mean = np.mean(expected, axis=0)
        assert found[[f"{machine}/test/{i}" for i in range(N_TEST)]].to_numpy() == (
            pytest.approx(mean)
        )


def test_ensemble_is_one_system_without_seed(rng):
    found = ensemble(pd.concat([run(0, rng), run(1, rng)]), system="knn_ensemble")
    assert found.columns.tolist() == SCORE_COLUMNS
    assert found["system"].unique().tolist() == ["knn_ensemble"]
    assert found["seed"].isna().all()
    assert found["is_decided_anomalous"].isna().all()
    assert len(validate_scores(found)) == 2 * (N_TRAIN + N_TEST)


def test_independent_errors_average_out(rng):
    runs = pd.concat([run(seed, rng, scale=10.0**seed) for seed in range(4)])
    single = evaluate(runs, n_bootstrap=0)
    both = evaluate(ensemble(runs, system="all_four"), n_bootstrap=0)
    best = single.loc[single["metric"] == "official_score", "value"].max()
    assert both.loc[both["metric"] == "official_score", "value"].item() > best


@given(scale=st.floats(0.01, 100), offset=st.floats(-10, 10))
def test_unit_and_offset_of_a_run_do_not_matter(scale, offset):
    rng = np.random.default_rng(5)
    first, second = run(0, rng), run(1, rng)
    moved = second.assign(anomaly_score=scale * second["anomaly_score"] + offset)
    expected = ensemble(pd.concat([first, second]), system="e")["anomaly_score"]
    found = ensemble(pd.concat([first, moved]), system="e")["anomaly_score"]
    assert found.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-6)


def test_a_machine_of_one_training_clip_is_averaged_as_it_is(rng):
    runs = []
    for seed in (0, 1):
        table = run(seed, rng, machines=("pump",))
        few = table[(table["split"] == "test") | (table["clip_id"] == "pump/train/0")].copy()
        few.loc[few["split"] == "train", "anomaly_score"] = np.nan
        runs.append(few)
    found = ensemble(pd.concat(runs), system="e")
    test = found["split"] == "test"
    mean = (runs[0]["anomaly_score"] + runs[1]["anomaly_score"])[runs[0]["split"] == "test"] / 2
    assert found.loc[test, "anomaly_score"].to_numpy() == pytest.approx(mean.to_numpy())
    assert found.loc[~test, "anomaly_score"].isna().all()


def test_one_run_and_runs_of_other_clips_are_refused(rng):
    with pytest.raises(InputError, match="at least two seeds"):
        ensemble(run(0, rng), system="e")
    with pytest.raises(InputError, match=r"pump/.*is scored by some runs .*knn, seed 1"):
        ensemble(pd.concat([run(0, rng), run(1, rng, machines=("saw",))]), system="e")
