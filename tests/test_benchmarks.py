"""Every benchmark runs, on a size of seconds, and writes figures of the form that is committed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.stem != "common")


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_benchmark_runs_in_miniature(script, tmp_path):
    committed = files()
    command = [sys.executable, str(script), "--miniature", "--save", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    (written,) = tmp_path.glob("*.json")
    assert written.stem.startswith(script.stem)
    figures, last = json.loads(written.read_text()), json.loads((FOLDER / written.name).read_text())
    assert set(figures) <= set(last)
    if (FOLDER / f"{script.stem}.md").exists():
        shown = (tmp_path / f"{script.stem}.md").read_text()
        title = (FOLDER / f"{script.stem}.md").read_text().splitlines()[0]
        assert shown.splitlines()[0] == title
    # Nothing that is committed is overwritten by a miniature.
    assert committed == {
        path.name: path.read_bytes() for path in FOLDER.iterdir() if path.is_file()
    }


def test_every_benchmark_is_listed():
    text = (FOLDER / "README.md").read_text()
    for script in SCRIPTS:
        assert f"`python benchmarks/{script.name} --save`" in text
