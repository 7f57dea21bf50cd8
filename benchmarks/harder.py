"""Recorded machines made harder: in the background of other machines, and with few clips.

Every machine with 40 training clips or more comes in two further forms, alike for all:

- ``<machine>_background``: under every clip, training or test, lies a stretch of a normal recording
  of another machine, louder by 6 to 12 dB;
- ``<machine>_few``: 39 training clips of the source domain, and none of the target domain.

Machines with fewer training clips give the background.

    python benchmarks/harder.py --lay-out recordings_harder RECORDINGS [RECORDINGS]
    ./run_all.sh --data recordings_harder --set ae_epochs=100 --set ae_batch_size=256 \
        --set ae_min_steps=0
    python benchmarks/harder.py --run results/recordings_harder --save
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import benchmark_parser, save  # noqa: E402
from detection import detection_table, made_up_run, read_run  # noqa: E402

from asdlib.base import InputError  # noqa: E402
from asdlib.data import read_clips  # noqa: E402
from asdlib.data.audio import FULL_SCALE, read_mono  # noqa: E402
from asdlib.data.simulate.corpus import write_corpus  # noqa: E402
from asdlib.spectra.injection import add_sound  # noqa: E402

#: Training clips from which on a machine is made harder, and what the few are.
ENOUGH, FEW = 40, 39
RATE = 16000  # of all recordings [Hz]; another is refused when it is read
#: Signal-to-noise ratio in the background [dB].
SNR_DB = (-12.0, -6.0)


def lay_out(harder: Path, recordings: Sequence[Path], *, enough: int = ENOUGH) -> None:
    """Write both forms of every machine that has enough training clips."""
    rng = np.random.default_rng(0)
    clips = pd.concat([read_clips(folder) for folder in recordings], ignore_index=True)
    clips = clips[clips["split"] != "supplemental"]
    is_train = clips["split"] == "train"
    n_train = clips[is_train].groupby("machine_type").size()
    is_background = is_train & clips["machine_type"].isin(n_train.index[n_train < enough])
    sounds = [read_mono(path) / FULL_SCALE for path in clips.loc[is_background, "path"]]
    if not sounds:
        raise InputError(f"No machine has fewer than {enough} training clips: no background.")
    for machine in n_train.index[n_train >= enough]:
        own = clips[clips["machine_type"] == machine]
        source = own[own["split"].eq("train") & own["domain"].ne("target")]
        few = set(rng.permutation(source["clip_id"])[:FEW])
        for clip_id, split, path in own[["clip_id", "split", "path"]].itertuples(index=False):
            samples = read_mono(path) / FULL_SCALE
            forms = {"background": in_background(samples, sounds, rng)}
            if split == "test" or clip_id in few:
                forms["few"] = samples
            for form, sound in forms.items():
                place = harder / "dev_data" / "raw" / f"{machine}_{form}" / split / Path(path).name
                place.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(place, sound, RATE, subtype="PCM_16")


def in_background(
    samples: np.ndarray, sounds: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Lay a random stretch of one of the sounds under a clip; softer only where it would clip."""
    drawn = sounds[rng.integers(len(sounds))]
    sound = np.resize(drawn, max(len(samples), len(drawn)))
    first = rng.integers(len(sound) - len(samples) + 1)
    sound = sound[first : first + len(samples)]
    mixed = add_sound(samples, sound, -rng.uniform(*SNR_DB))
    return mixed * min(1.0, 0.99 / max(np.abs(mixed).max(), 1e-20))


def compare(run: Path, folder: Path | None, *, n_bootstrap: int) -> None:
    """Put the final system beside every baseline."""
    tables = read_run(run, n_bootstrap)
    rows, shown = detection_table({run.name: tables})
    text = "\n".join(
        [
            "# Recorded machines made harder\n",
            "Harmonic mean of AUC source, AUC target and pAUC. `background`: under other machines "
            "that are louder by 6 to 12 dB; `few`: 39 training clips of the source domain alone. "
            "Gain: final minus the best baseline, chosen in hindsight, with its paired 95 % "
            "bootstrap interval over test clips.\n",
            shown.to_markdown(index=False, floatfmt=".3f"),
        ]
    )
    print(text)
    save(folder, "harder", text + "\n", {"machines": rows})


def main() -> None:
    """Lay out harder recordings, or compare the systems on a finished run of them."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--lay-out", nargs="+", type=Path, metavar=("FOLDER", "RECORDINGS"))
    parser.add_argument("--run", type=Path, metavar="DIR", help="result folder of a finished run")
    options = parser.parse_args()
    if options.miniature:
        with tempfile.TemporaryDirectory() as made_up:
            data, harder = Path(made_up) / "data", Path(made_up) / "harder"
            write_corpus(data, size="smoke", machines=["fanSim", "valveSim"])
            (background,) = (data / "dev_data").glob("*/valveSim")
            surplus = sorted(background.glob("train/*"))[3:]
            for path in [*surplus, *background.glob("*.csv")]:
                path.unlink()
            lay_out(harder, [data], enough=4)
            counts = read_clips(harder).groupby(["machine_type", "split"]).size()
            assert set(counts.index.levels[0]) == {"fanSim_background", "fanSim_few"}, counts
            compare(made_up_run(Path(made_up) / "made_up", 40), options.save, n_bootstrap=100)
    elif options.lay_out:
        lay_out(options.lay_out[0], options.lay_out[1:])
    elif options.run:
        compare(options.run, options.save, n_bootstrap=1000)
    else:
        parser.error("say --lay-out or --run")


if __name__ == "__main__":
    main()
