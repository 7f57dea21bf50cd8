"""Agreement of the automatic annotation with the truth, on simulated corpora it has not seen.

Run ``python benchmarks/annotation.py`` from the root of the repository; ``--save`` also writes
``benchmarks/annotation.json`` and ``.md``. For every corpus seed the seven simulated machines
are generated afresh and annotated with all their attributes hidden, by the default rule. Beside
the annotation stand k-means with eight clusters on mean log-mel spectra, and the annotation
shuffled among the clips of a machine. Two controls must give one class each: clips of one
operating state, and clips of all states with the machine 40 dB below the hall.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from asdlib import annotation, data, spectra  # noqa: E402
from asdlib.data import simulate  # noqa: E402
from asdlib.data.simulate.machines import find_model  # noqa: E402
from asdlib.data.store import ArrayStore  # noqa: E402

CONTROL_CLIPS, BELOW_HALL_DB = 60, 40.0
HIDDEN_DATA_SETS = ("bearingSim", "sliderSim", "ToyTrainSim")
Found = tuple[pd.DataFrame, ArrayStore, annotation.Annotation]


def annotate_folder(folder: Path) -> Found:
    """Annotate the recordings below a folder as a run does, without their attributes."""
    clips = data.read_clips(folder)
    clips["attribute"] = pd.Series(pd.NA, clips.index, dtype="string")
    cache = folder / "cache"
    waveforms = data.open_waveforms(clips, cache_dir=cache)
    mean_spectra = spectra.open_average_spectra(waveforms, clips, cache_dir=cache)
    choice = spectra.choose_highpass(clips, mean_spectra, fmin=200.0, fmax=8000.0)
    log_mel = spectra.open_log_mel(
        waveforms,
        clips,
        settings=spectra.LogMelSettings(),
        highpass_hz=choice.by_machine(),
        cache_dir=cache,
    )
    found = annotation.annotate(clips, waveforms, log_mel)
    return clips[clips["split"] == "train"], log_mel, found


def true_attributes(folder: Path, seed: int) -> pd.DataFrame:
    """Attributes that the names show, and those that the corpus hides."""
    clips = data.read_clips(folder)
    train = clips[clips["split"] == "train"]
    hidden = data.read_true_attributes(folder, train)
    shown = train.loc[train["attribute"].notna(), ["clip_id", "attribute"]]
    return pd.concat([hidden, shown], ignore_index=True).assign(seed=seed)


def measure_agreement(folder: Path, seed: int) -> pd.DataFrame:
    simulate.write_corpus(folder, size="demo", seed=seed)
    truth = true_attributes(folder, seed)
    train, log_mel, found = annotate_folder(folder)
    labellings = {
        "annotation": found.attributes,
        "k-means, k = 8": annotation.fixed_clusters(train, log_mel, n_clusters=8, seed=0),
        "shuffled": annotation.shuffled(found.attributes, train, seed=0),
    }
    scores = [
        annotation.score_agreement(labels, truth, train).assign(labelling=name)
        for name, labels in labellings.items()
    ]
    table = pd.concat(scores, ignore_index=True)
    methods = found.evidence.set_index("machine_type")["method"]
    return table.assign(corpus_seed=seed, method=table["machine_type"].map(methods))


def write_control(folder: Path, machine: str, seed: int, *, one_state: bool) -> None:
    """Write source training clips of one state, or of all states hidden under the hall."""
    states = simulate.states_of(find_model(machine), "source")
    place = folder / "dev_data" / "raw" / machine / "train"
    place.mkdir(parents=True)
    for number in range(CONTROL_CLIPS):
        rng = np.random.default_rng([seed, number])
        state = states[0 if one_state else number % len(states)]
        options = {"seed": seed, "rng": rng, "duration_s": 10.0}
        if one_state:
            y = simulate.synthesise_clip(machine, state, **options)
        else:
            hall = simulate.synthesise_clip(machine, state, with_machine=False, **options)
            sound = simulate.synthesise_clip(machine, state, with_background=False, **options)
            y = hall + sound * hall.std() / sound.std() * 10 ** (-BELOW_HALL_DB / 20)
        name = f"section_00_source_train_normal_{number:04d}_noAttribute.wav"
        write_clip(place / name, y)


def write_clip(path: Path, y: np.ndarray) -> None:
    import soundfile

    samples = np.clip(np.round(32768 * y), -32768, 32767).astype(np.int16)
    soundfile.write(path, samples, simulate.SAMPLE_RATE_HZ)


def measure_control(folder: Path, seed: int, *, one_state: bool) -> pd.DataFrame:
    for machine in simulate.MACHINES:
        write_control(folder, machine, seed, one_state=one_state)
    _, _, found = annotate_folder(folder)
    control = "one state" if one_state else f"machine {BELOW_HALL_DB:g} dB below the hall"
    evidence = found.evidence[["machine_type", "method", "n_classes", "reason"]]
    return evidence.assign(control=control, corpus_seed=seed)


def write_text(agreement: pd.DataFrame, controls: pd.DataFrame) -> str:
    """Both tables in Markdown, the values with their intervals."""
    chosen = agreement[(agreement["domain"] == "all") & agreement["metric"].isin(["nmi", "ari"])]
    cells = [
        f"{row.value:.2f} [{row.ci_low:.2f}, {row.ci_high:.2f}]" for row in chosen.itertuples()
    ]
    chosen = chosen.assign(cell=cells, column=chosen["metric"].str.upper())
    wide = chosen.pivot_table(
        index=["machine_type", "corpus_seed", "method", "n_true"],
        columns=["labelling", "column"],
        values="cell",
        aggfunc="first",
    )
    wide.columns = [f"{labelling}: {metric}" for labelling, metric in wide.columns]
    mean = chosen[chosen["column"] == "NMI"].pivot_table(
        index="machine_type", columns="labelling", values="value"
    )
    hidden = mean.loc[list(HIDDEN_DATA_SETS)].mean()
    wrong = controls[controls["n_classes"] > 1]
    lines = [
        "# Agreement of the automatic annotation with the truth (simulated)",
        "",
        "Demo-size corpora, all attributes hidden; 95 % intervals over clips, drawn with "
        "replacement. `method` is what the rule chose. The agreement of target clips alone and "
        "the other measures stand in `annotation.json`.",
        "",
        wide.reset_index().to_markdown(index=False),
        "",
        "Mean NMI over corpus seeds:",
        "",
        mean.reset_index().to_markdown(index=False, floatfmt=".2f"),
        "",
        f"Mean over {', '.join(HIDDEN_DATA_SETS)}, which hide their attributes in every run: "
        + ", ".join(f"{name} {value:.2f}" for name, value in hidden.items())
        + ".",
        "",
        "# Controls: one class is right",
        "",
        f"{len(controls)} machines ({CONTROL_CLIPS} clips each), of which {len(wrong)} were "
        "given more than one class.",
        "",
    ]
    if len(wrong):
        lines += [wrong.to_markdown(index=False), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="corpus seeds")
    parser.add_argument("--save", action="store_true", help="write annotation.json and .md")
    options = parser.parse_args()
    agreements, controls = [], []

    def in_new_folder(measure: Callable[[Path], pd.DataFrame], into: list[pd.DataFrame]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            into.append(measure(Path(folder)))

    for seed in options.seeds:
        print(f"corpus seed {seed}", file=sys.stderr)
        in_new_folder(lambda folder, s=seed: measure_agreement(folder, s), agreements)
        for one_state in (True, False):
            in_new_folder(
                lambda folder, s=seed, one=one_state: measure_control(folder, s, one_state=one),
                controls,
            )
    agreement, control = pd.concat(agreements), pd.concat(controls)
    text = write_text(agreement, control)
    print(text)
    if options.save:
        folder = Path(__file__).parent
        (folder / "annotation.md").write_text(text)
        tables = {"agreement": agreement, "controls": control}
        content = {name: json.loads(t.to_json(orient="records")) for name, t in tables.items()}
        (folder / "annotation.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
