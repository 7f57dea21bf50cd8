"""Envelope spectra, spectral kurtosis and kurtogram on signals with a known answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from asdlib.annotation.frequencies import choose_band, kurtogram
from asdlib.base import InputError
from asdlib.spectra.envelope import band_tree, complex_envelope, envelope_spectrum

SR = 16000


def modulated_tone(rate_hz, *, depth=1.0, carrier_hz=3000.0, seconds=10, sr=SR):
    t = np.arange(int(seconds * sr)) / sr
    return (1 + depth * np.cos(2 * np.pi * rate_hz * t)) * np.cos(2 * np.pi * carrier_hz * t)


def test_a_modulated_tone_has_its_line_with_the_documented_height():
    frequencies_hz, spectrum = envelope_spectrum(modulated_tone(107.3), sr=SR, band_hz=(2000, 4000))
    assert frequencies_hz[spectrum.argmax()] == pytest.approx(107.3, abs=0.01)
    assert spectrum.max() == pytest.approx(2.0, rel=1e-9)
    second = spectrum[np.abs(frequencies_hz - 214.6).argmin()]
    assert second == pytest.approx(0.5, rel=1e-9)
    assert spectrum[0] == 0.0


def test_without_the_square_the_line_is_the_modulation_depth():
    y = 0.5 * modulated_tone(40.0, depth=0.3)
    frequencies_hz, spectrum = envelope_spectrum(y, sr=SR, band_hz=(2500, 3500), squared=False)
    assert frequencies_hz[spectrum.argmax()] == pytest.approx(40.0)
    assert spectrum.max() == pytest.approx(0.15, rel=1e-3)


def test_a_band_that_misses_the_carrier_has_no_line():
    _, inside = envelope_spectrum(modulated_tone(107.3), sr=SR, band_hz=(2000, 4000))
    _, outside = envelope_spectrum(modulated_tone(107.3), sr=SR, band_hz=(5000, 7000))
    assert outside.max() < 1e-6 * inside.max()


def test_the_envelope_equals_the_hilbert_envelope(rng):
    y = rng.standard_normal(4096)
    spectrum = np.fft.rfft(y)
    spectrum[:512] = 0
    spectrum[1024:] = 0
    full = np.zeros(4096, complex)
    full[:2049] = 2 * spectrum
    expected = np.abs(np.fft.ifft(full))
    found = np.abs(complex_envelope(np.fft.rfft(y), 512, 1024, n_samples=4096))
    np.testing.assert_allclose(found, expected[:: 4096 // len(found)], rtol=1e-9, atol=1e-12)


def test_leading_axes_are_a_batch(rng):
    y = rng.standard_normal((2, 3, 4000))
    _, together = envelope_spectrum(y, sr=SR, band_hz=(1000, 3000))
    _, alone = envelope_spectrum(y[1, 2], sr=SR, band_hz=(1000, 3000))
    np.testing.assert_allclose(together[1, 2], alone, rtol=1e-9, atol=1e-14)


@settings(max_examples=25, deadline=None)
@given(rate=st.integers(5, 200), carrier=st.integers(1500, 6000), gain=st.floats(1e-3, 1e3))
def test_the_line_scales_with_power_and_stays_in_place(rate, carrier, gain):
    y = gain * modulated_tone(float(rate), carrier_hz=float(carrier), seconds=1)
    frequencies_hz, spectrum = envelope_spectrum(y, sr=SR)
    assert frequencies_hz[spectrum.argmax()] == pytest.approx(rate)
    assert spectrum.max() == pytest.approx(2 * gain**2, rel=1e-6)


def test_white_noise_has_no_spectral_kurtosis_and_a_tone_minus_one(rng):
    for level in kurtogram(rng.standard_normal(160000), sr=SR):
        assert np.abs(level.kurtosis).max() < 0.25
    tone = kurtogram(np.cos(2 * np.pi * 1100 * np.arange(160000) / SR), sr=SR)[-1]
    nearest = np.abs(tone.centres_hz - 1100).argmin()
    assert tone.kurtosis[nearest] == pytest.approx(-1.0, abs=1e-3)


def test_the_kurtogram_finds_the_band_of_the_impacts(rng):
    t = np.arange(80) / SR
    response = np.exp(-t / 1e-3) * np.cos(2 * np.pi * 5000 * t)
    train = np.zeros(4 * SR)
    train[:: SR // 20] = 8.0
    y = np.convolve(train, response)[: 4 * SR] + rng.standard_normal(4 * SR)
    low, high = choose_band(kurtogram(y, sr=SR))
    assert low < 5000 < high
    assert high - low < 3000


def test_the_jump_from_end_to_start_is_no_impact(rng):
    smooth = signal.firwin(801, 6000, fs=SR)
    y = signal.lfilter(smooth, 1, rng.standard_normal(2 * SR))[SR:]
    kurtosis = np.concatenate([level.kurtosis for level in kurtogram(y, sr=SR)])
    assert kurtosis.max() < 1.0


def test_the_bands_of_a_level_tile_the_range():
    for bands in band_tree(sr=SR, min_width_hz=500):
        assert bands[0][0] == 0
        assert bands[-1][1] == pytest.approx(SR / 2)
        assert all(a[1] == pytest.approx(b[0]) for a, b in zip(bands, bands[1:], strict=False))


@pytest.mark.parametrize("band", [(-1, 100), (4000, 9000), (3000, 2000), (8000, 8000)])
def test_band_edges_outside_the_nyquist_range_are_refused(band):
    with pytest.raises(InputError, match="expected 0 <= low < high <= 8000 Hz"):
        envelope_spectrum(np.ones(1000), sr=SR, band_hz=band)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.ones(10), "10 samples"),
        (np.full(1000, np.nan), "NaN"),
        (np.float64(3.0), "0 samples"),
    ],
)
def test_signals_of_no_use_are_refused(y, message):
    with pytest.raises(InputError, match=message):
        envelope_spectrum(y, sr=SR)


def test_other_refusals():
    with pytest.raises(InputError, match="sampling rate"):
        envelope_spectrum(np.ones(1000), sr=0)
    with pytest.raises(InputError, match="8 or more"):
        envelope_spectrum(np.ones(1000), sr=SR, band_hz=(1000, 1010))


def test_silence_has_an_empty_spectrum():
    _, spectrum = envelope_spectrum(np.zeros(1000), sr=SR)
    assert not spectrum.any()
    assert not any(level.kurtosis.any() for level in kurtogram(np.zeros(16000), sr=SR))
