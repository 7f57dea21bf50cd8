import contextlib

import numpy as np
import pytest
import soundfile
from corpus import list_chunk, wav_bytes, write_wav
from hypothesis import given
from hypothesis import strategies as st

from asdlib.data.audio import read_header, read_mono, resampled_length
from asdlib.errors import InputError


def noise(rng, *shape):
    return rng.integers(-32768, 32768, shape, dtype=np.int16)


@pytest.mark.parametrize("n_samples", [1, 3, 1000, 16001])
def test_16_bit_comes_back_bit_for_bit(tmp_path, rng, n_samples):
    samples = noise(rng, n_samples)
    path = write_wav(tmp_path / "a.wav", samples)
    read = read_mono(path)
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, samples)
    np.testing.assert_array_equal(read, soundfile.read(path, dtype="int16")[0])


@pytest.mark.parametrize(
    "layout",
    [
        {"code": 0xFFFE},
        {"before": list_chunk(11)},
        {"before": list_chunk(100_000)},
        {"after": list_chunk(50)},
        {"code": 0xFFFE, "before": list_chunk(7), "after": list_chunk(3)},
    ],
)
def test_chunks_around_the_sound_are_no_sound(tmp_path, rng, layout):
    samples = noise(rng, 321)
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(samples.tobytes(), **layout))
    np.testing.assert_array_equal(read_mono(path), samples)
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], samples)


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_header_agrees_with_soundfile(tmp_path, rng, subtype, format):
    path = tmp_path / "a.wav"
    soundfile.write(path, rng.uniform(-0.9, 0.9, (777, 3)), 44100, subtype=subtype, format=format)
    header = read_header(path)
    assert (header.n_samples, header.channels, header.sample_rate) == (777, 3, 44100)


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_24", 0), ("PCM_32", 0), ("FLOAT", 0)]
)
def test_other_encodings_are_rounded_to_16_bits(tmp_path, rng, subtype, step):
    """Within half a step of 16 bits, and of the file's own coarser step where it has one."""
    wave = rng.uniform(-0.99, 0.99, 500)
    path = tmp_path / "a.wav"
    soundfile.write(path, wave, 16000, subtype=subtype)
    error = np.abs(read_mono(path) / 32768 - wave).max()
    assert error <= 0.51 / 32768 + step


def test_full_scale_does_not_wrap_round(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.array([1.0, -1.0, 0.0]), 16000, subtype="FLOAT")
    assert read_mono(path).tolist() == [32767, -32768, 0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, "holds 1 samples that are NaN or infinite"),
        (np.inf, "holds 1 samples that are NaN or infinite"),
        (1.5, "reaches 1.5, expected samples between -1 and 1"),
    ],
)
def test_float_samples_out_of_range_are_refused(tmp_path, bad, message):
    wave = np.zeros(100, np.float32)
    wave[40] = bad
    path = tmp_path / "bad.wav"
    path.write_bytes(wav_bytes(wave.tobytes(), code=3, bits=32))
    with pytest.raises(InputError, match=f"bad.wav: {message}"):
        read_mono(path)


def test_a_channel_must_be_named(tmp_path, rng):
    samples = noise(rng, 50, 2)
    path = write_wav(tmp_path / "a.wav", samples)
    with pytest.raises(InputError, match=r"has 2 channels, expected 1. Name the one to use"):
        read_mono(path)
    for channel in (0, 1):
        np.testing.assert_array_equal(read_mono(path, channel=channel), samples[:, channel])
    for channel in (2, -1):
        with pytest.raises(InputError, match=f"channel {channel} does not exist"):
            read_mono(path, channel=channel)


def test_another_rate_is_refused_unless_asked_for(tmp_path):
    rate, tone_hz = 44100, 1000.0
    time_s = np.arange(rate) / rate
    tone = np.rint(16384 * np.sin(2 * np.pi * tone_hz * time_s)).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", tone, sample_rate=rate)
    with pytest.raises(InputError, match="is sampled at 44100 Hz, expected 16000 Hz"):
        read_mono(path)
    resampled = read_mono(path, resample=True)
    assert len(resampled) == resampled_length(rate, rate, 16000) == 16000
    expected = 16384 * np.sin(2 * np.pi * tone_hz * np.arange(16000) / 16000)
    assert np.abs(resampled - expected)[100:-100].max() < 16384 * 0.003


@given(
    n_samples=st.integers(1, 400),
    from_rate=st.sampled_from([8000, 11025, 22050, 44100, 48000]),
)
def test_resampled_length_is_that_of_the_resampler(n_samples, from_rate):
    from scipy.signal import resample_poly

    divisor = np.gcd(from_rate, 16000)
    resampled = resample_poly(np.zeros(n_samples), 16000 // divisor, from_rate // divisor)
    assert len(resampled) == resampled_length(n_samples, from_rate, 16000)


@given(st.binary(max_size=120), st.integers(0, 60))
def test_no_bytes_fail_otherwise(tmp_path_factory, junk, cut):
    """Whatever the bytes, the header is read or refused with the one error type."""
    path = tmp_path_factory.getbasetemp() / "junk.wav"
    good = wav_bytes(bytes(32))
    for content in (junk, good[:cut] + junk, good[: 12 + cut % 33] + junk + good):
        path.write_bytes(content)
        with contextlib.suppress(InputError):
            assert read_header(path).n_samples >= 0


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="gone.wav: cannot be read"):
        read_mono(tmp_path / "gone.wav")
