"""Known changes do what they say, and the probability of detection counts what was found."""

import numpy as np
import pandas as pd
import pytest
from corpus import write_wav
from scipy import signal, stats

from asdlib import scoring, spectra
from asdlib.base import InputError
from asdlib.data import open_waveforms, read_clips
from asdlib.spectra import injection

SR = 16000


def hum(rng, seconds=2.0):
    t = np.arange(round(seconds * SR)) / SR
    return 0.1 * np.sin(2 * np.pi * 440 * t) + 0.02 * rng.standard_normal(len(t))


def changed(y, kind, strength, seed=0):
    rng = np.random.default_rng(seed)
    return injection.inject(y, sr=SR, kind=kind, strength=strength, rng=rng)


@pytest.mark.parametrize("kind", injection.INJECTIONS)
def test_every_change_keeps_the_length_and_grows_with_its_strength(rng, kind):
    y = hum(rng)
    weakest, *_, strongest = injection.INJECTIONS[kind].strengths
    differences = [np.std(changed(y, kind, strength) - y) for strength in (weakest, strongest)]
    assert changed(y, kind, strongest).shape == y.shape
    assert differences[0] > 0
    # Another speed soon differs everywhere, so that more of it is not further away.
    assert kind == "speed" or differences[1] > differences[0]
    np.testing.assert_array_equal(changed(y, kind, strongest), changed(y, kind, strongest))


@pytest.mark.parametrize("kind", ["noise", "tone", "impacts", "random impacts", "rubbing"])
def test_added_sounds_have_the_stated_level(rng, kind):
    y = hum(rng)
    added = changed(y, kind, -12.0) - y
    level_db = 20 * np.log10(np.sqrt(np.mean(added**2)) / np.sqrt(np.mean(y**2)))
    assert level_db == pytest.approx(-12, abs=1e-6)


def test_changes_are_what_their_names_say(rng):
    y = hum(rng)
    np.testing.assert_allclose(changed(y, "level", 6.0), y * 10**0.3)
    faster = changed(y, "speed", 5.0, seed=1)
    frequencies_hz, before = signal.welch(y, SR, nperseg=8192)
    after = signal.welch(faster, SR, nperseg=8192)[1]
    ratio = frequencies_hz[after.argmax()] / frequencies_hz[before.argmax()]
    assert abs(ratio - 1) == pytest.approx(0.05, abs=0.006)
    raised = signal.welch(changed(y, "band gain", 8.0), SR, nperseg=1024)[1]
    gain_db = 10 * np.log10(raised / signal.welch(y, SR, nperseg=1024)[1])
    assert gain_db.max() == pytest.approx(8, abs=0.5)
    assert gain_db.min() > -0.5
    depth = changed(np.ones(SR), "modulation", -6.0)
    assert np.ptp(depth) / 2 == pytest.approx(10 ** (-6 / 20), rel=0.01)
    event = 0.01 * rng.standard_normal(SR)
    event[5000:7000] *= 30
    quiet = changed(event, "missing event", 24.0)
    assert np.abs(quiet[5500:6500]).max() < 0.2 * np.abs(event[5500:6500]).max()
    np.testing.assert_array_equal(quiet[12000:], event[12000:])


def test_silence_and_unknown_changes_are_refused():
    with pytest.raises(InputError, match="holds no sound"):
        changed(np.zeros(100), "tone", -10.0)
    with pytest.raises(InputError, match="kind='hiss': expected one of level, noise"):
        changed(np.ones(100), "hiss", -10.0)


def clip_table(n_source=9, n_target=6):
    domains = ["source"] * n_source + ["target"] * n_target
    ids = [f"fan/train/{domain}_{i:02d}.wav" for i, domain in enumerate(domains)]
    table = pd.DataFrame({"clip_id": ids, "domain": domains})
    table = table.assign(machine_type="fan", section="00", split="train")
    return table.assign(is_anomaly=pd.array([pd.NA] * len(ids), dtype="boolean"))


def test_the_last_third_of_each_domain_is_put_aside_and_changed():
    clips = clip_table()
    aside = scoring.held_out_part(clips)
    assert clips.index[aside].tolist() == [6, 7, 8, 13, 14]
    plan = spectra.plan_rehearsal(clips, aside, n_clips=3, duration_s=10.0)
    n_changes = sum(len(kind.strengths) for kind in injection.INJECTIONS.values())
    assert len(plan) == 3 * n_changes
    assert set(plan["domain"]) == {"source", "target"}
    assert plan["clip_id"].is_unique
    table = scoring.rehearsed_clips(clips)
    assert table["split"].value_counts().to_dict() == {"test": 5, "train": 10}
    assert not table["is_anomaly"].any()
    assert not scoring.held_out_part(clip_table(3, 2)).any()


def test_of_short_clips_more_are_changed_for_the_same_length_of_sound():
    n_changes = sum(len(kind.strengths) for kind in injection.INJECTIONS.values())
    clips = clip_table(180, 90)
    aside = scoring.held_out_part(clips)  # 60 source and 30 target clips
    for duration, n_clips, changed in ((10.0, 4, 4), (2.5, 4, 16), (1.0, 4, 40), (0.1, 4, 40),
                                       (30.0, 4, 4), (0.1, 60, 60)):  # fmt: skip
        durations = np.full(len(clips), duration)
        plan = spectra.plan_rehearsal(clips, aside, n_clips=n_clips, duration_s=durations)
        assert len(plan) == pytest.approx(changed * n_changes, abs=n_changes)  # two domains
        assert plan.groupby("domain")["made_from"].nunique()["source"] > changed / 2
    few = clip_table()
    plan = spectra.plan_rehearsal(
        few, scoring.held_out_part(few), n_clips=4, duration_s=np.full(len(few), 1.0)
    )
    assert plan["made_from"].nunique() == 5  # all that are put aside


def test_the_store_holds_the_changed_clips(rng, tmp_path):
    for number in range(6):
        name = f"fan/train/section_00_source_train_normal_{number:04d}_noAttribute.wav"
        write_wav(tmp_path / "data" / name, (3000 * hum(rng, 0.5)).astype(np.int16))
    clips = read_clips(tmp_path / "data")
    waveforms = open_waveforms(clips, cache_dir=tmp_path)
    plan = spectra.plan_rehearsal(clips, scoring.held_out_part(clips), n_clips=1, duration_s=10.0)
    store = spectra.open_rehearsal(waveforms, plan, cache_dir=tmp_path, workers=2)
    assert store.ids.tolist() == plan["clip_id"].tolist()
    row = plan[(plan["kind"] == "level") & (plan["strength"] == 8)].iloc[0]
    original = waveforms.row(int(waveforms.positions([row["made_from"]])[0]))
    louder = store.row(int(store.positions([row["clip_id"]])[0]))
    np.testing.assert_allclose(louder, original * 10 ** (8 / 20), atol=0.51)


def scores(plan, clips, heard):
    """Scores 0 to 1 of normal clips; a change scores 2 from ``heard`` on, else as a normal one."""
    table = pd.concat([scoring.rehearsed_clips(clips), plan[clips.columns]], ignore_index=True)
    strength = plan.set_index("clip_id")["strength"].reindex(table["clip_id"]).to_numpy()
    score = np.where(strength >= heard, 2.0, 0.5)
    score[np.isnan(strength)] = np.linspace(0, 1, int(np.isnan(strength).sum()))
    return table.assign(anomaly_score=score, system="final", seed=pd.array([pd.NA] * len(table)))


def test_probability_of_detection_counts_what_was_found():
    clips = clip_table(60, 30)
    plan = spectra.plan_rehearsal(clips, scoring.held_out_part(clips), n_clips=6, duration_s=10.0)
    rates = scoring.detection_rates(scores(plan, clips, heard=4.0), plan, false_alarm_rate=0.1)
    assert list(rates.columns) == scoring.SENSITIVITY_COLUMNS
    band = rates[rates["kind"] == "band gain"]
    assert band["strength"].tolist() == [2.0, 4.0, 8.0, 16.0]
    assert band["pod"].tolist() == [0.0, 1.0, 1.0, 1.0]
    assert band["found_from"].iloc[0] == pytest.approx(2 + 0.9 * 2)
    low = stats.binomtest(6, 6).proportion_ci().low
    assert band["pod_low"].iloc[-1] == pytest.approx(low)
    assert band["auc"].iloc[-1] == 1.0
    tone = rates[rates["kind"] == "tone"]  # strengths below 0 dB: never heard here
    assert tone["pod"].eq(0).all()
    assert tone["found_from"].isna().all()


def test_a_view_that_is_outvoted_shows_as_a_shortfall():
    columns = ["system", "machine_type", "kind", "auc"]
    rates = pd.DataFrame(
        [("final", "fan", "tone", 0.7), ("lines", "fan", "tone", 0.9),
         ("spectrum", "fan", "tone", 0.6), ("autoencoder", "fan", "tone", 1.0),
         ("final", "fan", "level", 0.8), ("lines", "fan", "level", 0.5),
         ("spectrum", "fan", "level", 0.75), ("autoencoder", "fan", "level", 1.0)],
        columns=columns,
    )  # fmt: skip
    spots = scoring.blind_spots(rates).set_index("kind")
    assert spots.loc["tone", "best_view"] == "lines"
    assert spots.loc["tone", "shortfall"] == pytest.approx(0.2)
    assert spots.loc["level", "shortfall"] == 0
    learnt = rates[rates["system"].isin(["final", *scoring.LEARNT])]
    assert scoring.blind_spots(learnt).empty
    assert scoring.LEARNT == ("embedding", "autoencoder")
