r"""What simulated companions are worth to a network that learns from few recorded machines.

Two runs over the same recordings differ in `companions_below` alone:

    ./run_all.sh --data RECORDINGS --machines NAME --seeds 0,1,2 --name NAME \
        --set companions_below=8
    ./run_all.sh --data RECORDINGS --machines NAME --seeds 0,1,2 --name NAME_without \
        --set companions_below=0
    python benchmarks/companions.py --runs results/NAME --without results/NAME_without --save

Both options take several runs, in the same order; with ``--add`` the rows of others that were saved
before stay. Test labels are read for the table alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FOLDER, benchmark_parser, save  # noqa: E402
from detection import interval, made_up_run  # noqa: E402

from asdlib import scoring  # noqa: E402

#: What the network is a part of; the network by itself, as one view and as the report scores it.
SYSTEMS = ("final", "embedding", "knn")


def network_scores(run: Path) -> pd.DataFrame:
    """Scores of one run that depend on its networks."""
    files = ("scores.csv", "view_scores.csv")
    scores = pd.concat([scoring.read_scores(run / name) for name in files], ignore_index=True)
    return scores[scores["system"].isin(SYSTEMS)]


def rows_of(run: Path, without: Path, n_bootstrap: int) -> list[dict[str, Any]]:
    """Harmonic mean of every machine's cells with and without companions, and the difference."""
    scores = {"without": network_scores(without), "with": network_scores(run)}
    rows = []
    for system in (name for name in SYSTEMS if name in set(scores["without"]["system"])):
        both = pd.concat(
            [own[own["system"] == system].assign(system=name) for name, own in scores.items()]
        )
        table = scoring.paired_differences(both, reference="without", n_bootstrap=n_bootstrap)
        table = table[table["metric"] == "hmean"].set_index(["machine_type", "system"])
        for machine in table.index.unique("machine_type"):
            gain = table.loc[(machine, "with")]
            rows.append(
                {
                    "run": run.name,
                    "machines": both["machine_type"].nunique(),
                    "machine": machine,
                    "system": system,
                    "seeds": int(both["seed"].nunique()),
                    "without": table.loc[(machine, "without"), "value"],
                    "with": gain["value"],
                    "gain": gain["difference"],
                    "gain_low": gain["difference_low"],
                    "gain_high": gain["difference_high"],
                }
            )
    return rows


def compare(
    pairs: Sequence[tuple[Path, Path]], folder: Path | None, *, n_bootstrap: int, add: bool = False
) -> None:
    """Put the runs of every machine beside each other, and beside those that were saved before."""
    saved = json.loads(((folder or FOLDER) / "companions.json").read_text()) if add else {}
    new = {run.name for run, _ in pairs}
    rows = [row for row in saved.get("machines", []) if row["run"] not in new]
    rows += [row for pair in pairs for row in rows_of(*pair, n_bootstrap)]
    table = pd.DataFrame(rows)
    low, high = table.pop("gain_low"), table.pop("gain_high")
    gains = [interval(*gain, "+") for gain in zip(table["gain"], low, high, strict=True)]
    means = table.sort_values("machines", kind="stable")
    means = means.groupby(["machines", "system"], sort=False)[["without", "with"]].mean()
    text = "\n".join(
        [
            "# Simulated companions of recorded machines\n",
            "Harmonic mean of AUC source, AUC target and pAUC, mean over seeds, without and with "
            "seven simulated machines that train along with those of the run. Gain with its paired "
            "95 % bootstrap interval over clips and seeds.\n",
            table.assign(gain=gains).to_markdown(index=False, floatfmt=".3f"),
            "\n## Means by the number of recorded machines in a run\n",
            means.reset_index().to_markdown(index=False, floatfmt=".3f"),
        ]
    )
    print(text)
    save(folder, "companions", text + "\n", {"machines": rows})


def main() -> None:
    """Compare finished runs with and without companions."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--without", nargs="+", type=Path, metavar="DIR", default=[])
    parser.add_argument("--runs", nargs="+", type=Path, metavar="DIR", default=[])
    parser.add_argument("--add", action="store_true", help="keep what was saved of other runs")
    options = parser.parse_args()
    if options.miniature:
        with tempfile.TemporaryDirectory() as made_up:
            runs = [made_up_run(Path(made_up) / name, 40) for name in ("with", "without")]
            compare([(runs[0], runs[1])], options.save, n_bootstrap=100)
    elif options.runs and len(options.runs) == len(options.without):
        pairs = list(zip(options.runs, options.without, strict=True))
        compare(pairs, options.save, n_bootstrap=1000, add=options.add)
    else:
        parser.error("say --runs and --without, with as many runs each")


if __name__ == "__main__":
    main()
