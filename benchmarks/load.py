"""Large folders through notebook 01's computations: seconds and peak memory of every stage.

Run ``python benchmarks/load.py`` from the root of the repository; ``--save`` also writes
``benchmarks/load.json`` and ``.md``. Plain folders of noise are written and read as the command
line reads them: one recording of an hour (48 kHz, two channels), many short clips of several
machines, many machines, and many clips of one machine. Every stage is a process of its own that
finds what the stages before it have stored.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import benchmark_parser, listing, machine_facts, save  # noqa: E402

STAGES = ("check", "waveforms", "log_mel", "average_spectra")
#: Cases that notebook 02's annotation is measured on, too.
ANNOTATED = ("10,000 clips of 1 s, one machine", "two machines")
SETTINGS = {"window_s": 10.0, "resample": True, "channel": "mean"}
#: Name, machines, recordings of each, seconds, sample rate [Hz], channels.
CASES = [
    ("one recording of an hour", 1, 1, 3600.0, 48000, 2),
    ("20,000 clips of 1 s, 20 machines", 20, 1000, 1.0, 16000, 1),
    ("300 machines, 10 clips of 1 s each", 300, 10, 1.0, 16000, 1),
    ("10,000 clips of 1 s, one machine", 1, 10_000, 1.0, 16000, 1),
]
MINIATURE = [
    ("one recording of a minute", 1, 1, 60.0, 8000, 2),
    ("two machines", 2, 3, 0.5, 16000, 1),
]


def write_folder(
    root: Path, machines: int, recordings: int, seconds: float, rate: int, channels: int
) -> None:
    import soundfile

    rng = np.random.default_rng(0)
    minute = rng.normal(0, 2000, (60 * rate, channels)).astype(np.int16)
    for machine in range(machines):
        folder = root / f"machine {machine:03d}" / "normal"
        folder.mkdir(parents=True)
        for index in range(recordings):
            path = folder / f"2026-05-02 {index:06d}.wav"
            with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
                for start_s in np.arange(0, seconds, 60):
                    n_samples = round(min(60, seconds - start_s) * rate)
                    first = rng.integers(0, 59 * rate if seconds < 60 else 1)
                    file.write(minute[first : first + n_samples])


def run_stage(stage: str, root: Path, cache: Path) -> dict[str, float]:
    """Carry out one stage; what it builds on is opened before the clock starts."""
    from asdlib.annotation import annotate
    from asdlib.data import open_waveforms, read_clips
    from asdlib.spectra import LogMelSettings, open_average_spectra, open_log_mel
    from asdlib.workbook.datasets import check_recordings

    start = time.perf_counter()
    if stage == "check":
        check_recordings(root, None, SETTINGS, tell=lambda line: None)
    else:
        clips = read_clips(root, window_s=SETTINGS["window_s"])
        start = time.perf_counter()
        waveforms = open_waveforms(clips, cache_dir=cache, resample=True, channel="mean")
        if stage != "waveforms":
            start = time.perf_counter()
        if stage in ("log_mel", "annotation"):
            longest_s = (clips["n_samples"] / clips["sample_rate"]).max()
            log_mel = open_log_mel(
                waveforms,
                clips,
                settings=LogMelSettings(),
                highpass_hz={},
                duration_s=min(10.0, longest_s),
                cache_dir=cache,
            )
        if stage == "annotation":
            start = time.perf_counter()
            annotate(clips, waveforms, log_mel)
        elif stage == "average_spectra":
            open_average_spectra(waveforms, clips, cache_dir=cache)
    seconds = time.perf_counter() - start
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": round(seconds, 1), "mb": round(peak / 1e6)}


def measure(case: tuple[str, int, int, float, int, int]) -> list[dict[str, Any]]:
    name, *shape = case
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root, cache = Path(folder) / "data", Path(folder) / "cache"
        write_folder(root, *shape)
        for stage in (*STAGES, *["annotation"] * (name in ANNOTATED)):
            print(f"{name}: {stage}", file=sys.stderr)
            command = [sys.executable, __file__, "--stage", stage, str(root), str(cache)]
            answer = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            rows.append({"folder": name, "stage": stage, **json.loads(answer)})
    return rows


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--stage", nargs=3, metavar=("NAME", "DATA", "CACHE"), help="one stage here"
    )
    options = parser.parse_args()
    if options.stage:
        stage, root, cache = options.stage
        print(json.dumps(run_stage(stage, Path(root), Path(cache))))
        return
    cases = MINIATURE if options.miniature else CASES
    rows = [row for case in cases for row in measure(case)]
    host = machine_facts("numpy", "torch", "soundfile")
    text = "\n".join(
        [
            "# Large folders [s, MB]",
            "",
            "Noise in plain folders, read, decoded to 16 kHz mono, and turned into log-mel "
            "spectrograms (of 10 s, or of the clips' own 1 s) and average spectra, all on disk; "
            "the 10,000 clips of one machine are annotated as notebook 02 does. " + listing(host),
            "",
            pd.DataFrame(rows).to_markdown(index=False),
            "",
            "`mb` is the largest resident memory of the stage's process, interpreter and libraries "
            "included. check is all that the command line does before a kernel starts.",
            "",
        ]
    )
    print(text)
    save(options.save, "load", text, {"machine": host, "stages": rows})


if __name__ == "__main__":
    main()
