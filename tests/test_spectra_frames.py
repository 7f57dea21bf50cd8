"""Frames at the clips' own length, against librosa."""

import sys

import librosa
import numpy as np
import pandas as pd
import pytest
from spectra_corpus import SR, coloured_noise, waveform_store

from asdlib.errors import InputError
from asdlib.spectra import OFFICIAL_LOG_MEL, LogMelSettings, open_frames


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
