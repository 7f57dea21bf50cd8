"""Recordings as they lie on an engineer's disk: other rates, formats, lengths, and an hour."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from asdlib.base import InputError
from asdlib.data import open_waveforms, read_clips, scan_clips
from asdlib.data.audio import read_mono
from asdlib.workbook.datasets import check_recordings

SETTINGS = {"window_s": 10.0, "resample": False, "channel": -1}
RECORDER = {"samplerate": 48000, "subtype": "PCM_16"}
INTERFACE = {"samplerate": 44100, "subtype": "PCM_24"}


@pytest.fixture(scope="module")
def messy(simulated_smoke, tmp_path_factory) -> Path:
    """Simulated clips as if recorded by hand: names, dates, rates, channels, lengths, formats."""
    root = tmp_path_factory.mktemp("messy") / "Meine Messung"
    clips = read_clips(simulated_smoke, machines=["fanSim"])
    sound = np.concatenate([soundfile.read(path)[0] for path in clips["path"][:8]])
    files = {
        "Pumpe 3/normal/2026-05-02/Pumpe 3 2026-05-02 07_15.wav": (60, 2, RECORDER),
        "Pumpe 3/normal/2026-05-02/Pumpe 3 2026-05-02 08_15 (gut).flac": (11, 2, RECORDER),
        "Pumpe 3/normal/2026-05-03/0715.wav": (4, 2, RECORDER),
        "Pumpe 3/normal/2026-05-03/0815.aiff": (19.9, 1, INTERFACE),
        "Pumpe 3/check/2026-05-09/Pumpe 3 [neu].WAV": (24, 1, INTERFACE),
        "Pumpe 3/check/2026-05-09/Pumpe 3.ogg": (5, 1, {"samplerate": 48000}),
    }
    for name, (seconds, channels, form) in files.items():
        rate = form["samplerate"]
        samples = np.resize(sound, 16000 * 60)[: round(16000 * seconds)]
        samples = resample_poly(samples, rate // 100, 160)[: round(rate * seconds)]
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        both = np.stack([samples, -0.5 * samples], axis=1)[:, :channels]
        soundfile.write(path, 0.5 * both, **form)
    (root / "Pumpe 3/check/Bericht.pdf").write_bytes(b"%PDF")
    (root / "Pumpe 3/check/.DS_Store").write_bytes(b"")
    return root


def test_a_messy_folder_is_understood(messy):
    clips, scan = scan_clips(messy, window_s=10)
    shown = clips[["clip_id", "n_samples", "start_s", "recorded_at"]].to_numpy().tolist()
    assert shown[:3] == [
        ["Pumpe 3/test/2026-05-09_Pumpe 3 [neu]@00000.0s.wav", 529200, 0.0, "2026-05-09T00:00:00"],
        ["Pumpe 3/test/2026-05-09_Pumpe 3 [neu]@00012.0s.wav", 529200, 12.0, "2026-05-09T00:00:12"],
        ["Pumpe 3/test/2026-05-09_Pumpe 3.wav", 240000, 0.0, "2026-05-09T00:00:00"],
    ]
    assert shown[3][0] == "Pumpe 3/train/2026-05-02_Pumpe 3 2026-05-02 07_15@00000.0s.wav"
    assert shown[8][2:] == [50.0, "2026-05-02T07:15:50"]
    assert [row[3] for row in shown[9:]] == [
        "2026-05-02T08:15:00", "2026-05-03T07:15:00", "2026-05-03T08:15:00",
    ]  # fmt: skip
    assert scan.told() == [
        "1 passed over (hidden): Pumpe 3/check/.DS_Store",
        "1 passed over (no recording): Pumpe 3/check/Bericht.pdf",
    ]


def test_windows_of_every_format_join_to_the_recording(messy, tmp_path):
    """Decoded window by window, without resampling, nothing is lost, doubled or shifted."""
    for rate in (44100, 48000):
        clips = read_clips(messy, window_s=3)
        clips = clips[clips["sample_rate"] == rate].reset_index(drop=True)
        store = open_waveforms(clips, cache_dir=tmp_path, sample_rate=rate, channel=0)
        for path, own in clips.groupby("path"):
            joined = np.concatenate([store.row_of(clip_id) for clip_id in own["clip_id"]])
            whole = read_mono(path, sample_rate=rate, channel=0)
            np.testing.assert_array_equal(joined, whole, err_msg=path)


def test_an_mp3_is_heard_in_windows(tmp_path, rng):
    path = tmp_path / "a.mp3"
    soundfile.write(path, 0.1 * rng.standard_normal(16000 * 9), 16000, format="MP3")
    whole = read_mono(path)
    for start in (0, 31_234, 100_000):
        part = read_mono(path, start=start, n_samples=20_000)
        assert np.abs(part[4000:].astype(int) - whole[start + 4000 : start + 20_000]).max() <= 2


def test_messy_recordings_become_mono_of_one_rate(messy, tmp_path):
    clips = read_clips(messy, window_s=10)
    store = open_waveforms(clips, cache_dir=tmp_path, resample=True, channel="mean")
    lengths_s = np.diff(store.offsets) / 16000
    np.testing.assert_allclose(lengths_s, clips["n_samples"] / clips["sample_rate"], atol=1e-4)
    first = store.row_of("Pumpe 3/train/2026-05-03_0715.wav").astype(float)
    left, right = (
        read_mono(messy / "Pumpe 3/normal/2026-05-03/0715.wav", channel=n, resample=True)
        for n in (0, 1)
    )
    assert np.abs(first - (left.astype(float) + right) / 2).max() <= 1.5
    np.testing.assert_array_equal(
        open_waveforms(clips, cache_dir=tmp_path, resample=True, channel=1).row(0), store.row(0)
    )  # one channel beside stereo recordings is taken as it is


def test_the_check_tells_all_it_found_at_once(messy):
    said: list[str] = []
    with pytest.raises(InputError) as caught:
        check_recordings(messy, None, SETTINGS, tell=said.append)
    assert str(caught.value).splitlines() == [
        "3 things cannot be used:",
        "2 recordings at 44100 Hz, expected 16000 Hz: add --set resample=true (the first is "
        "Pumpe 3/check/2026-05-09/Pumpe 3 [neu].WAV).",
        "4 recordings at 48000 Hz, expected 16000 Hz: add --set resample=true (the first is "
        "Pumpe 3/check/2026-05-09/Pumpe 3.ogg).",
        "3 recordings with 2 channels, expected 1: add --set channel=mean (or 0, 1) (the first is "
        "Pumpe 3/normal/2026-05-02/Pumpe 3 2026-05-02 07_15.wav).",
    ]
    assert said[0] == f"{messy}: plain folders, 6 recordings, machines: 1"
    assert said[1].split()[:4] == ["machine", "train", "test", "supplemental"]
    for word in ("Pumpe 3", "4.0 to 60.0", "44100, 48000", "1, 2", "2026-05-02 to 2026-05-09"):
        assert word in said[2]
    assert said[3] == (
        "2 long recordings are heard whole, in 8 windows of 10.0 to 12.0 s (window_s)"
    )
    assert len(said) == 6
    check_recordings(messy, None, {**SETTINGS, "resample": True, "channel": 0}, tell=said.append)


def test_many_problems_stand_above_a_short_error(tmp_path):
    for name in "abcdef":
        path = tmp_path / name / "train" / "x.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(100), 16000)
    said: list[str] = []
    with pytest.raises(InputError, match=r"6 things cannot be used; they are listed above\. Not"):
        check_recordings(tmp_path, None, SETTINGS, tell=said.append)
    assert said[-1] == (
        "- f: 1 training clips, expected at least 3. Record more, or leave the machine out "
        "(--machines)."
    )


_HOUR = """
import resource, sys
import numpy as np
from asdlib.data import open_waveforms, read_clips
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
clips = read_clips(sys.argv[1], window_s=10)
store = open_waveforms(
    clips, cache_dir=sys.argv[2], sample_rate=2000, resample=True, channel="mean"
)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(clips), len(store.flat), (after - before) // 1024)
"""


@pytest.mark.parametrize(("name", "subtype"), [("hour.wav", "FLOAT"), ("hour.flac", "PCM_16")])
def test_an_hour_needs_little_memory(tmp_path, name, subtype):
    path = tmp_path / "fan/train" / name
    path.parent.mkdir(parents=True)
    minute = np.random.default_rng(0).uniform(-0.5, 0.5, (60 * 4000, 2)).astype(np.float32)
    with soundfile.SoundFile(path, "w", 4000, 2, subtype) as file:
        for _ in range(60):
            file.write(minute)
    command = [sys.executable, "-c", _HOUR, str(tmp_path), str(tmp_path / "cache")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    n_clips, n_samples, used_mb = map(int, shown.split())
    assert (n_clips, n_samples) == (360, 3600 * 2000)
    assert used_mb < 150  # decoded at once, with two channels of 64 bits, it would take 230 MB
