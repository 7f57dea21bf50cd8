import json
import os

import numpy as np
import psutil
import pytest
import soundfile
from corpus import make_tree, train_and_test, write_wav

from asdlib.base import InputError
from asdlib.data import defects, open_waveforms, read_clips

NAME = "section_00_source_train_normal_{:04d}_noAttribute.wav"


def write_clips(root, *clips, sample_rate=16000):
    for number, samples in enumerate(clips):
        write_wav(root / "fan/train" / NAME.format(number), samples, sample_rate=sample_rate)
    return root


@pytest.fixture
def ragged(tmp_path, rng):
    """Clips of different lengths and their samples."""
    samples = [rng.integers(-9000, 9000, n, dtype=np.int16) for n in (1, 500, 1600, 37)]
    return read_clips(write_clips(tmp_path / "set", *samples)), samples


def test_every_row_is_the_clip(tmp_path, ragged):
    clips, samples = ragged
    store = open_waveforms(clips, cache_dir=tmp_path / "cache")
    assert store.flat.dtype == np.int16
    assert store.ids.to_list() == clips["clip_id"].to_list()
    for position, expected in enumerate(samples):
        np.testing.assert_array_equal(store.row(position), expected)


def test_rows_follow_the_table_and_are_found_by_id(tmp_path, ragged):
    clips, samples = ragged
    shuffled = clips.iloc[[2, 0, 3, 1]]
    store = open_waveforms(shuffled, cache_dir=tmp_path / "cache")
    for position, clip_id in zip(store.positions(clips["clip_id"]), clips["clip_id"], strict=True):
        np.testing.assert_array_equal(
            store.row(position), samples[clips["clip_id"].to_list().index(clip_id)]
        )


def test_clips_are_decoded_once(tmp_path, ragged, monkeypatch):
    clips, _ = ragged
    progress = []
    first = open_waveforms(clips, cache_dir=tmp_path, on_progress=progress.append)
    assert sum(progress) == 4
    monkeypatch.setattr("asdlib.data.audio.read_mono", None)
    again = open_waveforms(clips, cache_dir=tmp_path, on_progress=progress.append)
    assert again.directory == first.directory
    assert sum(progress) == 8


def test_a_changed_file_is_decoded_again(tmp_path, ragged):
    clips, samples = ragged
    first = open_waveforms(clips, cache_dir=tmp_path / "cache")
    write_wav(tmp_path / "set/fan/train" / NAME.format(1), samples[1][::-1])
    second = open_waveforms(clips, cache_dir=tmp_path / "cache")
    assert second.directory != first.directory
    np.testing.assert_array_equal(second.row(1), samples[1][::-1])


def test_folders_that_differ_in_content_alone_share_no_store(tmp_path, ragged):
    clips, samples = ragged
    write_clips(tmp_path / "other", *[-part for part in samples])
    for path in (tmp_path / "set", tmp_path / "other"):
        for file in path.rglob("*.wav"):
            os.utime(file, ns=(10**18, 10**18))
    first = open_waveforms(clips, cache_dir=tmp_path / "cache")
    other = open_waveforms(read_clips(tmp_path / "other"), cache_dir=tmp_path / "cache")
    assert other.directory != first.directory
    np.testing.assert_array_equal(other.row(2), -samples[2])


def test_a_changed_file_with_its_time_kept_is_decoded_again(tmp_path, ragged):
    clips, samples = ragged
    first = open_waveforms(clips, cache_dir=tmp_path / "cache")
    path = tmp_path / "set/fan/train" / NAME.format(1)
    before = path.stat()
    write_wav(path, samples[1][::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = open_waveforms(clips, cache_dir=tmp_path / "cache")
    assert second.directory != first.directory
    np.testing.assert_array_equal(second.row(1), samples[1][::-1])


def test_the_same_recordings_elsewhere_share_the_store(tmp_path, ragged, monkeypatch):
    clips, samples = ragged
    write_clips(tmp_path / "copy", *samples)
    first = open_waveforms(clips, cache_dir=tmp_path / "cache")
    monkeypatch.setattr("asdlib.data.audio.read_mono", None)
    copy = open_waveforms(read_clips(tmp_path / "copy"), cache_dir=tmp_path / "cache")
    assert copy.directory == first.directory


def test_a_file_that_became_longer_since_the_table(tmp_path, ragged):
    clips, samples = ragged
    write_wav(tmp_path / "set/fan/train" / NAME.format(1), np.tile(samples[1], 2))
    with pytest.raises(InputError, match="0001_noAttribute.wav: changed since the clip table"):
        open_waveforms(clips, cache_dir=tmp_path / "cache")


def test_a_file_that_vanished_since_the_table(tmp_path, ragged):
    clips, _ = ragged
    (tmp_path / "set/fan/train" / NAME.format(1)).unlink()
    with pytest.raises(InputError, match="0001_noAttribute.wav: cannot be read"):
        open_waveforms(clips, cache_dir=tmp_path / "cache")


def test_other_settings_are_another_store(tmp_path, rng):
    samples = rng.integers(-9000, 9000, (100, 2), dtype=np.int16)
    clips = read_clips(write_clips(tmp_path / "set", samples))
    near = open_waveforms(clips, cache_dir=tmp_path, channel=0)
    far = open_waveforms(clips, cache_dir=tmp_path, channel=1)
    assert near.directory != far.directory
    np.testing.assert_array_equal(near.row(0), samples[:, 0])
    np.testing.assert_array_equal(far.row(0), samples[:, 1])
    settings = json.loads((far.directory / "meta.json").read_text())["settings"]
    assert (settings["channel"], settings["sample_rate"]) == (1, 16000)


def test_stereo_and_other_rates_are_refused_before_anything_is_written(tmp_path, rng):
    stereo = write_clips(tmp_path / "stereo", *[np.zeros((10, 2), np.int16)] * 7)
    with pytest.raises(InputError, match="^7 recordings with 2 channels, expected 1: add --s"):
        open_waveforms(read_clips(stereo), cache_dir=tmp_path / "cache")
    with pytest.raises(InputError, match="channel 2 does not exist"):
        open_waveforms(read_clips(stereo), cache_dir=tmp_path / "cache", channel=2)
    slow = write_clips(tmp_path / "slow", np.zeros(441, np.int16), sample_rate=44100)
    with pytest.raises(InputError, match="44100 Hz, expected 16000 Hz"):
        open_waveforms(read_clips(slow), cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    store = open_waveforms(read_clips(slow), cache_dir=tmp_path / "cache", resample=True)
    assert len(store.row(0)) == 160


def test_float_with_nan_is_named_and_can_be_mended(tmp_path, ragged):
    clips, samples = ragged
    path = tmp_path / "set/fan/train" / NAME.format(2)
    soundfile.write(path, np.full(1600, np.nan), 16000, subtype="FLOAT")
    with pytest.raises(InputError, match="0002_noAttribute.wav: holds 1600 samples that are NaN"):
        open_waveforms(clips, cache_dir=tmp_path / "cache", workers=2)
    write_wav(path, samples[2])
    store = open_waveforms(clips, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(store.row(2), samples[2])


def test_an_empty_table_and_a_repeated_id_are_refused(tmp_path, ragged):
    clips, _ = ragged
    with pytest.raises(InputError, match="clip table is empty"):
        open_waveforms(clips.iloc[:0], cache_dir=tmp_path)
    with pytest.raises(InputError, match="stands twice in the clip table"):
        open_waveforms(clips.iloc[[0, 1, 0]], cache_dir=tmp_path)


def test_one_clip_is_enough(tmp_path):
    clips = read_clips(write_clips(tmp_path / "set", np.arange(5, dtype=np.int16)))
    assert open_waveforms(clips, cache_dir=tmp_path).fixed().tolist() == [[0, 1, 2, 3, 4]]


def test_defects_of_known_signals(tmp_path):
    time_s = np.arange(16000) / 16000
    sine = 16384 * np.sin(2 * np.pi * 440 * time_s)
    clipped = np.clip(4 * sine, -32768, 32767)
    signals = [sine, clipped, np.zeros(16000), np.full(16000, 3277.0), sine / 2 + 8192]
    clips = read_clips(write_clips(tmp_path, *[np.rint(s).astype(np.int16) for s in signals]))
    table = defects(open_waveforms(clips, cache_dir=tmp_path / "cache"))
    assert table["clip_id"].to_list() == clips["clip_id"].to_list()
    assert table["is_silent"].to_list() == [False, False, True, True, False]
    np.testing.assert_allclose(table["peak_db"][[0, 3]], [-6.02, -20.0], atol=0.01)
    np.testing.assert_allclose(table["rms_db"][[0, 3]], [-9.03, -20.0], atol=0.01)
    assert table["rms_db"][2] == -np.inf
    np.testing.assert_allclose(table["dc_offset"], [0, 0, 0, 0.1, 0.25], atol=1e-4)
    # 4 sin overshoots 2 sin limits: the share of a sine of peak 2 beyond 1 is 2/3.
    np.testing.assert_allclose(table["clipped_fraction"], [0, 2 / 3, 0, 0, 0], atol=0.005)


def test_a_set_larger_than_the_allowed_memory_is_streamed(tmp_path):
    """80 MB of sound are decoded and measured with less than half of it resident."""
    files = [f"fan/train/{NAME.format(i)}" for i in range(250)]
    clips = read_clips(make_tree(tmp_path, files, n_samples=160_000))
    process = psutil.Process()
    before = process.memory_info().rss
    peaks = []
    store = open_waveforms(
        clips,
        cache_dir=tmp_path / "cache",
        workers=1,
        on_progress=lambda n: peaks.append(process.memory_info().rss),
    )
    defects(store)
    peaks.append(process.memory_info().rss)
    assert max(peaks) - before < 40e6


def test_real_recordings_are_kept_bit_for_bit(tmp_path, realdata):
    clips = read_clips(realdata / "dcase")
    store = open_waveforms(clips, cache_dir=tmp_path)
    assert len(store) == 604
    for position in range(0, 604, 50):
        expected, _ = soundfile.read(clips["path"][position], dtype="int16")
        np.testing.assert_array_equal(store.row(position), expected)
    assert not defects(store)["is_silent"].any()


def test_a_read_only_cache_that_is_complete_is_enough(tmp_path, ragged, monkeypatch):
    clips, samples = ragged
    open_waveforms(clips, cache_dir=tmp_path / "cache")

    def refuse(*args, **kwargs):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    monkeypatch.setattr("pathlib.Path.touch", refuse)
    store = open_waveforms(clips, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(store.row(1), samples[1])
    with pytest.raises(InputError, match="cannot be written .Permission denied.*--out"):
        open_waveforms(clips, cache_dir=tmp_path / "other")


def test_the_table_of_a_complete_machine_opens(tmp_path):
    clips = read_clips(make_tree(tmp_path, train_and_test("fan")))
    assert len(open_waveforms(clips, cache_dir=tmp_path / "cache")) == len(clips) == 8


def test_recordings_in_a_physical_unit_share_one_factor_and_it_is_said(tmp_path, rng):
    clips = read_clips(make_tree(tmp_path / "set", train_and_test("fan")))
    wave = rng.uniform(-3, 3, 500)
    for n, path in enumerate(clips["path"]):
        soundfile.write(path, wave * (n + 1) / 2, 16000, subtype="FLOAT")  # up to 12 g
    clips = read_clips(tmp_path / "set")
    said = []
    store = open_waveforms(clips, cache_dir=tmp_path / "cache", on_remark=said.append)
    assert said == ["Recordings in a physical unit: all are multiplied by 0.0625."]
    for n in range(8):
        assert np.abs(store.row(n) / 2048 - wave * (n + 1) / 2).max() <= 0.51 / 2048
