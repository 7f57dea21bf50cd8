"""The real file lists of 2023 to 2025, laid out whole, are read whole."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from corpus import make_tree, write_wav

from asdlib.base import InputError
from asdlib.challenge import edition, reveal
from asdlib.data import open_waveforms, read_clips, read_eval_truth, read_true_attributes

YEARS = (2023, 2024, 2025)


class Layout:
    """Files of a year below ``<edition>t2``: links to one tiny clip."""

    def __init__(self, folder: Path, year: int):
        self.root = folder / f"dcase{year}t2"
        self.sound = write_wav(folder / "tiny.wav", np.arange(16, dtype=np.int16))

    def add(self, subset, machine, split, name):
        path = self.root / f"{subset}_data" / "raw" / machine / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(self.sound)


def published_train(lists, year):
    """(subset, machine, split, published name) that the lists of a year give."""
    rows = []
    if year == 2025:
        known = edition("dcase2025").machines
        with (lists / "dcase2025_file_names.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                subset = "dev" if row["machine_type"] in known["dev"] else "eval"
                rows.append((subset, row["machine_type"], row["split"], row["file_name"]))
        return rows
    if year == 2024:
        folder = lists / "ground_truth_attributes" / "dcase2024t2"
        for path in folder.rglob("*_train_correspondence.csv"):
            subset = path.parent.parent.name.removesuffix("_data")
            with path.open(newline="") as file:
                rows += [(subset, path.parent.name, "train", row["target_file_name"])
                         for row in csv.DictReader(file)]  # fmt: skip
    listed = {(subset, machine) for subset, machine, *_ in rows}
    for machine in edition(f"dcase{year}").machines["eval"]:
        if ("eval", machine) not in listed:  # no list of its training clips was released
            name = "section_00_source_train_normal_0000_a_1.wav"
            rows.append(("eval", machine, "train", name))
    return rows


@pytest.fixture(scope="module", params=YEARS)
def laid_out(request, realdata, tmp_path_factory):
    year = request.param
    lists = realdata / "dcase_lists"
    layout = Layout(tmp_path_factory.mktemp(str(year)), year)
    rows = published_train(lists, year)
    truth = read_eval_truth(lists / f"eval_data_list_{year}.csv")
    test = zip(truth["machine_type"], truth["file_name"], strict=True)
    rows += [("eval", machine, "test", name) for machine, name in test]
    for row in rows:
        layout.add(*row)
    return year, read_clips(layout.root), rows, truth


def test_every_listed_clip_is_read(laid_out):
    year, clips, rows, _ = laid_out
    wanted = Counter((machine, split) for _, machine, split, _ in rows)
    assert clips.groupby(["machine_type", "split"]).size().to_dict() == wanted
    eval_machines = edition(f"dcase{year}").machines["eval"]
    per_machine = clips[clips["machine_type"].isin(eval_machines) & clips["split"].eq("test")]
    assert per_machine.groupby("machine_type").size().to_dict() == dict.fromkeys(eval_machines, 200)
    assert per_machine[["domain", "is_anomaly", "attribute"]].isna().all(axis=None)


def test_training_clips_have_the_classes_of_the_lists(laid_out):
    year, clips, rows, _ = laid_out
    train = clips.query("split == 'train'")
    domains = Counter(
        (machine, name.split("_")[2]) for _, machine, split, name in rows if split == "train"
    )
    assert train.groupby(["machine_type", "domain"]).size().to_dict() == domains
    if year == 2025:
        named = train.groupby("machine_type")["attribute"].count()
        assert set(named[named == 0].index) == {
            "AutoTrash", "Polisher", "ScrewFeeder", "ToyPet", "ToyTrain", "bearing", "slider",
        }  # fmt: skip
        assert set(named[named > 0]) == {1000}


def test_revealed_clips_have_the_counts_of_the_list(laid_out):
    year, clips, _, truth = laid_out
    shown = reveal(clips.query("split == 'test'"), truth)
    shown = shown[shown["machine_type"].isin(truth["machine_type"])]
    keys = ["machine_type", "domain", "is_anomaly"]
    found = shown.groupby(keys).size()
    pd.testing.assert_series_equal(found, truth.groupby(keys).size())
    # Every clip of the list has a domain and a condition; since 2024 all cells hold 50.
    assert found.groupby("machine_type").sum().eq(200).all()
    if year > 2023:
        assert found.eq(50).all()


def test_true_attributes_are_found_for_the_training_clips(laid_out, realdata):
    year, clips, _, _ = laid_out
    train = clips.query("split == 'train'")
    lists = realdata / "dcase_lists" / "ground_truth_attributes" / f"dcase{year}t2"
    found = read_true_attributes(lists, train)
    # None were released for 2023, whose names carry all attributes.
    listed = {path.parent.name for path in lists.rglob("*_train_correspondence.csv")}
    assert len(listed) == {2023: 0, 2024: 7, 2025: 7}[year]
    assert set(found["clip_id"].str.split("/").str[0]) == listed
    assert found["attribute"].notna().all()


def test_renamed_evaluation_clips_are_read_under_their_true_names(realdata, tmp_path):
    truth = read_eval_truth(realdata / "dcase_lists" / "eval_data_list_2024.csv")
    layout = Layout(tmp_path, 2024)
    for machine, name in zip(truth["machine_type"], truth["true_name"], strict=True):
        layout.add("eval", machine, "test_rename", name)
    for machine in truth["machine_type"].unique():
        layout.add("eval", machine, "train", "section_00_source_train_normal_0000_a_1.wav")
    clips = read_clips(layout.root).query("split == 'test'")
    keys = ["machine_type", "domain", "is_anomaly"]
    pd.testing.assert_series_equal(
        clips.groupby(keys).size(), truth.groupby(keys).size(), check_names=False
    )


def test_supplemental_names_of_all_sources(tmp_path):
    layout = Layout(tmp_path, 2025)
    layout.add("dev", "fan", "train", "section_00_source_train_normal_0000_noAttribute.wav")
    names = {
        "section_00_machine_0001_.wav": "clean",
        "section_00_machine_source_0000_noAttribute.wav": "clean",
        "section_00_source_supplemental_clean_0003.wav": "clean",
        "section_00_noise_0001_.wav": "noise",
        "section_00_noise_source_0000_noAttribute.wav": "noise",
        "section_00_noise_0002.WAV": "noise",
    }
    for name in names:
        layout.add("dev", "fan", "supplemental", name)
    clips = read_clips(layout.root).query("split == 'supplemental'")
    found = clips["clip_id"].str.rsplit("/", n=1).str[-1]
    kinds = dict(zip(found, clips["supplemental_kind"], strict=True))
    assert kinds == {name.replace(".WAV", ".wav"): kind for name, kind in names.items()}


def test_upper_case_folders_and_a_missing_machine(tmp_path):
    layout = Layout(tmp_path, 2025)
    layout.add("dev", "fan", "Train", "section_00_source_train_normal_0000_a_1.WAV")
    layout.add("eval", "ToyPet", "TEST", "section_00_0000.WAV")
    with pytest.raises(InputError, match="ToyPet: holds no training clips"):
        read_clips(layout.root)
    assert len(read_clips(layout.root, machines=["fan"])) == 1
    with pytest.raises(InputError, match="has no machine valve. There are: ToyPet, fan"):
        read_clips(layout.root, machines=["valve"])


def test_two_channels_need_a_choice(tmp_path):
    root = make_tree(tmp_path, [f"fan/train/section_00_source_train_normal_{i:04d}_a_1.wav"
                                for i in range(2)])  # fmt: skip
    near_far = np.column_stack([np.full(160, 1), np.full(160, 2)]).astype(np.int16)
    for path in root.rglob("*.wav"):
        write_wav(path, near_far)
    clips = read_clips(root)
    assert set(clips["channels"]) == {2}
    with pytest.raises(InputError, match="2 recordings with 2 channels.*--set channel="):
        open_waveforms(clips, cache_dir=tmp_path / "cache")
    for channel in (0, 1):
        store = open_waveforms(clips, cache_dir=tmp_path / "cache", channel=channel)
        assert (store.row(0) == channel + 1).all()
