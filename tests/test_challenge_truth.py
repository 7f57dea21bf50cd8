"""Hidden truth is joined to finished scores, and nothing else can see it."""

import ast
import os
from dataclasses import replace
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from challenge_server import EVAL_TRUTH, TINY, fill, serve

from asdlib.base import InputError
from asdlib.challenge import (
    Job,
    Source,
    eval_list,
    fetch,
    fetch_truth,
    lay_out,
    read_facts,
    reveal,
    truth_of_names,
)
from asdlib.challenge.folders import is_verified
from asdlib.data import read_clips, read_eval_truth, read_true_attributes

ROOT = Path(__file__).resolve().parents[1]
#: What reads or joins released truth.
TRUTH_NAMES = {
    "reveal", "read_eval_truth", "read_true_attributes", "truth_of_names", "eval_list",
    "fetch_truth", "truth_list",
}  # fmt: skip
#: Who may: the readers themselves, the challenge's room, scoring on the command line, and
#: the key of the recordings, which other truth must change.
ALLOWED = {"asdlib/data/lists.py", "asdlib/data/__init__.py", "asdlib/workbook/datasets.py",
           "asdlib/workbook/score.py", "asdlib/workbook/stages.py"}  # fmt: skip


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    with serve() as server:
        fill(server)
        job = Job(hosts=server.hosts)
        fetch(TINY, TINY.archives(["dev", "eval"]), folder, job)
        fetch_truth(TINY, folder, job)
    return folder


def names_used(source: str) -> set[str]:
    tree = ast.parse(source)
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return found | {alias.name for node in imported for alias in node.names}


def test_no_code_that_annotates_trains_or_selects_names_the_truth():
    for path in sorted((ROOT / "asdlib").rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        if place in ALLOWED or place.startswith("asdlib/challenge/"):
            continue
        used = names_used(path.read_text()) & TRUTH_NAMES
        assert not used, f"{place} uses {used}"
        if place.split("/")[1] in ("spectra", "annotation", "training", "scoring"):
            assert "asdlib.challenge" not in path.read_text()


def test_notebooks_meet_the_truth_in_agreement_and_after_scoring_alone():
    cells = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        code = [cell.source for cell in book.cells if cell.cell_type == "code"]
        used = [names_used(source) & TRUTH_NAMES for source in code]
        cells[path.name[:2]] = [(i, names) for i, names in enumerate(used) if names]
        if path.name.startswith("02"):
            first = next(i for i, source in enumerate(code) if "annotation.annotate(" in source)
            assert all(i >= first for i, _ in cells["02"])
            # The oracle's method is the one reason to know the truth while annotating.
            lines = [line for line in code[first].splitlines() if "read_true_attributes" in line]
            assert all(line.endswith('if "true" in methods.values() else None') for line in lines)
        if path.name.startswith("04"):
            last = max(i for i, source in enumerate(code) if "scoring.decide(" in source)
            assert all(i > last for i, _ in cells["04"])
    used = {number: set().union(*[names for _, names in found]) for number, found in cells.items()}
    assert used["01"] == used["03"] == set()
    assert used["02"] <= {"read_true_attributes"}
    assert used["04"] == {"reveal"}


def test_a_view_leads_to_no_truth_of_evaluation_clips(data_dir, tmp_path):
    view = tmp_path / "recordings"
    lay_out(view, [Source(TINY, data_dir, ("ToyPet",), ("fan", "valve"))], channel=None)
    reached = [
        Path(folder, name).resolve()
        for folder, _, names in os.walk(view, followlinks=True)
        for name in names
    ]
    assert not [path for path in reached if path.name.startswith("eval_data_list")]
    assert not [path for path in reached if "test_correspondence" in path.name]
    true_names = {true for _, true in EVAL_TRUTH}
    assert not [path for path in reached if path.name in true_names]
    text = " ".join(path.read_text() for path in reached if path.suffix in (".csv", ".json"))
    assert not [name for name in true_names if name in text]
    clips = read_clips(view)
    test = clips[clips["split"] == "test"]
    assert set(test["machine_type"]) == {"ToyPet"}
    assert test[["domain", "is_anomaly", "attribute"]].isna().all(axis=None)


def test_a_view_has_the_true_attributes_of_training_clips_for_the_agreement(data_dir, tmp_path):
    view = tmp_path / "recordings"
    lay_out(view, [Source(TINY, data_dir, ("ToyPet",), ("fan", "valve"))], channel=None)
    clips = read_clips(view)
    found = read_true_attributes(view, clips[clips["split"] == "train"])
    assert set(found["clip_id"].str.split("/").str[0]) == {"valve"}
    assert set(found["attribute"]) == {"v_0", "v_1"}


def test_years_lie_side_by_side_in_a_view(data_dir, tmp_path):
    view = tmp_path / "recordings"
    sources = [
        Source(TINY, data_dir, ("fan",)),
        Source(TINY, data_dir, (), ("fan", "ToyPet"), label="_2024"),
    ]
    facts = lay_out(view, sources, channel=None)
    assert facts["trained_along"] == ["ToyPet_2024", "fan_2024"]
    counts = read_clips(view).groupby(["machine_type", "split"]).size().to_dict()
    assert counts == {
        ("fan", "supplemental"): 2, ("fan", "test"): 4, ("fan", "train"): 4,
        ("fan_2024", "supplemental"): 2, ("fan_2024", "train"): 4, ("ToyPet_2024", "train"): 4,
    }  # fmt: skip
    lay_out(view, sources[:1], channel=1)  # made anew; the recordings stay
    assert read_facts(view)["channel"] == 1
    assert len(read_clips(view)) == 10
    assert len(read_clips(data_dir / "dcase2025t2")) == 28


def test_a_view_takes_no_folder_that_is_none(data_dir, tmp_path):
    (tmp_path / "mine.wav").write_text("")
    with pytest.raises(InputError, match="is in the way"):
        lay_out(tmp_path, [Source(TINY, data_dir, ("fan",))], channel=None)
    more = replace(TINY, machines={"dev": ("pump",), "eval": ()})
    with pytest.raises(InputError, match="Fetch the data first"):
        lay_out(tmp_path / "view", [Source(more, data_dir, ("pump",))], channel=None)


def test_verified_is_what_came_from_archives_with_the_pinned_checksum(data_dir):
    assert is_verified(TINY, data_dir, ["fan", "ToyPet"])
    more = replace(TINY, machines={"dev": ("fan", "pump"), "eval": ()})
    assert not is_verified(more, data_dir, ["fan", "pump"])


@pytest.fixture
def hidden():
    return pd.DataFrame(
        {
            "clip_id": [f"ToyPet/test/{name}" for name, _ in EVAL_TRUTH]
            + ["ToyPet/train/section_00_0001.wav", "fan/test/section_00_0000.wav"],
            "machine_type": ["ToyPet"] * 5 + ["fan"],
            "split": ["test"] * 4 + ["train", "test"],
            "domain": pd.array([pd.NA] * 6, dtype="string"),
            "is_anomaly": pd.array([pd.NA] * 6, dtype="boolean"),
        },
        index=range(10, 16),
    )


def test_reveal_fills_test_clips_of_the_listed_machine_alone(data_dir, hidden):
    shown = reveal(hidden, eval_list(TINY, data_dir))
    assert shown["domain"].tolist()[:4] == ["target", "source", "target", "source"]
    assert shown["is_anomaly"].tolist()[:4] == [True, False, False, True]
    assert shown[["domain", "is_anomaly"]].iloc[4:].isna().all(axis=None)
    assert hidden["domain"].isna().all()
    pd.testing.assert_frame_equal(reveal(hidden, ""), hidden)


def test_reveal_never_overrules_what_a_name_says(data_dir, hidden):
    known = hidden.assign(domain="source", is_anomaly=False)
    pd.testing.assert_frame_equal(
        reveal(known, read_eval_truth(eval_list(TINY, data_dir))), known, check_dtype=False
    )


def test_names_that_tell_the_truth():
    names = ["section_00_source_test_anomaly_0001_x.wav", "section_00_0002.wav"]
    table = truth_of_names(["fan", "fan"], names)
    assert table[["file_name", "domain", "is_anomaly"]].to_numpy().tolist() == [
        [names[0], "source", True]
    ]


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="Run ./run_all.sh fetch dcase2025 --subset eval"):
        eval_list(TINY, tmp_path)
    with pytest.raises(InputError, match="no list of true names is known.*--truth FILE"):
        eval_list(replace(TINY, truth=()), tmp_path)
