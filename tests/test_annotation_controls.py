"""Controls: nothing is invented where nothing can be heard; labels to compare with."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from spectra_corpus import array_store, clip_row, waveform_store

from asdlib.annotation import annotate, fixed_clusters, shuffled
from asdlib.annotation.agreement import agreement
from asdlib.base import InputError
from asdlib.data.simulate import machines
from asdlib.data.simulate.machines import find_model
from asdlib.spectra import LogMelSettings, open_log_mel

N_CLIPS, DURATION_S = 24, 2.0
STATES = machines.states_of(find_model("bearingSim"), "source")


def render(state, *, seed, number, below_hall_db=None):
    """Sound of one clip; the machine as loud as it is, or so far below its hall."""
    options = {"seed": seed, "duration_s": DURATION_S, "rng": np.random.default_rng([seed, number])}
    if below_hall_db is None:
        return machines.synthesise_clip("bearingSim", state, **options)
    hall = machines.synthesise_clip("bearingSim", state, with_machine=False, **options)
    machine = machines.synthesise_clip("bearingSim", state, with_background=False, **options)
    return hall + machine * hall.std() / machine.std() * 10 ** (-below_hall_db / 20)


def annotated(folder: Path, sounds) -> pd.DataFrame:
    rows = [clip_row("bearingSim", i) | {"section": "00"} for i in range(len(sounds))]
    clips = pd.DataFrame(rows).astype(
        {"attribute": "string", "supplemental_kind": "string", "domain": "string"}
    )
    whole = [np.round(32768 * np.clip(y, -1, 0.999)).astype(np.int16) for y in sounds]
    waveforms = waveform_store(folder, clips["clip_id"].tolist(), whole)
    log_mel = open_log_mel(
        waveforms, clips, settings=LogMelSettings(), highpass_hz={}, duration_s=DURATION_S,
        cache_dir=folder, workers=1,
    )  # fmt: skip
    return annotate(clips, waveforms, log_mel, workers=1).attributes


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_clips_of_one_operating_state_are_one_class(tmp_path, seed):
    sounds = [render(STATES[0], seed=seed, number=i) for i in range(N_CLIPS)]
    assert set(annotated(tmp_path, sounds)["attribute"]) == {"none"}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_attributes_that_cannot_be_heard_are_not_invented(tmp_path, seed):
    sounds = [
        render(STATES[i % len(STATES)], seed=seed, number=i, below_hall_db=40.0)
        for i in range(N_CLIPS)
    ]
    assert set(annotated(tmp_path, sounds)["attribute"]) == {"none"}


@pytest.mark.slow
def test_the_same_attributes_are_found_where_they_can_be_heard(tmp_path):
    sounds = [
        render(STATES[i % len(STATES)], seed=0, number=i, below_hall_db=-20.0)
        for i in range(2 * N_CLIPS)
    ]
    assert len(set(annotated(tmp_path, sounds)["attribute"])) > 1


# --- labels to compare with -------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, rng):
    """Twenty clips whose mean spectra lie in two groups far apart."""
    truth = np.repeat([0, 1], 10)
    ids = [f"fan/train/{i:02d}.wav" for i in range(20)]
    rows = rng.standard_normal((20, 8, 5)) + 30.0 * truth[:, None, None]
    store = array_store(tmp_path, ids, rows.astype(np.float16))
    clips = pd.DataFrame({"clip_id": ids, "machine_type": "fan"})
    return clips, store, truth


def test_two_groups_are_found_with_two_clusters(machine):
    clips, store, truth = machine
    table = fixed_clusters(clips, store, n_clusters=2)
    assert table["clip_id"].tolist() == clips["clip_id"].tolist()
    assert agreement(table["attribute"], truth)["nmi"] == pytest.approx(1.0)


def test_more_clusters_than_clips(machine):
    clips, store, _ = machine
    table = fixed_clusters(clips.head(3), store, n_clusters=8)
    assert table["attribute"].nunique() == 3


def test_no_clusters_are_refused(machine):
    with pytest.raises(InputError, match="n_clusters = 0"):
        fixed_clusters(*machine[:2], n_clusters=0)


def test_a_shuffle_keeps_the_labels_and_loses_their_meaning(machine):
    clips, _, truth = machine
    attributes = clips[["clip_id"]].assign(attribute=truth.astype(str))
    mixed = shuffled(attributes, clips, seed=1)
    assert sorted(mixed["attribute"]) == sorted(attributes["attribute"])
    assert agreement(mixed["attribute"], truth)["nmi"] < 0.5
