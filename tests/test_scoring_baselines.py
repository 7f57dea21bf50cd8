"""The official baseline's scores from given residuals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis

from asdlib.base import InputError
from asdlib.scoring import (
    SCORE_COLUMNS,
    evaluate,
    score_autoencoder,
    score_machines,
    selective_mahalanobis,
    validate_scores,
)

N_BANDS = 4
PLENTY = np.array([900, 900])


def random_covariance(rng, scale=1.0):
    vectors = scale * rng.standard_normal((200, N_BANDS)) @ rng.standard_normal((N_BANDS, N_BANDS))
    return np.cov(vectors.T)


@pytest.fixture
def clips():
    rows = [
        (f"saw/{split}/{domain}_{i}.wav", "saw", "00", split, domain, split == "test" and i > 1)
        for split, count in (("train", 4), ("test", 4), ("supplemental", 1))
        for domain in ("source", "target")
        for i in range(count)
    ]
    columns = ["clip_id", "machine_type", "section", "split", "domain", "is_anomaly"]
    return pd.DataFrame(rows, columns=columns).astype({"is_anomaly": "boolean"})


@pytest.fixture
def arrays(rng, clips):
    scored = clips[clips["split"] != "supplemental"]
    residual = rng.standard_normal((len(scored), N_BANDS))
    residual[scored["is_anomaly"].to_numpy(bool)] += 8
    shuffled = rng.permutation(len(scored))
    return {
        "clip_id": scored["clip_id"].to_numpy(str)[shuffled],
        "mse": (residual**2).mean(axis=1)[shuffled],
        "mean_residual": residual[shuffled],
        "covariance": np.array([random_covariance(rng), random_covariance(rng)]),
        "n_stacks": PLENTY,
    }


def test_distance_is_the_smaller_of_scipys_squared(rng):
    covariance = np.array([random_covariance(rng), random_covariance(rng, 0.8)])
    residual = rng.standard_normal((30, N_BANDS))
    zero = np.zeros(N_BANDS)
    by_domain = np.array(
        [[mahalanobis(r, zero, np.linalg.inv(c)) ** 2 for c in covariance] for r in residual]
    )
    assert len(set(by_domain.argmin(axis=1))) == 2  # each domain is the nearer one for some clip
    found = selective_mahalanobis(residual, covariance, PLENTY)
    assert found == pytest.approx(by_domain.min(axis=1), rel=1e-3)


def test_a_domain_of_few_stacks_does_not_count(rng):
    many, few = random_covariance(rng), random_covariance(rng, 100.0)
    residual = rng.standard_normal((5, N_BANDS))
    both = selective_mahalanobis(residual, np.array([many, few]), np.array([900, 20]))
    alone = selective_mahalanobis(residual, np.array([many]), np.array([900]))
    assert np.array_equal(both, alone)


def test_few_stacks_alone_give_a_finite_score(rng):
    vectors = rng.standard_normal((2, N_BANDS))
    singular = vectors.T @ vectors
    singular[:, -1] = singular[-1] = 0.0  # a band that never varied
    score = selective_mahalanobis(np.ones((1, N_BANDS)), singular[None], np.array([2]))
    assert np.isfinite(score).all()
    assert (score > 0).all()


@given(factor=st.floats(0.01, 100), seed=st.integers(0, 2**16))
def test_distance_does_not_depend_on_the_unit(factor, seed):
    rng = np.random.default_rng(seed)
    covariance = np.array([random_covariance(rng), random_covariance(rng)])
    residual = rng.standard_normal((3, N_BANDS))
    scaled = selective_mahalanobis(factor * residual, factor**2 * covariance, PLENTY)
    assert scaled == pytest.approx(selective_mahalanobis(residual, covariance, PLENTY), rel=1e-6)


def test_no_domain_and_a_covariance_of_nothing_are_refused():
    residual = np.ones((1, N_BANDS))
    with pytest.raises(InputError, match="no domain with a covariance"):
        selective_mahalanobis(residual, np.zeros((0, N_BANDS, N_BANDS)), np.zeros(0, int))
    with pytest.raises(InputError, match="zero or not finite"):
        selective_mahalanobis(residual, np.zeros((1, N_BANDS, N_BANDS)), np.array([900]))


def test_table_has_the_form_of_every_other_systems(clips, arrays, rng):
    table = score_autoencoder({"saw": arrays}, clips, seed=3)
    other = score_machines(
        rng.standard_normal((len(clips), 2)), clips["clip_id"], clips, system="knn", seed=3
    )
    assert table.columns.tolist() == SCORE_COLUMNS
    assert table.dtypes.equals(other.dtypes)
    for system in ("ae_mse", "ae_mahalanobis"):
        part = table[table["system"] == system].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            part.drop(columns=["anomaly_score", "system"]),
            other.drop(columns=["anomaly_score", "system"]),
        )
    validate_scores(pd.concat([table, other]))
    metrics = evaluate(table, n_bootstrap=0).query("metric == 'auc_source'")
    assert (metrics["value"] == 1.0).all()


def test_scores_follow_the_clip_not_its_place(clips, arrays):
    table = score_autoencoder({"saw": arrays}, clips, seed=None).query("system == 'ae_mse'")
    expected = dict(zip(arrays["clip_id"], arrays["mse"], strict=True))
    assert table.set_index("clip_id")["anomaly_score"].to_dict() == expected


def test_missing_machine_and_clip_are_named(clips, arrays):
    with pytest.raises(InputError, match="saw: has no autoencoder"):
        score_autoencoder({}, clips, seed=0)
    lacking = {
        name: values[1:] if name in ("clip_id", "mse", "mean_residual") else values
        for name, values in arrays.items()
    }
    with pytest.raises(InputError, match=f"{arrays['clip_id'][0]}: has no residual"):
        score_autoencoder({"saw": lacking}, clips, seed=0)
    twice = arrays | {
        name: np.concatenate([arrays[name], arrays[name][:1]])
        for name in ("clip_id", "mse", "mean_residual")
    }
    with pytest.raises(InputError, match=r"different\): expected one residual per clip"):
        score_autoencoder({"saw": twice}, clips, seed=0)
