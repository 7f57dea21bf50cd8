"""Time and memory of `asdlib.scoring.evaluate` with 1,000 resamples, up to a million clips.

Run ``python benchmarks/evaluation.py`` from the root of the repository; ``--save`` also writes
``benchmarks/evaluation.json`` and ``.md``. Every size is a process of its own: one machine, a
tenth of the clips in the target domain, three tenths anomalous. Its memory is the largest resident
memory beyond that with the table made and nothing evaluated.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import psutil  # noqa: E402
from common import benchmark_parser, listing, machine_facts, save  # noqa: E402

from asdlib.scoring import evaluate  # noqa: E402


def make_scores(n_clips: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    is_anomaly = rng.random(n_clips) < 0.3
    table = pd.DataFrame({"clip_id": [f"fan/test/{i:07d}.wav" for i in range(n_clips)]})
    return table.assign(
        machine_type="fan", section="00", split="test", is_anomaly=is_anomaly, system="x", seed=0,
        domain=np.where(rng.random(n_clips) < 0.1, "target", "source"),
        anomaly_score=rng.normal(size=n_clips) + is_anomaly,
    )  # fmt: skip


def measure(n_clips: int, n_bootstrap: int) -> dict[str, float]:
    scores = make_scores(n_clips)
    evaluate(make_scores(1000), n_bootstrap=1)
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    evaluate(scores, n_bootstrap=n_bootstrap)
    seconds = time.perf_counter() - start
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"clips": n_clips, "seconds": round(seconds, 1), "mb": round((peak - before) / 1e6)}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--one", action="store_true", help="measure one size in this process")
    options = parser.parse_args()
    if options.miniature:
        options.clips, options.resamples = [2000], 20
    if options.one:
        print(json.dumps(measure(options.clips[0], options.resamples)))
        return
    rows = []
    for n_clips in options.clips:
        command = [sys.executable, __file__, "--one", "--clips", str(n_clips)]
        command += ["--resamples", str(options.resamples)]
        print(f"{n_clips} clips", file=sys.stderr)
        rows.append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
    host = machine_facts("numpy", "pandas")
    text = "\n".join(
        [
            "# Metrics with their intervals [s, MB]",
            "",
            f"One machine, {options.resamples} resamples. " + listing(host),
            "",
            pd.DataFrame(rows).to_markdown(index=False),
            "",
            "`mb` is the memory beyond the interpreter's and the given table's. The digits do not "
            "depend on the blocks in which resamples are drawn.",
            "",
        ]
    )
    print(text)
    facts = {"machine": host, "resamples": options.resamples, "sizes": rows}
    save(options.save, "evaluation", text, facts)


if __name__ == "__main__":
    main()
