"""The stores of log-mel and of frames: their rows, what their keys distinguish, how they stream."""

import sys
import threading

import librosa
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal
from spectra_corpus import SR, coloured_noise, waveform_store
from threadpoolctl import threadpool_info

from asdlib.base import InputError, one_thread
from asdlib.data import cache
from asdlib.data.audio import REMOVED_DB
from asdlib.scoring import time_average
from asdlib.spectra import (
    OFFICIAL_LOG_MEL,
    LogMelSettings,
    features,
    log_mel,
    open_frames,
    open_log_mel,
    open_spectrum,
)
from asdlib.spectra.features import fit_length, removed_bands
from asdlib.training.embed import FeatureBatches
from asdlib.training.network import InputStandardisation

SETTINGS = LogMelSettings(n_fft=512, hop_length=256, n_mels=32)


def store_and_table(folder, rows, machines):
    ids = [f"{machine}/train/{index:04d}.wav" for index, machine in enumerate(machines)]
    clips = pd.DataFrame({"clip_id": ids, "machine_type": machines})
    return waveform_store(folder, ids, rows), clips


@pytest.fixture
def corpus(tmp_path, rng):
    machines = ["fan"] * 4 + ["pump"] * 3
    lengths = [8000, 5000, 16000, 12001, 8000, 300, 9000]
    rows = [rng.integers(-9000, 9000, length).astype(np.int16) for length in lengths]
    store, clips = store_and_table(tmp_path, rows, machines)
    return rows, store, clips


def open_features(corpus, folder, **options):
    _, store, clips = corpus
    defaults = {
        "settings": SETTINGS,
        "highpass_hz": {},
        "duration_s": 0.5,
        "cache_dir": folder,
        "workers": 2,
    }
    return open_log_mel(store, clips, **{**defaults, **options})


def test_rows_are_the_log_mel_of_the_fitted_clips(corpus, tmp_path):
    rows, _, clips = corpus
    store = open_features(corpus, tmp_path, highpass_hz={"fan": 900.0, "pump": None})
    assert store.ids.tolist() == clips["clip_id"].tolist()
    assert store.fixed().shape == (7, 32, 32)
    assert store.fixed().dtype == np.float16
    for index, row in enumerate(rows):
        cutoff = 900.0 if index < 4 else None
        expected = log_mel(
            fit_length(row, 8000), n_fft=512, hop_length=256, n_mels=32, highpass_hz=cutoff
        )
        removed = removed_bands(LogMelSettings(n_fft=512, hop_length=256, n_mels=32), cutoff)
        assert removed.any() == (cutoff is not None)
        assert (store.row(index)[removed] == REMOVED_DB).all()
        np.testing.assert_allclose(
            store.row(index)[~removed], expected[~removed], rtol=0, atol=0.032
        )


def test_what_lies_below_a_highpass_does_not_reach_the_network(tmp_path, rng):
    """Two clips that differ below the cut-off alone are the same to network and trivial system."""
    t = np.arange(16000) / 16000
    high = signal.sosfilt(
        signal.butter(8, 2000, "high", fs=16000, output="sos"), rng.normal(0, 1500, len(t))
    )
    tone = np.sin(2 * np.pi * 300 * t) * signal.windows.hann(len(t))
    rows = [(high + level * tone).round().astype(np.int16) for level in (0, 12000)]
    store, clips = store_and_table(tmp_path, rows, ["fan", "fan"])
    options = {"duration_s": 1.0, "cache_dir": tmp_path, "workers": 1}
    features = open_log_mel(
        store, clips, settings=LogMelSettings(), highpass_hz={"fan": 2000.0}, **options
    )
    spectrum = open_spectrum(store, features, cache_dir=tmp_path, workers=1)
    for levels in (features.fixed(), spectrum.fixed()):
        layer = InputStandardisation(levels.shape[1], "clip")
        batches = FeatureBatches(levels, np.arange(2), torch.device("cpu"))
        for name, value in zip(("mean", "std"), batches.standardisation("clip"), strict=True):
            getattr(layer, name).copy_(value)
        removed = torch.from_numpy(levels[0, :, 0] == REMOVED_DB)
        assert removed.any()
        assert not removed.all()
        first, second = layer(torch.tensor(levels).float()[:, None])
        assert not first[0, removed].any()
        # In decibel; rounding to 16 bits differs, and float16 has steps of 0.06 dB.
        assert ((first - second).abs() * layer.std).quantile(0.99) < 0.1
    trivial = time_average(features.fixed())
    np.testing.assert_allclose(trivial[0], trivial[1], atol=0.1)


def test_rows_follow_the_table_not_the_waveform_store(corpus, tmp_path):
    rows, store, clips = corpus
    backwards = clips.iloc[::-1].reset_index(drop=True).head(3)
    forwards = open_features(corpus, tmp_path)
    part = open_features((rows, store, backwards), tmp_path)
    assert part.ids.tolist() == backwards["clip_id"].tolist()
    np.testing.assert_array_equal(part.fixed(), forwards.fixed()[[6, 5, 4]])


def test_same_settings_open_the_same_store_and_others_another(corpus, tmp_path):
    progress = []
    first = open_features(corpus, tmp_path, on_progress=progress.append)
    assert sum(progress) == 7
    assert open_features(corpus, tmp_path, workers=1).directory == first.directory
    changes = [
        {"settings": LogMelSettings(n_fft=512, hop_length=256, n_mels=33)},
        {"settings": LogMelSettings(n_fft=512, hop_length=256, n_mels=32, top_db=None)},
        {"highpass_hz": {"fan": 900.0}},
        {"duration_s": 0.25},
        {"long_clips": "start"},
    ]
    directories = {open_features(corpus, tmp_path, **change).directory for change in changes}
    assert len(directories | {first.directory}) == 6


def test_other_waveforms_or_code_give_another_key(corpus, tmp_path, monkeypatch):
    rows, _, clips = corpus
    first = open_features(corpus, tmp_path)
    store, _ = store_and_table(tmp_path, [-row for row in rows], clips["machine_type"])
    assert open_features((rows, store, clips), tmp_path).directory != first.directory
    monkeypatch.setitem(cache.VERSIONS, "log_mel", cache.VERSIONS["log_mel"] + 1)
    assert open_features(corpus, tmp_path).directory != first.directory


def test_a_build_that_breaks_goes_on_where_it_stopped(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("asdlib.data.store._BLOCK_ROWS", 2)
    whole = open_features(corpus, tmp_path / "whole")
    real, calls = features.fit_length, []

    def breaking(y, n_samples, *, long_clips):
        calls.append(len(y))
        if len(calls) == 6:
            raise InputError("disk on fire")
        return real(y, n_samples, long_clips=long_clips)

    monkeypatch.setattr(features, "fit_length", breaking)
    with pytest.raises(InputError, match="on fire"):
        open_features(corpus, tmp_path / "broken", workers=1)
    calls.clear()
    monkeypatch.setattr(features, "fit_length", lambda *a, **k: calls.append(1) or real(*a, **k))
    again = open_features(corpus, tmp_path / "broken", workers=1)
    assert len(calls) < 7
    np.testing.assert_array_equal(again.fixed(), whole.fixed())


def test_torch_keeps_its_threads(corpus, tmp_path):
    before, running = torch.get_num_threads(), threading.active_count()
    open_features(corpus, tmp_path)
    assert torch.get_num_threads() == before
    assert threading.active_count() <= running


def test_one_thread_holds_inside_alone():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with one_thread():
        assert torch.get_num_threads() == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"highpass_hz": {"fann": 900.0}}, "table has no machine fann. There are: fan"),
        ({"highpass_hz": {"fan": 9000.0}}, "highpass_hz=9000.0"),
        ({"duration_s": 0.0}, "n_samples=0"),
        ({"long_clips": "middle"}, "long_clips='middle': expected one of start, centre, end"),
        ({"settings": LogMelSettings(sample_rate=44100)}, "have 16000 Hz"),
    ],
)
def test_what_is_refused(corpus, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        open_features(corpus, tmp_path / "features", **options)
    assert not (tmp_path / "features").exists()


def test_clips_missing_or_empty_are_refused(corpus, tmp_path):
    rows, store, clips = corpus
    strangers = clips.assign(clip_id="fan/train/none.wav").head(1)
    with pytest.raises(InputError, match=r"no row for 1 clips, the first is fan/train/none\.wav"):
        open_features((rows, store, strangers), tmp_path)
    empty = store_and_table(tmp_path, [rows[0], rows[0][:0]], ["fan", "fan"])
    with pytest.raises(InputError, match=r"fan/train/0001\.wav: holds no samples"):
        open_features((rows, *empty), tmp_path)


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(features.LONG_CLIP_RULES))
def test_fit_length(length, wanted, rule):
    y = np.arange(length)
    fitted = fit_length(y, wanted, long_clips=rule)
    assert len(fitted) == wanted
    if wanted >= length:
        np.testing.assert_array_equal(fitted, np.arange(wanted) % length)
    else:
        np.testing.assert_array_equal(np.diff(fitted), 1)
        first = {"start": 0, "centre": (length - wanted) // 2, "end": length - wanted}[rule]
        assert fitted[0] == first


@pytest.mark.parametrize("y", [np.zeros(0), np.zeros((2, 3))])
def test_fit_length_needs_a_clip(y):
    with pytest.raises(InputError, match="expected the samples of one clip"):
        fit_length(y, 3)


# Frames at the clips' own length, against librosa.


@pytest.fixture
def signals(rng):
    lengths = (16000, 5000, 700)
    noise = [coloured_noise(rng, n, 100, 7000, 0.05) for n in lengths]
    noise[0][8000:] = 0  # silence: the floor of the logarithm
    return [np.round(32768 * y).astype(np.int16) for y in noise]


@pytest.fixture
def store(tmp_path, signals):
    ids = [f"saw/train/{i}.wav" for i in range(3)]
    waveforms = waveform_store(tmp_path, ids, signals)
    return open_frames(
        waveforms, pd.DataFrame({"clip_id": ids}), settings=OFFICIAL_LOG_MEL, min_frames=5,
        cache_dir=tmp_path, workers=1,
    )  # fmt: skip


def official_log_mel(y):
    mel = librosa.feature.melspectrogram(
        y=y / 32768, sr=SR, n_fft=1024, hop_length=512, n_mels=128, power=2.0, fmin=0.0
    )
    return 20.0 / 2.0 * np.log10(np.maximum(mel, sys.float_info.epsilon))


@pytest.mark.parametrize("clip", [0, 1])
def test_frames_are_the_official_features_of_the_whole_clip(store, signals, clip):
    expected = official_log_mel(signals[clip].astype(float)).T
    frames = store.row(clip).astype(float)
    assert frames.shape == expected.shape
    assert np.abs(frames - expected).max() < 0.07  # float16 near -150 dB


def test_a_clip_of_too_few_frames_is_repeated(store, signals):
    repeated = np.resize(signals[2], 4 * 512).astype(float)
    assert store.row(2).shape == (5, 128)
    assert np.abs(store.row(2).astype(float) - official_log_mel(repeated).T).max() < 0.07


def test_an_unknown_clip_and_another_rate_are_refused(tmp_path, signals):
    waveforms = waveform_store(tmp_path, ["a", "b", "c"], signals)
    with pytest.raises(InputError, match="no row for 1 clips, the first is d"):
        open_frames(
            waveforms,
            pd.DataFrame({"clip_id": ["d"]}),
            settings=OFFICIAL_LOG_MEL,
            cache_dir=tmp_path,
        )
    with pytest.raises(InputError, match="the waveforms in .* have 16000 Hz"):
        open_frames(
            waveforms, pd.DataFrame({"clip_id": ["a"]}), cache_dir=tmp_path,
            settings=LogMelSettings(sample_rate=22050),
        )  # fmt: skip
