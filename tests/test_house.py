"""Rooms of the package know only what lies below them, no name stands twice, the report is short.

``python tests/test_house.py`` prints how many modules and lines each room has, and how many the
modules that carry the report out.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "asdlib"
#: What README names as the report in one sitting, in reading order, as ``room/module``.
README = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
SITTING = re.findall(r"`(\w+/\w+)`", README.partition("in one sitting")[2].partition("\n\n")[0])
#: Modules that belong to no room and that every room may use.
FLOOR = {path.stem for path in PACKAGE.glob("*.py")}
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
#: A sentence of the report as a module quotes it.
QUOTED = r'"[^"]{20,}"\s+\(report,\s+(?:section\s+)?(2\.\d|abstract)\)'
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
    read = sum(len((PACKAGE / f"{name}.py").read_text().splitlines()) for name in SITTING)
    rows = [*((room, modules[room], lines[room]) for room in sorted(modules)),
            ("in one sitting", len(SITTING), read),
            ("all", modules.total(), lines.total())]  # fmt: skip
    return "\n".join(f"{room:<14}{n:>5} modules{m:>8} lines" for room, n, m in rows)


def test_every_module_is_counted():
    shown = counts()
    print("\n" + shown)
    assert all(room in shown for room in ROOMS)
    assert f"{len(list(PACKAGE.rglob('*.py')))} modules" in shown.splitlines()[-1]


def test_the_report_in_one_sitting_has_every_section():
    assert len(SITTING) > 10
    told = {re.search(QUOTED, (PACKAGE / f"{name}.py").read_text())[1] for name in SITTING}
    assert told == {"2.1", "2.2", "2.3", "2.4", "abstract"}


@pytest.mark.parametrize("name", SITTING)
def test_a_module_of_the_report_opens_with_its_sentence(name):
    text = ast.get_docstring(ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8")))
    assert re.match(r".*\n\n *" + QUOTED, text), f"{name}: no quotation after the summary"


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
