"""Every command that the README shows can be called: its options, files and names exist.

Commands are read by the command line's own parsers and stop where the work would begin.
"""

import argparse
import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker

from asdlib.challenge import edition
from asdlib.data.simulate.machines import MACHINES, SIZES, plan_machine
from asdlib.workbook import cli, notebooks
from asdlib.workbook.sweep_file import read_sweep_file

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [
    line for language, block in BLOCKS if language == "sh" for line in block.splitlines() if line
]
#: Commands and options in running text; those without a value only mention an option.
SPANS = re.findall(
    r"`(\./run_all\.sh[^`]*|--[a-z-]+ [^`]*)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL)
)
#: What stands for something of the reader's own.
OWN = {"FILE": "sweeps/smoke.yaml", "HOST": "127.0.0.1", "N": "2"}


class Parsed(BaseException):  # noqa: N818 - no error, and caught by nobody
    """A command has been read."""


@pytest.fixture
def read(monkeypatch):
    """Read a command of ``run_all.sh`` as the command line does, and give its options."""
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
        raise Parsed(parse(parser, arguments))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)

    def call(words: list[str]) -> argparse.Namespace:
        with pytest.raises(Parsed) as parsed:
            assert cli.main(words) == 0
        return parsed.value.args[0]

    return call


def words_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    for name, value in OWN.items():
        words = [re.sub(rf"\b{name}\b", value, word) for word in words]
    return words


def check_values(options: argparse.Namespace) -> None:
    """What the options name exists."""
    given = {name: value for name, value in vars(options).items() if value}
    if "profile" in given:
        assert given["profile"] in notebooks.PROFILES
    books = notebooks.list_notebooks()
    notebooks.parse_assignments(given.get("assignments", []), books)
    for option in ("only", "first"):
        assert option not in given or given[option] in {book.number for book in books}
    for name in [given.get("dataset"), given.get("truth"), *given.get("extra_train", [])]:
        assert name is None or edition(str(name)).machines
    if "file" in given:
        read_sweep_file(ROOT / given["file"], books)


def dask_command(words: list[str]) -> None:
    command = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[words[0]]
    command.make_context(words[0], words[1:], resilient_parsing=False)


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("./run_all.sh")])
def test_command_of_a_block(read, line):
    words = words_of(line)[1:]
    if words[:1] == ["test"]:
        return  # what stands behind it is pytest's; see test_workbook_cli.py
    check_values(read(words))


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("./run_all.sh")])
def test_other_command_of_a_block(line):
    words = [word for word in words_of(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    assert words[0] == ".venv/bin/dask"
    dask_command(words[1:])


@pytest.mark.parametrize("span", SPANS)
def test_command_in_running_text(read, span):
    words = words_of(span.removeprefix("./run_all.sh"))
    if words[:1] in (["lab"], ["test"]) or words == ["--help"]:
        return
    if "--workers" in words:
        words = ["sweep", OWN["FILE"], *words]
    check_values(read(words))


def test_what_stands_in_the_blocks():
    assert len(LINES) >= 10
    assert len(SPANS) >= 6
    for language, block in BLOCKS:
        assert language in ("", "sh", "python")
        if language == "python":
            ast.parse(block)


def test_comments_of_sweeps_name_commands_that_can_be_called(read):
    lines = []
    for path in (ROOT / "sweeps").glob("*.yaml"):
        assert yaml.safe_load(path.read_text())
        comments = "\n".join(line.lstrip("# ") for line in path.read_text().splitlines())
        lines += re.findall(r"^\./run_all\.sh (?:[^\n\\]|\\\n)*", comments, re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        check_values(read(words_of(line.replace("\\\n", " "))[1:]))


def test_size_of_the_example():
    n_clips = sum(len(plan_machine(name, SIZES["demo"], 0)) for name in MACHINES)
    assert f"{n_clips:,} simulated clips of seven machines" in TEXT
    assert len(MACHINES) == 7


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_what_runs_write_is_no_change_of_the_checkout():
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    paths = ["results/my_run/table.md", "figures/my_run/a.png", "build/my_run/x", "data/x/y.wav"]
    git = ["git", "-C", str(ROOT), "check-ignore", *paths]
    assert subprocess.run(git, capture_output=True, text=True).stdout.split() == paths


def test_reference_is_small_and_taken_by_its_script(tmp_path):
    shutil.copytree(ROOT / "figures" / "reference", tmp_path / "out" / "figures")
    shutil.copytree(ROOT / "results" / "reference", tmp_path / "out" / "results")
    script = tmp_path / "benchmarks" / "reference.sh"
    script.parent.mkdir()
    shutil.copy(ROOT / "benchmarks" / "reference.sh", script)
    said = subprocess.run([script, tmp_path / "out"], capture_output=True, text=True, check=True)
    for kind in ("figures", "results"):
        taken = {path.name for path in (tmp_path / kind / "reference/simulated_demo").iterdir()}
        committed = {p.name for p in (ROOT / kind / "reference" / "simulated_demo").iterdir()}
        assert taken == committed
    assert "figures" in said.stdout
    pictures = list((ROOT / "figures").rglob("*.png"))
    assert sum(path.stat().st_size for path in pictures if "reference" in path.parts) < 2_000_000


def test_picture_of_the_method_is_drawn_by_its_script(tmp_path):
    script = ROOT / "figures" / "reference" / "pipeline.py"
    subprocess.run([sys.executable, script, tmp_path / "drawn.png"], check=True,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert (tmp_path / "drawn.png").stat().st_size < 150_000
