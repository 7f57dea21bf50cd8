"""Folders as they lie on a disk: every layout, and a list that says what names do not."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus import make_tree, wav_bytes, write_wav
from hypothesis import given, settings
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.data import read_clips, scan_clips
from asdlib.data.names import recorded_at
from asdlib.data.scan import layout_of
from asdlib.workbook.datasets import check_recordings

SECTION = "section_00_source_train_normal_0000.wav"


def conditions(clips: pd.DataFrame) -> dict[str, object]:
    """Condition of every clip: True, False, or None where it is unknown."""
    known = zip(clips["clip_id"], clips["is_anomaly"], strict=True)
    return {clip_id: None if pd.isna(value) else bool(value) for clip_id, value in known}


# -- layouts -----------------------------------------------------------------------------------


def test_names_of_2020(tmp_path):
    names = ["train/normal_id_00_00000000.wav", "train/normal_id_02_00000007.wav",
             "test/anomaly_id_00_00000000.wav", "test/normal_id_02_00000001.wav",
             "test/id_00_00000005.wav"]  # fmt: skip
    make_tree(tmp_path, [f"fan/{name}" for name in names])
    clips = read_clips(tmp_path)
    assert conditions(clips) == {
        "fan_id_00/test/anomaly_id_00_00000000.wav": True,
        "fan_id_00/test/id_00_00000005.wav": None,
        "fan_id_00/train/normal_id_00_00000000.wav": False,
        "fan_id_02/test/normal_id_02_00000001.wav": False,
        "fan_id_02/train/normal_id_02_00000007.wav": False,
    }
    assert set(clips["domain"]) == {"source"}
    assert set(clips["section"]) == {"00"}
    assert clips["recorded_at"].isna().all()
    assert clips["recording"][0] == "fan/test/anomaly_id_00_00000000.wav"
    assert read_clips(tmp_path / "fan", machines=["fan_id_02"])["split"].tolist() == [
        "test", "train",
    ]  # fmt: skip
    make_tree(tmp_path, ["fan/train/other.wav"])
    with pytest.raises(InputError, match="fan/train/other.wav: lies among names of 2020"):
        read_clips(tmp_path)
    make_tree(tmp_path, ["fan/train/anomaly_id_02_00000007.wav"])
    (tmp_path / "fan/train/other.wav").unlink()
    with pytest.raises(InputError, match="is named as anomalous. Move it to the test folder"):
        read_clips(tmp_path)


@pytest.mark.parametrize("above", ["", "6_dB_fan/"])
@pytest.mark.parametrize(("n_abnormal", "n_test"), [(1, 1), (2, 2), (9, 2)])
def test_mimii(tmp_path, above, n_abnormal, n_test):
    """The first normal clips are test clips: as many as are abnormal, at most half of them."""
    folder = tmp_path / f"{above}fan/id_00"
    make_tree(folder, [f"normal/{i:08d}.wav" for i in range(5)])
    make_tree(folder, [f"abnormal/{i:08d}.wav" for i in range(n_abnormal)])
    make_tree(tmp_path / f"{above}fan/id_02", ["normal/00000000.wav"])
    clips = read_clips(tmp_path)
    own = clips[clips["machine_type"] == "fan_id_00"]
    test = own[own["split"] == "test"]
    assert test.loc[~test["is_anomaly"], "clip_id"].tolist() == [
        f"fan_id_00/test/normal_{i:08d}.wav" for i in range(n_test)
    ]
    assert test["is_anomaly"].sum() == n_abnormal
    assert (own["split"] == "train").sum() == 5 - n_test
    assert clips["clip_id"].iloc[-1] == "fan_id_02/train/normal_00000000.wav"
    assert scan_clips(tmp_path)[1].passed_over == []
    assert read_clips(folder)["clip_id"].tolist() == own["clip_id"].tolist()
    if above:
        pd.testing.assert_frame_equal(
            read_clips(tmp_path / above).drop(columns="recording"), clips.drop(columns="recording")
        )
        make_tree(tmp_path / "0_dB_fan/fan/id_00", ["normal/00000000.wav"])
        with pytest.raises(InputError, match=r"fan_id_00 twice \(0_dB_fan/fan/id_00, 6_dB_fan/"):
            read_clips(tmp_path)


def test_plain_folders(tmp_path, monkeypatch):
    files = [
        "Pumpe 3/normal/2026-05-02/07_15.wav", "Pumpe 3/normal/Ümlaut [1] (a).wav",
        "Pumpe 3/check/new.wav", "Pumpe 3/check/abnormal/new.wav", "Pumpe 3/check/Normal/x.wav",
        "fan/train/a.wav", "fan/train/target/a.wav", "fan/test/source/deep/a.wav",
        "fan/supplemental/noise/hall.wav", "press/normal/a.wav", "press/anomalous/a.wav",
    ]  # fmt: skip
    clips, scan = scan_clips(make_tree(tmp_path, files))
    assert conditions(clips) == {
        "Pumpe 3/test/Normal_x.wav": False,
        "Pumpe 3/test/abnormal_new.wav": True,
        "Pumpe 3/test/new.wav": None,
        "Pumpe 3/train/2026-05-02_07_15.wav": False,
        "Pumpe 3/train/Ümlaut [1] (a).wav": False,
        "fan/supplemental/noise_hall.wav": None,
        "fan/test/source_deep_a.wav": None,
        "fan/train/a.wav": False,
        "fan/train/target_a.wav": False,
        "press/test/anomalous_a.wav": True,
        "press/train/a.wav": False,
    }
    assert scan.passed_over == []
    of_target = clips[clips["domain"] == "target"]
    assert of_target["clip_id"].tolist() == ["fan/train/target_a.wav"]
    assert sorted(clips["recording"]) == sorted(files)
    assert clips["attribute"].isna().all()
    own = read_clips(tmp_path / "Pumpe 3")
    assert own["clip_id"].tolist() == clips["clip_id"][:5].tolist()
    monkeypatch.chdir(tmp_path / "Pumpe 3")
    assert read_clips(".")["clip_id"].tolist() == own["clip_id"].tolist()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["fan/train/a.wav", f"pump/train/{SECTION}"],
         r"mixes layouts \(plain folders: fan; the challenge's names: pump\)"),
        (["fan/id_00/normal/a.wav", "pump/train/a.wav"], "mixes layouts .*plain folders: pump"),
        (["fan/train/a.wav", "fan/normal/b.wav"], "fan: has both normal and train"),
        (["fan/train/abnormal/a.wav"], "abnormal/a.wav: lies among the training recordings"),
        (["fan/train/a.wav", "fan/supplemental/a.wav"], "Move it to supplemental/clean"),
        (["fan/train/a/b.wav", "fan/train/a_b.wav"], "a_b.wav: is a second clip of the id"),
        (["fan/a.wav"], "fan: holds no training clips"),
        (["fan/check/a.wav"], "fan: holds no training clips"),
        (["fan/train/a.wav", "fan/checks/a.wav", "fan/tests/a.wav"],
         "fan/tests: holds recordings, but no split has this name. Expected train, .*check"),
        (["a.wav"], "holds no machine.*or a clips.csv"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_refused(tmp_path, files, message):
    make_tree(tmp_path / "set", files)
    with pytest.raises(InputError, match=message):
        read_clips(tmp_path / "set")


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    make_tree(tmp_path, ["fan/train/a.wav", "fan/test/abnormal/b.wav", "pump/test/a.wav"])
    (tmp_path / "fan/train/c.wav").write_bytes(b"")
    (tmp_path / "fan/train/d.flac").write_bytes(b"x")
    clips, scan = scan_clips(tmp_path, refuse=False)
    assert len(clips) == 3
    assert [problem.split(": ")[1][:24] for problem in scan.problems] == [
        "is an empty file (0 byte", "is not a wav file, nor a", "holds no training clips.",
    ]  # fmt: skip


def test_a_machine_of_another_layout_can_be_left_out(tmp_path):
    make_tree(tmp_path, ["fan/train/a.wav", f"pump/train/{SECTION}"])
    assert layout_of(tmp_path / "pump") == "the challenge's names"
    assert read_clips(tmp_path, machines=["pump"])["domain"].tolist() == ["source"]
    assert len(read_clips(tmp_path, machines=["fan"])) == 1


def test_folders_of_2021_tell_the_domain_of_evaluation_clips(tmp_path):
    make_tree(tmp_path, [f"fan/train/{SECTION}", "fan/target_test/section_00_0000.wav",
                         "fan/source_test/section_03_source_test_0001.wav"])  # fmt: skip
    clips = read_clips(tmp_path).query("split == 'test'")
    assert clips["domain"].tolist() == ["target", "source"]
    assert clips["is_anomaly"].isna().all()


# -- names of files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("=HYPERLINK(1).wav", "_=HYPERLINK(1).wav"),
        ("@SUM.wav", "_@SUM.wav"),
        ("a\nb\x1b[2J.wav", "a\\x0ab\\x1b[2J.wav"),
        ("a\u202eb.wav", "a\\x202eb.wav"),
        ("<b>|$x$,;.wav", "<b>|$x$,;.wav"),
        ("a.b.FLAC", "a.b.wav"),
    ],
)
def test_names_of_files_are_kept_and_do_nothing(tmp_path, name, shown):
    write_wav(tmp_path / "fan/train" / name, np.ones(8, np.int16))
    write_wav(tmp_path / "one/train" / name, np.ones(8, np.int16))
    clip = read_clips(tmp_path).iloc[0]
    assert clip["clip_id"] == f"fan/train/{shown}"
    assert clip["path"] == str(tmp_path / "fan/train" / name)
    (tmp_path / "clips.csv").write_text("path,machine_type\na.wav,fan\n")
    write_wav(tmp_path / "a.wav", np.ones(8, np.int16)).rename(tmp_path / "=a.wav")
    (tmp_path / "clips.csv").write_text("path,machine_type,split\n=a.wav,fan,train\n")
    clip = read_clips(tmp_path).iloc[0]
    assert (clip["clip_id"], clip["recording"]) == ("fan/train/_=a.wav", "./=a.wav")


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    path = os.fsencode(tmp_path / "fan/train/") + b"/\xff.wav"
    (tmp_path / "fan/train").mkdir(parents=True)
    Path(os.fsdecode(path)).write_bytes(wav_bytes(bytes(8)))
    with pytest.raises(InputError, match=r"xdcff.wav: the name is not in UTF-8. Rename it"):
        read_clips(tmp_path)


@pytest.mark.parametrize(
    ("inside", "moment"),
    [
        ("a/train/Pumpe 3 2026-05-02 07_15.wav", "2026-05-02T07:15:00"),
        ("20260502_071530.wav", "2026-05-02T07:15:30"),
        ("2026-05-02T07-15-30 left.wav", "2026-05-02T07:15:30"),
        ("202605020715.wav", "2026-05-02T07:15:00"),
        ("2026-05-02/0715.wav", "2026-05-02T07:15:00"),
        ("2026.05.02/x_0715.wav", "2026-05-02T00:00:00"),
        ("2026-01-01/2026_05_02.wav", "2026-05-02T00:00:00"),
        ("2026-05-02/2026-99-99 12_00.wav", "2026-05-02T00:00:00"),
        ("2026-05-02 25_00.wav", "2026-05-02T00:00:00"),
        ("2026-05-02_12.wav", "2026-05-02T00:00:00"),
        ("120260502.wav", "2001-02-03T04:05:06"),
        ("2026-02-30.wav", "2001-02-03T04:05:06"),
        ("a.wav", "2001-02-03T04:05:06"),
    ],
)
def test_when_a_recording_was_made(tmp_path, monkeypatch, inside, moment):
    path = tmp_path / "a.wav"
    path.touch()
    modified = pd.Timestamp("2001-02-03T04:05:06").to_pydatetime().timestamp()
    os.utime(path, (modified, modified))
    assert recorded_at([path], [inside]) == [moment]


def test_a_day_that_names_tell_is_a_session(tmp_path):
    make_tree(tmp_path, ["fan/normal/2026-05-02/0715.wav", "fan/normal/b.wav"])
    clips = read_clips(tmp_path)
    assert clips["session"].fillna("").tolist() == ["2026-05-02", ""]


def test_running_numbers_are_no_times_of_day(tmp_path):
    inside = ["2026-05-02/0059.wav", "2026-05-02/0060.wav", "2026-05-03/0059.wav"]
    assert recorded_at([tmp_path] * 3, inside) == [
        "2026-05-02T00:00:00", "2026-05-02T00:00:00", "2026-05-03T00:59:00",
    ]  # fmt: skip


# -- clips.csv ---------------------------------------------------------------------------------


def listed(root: Path, *lines: str) -> Path:
    (root / "clips.csv").write_text("\n".join(lines) + "\n")
    return root


def test_a_list_says_what_names_do_not(tmp_path):
    make_tree(tmp_path, ["a.wav", "b.wav", "pump/x/c.wav", "pump/test/d.wav", "e.wav", "f/g.wav"])
    (tmp_path / "notes.pdf").write_bytes(b"")
    listed(
        tmp_path, "path,machine_type,domain,condition,rpm,session,tool",
        "a.wav,lathe,source,normal,1500,Monday,",
        "b.wav,lathe,target,anomaly,1500,,T 2",
        "pump\\x\\c.wav,,,normal,,,",
        "pump/test/d.wav,,,,,,",
        "e.wav,lathe,,noise,,,",
    )  # fmt: skip
    clips, scan = scan_clips(tmp_path)
    assert conditions(clips) == {
        "lathe/supplemental/e.wav": None, "lathe/test/b.wav": True, "lathe/train/a.wav": False,
        "pump/test/d.wav": None, "pump/train/x_c.wav": False,
    }  # fmt: skip
    assert clips["domain"].tolist() == ["source", "target", "source", "source", "source"]
    assert clips["attribute"].dropna().tolist() == ["rpm_1500_tool_T 2", "rpm_1500"]
    assert clips["attribute_tool"].dropna().tolist() == ["T 2"]
    assert clips["session"].dropna().to_dict() == {2: "Monday"}
    assert scan.told() == [
        "1 passed over (not listed in clips.csv): f/g.wav",
        "1 passed over (no recording): notes.pdf",
    ]
    assert set(read_clips(tmp_path, machines=["pump"])["machine_type"]) == {"pump"}


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("path,machine_type", "b.wav,fan", "line 3: names 'b.wav', which is no file below"),
        ("path,machine_type", "../a.wav,fan", "line 3: names '../a.wav', which is no file"),
        ("path,machine_type", ",fan", "line 3: names '', which is no file below"),
        ("path,machine_type", "a.wav,fan", "line 3: lists a.wav again, after line 2"),
        ("path,machine_type", "c.wav,", "line 3: the machine_type is ''"),
        ("path,machine_type", "c.wav,a|b", "line 3: the machine_type is 'a|b'. Expected letters"),
        ("path,domain", "c.wav,sauce", "line 3: the domain is 'sauce'. Expected source, target"),
        ("path,condition", "c.wav,ok", "line 3: the condition is 'ok'. Expected normal, abnormal"),
        ("path,split", "c.wav,dev", "line 3: the split is 'dev'. Expected train, test, suppl"),
        ("path,rpm", "c.wav,<b>", "line 3: '<b>' has the character '<'"),
        ("path,session", "c.wav,<b>", "line 3: '<b>' has the character '<'"),
        ("path,r|m", "c.wav,1", r"the column 'r\|m' has the character '\|'"),
        ("path,rpm", "c.wav,1,5", "line 3: cannot be read as CSV .expected 2 fields"),
        ("file,rpm", "c.wav,1", "lacks the column path"),
    ],
)
def test_a_wrong_line_is_refused_by_its_number(tmp_path, header, line, message):
    make_tree(tmp_path, ["a.wav", "c.wav"])
    first = {"path,machine_type": "a.wav,fan"}.get(header, "a.wav,")
    if "machine_type" not in header:
        header, first, line = f"{header},machine_type", f"{first},fan", f"{line},fan"
    listed(tmp_path, header, first, line)
    with pytest.raises(InputError, match=f"clips.csv.*{message.replace('2 fields', '3 fields')}"):
        read_clips(tmp_path)


@pytest.mark.parametrize(
    ("split", "condition"),
    [("train", "anomaly"), ("test", "noise"), ("supplemental", "normal"), ("supplemental", "")],
)
def test_splits_and_conditions_that_contradict_each_other(tmp_path, split, condition):
    listed(make_tree(tmp_path, ["a.wav"]), "path,machine_type,split,condition",
           f"a.wav,fan,{split},{condition}")  # fmt: skip
    with pytest.raises(InputError, match=f"line 2: the split {split} and the condition .* do not"):
        read_clips(tmp_path)


def test_a_list_of_nothing(tmp_path):
    with pytest.raises(InputError, match="clips.csv: lists no recording"):
        read_clips(listed(tmp_path, "path"))


# -- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_samples", "n_windows"), [(20_000, 1), (20_001, 2), (24_999, 2), (25_001, 3), (620_007, 62)]
)
def test_windows_cover_a_long_recording_once(tmp_path, n_samples, n_windows):
    write_wav(tmp_path / "fan/train/2026-05-02 07_15.wav", np.zeros(n_samples, np.int16),
              sample_rate=1000)  # fmt: skip
    clips = read_clips(tmp_path, window_s=10)
    assert len(clips) == n_windows
    starts = np.rint(clips["start_s"] * 1000).astype(int)
    ends = starts + clips["n_samples"]
    assert starts[0] == 0
    assert ends.iloc[-1] == n_samples
    assert ends[:-1].tolist() == starts[1:].tolist()
    assert clips["n_samples"].max() - clips["n_samples"].min() <= 1
    assert set(clips["recording"]) == {"fan/train/2026-05-02 07_15.wav"}
    if n_windows == 62:
        assert clips["clip_id"][61] == "fan/train/2026-05-02 07_15@00610.0s.wav"
        assert clips["recorded_at"][61] == "2026-05-02T07:25:10"
    assert len(read_clips(tmp_path)) == 1


# -- properties --------------------------------------------------------------------------------

_FOLDERS = ["", "fan", "fan/train", "fan/normal", "fan/test", "fan/check", "fan/check/abnormal",
            "fan/id_00/normal", "fan/id_00/abnormal", "pump/train", "pump/supplemental/noise",
            "pump/old", ".hidden", "train", "x/fan/train"]  # fmt: skip
_FILES = ["a.wav", "2026-05-02 07_15.wav", "=1.flac", "normal_id_00_00000000.wav", SECTION,
          "a.pdf", "._a.wav", "b.m4a", "attributes_00.csv"]  # fmt: skip
_CONTENT = [wav_bytes(bytes(8)), wav_bytes(bytes(16), channels=2), b"", wav_bytes(b""), b"RIFF"]
_LINES = ["a.wav,fan,,", "fan/train/a.wav,,,normal", "fan/train/a.wav,fan,target,", "b.wav,,,",
          "fan/check/a.wav,,,anomaly", "x,y", "fan/train/a.wav,fan,t,"]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from(_FOLDERS), st.sampled_from(_FILES)),
                    st.sampled_from([*_CONTENT[:2]] * 4 + _CONTENT), max_size=8),
    st.none() | st.lists(st.sampled_from(_LINES), max_size=4),
)  # fmt: skip
def test_every_file_is_read_or_passed_over_or_all_is_refused(tmp_path_factory, files, lines):
    root = tmp_path_factory.mktemp("folder")
    for (folder, name), content in files.items():
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"file_name\n" if name.endswith(".csv") else content)
    if lines is not None:
        listed(root, "path,machine_type,domain,condition", *lines)
    try:
        clips, scan = scan_clips(root)
    except InputError as refusal:
        said = str(refusal)
    else:
        said = ""
    if said:
        assert len(said.splitlines()) <= 7
    with contextlib.suppress(InputError):
        check_recordings(root, None, {"window_s": 10.0, "resample": False, "channel": -1},
                         tell=lambda line: None)  # fmt: skip
        assert not said
    if said:
        return
    told = [path for path, _ in scan.passed_over]
    read = [Path(path) for path in clips["path"]]
    read += [path for paths in scan.attribute_files.values() for path in paths]
    for path in (path for path in root.rglob("*") if path.is_file()):
        if path != root / "clips.csv":
            places = {path, *path.parents}
            assert (path in read) + len(places & set(told)) == 1, path
    assert clips["clip_id"].is_unique
    assert clips.loc[clips["split"] == "train", "is_anomaly"].eq(False).all()
