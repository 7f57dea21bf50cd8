"""Time and memory of the full profile on one machine of the simulated corpus, by notebook.

Run ``python benchmarks/full_profile.py`` from the root of the repository. It executes the
notebooks on a machine type with the challenge's counts (990 + 10 training clips of 10 s), with
the full-width network and fewer epochs than the profile's, of the network and of the
autoencoder, and projects the times of the profile on seven machines: everything is proportional
to the number of clips, training to the epochs too. ``--save`` writes
``benchmarks/full_profile.json`` and ``.md``.

Of a GPU it says what the training takes at the rate that ``benchmarks/training.py`` measured
on one.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat
import pandas as pd
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import FOLDER, ROOT, benchmark_parser, save  # noqa: E402

from asdlib.base import available_cores  # noqa: E402
from asdlib.data import simulate  # noqa: E402
from asdlib.workbook.notebooks import PROFILES  # noqa: E402

N_MACHINES = len(simulate.MACHINES)
TRAINING = "03_training"
#: What the notebook calls to train the autoencoder.
AUTOENCODER_CALL = "open_reconstructions("


@dataclass(frozen=True)
class Memory:
    """Peak memory of all processes of the run [GiB].

    Attributes
    ----------
    own : float
        Without pages of files, which the system gives back when memory is wanted.
    resident : float
        With them.
    """

    own: float
    resident: float


def watch(process: subprocess.Popen[bytes]) -> Memory:
    """Wait for the end of a process; sum the memory of it and all below it twice a second."""
    own = resident = 0
    while process.poll() is None:
        sizes = []
        try:
            root = psutil.Process(process.pid)
            for member in [root, *root.children(recursive=True)]:
                sizes.append(member.memory_info())
        except psutil.NoSuchProcess:
            pass
        own = max(own, sum(size.rss - size.shared for size in sizes))
        resident = max(resident, sum(size.rss for size in sizes))
        time.sleep(0.5)
    return Memory(own / 2**30, resident / 2**30)


@dataclass(frozen=True)
class Measured:
    """What a run took: memory, seconds of each notebook and of the autoencoder's cell, rate."""

    memory: Memory
    seconds: dict[str, float]
    autoencoder_seconds: float
    clips_per_s: float


def execute(machine: str, epochs: dict[str, int], out: Path, profile: str) -> Measured:
    """Run the notebooks on one machine with so many epochs of each network."""
    data, name = out / "simulated_full", "simulated_full"
    simulate.write_corpus(data, size=profile, machines=[machine])
    call = [sys.executable, "-m", "asdlib.workbook.cli", "--profile", profile, "--data", str(data),
            "--out", str(out), "--name", name]  # fmt: skip
    # Seven machines, to which this one is projected, need no companions.
    for parameter, value in {**epochs, "companions_below": 0}.items():
        call += ["--set", f"{parameter}={value}"]
    process = subprocess.Popen(call, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    memory = watch(process)
    if process.returncode:
        raise SystemExit(f"the run ended with exit status {process.returncode}.")
    seconds, autoencoder = {}, 0.0
    for path in sorted((out / "build" / name / "notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        seconds[path.stem] = float(book.metadata["papermill"]["duration"])
        cells = [cell for cell in book.cells if AUTOENCODER_CALL in cell.source]
        if path.stem == TRAINING and not cells:
            raise SystemExit(f"{path.name}: no cell calls {AUTOENCODER_CALL}...).")
        autoencoder += sum(float(cell.metadata["papermill"]["duration"]) for cell in cells)
    history = pd.read_csv(out / "results" / name / "training.csv")
    return Measured(memory, seconds, autoencoder, float(history["clips_per_s"].median()))


def project(measured: Measured, epochs: dict[str, int], clips_per_epoch: int) -> pd.DataFrame:
    """Minutes of each notebook as measured, and of the full profile on all machines."""
    full = {name: int(PROFILES["full"][name]) for name in epochs}
    rows = []
    for name, seconds in measured.seconds.items():
        whole = seconds
        if name == TRAINING:
            more = full["epochs"] - epochs["epochs"]
            whole += more * clips_per_epoch / measured.clips_per_s
            share = full["ae_epochs"] / epochs["ae_epochs"] - 1
            whole += share * measured.autoencoder_seconds
        rows.append((name, seconds / 60, whole / 60, whole * N_MACHINES / 60))
    columns = ["notebook", "measured", "one machine", "seven machines"]
    table = pd.DataFrame(rows, columns=columns)
    total = table.drop(columns="notebook").sum()
    return pd.concat([table, pd.DataFrame([{"notebook": "all", **total}])], ignore_index=True)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--machine", default="bearingSim", choices=sorted(simulate.MACHINES))
    parser.add_argument("--epochs", type=int, default=2, help="of the network")
    parser.add_argument("--ae-epochs", type=int, default=10, help="of the autoencoder")
    options = parser.parse_args()
    epochs = {"epochs": options.epochs, "ae_epochs": options.ae_epochs}
    profile = "smoke" if options.miniature else "full"
    with tempfile.TemporaryDirectory() as folder:
        measured = execute(options.machine, epochs, Path(folder), profile)
    size = simulate.SIZES[profile]
    clips_per_epoch = size.train_source + size.train_target + size.supplemental
    table = project(measured, epochs, clips_per_epoch)
    full_epochs, full_ae_epochs = (int(PROFILES["full"][name]) for name in epochs)
    gpu = json.loads((FOLDER / "training_cuda.json").read_text())
    gpu_rate = gpu["bfloat16"]["clips_per_s"]
    gpu_seconds = clips_per_epoch * full_epochs * N_MACHINES / gpu_rate
    memory = measured.memory
    facts = {
        "machine_type": options.machine,
        **epochs,
        "cores": available_cores(),
        "python": platform.python_version(),
        "training_clips_per_s": measured.clips_per_s,
        "autoencoder_s": measured.autoencoder_seconds,
        "peak_memory_gib": asdict(memory),
        "minutes": table.to_dict("records"),
    }
    text = "\n".join(
        [
            "# The full profile on the simulated corpus [minutes]",
            "",
            f"{options.machine}: {size.train_source} + {size.train_target} training clips of 10 s, "
            f"{size.supplemental} supplemental, {4 * size.test} test clips; {available_cores()} "
            f"cores, no GPU. Measured with {options.epochs} epochs of the network and "
            f"{options.ae_epochs} of the autoencoder; the other columns are projected to the "
            f"profile's {full_epochs} and {full_ae_epochs}, and to seven machines.",
            "",
            table.to_markdown(index=False, floatfmt=".1f"),
            "",
            f"Training: {measured.clips_per_s:.1f} clips/s. Peak memory of all processes: "
            f"{memory.own:.1f} GiB, with pages of files {memory.resident:.1f} GiB.",
            "",
            f"On one {gpu['device']}, at the {gpu_rate:.0f} clips/s of "
            "[training_cuda.json](training_cuda.json), the steps of the network's training on "
            f"seven machines take {gpu_seconds:.0f} s.",
            "",
        ]
    )
    print(text)
    save(options.save, "full_profile", text, facts)


if __name__ == "__main__":
    main()
