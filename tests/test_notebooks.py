"""The notebooks are stripped, share their parameters, and define nothing of their own."""

import ast
import itertools
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import nbformat
import pytest
from papermill import engines

from asdlib.workbook import notebooks, parameters

FOLDER = notebooks.NOTEBOOK_FOLDER
PATHS = sorted(FOLDER.glob("*.ipynb"))
BOOKS = notebooks.list_notebooks()


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_is_stripped(path):
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None
    assert "papermill" not in nbformat.read(path, as_version=4).metadata


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_parameters_are_flat_literals_with_a_comment(path):
    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for line in tagged[0].source.splitlines():
        statement = ast.parse(line).body[0]
        assert isinstance(statement, ast.AnnAssign)
        ast.literal_eval(statement.value)
        assert "#" in line


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_notebook_defines_no_functions_and_keeps_cells_short(path):
    for cell in code_cells(path):
        tree = ast.parse(cell.source)
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        is_listing = "parameters" in cell.metadata.get("tags", [])
        assert is_listing or len(cell.source.splitlines()) <= 26


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_anatomy(path):
    headings = [
        line.lstrip("# ")
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("#")
    ]
    assert headings[0].startswith(f"{int(path.stem[:2])}. ")
    assert headings[1] == "A known answer first"
    assert any("a control" in heading.lower() for heading in headings)
    assert headings[-2:] == ["What we learned", "Written to disk"]


def test_a_parameter_means_the_same_in_every_notebook():
    for first in BOOKS:
        for second in BOOKS:
            for name in set(first.parameters) & set(second.parameters):
                assert first.parameters[name] == second.parameters[name], name


def assigned_names(path: Path) -> set[str]:
    """Names that cells behind the parameters give another value."""
    cells = [cell for cell in code_cells(path) if not cell.metadata.get("tags")]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    stored = [node for node in nodes if isinstance(node, ast.Name)]
    return {node.id for node in stored if isinstance(node.ctx, ast.Store)}


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.path.stem)
def test_every_parameter_is_declared_holds_its_literal_and_keeps_it(book):
    assert set(book.parameters) <= set(parameters.PARAMETERS)
    where = {"data_dir": str(book.path.parent)}
    parameters.check_parameters({**book.parameters, **where}, where="")
    assert not assigned_names(book.path) & set(book.parameters)
    opened = [cell for cell in code_cells(book.path) if "Run.open(" in cell.source]
    assert opened[0].source.startswith(f'run = Run.open("{book.path.stem}", globals())')


def test_every_declared_parameter_belongs_to_a_notebook():
    assert set(parameters.PARAMETERS) == {name for book in BOOKS for name in book.parameters}


def test_profiles_name_parameters_that_exist():
    known = {name for book in BOOKS for name in book.parameters}
    for profile in notebooks.PROFILES.values():
        assert set(profile) <= known


@pytest.fixture
def broken(tmp_path):
    """Make and execute a notebook whose second cell runs the given code."""

    def execute(code: str) -> str:
        new = nbformat.v4
        book = new.new_notebook(
            cells=[
                new.new_markdown_cell("# Title\n\n## First step"),
                new.new_code_cell("x = 1"),
                new.new_markdown_cell("## Second step\ntext"),
                new.new_code_cell(code),
                new.new_markdown_cell("## Third step"),
                new.new_code_cell("y = 2"),
            ],
            metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        )
        path = tmp_path / "01_broken.ipynb"
        nbformat.write(book, path)
        with pytest.raises(notebooks.NotebookFailed) as failure:
            notebooks.execute(notebooks.Notebook(path, {}), {}, tmp_path / "out")
        assert (tmp_path / "out" / "01_broken.html").exists()
        return str(failure.value)

    return execute


def test_failing_cell_is_named_in_three_lines(broken):
    lines = broken("raise ValueError('no such thing\\nsecond line')").splitlines()
    assert len(lines) == 3
    assert lines[0].endswith("01_broken.ipynb")
    assert lines[1].split(maxsplit=1)[1] == "Second step"
    assert lines[2].split(maxsplit=1)[1] == "ValueError: no such thing"


def test_a_kernel_that_dies_is_a_failure_like_any_other(broken):
    lines = broken("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)").splitlines()
    assert lines[1].split(maxsplit=1)[1] == "Second step"
    assert "kernel died" in lines[2]


def test_a_heading_of_an_error_brings_the_names_below_it(broken):
    lines = broken("raise ValueError('2 files cannot be used:\\na.wav: empty\\nb.wav: empty')")
    assert lines.splitlines()[2].endswith("2 files cannot be used: a.wav: empty b.wav: empty")


def test_braces_in_paths_and_a_foreign_kernel_do_no_harm(tmp_path, monkeypatch):
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/no/such/python", "{connection_file}"], "display_name": "", "language": "x"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    path = tmp_path / "{a}" / "01_good.ipynb"
    path.parent.mkdir()
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x = 1")])
    nbformat.write(book, path)
    out = tmp_path / "{out}"
    notebooks.execute(notebooks.Notebook(path, {}), {}, out)
    assert (out / "01_good.html").exists()


@pytest.mark.parametrize(("step_s", "is_saved"), [(0, False), (60, True)])
def test_a_notebook_that_runs_is_saved_every_half_minute(tmp_path, monkeypatch, step_s, is_saved):
    path, written = tmp_path / "01_good.ipynb", []
    cells = [nbformat.v4.new_code_cell("x = 1"), nbformat.v4.new_markdown_cell("Why")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    passed = itertools.count(step=step_s)
    started = datetime.now(timezone.utc)
    monkeypatch.setattr(
        engines.NotebookExecutionManager, "now", lambda _: started + timedelta(seconds=next(passed))
    )
    monkeypatch.setattr(engines, "write_ipynb", lambda book, path: written.append(path))
    notebooks.execute(notebooks.Notebook(path, {}), {}, tmp_path / "out")
    assert set(written) == {str(tmp_path / "out" / path.name)}
    assert (len(written) > 2) is is_saved  # beside beginning and end


def test_a_full_disk_is_called_by_its_name(tmp_path, monkeypatch):
    def fill(source, output, **options):
        Path(output).write_text('{"cells": [')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", fill)
    with pytest.raises(notebooks.NotebookFailed, match="No space left on device"):
        notebooks.execute(notebooks.Notebook(tmp_path / "01_x.ipynb", {}), {}, tmp_path / "out")


def test_a_kernel_that_is_slow_to_start_says_what_to_do(tmp_path, monkeypatch):
    def wait(source, output, *, start_timeout, **options):
        raise RuntimeError(f"Kernel didn't respond in {start_timeout} seconds")

    monkeypatch.setattr(notebooks.papermill, "execute_notebook", wait)
    with pytest.raises(notebooks.NotebookFailed) as failure:
        notebooks.execute(notebooks.Notebook(tmp_path / "01_x.ipynb", {}), {}, tmp_path / "out")
    assert str(failure.value).splitlines()[1:] == [
        "cell       (before the first cell)",
        "error      the kernel has not started within 300 s: is the machine busy? "
        "The same command tries again.",
    ]
