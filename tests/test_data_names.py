import contextlib
import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.data import ClipName, attribute_pairs, format, parse


@pytest.mark.parametrize(
    ("name", "domain", "split", "condition", "index", "attribute", "kind"),
    [
        ("section_00_source_train_normal_0000_car_B1_spd_31V_mic_1.wav",
         "source", "train", "normal", 0, "car_B1_spd_31V_mic_1", None),
        ("section_00_target_test_anomaly_0049_ac_0.03_.wav",
         "target", "test", "anomaly", 49, "ac_0.03", None),
        ("section_03_source_test_normal_0012_noAttribute.WAV",
         "source", "test", "normal", 12, None, None),
        ("section_00_source_train_normal_10000.wav",
         "source", "train", "normal", 10000, None, None),
        ("section_00_source_anomaly_0000_weight00_BckgA.wav",
         "source", "test", "anomaly", 0, "weight00_BckgA", None),
        ("section_00_0005.wav", None, "test", None, 5, None, None),
        ("section_00_machine_0001_.wav", None, "supplemental", None, 1, None, "clean"),
        ("section_00_machine_source_0000_noAttribute.wav",
         "source", "supplemental", None, 0, None, "clean"),
        ("section_00_source_clean_normal_0003.wav",
         "source", "supplemental", None, 3, None, "clean"),
        ("section_00_noise_source_0000_session_2020.wav",
         "source", "supplemental", None, 0, "session_2020", "noise"),
        ("section_00_source_supplemental_noise_0009_n_A.wav",
         "source", "supplemental", None, 9, "n_A", "noise"),
    ],
)  # fmt: skip
def test_every_form_is_read(name, domain, split, condition, index, attribute, kind):
    clip_name = parse(name, split=split)
    found = (clip_name.domain, clip_name.split, clip_name.condition, clip_name.index)
    assert found == (domain, split, condition, index)
    assert (clip_name.attribute, clip_name.supplemental_kind) == (attribute, kind)
    assert format(clip_name) == name


@pytest.mark.parametrize(
    "name",
    [
        "section_00_source_train_anomaly_0000.wav",  # training clips are normal
        "section_00_source_train_normal_0000_a (1).wav",
        "section_00_source_train_normal_0000_a.wav.wav",
        "section_00_source_train_normal_0000_a.flac",
        "section_00_source_train_normal_000.wav",
        "section_00_source_train_normal_00001.wav",
        "section_0_source_train_normal_0000.wav",
        "section_00_train_source_normal_0000.wav",
        "section_00_source_train_normal_0000_ä.wav",
        "Section_00_source_train_normal_0000.wav",
        "section_00_0000_.wav",
        "section_00_0000_pro_A.wav",
        "section_00_machine_noise_0000.wav",
        "section_00_noise_source_target_0000.wav",
        "section_00_noise_test_0000.wav",
        "section_00_source_0000.wav",
        "normal_id_00_00000000.wav",
        "section_00_source_train_normal_0000.wav\n",
        "fan/section_00_0000.wav",
        "",
    ],
)
def test_anything_else_is_refused(name):
    with pytest.raises(InputError, match="is no clip name. Expected section_00_source_train"):
        parse(name)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("section_00_source_test_normal_0000.wav", "train"),
        ("section_00_0000.wav", "train"),
        ("section_00_noise_0000.wav", "test"),
        ("section_00_source_train_normal_0000.wav", "supplemental"),
    ],
)
def test_a_name_must_agree_with_its_folder(name, split):
    with pytest.raises(InputError, match=f"lies in the folder {split} but is named like"):
        parse(name, split=split)


@pytest.mark.parametrize(
    "parts",
    [
        {"section": "0"},
        {"index": -1},
        {"words": ("source", "train", "anomaly")},
        {"words": (), "suffix": "pro_A"},
        {"suffix": "a/b"},
        {"extension": ".flac"},
    ],
)
def test_parts_that_make_no_name_are_refused(parts):
    whole = {"section": "00", "words": ("source", "train", "normal"), "index": 0, **parts}
    with pytest.raises(InputError, match="is no clip name"):
        ClipName(**whole)


_TOKEN = st.from_regex(r"\A[A-Za-z0-9+-]+(?:(?<=[0-9])\.[0-9]+)?\Z")
_WORDS = st.sampled_from(
    [
        ("source", "train", "normal"),
        ("target", "train", "normal"),
        ("source", "test", "anomaly"),
        ("target", "test", "normal"),
        ("target", "anomaly"),
        ("machine",),
        ("noise", "target"),
        ("source", "supplemental", "clean"),
    ]
)


@given(
    section=st.integers(0, 99).map("{:02d}".format),
    words=_WORDS,
    index=st.integers(0, 123456),
    suffix=st.none() | st.just("") | st.lists(_TOKEN, min_size=1, max_size=6).map("_".join),
    trailing=st.sampled_from(["", "_"]),
    extension=st.sampled_from([".wav", ".WAV", ".Wav"]),
)
def test_parse_and_format_are_inverse(section, words, index, suffix, trailing, extension):
    suffix = suffix + trailing if suffix else suffix
    clip_name = ClipName(section, words, index, suffix, extension)
    assert parse(format(clip_name)) == clip_name
    assert format(parse(format(clip_name))) == format(clip_name)


@given(st.text(max_size=40))
def test_parse_never_fails_otherwise(text):
    for name in (text, f"section_00_{text}.wav", f"section_00_source_train_normal_0000_{text}.wav"):
        with contextlib.suppress(InputError):
            assert format(parse(name)) == name


def test_all_published_and_true_names_round_trip(realdata):
    lists = sorted((realdata / "dcase_lists").rglob("*.csv"))
    names = {
        field
        for path in lists
        for fields in csv.reader(Path(path).read_text().splitlines())
        for field in fields
        if field.lower().endswith(".wav")
    }
    assert len(lists) > 20
    assert len(names) > 25_000
    for name in names:
        assert format(parse(name)) == name


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("pro_A_vel_1100", {"pro": "A", "vel": "1100"}),
        ("v1pat_00_v2pat_05", {"v1pat": "00", "v2pat": "05"}),
        ("ac_0.03", {"ac": "0.03"}),
        ("spd1000_BckgA", {"attribute": "spd1000_BckgA"}),
        ("pro_A_wt_250_damage1", {"attribute": "pro_A_wt_250_damage1"}),
        ("mic_1_mic_2", {"attribute": "mic_1_mic_2"}),
        ("mic_imp23absu_mic_pos_C_grind_0_bkg_A",
         {"attribute": "mic_imp23absu_mic_pos_C_grind_0_bkg_A"}),
        ("a__b_c", {"attribute": "a__b_c"}),
    ],
)  # fmt: skip
def test_attribute_pairs(text, pairs):
    assert attribute_pairs(text) == pairs
