"""Stage files and results as a notebook sees them."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from corpus import make_tree, train_and_test

from asdlib.base import InputError
from asdlib.data import read_clips
from asdlib.workbook import run_command
from asdlib.workbook.notebooks import Notebook, NotebookFailed
from asdlib.workbook.run import Run


@pytest.fixture
def run(tmp_path):
    """Give a run on a machine whose name looks like a number, and on another."""
    data = make_tree(tmp_path / "data", [*train_and_test("007"), *train_and_test("fan")])
    settings = {"data_dir": str(data), "out_dir": str(tmp_path / "out"), "run_name": "test"}
    return Run.open("01_test", {**settings, "machines": [], "workers": 1, "window_s": 0.0})


def test_clip_table_survives_its_file(run):
    scanned = run.scan_clips()
    stored = run.clips()
    expected = read_clips(run.settings.data_dir)
    pd.testing.assert_frame_equal(stored, expected, check_dtype=False)
    assert scanned["machine_type"].tolist() == stored["machine_type"].tolist()
    assert "007" in stored["machine_type"].tolist()
    assert stored.loc[stored["split"] == "test", "is_anomaly"].sum() == 4


def test_clips_of_a_machine_that_notebook_01_did_not_see(run, tmp_path):
    run.scan_clips()
    other = Run.open("03_training", {**vars(run.settings), "machines": ["pump"]})
    with pytest.raises(InputError, match="no machine pump .*There are: 007, fan"):
        other.clips()


def test_a_table_changed_by_hand_is_kept_beside_the_new_one(run):
    table = pd.DataFrame({"clip_id": ["a"], "attribute": ["x"]})
    run.save_table(table, "attributes")
    path = run.results / "attributes.csv"
    path.write_text("clip_id,attribute\na,mine\n")
    assert run.attributes()[1] == "edited by hand"
    run.save_table(table, "attributes")
    assert (run.results / "attributes_edited.csv").read_text().endswith("a,mine\n")
    assert run.attributes()[1] == "as notebook 02 wrote them"


def test_sidecar_says_where_a_table_came_from(run):
    run.facts["data_manifest"] = "abc"
    run.save_table(pd.DataFrame({"x": [0.1 + 0.2]}), "numbers")
    facts = json.loads((run.results / "numbers.csv.json").read_text())
    assert facts["corpus"] == "recorded"
    assert facts["data_manifest"] == "abc"
    assert facts["versions"]["torch"]
    # Every digit is kept: rounding would make ties, and another AUC than was stated.
    assert (run.results / "numbers.csv").read_text() == "x\n0.30000000000000004\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run_name": "a/b"}, "run_name"),
        ({"run_name": ""}, "run_name"),
        ({"workers": -1}, "workers"),
        ({"data_dir": "nowhere"}, "existing folder"),
    ],
)
def test_settings_refuse_what_makes_no_sense(run, changes, message):
    with pytest.raises(InputError, match=message):
        Run.open("01_test", {**vars(run.settings), **changes})


def test_the_notebook_shows_the_picture_that_was_saved(run):
    figure, ax = plt.subplots()
    ax.plot([1, 2])
    shown = run.save_figure(figure, "line")
    assert shown.data == (run.figures / "01_line.png").read_bytes()
    assert not plt.get_fignums()


@pytest.mark.parametrize("fails", [False, True])
def test_figures_of_an_older_execution_are_gone_but_what_the_same_picture_needs(
    tmp_path, monkeypatch, fails
):
    figures = tmp_path / "figures" / "pumps"
    figures.mkdir(parents=True)
    for stem in ("01_other", "simulated_04_renamed", "simulated_04_same"):
        for suffix in (".png", ".pdf", ".json"):
            (figures / f"{stem}{suffix}").touch()

    def execute(notebook, parameters, folder):
        assert not list(figures.glob("*04_*.png"))
        (figures / "simulated_04_same.png").touch()
        if fails:
            raise NotebookFailed("in the next cell", interrupted=False)
        return 1.0

    monkeypatch.setattr(run_command, "execute", execute)
    monkeypatch.setattr(run_command, "write_run_pages", lambda out, name: None)
    try:
        run_command._execute([Notebook(tmp_path / "04_x.ipynb", {})], {}, tmp_path, "pumps")
    except NotebookFailed:
        assert fails
    stems = ("01_other", "simulated_04_same")
    expected = [f"{stem}{suffix}" for stem in stems for suffix in (".json", ".pdf", ".png")]
    assert sorted(path.name for path in figures.iterdir()) == expected
