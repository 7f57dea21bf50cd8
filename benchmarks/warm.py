"""Every notebook of a run, and again once all that a run keeps is there.

Run ``python benchmarks/warm.py`` from the root of the repository; ``--save`` also writes
``benchmarks/warm.json`` and ``.md``, ``--machines`` reduces the corpus. The default run on the
simulated corpus is made twice in an empty folder: what the second finds in ``build/`` and
``results/`` is what somebody finds who opens a notebook of a finished run and runs all of it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd  # noqa: E402
from common import ROOT, benchmark_parser, listing, machine_facts, save  # noqa: E402

from asdlib.data.simulate import write_corpus  # noqa: E402

_DONE = re.compile(r"^(\d\d_\w+) +done in (\d+) s$", re.MULTILINE)


def run_notebooks(data: Path, out: Path, *words: str) -> dict[str, int]:
    """Seconds of each notebook, kernel and page included, as ``run_all.sh`` tells them."""
    command = [sys.executable, "-m", "asdlib.workbook.cli", "run", "--data", str(data),
               "--out", str(out), *words]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return {name: int(seconds) for name, seconds in _DONE.findall(done.stderr)}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--machines", nargs="+", metavar="NAME", help="[all of the corpus]")
    options = parser.parse_args()
    profile, words, machines = "demo", [], options.machines
    if options.miniature:
        profile, words, machines = "smoke", ["--only", "01"], ["bearingSim"]
    with tempfile.TemporaryDirectory() as place:
        data, out = Path(place, "simulated_corpus"), Path(place, "out")
        write_corpus(data, size=profile, machines=machines)
        words += ["--profile", profile]
        times = {what: run_notebooks(data, out, *words) for what in ("first_s", "again_s")}
    table = pd.DataFrame(times).rename_axis("notebook")
    table["ratio"] = (table["first_s"] / table["again_s"].clip(lower=1)).round(1)
    host = machine_facts("torch", "numpy")
    text = "\n".join(
        [
            "# Notebooks of a run, first and again (simulated corpus) [s]",
            "",
            f"Profile {profile}, machines: {', '.join(machines or ['all'])}. " + listing(host),
            "",
            table.to_markdown(),
            "",
            "`first_s`: nothing computed before. `again_s`: the same command once more. Start of "
            "the kernel and writing of the page are in both.",
            "",
        ]
    )
    print(text)
    facts = {
        "machine": host,
        "profile": profile,
        "machines": machines or ["all"],
        "notebooks": table.reset_index().to_dict("records"),
    }
    save(options.save, "warm", text, facts)


if __name__ == "__main__":
    main()
