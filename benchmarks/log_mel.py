"""Wave file to log-mel: the workbook's two stores against a per-file librosa loop.

Run ``python benchmarks/log_mel.py`` from the root of the repository; ``--save`` also writes
``benchmarks/log_mel.json`` and ``.md``. Both sides read the same synthetic 10 s recordings
from the page cache, take turns, and get the same processor cores: librosa as processes that
each take a share of the files, the workbook as threads. The workbook's time covers decoding
to the int16 store, the log-mel, and writing both stores to disk; librosa keeps nothing.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import benchmark_parser, listing, machine_facts, save  # noqa: E402

SAMPLE_RATE = 16000
DURATION_S = 10.0


def write_recordings(folder: Path, n_clips: int) -> list[str]:
    import soundfile

    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    paths = []
    for index in range(n_clips):
        samples = rng.normal(0, 2000, round(DURATION_S * SAMPLE_RATE)).astype(np.int16)
        name = f"section_00_source_train_normal_{index:04d}_noAttribute.wav"
        soundfile.write(folder / name, samples, SAMPLE_RATE)
        paths.append(str(folder / name))
    return paths


def librosa_loop(paths: list[str]) -> int:
    """One share of the files, as most notebooks do it."""
    import librosa

    for path in paths:
        y, sr = librosa.load(path, sr=None)
        mel = librosa.feature.melspectrogram(
            y=y, sr=sr, n_fft=1024, hop_length=512, n_mels=128, fmin=200, fmax=8000
        )
        librosa.power_to_db(mel)
    return len(paths)


def single_threaded() -> None:
    """Keep the matrix products of two processes from fighting over the same cores."""
    os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})


#: As many threads as it likes, or one.
SETUPS = (None, single_threaded)


def time_librosa(paths: list[str], processes: int, setups: Sequence[Any]) -> float:
    """Seconds of the loop in warm processes, in the faster of the setups."""
    times = []
    for setup in setups:
        shares = [paths[start::processes] for start in range(processes)]
        with ProcessPoolExecutor(
            processes, mp_context=get_context("spawn"), initializer=setup
        ) as pool:
            list(pool.map(librosa_loop, [share[:2] for share in shares]))
            start = time.perf_counter()
            list(pool.map(librosa_loop, shares))
            times.append(time.perf_counter() - start)
    return min(times)


def time_workbook(clips: pd.DataFrame, workers: int) -> tuple[float, float]:
    """Seconds to the waveform store and to the log-mel store, both fresh on disk."""
    from asdlib.data import open_waveforms
    from asdlib.spectra import LogMelSettings, open_log_mel

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        waveforms = open_waveforms(clips, cache_dir=Path(folder), workers=workers)
        decoded = time.perf_counter()
        open_log_mel(
            waveforms,
            clips,
            settings=LogMelSettings(),
            highpass_hz={},
            cache_dir=Path(folder),
            workers=workers,
        )
        return decoded - start, time.perf_counter() - decoded


def measure(
    n_clips: int, repeats: int, setups: Sequence[Any], report: Callable[[str], object]
) -> pd.DataFrame:
    from asdlib.data import read_clips

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_recordings(Path(folder) / "noise" / "train", n_clips)
        clips = read_clips(Path(folder))
        time_workbook(clips.head(8), 1)  # imports and the first use of everything
        for repeat in range(repeats):
            report(f"repeat {repeat + 1} of {repeats}")
            for workers in (1, 2):
                decode_s, log_mel_s = time_workbook(clips, workers)
                loop_s = time_librosa(paths, workers, setups)
                rows.append((workers, loop_s, decode_s + log_mel_s, decode_s, log_mel_s))
    columns = ["workers", "librosa", "workbook", "decoding", "log-mel"]
    rates = pd.DataFrame(rows, columns=columns).set_index("workers").rdiv(n_clips)
    rates["ratio"] = rates["workbook"] / rates["librosa"]
    return rates.groupby("workers").median().reset_index()


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--clips", type=int, default=500, help="recordings of 10 s")
    parser.add_argument("--repeats", type=int, default=3, help="turns; the median counts")
    options = parser.parse_args()
    setups = SETUPS
    if options.miniature:
        options.clips, options.repeats, setups = 4, 1, SETUPS[1:]
    host = machine_facts("numpy", "torch", "librosa", "soundfile")
    table = measure(
        options.clips, options.repeats, setups, lambda text: print(text, file=sys.stderr)
    )
    speedup = table["workbook"].iloc[1] / table["workbook"].iloc[0]
    fastest = table["workbook"].iloc[1] / table["librosa"].max()
    text = "\n".join(
        [
            "# Wave file to log-mel [clips/s]",
            "",
            f"{options.clips} clips of {DURATION_S:g} s, median of {options.repeats} turns. "
            + listing(host),
            "",
            table.to_markdown(index=False, floatfmt=".3g"),
            "",
            f"Two workers instead of one: {speedup:.2f} times the clips per second; against the "
            f"faster of the two librosa loops: {fastest:.2f} times. The columns decoding and "
            "log-mel are the two steps of the column workbook, each with its store.",
            "",
        ]
    )
    print(text)
    facts = {
        "machine": host,
        "clips": options.clips,
        "repeats": options.repeats,
        "clips_per_s": table.to_dict("records"),
        "speedup_two_workers": speedup,
        "ratio_to_faster_librosa": fastest,
    }
    save(options.save, "log_mel", text, facts)


if __name__ == "__main__":
    main()
