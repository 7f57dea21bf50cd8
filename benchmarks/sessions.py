"""False alarms in sessions that a threshold was set on, and in new ones.

Every simulated machine is recorded in sessions between which it drifts; half of those of the test
clips are new. Names do not tell them, as in the challenge. `--lay-out` writes the same recordings
(as links) with a ``clips.csv`` that tells the sessions; two runs then differ in that alone:

    ./run_all.sh
    python benchmarks/sessions.py --lay-out data/simulated_demo data/simulated_sessions
    ./run_all.sh --data data/simulated_sessions
    python benchmarks/sessions.py --runs results/simulated_demo results/simulated_sessions --save

Likewise the recorded machines (`RECORDED`), each in two runs of its own and a `--recorded` of its
own beside `--runs`:

    O="--seeds 0,1,2 --set ae_epochs=100 --set ae_batch_size=256 --set ae_min_steps=0"
    ./run_all.sh --data RECORDINGS --machines bldc --name bldc_untold $O
    python benchmarks/sessions.py --lay-out RECORDINGS bldc_sessions --machine bldc
    ./run_all.sh --data bldc_sessions --name bldc_told $O
    python benchmarks/sessions.py --runs ... --recorded results/bldc_untold results/bldc_told
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import benchmark_parser, save  # noqa: E402

from asdlib import scoring  # noqa: E402
from asdlib.base import InputError  # noqa: E402
from asdlib.data import read_clips  # noqa: E402
from asdlib.data.simulate.corpus import MANIFEST, write_corpus  # noqa: E402
from asdlib.scoring.scores import scored_clips, scores_table  # noqa: E402

#: Recorded machines: clips in a row that count as a session, and what these are. The others have
#: no known order (bearings in background), or fewer clips than a session takes (desk fan).
RECORDED = {
    "bldc": (5, "a recording: five clips of 2 s of one motor at one speed"),
    "lathe": (20, "a stand-in, 20 clips of 1 s in a row: nobody recorded sessions, and where test "
                  "clips lie between training clips is not known"),
}  # fmt: skip


def true_sessions(data: Path) -> pd.Series:
    """Session of every clip of a simulated corpus, by ``clip_id``."""
    files = sorted((data / "ground_truth_attributes").glob("*/dev_data/*/sessions_*.csv"))
    tables = [pd.read_csv(path, dtype=str).assign(machine=path.parent.name) for path in files]
    table = pd.concat(tables, ignore_index=True)
    return pd.Series(table["session"].array, table["machine"] + "/" + table["file_name"])


def blocks(clip_ids: pd.Series, length: int) -> pd.Series:
    """Name runs of ``length`` numbers of a split, domain and condition in a row, by ``clip_id``."""
    found = clip_ids.str.extract(r"/section_[0-9]+_([a-z_]+)_([0-9]+)[^/]*$")
    number = (found[1].astype(int) // length).astype(str)
    return pd.Series((found[0] + "_" + number).array, clip_ids.array)


def lay_out(data: Path, told: Path, machine: str | None = None) -> None:
    """Link a corpus, or a recorded machine, into a folder whose ``clips.csv`` tells sessions."""
    clips = read_clips(data, machines=machine and [machine])
    session = blocks(clips["clip_id"], RECORDED[machine][0]) if machine else true_sessions(data)
    attributes = [name for name in clips.columns if name.startswith("attribute_")]
    table = clips[["clip_id", "machine_type", "split", "domain", *attributes]].rename(
        columns={"clip_id": "path"}
    )
    table = table.rename(columns=lambda name: name.removeprefix("attribute_"))
    condition = clips["is_anomaly"].map({True: "anomaly", False: "normal"}).astype("string")
    table["condition"] = clips["supplemental_kind"].fillna(condition)
    table["session"] = session.reindex(clips["clip_id"]).array
    states = table[["session", *table.columns.intersection(["attribute"])]].drop_duplicates()
    if machine and states["session"].duplicated().any():
        raise InputError(f"{data}: a session of {machine} has several states. Correct RECORDED.")
    for clip_id, path in zip(clips["clip_id"], clips["path"], strict=True):
        link = told / clip_id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(path).resolve())
    table.to_csv(told / "clips.csv", index=False)
    if not machine:
        (told / MANIFEST).write_bytes((data / MANIFEST).read_bytes())


def alarms(scores: pd.DataFrame, session: pd.Series) -> pd.DataFrame:
    """Met false-alarm rates of the final system, in sessions of training clips and in others."""
    own = scores[scores["system"].eq("final")]
    own = own.assign(session=session.reindex(own["clip_id"]).array)
    place = own["machine_type"] + "|" + own["domain"] + "|" + own["session"]
    own = own.assign(sessions=place.isin(place[own["split"].eq("train")]).map(
        {True: "seen", False: "new"}
    ))  # fmt: skip
    test = own[own["split"].eq("test")]
    met = test[test["is_anomaly"].eq(False)].pivot_table(
        index="machine_type", columns=["domain", "sessions"], values="is_decided_anomalous",
        aggfunc=lambda decided: decided.astype(float).mean(),
    )  # fmt: skip
    met.columns = [f"{domain}, {sessions}" for domain, sessions in met.columns]
    faulty = test[test["is_anomaly"].eq(True)].groupby("machine_type")["is_decided_anomalous"]
    return met.assign(flagged=faulty.agg(lambda decided: decided.astype(float).mean()))


def said_beforehand(run: Path) -> pd.Series:
    """Tell what a run promises nothing of, by its table of thresholds, by machine."""
    thresholds = pd.read_csv(run / "thresholds.csv", keep_default_na=False)
    own = thresholds[thresholds["system"].eq("final")]
    return own.drop_duplicates("machine_type").set_index("machine_type")["reason"]


def official(folder: Path) -> float:
    """Official score of the final system of a run."""
    metrics = pd.read_csv(folder / "metrics.csv")
    is_official = metrics["system"].eq("final") & metrics["metric"].eq("official_score")
    return float(metrics.loc[is_official, "value"].iloc[0])


def met_and_flagged(run: Path, told: str) -> list[dict[str, Any]]:
    """Promise, false alarms and found faults of a run's recorded machine, domain by domain.

    Means over seeds; the interval counts a session as one clip, as if its clips were all alike.
    """
    scores = scoring.read_scores(run / "scores.csv")
    own = scores[scores["system"].eq("final") & scores["split"].eq("test")]
    own = own.assign(decided=own["is_decided_anomalous"].astype(float))
    machine, seeds = own["machine_type"].iloc[0], own["seed"].nunique()
    own["session"] = blocks(own["clip_id"], RECORDED.get(machine, (5,))[0]).array
    promised = float(pd.read_csv(run / "thresholds.csv")["false_alarm_rate"].iloc[0])
    said = said_beforehand(run)[machine]
    metrics = pd.read_csv(run / "metrics.csv").query("system == 'final' and metric == 'hmean'")
    rows = []
    for domain, of_domain in own.groupby("domain"):
        normal = of_domain[of_domain["is_anomaly"].eq(False)]
        met, n_sessions = normal["decided"].mean(), normal["session"].nunique()
        count, others = met * n_sessions, (1 - met) * n_sessions
        rows.append(
            {
                "machine": machine,
                "sessions": told,
                "seeds": int(seeds),
                "domain": domain,
                "promised": promised,
                "met": met,
                "met_low": stats.beta.ppf(0.025, count, others + 1) if count else 0.0,
                "met_high": stats.beta.ppf(0.975, count + 1, others) if others else 1.0,
                "normal_clips": len(normal) // seeds,
                "normal_sessions": int(n_sessions),
                "flagged": of_domain.loc[of_domain["is_anomaly"].eq(True), "decided"].mean(),
                "hmean": metrics.loc[metrics["machine_type"].eq(machine), "value"].mean(),
                "kept": "yes" if met <= 2 * promised else "no, as said" if said else "no",
                "said": said or "nothing",
            }
        )
    return rows


def recorded(pairs: list[list[Path]]) -> tuple[list[str], list[dict[str, Any]]]:
    """Text and rows of recorded machines, of pairs of runs not told of sessions and told."""
    runs = [run for pair in pairs for run in zip(pair, ("not told", "told"), strict=True)]
    kept = [row for run in runs for row in met_and_flagged(*run)]
    table = pd.DataFrame(kept)
    ends = zip(table.pop("met_low"), table.pop("met_high"), strict=True)
    table.insert(6, "interval", [f"{low:.2f} to {high:.2f}" for low, high in ends])
    text = [
        "\n## Recorded machines, each alone\n",
        "All test clips are of new sessions. Normal ones above the threshold (`met`) and anomalous "
        "ones (`flagged`), by domain, means over seeds; the exact 95 % interval takes a session "
        "for one clip, as if its clips were all alike. `kept`: the estimate, not the interval, is "
        "at most twice the promise. A session is\n",
        *(f"- {name}: {what}" for name, (_, what) in RECORDED.items()),
        "\n" + table.to_markdown(index=False, floatfmt=".3f"),
    ]
    return text, kept


def compare(
    runs: list[Path], session: pd.Series, folder: Path | None, pairs: list[list[Path]]
) -> None:
    """Put runs that are not told of sessions beside ones that are."""
    text = [
        "# False alarms in seen and in new sessions\n",
        "Simulated corpus: share of normal test clips above the threshold that promises 0.10, by "
        "domain and by whether training clips of the same session exist; `flagged`: of anomalous "
        "test clips; `said`: by the table of thresholds, before any test clip.\n",
    ]
    kept: dict[str, Any] = {}
    for name, run in zip(("not told", "told"), runs, strict=True):
        table = alarms(scoring.read_scores(run / "scores.csv"), session)
        table.loc["mean"] = table.mean()
        said, score = said_beforehand(run), official(run)
        kept[name] = {"official_score": score, "met": table.T.to_dict(), "said": said.to_dict()}
        table["said"] = said.reindex(table.index).fillna("")
        text += [
            f"\n## Simulated corpus, sessions {name}: official score {score:.3f}\n",
            table.to_markdown(floatfmt=".2f"),
        ]
    if pairs:
        lines, kept["recorded"] = recorded(pairs)
        text += lines
    print("\n".join(text))
    save(folder, "sessions", "\n".join(text) + "\n", kept)


def made_up_run(data: Path, folder: Path) -> Path:
    """Give the clips of a corpus scores at random, and the tables that a run leaves."""
    clips = scored_clips(read_clips(data))
    score = np.random.default_rng(0).standard_normal(len(clips))
    scores = scores_table(clips, score, system="final", seed=0)
    decided, thresholds = scoring.decide(scores, clips=clips)
    folder.mkdir()
    thresholds.to_csv(folder / "thresholds.csv", index=False)
    decided.to_csv(folder / "scores.csv", index=False)
    scoring.evaluate(decided, n_bootstrap=0).to_csv(folder / "metrics.csv", index=False)
    return folder


def main() -> None:
    """Lay out recordings with their sessions, or compare two finished runs."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--lay-out", nargs=2, type=Path, metavar=("CORPUS", "FOLDER"))
    parser.add_argument("--machine", choices=RECORDED, help="lay out this recorded machine alone")
    parser.add_argument("--runs", nargs=2, type=Path, metavar=("UNTOLD", "TOLD"))
    parser.add_argument("--recorded", nargs=2, action="append", type=Path, default=[],
                        metavar=("UNTOLD", "TOLD"))  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("data/simulated_demo"))
    options = parser.parse_args()
    if options.miniature:
        with tempfile.TemporaryDirectory() as made_up:
            data, told = Path(made_up) / "data", Path(made_up) / "told"
            write_corpus(data, size="smoke", machines=["fanSim"])
            lay_out(data, told)
            runs = [made_up_run(one, Path(made_up) / f"run_{one.name}") for one in (data, told)]
            compare(runs, true_sessions(data), options.save, [runs])
    elif options.lay_out:
        lay_out(*options.lay_out, options.machine)
    elif options.runs:
        compare(options.runs, true_sessions(options.data), options.save, options.recorded)
    else:
        parser.error("say --lay-out or --runs")


if __name__ == "__main__":
    main()
