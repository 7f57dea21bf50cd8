"""The notebooks are stripped, share their parameters, and define nothing of their own."""

import ast
from pathlib import Path

import nbformat
import pytest

from asdlib.workbook import notebooks

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
        is_listing = "settings = " in cell.source or "parameters" in cell.metadata.get("tags", [])
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
    assert any(heading.startswith("A control") for heading in headings) or path.stem[:2] == "02"
    assert headings[-2:] == ["What we learned", "Written to disk"]


def test_a_parameter_means_the_same_in_every_notebook():
    for first in BOOKS:
        for second in BOOKS:
            for name in set(first.parameters) & set(second.parameters):
                assert first.parameters[name] == second.parameters[name], name


def test_profiles_name_parameters_that_exist():
    known = {name for book in BOOKS for name in book.parameters}
    for profile in notebooks.PROFILES.values():
        assert set(profile) <= known
