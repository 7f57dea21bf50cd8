"""Cycle time: levels of known period, and sounds without any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.spectra.tones import cycle_time

SR = 8000


def coloured(rng, n_samples, exponent):
    """Noise with a power spectrum of 1 / f ** exponent."""
    lines = np.maximum(np.arange(n_samples // 2 + 1), 1.0)
    y = np.fft.irfft(np.fft.rfft(rng.standard_normal(n_samples)) * lines ** (-exponent / 2))
    return y / y.std()


def strokes(rng, period_s, *, seconds=10.0, on=0.3, floor=0.1):
    """Noise that is loud for a share of every period."""
    t = np.arange(int(seconds * SR)) / SR + rng.uniform(0, period_s)
    return (floor + (t % period_s < on * period_s)) * rng.standard_normal(len(t))


@settings(max_examples=15, deadline=None)
@given(period_s=st.floats(0.25, 2.0), seed=st.integers(0, 99))
def test_a_periodic_level_has_its_period(period_s, seed):
    found = cycle_time(strokes(np.random.default_rng(seed), period_s), sr=SR)
    assert 1 / found.frequency_hz == pytest.approx(period_s, rel=0.01)
    assert found.resolution_hz == pytest.approx(0.01)  # a tenth of 1 / duration
    assert found.significance > 3


@pytest.mark.parametrize("period_s", [0.6, 1.1, 1.7])
def test_multiples_of_the_period_are_not_mistaken_for_it(rng, period_s):
    """A cycle whose every second pass is 3 dB louder correlates best at twice the period."""
    t = np.arange(10 * SR) / SR
    pass_number = np.floor(t / period_s).astype(int)
    loud = np.where(t % period_s < 0.3 * period_s, np.where(pass_number % 2, 1.4, 1.0), 0.1)
    found = cycle_time(loud * rng.standard_normal(len(t)), sr=SR)
    assert 1 / found.frequency_hz == pytest.approx(period_s, rel=0.01)


def test_a_pattern_of_unequal_steps_has_the_period_of_the_whole(rng):
    t = np.arange(10 * SR) / SR
    loud = np.isin(np.floor((t % 1.5) / 0.1), [0, 4, 9])
    y = (0.1 + loud) * rng.standard_normal(len(t))
    assert 1 / cycle_time(y, sr=SR).frequency_hz == pytest.approx(1.5, rel=0.01)


def test_sounds_without_period_have_none(rng):
    t = np.arange(4 * SR) / SR
    for i in range(60):
        assert cycle_time(coloured(rng, len(t), i % 3), sr=SR) is None
        tone = np.sin(2 * np.pi * rng.uniform(50, 3500) * t) + 0.1 * rng.standard_normal(len(t))
        assert cycle_time(tone, sr=SR) is None


def test_multiples_of_a_beat_are_no_cycle(rng):
    t = np.arange(6 * SR) / SR
    beat = np.cos(2 * np.pi * 400 * t) + np.cos(2 * np.pi * 431.3 * t)
    assert cycle_time(beat + 0.1 * rng.standard_normal(len(t)), sr=SR) is None


def test_bangs_at_random_have_none(rng):
    for _ in range(20):
        y = 0.05 * rng.standard_normal(6 * SR)
        for start in rng.integers(0, len(y) - 800, 12):
            y[start : start + 800] += np.exp(-np.arange(800) / 150) * rng.standard_normal(800)
        assert cycle_time(y, sr=SR) is None


def test_level_offset_and_clipping_change_nothing(rng):
    y = strokes(rng, 0.8)
    period_s = 1 / cycle_time(y, sr=SR).frequency_hz
    assert 1 / cycle_time(1e-3 * y, sr=SR).frequency_hz == pytest.approx(period_s, rel=1e-6)
    assert 1 / cycle_time(y + 5.0, sr=SR).frequency_hz == pytest.approx(period_s, rel=1e-3)
    assert 1 / cycle_time(np.clip(y, -0.5, 0.5), sr=SR).frequency_hz == pytest.approx(
        period_s, rel=0.01
    )


def test_silence_constants_and_short_clips_have_none(rng):
    assert cycle_time(np.zeros(SR), sr=SR) is None
    assert cycle_time(np.full(SR, 0.7), sr=SR) is None
    assert cycle_time(strokes(rng, 0.2, seconds=0.3), sr=SR) is None
    assert cycle_time(strokes(rng, 2.0, seconds=4.0), sr=SR) is None  # no three periods


def test_bad_input_is_refused(rng):
    y = strokes(rng, 0.5)
    with pytest.raises(InputError, match="NaN"):
        cycle_time(np.where(np.arange(len(y)) == 5, np.nan, y), sr=SR)
    with pytest.raises(InputError, match="expected one signal"):
        cycle_time(np.stack([y, y]), sr=SR)
