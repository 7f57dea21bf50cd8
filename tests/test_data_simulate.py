import csv
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from asdlib.base import InputError
from asdlib.data import parse, read_clips, read_true_attributes, simulate
from asdlib.data.simulate import BearingGeometry, bearing_frequencies, bearing_signal, machines
from asdlib.data.simulate.machines import MODELS, find_model, plan_machine
from asdlib.data.simulate.scene import seeded
from asdlib.data.simulate.sources import Clip, Fault

SR = machines.SAMPLE_RATE_HZ
FEW = ("bearingSim", "gearboxSim")


def describe(machine_type):
    """Physical quantities behind every attribute of a machine type."""
    return {state.attribute: state.quantities for state in find_model(machine_type).states}


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("simulated")
    return simulate.write_corpus(root, size="smoke", machines=FEW, workers=1)


def envelope_lines(y, band_hz):
    """Squared envelope spectrum up to 500 Hz, relative to its median."""
    sos = scipy.signal.butter(4, band_hz, "band", fs=SR, output="sos")
    envelope = np.abs(scipy.signal.hilbert(scipy.signal.sosfiltfilt(sos, y))) ** 2
    spectrum = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(len(envelope))))
    spectrum = spectrum[: int(500 * len(y) / SR)]
    return np.arange(len(spectrum)) * SR / len(y), spectrum / np.median(spectrum)


def line_at(frequencies, spectrum, frequency_hz, tolerance=0.015):
    near = np.abs(frequencies / frequency_hz - 1) < tolerance
    return spectrum[near].max()


# --- files ------------------------------------------------------------------------------


def test_layout_names_and_counts_are_the_challenges(corpus):
    clips = read_clips(corpus)
    assert sorted(clips["machine_type"].unique()) == sorted(FEW)
    size = simulate.SIZES["smoke"]
    for _, rows in clips.groupby("machine_type"):
        train, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
        assert train["domain"].value_counts().to_dict() == {
            "source": size.train_source,
            "target": size.train_target,
        }
        assert not train["is_anomaly"].any()
        assert set(test.groupby(["domain", "is_anomaly"]).size()) == {size.test}
        assert (rows["split"] == "supplemental").sum() == size.supplemental
    assert (clips["sample_rate"] == SR).all()
    assert (clips["channels"] == 1).all()
    names = {path.name for path in corpus.rglob("*.wav")}
    assert "section_00_source_train_normal_0000_noAttribute.wav" in names
    assert "section_00_noise_source_0000_noAttribute.wav" in names
    assert any(
        re.fullmatch(r"section_00_machine_source_0000_volt_[0-9.]+_wt_\d+\.wav", name)
        for name in names
    )


def test_every_name_of_the_full_corpus_parses():
    size = simulate.SIZES["full"]
    for machine_type in simulate.MACHINES:
        plans = plan_machine(machine_type, size, seed=0)
        assert len(plans) == 1000 + 200 + 100
        assert len({plan.file_name for plan in plans}) == len(plans)
        for plan in plans:
            assert parse(plan.file_name).split == plan.split
        train = [p.state.attribute for p in plans if p.split == "train"]
        model = find_model(machine_type)
        assert set(train) == {state.attribute for state in model.states}
        source = {s.attribute for s in model.states if s.domain == "source"}
        assert not source & {s.attribute for s in model.states if s.domain == "target"}


def test_attributes_file_agrees_with_the_names(corpus):
    path = corpus / "dev_data" / "raw" / "gearboxSim" / "attributes_00.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file_name", "d1p", "d1v", "d2p", "d2v"]
    for row in rows:
        shown = f"{row['d1p']}_{row['d1v']}_{row['d2p']}_{row['d2v']}.wav"
        assert row["file_name"].endswith(shown)
        assert (path.parents[1] / row["file_name"]).is_file()
    hidden = (corpus / "dev_data" / "raw" / "bearingSim" / "attributes_00.csv").read_text()
    assert hidden.splitlines()[0] == "file_name"


def test_correspondence_files_cover_every_clip(corpus):
    clips = read_clips(corpus, machines=["bearingSim"])
    clips = clips[clips["split"] != "supplemental"].reset_index(drop=True)
    folder = corpus / "ground_truth_attributes" / "simulated" / "dev_data" / "bearingSim"
    published = []
    for split in ("train", "test"):
        with (folder / f"attributes_00_{split}_correspondence.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        published += [row["target_file_name"] for row in rows]
        for row in rows:
            attribute = row["source_file_name"].removesuffix(".wav").split("_", 6)[6]
            assert attribute in describe("bearingSim")
    assert sorted(published) == sorted(Path(clip).name for clip in clips["clip_id"])
    assert len(read_true_attributes(folder.parents[2], clips)) == len(clips)


def test_faults_and_sessions_are_listed_for_exactly_their_clips(corpus):
    for machine_type in FEW:
        folder = corpus / "ground_truth_attributes" / "simulated" / "dev_data" / machine_type
        with (folder / "faults_00_test.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["file_name"] for row in rows} == {
            path.name for path in corpus.rglob(f"{machine_type}/test/*anomaly*.wav")
        }
        assert {row["fault"] for row in rows} <= set(MODELS[machine_type].faults)
        with (folder / "sessions_00.csv").open(newline="") as file:
            sessions = {row["file_name"]: int(row["session"]) for row in csv.DictReader(file)}
        raw = corpus / "dev_data" / "raw" / machine_type
        assert set(sessions) == {str(path.relative_to(raw)) for path in raw.rglob("*.wav")}
        assert set(sessions.values()) == set(range(6))


def test_manifest_says_what_it_is(corpus):
    manifest = json.loads((corpus / "simulated.json").read_text())
    assert (manifest["version"], manifest["size"], manifest["seed"]) == (
        machines.VERSION,
        "smoke",
        0,
    )
    assert "simulated" in manifest["description"]
    assert set(manifest["machines"]) == set(FEW)
    assert not list(corpus.rglob("*.tmp"))


# --- determinism and resumption ---------------------------------------------------------


def test_same_bytes_for_any_workers_and_any_machines(corpus, tmp_path):
    simulate.write_corpus(tmp_path, size="smoke", machines=["bearingSim"], workers=2)
    alone = {k: v for k, v in hashes(tmp_path).items() if k != "simulated.json"}
    assert alone
    assert alone.items() <= hashes(corpus).items()


def test_other_seed_gives_another_sound(corpus):
    plan = plan_machine("bearingSim", simulate.SIZES["smoke"], 0)[0]
    sounds = [
        machines.synthesise_clip(
            "bearingSim", plan.state, duration_s=1.0, seed=seed, rng=seeded(seed)
        )
        for seed in (0, 1)
    ]
    assert abs(np.corrcoef(sounds)[0, 1]) < 0.3


def test_interrupted_generation_is_finished(corpus, tmp_path):
    def interrupt(_clips):
        if sum(1 for _ in tmp_path.rglob("*.wav")) > 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate.write_corpus(
            tmp_path, size="smoke", machines=FEW, workers=1, on_progress=interrupt
        )
    assert not (tmp_path / "simulated.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}
    seen = []
    # The unfinished corpus knows its machines.
    simulate.write_corpus(
        tmp_path, size="smoke", machines=FEW[:1], workers=1, on_progress=seen.append
    )
    assert seen[0] == len(kept)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert hashes(tmp_path) == hashes(corpus)


def test_deleted_clips_come_back_the_same(tmp_path):
    arguments = {"size": "smoke", "machines": ["gearboxSim"], "workers": 1}
    simulate.write_corpus(tmp_path, **arguments)
    before = hashes(tmp_path)
    for path in sorted(tmp_path.rglob("*.wav"))[::2]:
        path.unlink()
    simulate.write_corpus(tmp_path, **arguments)
    assert hashes(tmp_path) == before


def test_a_finished_corpus_is_left_alone(corpus):
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    seen = []
    simulate.write_corpus(corpus, size="smoke", machines=FEW, on_progress=seen.append)
    assert seen == [70]
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_a_clip_is_the_same_in_a_longer_corpus():
    small = plan_machine("fanSim", simulate.SIZES["demo"], 3)
    large = {plan.file_name: plan for plan in plan_machine("fanSim", simulate.SIZES["full"], 3)}
    assert all(large[plan.file_name] == plan for plan in small)


# --- refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [({"seed": 1}, "of version 2, size smoke, seed 0, expected"), ({"size": "demo"}, "size demo")],
)
def test_other_settings_at_the_same_place_are_refused(corpus, change, message):
    with pytest.raises(InputError, match=message):
        simulate.write_corpus(corpus, **{"size": "smoke", **change})


def test_only_a_finished_corpus_has_finished_machines(corpus, tmp_path):
    assert simulate.finished_machines(corpus) == set(FEW)
    (tmp_path / ".simulated.unfinished.json").write_text((corpus / "simulated.json").read_text())
    assert simulate.finished_machines(tmp_path) == set()


def test_other_version_is_refused(corpus, tmp_path):
    manifest = json.loads((corpus / "simulated.json").read_text())
    (tmp_path / "simulated.json").write_text(json.dumps({**manifest, "version": 0}))
    with pytest.raises(InputError, match="of version 0"):
        simulate.write_corpus(tmp_path, size="smoke")


def test_real_data_is_never_mixed_with_simulated(tmp_path):
    (tmp_path / "dev_data" / "raw" / "fan" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="not a simulated corpus"):
        simulate.write_corpus(tmp_path, size="smoke")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": "huge"}, "no size huge. There are: smoke, demo, companions, full"),
        ({"machines": ["pumpSim"]}, "not simulated: machine type pumpSim. There are: ToyCarSim"),
    ],
)
def test_unknown_size_and_machine(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        simulate.write_corpus(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


# --- physics ----------------------------------------------------------------------------


def test_bearing_frequencies_of_a_published_bearing():
    """NICE bearing of the MFPT data: 25 Hz shaft, BPFO 81.125 Hz, BPFI 118.875 Hz."""
    lines = bearing_frequencies(25.0, BearingGeometry(8, 0.235 / 1.245))
    assert lines["bpfo_hz"] == pytest.approx(81.125, abs=0.02)
    assert lines["bpfi_hz"] == pytest.approx(118.875, abs=0.02)
    assert lines["bpfo_hz"] + lines["bpfi_hz"] == pytest.approx(8 * 25.0)


@pytest.mark.parametrize(("fault", "line"), [("outer", "bpfo_hz"), ("inner", "bpfi_hz")])
@pytest.mark.parametrize("shaft_rate_hz", [13.0, 25.0])
def test_fault_line_stands_where_geometry_says(rng, fault, line, shaft_rate_hz):
    geometry = BearingGeometry(9, 0.25, 10.0)
    y = bearing_signal(10.0, SR, shaft_rate_hz, fault=fault, geometry=geometry, rng=rng)
    frequencies, spectrum = envelope_lines(y, (2000, 5000))
    expected_hz = bearing_frequencies(shaft_rate_hz, geometry)[line]
    assert line_at(frequencies, spectrum, expected_hz) > 20
    half_way_hz = expected_hz + 0.5 * shaft_rate_hz
    assert line_at(frequencies, spectrum, half_way_hz, 0.003) < 10
    if fault == "inner":
        assert line_at(frequencies, spectrum, shaft_rate_hz) > 20


def test_healthy_bearing_signal_is_white_noise(rng):
    y = bearing_signal(10.0, SR, 25.0, fault=None, geometry=BearingGeometry(8, 0.2), rng=rng)
    assert envelope_lines(y, (2000, 5000))[1].max() < 12
    assert np.std(y) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fault": "cage"}, "no fault cage. There are: outer, inner, ball"),
        ({"geometry": BearingGeometry(8, 1.5)}, "diameter_ratio < 1"),
        ({"shaft_rate_hz": 0.0}, "must be positive"),
    ],
)
def test_impossible_bearings_are_refused(rng, change, message):
    arguments = {
        "duration_s": 1.0,
        "sample_rate": SR,
        "shaft_rate_hz": 25.0,
        "fault": "outer",
        "geometry": BearingGeometry(8, 0.2),
        "rng": rng,
    }
    with pytest.raises(InputError, match=message):
        bearing_signal(**{**arguments, **change})


def healthy(machine_type, attribute, rng, fault=None, **quantities):
    model = find_model(machine_type)
    state = next(s for s in model.states if s.attribute == attribute)
    state = replace(state, quantities={**state.quantities, **quantities})
    return model.synthesise(state, fault or Fault(), Clip(8 * SR, SR, rng)), state


def strongest_hz(y, low_hz, high_hz):
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    frequencies = np.arange(len(spectrum)) * SR / len(y)
    inside = (frequencies >= low_hz) & (frequencies <= high_hz)
    return frequencies[inside][np.argmax(spectrum[inside])]


@pytest.mark.parametrize("volt", [1.5, 2.5])
def test_gear_mesh_has_sidebands_at_the_shaft_rate(rng, volt):
    y, state = healthy("gearboxSim", f"volt_{volt:g}_wt_50", rng)
    mesh_hz = strongest_hz(y, 0.95 * state["mesh_hz"], 1.05 * state["mesh_hz"])
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    shaft_hz = mesh_hz / 17

    def level(frequency_hz):
        middle = round(frequency_hz * len(y) / SR)
        return spectrum[middle - 8 : middle + 9].max()

    for side in (-1, 1):
        assert level(mesh_hz + side * shaft_hz) > 3 * level(mesh_hz + side * 0.5 * shaft_hz)
    assert level(mesh_hz) > level(mesh_hz + shaft_hz)


def test_speed_moves_the_lines(rng):
    found = {}
    for attribute, quantities in describe("fanSim").items():
        y, _ = healthy("fanSim", attribute, rng)
        expected = quantities["blade_pass_hz"]
        found[attribute] = strongest_hz(y, 0.93 * expected, 1.07 * expected)
        assert found[attribute] == pytest.approx(expected, rel=0.03)
    assert len({round(value) for value in found.values()}) == len(found)


def test_pit_adds_its_line_to_the_bearing_rig(rng):
    attribute = "pro_A_vel_16_loc_B"
    lines = {}
    for fault in (None, Fault("outer_pit", 1.0)):
        y, state = healthy("bearingSim", attribute, rng, fault)
        frequencies, spectrum = envelope_lines(y, (2500, 6000))
        lines[fault] = line_at(frequencies, spectrum, state["bpfo_hz"], tolerance=0.02)
        assert line_at(frequencies, spectrum, state["shaft_rate_hz"], tolerance=0.02) > 8
    assert lines[Fault("outer_pit", 1.0)] > 2 * lines[None]


def test_train_clicks_at_every_joint(rng):
    y, state = healthy("ToyTrainSim", "car_B1_spd_8_mic_1", rng)
    frequencies, spectrum = envelope_lines(y, (1000, 7000))
    rate_hz = state["joint_rate_hz"]
    assert max(line_at(frequencies, spectrum, k * rate_hz, 0.04) for k in (1, 2, 3)) > 8


def test_slide_repeats_after_its_cycle_time(rng):
    y, state = healthy("sliderSim", "pro_A_vel_500", rng)
    level = np.sqrt(np.mean((y[: len(y) // 160 * 160].reshape(-1, 160)) ** 2, axis=1))
    level -= level.mean()
    correlation = np.correlate(level, level, "full")[len(level) - 1 :]
    half_s = state["cycle_time_s"] / 2
    window = slice(int(70 * half_s), int(130 * half_s))
    lag_s = (window.start + np.argmax(correlation[window])) / 100
    assert lag_s == pytest.approx(half_s, rel=0.05)


def test_load_slows_the_motor():
    states = describe("gearboxSim")
    assert states["volt_2_wt_100"]["shaft_rate_hz"] < states["volt_2_wt_50"]["shaft_rate_hz"]


@pytest.mark.parametrize("machine_type", simulate.MACHINES)
def test_every_fault_sounds_and_stays_near_normal_level(machine_type):
    """A fault changes the sound, by no more than normal machines differ among themselves."""
    model = find_model(machine_type)
    state = model.states[0]

    def level_db(fault, number):
        rng = np.random.default_rng(number)
        return 10 * np.log10(np.mean(model.synthesise(state, fault, Clip(3 * SR, SR, rng)) ** 2))

    normal = np.mean([level_db(Fault(), number) for number in range(2)])
    assert abs(normal) < 6
    for name in model.faults:
        change_db = np.mean([level_db(Fault(name, 1.0), n) for n in range(2)]) - normal
        assert 1e-6 < abs(change_db) < 6, name


def test_levels_are_those_of_recordings():
    for machine_type in simulate.MACHINES:
        plan = plan_machine(machine_type, simulate.SIZES["smoke"], 0)[0]
        y = machines.synthesise_clip(
            machine_type, plan.state, duration_s=2.0, rng=np.random.default_rng(1)
        )
        assert y.shape == (2 * SR,)
        assert -55 < 20 * np.log10(np.std(y)) < -20
        assert np.abs(y).max() < 1


def test_clean_and_noise_add_up_to_different_sounds():
    state = find_model("gearboxSim").states[0]
    noise = machines.synthesise_clip(
        "gearboxSim", state, duration_s=4.0, rng=np.random.default_rng(0), with_machine=False
    )
    clean = machines.synthesise_clip(
        "gearboxSim", state, duration_s=4.0, rng=np.random.default_rng(0), with_background=False
    )
    mesh_hz = describe("gearboxSim")[state.attribute]["mesh_hz"]

    def line(y):
        spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))[: 2000 * 4]
        return line_at(np.arange(len(spectrum)) / 4, spectrum / np.median(spectrum), mesh_hz, 0.03)

    assert line(clean) > 3 * line(noise)


def test_its_readme_states_models_and_version_policy():
    text = " ".join(Path(simulate.__file__).with_name("README.md").read_text().split())
    assert "before any detection system had seen it and not tuned to any afterwards" in text
    assert all(machine_type in text for machine_type in simulate.MACHINES)
