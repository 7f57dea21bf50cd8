"""Local density, domain-wise minimum and changed banks against what they are defined as."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from asdlib.base import InputError
from asdlib.scoring import KNNBackend, decide, make_backend, score_machines
from asdlib.scoring.backends import BANKS, SCORES, LocalDensityBackend, kmeans_bank, smote_bank
from asdlib.scoring.resampling import (
    DomainMinimumBackend,
    held_out_scores,
    mean_and_scatter,
    parts,
)

NAMES = [*SCORES, *(f"{bank}+{score}" for bank in BANKS for score in SCORES)]


def naive_density_score(clip, bank, k):
    """The definition, one bank clip after the other, by scipy's distances."""
    ratios = []
    for number, member in enumerate(bank):
        others = np.delete(bank, number, axis=0)
        radius = np.sort(cdist([member], others, "cosine")[0])[:k].mean()
        ratios.append(cdist([clip], [member], "cosine")[0, 0] / radius)
    return min(ratios)


@pytest.mark.parametrize("k", [1, 3])
def test_local_density_is_its_definition(rng, k):
    bank, clips = rng.normal(size=(20, 6)), rng.normal(size=(5, 6))
    backend = LocalDensityBackend(k)
    backend.fit(bank)
    expected = [naive_density_score(clip, bank, k) for clip in clips]
    np.testing.assert_allclose(backend.anomaly_score(clips), expected, rtol=1e-9)


def test_parts_are_thirds_of_each_domain_in_the_order_of_the_clips():
    domains = np.array(["source"] * 6 + ["target"] * 4 + ["source"] * 3)
    assert parts(domains).tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 2, 2, 2, 2]
    assert parts(["a"]).tolist() == [0]
    assert parts(["a", "a"]).tolist() == [0, 1]


def test_parts_are_told_sessions_where_none_of_them_is_nearly_all():
    domains = np.array(["source"] * 6 + ["target"] * 3)
    sessions = ["mon", "tue", "mon", "wed", "tue", "wed", "", "", ""]
    assert parts(domains, sessions).tolist() == [0, 1, 0, 2, 1, 2, 0, 1, 2]
    assert parts(domains[:6], ["mon"] * 5 + ["tue"]).tolist() == [0, 0, 1, 1, 2, 2]
    days = [f"{day:02d}" for day in range(40)]
    assert parts(["source"] * 40, days).tolist() == [day // 4 for day in range(40)]


def test_held_out_scores_are_refitting_without_the_part(rng):
    bank = rng.normal(size=(15, 4))
    domains = np.array(["source"] * 15)
    score = held_out_scores(lambda: LocalDensityBackend(2), bank, domains)
    other = LocalDensityBackend(2)
    other.fit(bank[5:])
    np.testing.assert_allclose(score[:5], other.anomaly_score(bank[:5]))
    assert np.isnan(held_out_scores(KNNBackend, bank[:1], domains[:1])).all()


def test_clips_of_one_recording_do_not_vouch_for_each_other(rng):
    """Five clips a recording, all alike: left out one by one each would find its siblings."""
    recordings = np.repeat(rng.normal(size=(12, 6)), 5, axis=0)
    bank = recordings + 0.01 * rng.normal(size=recordings.shape)
    new = np.repeat(rng.normal(size=(12, 6)), 5, axis=0) + 0.01 * rng.normal(size=(60, 6))
    backend = KNNBackend()
    backend.fit(bank)
    held_out = held_out_scores(KNNBackend, bank, np.array(["source"] * 60))
    share_above = np.mean(backend.anomaly_score(new) > np.quantile(held_out, 0.9))
    assert share_above < 0.3


def sessions_of_a_machine(rng, names):
    """Twenty clips a session, in one place each; sessions lie apart from each other."""
    session = np.repeat(names, 20)
    places = {name: rng.normal(size=8) for name in names}
    rows = np.array([places[name] for name in session]) + 0.2 * rng.normal(size=(len(session), 8))
    order = rng.permutation(len(session))  # as names of the challenge shuffle them
    return rows[order], session[order]


def test_a_threshold_of_told_sessions_holds_in_a_new_one(rng):
    train, session = sessions_of_a_machine(rng, ["a", "b", "c", "d", "e", "f"])
    test, _ = sessions_of_a_machine(rng, ["x", "y", "z"])
    clips = pd.DataFrame(
        {
            "clip_id": [f"fan/{n}.wav" for n in range(180)], "machine_type": "fan",
            "section": "00", "domain": "source", "split": ["train"] * 120 + ["test"] * 60,
            "is_anomaly": False, "session": [*session, *[""] * 60],
        }
    )  # fmt: skip
    met = {}
    for told in (False, True):
        table = clips if told else clips.drop(columns="session")
        scores = score_machines(
            np.concatenate([train, test]), clips["clip_id"], table, system="final", seed=None,
            metric="standardised", make_backend=DomainMinimumBackend,
        )  # fmt: skip
        decided, thresholds = decide(scores, clips=table)
        met[told] = float(decided["is_decided_anomalous"][120:].astype(float).mean())
        reason = "no second session is told: in a new one more may ring"
        assert (reason in thresholds["reason"].iloc[0]) == (not told)
    assert met[False] > 0.9
    assert met[True] < 0.3


def test_euclidean_distances_are_scipys(rng):
    bank, clips = rng.normal(size=(20, 6)), rng.normal(size=(5, 6))
    backend = KNNBackend(3, metric="euclidean")
    backend.fit(bank)
    expected = np.sort(cdist(clips, bank), axis=1)[:, :3].mean(axis=1)
    np.testing.assert_allclose(backend.anomaly_score(clips), expected)


def imbalanced(rng):
    """Dense source, sparse target, around two directions; normal and odd clips of both."""
    centre = {"source": np.eye(8)[0], "target": np.eye(8)[1]}
    spread = {"source": 0.02, "target": 0.15}
    draw = {
        name: lambda n, name=name: centre[name] + spread[name] * rng.normal(size=(n, 8))
        for name in centre
    }
    bank = np.concatenate([draw["source"](200), draw["target"](10)])
    domains = np.repeat(["source", "target"], [200, 10])
    odd = draw["source"](50) + 0.12 * np.eye(8)[2]
    return bank, domains, draw, odd


@pytest.mark.parametrize("name", ["local_density", "domain_minimum"])
def test_sparse_target_clips_stop_being_odd(rng, name):
    bank, domains, draw, odd = imbalanced(rng)
    normal = draw["target"](50)

    def target_auc(backend):
        backend.fit(bank, domains=domains)
        truth = np.repeat([0, 1], [len(normal), len(odd)])
        return roc_auc_score(truth, backend.anomaly_score(np.concatenate([normal, odd])))

    assert target_auc(KNNBackend(1)) < 0.3
    assert target_auc(make_backend(name, k=2)) > 0.7


def test_domain_minimum_is_its_definition(rng):
    bank, clips = rng.normal(size=(30, 5)), rng.normal(size=(4, 5))
    domains = np.repeat(["source", "target"], [22, 8])
    backend = DomainMinimumBackend(2)
    backend.fit(bank, domains=domains)
    standardised = []
    for name in ("source", "target"):
        own = bank[domains == name]
        among = cdist(own, own, "cosine")
        third = np.arange(len(own)) * 3 // len(own)
        among[third[:, None] == third] = np.inf
        reference = np.sort(among, axis=1)[:, :2].mean(axis=1)
        distance = np.sort(cdist(clips, own, "cosine"), axis=1)[:, :2].mean(axis=1)
        standardised.append((distance - reference.mean()) / reference.std())
    np.testing.assert_allclose(backend.anomaly_score(clips), np.min(standardised, axis=0))


def test_standardised_is_euclidean_in_units_of_every_values_scatter(rng):
    bank, clips = rng.normal(size=(20, 5)) * [1, 10, 1, 1, 100], rng.normal(size=(4, 5))
    spread = bank.std(axis=0)
    unit = np.sqrt(spread**2 + np.median(spread) ** 2)
    backend, plain = DomainMinimumBackend(2, "standardised"), DomainMinimumBackend(2, "euclidean")
    backend.fit(bank)
    plain.fit(bank / unit)
    np.testing.assert_allclose(backend.scatter, unit)
    np.testing.assert_allclose(backend.anomaly_score(clips), plain.anomaly_score(clips / unit))
    np.testing.assert_allclose(backend.held_out(), plain.held_out())
    distance = cdist(clips[:1] / unit, bank / unit)[0]
    assert backend.nearest(clips[0], count=3).tolist() == np.argsort(distance)[:3].tolist()
    assert plain.scatter is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "domains",
    [["source"], ["source", "target"], ["source"] * 6, ["source"] * 5 + ["target"], ["", "", ""]],
)
def test_tiny_banks_and_missing_domains_give_finite_scores(rng, name, domains):
    backend = make_backend(name, k=4)
    backend.fit(rng.normal(size=(len(domains), 3)), domains=np.array(domains))
    assert np.isfinite(backend.anomaly_score(rng.normal(size=(7, 3)))).all()


@pytest.mark.parametrize("name", SCORES)
def test_a_bank_of_equal_clips_gives_finite_scores(name):
    backend = make_backend(name, k=2)
    backend.fit(np.ones((5, 3)), domains=np.array(["source"] * 5))
    score = backend.anomaly_score(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    assert np.isfinite(score).all()
    assert score[1] > score[0]


@pytest.mark.parametrize("name", SCORES)
def test_scale_of_the_embeddings_does_not_matter(rng, name):
    bank, clips = rng.normal(size=(20, 4)), rng.normal(size=(6, 4))
    domains = np.repeat(["source", "target"], [14, 6])
    first, second = make_backend(name, k=2), make_backend(name, k=2)
    first.fit(bank, domains=domains)
    second.fit(bank * rng.uniform(0.1, 10, (20, 1)), domains=domains)
    np.testing.assert_allclose(first.anomaly_score(clips), second.anomaly_score(3 * clips))


def test_kmeans_bank_keeps_every_target_clip(rng):
    bank = rng.normal(size=(50, 4))
    domains = np.repeat(["source", "target"], [43, 7])
    rows, names = kmeans_bank(bank, domains, n_centres=5)
    assert (names == "source").sum() == 5
    unit = bank[43:] / np.linalg.norm(bank[43:], axis=1, keepdims=True)
    np.testing.assert_allclose(rows[names == "target"], unit)


def test_smote_points_lie_between_target_clips(rng):
    angle = np.concatenate([rng.uniform(2, 3, 100), np.linspace(0, 0.5, 6)])
    bank = np.column_stack([np.cos(angle), np.sin(angle)])
    domains = np.repeat(["source", "target"], [100, 6])
    rows, names = smote_bank(bank, domains, ratio=0.2)
    assert (names == "target").sum() == 20
    new = rows[106:]
    assert (np.arctan2(new[:, 1], new[:, 0]) >= -1e-9).all()
    assert (np.arctan2(new[:, 1], new[:, 0]) <= 0.5 + 1e-9).all()
    np.testing.assert_allclose(np.linalg.norm(new, axis=1), 1)


def test_unknown_backends_are_refused():
    with pytest.raises(InputError, match="backend 'svm': expected knn, local_density"):
        make_backend("svm")
    with pytest.raises(InputError, match=r"kmeans\+\.\.\. or smote"):
        make_backend("pca+knn")
    with pytest.raises(InputError, match="k = 0: expected 1 neighbour"):
        LocalDensityBackend(0)


@pytest.mark.parametrize("make", [LocalDensityBackend, DomainMinimumBackend])
def test_scores_before_fit_are_refused(make):
    with pytest.raises(InputError, match="no bank yet"):
        make().anomaly_score(np.ones((1, 2)))


def test_scatter_of_equal_scores_can_be_divided_by():
    assert mean_and_scatter(np.array([2.0, 2.0])) == (2.0, pytest.approx(0.1))
    assert mean_and_scatter(np.array([np.nan])) == (0.0, 1.0)
    assert mean_and_scatter(np.zeros(3)) == (0.0, 1.0)


def test_backends_are_fresh(rng):
    make = partial(make_backend, "local_density", k=1)
    assert make() is not make()
