"""Envelope analysis of a clip in a band that is chosen, against a straightforward one.

Run ``python benchmarks/envelope.py`` from the root of the repository; ``--save`` also writes
``benchmarks/envelope.json`` and ``.md``. All sides read the same simulated bearings (10 s at
16 kHz, int16, in a store on disk), one clip at a time, take turns, and get the same processor
cores as threads. The straightforward one is band-pass, Hilbert transform, squared magnitude
and spectrum by scipy.signal, with peaks over a running median. Beside the workbook's envelope
spectrum alone stand its families of lines, and all quantities that the annotation tracks.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from common import benchmark_parser, listing, machine_facts, save  # noqa: E402
from scipy import ndimage, signal  # noqa: E402

from asdlib.annotation import track_frequencies  # noqa: E402
from asdlib.data import open_or_build, simulate  # noqa: E402
from asdlib.data.store import ArrayStore  # noqa: E402
from asdlib.spectra import characteristic_frequencies, envelope_spectrum  # noqa: E402

SAMPLE_RATE, DURATION_S = 16000, 10.0
BAND_HZ, MAX_HZ = (2000.0, 4000.0), 250.0


def write_store(folder: Path, n_clips: int) -> ArrayStore:
    """Bearings of which every second has a fault, at shaft rates of their own."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n_clips):
        y = simulate.bearing_signal(
            DURATION_S,
            SAMPLE_RATE,
            rng.uniform(10.0, 30.0),
            fault="outer" if index % 2 else None,
            geometry=simulate.BearingGeometry(8, 0.27),
            resonances_hz=(2500.0, 3500.0),
            rng=rng,
        )
        rows.append(np.round(3000 * y / y.std()).clip(-32768, 32767).astype(np.int16))

    def fill(first: int, last: int, out: Any) -> None:
        out[:] = np.concatenate(rows[first:last])

    return open_or_build(
        folder,
        settings={},
        ids=[f"{index:04d}" for index in range(n_clips)],
        lengths=[len(row) for row in rows],
        row_shape=(),
        dtype=np.int16,
        fill=fill,
        block_rows=8,
        workers=1,
    )


def straightforward(samples: Any) -> Any:
    """Peaks of the squared envelope spectrum, as textbooks write it."""
    sos = signal.butter(4, BAND_HZ, btype="bandpass", fs=SAMPLE_RATE, output="sos")
    squared = np.abs(signal.hilbert(signal.sosfiltfilt(sos, samples))) ** 2
    lines = np.abs(np.fft.rfft(squared - squared.mean()))[: int(MAX_HZ * DURATION_S)]
    peaks, _ = signal.find_peaks(lines, height=6 * ndimage.median_filter(lines, 51))
    return peaks


def spectrum_only(samples: Any) -> Any:
    return envelope_spectrum(samples, sr=SAMPLE_RATE, band_hz=BAND_HZ, max_hz=MAX_HZ)


def families(samples: Any) -> Any:
    return characteristic_frequencies(samples, sr=SAMPLE_RATE, bands_hz=[BAND_HZ], max_hz=MAX_HZ)


SIDES = {"scipy.signal": straightforward, "envelope spectrum": spectrum_only, "families": families}


def time_side(analyse: Callable[[Any], Any], store: ArrayStore, workers: int) -> float:
    """Seconds for all clips, read and analysed one by one."""

    def run(row: int) -> None:
        analyse(store.row(row) / 32768.0)

    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, range(len(store.ids))))
    return time.perf_counter() - start


def time_all_quantities(store: ArrayStore, workers: int) -> float:
    start = time.perf_counter()
    track_frequencies(store.ids, store, sr=SAMPLE_RATE, seed=0, bands_hz=[BAND_HZ], workers=workers)
    return time.perf_counter() - start


def measure(n_clips: int, repeats: int, report: Callable[[str], object]) -> pd.DataFrame:
    """Clips per second of every side, median over turns."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder), n_clips)
        for analyse in SIDES.values():  # the first use of everything
            analyse(store.row(0) / 32768.0)
        for repeat in range(repeats):
            report(f"repeat {repeat + 1} of {repeats}")
            for workers in (1, 2):
                seconds = {name: time_side(side, store, workers) for name, side in SIDES.items()}
                seconds["all quantities"] = time_all_quantities(store, workers)
                rows.append({"workers": workers, **{n: n_clips / s for n, s in seconds.items()}})
    table = pd.DataFrame(rows).groupby("workers").median()
    for name in ("envelope spectrum", "families", "all quantities"):
        table[f"{name} / scipy.signal"] = table[name] / table["scipy.signal"]
    return table.reset_index()


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--clips", type=int, default=100, help="clips of 10 s")
    parser.add_argument("--repeats", type=int, default=3, help="turns; the median counts")
    options = parser.parse_args()
    if options.miniature:
        options.clips, options.repeats = 4, 1
    host = machine_facts("numpy", "scipy")
    table = measure(options.clips, options.repeats, lambda text: print(text, file=sys.stderr))
    shown = table.set_index("workers").T.add_prefix("workers: ")
    text = "\n".join(
        [
            "# Envelope analysis in a chosen band [clips/s]",
            "",
            f"{options.clips} clips of {DURATION_S:g} s at {SAMPLE_RATE} Hz, median of "
            f"{options.repeats} turns. " + listing(host),
            "",
            shown.to_markdown(floatfmt=".3g"),
            "",
            "The last three rows are ratios. `families` adds evidence, families and sidebands to "
            "the spectrum, `all quantities` tones and cycle time as well.",
            "",
        ]
    )
    print(text)
    facts = {
        "machine": host,
        "clips": options.clips,
        "repeats": options.repeats,
        "clips_per_s": table.to_dict("records"),
    }
    save(options.save, "envelope", text, facts)


if __name__ == "__main__":
    main()
