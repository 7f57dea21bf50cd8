"""A key of the code that shapes what a notebook computes.

Comments, layout and docstrings do not count, nor does what only draws (``asdlib.report``): a
better figure or a mended sentence must not train networks again.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path

import nbformat

from asdlib.files import PROJECT_ROOT

_DRAWS = "report"
_ORCHESTRATES = "workbook"


def code_key(notebook: Path) -> str:
    """Hash a notebook's code with the rooms of asdlib that it uses, directly or not.

    Its ``parameters`` cell is left out: parameters are keyed by their values. Of
    ``asdlib.workbook`` the modules count that the notebook imports itself.

    Parameters
    ----------
    notebook : Path
        The stripped notebook.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.
    """
    cells = nbformat.read(notebook, as_version=4).cells  # type: ignore[no-untyped-call]
    source = "\n".join(
        cell.source
        for cell in cells
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", [])
    )
    digest = hashlib.sha256(_meaning(source).encode())
    for path in _used_files(source):
        digest.update(_meaning(path.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:16]


def _used_files(source: str) -> list[Path]:
    """Files of the rooms that some code imports, and of the rooms that those import."""
    package = PROJECT_ROOT / "asdlib"
    waiting, rooms, modules = [source], set(), set()
    while waiting:
        for name in _imported(waiting.pop()):
            parts = name.split(".")
            if len(parts) < 2 or parts[0] != "asdlib" or parts[1] == _DRAWS:
                continue
            room = package / parts[1]
            if parts[1] == _ORCHESTRATES:
                module = room / f"{parts[-1]}.py"
                modules |= {module} if module.exists() else set()
            elif room.is_dir() and room not in rooms:
                rooms.add(room)
                waiting += [path.read_text(encoding="utf-8") for path in room.rglob("*.py")]
    return sorted(modules | {path for room in rooms for path in room.rglob("*.py")})


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def _meaning(source: str) -> str:
    """Return the syntax tree as text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)
