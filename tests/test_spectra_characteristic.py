"""Characteristic frequencies: real and simulated bearings found, noise and tones not."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat

from asdlib.base import InputError
from asdlib.spectra.characteristic import characteristic_frequencies
from asdlib.spectra.lines import gamma_evidence, line_evidence, noise_floor

SR = 16000


def impacts(rng, rate_hz, *, sr=SR, seconds=6.0, slip=0.01, snr_db=-6.0, shaft_hz=None):
    """Decaying 3 kHz responses at a slipping rate, as strong as ``snr_db`` says, in noise."""
    n = int(sr * seconds)
    gaps = (1 + slip * rng.standard_normal(int(seconds * rate_hz) + 2)) / rate_hz
    times = np.cumsum(gaps)
    times = times[times < seconds]
    force = np.ones(len(times))
    if shaft_hz is not None:
        force = 1 + 0.8 * np.cos(2 * np.pi * shaft_hz * times)
    train = np.zeros(n)
    np.add.at(train, (times * sr).astype(int), force)
    t = np.arange(int(0.01 * sr)) / sr
    y = np.convolve(train, np.exp(-t / 1e-3) * np.cos(2 * np.pi * 3000 * t))[:n]
    return y / y.std() * 10 ** (snr_db / 20) + rng.standard_normal(n)


def recordings(realdata):
    files = sorted((realdata / "mfpt").glob("*/*.mat"))
    if not files:
        pytest.skip("no mfpt recordings")
    for path in files:
        bearing = loadmat(path, squeeze_me=True)["bearing"]
        yield path, np.asarray(bearing["gs"].item(), float), float(bearing["sr"].item())


def test_real_bearings_show_their_fault_among_the_three_strongest(realdata: Path):
    for path, y, sr in recordings(realdata):
        families = characteristic_frequencies(y, sr=sr)
        is_inner = "Inner" in path.name
        true_hz = 118.875 if is_inner else 81.125
        found = [f.frequency_hz for f in families[:3]]
        assert any(abs(hz / true_hz - 1) < 0.015 for hz in found), f"{path.name}: {found}"
        if is_inner:
            rates = [f.frequency_hz for f in families] + [f.sideband_hz or 0 for f in families]
            assert any(abs(rate - 25) < 0.5 for rate in rates), f"{path.name}: {rates}"


def test_a_fault_is_found_with_its_shaft_rate_as_sidebands(rng):
    y = impacts(rng, 97.3, shaft_hz=17.9, snr_db=0, slip=0.005)
    families = characteristic_frequencies(y, sr=SR)
    fault = [f for f in families[:3] if f.frequency_hz == pytest.approx(97.3, rel=0.005)]
    assert len(fault) == 1
    assert {1, 2, 3} <= set(fault[0].harmonics)
    assert fault[0].significance > 10
    rates = [f.frequency_hz for f in families] + [f.sideband_hz or 0 for f in families]
    assert any(rate == pytest.approx(17.9, rel=0.02) for rate in rates)


@pytest.mark.parametrize("rate_hz", [23.0, 61.7, 143.0])
def test_the_octave_is_right_under_noise(rng, rate_hz):
    strongest = characteristic_frequencies(impacts(rng, rate_hz), sr=SR)[0]
    assert strongest.frequency_hz == pytest.approx(rate_hz, rel=0.01)


#: Elements and diameter ratio of bearings, none of which the simulated corpus has.
BEARINGS = ((9, 0.21), (13, 0.157), (7, 0.28))


def inner_race(rng, shaft_hz, bearing, *, sr, seconds, load, snr_db):
    """A pit of the inner ring: impacts at BPFI, as strong as the load zone it passes, in noise.

    ``load`` is the reach of the zone (Randall and Antoni 2011, section 2: (1 - (1 - cos) / 2e)
    to the power 1.5); the speed wanders by 0.3 %, the elements slip by 1 %.
    """
    n_elements, ratio = bearing
    order, n = n_elements / 2 * (1 + ratio), int(sr * seconds)
    t = np.arange(n) / sr
    speed = shaft_hz * (1 + 0.003 * np.sin(2 * np.pi * 0.3 * t + rng.uniform(0, 6)))
    turn = np.cumsum(speed) / sr
    passes = np.cumsum(1 + 0.01 * rng.standard_normal(int(turn[-1] * order)))
    passes = passes[passes < turn[-1] * order]
    force = np.maximum(1 - (1 - np.cos(2 * np.pi * passes / order)) / (2 * load), 0) ** 1.5
    train = np.zeros(n)
    np.add.at(train, (np.interp(passes / order, turn, t) * sr).astype(int), force)
    ringing = np.exp(-t[: sr // 100] / 1e-3) * np.sin(2 * np.pi * 2800 * t[: sr // 100])
    y = np.convolve(train, ringing)[:n]
    return y / y.std() * 10 ** (snr_db / 20) + rng.standard_normal(n), order * shaft_hz


@pytest.mark.parametrize("is_known", [False, True])
def test_an_inner_race_is_named_at_its_centre_and_not_at_a_sideband(is_known):
    """At several speeds, loads, sampling rates and bearings: nearly always, and never far off."""
    named, off = 0, []
    cases = [(sr, bearing, shaft_hz, load) for sr in (12000, 16000) for bearing in BEARINGS
             for shaft_hz in (17.3, 24.6, 29.9) for load in (0.25, 0.6)]  # fmt: skip
    rng = np.random.default_rng(5)
    for sr, bearing, shaft_hz, load in cases:
        y, bpfi_hz = inner_race(
            rng, shaft_hz, bearing, sr=sr, seconds=6.0, load=load, snr_db=rng.uniform(-9, -3)
        )
        found = characteristic_frequencies(
            y, sr=sr, bands_hz=[(2000.0, 4000.0)], shaft_rate_hz=shaft_hz if is_known else None
        )
        rates = [f.frequency_hz for f in found]
        own = [
            hz for hz in rates if abs(hz / shaft_hz - round(hz / shaft_hz)) > 0.01 * hz / shaft_hz
        ]
        is_right = bool(own) and abs(own[0] / bpfi_hz - 1) < 0.02
        named += is_right
        off += [] if is_right else [(sr, bearing, shaft_hz, load, own[:1], bpfi_hz)]
    assert named >= 0.94 * len(cases), off


def test_noise_and_tones_have_no_family(rng):
    t = np.arange(2 * SR) / SR
    found = []
    for i in range(6):
        white = rng.standard_normal(2 * SR)
        grid = np.fft.rfftfreq(2 * SR)
        grid[0] = grid[1]
        pink = np.fft.irfft(np.fft.rfft(white) / np.sqrt(grid))
        tone = 0.3 * np.cos(2 * np.pi * (50 + 600.37 * i) * t)
        for y in (white, pink, tone, np.round(32768 * tone) / 32768):
            found.append(len(characteristic_frequencies(y, sr=SR)) > 0)
    assert sum(found) <= 1


def test_silence_offset_and_short_clips_have_no_family(rng):
    assert characteristic_frequencies(np.zeros(SR), sr=SR) == []
    assert characteristic_frequencies(np.full(SR, 0.25), sr=SR) == []
    assert characteristic_frequencies(rng.standard_normal(100), sr=SR) == []


def test_offset_scale_and_clipping_do_not_move_the_frequency(rng):
    y = impacts(rng, 61.7, snr_db=0)
    plain = characteristic_frequencies(y, sr=SR)[0]
    moved = characteristic_frequencies(1e-3 * y + 5, sr=SR)[0]
    clipped = characteristic_frequencies(np.clip(y, -1, 1), sr=SR)[0]
    assert moved.frequency_hz == pytest.approx(plain.frequency_hz, rel=1e-3)
    assert clipped.frequency_hz == pytest.approx(61.7, rel=0.01)


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="NaN"):
        characteristic_frequencies(np.full(1000, np.nan), sr=SR)
    with pytest.raises(InputError, match="one signal"):
        characteristic_frequencies(np.ones((2, 1000)), sr=SR)
    with pytest.raises(InputError, match="64 or more"):
        characteristic_frequencies(np.ones(20), sr=SR)
    noise = np.random.default_rng(0).standard_normal(SR)
    with pytest.raises(InputError, match="Nyquist"):
        characteristic_frequencies(noise, sr=SR, bands_hz=[(4000, 9000)])


def test_evidence_is_the_gamma_tail():
    from scipy.stats import gamma

    for shape, total in ((1, 5.0), (3, 20.0), (7, 60.0)):
        expected = -gamma(shape).logsf(total)
        assert gamma_evidence(shape, total) == pytest.approx(expected, rel=1e-6)
    near, far = gamma_evidence(3, 299.9), gamma_evidence(3, 300.1)
    assert far - near == pytest.approx(0.2, abs=0.01)


def test_evidence_of_exponential_lines_is_calibrated(rng):
    power = rng.exponential(size=20000) * np.linspace(3, 1, 20000)
    _, evidence = line_evidence(power, *noise_floor(power))
    # 20 000 lines at the level exp(-12) expect 0.1 of them in all three widths.
    assert (evidence > 12).sum() <= 2
    assert evidence.max() > 4
