"""Simulated machines that train along where a run has few of its own."""

import numpy as np
import pytest
from corpus import make_tree, train_and_test

from asdlib import spectra, training
from asdlib.data import open_waveforms, simulate
from asdlib.data.audio import FULL_SCALE, read_mono
from asdlib.data.simulate.machines import CorpusSize
from asdlib.workbook import companions
from asdlib.workbook.companions import open_material, told_companions
from asdlib.workbook.run import Run

TYPES = ["bearingSim", "fanSim"]  # one of told and one of hidden attributes


@pytest.fixture(autouse=True)
def _few_and_short(monkeypatch):
    monkeypatch.setitem(simulate.SIZES, "companions", CorpusSize(2, 1, 0, 0, short_s=1.0))
    monkeypatch.setattr(companions, "MACHINES", TYPES)


@pytest.fixture
def make_run(tmp_path):
    def make(*machines, branches="one"):
        names = [name for machine in machines for name in train_and_test(machine)]
        data = make_tree(tmp_path / "data", names)
        values = {"data_dir": str(data), "out_dir": str(tmp_path / "out"), "run_name": "test",
                  "machines": [], "workers": 1, "window_s": 0.0, "branches": branches,
                  "spectrum_pool_bins": 8}  # fmt: skip
        run = Run.open("03_training", values)
        clips = run.scan_clips()
        waveforms = open_waveforms(clips, **run.store)
        features = spectra.open_log_mel(
            waveforms, clips, settings=spectra.LogMelSettings(n_mels=32), duration_s=1.0,
            highpass_hz=dict.fromkeys(machines, 1000.0), **run.store,
        )  # fmt: skip
        run.write_store_link("waveforms.json", waveforms)
        run.write_store_link("features.json", features)
        attributes = clips.loc[clips["split"] == "train", ["clip_id", "attribute"]]
        return run, clips, attributes, features

    return make


def test_companions_stand_behind_the_runs_own_clips(make_run):
    run, clips, attributes, features = make_run("fan")
    material = open_material(run, clips, attributes, companions_below=4)
    assert material.n_companions == 2
    assert set(material.clips["machine_type"]) == {
        "fan",
        "companion_bearingSim",
        "companion_fanSim",
    }
    along = material.clips[material.clips["clip_id"].str.startswith("companion_")]
    assert len(along) == 2 * 3
    assert set(along["split"]) == {"train"}
    assert material.features.ids.tolist() == [*features.ids, *along["clip_id"]]
    np.testing.assert_array_equal(material.features.fixed()[: len(clips)], features.fixed())
    assert material.clips.loc[: len(clips) - 1, "clip_id"].tolist() == clips["clip_id"].tolist()
    levels = material.features.row_of(along["clip_id"].iloc[-1]).astype(float)
    samples = read_mono(along["path"].iloc[-1]) / FULL_SCALE
    np.testing.assert_allclose(levels, spectra.log_mel(samples, n_mels=32), atol=0.05)
    classes = training.class_table(material.clips, material.attributes, use_supplemental=True)
    told = {name.split("|")[3] for name in classes.names if name.startswith("companion_")}
    assert "" not in told  # hidden attributes are known of what we simulate


def test_the_same_companions_serve_the_next_run(make_run):
    run, clips, attributes, _ = make_run("fan")
    first = open_material(run, clips, attributes, companions_below=4)
    written = {path: path.stat().st_mtime_ns for path in run.cache.rglob("*.wav")}
    again = open_material(run, clips, attributes, companions_below=4)
    assert len(written) == 6
    assert written == {path: path.stat().st_mtime_ns for path in run.cache.rglob("*.wav")}
    assert again.features.directory == first.features.directory


def test_a_machine_type_of_the_run_is_no_companion(make_run):
    run, clips, attributes, _ = make_run("fanSim")
    material = open_material(run, clips, attributes, companions_below=4)
    assert set(material.clips["machine_type"]) == {"fanSim", "companion_bearingSim"}
    run, clips, attributes, _ = make_run(*TYPES)  # nobody is left
    assert open_material(run, clips, attributes, companions_below=9).n_companions == 0


@pytest.mark.parametrize("companions_below", [0, 2])
def test_without_companions_nothing_is_added(make_run, companions_below):
    run, clips, attributes, features = make_run("fan", "pump")
    material = open_material(run, clips, attributes, companions_below=companions_below)
    assert material.n_companions == 0
    assert material.clips is clips
    assert material.attributes is attributes
    assert material.features.directory == features.directory  # trainings keep their keys
    assert not list(run.cache.glob("simulated*"))


def test_spectra_of_a_second_branch_go_with_the_spectrograms(make_run):
    run, clips, attributes, _ = make_run("fan", branches="two")
    material = open_material(run, clips, attributes, companions_below=4)
    assert material.spectrum.ids.tolist() == material.features.ids.tolist()
    own = run.open_store_link("spectrum.json")
    assert len(own) == len(clips)
    np.testing.assert_array_equal(material.spectrum.fixed()[: len(clips)], own.fixed())


def test_notes_tell_how_many_machines_trained_along():
    names = ["companion_fanSim|00|source|a", "companion_fanSim|00|target|b",
             "companion_valveSim|00|source|", "fan|00|source|"]  # fmt: skip
    assert told_companions(names) == ", trained along with 2 simulated machines"
    assert told_companions(names[-1:]) == ""
