"""From a folder of recordings without labels to verdicts, and one more recording the next day.

Run ``python benchmarks/stopwatch.py`` from the root of the repository; ``--save`` also writes
``benchmarks/stopwatch.json`` and ``.md``. ``--recordings DIR:MACHINE`` names other recordings in
the challenge's layout, as often as wanted. Their clips are laid out as an engineer has them,
``<machine>/normal/`` and ``<machine>/check/`` under names that say nothing; the truth that the
old names held is only counted against the verdicts at the end.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pandas as pd  # noqa: E402
from common import ROOT, benchmark_parser, listing, machine_facts, save  # noqa: E402

from asdlib.data import read_clips  # noqa: E402
from asdlib.data.simulate import write_corpus  # noqa: E402


def lay_out_plainly(source: Path, machine: str, folder: Path) -> pd.DataFrame:
    """Copy a machine's clips under plain names; gives name, split and truth of every clip."""
    clips = read_clips(source, machines=[machine])
    clips = clips[clips["split"].ne("supplemental")].reset_index(drop=True)
    numbers = list(range(len(clips)))
    random.Random(0).shuffle(numbers)
    for split, place in (("train", "normal"), ("test", "check")):
        (folder / machine / place).mkdir(parents=True, exist_ok=True)
        clips.loc[clips["split"].eq(split), "place"] = place
    # Training clips keep their order, which tells what was recorded together.
    is_train = clips["split"].eq("train")
    clips["name"] = [f"recording {number:04d}.wav" for number in numbers]
    clips.loc[is_train, "name"] = [f"day {n:04d}.wav" for n in range(int(is_train.sum()))]
    for row in clips.itertuples():
        (folder / machine / row.place / row.name).write_bytes(Path(row.path).read_bytes())
    return clips


def timed(*words: str) -> float:
    """Seconds of a command of run_all.sh; check may say by its status that clips were flagged."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "asdlib.workbook.cli", *words], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 3):
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - start


def measure(source: Path, machine: str, profile: str, n_checked: int) -> dict[str, object]:
    """Run, check one and check many; and how the verdicts stand to the truth."""
    with tempfile.TemporaryDirectory() as place:
        data, out = Path(place, "recordings"), Path(place, "out")
        clips = lay_out_plainly(source, machine, data)
        where = ["--out", str(out), "--name", "mine"]
        run_s = timed("--data", str(data), "--profile", profile, *where)
        verdicts = pd.read_csv(out / "results" / "mine" / "verdicts.csv")
        test = clips[clips["split"].eq("test")]
        files = [str(data / machine / "check" / name) for name in test["name"]]
        one_s = timed("check", files[0], *where)
        many = files[:n_checked]
        many_s = timed("check", *many, *where)
    verdicts["name"] = verdicts["recording"].str.rpartition("/")[2]
    joined = test.merge(verdicts[["name", "verdict"]], on="name", validate="one_to_one")
    flagged = joined["verdict"].eq("anomalous")
    truth = joined["is_anomaly"].astype(bool)

    def count(chosen: pd.Series) -> str:
        return f"{int((flagged & chosen).sum())} of {int(chosen.sum())}"

    return {
        "machine": machine,
        "normal": int(clips["split"].eq("train").sum()),
        "new": len(test),
        "folder_to_verdicts_s": round(run_s, 1),
        "check_one_s": round(one_s, 1),
        f"check_{len(many)}_s": round(many_s, 1),
        "then_clips_per_s": round((len(many) - 1) / max(many_s - one_s, 0.01), 1),
        "faults_flagged": count(truth),
        **{
            f"normal_flagged_{domain}": count(~truth & joined["domain"].eq(domain))
            for domain in ("source", "target")
        },
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--recordings", action="append", default=[], metavar="DIR:MACHINE")
    options = parser.parse_args()
    profile, n_checked = ("smoke", 3) if options.miniature else ("demo", 40)
    with tempfile.TemporaryDirectory() as place:
        rows = []
        simulated = Path(place)
        write_corpus(simulated, size=profile, machines=["bearingSim"])
        for chosen in [f"{simulated}:bearingSim", *options.recordings]:
            folder, _, machine = chosen.rpartition(":")
            print(machine, file=sys.stderr)
            rows.append(measure(Path(folder), machine, profile, n_checked))
    host = machine_facts("torch", "numpy")
    text = "\n".join(
        [
            "# From a folder to verdicts, and one file tomorrow [s]",
            "",
            "Plain names, no labels (bearingSim: simulated). " + listing(host),
            "",
            pd.DataFrame(rows).set_index("machine").T.to_markdown(),
            "",
            "`folder_to_verdicts_s`: `./run_all.sh --data DIR`, all notebooks, bundle and report, "
            "nothing computed before. `check_one_s`: `./run_all.sh check FILE --name NAME`, start "
            "of the interpreter to end. `then_clips_per_s`: further clips of the same call. "
            "Flagged are verdicts at the threshold that promises 10 % false alarms, counted "
            "against the truth, which nothing had seen. Plain names hide the domain: of the normal "
            "clips few are from the target domain, of the new ones half. A promise that is kept in "
            "either needs to know them apart: a `clips.csv` with the column `domain`.",
            "",
        ]
    )
    print(text)
    save(options.save, "stopwatch", text, {"machine": host, "machines": rows})


if __name__ == "__main__":
    main()
