"""What the benchmarks do alike: options, facts of the machine, and the two files they write."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent


def benchmark_parser(description: str) -> argparse.ArgumentParser:
    """Parser with the options of every benchmark; the first line of ``description`` is shown."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument(
        "--save",
        type=Path,
        nargs="?",
        const=FOLDER,
        metavar="DIR",
        help="also write the figures as JSON and Markdown [there: benchmarks/]",
    )
    parser.add_argument(
        "--miniature",
        action="store_true",
        help="sizes of seconds: proves that the script runs, measures nothing",
    )
    return parser


def machine_facts(*packages: str) -> dict[str, Any]:
    """Processor, cores, Python and the versions of ``packages``."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().split("\n") if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def listing(facts: dict[str, Any]) -> str:
    """Facts as one sentence."""
    return ", ".join(f"{name}: {value}" for name, value in facts.items()) + "."


def save(folder: Path | None, name: str, text: str, facts: dict[str, Any]) -> None:
    """Write ``name.json`` and ``name.md``, or nothing where no folder was asked for."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text)
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
