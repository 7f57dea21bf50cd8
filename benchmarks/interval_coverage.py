"""How often the intervals of the partial AUC hold the truth, on clips whose truth is known.

Run ``python benchmarks/interval_coverage.py`` from the root of the repository; ``--save`` also
writes ``benchmarks/interval_coverage.json`` and ``.md``. Normal scores are drawn around 0,
anomalous ones around a distance, both normally distributed; the partial AUC of an infinite
number of clips follows by
integration. 95 % intervals are computed as `asdlib.scoring.evaluate` does, and as bias-corrected
percentiles alone.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from common import benchmark_parser, listing, machine_facts, save  # noqa: E402
from scipy import integrate, stats  # noqa: E402

from asdlib.scoring import MAX_FPR  # noqa: E402
from asdlib.scoring.evaluation import draw_metrics  # noqa: E402
from asdlib.scoring.resampling import bias_corrected_interval  # noqa: E402

N_CLIPS = (25, 50, 100)
DISTANCES = (0.0, 0.5, 1.0, 2.0, 3.0)


def true_pauc(distance: float) -> float:
    area = integrate.quad(lambda x: stats.norm.sf(stats.norm.isf(x) - distance), 0.0, MAX_FPR)[0]
    chance = 0.5 * MAX_FPR**2
    return float(0.5 * (1.0 + (area - chance) / (MAX_FPR - chance)))


def measure(n_clips: int, distance: float, trials: int, n_bootstrap: int) -> dict[str, float]:
    truth, rng = true_pauc(distance), np.random.default_rng(0)
    is_anomaly = np.repeat([False, True], n_clips)
    table = pd.DataFrame({"clip_id": [f"{i:04d}" for i in range(2 * n_clips)]}).assign(
        machine_type="m", section="00", domain="source", split="test", is_anomaly=is_anomaly
    )
    hits = dict.fromkeys(("evaluate", "bias-corrected alone"), 0)
    for trial in range(trials):
        score = rng.normal(size=2 * n_clips) + distance * is_anomaly
        run = table.assign(anomaly_score=score)
        rows, draws = draw_metrics(run, max_fpr=MAX_FPR, n_bootstrap=n_bootstrap, seed=trial)
        row = [rows["metric"].tolist().index("pauc")]
        value, replicates = draws[0, row], draws[1:, row]
        shape = {name: rows[name].to_numpy()[row] for name in ("acceleration", "widening")}
        for name, options in zip(hits, (shape, {}), strict=True):
            low, high = bias_corrected_interval(value, replicates, confidence=0.95, **options)
            hits[name] += bool(low[0] <= truth <= high[0])
    shares = {name: round(count / trials, 3) for name, count in hits.items()}
    return {"normal": n_clips, "anomalous": n_clips, "true pAUC": round(truth, 3), **shares}


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    sizes = N_CLIPS
    if options.miniature:
        options.trials, options.resamples, sizes = 5, 50, N_CLIPS[:1]
    rows = []
    for n_clips in sizes:
        for distance in DISTANCES:
            rows.append(measure(n_clips, distance, options.trials, options.resamples))
            print(rows[-1], file=sys.stderr)
    host = machine_facts("numpy", "scipy")
    text = "\n".join(
        [
            "# Share of 95 % intervals of the pAUC that hold the truth",
            "",
            f"{options.trials} trials of {options.resamples} resamples. " + listing(host),
            "",
            pd.DataFrame(rows).to_markdown(index=False, floatfmt=".3f"),
            "",
        ]
    )
    print(text)
    facts = {"trials": options.trials, "resamples": options.resamples, "coverage": rows}
    save(options.save, "interval_coverage", text, {"machine": host, **facts})


if __name__ == "__main__":
    main()
