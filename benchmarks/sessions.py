"""False alarms in sessions that a threshold was set on, and in new ones, on the simulated corpus.

Every simulated machine is recorded in sessions between which it drifts; half of those of the test
clips are new. Names do not tell them, as in the challenge. `--lay-out` writes the same recordings
(as links) with a ``clips.csv`` that tells the sessions; two runs then differ in that alone:

    ./run_all.sh
    python benchmarks/sessions.py --lay-out data/simulated_demo data/simulated_sessions
    ./run_all.sh --data data/simulated_sessions
    python benchmarks/sessions.py --runs results/simulated_demo results/simulated_sessions --save
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import benchmark_parser, save  # noqa: E402

from asdlib import scoring  # noqa: E402
from asdlib.data import read_clips  # noqa: E402
from asdlib.data.simulate.corpus import MANIFEST, write_corpus  # noqa: E402
from asdlib.scoring.scores import scored_clips, scores_table  # noqa: E402


def true_sessions(data: Path) -> pd.Series:
    """Session of every clip of a simulated corpus, by ``clip_id``."""
    files = sorted((data / "ground_truth_attributes").glob("*/dev_data/*/sessions_*.csv"))
    tables = [pd.read_csv(path, dtype=str).assign(machine=path.parent.name) for path in files]
    table = pd.concat(tables, ignore_index=True)
    return pd.Series(table["session"].array, table["machine"] + "/" + table["file_name"])


def lay_out(data: Path, told: Path) -> None:
    """Link a simulated corpus into a folder whose ``clips.csv`` tells the sessions."""
    clips = read_clips(data)
    attributes = [name for name in clips.columns if name.startswith("attribute_")]
    table = clips[["clip_id", "machine_type", "split", "domain", *attributes]].rename(
        columns={"clip_id": "path"}
    )
    table = table.rename(columns=lambda name: name.removeprefix("attribute_"))
    condition = clips["is_anomaly"].map({True: "anomaly", False: "normal"}).astype("string")
    table["condition"] = clips["supplemental_kind"].fillna(condition)
    table["session"] = true_sessions(data).reindex(clips["clip_id"]).array
    for clip_id, path in zip(clips["clip_id"], clips["path"], strict=True):
        link = told / clip_id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(Path(path).resolve())
    table.to_csv(told / "clips.csv", index=False)
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


def official(folder: Path) -> float:
    """Official score of the final system of a run."""
    metrics = pd.read_csv(folder / "metrics.csv")
    is_official = metrics["system"].eq("final") & metrics["metric"].eq("official_score")
    return float(metrics.loc[is_official, "value"].iloc[0])


def compare(runs: list[Path], session: pd.Series, folder: Path | None) -> None:
    """Put a run that is not told of sessions beside one that is."""
    text = [
        "# False alarms in seen and in new sessions, simulated corpus\n",
        "Share of normal test clips above the threshold that promises 0.10, by domain and by "
        "whether training clips of the same session exist; `flagged`: of anomalous test clips.\n",
    ]
    kept = {}
    for name, run in zip(("not told", "told"), runs, strict=True):
        table = alarms(scoring.read_scores(run / "scores.csv"), session)
        table.loc["mean"] = table.mean()
        kept[name] = {"official_score": official(run), "met": table.T.to_dict()}
        text += [
            f"\n## Sessions {name}: official score {kept[name]['official_score']:.3f}\n",
            table.to_markdown(floatfmt=".2f"),
        ]
    print("\n".join(text))
    save(folder, "sessions", "\n".join(text) + "\n", kept)


def made_up_run(data: Path, folder: Path) -> Path:
    """Give the clips of a corpus scores at random, and the two tables that a run leaves."""
    clips = scored_clips(read_clips(data))
    score = np.random.default_rng(0).standard_normal(len(clips))
    scores = scores_table(clips, score, system="final", seed=0)
    decided, _ = scoring.decide(scores, clips=clips)
    folder.mkdir()
    decided.to_csv(folder / "scores.csv", index=False)
    scoring.evaluate(decided, n_bootstrap=0).to_csv(folder / "metrics.csv", index=False)
    return folder


def main() -> None:
    """Lay out recordings with their sessions, or compare two finished runs."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--lay-out", nargs=2, type=Path, metavar=("CORPUS", "FOLDER"))
    parser.add_argument("--runs", nargs=2, type=Path, metavar=("UNTOLD", "TOLD"))
    parser.add_argument("--data", type=Path, default=Path("data/simulated_demo"))
    options = parser.parse_args()
    if options.miniature:
        with tempfile.TemporaryDirectory() as made_up:
            data, told = Path(made_up) / "data", Path(made_up) / "told"
            write_corpus(data, size="smoke", machines=["fanSim"])
            lay_out(data, told)
            runs = [made_up_run(one, Path(made_up) / f"run_{one.name}") for one in (data, told)]
            compare(runs, true_sessions(data), options.save)
    elif options.lay_out:
        lay_out(*options.lay_out)
    elif options.runs:
        compare(options.runs, true_sessions(options.data), options.save)
    else:
        parser.error("say --lay-out or --runs")


if __name__ == "__main__":
    main()
