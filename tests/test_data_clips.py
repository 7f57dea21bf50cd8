import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from corpus import make_tree, train_and_test, wav_bytes, write_wav
from hypothesis import given, settings
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.data import read_clips, scan_clips

TRAIN = "section_00_source_train_normal_0000_pro_A.wav"
BARE = "section_00_source_train_normal_0000_noAttribute.wav"


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "set", train_and_test("fan") + train_and_test("pump"))


def write_attributes(folder, *lines):
    (folder / "attributes_00.csv").write_text("\n".join(lines) + "\n")


def test_the_table_of_a_small_folder(tmp_path):
    files = [
        "fan/train/section_00_source_train_normal_0000_pro_A_spd_3.wav",
        "fan/test/section_00_target_test_anomaly_0001_noAttribute.wav",
        "fan/test/section_00_0005.wav",
        "fan/supplemental/section_00_noise_source_0000_.wav",
        "fan/supplemental/section_00_machine_0001_.wav",
    ]
    clips = read_clips(make_tree(tmp_path, files, n_samples=321)).set_index("clip_id")
    assert sorted(files) == clips.index.to_list()
    train, anomaly, hidden, noise, machine = (clips.loc[file] for file in files)
    assert (train["domain"], train["split"], train["is_anomaly"]) == ("source", "train", False)
    assert (train["attribute"], train["attribute_pro"], train["attribute_spd"]) == (
        "pro_A_spd_3", "A", "3",
    )  # fmt: skip
    assert (anomaly["domain"], anomaly["is_anomaly"]) == ("target", True)
    assert pd.isna(anomaly["attribute"])
    assert hidden[["domain", "is_anomaly", "attribute", "supplemental_kind"]].isna().all()
    assert hidden["split"] == "test"
    assert noise["supplemental_kind"] == "noise"
    assert machine["supplemental_kind"] == "clean"
    assert pd.isna(machine["is_anomaly"])
    assert (train["n_samples"], train["sample_rate"], train["channels"]) == (321, 16000, 1)
    assert train["path"] == str(tmp_path / files[0])


def test_dtypes_hold_without_any_value(tmp_path):
    clips = read_clips(make_tree(tmp_path, [f"fan/train/{BARE}"]))
    dtypes = clips.dtypes.astype(str)
    for column in ("domain", "attribute", "supplemental_kind"):
        assert dtypes[column] == "string"
    assert dtypes["is_anomaly"] == "boolean"
    assert dtypes["n_samples"] == "int64"
    assert isinstance(clips.index, pd.RangeIndex)


@pytest.mark.parametrize("base", ["", "raw", "dev_data/raw", "eval_data/raw", "dcase/dev_data/raw"])
def test_the_root_may_lie_above(tmp_path, base):
    make_tree(tmp_path / base, train_and_test("fan"))
    assert len(read_clips(tmp_path)) == 8


def test_development_and_evaluation_data_are_both_read_and_merged(tmp_path):
    make_tree(tmp_path / "dev_data/raw", train_and_test("fan"))
    make_tree(tmp_path / "eval_data/raw", [f"drone/train/{BARE}"])
    make_tree(tmp_path / "eval_data/raw", ["fan/test/section_00_0000.wav"])
    counts = read_clips(tmp_path).groupby("machine_type").size()
    assert counts.to_dict() == {"drone": 1, "fan": 9}


def test_several_data_sets_below_a_root_are_not_mixed(tmp_path):
    for name in ("dcase2024t2", "dcase2025t2"):
        make_tree(tmp_path / name / "dev_data/raw", train_and_test("fan"))
    with pytest.raises(InputError, match=r"several data sets \(dcase2024t2, dcase2025t2\)"):
        read_clips(tmp_path)


def test_renamed_test_clips_are_read_where_only_they_exist(tmp_path):
    renamed = "fan/test_rename/section_00_source_test_anomaly_0000_pro_A.wav"
    make_tree(tmp_path, [f"fan/train/{TRAIN}", renamed])
    clips = read_clips(tmp_path)
    assert clips["clip_id"][0] == "fan/test/section_00_source_test_anomaly_0000_pro_A.wav"
    make_tree(tmp_path, ["fan/test/section_00_0000.wav"])
    clips = read_clips(tmp_path)
    assert clips["clip_id"].to_list() == ["fan/test/section_00_0000.wav", f"fan/train/{TRAIN}"]


def test_stray_and_hidden_files_are_passed_over(tree):
    for stray in ("fan/train/.DS_Store", "fan/train/._a.wav", "fan/notes.txt", "README.md"):
        (tree / stray).write_bytes(b"x")
    (tree / "__MACOSX").mkdir()
    (tree / "figures").mkdir()
    assert len(read_clips(tree)) == 16


def passed_over(root, **options):
    """What was passed over below a folder: path -> reason."""
    scan = scan_clips(root, **options)[1]
    return {path.relative_to(root).as_posix(): reason for path, reason in scan.passed_over}


def test_everything_is_read_or_named_as_passed_over(tree):
    (tree / "fan/old").mkdir()
    for stray in (
        "fan/old/section_00_source_train_normal_0001_pro_A.wav", "fan/train/.DS_Store",
        "fan/test/a.m4a", "fan/notes.txt", "README.md", "beside.flac", "fan/attributes_0.csv",
    ):  # fmt: skip
        (tree / stray).write_bytes(b"x")
    (tree / "__MACOSX").mkdir()
    make_tree(tree, [f"fan/{TRAIN}"])
    (tree / "fan/train/gone.wav").symlink_to(tree / "nowhere.wav")
    (tree / "fan/train/linked").symlink_to(tree / "pump")
    assert passed_over(tree) == {
        "README.md": "no recording",
        "__MACOSX": "hidden",
        "beside.flac": "in no split's folder",
        "fan/attributes_0.csv": "no recording",
        "fan/notes.txt": "no recording",
        "fan/old/section_00_source_train_normal_0001_pro_A.wav": "in no split's folder",
        f"fan/{TRAIN}": "in no split's folder",
        "fan/test/a.m4a": "a format that cannot be read (convert it to wav or flac)",
        "fan/train/.DS_Store": "hidden",
        "fan/train/gone.wav": "a link to nothing",
        "fan/train/linked": "a link to a folder",
    }
    clips, scan = scan_clips(tree)
    assert len(clips) == 16
    assert "2 passed over (hidden): fan/train/.DS_Store, __MACOSX" in scan.told()
    assert "3 passed over (no recording): fan/attributes_0.csv, fan/notes.txt, README.md" in (
        scan.told()
    )
    assert set(passed_over(tree, machines=["pump"])) == {"README.md", "__MACOSX", "beside.flac"}


def test_nothing_is_passed_over_in_a_whole_folder(tree, simulated_smoke):
    assert passed_over(tree) == passed_over(simulated_smoke) == {}


def test_recordings_in_folders_below_a_split_are_read(tmp_path):
    names = [f"section_00_source_train_normal_{n:04d}.wav" for n in range(3)]
    make_tree(tmp_path, [f"fan/train/{names[0]}", f"fan/train/a/{names[1]}"])
    make_tree(tmp_path, [f"fan/train/a/b/{names[2]}"])
    clips = read_clips(tmp_path)
    assert clips["clip_id"].to_list() == [f"fan/train/{name}" for name in names]
    assert clips["path"][2] == str(tmp_path / "fan/train/a/b" / names[2])
    make_tree(tmp_path, [f"fan/train/b/{names[0]}"])
    with pytest.raises(InputError, match=f"second clip of the id fan/train/{names[0]}"):
        read_clips(tmp_path)


def test_test_folders_of_each_domain_are_read(tmp_path):
    """The layout of 2021."""
    names = [f"section_00_{domain}_test_anomaly_0000.wav" for domain in ("source", "target")]
    files = [f"fan/{name[11:17]}_test/{name}" for name in names]
    make_tree(tmp_path, [f"fan/train/{TRAIN}", *files])
    clips = read_clips(tmp_path).query("split == 'test'")
    assert clips["clip_id"].to_list() == [f"fan/test/{name}" for name in names]
    assert clips["domain"].to_list() == ["source", "target"]
    assert passed_over(tmp_path) == {}
    make_tree(tmp_path, [f"fan/source_test/{names[1]}"])
    with pytest.raises(InputError, match="lies in the folder source_test but is named like a targ"):
        read_clips(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["tests", "training", "trian", "Testing", "test_source", "train_old", "source-test", "train 2",
     "Supplementals"],
)  # fmt: skip
def test_a_folder_named_nearly_like_a_split_is_refused(tree, name):
    (tree / "fan" / name).mkdir()
    assert len(read_clips(tree)) == 16  # nothing is lost by an empty folder
    make_tree(tree, [f"fan/{name}/a/{TRAIN}"])
    with pytest.raises(InputError, match=f"fan/{name}: holds recordings, but no split has this na"):
        read_clips(tree)
    assert len(read_clips(tree, machines=["pump"])) == 8


def test_a_machine_with_misnamed_splits_alone_is_not_lost(tree):
    make_tree(tree, [f"car/training/{TRAIN}", f"car/tests/{TRAIN}"])
    with pytest.raises(
        InputError, match=r"(?s)2 folders cannot.*car/training: .*Expected train, t"
    ):
        read_clips(tree)


@pytest.mark.parametrize("extension", ["flac", "FLAC", "aiff", "w64"])
def test_other_formats_beside_wav_are_clips(tree, rng, extension):
    name = "section_00_source_train_normal_0777_pro_A"
    path = tree / f"fan/train/{name}.{extension}"
    soundfile.write(path, rng.uniform(-0.5, 0.5, 333), 16000, format=extension)
    clips = read_clips(tree).set_index("clip_id")
    assert clips.loc[f"fan/train/{name}.wav", "path"] == str(path)
    assert clips.loc[f"fan/train/{name}.wav", "n_samples"] == 333
    assert len(clips) == 17
    path.rename(path.with_stem(TRAIN[:-4]))
    with pytest.raises(InputError, match=f"second clip of the id fan/train/{TRAIN}"):
        read_clips(tree)
    path.with_stem(TRAIN[:-4]).rename(path.with_stem("pump"))
    with pytest.raises(InputError, match=f"fan/train/pump.{extension}: is no clip name"):
        read_clips(tree)


@pytest.mark.parametrize(
    ("name", "letter"),
    [("<img src=x onerror=alert(1)>", "<"), ("a|b", "[|]"), ("=HYPERLINK(1)", "="), ("a$b$", "[$]"),
     ("fan\n", "n"), ("a\u202eb", "202e"), ("{fan}", "{"), ("fan,2", ","), ("fan`", "`")],
)  # fmt: skip
def test_a_machine_name_that_is_not_plain_is_refused(tree, name, letter):
    make_tree(tree / name, [f"train/{TRAIN}"])
    with pytest.raises(InputError, match=f"machine's name has the character '[^']*{letter}"):
        read_clips(tree)
    assert len(read_clips(tree, machines=["fan"])) == 8


@pytest.mark.parametrize("name", ["Lüfter 3+", "ポンプ", "a-b_c.2", "u\u0308ber", "पंखा"])
def test_a_machine_name_in_any_language_is_plain(tmp_path, name):
    make_tree(tmp_path / name, [f"train/{TRAIN}"])
    assert read_clips(tmp_path)["machine_type"].to_list() == [name]


def test_upper_case_extensions_and_folders_are_read(tmp_path):
    make_tree(tmp_path, [f"fan/Train/{TRAIN[:-4]}.WAV"])
    assert read_clips(tmp_path)["clip_id"].to_list() == [f"fan/train/{TRAIN}"]


def test_machines_are_chosen_by_name(tree):
    assert set(read_clips(tree, machines=["pump"])["machine_type"]) == {"pump"}
    with pytest.raises(InputError, match="has no machine car. There are: fan, pump"):
        read_clips(tree, machines=["car", "fan"])
    with pytest.raises(InputError, match="none was named"):
        read_clips(tree, machines=[])


def test_a_faulty_machine_does_not_matter_when_it_is_not_chosen(tree):
    (tree / "fan/train/x.wav").write_bytes(b"")
    assert len(read_clips(tree, machines=["pump"])) == 8


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("file_name,d1p,d1v,d2p,d2v", f"fan/train/{BARE},car,B2,spd,7"),
        ("file_name,d1p,d1v,d2p,d2v", f"{BARE[:-4]},car,B2,spd,7"),
        ("file_name,d1p,d1v,d2p,d2v,d3p,d3v", f"dev_data/raw/fan/train/{BARE},car,B2,spd,7,,"),
        ("file_name,d2p,d2v,d1p,d1v", f"train/{BARE},spd,7,car,B2"),
        ("file_name, d1p, d1v, d2p ,d2v", f"fan/train/{BARE}, car, B2,spd , 7"),
        (' "file_name","d1p", "d1v",d2p,d2v', f'"train/{BARE}", "car",B2,spd,7'),
        ("file_name,d1p,d1v,d2p,d2v", f"{BARE[:-4]}.flac,car,B2,spd,7"),
    ],
)
def test_attribute_file_supplies_what_the_name_hides(tmp_path, header, line):
    make_tree(tmp_path, [f"fan/train/{BARE}"])
    write_attributes(tmp_path / "fan", header, line)
    clip = read_clips(tmp_path).iloc[0]
    assert (clip["attribute"], clip["attribute_car"], clip["attribute_spd"]) == (
        "car_B2_spd_7", "B2", "7",
    )  # fmt: skip


def test_attribute_file_without_attribute_columns(tmp_path):
    make_tree(tmp_path, [f"fan/train/{BARE}"])
    write_attributes(tmp_path / "fan", "file_name", f"fan/train/{BARE}")
    assert read_clips(tmp_path)["attribute"].isna().all()


def test_attribute_file_splits_a_name_without_pair_structure(tmp_path):
    name = "section_00_source_train_normal_0000_spd1000_BckgA.wav"
    make_tree(tmp_path, [f"fan/train/{name}"])
    write_attributes(tmp_path / "fan", "file_name,d1p,d1v,d2p,d2v", f"{name},spd,1000,Bckg,A")
    clip = read_clips(tmp_path).iloc[0]
    assert clip["attribute"] == "spd1000_BckgA"
    assert (clip["attribute_spd"], clip["attribute_Bckg"]) == ("1000", "A")


def test_attribute_files_of_other_sections(tmp_path):
    names = ["section_00_source_train_normal_0000.wav", "section_01_source_train_normal_0000.wav"]
    make_tree(tmp_path, [f"fan/train/{name}" for name in names])
    for number, name in enumerate(names):
        path = tmp_path / "fan" / f"attributes_{number:02d}.csv"
        path.write_text(f"file_name,d1p,d1v\n{name},n,{number}\n")
    clips = read_clips(tmp_path)
    assert clips["section"].to_list() == ["00", "01"]
    assert clips["attribute"].to_list() == ["n_0", "n_1"]


def test_attributes_of_a_split_that_is_not_there_are_passed_over(tmp_path):
    make_tree(tmp_path, [f"fan/train/{TRAIN}"])
    lines = [TRAIN, "section_00_target_test_normal_0003_pro_A.wav"]
    write_attributes(tmp_path / "fan", "file_name,d1p,d1v", *(f"{line},pro,A" for line in lines))
    assert len(read_clips(tmp_path)) == 1
    reason = "1 of its lines are about test, which is not there"
    assert passed_over(tmp_path) == {"fan/attributes_00.csv": reason}


def test_a_column_that_means_nothing_is_named(tmp_path):
    make_tree(tmp_path, [f"fan/train/{TRAIN}"])
    write_attributes(tmp_path / "fan", "file_name,d1p,d1v,load", f"{TRAIN},pro,A,high")
    reason = "its column 'load' is none of d1p, d1v, d2p, ..."
    assert passed_over(tmp_path) == {"fan/attributes_00.csv": reason}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file_name,d1p,d1v", f"{TRAIN},pro,B"], "gives .* its name says pro_A. Correct one"),
        (["file_name", "train/section_00_source_train_normal_0009.wav"],
         "lists train/section_00_source_train_normal_0009.wav, which is not there"),
        (["file_name", "nonsense.wav"], "nonsense.wav: is no clip name"),
        (["file_name,d1p,d1v", f"{BARE},a,1", f"{BARE},a,2"], "two different attributes"),
        (["file_name,d1p", f"{TRAIN},pro"], "has the column d1p but no d1v"),
        (["name,d1p,d1v", f"{TRAIN},pro,A"], "lacks the column file_name"),
        ([""], "cannot be read as CSV"),
        (["file_name", "a,b", "a,b,c,d"], "cannot be read as CSV"),
        (["file_name,d1p,d1v", f"{TRAIN},pro,A", f"{BARE},vel,1,9"],
         "attributes_00.csv, line 3: .*expected 3 fields as in the first line, found 4.*a point"),
        (["file_name,d1p,d1v,d2p,d2v", f"{TRAIN},vel,1,9"], "line 2: .*expected 5 fields"),
        (["file_name,d1p,d1p,d1v", f"{TRAIN},pro,pro,A"], "two columns 'd1p'"),
        (["file_name;d1p;d1v", f"{TRAIN};pro;A"], "lacks the column file_name"),
        (["file_name,d1p,d1v", f'{TRAIN},pro,"A'], "cannot be read as CSV"),
        (["file_name,d1p,d1v", f"{TRAIN},pro,<b>"], "line 2: '<b>' has the character '<'"),
        (["file_name,d1p,d1v", f"{TRAIN},=pro,A"], "line 2: '=pro' has the character '='"),
    ],
)  # fmt: skip
def test_a_wrong_attribute_file_is_refused(tree, lines, message):
    write_attributes(tree / "fan", *lines)
    with pytest.raises(InputError, match=message):
        read_clips(tree)


def test_a_missing_or_empty_folder(tmp_path):
    with pytest.raises(InputError, match="is no folder. Expected <machine>/train"):
        read_clips(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no machine. Expected <machine>/train"):
        read_clips(tmp_path)


def test_a_folder_that_cannot_be_listed(tree, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(InputError, match="set: cannot be read .Permission denied"):
        read_clips(tree)


def test_the_folder_of_one_machine_may_be_the_root(tree):
    clips = read_clips(tree / "fan")
    assert clips["clip_id"].tolist() == read_clips(tree, machines=["fan"])["clip_id"].tolist()
    assert clips["recording"][0].startswith("test/section_00")
    make_tree(tree, [f"fan/lathe/train/{TRAIN}"])
    with pytest.raises(
        InputError, match=r"fan: is the folder of one machine \(train, test\) and h"
    ):
        read_clips(tree / "fan")


@pytest.mark.parametrize("gone", ["train", "wavs"])
def test_a_machine_without_training_clips_is_refused(tree, gone):
    if gone == "train":
        shutil.rmtree(tree / "fan/train")
    else:
        for path in (tree / "fan/train").iterdir():
            path.unlink()
    with pytest.raises(InputError, match="fan: holds no training clips.*Leave the machine out"):
        read_clips(tree)


def test_wavs_beside_instead_of_below_train_are_no_silent_loss(tree):
    make_tree(tree, [f"lathe/{TRAIN}"])
    with pytest.raises(InputError, match="lathe: holds no training clips"):
        read_clips(tree)


def test_a_machine_without_test_clips_is_fine(tree):
    shutil.rmtree(tree / "fan/test")
    assert len(read_clips(tree)) == 12


def test_two_clips_of_one_id_are_refused(tree):
    make_tree(tree, [f"fan/train/{TRAIN[:-4]}.WAV"])
    with pytest.raises(InputError, match=f"second clip of the id fan/train/{TRAIN}"):
        read_clips(tree)


def test_a_name_in_the_wrong_folder_is_refused(tree):
    make_tree(tree, ["fan/train/section_00_0000.wav"])
    with pytest.raises(InputError, match="fan/train/section_00_0000.wav: lies in the folder train"):
        read_clips(tree)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is an empty file \(0 bytes\)"),
        (b"RIFF", "is not a wav file"),
        (b"fLaC" + bytes(100), "is not a wav file"),
        (wav_bytes(bytes(320), announced=640), "announces 640 bytes of sound and 320 are there"),
        (wav_bytes(bytes(320))[:44], "announces 320 bytes of sound and 0 are there"),
        (wav_bytes(bytes(320))[:36], "No .data. chunk"),
        (wav_bytes(b""), "holds no samples"),
        (wav_bytes(bytes(321)), "ends within a frame"),
        (wav_bytes(bytes(320), code=2, bits=4), "is not a wav file, nor another recording"),
        (wav_bytes(bytes(320), sample_rate=0), "is not a wav file, nor another recording"),
        (wav_bytes(bytes(320), channels=0), "is not a wav file, nor another recording"),
    ],
)
def test_a_broken_wav_is_named(tree, content, message):
    path = tree / "fan/train" / TRAIN
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_clips(tree)
    assert str(path) in str(caught.value)


def test_many_broken_files_are_counted(tree):
    for path in (tree / "fan").rglob("*.wav"):
        path.write_bytes(b"")
    pattern = r"(?s)^8 files cannot be used:.*\.\.\. and 3 more\.$"
    with pytest.raises(InputError, match=pattern) as caught:
        read_clips(tree)
    assert str(caught.value).count("is an empty file") == 5


def test_lists_of_2025_laid_out_are_read_completely(tmp_path, realdata):
    """Every tenth published clip of every machine, as tiny wavs."""
    lists = realdata / "dcase_lists"
    table = pd.read_csv(lists / "dcase2025_file_names.csv")
    table = table.groupby(["machine_type", "split"]).nth(slice(None, None, 10))
    content = wav_bytes(np.arange(4, dtype="<i2").tobytes())
    for row in table.itertuples():
        path = tmp_path / row.machine_type / row.split / row.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    clips = read_clips(tmp_path)
    assert len(clips) == len(table)
    assert clips.groupby("machine_type").size().nunique() == 2
    unnamed = clips["attribute"].isna().groupby(clips["machine_type"]).all()
    hidden = ["AutoTrash", "Polisher", "ScrewFeeder", "ToyPet", "ToyTrain", "bearing", "slider"]
    assert unnamed.index[unnamed].to_list() == hidden


def test_real_recordings(realdata):
    clips = read_clips(realdata / "dcase")
    counts = clips.groupby(["machine_type", "split"]).size()
    assert counts["lathe"].to_dict() == {"test": 200, "train": 270}
    assert counts["desktopfan"].to_dict() == {"supplemental": 18, "test": 33, "train": 17}
    assert clips[clips["machine_type"] == "lathe"]["n_samples"].unique().tolist() == [16000]
    supplemental = clips[clips["split"] == "supplemental"]
    assert set(supplemental["supplemental_kind"]) == {"noise"}


def test_a_symbolic_link_is_a_clip(tmp_path, tree):
    target = write_wav(tmp_path / "elsewhere.wav", np.zeros(8, np.int16))
    link = tree / "fan/train/section_00_source_train_normal_0077.wav"
    link.symlink_to(target)
    assert len(read_clips(tree)) == 17


_FOLDERS = ["", "fan", "fan/train", "fan/test", "fan/source_test", "fan/train/a", "fan/test_rename",
            "fan/old", "pump/train", "pump", "x", "x/y", ".hidden", "fan/TRAIN"]  # fmt: skip
_FILES = [TRAIN, BARE, "section_00_source_test_normal_0000_pro_A.wav", "section_00_0000.wav",
          "section_00_source_train_normal_0002.flac", "a.txt", "._a.wav", "attributes_00.csv",
          "b.m4a"]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(_FOLDERS), st.sampled_from(_FILES)), max_size=12))
def test_no_file_is_lost_in_silence(tmp_path_factory, files):
    """Every file of a folder is a clip, an attribute file or passed over; else it is refused."""
    root = tmp_path_factory.mktemp("folder")
    for folder, name in files | {("fan/train", TRAIN), ("fan/train", "attributes_00.csv")}:
        path = root / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav_bytes(bytes(8)))
        if name == "attributes_00.csv":
            path.write_text("file_name\n")
    try:
        clips, scan = scan_clips(root)
    except InputError:
        return
    told = [path for path, _ in scan.passed_over]
    read = [Path(path) for path in clips["path"]]
    read += [path for paths in scan.attribute_files.values() for path in paths]
    for path in (path for path in root.rglob("*") if path.is_file()):
        places = {path, *path.parents}
        assert (path in read) + len(places & set(told)) == 1, path
