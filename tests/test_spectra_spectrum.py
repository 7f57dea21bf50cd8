"""The spectrum of a whole clip and its store."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spectra_corpus import waveform_store

from asdlib.base import InputError
from asdlib.data.audio import REMOVED_DB
from asdlib.spectra import LogMelSettings, open_log_mel, open_spectrum
from asdlib.spectra.features import fit_length
from asdlib.spectra.other_features import FLOOR_DB, clip_spectrum, count_bins

SETTINGS = LogMelSettings(n_fft=512, hop_length=256, n_mels=16)


def test_ten_seconds_have_the_bins_of_the_reference(rng):
    y = (0.1 * rng.standard_normal(160000)).astype(np.float32)
    level = clip_spectrum(y)
    assert level.shape == (80001,)
    # White noise of variance σ² has the density σ², whatever the length.
    assert 10 * np.log10(np.mean(10 ** (level / 10))) == pytest.approx(-20, abs=0.1)


def test_a_tone_stands_in_its_bin():
    n_samples, amplitude = 16000, 0.5
    y = amplitude * np.sin(2 * np.pi * 440 * np.arange(n_samples) / 16000)
    level = clip_spectrum(y)
    assert level.argmax() == 440  # one second: 1 Hz a bin
    # A tone of amplitude a has a²/4 · N in its bin and nothing elsewhere.
    assert level.max() == pytest.approx(10 * np.log10(amplitude**2 / 4 * n_samples), abs=1e-6)
    assert np.delete(level, 440).max() < -90


def test_it_is_the_discrete_fourier_transform(rng):
    y = rng.integers(-20000, 20000, 240).astype(np.int16)
    n = np.arange(240)
    matrix = np.exp(-2j * np.pi * np.outer(np.arange(121), n) / 240)
    density = np.abs(matrix @ (y / 32768.0)) ** 2 / 240
    np.testing.assert_allclose(clip_spectrum(y), 10 * np.log10(density), atol=1e-6)
    pooled = density[:120].reshape(40, 3).mean(axis=1)
    np.testing.assert_allclose(clip_spectrum(y, pool_bins=3), 10 * np.log10(pooled), atol=1e-6)


def test_highpass_empties_what_lies_below_it(rng):
    y = 0.1 * rng.standard_normal(16000)
    level = clip_spectrum(y, highpass_hz=1000.0)
    assert (level[:790] == FLOOR_DB).all()
    np.testing.assert_allclose(level[1000:], clip_spectrum(y)[1000:])


def test_silence_is_finite():
    assert (clip_spectrum(np.zeros(100, np.int16)) == FLOOR_DB).all()


@pytest.mark.parametrize("shape", [(0,), (2, 100)])
def test_what_is_no_clip_is_refused(shape):
    with pytest.raises(InputError, match="expected the samples of one clip"):
        clip_spectrum(np.zeros(shape))


@given(n_samples=st.integers(2, 500), pool_bins=st.integers(1, 40))
def test_number_of_bins(n_samples, pool_bins):
    if pool_bins > n_samples // 2 + 1:
        with pytest.raises(InputError, match="pool_bins="):
            count_bins(n_samples, pool_bins)
    else:
        level = clip_spectrum(np.ones(n_samples), pool_bins=pool_bins)
        assert len(level) == count_bins(n_samples, pool_bins)


@pytest.fixture
def corpus(tmp_path, rng):
    machines = ["fan", "fan", "pump", "pump"]
    ids = [f"{machine}/train/{index}.wav" for index, machine in enumerate(machines)]
    rows = [rng.integers(-9000, 9000, n).astype(np.int16) for n in (8000, 5000, 16000, 300)]
    clips = pd.DataFrame({"clip_id": ids, "machine_type": machines})
    waveforms = waveform_store(tmp_path, ids, rows)
    features = open_log_mel(
        waveforms,
        clips.iloc[::-1],
        settings=SETTINGS,
        highpass_hz={"fan": 900.0},
        duration_s=0.5,
        long_clips="end",
        cache_dir=tmp_path,
        workers=1,
    )
    return rows, waveforms, clips, features


def test_rows_belong_to_the_rows_of_the_features(corpus, tmp_path):
    rows, waveforms, clips, features = corpus
    seen = []
    store = open_spectrum(
        waveforms, features, cache_dir=tmp_path, workers=2, on_progress=seen.append
    )
    assert store.ids.tolist() == features.ids.tolist()
    assert store.fixed().shape == (4, 4001, 1)
    assert store.fixed().dtype == np.float16
    assert sum(seen) == 4
    for index, row in enumerate(rows):
        expected = clip_spectrum(
            fit_length(row, 8000, long_clips="end"), highpass_hz=900.0 if index < 2 else None
        )
        found = store.row(int(store.positions([clips["clip_id"][index]])[0]))[:, 0]
        kept = found > REMOVED_DB
        assert kept.all() == (index >= 2)
        assert (expected[~kept] == FLOOR_DB).all()
        np.testing.assert_allclose(found[kept], expected[kept], rtol=0, atol=0.032)


def test_the_key_tells_pooling_and_highpass_apart(corpus, tmp_path):
    _, waveforms, clips, features = corpus

    def key(features, **options):
        store = open_spectrum(waveforms, features, cache_dir=tmp_path, workers=1, **options)
        return store.directory.name

    options = {"settings": SETTINGS, "duration_s": 0.5, "cache_dir": tmp_path, "workers": 1}
    other_cut = open_log_mel(waveforms, clips, highpass_hz={"fan": 800.0}, **options)
    first = key(features)
    assert first == key(features)
    assert len({first, key(features, pool_bins=4), key(other_cut)}) == 3


def test_waveforms_must_hold_the_clips(corpus, tmp_path):
    rows, _, clips, features = corpus
    some = waveform_store(tmp_path, clips["clip_id"].tolist()[:3], rows[:3])
    with pytest.raises(InputError, match=r"no row for 1 clips, the first is pump/train/3\.wav"):
        open_spectrum(some, features, cache_dir=tmp_path, workers=1)
