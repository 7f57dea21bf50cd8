"""Average spectra, bands, signal-to-noise ratio and attribute differences, with known answers."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spectra_corpus import SR, clip_row, coloured_noise, stored, waveform_store

from asdlib.base import InputError
from asdlib.spectra import average_spectra, band_information, open_average_spectra
from asdlib.spectra.average import (
    attribute_groups,
    bin_frequencies_hz,
    explained_variance,
    group_of_clip,
    power_in_bands,
    signal_to_noise,
    third_octave_edges_hz,
    to_db,
    welch_power,
)


@pytest.mark.parametrize("n_fft", [256, 1024, 1023])
def test_power_adds_up_to_the_mean_square(rng, n_fft):
    samples = rng.normal(0, 3000, 40_000).astype(np.int16)
    power = welch_power(samples, n_fft=n_fft)
    assert power.shape == (n_fft // 2 + 1,)
    assert power.sum() == pytest.approx(np.mean((samples / 32768.0) ** 2), rel=0.01)


def test_tone_stands_at_its_frequency_with_its_power():
    tone = np.round(16384 * np.sin(2 * np.pi * 1000 * np.arange(SR) / SR)).astype(np.int16)
    power = welch_power(tone, n_fft=1024)
    assert power.argmax() == 64
    assert power[62:67].sum() == pytest.approx(0.125, rel=1e-3)


def test_welch_equals_scipy(rng):
    from scipy.signal import welch

    samples = rng.normal(0, 3000, 20_000).astype(np.int16)
    _, expected = welch(
        samples / 32768, nperseg=512, window="hann", detrend=False, scaling="spectrum"
    )
    # scipy scales a tone to its power; here the bins add up: divided by the noise bandwidth.
    np.testing.assert_allclose(welch_power(samples, n_fft=512), expected / 1.5, rtol=1e-9)


def test_clip_shorter_than_a_frame_is_repeated(rng):
    samples = rng.normal(0, 3000, 300).astype(np.int16)
    np.testing.assert_array_equal(
        welch_power(samples, n_fft=1024), welch_power(np.resize(samples, 1024), n_fft=1024)
    )


@pytest.fixture
def corpus(tmp_path, rng):
    """Two attributes that differ around 1 kHz; noise everywhere."""
    rows, signals = [], []
    for index in range(24):
        attribute, domain = f"load_{index % 2}", "target" if index >= 20 else "source"
        rows.append(clip_row("fan", index, attribute=attribute, domain=domain))
        tone = coloured_noise(rng, SR, 900, 1200, 0.02 * (1 + index % 2))
        signals.append(tone + coloured_noise(rng, SR, 0, 8000, 0.01))
    for index in range(6):
        rows.append(clip_row("fan", index, split="supplemental", kind="noise"))
        signals.append(coloured_noise(rng, SR, 0, 8000, 0.01))
    rows.append(clip_row("fan", 0, split="test", domain="source"))
    signals.append(coloured_noise(rng, SR, 0, 8000, 0.5))
    rows.append(clip_row("pump", 0))
    signals.append(coloured_noise(rng, SR, 0, 8000, 0.1))
    return stored(tmp_path, rows, signals)


def test_store_rows_are_the_clips_spectra(corpus):
    clips, spectra = corpus
    assert spectra.fixed().shape == (32, 513)
    assert spectra.fixed().dtype == np.float32
    assert spectra.ids.tolist() == clips["clip_id"].tolist()
    np.testing.assert_allclose(bin_frequencies_hz(spectra)[[0, -1]], [0, 8000])
    assert to_db(spectra.fixed().sum(1, dtype=np.float64))[-1] == pytest.approx(-20, abs=0.1)


def test_store_key_follows_the_settings(tmp_path, rng):
    waveforms = waveform_store(tmp_path, ["a"], [rng.integers(-99, 99, SR, np.int16)])
    clips = pd.DataFrame({"clip_id": ["a"]})
    options = {"cache_dir": tmp_path, "workers": 1}
    first = open_average_spectra(waveforms, clips, **options)
    assert open_average_spectra(waveforms, clips, **options).directory == first.directory
    other = open_average_spectra(waveforms, clips, n_fft=512, **options)
    assert other.directory != first.directory
    with pytest.raises(InputError, match="n_fft=1"):
        open_average_spectra(waveforms, clips, n_fft=1, **options)


def test_average_spectra_by_group(corpus):
    clips, spectra = corpus
    table = average_spectra(spectra, clips, by="attribute")
    assert table.groupby("group")["n_clips"].first().to_dict() == {"load_0": 12, "load_1": 12}
    near = table[table["frequency_hz"].between(950, 1150)].groupby("group")["mean_db"].mean()
    assert near["load_1"] - near["load_0"] == pytest.approx(6.0, abs=0.3)
    far = table[table["frequency_hz"].between(3000, 7000)].groupby("group")["mean_db"].mean()
    assert far["load_1"] == pytest.approx(far["load_0"], abs=0.1)
    domains = average_spectra(spectra, clips, by="domain")
    assert domains.groupby(["machine_type", "group"])["n_clips"].first().to_dict() == {
        ("fan", "source"): 20, ("fan", "target"): 4, ("pump", "source"): 1,
    }  # fmt: skip
    assert domains.loc[domains["machine_type"] == "pump", "std_db"].isna().all()


def test_test_clips_take_no_part(corpus):
    clips, spectra = corpus
    conditions = group_of_clip(clips, "condition")
    assert conditions.value_counts().to_dict() == {"training": 25, "noise only": 6}
    assert conditions[clips["split"] == "test"].isna().all()
    assert average_spectra(spectra, clips[clips["split"] == "test"], by="domain").empty
    with pytest.raises(InputError, match="by='colour': expected one of domain"):
        group_of_clip(clips, "colour")


def test_band_information_has_the_known_answers(corpus):
    clips, spectra = corpus
    table = band_information(spectra, clips)
    fan = table[table["machine_type"] == "fan"].set_index("low_hz")
    assert fan["energy_share"].sum() == pytest.approx(1)
    inside = fan[(fan.index < 1100) & (fan["high_hz"] > 1000)]
    outside = fan[fan.index > 2000]
    # mean power of 0.02² and 0.04² over 300 Hz against 0.01² over 8000 Hz
    assert inside["snr_db"].max() > 15
    assert (outside["snr_db"] < -8).all()
    assert inside["attribute_share"].max() > 0.9
    assert (outside["attribute_share"] < 0.4).all()
    pump = table[table["machine_type"] == "pump"]
    assert pump[["snr_db", "attribute_share", "within_db"]].isna().all(axis=None)
    # white noise: a band's share of the energy is its share of the bandwidth
    expected = (pump["high_hz"] - pump["low_hz"]) / 7900
    np.testing.assert_allclose(pump["energy_share"], expected, atol=0.02)


def test_band_information_needs_training_clips(corpus):
    clips, spectra = corpus
    with pytest.raises(InputError, match="no training clip"):
        band_information(spectra, clips[clips["split"] == "test"])


def test_snr_of_noise_and_of_clean_clips_agree():
    machine, noise = np.array([0.5, 1.0, 3.0]), np.array([1.0, 1.0, 0.1])
    mixed_db = to_db(machine + noise)
    expected = machine / noise
    np.testing.assert_allclose(
        signal_to_noise(mixed_db, to_db(noise), kind="noise"), expected, rtol=1e-9
    )
    np.testing.assert_allclose(
        signal_to_noise(mixed_db, to_db(machine), kind="clean"), expected, rtol=1e-9
    )
    quiet = signal_to_noise(np.array([-3.0]), np.array([0.0]), kind="noise")
    assert quiet == pytest.approx(0.01)


@given(st.integers(2, 5), st.integers(0, 2**16))
def test_explained_variance_is_zero_on_average_without_differences(n_groups, seed):
    rng = np.random.default_rng(seed)
    groups = np.arange(60) % n_groups
    levels = rng.standard_normal((60, 400))
    share, within = explained_variance(levels, groups)
    assert share.mean() < 0.05
    assert within.mean() == pytest.approx(1, abs=0.1)
    share, within = explained_variance(levels + 10.0 * groups[:, None], groups)
    assert share.min() > 0.9
    assert within.mean() == pytest.approx(1, abs=0.1)


def test_attribute_groups_leave_out_what_cannot_be_compared():
    rows = [
        clip_row("fan", 0, attribute="a"), clip_row("fan", 1, attribute="a"),
        clip_row("fan", 2, attribute="b"), clip_row("fan", 3, attribute="b"),
        clip_row("fan", 4, attribute="c"), clip_row("fan", 5),
        clip_row("fan", 6, attribute="a", domain="target"),
        clip_row("fan", 7, attribute="a", split="test"),
        clip_row("fan", 8, attribute="b", domain=None),
    ]  # fmt: skip
    clips = pd.DataFrame(rows).astype({"attribute": "string", "domain": "string"})
    assert attribute_groups(clips).tolist() == [0, 0, 1, 1, -1, -1, -1, -1, 1]


@given(st.floats(50, 400), st.floats(1000, 8000))
def test_bands_share_the_bins_out(fmin, fmax):
    edges = third_octave_edges_hz(fmin, fmax)
    assert edges[0] == fmin
    assert edges[-1] == fmax
    assert (np.diff(edges) > 0).all()
    flat = flat_spectra(n_fft=8000)
    inside = np.arange(0, 8001, 2.0)
    inside = np.count_nonzero((inside >= fmin) & (inside <= fmax))
    assert power_in_bands(*flat, edges).sum() == inside


def flat_spectra(n_fft):
    """Store of one clip with a power of 1 in every bin, and its table."""
    store = SimpleNamespace(
        settings={"n_fft": n_fft, "sample_rate": SR},
        fixed=lambda: np.ones((1, n_fft // 2 + 1)),
        positions=lambda ids: np.arange(len(ids)),
    )
    return store, pd.DataFrame({"clip_id": ["a"]})


def test_bands_narrower_than_the_bins_are_refused():
    with pytest.raises(InputError, match="No bin lies in the band 20 to"):
        power_in_bands(*flat_spectra(n_fft=1024), np.array([20, 25.0, 8000]))
    with pytest.raises(InputError, match="expected 0 < fmin < fmax"):
        third_octave_edges_hz(0, 100)
