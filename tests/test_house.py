"""Rooms of the package know only what lies below them, and no name stands twice.

``python tests/test_house.py`` prints how many modules and lines each room has.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "asdlib"
#: Modules that belong to no room and that every room may use.
FLOOR = {path.stem for path in PACKAGE.glob("*.py")}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
#: What a room must not know.
UNKNOWN = {
    "data": set(ROOMS) - {"data"},
    "spectra": set(ROOMS) - {"data", "spectra"},
    "training": {"spectra", "annotation", "scoring", "report", "workbook", "challenge"},
    "scoring": {"spectra", "annotation", "training", "report", "workbook", "challenge"},
}


def imported_modules(path: Path) -> Iterator[str]:
    """Names of modules that a file imports, anywhere in it, as ``asdlib.room.module``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_known_to(room: str) -> dict[str, set[str]]:
    """Other rooms that a room imports from, and the files that do."""
    known: dict[str, set[str]] = {}
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imported_modules(path):
            package, _, rest = name.partition(".")
            other = rest.split(".")[0]
            if package == "asdlib" and other in ROOMS and other != room:
                known.setdefault(other, set()).add(path.relative_to(PACKAGE).as_posix())
    return known


def room_of(path: Path) -> str:
    """Room of a file; a folder within a room counts as one of its own."""
    return path.parent.relative_to(PACKAGE).as_posix().replace(".", "(none)")


def counts() -> str:
    """Modules and lines of every room, as a table."""
    modules: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        modules[room_of(path)] += 1
        lines[room_of(path)] += len(path.read_text(encoding="utf-8").splitlines())
    rows = [*((room, modules[room], lines[room]) for room in sorted(modules)),
            ("all", modules.total(), lines.total())]  # fmt: skip
    return "\n".join(f"{room:<14}{n:>5} modules{m:>8} lines" for room, n, m in rows)


def test_every_module_is_counted():
    shown = counts()
    print("\n" + shown)
    assert all(room in shown for room in ROOMS)
    assert f"{len(list(PACKAGE.rglob('*.py')))} modules" in shown.splitlines()[-1]


def test_no_module_has_another_ones_name():
    names = Counter(path.name for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    assert not [name for name, count in names.items() if count > 1]


def test_rooms_know_each_other_in_one_direction():
    list(TopologicalSorter({room: set(rooms_known_to(room)) for room in ROOMS}).static_order())


@pytest.mark.parametrize("room", UNKNOWN)
def test_room_knows_nothing_of(room):
    known = rooms_known_to(room)
    assert not {other: known[other] for other in UNKNOWN[room] & set(known)}


@pytest.mark.parametrize("module", sorted(FLOOR))
def test_what_every_room_uses_knows_no_room(module):
    names = list(imported_modules(PACKAGE / f"{module}.py"))
    assert not [name for name in names if name.split(".")[1:2] and name.split(".")[1] in ROOMS]


if __name__ == "__main__":
    print(counts())
