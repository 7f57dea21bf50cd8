"""Agreement of the automatic annotation with the truth, on simulated corpora it has not seen.

Run ``python benchmarks/annotation.py`` from the root of the repository; ``--save`` writes
``benchmarks/annotation.json`` and ``.md`` after every corpus seed and control, and goes on from
what the first of them holds (``--fresh`` starts anew). For every corpus seed the seven simulated
machines are generated and annotated with all their attributes hidden, by the default rule.
Beside the annotation stand k-means with eight clusters on mean log-mel spectra, and the
annotation shuffled among the clips of a machine. Two controls must give one class each: clips
of one operating state, and clips of all states with the machine 40 dB below the hall.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import benchmark_parser, save  # noqa: E402

from asdlib import annotation, data, spectra  # noqa: E402
from asdlib.base import available_cores  # noqa: E402
from asdlib.data import simulate  # noqa: E402
from asdlib.data.simulate.corpus import render, write_wav  # noqa: E402
from asdlib.data.simulate.machines import ClipPlan, CorpusSize, plan_machine  # noqa: E402
from asdlib.data.store import ArrayStore  # noqa: E402

BELOW_HALL_DB = 40.0
AGREEMENT = "agreement"
CONTROLS = ("one state", f"machine {BELOW_HALL_DB:g} dB below the hall")
Parts = dict[str, list[dict[str, object]]]
#: Their attributes are hidden in every run.
HIDDEN = ("bearingSim", "sliderSim", "ToyTrainSim")


@dataclass(frozen=True)
class Extent:
    """Machines, and clips of each: for the agreement with the truth, and for a control."""

    machines: tuple[str, ...]
    training: CorpusSize
    control: CorpusSize


DEMO = simulate.SIZES["demo"]
WHOLE = Extent(
    tuple(simulate.MACHINES),
    replace(DEMO, test=0),
    CorpusSize(40, 0, 0, DEMO.supplemental),
)
MINIATURE = Extent(HIDDEN[:1], CorpusSize(8, 2, 0, 2), CorpusSize(6, 0, 0, 2))


def write_clip(job: tuple[Path, ClipPlan], *, seed: int, control: str) -> None:
    path, plan = job
    sound = render(plan, seed)
    if control == CONTROLS[1] and plan.kind == "mixed":
        sound = render(replace(plan, kind="clean"), seed)
        hall = render(replace(plan, kind="noise"), seed)
        sound = hall + sound * hall.std() / sound.std() * 10 ** (-BELOW_HALL_DB / 20)
    write_wav(path, sound)


def write_machines(
    folder: Path, seed: int, extent: Extent, control: str, workers: int
) -> pd.DataFrame:
    """Write training and supplemental clips without attributes; return the true ones."""
    jobs, rows = [], []
    for machine in extent.machines:
        plans = plan_machine(machine, extent.control if control else extent.training, seed)
        if control == CONTROLS[0]:
            plans = [replace(plan, state=plans[0].state) for plan in plans]
        for plan in plans:
            name = re.sub(r"(_[0-9]{4})_.*", r"\1_noAttribute.wav", plan.file_name)
            path = folder / machine / plan.split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            jobs.append((path, plan))
            rows.append((path.relative_to(folder).as_posix(), plan.state.attribute))
    write = partial(write_clip, seed=seed, control=control)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(write, jobs, chunksize=20))
    return pd.DataFrame(rows, columns=["clip_id", "attribute"])


def annotate_folder(
    folder: Path, workers: int
) -> tuple[pd.DataFrame, ArrayStore, annotation.Annotation]:
    """Annotate recordings as a run does, with none of their attributes known."""
    clips = data.read_clips(folder)
    clips["attribute"] = pd.Series(pd.NA, clips.index, dtype="string")
    options = {"cache_dir": folder / "cache", "workers": workers}
    waveforms = data.open_waveforms(clips, **options)
    mean_spectra = spectra.open_average_spectra(waveforms, clips, **options)
    choice = spectra.choose_highpass(clips, mean_spectra, fmin=200.0, fmax=8000.0)
    log_mel = spectra.open_log_mel(
        waveforms,
        clips,
        settings=spectra.LogMelSettings(),
        highpass_hz=choice.by_machine(),
        **options,
    )
    found = annotation.annotate(clips, waveforms, log_mel, workers=workers)
    return clips[clips["split"] == "train"], log_mel, found


def measure_agreement(folder: Path, seed: int, extent: Extent, workers: int) -> pd.DataFrame:
    truth = write_machines(folder, seed, extent, "", workers)
    train, log_mel, found = annotate_folder(folder, workers)
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
    evidence = found.evidence.set_index("machine_type")
    for column in ("method", "reason"):
        table[column] = table["machine_type"].map(evidence[column])
    return table.assign(corpus_seed=seed)


def measure_control(
    folder: Path, seed: int, extent: Extent, control: str, workers: int
) -> pd.DataFrame:
    write_machines(folder, seed, extent, control, workers)
    _, _, found = annotate_folder(folder, workers)
    evidence = found.evidence[["machine_type", "n_clips", "method", "n_classes", "reason"]]
    return evidence.assign(control=control, corpus_seed=seed)


def write_text(parts: Parts, extent: Extent) -> str:
    """Both tables in Markdown, the values with their intervals."""
    agreement, controls = (
        pd.DataFrame(
            [row for name, rows in parts.items() if name.startswith(begin) for row in rows]
        )
        for begin in (AGREEMENT, CONTROLS)
    )
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
    hidden_here = [machine for machine in HIDDEN if machine in extent.machines]
    hidden = mean.loc[hidden_here].mean()
    lines = [
        "# Agreement of the automatic annotation with the truth (simulated)",
        "",
        "Demo-size corpora, all attributes hidden; 95 % intervals from halves of the clips. "
        "`method` is what the rule chose. The agreement of target clips alone and "
        "the other measures stand in `annotation.json`.",
        "",
        wide.reset_index().to_markdown(index=False),
        "",
        "Mean NMI over corpus seeds:",
        "",
        mean.reset_index().to_markdown(index=False, floatfmt=".2f"),
        "",
        f"Mean over {', '.join(hidden_here)}, which hide their attributes in every run: "
        + ", ".join(f"{name} {value:.2f}" for name, value in hidden.items())
        + ".",
        "",
    ]
    if len(controls):
        wrong = controls[controls["n_classes"] > 1]
        lines += [
            "# Controls: one class is right",
            "",
            f"{len(controls)} times {extent.control.train_source} clips of one machine; more than "
            f"one class was found {len(wrong)} times.",
            "",
        ]
        lines += [wrong.to_markdown(index=False), ""] if len(wrong) else []
    return "\n".join(lines)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="corpus seeds")
    parser.add_argument("--workers", type=int, default=available_cores())
    parser.add_argument("--fresh", action="store_true", help="forget what was saved before")
    options = parser.parse_args()
    extent = WHOLE
    if options.miniature:
        extent, options.seeds, options.workers = MINIATURE, options.seeds[:1], 1
    parts: Parts = {} if options.fresh else saved_parts(options.save)
    for part in (AGREEMENT, *CONTROLS):
        for seed in options.seeds:
            name = f"{part}, corpus seed {seed}"
            if name in parts:
                continue
            print(name, file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                where = Path(folder), seed, extent
                if part == AGREEMENT:
                    table = measure_agreement(*where, options.workers)
                else:
                    table = measure_control(*where, part, options.workers)
            parts[name] = json.loads(table.to_json(orient="records"))
            save(options.save, "annotation", write_text(parts, extent), parts)
    print(write_text(parts, extent))


def saved_parts(folder: Path | None) -> Parts:
    """Read what was measured before."""
    saved = folder / "annotation.json" if folder else None
    return json.loads(saved.read_text()) if saved and saved.exists() else {}


if __name__ == "__main__":
    main()
