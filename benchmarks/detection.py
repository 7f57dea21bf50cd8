"""Detection on recorded and simulated machines: the final system against every baseline.

Reads what finished runs have left below ``results/`` and puts it into one table: the harmonic mean
of every machine's cells, the paired difference of the final system to the best of the trivial
detector and the official baseline, the promised against the met false-alarm rate, and a rule that
needs no label against hindsight. Runs are made before, each by one command, such as

    ./run_all.sh --data RECORDINGS --set ae_epochs=100 --set ae_batch_size=256 --set ae_min_steps=0
    python benchmarks/detection.py --runs results/RECORDINGS results/simulated_demo --save

`--further` names runs of other corpora, whose official score alone is told.

The rule: which system, the final one or one of its profiles alone, hears the known changes of
notebook 04 best on all *other* machines (`sensitivity.csv`)? That one is taken for the machine
that was left out. Hindsight takes what the test labels prefer.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import ROOT, benchmark_parser, save  # noqa: E402

from asdlib import scoring  # noqa: E402

BASELINES = ("trivial", "ae_mse", "ae_mahalanobis")
SYSTEMS = ("trivial", "knn", "ae_mse", "ae_mahalanobis", "final")
#: With fewer test clips the machines of a run are pooled, too.
HANDFUL = 25
PROFILES = tuple(name for name in scoring.VIEWS if name not in scoring.LEARNT)


def read_run(folder: Path, n_bootstrap: int) -> dict[str, pd.DataFrame]:
    """Tables of one run, with the harmonic means of every system and paired differences."""
    known = scores_of(folder)
    metrics, differences = beside_baselines(known, n_bootstrap)
    sensitivity = folder / "sensitivity.csv"
    return {
        "metrics": metrics[metrics["metric"] == "hmean"],
        "differences": differences[differences["metric"] == "hmean"],
        "without": without_one_view(scoring.read_scores(folder / "view_scores.csv")),
        "views": pd.read_csv(folder / "views.csv").query("metric == 'hmean'"),
        "alarms": pd.read_csv(folder / "false_alarms.csv").query("system == 'final'"),
        "sensitivity": pd.read_csv(sensitivity) if sensitivity.exists() else pd.DataFrame(),
    }


def scores_of(folder: Path) -> pd.DataFrame:
    """Scores of the systems that are compared."""
    scores = scoring.read_scores(folder / "scores.csv")
    return scores[scores["system"].isin(SYSTEMS)]


def beside_baselines(scores: pd.DataFrame, n_bootstrap: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Metrics of every system, and differences of the final one to each of the baselines."""
    differences = [
        scoring.paired_differences(
            scores[scores["system"].isin(["final", name])], reference=name, n_bootstrap=n_bootstrap
        ).assign(reference=name)
        for name in BASELINES
    ]
    table = pd.concat(differences)
    return scoring.evaluate(scores, n_bootstrap=n_bootstrap), table[table["system"] == "final"]


def run_rows(folder: Path, n_bootstrap: int) -> list[dict[str, Any]]:
    """Official score of all machines of a run together, and of those with a handful of clips."""
    scores = scores_of(folder)
    n_test = scores[scores["split"] == "test"].groupby("machine_type")["clip_id"].nunique()
    groups = {"all": list(n_test.index)}
    handfuls = sorted(n_test.index[n_test < HANDFUL])
    if 1 < len(handfuls) < len(n_test):
        groups["handfuls"] = handfuls
    rows = []
    for name, machines in groups.items():
        own = scores[scores["machine_type"].isin(machines)]
        metrics, differences = beside_baselines(own, n_bootstrap)
        value = metrics[metrics["metric"] == "official_score"].set_index("system")
        best = value["value"].reindex(BASELINES).idxmax()
        is_gain = (differences["metric"] == "official_score") & (differences["reference"] == best)
        gain, final = differences[is_gain].iloc[0], value.loc["final"]
        rows.append(
            {
                "run": folder.name,
                "machines": ", ".join(machines) if len(machines) < 4 else str(len(machines)),
                **{name: value["value"].get(name, np.nan) for name in SYSTEMS[:-1]},
                "final": interval(final["value"], final["ci_low"], final["ci_high"]),
                "best baseline": best,
                "gain": interval(
                    gain["difference"], gain["difference_low"], gain["difference_high"], "+"
                ),
            }
        )
    return rows


def interval(value: float, low: float, high: float, sign: str = "") -> str:
    """Figure with its interval as text."""
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def without_one_view(by_view: pd.DataFrame) -> pd.DataFrame:
    """Harmonic means of the final system and of it without each of its views."""
    tables = {str(name): own for name, own in by_view.groupby("system")}
    fused = [
        scoring.fuse([own for name, own in tables.items() if name != left_out],
                     system=f"without {left_out}" if left_out else "final", seed=None)
        for left_out in ("", *tables)
    ]  # fmt: skip
    metrics = scoring.evaluate(pd.concat(fused), n_bootstrap=0)
    return metrics[metrics["metric"] == "hmean"]


def detection_rows(run: str, tables: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """One row per machine: every system, and the final one's gain over the best baseline."""
    values = tables["metrics"].set_index(["machine_type", "system"])
    differences = tables["differences"].set_index(["machine_type", "reference"])
    rows = []
    for machine in values.index.unique("machine_type"):
        own = values.loc[machine]
        best = own["value"].reindex(BASELINES).idxmax()
        gain = differences.loc[(machine, best)]
        rows.append(
            {
                "run": run,
                "machine": machine,
                "clips": f"{own['n_normal'].iloc[0]} / {own['n_anomaly'].iloc[0]}",
                **{name: own["value"].get(name, np.nan) for name in SYSTEMS},
                "best baseline": best,
                "gain": gain["difference"],
                "gain_low": gain["difference_low"],
                "gain_high": gain["difference_high"],
            }
        )
    return rows


def detection_table(
    runs: dict[str, dict[str, pd.DataFrame]],
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """Rows of all runs (`detection_rows`), and the table of them to be shown."""
    rows = [row for run, tables in runs.items() for row in detection_rows(run, tables)]
    gain = [interval(row["gain"], row["gain_low"], row["gain_high"], "+") for row in rows]
    return rows, pd.DataFrame(rows).drop(columns=["gain_low", "gain_high"]).assign(gain=gain)


def rule_rows(runs: dict[str, dict[str, pd.DataFrame]]) -> list[dict[str, Any]]:
    """One row per machine: the fixed default, the rule settled on the others, and hindsight."""
    candidates = ("final", *PROFILES)
    heard, reached = [], []
    for run, tables in runs.items():
        if len(tables["sensitivity"]):
            for kept, table in ((heard, tables["sensitivity"]), (reached, tables["views"])):
                kept.append(table.assign(machine=run + ": " + table["machine_type"]))
    if not heard:
        return []
    rehearsed = pd.concat(heard).pivot_table(index="machine", columns="system", values="auc")
    found = pd.concat(reached).pivot_table(index="machine", columns="system", values="value")
    machines = rehearsed.index.intersection(found.index)
    rows = []
    for machine in machines if len(machines) > 1 else ():
        others = rehearsed.loc[machines.drop(machine)].reindex(columns=candidates).mean()
        taken, best = others.idxmax(), found.loc[machine].reindex(candidates).idxmax()
        rows.append(
            {
                "machine": machine,
                "final": found.loc[machine, "final"],
                "rule": found.loc[machine, taken],
                "rule took": taken,
                "hindsight": found.loc[machine, best],
                "hindsight took": best,
            }
        )
    return rows


def blind_spot_rows(runs: dict[str, dict[str, pd.DataFrame]], measure: str) -> pd.DataFrame:
    """Kinds of known changes that one profile hears better than the final system, by machine.

    ``measure``: ``auc``, or ``pod`` at 5 % promised false alarms. The profile is the best one in
    hindsight, or the one that hears the kind best on all other machines.
    """
    heard = [
        tables["sensitivity"].assign(machine=run + ": " + tables["sensitivity"]["machine_type"])
        for run, tables in runs.items() if len(tables["sensitivity"])
    ]  # fmt: skip
    if not heard:
        return pd.DataFrame()
    known = pd.concat(heard)
    value = known.pivot_table(index=["machine", "kind"], columns="system", values=measure)
    of_views = value.reindex(columns=list(PROFILES))
    rows = []
    for (machine, kind), own in of_views.iterrows():
        others = of_views.xs(kind, level="kind").drop(machine).mean()
        named = own[others.idxmax()] if others.notna().any() else np.nan
        final, best = value.loc[(machine, kind), "final"], own.max()
        rows.append((machine, final, named, best, named - final > 0.1, best - final > 0.1, 1))
    means = ["final", "profile that others prefer", "best profile in hindsight"]
    counts = ["over 0.1 above final: others' choice", "in hindsight", "kinds"]
    table = pd.DataFrame(rows, columns=["machine", *means, *counts])
    how = dict.fromkeys(means, "mean") | dict.fromkeys(counts, "sum")
    table = table.groupby("machine", sort=False).agg(how).reset_index()
    return table.assign(clips=table["machine"].map(known.groupby("machine")["n_clips"].max()))


def markdown(
    rows: list[dict[str, Any]],
    shown: pd.DataFrame,
    rules: list[dict[str, Any]],
    left_out: pd.DataFrame,
    alarms: pd.DataFrame,
    spots: dict[str, pd.DataFrame],
    official: list[dict[str, Any]],
) -> str:
    """Put all tables on one page."""
    table = pd.DataFrame(rows)
    text = [
        "# Detection on recorded and simulated machines\n",
        "Official score of whole runs, with 95 % bootstrap intervals over test clips; the gain of "
        "the final system is over the best baseline, chosen in hindsight, on the same clips. "
        "`v1` and `v2` are versions of the simulated corpus, each with seeds of its own.\n",
        pd.DataFrame(official).to_markdown(index=False, floatfmt=".3f"),
        "\n## Machine by machine\n",
        "Harmonic mean of AUC source, AUC target and pAUC of a machine (of the cells that it has). "
        "Gain: final minus the best baseline of that machine, chosen in hindsight, with its paired "
        "95 % bootstrap interval over test clips. Network and autoencoder learn from nine in ten "
        "of the training clips (`asdlib.training.learnt_clips`).\n",
        shown.to_markdown(index=False, floatfmt=".3f"),
    ]
    is_real = ~table["run"].str.contains("simulated")
    for word, own in {"recorded": table[is_real], "simulated": table[~is_real]}.items():
        if len(own):
            means = ", ".join(f"{name} {own[name].mean():.3f}" for name in SYSTEMS)
            text.append(f"\nMean over {len(own)} {word} machines: {means}.")
    if rules:
        table = pd.DataFrame(rules)
        means = ", ".join(
            f"{name} {table[name].mean():.3f}" for name in ("final", "rule", "hindsight")
        )
        text += [
            "\n## A rule without labels, against the fixed default and hindsight\n",
            table.to_markdown(index=False, floatfmt=".3f"),
            f"\nMeans: {means}.",
        ]
    by_machine = left_out.assign(machine=left_out["run"] + ": " + left_out["machine_type"])
    table = by_machine.pivot_table(index="machine", columns="system", values="value", sort=False)
    change = table.drop(columns="final").sub(table["final"], axis=0)
    change.loc["mean"] = change.mean()
    text += [
        "\n## What each view is worth: change of the harmonic mean without it\n",
        change.reset_index().to_markdown(index=False, floatfmt="+.3f"),
        "\n## False alarms of the final system, promised and met\n",
        alarms.to_markdown(index=False, floatfmt=".2f"),
    ]
    for word, table in spots.items():
        if len(table):
            text += [
                f"\n## Known changes: {word} of the final system and of single profiles\n",
                "Means over kinds and strengths, from normal training clips alone, and the number "
                "of kinds that the profile hears better by more than 0.1. `clips`: how many were "
                "changed; of a handful the counts say little.\n",
                table.to_markdown(index=False, floatfmt=".3f"),
            ]
    return "\n".join(text) + "\n"


def made_up_run(folder: Path, n_clips: int) -> Path:
    """Make up scores in which the final system is better than the others by one scatter."""
    rng = np.random.default_rng(0)
    parts = []
    for machine in ("one", "two"):
        for split in ("train", "test"):
            clips = pd.DataFrame({"clip_id": [f"{machine}/{split}/{i}" for i in range(n_clips)]})
            clips = clips.assign(machine_type=machine, section="00", split=split)
            clips["domain"] = np.where(np.arange(n_clips) % 2 == 0, "source", "target")
            clips["is_anomaly"] = np.arange(n_clips) % 4 > 1 if split == "test" else False
            for system in (*SYSTEMS, *PROFILES):
                shift = 1.0 + (system == "final")
                score = rng.standard_normal(n_clips) + shift * clips["is_anomaly"]
                parts.append(clips.assign(anomaly_score=score, system=system, seed=0))
    scores, thresholds = scoring.decide(pd.concat(parts))
    is_view = scores["system"].isin([*PROFILES, "final"])
    heard = pd.DataFrame(
        [(system, machine, "level", 0.5 + 0.1 * (system == "final"), 0.5, 4)
         for system in ("final", *PROFILES) for machine in ("one", "two")],
        columns=["system", "machine_type", "kind", "auc", "pod", "n_clips"],
    )  # fmt: skip
    folder.mkdir(parents=True)
    for name, table in {
        "scores": scores[scores["system"].isin(SYSTEMS)],
        "view_scores": scores[scores["system"].isin(PROFILES)],
        "views": scoring.evaluate(scores[is_view], n_bootstrap=0),
        "false_alarms": scoring.false_alarms(scores, thresholds),
        "sensitivity": heard,
    }.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def main(arguments: list[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--runs", type=Path, nargs="+", default=[ROOT / "results" / "simulated_demo"],
        metavar="DIR", help="result folders of finished runs [the default run's]",
    )  # fmt: skip
    parser.add_argument(
        "--further", type=Path, nargs="*", default=[], metavar="DIR",
        help="result folders of runs of which the official score is told alone",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made_up:
        if options.miniature:
            options.runs = [made_up_run(Path(made_up) / "made_up", 40)]
        n_bootstrap = 100 if options.miniature else 1000
        runs = {folder.name: read_run(folder, n_bootstrap) for folder in options.runs}
        folders = [*options.runs, *options.further]
        official = [row for folder in folders for row in run_rows(folder, n_bootstrap)]
    rows, shown = detection_table(runs)
    rules = rule_rows(runs)
    left_out = pd.concat([tables["without"].assign(run=run) for run, tables in runs.items()])
    alarms = pd.concat(
        [tables["alarms"].assign(run=run) for run, tables in runs.items()], ignore_index=True
    )
    columns = [
        "run",
        "machine_type",
        "domain",
        "promised",
        "met",
        "met_low",
        "met_high",
        "n_normal",
    ]
    spots = {
        "AUC": blind_spot_rows(runs, "auc"),
        "probability of detection at 5 % promised false alarms": blind_spot_rows(runs, "pod"),
    }
    text = markdown(rows, shown, rules, left_out, alarms[columns], spots, official)
    print(text)
    save(options.save, "detection", text, {"runs": official, "machines": rows, "rule": rules})


if __name__ == "__main__":
    main()
