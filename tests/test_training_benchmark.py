"""The training benchmark runs, in a size of seconds, and writes what it measured."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "training.py"


def test_training_benchmark_runs_and_saves(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--miniature", "--device", "cpu", "--save", tmp_path]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = json.loads((tmp_path / "training_cpu.json").read_text())
    assert result["float32"]["clips_per_s"] > 0
    assert "share_of_peak" in shown
