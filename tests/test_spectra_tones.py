"""Tonal families: blade pass of known frequency, mains, and noise."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import signal

from asdlib.base import InputError
from asdlib.spectra.characteristic import Family
from asdlib.spectra.tones import is_mains, tonal_families

SR = 16000


def blades(rng, rate_hz, *, orders=(1, 2, 3), seconds=4.0, noise=1.0, wander=0.0):
    """Tones at multiples of a rate that may wander, in white noise."""
    t = np.arange(int(seconds * SR)) / SR
    slow = np.cos(2 * np.pi * 0.4 * t + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(rate_hz * (1 + wander * slow)) / SR
    tones = sum(np.cos(k * phase + rng.uniform(0, 6)) / k for k in orders)
    return tones + noise * rng.standard_normal(len(t))


@settings(max_examples=12, deadline=None)
@given(rate_hz=st.floats(105.0, 800.0), seed=st.integers(0, 99))
@example(rate_hz=612.0, seed=34)  # a sum beside the tone, over a floor known better than its own
def test_a_blade_pass_is_found_with_its_harmonics(rate_hz, seed):
    family = tonal_families(blades(np.random.default_rng(seed), rate_hz), sr=SR)[0]
    assert family.frequency_hz == pytest.approx(rate_hz, abs=0.1)
    # Noise may push one of them out of the family's tolerance.
    assert len({1, 2, 3} & set(family.harmonics)) >= 2
    assert family.significance > 20


def test_a_wandering_speed_stays_one_family(rng):
    found = tonal_families(blades(rng, 156.8, wander=0.003, noise=0.5), sr=SR)
    assert found[0].frequency_hz == pytest.approx(156.8, rel=0.005)
    assert {1, 2} <= set(found[0].harmonics)


def test_two_fans_are_two_families(rng):
    y = blades(rng, 131.7) + blades(rng, 187.3)
    strongest = [f.frequency_hz for f in tonal_families(y, sr=SR)[:2]]
    assert sorted(strongest) == pytest.approx([131.7, 187.3], abs=0.2)


def test_mains_hum_is_told_from_a_blade_pass(rng):
    y = blades(rng, 100.0, orders=(1, 2, 4)) + blades(rng, 143.3)
    found = {round(f.frequency_hz): is_mains(f) for f in tonal_families(y, sr=SR)[:2]}
    assert found == {100: True, 143: False}


@pytest.mark.parametrize(
    ("frequency_hz", "answer"),
    [(50.0, True), (99.95, True), (120.1, True), (97.0, False), (143.5, False), (1450.0, False)],
)
def test_multiples_of_the_grid_are_mains(frequency_hz, answer):
    family = Family(
        frequency_hz=frequency_hz, significance=9.0, harmonics=(1,), sideband_hz=None,
        resolution_hz=0.1, band_hz=(20.0, 4000.0), modulation=0.0,
    )  # fmt: skip
    assert is_mains(family) is answer


def test_noise_has_no_tones(rng):
    lines = np.maximum(np.arange(SR + 1), 1.0)
    hits = 0
    for i in range(90):
        spectrum = np.fft.rfft(rng.standard_normal(2 * SR)) * lines ** (-(i % 3) / 2)
        hits += bool(tonal_families(np.fft.irfft(spectrum), sr=SR))
    assert hits <= 2


@pytest.mark.parametrize(("seconds", "n_clips", "most"), [(1, 60, 1), (3, 30, 1)])
def test_a_resonance_in_noise_is_no_tone(seconds, n_clips, most, rng):
    hits = 0
    for _ in range(n_clips):
        peak = signal.iirpeak(rng.uniform(200, 3800), 30, fs=SR)
        ringing = signal.lfilter(*peak, rng.standard_normal((seconds + 1) * SR))[SR:]
        ringing *= 10 ** (rng.uniform(-10, 20) / 20) / ringing.std()
        hits += bool(tonal_families(ringing + rng.standard_normal(seconds * SR), sr=SR))
    assert hits <= most


def test_weak_tones_are_found(rng):
    """Three tones, each at 14 to 17 dB: amplitude² · samples / 8 over the noise's variance."""
    found, n_clips = 0, 40
    for _ in range(n_clips):
        rate_hz, noise = rng.uniform(105, 900), np.sqrt(SR / (8 * 10 ** rng.uniform(1.4, 1.7)))
        t = np.arange(SR) / SR
        tones = sum(np.cos(2 * np.pi * k * rate_hz * t + rng.uniform(0, 6)) for k in (1, 2, 3))
        families = tonal_families(tones + noise * rng.standard_normal(SR), sr=SR)
        found += any(abs(family.frequency_hz - rate_hz) < 1 for family in families)
    assert found >= 0.94 * n_clips


def test_one_tone_is_one_family(rng):
    """However strong: the skirts of its line are no tones."""
    for noise in (1.0, 0.1, 1e-3):
        y = blades(rng, 731.3, orders=(1,), noise=noise)
        found = tonal_families(y, sr=SR)
        assert [f.harmonics for f in found] == [(1,)]
        assert found[0].frequency_hz == pytest.approx(731.3, abs=0.05)


def test_clipping_adds_odd_multiples(rng):
    y = np.clip(3 * blades(rng, 211.0, orders=(1,), noise=0.02), -1, 1)
    found = tonal_families(y, sr=SR)[0]
    assert found.frequency_hz == pytest.approx(211.0, abs=0.1)
    assert {1, 3, 5} <= set(found.harmonics)


def test_level_and_offset_change_nothing(rng):
    y = blades(rng, 131.4)
    expected = [f.frequency_hz for f in tonal_families(y, sr=SR)]
    moved = tonal_families(1e-3 * y + 0.5, sr=SR)
    assert [f.frequency_hz for f in moved] == pytest.approx(expected, rel=1e-4)


def test_silence_and_short_clips_have_none():
    assert tonal_families(np.zeros(SR), sr=SR) == []
    assert tonal_families(np.full(SR, -0.3), sr=SR) == []
    assert tonal_families(np.sin(np.arange(100.0)), sr=SR) == []


def test_bad_input_is_refused(rng):
    y = blades(rng, 131.4, seconds=1.0)
    with pytest.raises(InputError, match="NaN"):
        tonal_families(np.where(np.arange(len(y)) == 5, np.nan, y), sr=SR)
    with pytest.raises(InputError, match="expected one signal"):
        tonal_families(np.stack([y, y]), sr=SR)
    with pytest.raises(InputError, match="min_hz = 5000: expected 0 <= min_hz < 4000 Hz"):
        tonal_families(y, sr=SR, min_hz=5000.0)
