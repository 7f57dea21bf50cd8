import csv

import pandas as pd
import pytest
from corpus import make_tree

from asdlib.base import InputError
from asdlib.data import read_clips, read_eval_truth, read_true_attributes

BARE = "section_00_source_train_normal_0000_noAttribute.wav"


@pytest.mark.parametrize(
    ("machine_type", "n_source", "n_target"),
    [("bearing", 16, 10), ("slider", 10, 10), ("ToyTrain", 18, 8)],
)
def test_true_classes_of_the_development_machines(realdata, machine_type, n_source, n_target):
    folder = realdata / "dcase_lists" / "ground_truth_attributes" / "dcase2025t2" / "dev_data"
    clips = clips_of_lists(folder)
    true = read_true_attributes(folder, clips)
    assert true["clip_id"].to_list() == clips["clip_id"].to_list()
    classes = true.merge(clips, on="clip_id")
    is_train = (classes["machine_type"] == machine_type) & (classes["split"] == "train")
    domain = classes["clip_id"].str.contains("_source_").map({True: "source", False: "target"})
    counts = classes[is_train].groupby(domain[is_train])["attribute"].nunique()
    assert counts.to_dict() == {"source": n_source, "target": n_target}


@pytest.mark.parametrize("year", ["dcase2024t2", "dcase2025t2"])
def test_every_listed_name_is_matched_once(realdata, year):
    folder = realdata / "dcase_lists" / "ground_truth_attributes" / year
    clips = clips_of_lists(folder)
    true = read_true_attributes(folder, clips)
    assert len(true) == len(clips) == true["clip_id"].nunique()
    assert true["attribute"].notna().all()


def clips_of_lists(folder):
    """The clips that the correspondence files publish, as the columns that truth needs."""
    rows = []
    for path in folder.rglob("*_correspondence.csv"):
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                machine, split = path.parent.name, path.name.split("_")[2]
                rows.append((f"{machine}/{split}/{line['target_file_name']}", machine, split))
    return pd.DataFrame(rows, columns=["clip_id", "machine_type", "split"])


def test_lists_of_two_years_are_not_mixed(realdata):
    folder = realdata / "dcase_lists" / "ground_truth_attributes"
    clips = clips_of_lists(folder / "dcase2025t2")
    with pytest.raises(InputError, match="two lists of true attributes for .*folder of one year"):
        read_true_attributes(folder, clips)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([f"section_00_source_train_normal_0000_a_1.wav,{BARE}"] * 2, "twice"),
        ([f"section_00_target_train_normal_0000_a_1.wav,{BARE}"], "pairs section_00_target"),
        ([f"{BARE},{BARE}"], "Expected one clip, first under its name with attributes"),
        ([f"section_00_source_train_normal_0001_a_1.wav,{BARE.replace('0000', '0001')}"],
         f"does not list {BARE}. Is it the list of another year"),
    ],
)  # fmt: skip
def test_wrong_lists_of_true_attributes_are_refused(tmp_path, lines, message):
    clips = read_clips(make_tree(tmp_path / "set", [f"fan/train/{BARE}"]))
    path = tmp_path / "truth/fan/attributes_00_train_correspondence.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(["source_file_name,target_file_name", *lines]))
    with pytest.raises(InputError, match=message):
        read_true_attributes(tmp_path / "truth", clips)


def test_no_list_of_true_attributes(tmp_path):
    clips = read_clips(make_tree(tmp_path, [f"fan/train/{BARE}"]))
    table = read_true_attributes(tmp_path, clips)
    assert table.empty
    assert table.columns.tolist() == ["clip_id", "attribute"]


@pytest.mark.parametrize(
    ("year", "n_machines", "without_attribute"),
    [
        (2023, 7, set()),
        (2024, 9, {"AirCompressor", "HoveringDrone", "ToothBrush"}),
        (2025, 8, set()),
    ],
)
def test_evaluation_truth(realdata, year, n_machines, without_attribute):
    truth = read_eval_truth(realdata / "dcase_lists" / f"eval_data_list_{year}.csv")
    cells = truth.groupby(["machine_type", "domain", "is_anomaly"]).size()
    assert len(cells) == 4 * n_machines
    assert (cells.groupby("machine_type").sum() == 200).all()
    assert set(truth["machine_type"][truth["attribute"].isna()]) == without_attribute
    assert truth["file_name"].str.fullmatch(r"section_00_\d{4}\.wav").all()


def test_hidden_attributes_of_2024_are_found_through_the_true_names(realdata):
    lists = realdata / "dcase_lists"
    truth = read_eval_truth(lists / "eval_data_list_2024.csv")
    hidden = truth[truth["attribute"].isna()]
    clip_ids = hidden["machine_type"] + "/test/" + hidden["file_name"]
    clips = hidden.assign(clip_id=clip_ids, split="test")
    folder = lists / "ground_truth_attributes/dcase2024t2"
    found = read_true_attributes(folder, clips, eval_truth=truth)
    assert len(found) == 600
    assert found["attribute"].notna().all()
    with pytest.raises(InputError, match=r"are the true names .* missing \(eval_truth\)"):
        read_true_attributes(folder, clips)


def test_evaluation_truth_agrees_with_the_released_attributes(realdata):
    lists = realdata / "dcase_lists"
    truth = read_eval_truth(lists / "eval_data_list_2025.csv")
    clip_ids = truth["machine_type"] + "/test/" + truth["file_name"]
    truth = truth.assign(clip_id=clip_ids, split="test")
    folder = lists / "ground_truth_attributes/dcase2025t2/eval_data"
    both = truth.merge(read_true_attributes(folder, truth), on="clip_id", suffixes=("", "_listed"))
    assert len(both) == 800
    assert (both["attribute"] == both["attribute_listed"]).all()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["section_00_0000.wav,section_00_source_test_normal_0000.wav"], "line 1: expected a mach"),
        (["fan", "a,b,c"], "line 2: expected a machine type or"),
        (["fan", "section_00_0000.wav,section_00_source_train_normal_0000.wav"], "line 2: .*train"),
        (["fan", "section_00_0000.wav,section_00_0001.wav"], "line 2: expected a published name"),
        (["fan"], "lists no clip"),
        (["<b>"], "line 1: expected a machine type or, below one, .*found '<b>'"),
        (
            ["fan", "section_00_0000.wav,section_00_source_test_normal_0000.wav,9"],
            "line 2: expecte",
        ),
        (["fan;1,9"], "line 1: expected a machine type"),
        (["fan", *["section_00_0000.wav,section_00_source_test_normal_0000.wav"] * 2], "twice"),
    ],
)
def test_wrong_evaluation_truth_is_refused(tmp_path, lines, message):
    path = tmp_path / "eval_data_list_2025.csv"
    path.write_text("\r\n".join(lines))
    with pytest.raises(InputError, match=message):
        read_eval_truth(path)
