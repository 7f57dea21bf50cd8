"""The lab opens a copy of a run: its parameters in the cells, its files at hand."""

import ast
import json
import os

import nbformat
import pytest

from asdlib.base import InputError
from asdlib.workbook import cli, notebooks, run_command

VALUES = {"data_dir": "/recordings/of pumps", "run_name": "pumps", "machines": ["pump"],
          "seeds": [0, 1], "epochs": 3, "highpass_hz": {"pump": 400.0}}  # fmt: skip


@pytest.fixture
def out(tmp_path):
    """A run that has left its parameters, stage files and attributes."""
    run_command.note_parameters(tmp_path, "pumps", {**VALUES, "out_dir": str(tmp_path)})
    build, results = tmp_path / "build" / "pumps", tmp_path / "results" / "pumps"
    for path in (build / "clips.csv", build / "seed_0" / "embeddings.npz",
                 build / "notebooks" / "01_x.html", results / "attributes.csv",
                 results / "table.md", tmp_path / "bundles" / "pumps" / "log.jsonl"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of the run")
    return tmp_path


def values_of(path):
    book = nbformat.read(path, as_version=4)
    (cell,) = [cell for cell in book.cells if "parameters" in cell.metadata.get("tags", [])]
    statements = [ast.parse(line).body[0] for line in cell.source.splitlines()]
    return {one.target.id: ast.literal_eval(one.value) for one in statements}


def test_copies_hold_the_parameters_of_the_run_under_a_name_of_their_own(out):
    first = run_command.prepare_lab(out, "pumps")
    assert first == out / "build" / "pumps_lab" / "notebooks" / "01_spectrum_exploration.ipynb"
    for book in notebooks.list_notebooks():
        expected = {**book.parameters, **VALUES, "run_name": "pumps_lab", "out_dir": str(out)}
        values = values_of(first.with_name(book.path.name))
        assert values == {name: expected[name] for name in book.parameters}
        text = first.with_name(book.path.name).read_text()
        assert text.count("# names the run's folders") == 1


def test_stage_files_are_at_hand_and_results_of_the_run_are_out_of_reach(out):
    run_command.prepare_lab(out, "pumps")
    assert (out / "build" / "pumps_lab" / "seed_0" / "embeddings.npz").exists()
    assert [path.name for path in (out / "results" / "pumps_lab").iterdir()] == ["attributes.csv"]
    assert (out / "bundles" / "pumps_lab" / "log.jsonl").exists()
    (out / "build" / "pumps_lab" / "clips.csv").write_text("of the lab")
    assert (out / "build" / "pumps" / "clips.csv").read_text() == "of the run"


def test_what_the_reader_made_stays_until_the_run_is_newer(out):
    first = run_command.prepare_lab(out, "pumps")
    table = out / "build" / "pumps_lab" / "clips.csv"
    table.write_text("of the lab")
    book = nbformat.read(first, as_version=4)
    book.cells[0].source = "# mine"
    nbformat.write(book, first)
    run_command.prepare_lab(out, "pumps")
    assert table.read_text() == "of the lab"
    assert "# mine" in first.read_text()
    source = out / "build" / "pumps" / "clips.csv"
    os.utime(source, (table.stat().st_mtime + 5,) * 2)
    run_command.note_parameters(out, "pumps", {**VALUES, "n_mels": 64})
    run_command.prepare_lab(out, "pumps")
    assert table.read_text() == "of the run"
    assert values_of(first)["n_mels"] == 64
    (older,) = first.parent.glob("older_01_*.ipynb")
    assert "# mine" in older.read_text()


def test_a_run_that_is_not_there_is_named_with_those_that_are(out):
    with pytest.raises(InputError, match="fans: there is no such run in .*There are: pumps"):
        run_command.prepare_lab(out, "fans")


def test_without_a_name_the_simulated_corpus_is_opened(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(run_command.datasets, "ensure_corpus", made.append)
    values = values_of(run_command.prepare_lab(tmp_path, None))
    assert made == ["demo"]
    assert values["run_name"] == "simulated_demo_lab"
    assert values["data_dir"].endswith("data/simulated_demo")
    assert not (tmp_path / "results").exists()


def test_command_becomes_jupyterlab_on_the_copies(out, monkeypatch):
    calls = []
    monkeypatch.setattr(cli, "_become", lambda *words: calls.append(words))
    cli.lab(["--name", "pumps", "--out", str(out), "--no-browser", "--port=8899"])
    first = out / "build" / "pumps_lab" / "notebooks" / "01_spectrum_exploration.ipynb"
    settings = [f"--ServerApp.root_dir={out}", "--LabApp.news_url=None"]
    options = [*settings, "--no-browser", "--port=8899"]
    assert calls == [("jupyterlab", *options, str(first))]


def test_a_run_notes_its_parameters(tmp_path, monkeypatch, simulated_smoke):
    monkeypatch.setattr(run_command, "_execute", lambda *_: 0)
    where = ["--data", str(simulated_smoke), "--out", str(tmp_path), "--name", "mine"]
    assert cli.main([*where, "--profile", "smoke", "--machines", "fanSim", "--set", "k=1"]) == 2
    assert cli.main([*where, "--profile", "smoke", "--machines", "fanSim"]) == 0
    noted = json.loads((tmp_path / "build" / "mine" / "parameters.json").read_text())
    assert noted["epochs"] == notebooks.PROFILES["smoke"]["epochs"]
    assert noted["machines"] == ["fanSim"]
    assert noted["run_name"] == "mine"
