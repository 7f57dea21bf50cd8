"""Profiles of signals whose spectra are known."""

import numpy as np
import pandas as pd
import pytest

from asdlib import spectra
from asdlib.base import InputError
from asdlib.spectra.profiles import (
    ENVELOPE_BANDS_HZ,
    N_LINES,
    envelope_profile,
    fluctuation_profile,
    line_profile,
    modulation_profile,
    spectrum_profile,
)
from tests.spectra_corpus import clip_row, waveform_store

SR = 16000


def noise(rng, seconds=4.0):
    return 0.1 * rng.standard_normal(round(seconds * SR))


def stored(folder, signals):
    """Clip table and waveform store of float signals."""
    clips = pd.DataFrame([clip_row("fan", index) for index in range(len(signals))])
    rows = [np.round(32768 * y).astype(np.int16) for y in signals]
    return clips, waveform_store(folder, clips["clip_id"].tolist(), rows)


def test_a_tone_stands_in_the_line_profile_and_colour_does_not(rng):
    t = np.arange(4 * SR) / SR
    white = noise(rng)
    coloured = np.convolve(white, [1.0, 0.9], mode="same")
    flat, tilted = line_profile(white, sr=SR), line_profile(coloured, sr=SR)
    with_tone = line_profile(white + 0.1 * np.sin(2 * np.pi * 2500 * t), sr=SR)
    assert np.argmax(with_tone) == pytest.approx(2500 / (SR / 2 / N_LINES), abs=1)
    assert with_tone.max() > 15
    # The slope of 26 dB over the band is gone, but for its steep end.
    assert np.abs(tilted - flat)[: int(0.9 * N_LINES)].mean() < 0.5


def test_levels_drop_out_of_all_profiles(rng):
    y = noise(rng)
    np.testing.assert_allclose(line_profile(y, sr=SR), line_profile(20 * y, sr=SR), atol=1e-3)
    np.testing.assert_allclose(envelope_profile(y, sr=SR), envelope_profile(20 * y, sr=SR))
    log_mel = 5 * rng.standard_normal((128, 300))
    np.testing.assert_allclose(
        modulation_profile(log_mel, frame_rate_hz=31.25),
        modulation_profile(log_mel - 40, frame_rate_hz=31.25),
    )


@pytest.mark.parametrize(("carrier_hz", "band"), [(1500, 2), (3000, 3), (6000, 4)])
def test_a_modulated_tone_has_its_line_in_its_band(rng, carrier_hz, band):
    t = np.arange(4 * SR) / SR
    tone = (1 + 0.8 * np.cos(2 * np.pi * 107.3 * t)) * np.sin(2 * np.pi * carrier_hz * t)
    profile = envelope_profile(tone + 0.02 * noise(rng), sr=SR)
    edges = np.geomspace(2, 500, 65)
    widths = [sum(edges <= high - low) - 1 for low, high in ENVELOPE_BANDS_HZ]
    starts = np.cumsum([0, *widths])
    assert starts[-1] == len(profile)
    own = profile[starts[band] : starts[band + 1]]
    expected = int(np.searchsorted(edges, 107.3)) - 1
    assert np.argmax(own) == expected


def test_a_slow_wobble_has_its_line_in_its_mel_group(rng):
    t = np.arange(313) / 31.25
    log_mel = 0.5 * rng.standard_normal((128, 313))
    log_mel[40:48] += 6 * np.sin(2 * np.pi * 2.0 * t)
    profile = modulation_profile(log_mel, frame_rate_hz=31.25).reshape(16, 16)
    edges = np.geomspace(0.3, 31.25 / 2, 17)
    assert np.unravel_index(profile.argmax(), profile.shape) == (
        5,
        int(np.searchsorted(edges, 2.0)) - 1,
    )


@pytest.mark.parametrize("seconds", [0.2, 1.0, 12.0])
@pytest.mark.parametrize("kind", ["silence", "constant", "noise"])
def test_profiles_have_one_length_and_are_finite(rng, seconds, kind):
    n = round(seconds * SR)
    y = {"silence": np.zeros(n), "constant": np.full(n, 0.5), "noise": noise(rng, seconds)}[kind]
    assert line_profile(y, sr=SR).shape == (N_LINES,)
    for profile in (line_profile(y, sr=SR), envelope_profile(y, sr=SR)):
        assert np.isfinite(profile).all()
        assert np.linalg.norm(profile) > 0  # cosine distances need a direction
    assert envelope_profile(y, sr=SR).shape == envelope_profile(noise(rng), sr=SR).shape


def test_the_store_holds_the_profiles_of_the_clips(rng, tmp_path):
    signals = [noise(rng, seconds) for seconds in (0.5, 1.0, 2.0)]
    clips, waveforms = stored(tmp_path, signals)
    for kind in spectra.PROFILES:
        store = spectra.open_profiles(waveforms, clips, kind=kind, cache_dir=tmp_path, workers=2)
        assert len(store) == 3
        assert np.isfinite(store.fixed()).all()
    store = spectra.open_profiles(waveforms, clips, kind="envelope", cache_dir=tmp_path)
    expected = envelope_profile(waveforms.row(1) / 32768.0, sr=SR)
    np.testing.assert_allclose(store.row(1), expected, atol=1e-3)
    backwards = spectra.open_profiles(
        waveforms, clips.iloc[::-1].reset_index(drop=True), kind="envelope", cache_dir=tmp_path
    )
    np.testing.assert_array_equal(backwards.fixed(), store.fixed()[::-1])


def test_unknown_kinds_and_short_clips_are_refused(rng, tmp_path):
    clips, waveforms = stored(tmp_path, [noise(rng, 0.5), noise(rng, 0.002)])
    with pytest.raises(InputError, match="kind='loudness': expected one of spectrum"):
        spectra.open_profiles(waveforms, clips, kind="loudness", cache_dir=tmp_path)
    with pytest.raises(InputError, match=r"fan/train/0001\.wav: y has 32 samples"):
        spectra.open_profiles(waveforms, clips, kind="lines", cache_dir=tmp_path)
    with pytest.raises(InputError, match="no band"):
        envelope_profile(np.ones(1000), sr=900)


@pytest.mark.parametrize("seconds", [1.3, 3.2, 10.0])
@pytest.mark.parametrize("place", [0.02, 0.5, 0.98])
def test_no_stretch_of_a_clip_goes_unheard(rng, seconds, place):
    """A flicker anywhere, at the very end too, changes the modulation by more than noise does."""
    frames = round(seconds * 31.25)
    log_mel = 0.5 * rng.standard_normal((128, frames))
    flicker = log_mel.copy()
    middle = int(place * (frames - 8)) + 4
    flicker[:, middle - 4 : middle + 4] += 20 * (-1.0) ** np.arange(8)
    quiet, heard = (modulation_profile(x, frame_rate_hz=31.25) for x in (log_mel, flicker))
    assert np.abs(heard - quiet).max() > 6
    y = noise(rng, seconds)
    impact = y.copy()
    start = int(place * (len(y) - 800))
    impact[start : start + 800] += 30 * np.sin(2 * np.pi * 1500 * np.arange(800) / SR)
    quiet, heard = envelope_profile(y, sr=SR), envelope_profile(impact, sr=SR)
    assert np.abs(heard - quiet).max() > 6


def test_spectrum_and_fluctuation_are_their_definitions(rng):
    log_mel = rng.normal(-50, 3, (128, 40))
    spectrum = spectrum_profile(log_mel)
    np.testing.assert_allclose(spectrum[:128], log_mel.mean(axis=1))
    np.testing.assert_allclose(spectrum[128:], log_mel.std(axis=1))
    steps = log_mel[:, 1:] - log_mel[:, :-1]
    np.testing.assert_allclose(fluctuation_profile(log_mel), steps.std(axis=1))
    assert not fluctuation_profile(log_mel[:, :1]).any()
    louder = spectrum_profile(log_mel + 6)
    np.testing.assert_allclose(louder[:128], spectrum[:128] + 6)
    np.testing.assert_allclose(louder[128:], spectrum[128:])
