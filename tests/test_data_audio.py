import contextlib

import numpy as np
import pytest
import soundfile
from corpus import list_chunk, wav_bytes, write_wav
from hypothesis import given
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.data.audio import read_header, read_mono, resampled_length
from asdlib.data.waveforms import common_scale


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
    with pytest.raises(
        InputError, match="a recording with 2 channels, expected 1: add --set channel=mean"
    ):
        read_mono(path)
    for channel in (0, 1):
        np.testing.assert_array_equal(read_mono(path, channel=channel), samples[:, channel])
    for channel, message in ((2, "channel 2 does not exist"), (-1, "2 channels, expected 1: add")):
        with pytest.raises(InputError, match=message):
            read_mono(path, channel=channel)


def test_another_rate_is_refused_unless_asked_for(tmp_path):
    rate, tone_hz = 44100, 1000.0
    time_s = np.arange(rate) / rate
    tone = np.rint(16384 * np.sin(2 * np.pi * tone_hz * time_s)).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", tone, sample_rate=rate)
    with pytest.raises(
        InputError, match="a recording at 44100 Hz, expected 16000 Hz: add --set resample=true"
    ):
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


def as_floats(path, wave, **options):
    soundfile.write(path, wave, 16000, **options)
    return path


PIPED = [
    (0xFFFFFFFF, 0xFFFFFFFF),  # ffmpeg
    (0x7FFFF024, 0x7FFFF000),  # sox
    (0x80000024, 0x80000000),  # arecord
    (0, 0),  # a recorder that was switched off
    (36, 0),
    (0xFFFFFFFF, 0),
    (0, 0xFFFFFFFF),
]


@pytest.mark.parametrize("sizes", PIPED)
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_stream_that_could_not_know_its_size_is_read_to_its_end(tmp_path, rng, subtype, sizes):
    whole = as_floats(tmp_path / "whole.wav", rng.uniform(-0.9, 0.9, 777), subtype=subtype)
    content = bytearray(whole.read_bytes())
    place = content.index(b"data") + 4
    content[4:8], content[place : place + 4] = (size.to_bytes(4, "little") for size in sizes)
    (tmp_path / "piped.wav").write_bytes(content + b"x")  # and breaks off within a sample
    assert read_header(tmp_path / "piped.wav").n_samples == 777
    np.testing.assert_array_equal(read_mono(tmp_path / "piped.wav"), read_mono(whole))


def test_a_truncated_file_is_no_stream(tmp_path, rng):
    path = write_wav(tmp_path / "a.wav", noise(rng, 777))
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")  # the RIFF size knows better
    path.write_bytes(content)
    with pytest.raises(InputError, match="is truncated"):
        read_header(path)


def test_comments_that_fill_the_log_of_libsndfile_hide_no_truncation(tmp_path):
    path = tmp_path / "a.wav"
    comments = list_chunk(content=b"INFO" + b"ICMT\x2c\x01\0\0" + b"x" * 300)
    content = wav_bytes(bytes(322), before=comments * 30)
    path.write_bytes(content)
    assert read_header(path).n_samples == 161
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match="a.wav: is truncated"):
        read_header(path)


@pytest.mark.parametrize(
    ("extension", "options"),
    [
        ("flac", {"format": "FLAC", "subtype": "PCM_16"}),
        ("aiff", {"format": "AIFF", "subtype": "PCM_16"}),
        ("wav", {"format": "RF64", "subtype": "PCM_16"}),
        ("w64", {"format": "W64", "subtype": "PCM_16"}),
        ("wav", {"format": "W64", "subtype": "PCM_16"}),  # the content counts
        ("au", {"format": "AU", "subtype": "PCM_16"}),
        ("caf", {"format": "CAF", "subtype": "PCM_16"}),
        ("wav", {"format": "WAV", "subtype": "PCM_16", "endian": "BIG"}),
    ],
)
def test_other_formats_come_back_bit_for_bit_and_are_refused_truncated(
    tmp_path, rng, extension, options
):
    samples = noise(rng, 5000)
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, samples, 16000, **options)
    header = read_header(path)
    assert (header.n_samples, header.channels, header.sample_rate) == (5000, 1, 16000)
    np.testing.assert_array_equal(read_mono(path), samples)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=f"a.{extension}: "):
        read_mono(path)


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM"])
@pytest.mark.parametrize("format", ["WAV", "RF64", "W64"])
def test_what_libsndfile_reads_is_read(tmp_path, rng, subtype, format):
    if format == "RF64" and "ADPCM" in subtype:
        pytest.skip("no such file can be written")
    path = tmp_path / "a.wav"
    soundfile.write(path, rng.uniform(-0.5, 0.5, 4096), 16000, subtype=subtype, format=format)
    expected = np.rint(soundfile.read(path)[0] * 32768)
    np.testing.assert_array_equal(read_mono(path), expected)
    assert read_header(path).n_samples == len(expected)


@pytest.mark.parametrize("format", ["OGG", "MP3"])
def test_lossy_formats_are_read_and_their_overshoots_limited(tmp_path, rng, format):
    path = tmp_path / "a.bin"
    square = 0.99 * np.sign(np.sin(2 * np.pi * 440 * np.arange(16000) / 16000))
    soundfile.write(path, square, 16000, format=format)
    samples = read_mono(path)
    assert len(samples) == read_header(path).n_samples == 16000
    assert np.corrcoef(samples, square)[0, 1] > 0.9


def test_a_flac_from_a_pipe_does_not_know_its_length(tmp_path, rng):
    samples = noise(rng, 5000)
    path = as_floats(tmp_path / "a.flac", samples, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    assert content[:4] == b"fLaC"
    content[21] &= 0xF0  # 36 bits of the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(InputError, match="a.flac: does not say how long it is. Convert it"):
        read_header(path)


def test_a_hair_above_full_scale_is_limited(tmp_path):
    wave = np.array([1.0 + 2**-20, -1.005, 0.5, 0.0], np.float32)
    path = as_floats(tmp_path / "a.wav", wave, subtype="FLOAT")
    assert read_mono(path).tolist() == [32767, -32768, 16384, 0]
    assert common_scale([path]) == 1


def test_physical_units_get_one_common_factor(tmp_path, rng):
    """Peaks of 12 g: the next power of two, 16, is full scale of all clips alike."""
    wave = rng.uniform(-1, 1, 1000)
    loud = as_floats(tmp_path / "loud.wav", np.append(wave, 12.0), subtype="FLOAT")
    soft = as_floats(tmp_path / "soft.wav", wave / 2, subtype="DOUBLE")
    scale = common_scale([soft, loud])
    assert scale == 1 / 16
    assert read_mono(loud, scale=scale)[-1] == 12 * 2048
    for path, size in ((loud, 1), (soft, 0.5)):
        error = np.abs(read_mono(path, scale=scale)[:1000] / 2048 - wave * size)
        assert error.max() <= 0.51 / 2048
    assert common_scale([soft]) == 1
    integer = write_wav(tmp_path / "integer.wav", noise(rng, 10))
    assert common_scale([soft, integer]) == 1
    with pytest.raises(InputError, match="loud.wav: reaches 12, which is a physical unit.*integer"):
        common_scale([loud, integer])


@pytest.mark.parametrize(
    ("peak", "scale"), [(0.0, 1), (2.0**-10, 1), (3e-5, 2.0**15), (1e-9, 2.0**29)]
)
def test_floats_that_16_bits_would_lose_are_raised(tmp_path, peak, scale):
    path = as_floats(tmp_path / "a.wav", np.array([peak, -peak, 0]), subtype="FLOAT")
    assert common_scale([path]) == scale
    if scale > 1:
        assert 16384 <= np.abs(read_mono(path, scale=scale).astype(int)).max() <= 32768


FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "MS_ADPCM"), ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16"), ("CAF", "PCM_16"), ("MP3", None),
]  # fmt: skip


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    path, found = tmp_path_factory.mktemp("formats") / "a", []
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 500)
    for format, subtype in FORMATS:
        soundfile.write(path, wave, 16000, format=format, subtype=subtype)
        found.append(path.read_bytes())
    return found


@given(
    kind=st.integers(0, len(FORMATS) - 1),
    damage=st.lists(st.tuples(st.integers(0, 119), st.integers(0, 255)), max_size=4),
    length=st.integers(0, 2500),
)
def test_a_damaged_recording_is_decoded_whole_or_refused(
    tmp_path_factory, recordings, kind, damage, length
):
    content = bytearray(recordings[kind])
    for place, value in damage:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[:length])
    with contextlib.suppress(InputError):
        header = read_header(path)
        samples = read_mono(path, sample_rate=header.sample_rate, channel=0)
        assert len(samples) == header.n_samples > 0
        common_scale([path])
