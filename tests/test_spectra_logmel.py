"""Log-mel against librosa's own pipeline, the high-pass, and what is refused."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.spectra import LogMelSettings, log_mel, spectrogram
from asdlib.spectra.logmel import highpass_response, mel_matrix
from asdlib.spectra.profiles import band_centres_hz

SR = 16000
TOLERANCE_DB = 5e-3


def reference(
    y,
    *,
    sr=SR,
    n_fft=1024,
    hop_length=512,
    n_mels=64,
    fmin=200.0,
    fmax=8000.0,
    power=2.0,
    amin=1e-10,
    top_db=80.0,
):
    mel = librosa.feature.melspectrogram(
        y=y,
        sr=sr,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        fmin=fmin,
        fmax=fmax,
        power=power,
    )
    return librosa.power_to_db(mel, ref=1.0, amin=amin, top_db=top_db)


def signals():
    rng = np.random.default_rng(1)
    t = np.arange(2 * SR) / SR
    noise = rng.standard_normal(len(t))
    return {
        "noise": 0.1 * noise,
        "tone": 0.9 * np.sin(2 * np.pi * 1000.3 * t),
        "tone below fmin": 0.9 * np.sin(2 * np.pi * 50 * t),
        "strong hum, faint hiss": 0.9 * np.sin(2 * np.pi * 100 * t) + 1e-5 * noise,
        "clicks": 0.9 * (np.arange(len(t)) % 4000 == 0),
        "silence": np.zeros(len(t)),
        "constant": np.full(len(t), 0.7),
        "constant with hiss": 0.7 + 1e-4 * noise,
        "quiet": 1e-5 * noise,
        "clipped": np.clip(3 * noise, -1, 1),
        "sweep": np.sin(2 * np.pi * 1900 * t**2),
        "16-bit hum": np.round(32000 * np.sin(2 * np.pi * 100 * t)) / 32768,
    }


@pytest.mark.parametrize("name", signals())
@pytest.mark.parametrize("n_fft", [256, 1024, 4096])
@pytest.mark.parametrize("top_db", [80.0, None])
def test_equals_librosa(name, n_fft, top_db):
    y = signals()[name].astype(np.float32)
    n_mels = 32 if n_fft == 256 else 128
    expected = reference(y, n_fft=n_fft, n_mels=n_mels, top_db=top_db)
    level = log_mel(y, sr=SR, n_fft=n_fft, n_mels=n_mels, top_db=top_db)
    assert level.dtype == np.float32
    np.testing.assert_allclose(level, expected, rtol=0, atol=TOLERANCE_DB)


@pytest.mark.parametrize(
    "options",
    [
        {"sr": 16000, "fmin": 0.0, "fmax": 4000.0, "n_mels": 40},
        {"sr": 44100, "n_fft": 2048, "hop_length": 441, "fmin": 200.0, "fmax": 20000.0},
        {"power": 1.0},
        {"power": 3.0, "top_db": None},
        {"n_fft": 1000, "hop_length": 333},
        {"n_fft": 1023, "hop_length": 256},
        {"amin": 1e-5, "top_db": 20.0},
    ],
)
def test_equals_librosa_for_other_settings(options, rng):
    y = 0.05 * rng.standard_normal(20_011).astype(np.float32)
    options = {"n_mels": 64, **options}
    np.testing.assert_allclose(
        log_mel(y, **options), reference(y, **options), rtol=0, atol=TOLERANCE_DB
    )


@settings(max_examples=25, deadline=None)
@given(
    n_samples=st.integers(600, 9000),
    n_fft=st.sampled_from([256, 400, 512]),
    hop=st.integers(50, 700),
    level=st.floats(-6, 0),
    seed=st.integers(0, 2**16),
)
def test_equals_librosa_for_any_length_and_hop(n_samples, n_fft, hop, level, seed):
    y = np.random.default_rng(seed).standard_normal(n_samples).astype(np.float32) * 10**level
    options = {"n_fft": n_fft, "hop_length": hop, "n_mels": 20}
    result = log_mel(y, **options)
    assert result.shape[-1] == LogMelSettings(**options).n_frames(n_samples)
    np.testing.assert_allclose(result, reference(y, **options), rtol=0, atol=TOLERANCE_DB)


def test_real_recordings_equal_librosa(realdata):
    paths = sorted(realdata.glob("dcase/dev_data/raw/*/train/*.wav"))[::40]
    assert paths
    for path in paths:
        y, sr = soundfile.read(path, dtype="float32")
        np.testing.assert_allclose(
            log_mel(y, sr=sr, fmax=min(8000, sr / 2)),
            reference(y, sr=sr, n_mels=128, fmax=min(8000, sr / 2)),
            rtol=0,
            atol=TOLERANCE_DB,
        )


def test_clip_shorter_than_the_transform_is_padded(rng):
    y = rng.standard_normal(700).astype(np.float32)
    with pytest.warns(UserWarning, match="too large"):
        expected = reference(y)
    np.testing.assert_allclose(log_mel(y, n_mels=64), expected, rtol=0, atol=TOLERANCE_DB)


def test_a_batch_is_its_clips(rng):
    batch = rng.standard_normal((2, 3, 5000)).astype(np.float32)
    batch[0, 1] *= 1e-3  # its floor must not come from its louder neighbours
    levels = log_mel(batch)
    assert levels.shape == (2, 3, 128, 10)
    for index in np.ndindex(2, 3):
        np.testing.assert_array_equal(levels[index], log_mel(batch[index]))


def test_kinds_of_samples_agree(rng):
    whole = rng.integers(-20000, 20000, (2, 8000)).astype(np.int16)
    expected = log_mel(whole)
    single = (whole / 32768).astype(np.float32)
    np.testing.assert_array_equal(log_mel(single), expected)
    np.testing.assert_array_equal(log_mel(single.astype(np.float64)), expected)
    np.testing.assert_array_equal(log_mel(whole[:, ::-1])[0], log_mel(whole[:, ::-1].copy())[0])
    tensor = log_mel(torch.from_numpy(single))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), expected)


def test_input_is_left_as_it_was(rng):
    y = rng.standard_normal(4000)
    before = y.copy()
    y.flags.writeable = False
    first = log_mel(y)
    np.testing.assert_array_equal(y, before)
    np.testing.assert_array_equal(log_mel(y), first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu(rng):
    y = torch.from_numpy(rng.standard_normal((70, 8000)))
    on_gpu = log_mel(y.cuda(), highpass_hz=1000.0)
    assert on_gpu.device.type == "cuda"
    torch.testing.assert_close(
        on_gpu.cpu(), log_mel(y, highpass_hz=1000.0), rtol=0, atol=TOLERANCE_DB
    )


def test_highpass_response_is_zero_below_and_one_above():
    octaves = np.array([-3.0, -1 / 3, -1 / 6, 0.0, 2.0])
    response = highpass_response(1000.0 * 2**octaves, 1000.0)
    np.testing.assert_allclose(response, [0, 0, 0.5, 1, 1], atol=1e-12)
    assert highpass_response(np.array([0.0]), 1000.0) == 0


@given(cutoff=st.floats(50, 7000))
def test_highpass_response_rises(cutoff):
    response = highpass_response(np.linspace(0, 8000, 500), cutoff)
    assert (np.diff(response) >= 0).all()
    assert response.min() >= 0
    assert response.max() <= 1


def test_highpass_silences_what_lies_below_and_keeps_what_lies_above(rng):
    t = np.arange(SR) / SR
    y = np.sin(2 * np.pi * 400 * t) + 0.01 * rng.standard_normal(SR)
    centres_hz = librosa.mel_frequencies(130, fmin=200, fmax=8000)
    below, above = centres_hz[2:] < 750, centres_hz[:-2] > 1000
    plain = log_mel(y, top_db=None)
    filtered = log_mel(y, top_db=None, highpass_hz=1000.0)
    np.testing.assert_array_equal(filtered[below], np.float32(-100))
    np.testing.assert_array_equal(filtered[above], plain[above])
    np.testing.assert_array_equal(np.unique(log_mel(y, highpass_hz=1000.0)[below]).size, 1)


def test_highpass_equals_filtering_the_power_spectrum(rng):
    y = rng.standard_normal(SR).astype(np.float32)
    power = np.abs(librosa.stft(y, n_fft=1024, hop_length=512)) ** 2
    power *= highpass_response(librosa.fft_frequencies(sr=SR, n_fft=1024), 900.0)[:, None]
    mel = librosa.feature.melspectrogram(S=power, sr=SR, n_mels=128, fmin=200, fmax=8000)
    expected = librosa.power_to_db(mel)
    np.testing.assert_allclose(log_mel(y, highpass_hz=900.0), expected, rtol=0, atol=TOLERANCE_DB)


def test_spectrogram_equals_librosa(rng):
    y = rng.standard_normal(5000).astype(np.float32)
    level = spectrogram(y, n_fft=512, hop_length=100)
    power = np.abs(librosa.stft(y, n_fft=512, hop_length=100)) ** 2
    np.testing.assert_allclose(level, librosa.power_to_db(power), rtol=0, atol=TOLERANCE_DB)


def test_bands_peak_at_their_centres():
    settings = LogMelSettings(n_fft=4096, n_mels=32)
    peaks_hz = mel_matrix(settings).argmax(1) * settings.sample_rate / 4096
    np.testing.assert_allclose(band_centres_hz(settings), peaks_hz, rtol=0, atol=16000 / 4096)


def test_mel_matrix_is_librosas():
    matrix = mel_matrix(LogMelSettings(n_mels=40)).numpy()
    expected = librosa.filters.mel(sr=SR, n_fft=1024, n_mels=40, fmin=200, fmax=8000)
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sr": 0}, "sample_rate=0: expected a positive"),
        ({"sr": float("nan")}, "sample_rate=nan"),
        ({"sr": 8000}, "fmax=8000.0: above half the sample rate"),
        ({"fmin": 900.0, "fmax": 800.0}, "fmin=900.0, fmax=800.0"),
        ({"fmin": -1.0}, "fmin=-1.0"),
        ({"n_fft": 0}, "n_fft=0"),
        ({"hop_length": 2.5}, "hop_length=2.5: expected a positive whole"),
        ({"n_mels": 0}, "n_mels=0"),
        ({"power": 0}, "power=0"),
        ({"amin": 0.0}, "amin=0.0"),
        ({"top_db": -1.0}, "top_db=-1.0"),
        ({"highpass_hz": 8000.0}, "highpass_hz=8000.0: expected None or a cut-off"),
        ({"highpass_hz": 0.0}, "highpass_hz=0.0"),
        ({"highpass_hz": float("nan")}, "highpass_hz=nan"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(InputError, match=message):
        log_mel(np.zeros(2000, np.float32), **options)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.zeros(0, np.float32), r"shape \(0,\): expected at least one sample"),
        (np.zeros((0, 100), np.float32), "at least one sample"),
        (np.float32(1.0), "float32: expected a numpy array"),
        ([0.0, 1.0], "list: expected a numpy array"),
        (np.zeros(100, np.complex64), "dtype complex64"),
        (np.zeros(100, np.int32), "dtype int32: expected float32"),
        (torch.zeros(100, dtype=torch.float16), "dtype torch.float16"),
        (np.array([0.0, np.nan] * 600), "not finite"),
        (np.array([0.0, np.inf] * 600), "not finite"),
    ],
)
def test_samples_that_make_no_sense(y, message):
    with pytest.raises(InputError, match=message):
        log_mel(y)
