"""The recordings that a call means: the simulated corpus, a folder, or the challenge's data.

What was understood of them is told before anything runs, and all that is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib import challenge
from asdlib.base import PROJECT_ROOT, InputError, first_few, raise_problems, refuse_unknown
from asdlib.data import scan_clips
from asdlib.data.scan import Scan, machine_types
from asdlib.data.simulate import MACHINES, SIZES, finished_machines, write_corpus
from asdlib.data.waveforms import format_problems
from asdlib.report.output import progress_bar, say

#: Microphone that is used where a recording has two: the one near the machine.
NEAR_CHANNEL = 0
SAMPLE_RATE = 16000
#: A neighbour and a scatter need a second and a third clip.
FEWEST_TRAINING_CLIPS = 3
_MACHINES_TOLD, _PROBLEMS_TOLD, _LINES_OF_AN_ERROR = 20, 20, 4
_SUBSETS = {"dev": ("dev",), "eval": ("eval",), "both": challenge.SUBSETS}


def split_words(text: str) -> list[str]:
    """Split a list of an option's words."""
    return [word for word in text.split(",") if word]


def corpus_folder(size: str) -> Path:
    """Folder of the project's own simulated corpus of a size."""
    return PROJECT_ROOT / "data" / f"simulated_{size}"


def ensure_corpus(size: str, machines: list[str] | None = None) -> Path:
    """Generate what is missing of these machines (default: all) of the simulated corpus."""
    folder = corpus_folder(size)
    there, wanted = finished_machines(folder), set(machines or MACHINES)
    if not wanted <= there:
        plan = SIZES[size]
        per_machine = plan.train_source + plan.train_target + 4 * plan.test + plan.supplemental
        with progress_bar(len(wanted | there) * per_machine, "simulated corpus") as count:
            write_corpus(folder, size=size, machines=sorted(wanted), on_progress=count)
    return folder


def require_folder(data: Path) -> None:
    """Refuse a data folder that is not there, and say which folders are."""
    if data.is_dir():
        return
    place = next(parent for parent in data.absolute().parents if parent.is_dir())
    folders = sorted(path.name for path in place.iterdir() if path.is_dir())
    raise InputError(
        f"--data {data}: expected an existing folder of recordings. "
        f"In {place} there are: {first_few(folders, 10) or 'no folders'}."
    )


def check_recordings(
    data: Path,
    machines: list[str] | None,
    settings: Mapping[str, Any] | None,
    *,
    tell: Callable[[str], object] = say,
) -> None:
    """Tell what was understood of the recordings, and refuse what a run could not use.

    Names, headers and lists are read, no sound: about a second for 1,000 clips. No ``machines`` are
    all; ``settings`` has notebook 01's ``window_s``, ``resample`` and ``channel``, without them
    only unknown machines are refused; ``tell`` is called with every line. The `InputError` has five
    lines at most: where there is more to say, it was told before.
    """
    if settings is None:
        machine_types(data, machines or None)
        return
    window_s = settings["window_s"]
    clips, scan = scan_clips(data, machines=machines or None, window_s=window_s, refuse=False)
    for line in [*_summary(data, clips, scan), *scan.told()]:
        tell(line)
    decoding = {name: settings[name] for name in ("resample", "channel")}
    problems = [*scan.problems, *format_problems(clips, sample_rate=SAMPLE_RATE, **decoding)]
    n_train = clips[clips["split"] == "train"].groupby("machine_type").size()
    problems += [
        f"{name}: {n} training clips, expected at least {FEWEST_TRAINING_CLIPS}. Record more, or "
        "leave the machine out (--machines)."
        for name, n in n_train[n_train < FEWEST_TRAINING_CLIPS].items()
    ]
    if len(problems) <= _LINES_OF_AN_ERROR:
        raise_problems(problems, what="things")
        return
    for problem in problems[:_PROBLEMS_TOLD]:
        tell(f"- {problem}")
    more = len(problems) - _PROBLEMS_TOLD
    raise InputError(
        f"{data}: {len(problems)} things cannot be used; they are listed above"
        f"{f' but for {more}' if more > 0 else ''}. Nothing was run."
    )


def _summary(data: Path, clips: pd.DataFrame, scan: Scan) -> list[str]:
    """Give a table with a line per machine, and what was cut into windows."""
    lines = [
        f"{data}: {scan.layout}, {clips['recording'].nunique()} recordings, "
        f"machines: {clips['machine_type'].nunique()}"
    ]
    if clips.empty:
        return lines
    seconds = clips["n_samples"] / clips["sample_rate"]
    by_machine = clips.assign(seconds=seconds).groupby("machine_type")
    rows = [_understood(str(name), own) for name, own in by_machine]
    table = pd.DataFrame(rows[:_MACHINES_TOLD])
    lines += table.to_string(index=False, justify="left").splitlines()
    if len(rows) > _MACHINES_TOLD:
        lines.append(f"... and {len(rows) - _MACHINES_TOLD} more machines")
    cut = clips[clips["recording"].duplicated(keep=False)]
    if len(cut):
        lines.append(
            f"{cut['recording'].nunique()} long recordings are heard whole, in {len(cut)} windows "
            f"of {seconds[cut.index].min():.1f} to {seconds[cut.index].max():.1f} s (window_s)"
        )
    return lines


def _understood(machine_type: str, clips: pd.DataFrame) -> dict[str, str]:
    """One machine's line."""
    counts = clips["split"].value_counts()
    length_s = clips.groupby("recording")["seconds"].sum()
    domains = clips["domain"].fillna("hidden").value_counts()
    conditions = clips.loc[clips["split"] == "test", "is_anomaly"]
    days = clips["recorded_at"].dropna().str[:10]
    return {
        "machine": machine_type,
        **{split: str(counts.get(split, 0)) for split in ("train", "test", "supplemental")},
        "known anomalous": f"{conditions.sum()} of {conditions.notna().sum()}",
        "recordings": str(len(length_s)),
        "length [s]": _span(f"{length_s.min():.1f}", f"{length_s.max():.1f}"),
        "rate [Hz]": ", ".join(map(str, sorted(set(clips["sample_rate"])))),
        "channels": ", ".join(map(str, sorted(set(clips["channels"])))),
        "domains": ", ".join(f"{name} {n}" for name, n in domains.items()),
        "recorded": _span(days.min(), days.max()) if len(days) else "unknown",
        "sessions": str(clips["session"].nunique() or "unknown"),
    }


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


@dataclass(frozen=True)
class Choice:
    """What the options of a call name of the challenge's data."""

    edition: challenge.Edition
    subset: str  # ``dev``, ``eval`` or ``both``
    machines: Sequence[str]  # none: all
    extra: Sequence[challenge.Edition]  # years that train along
    data_dir: Path

    @property
    def name(self) -> str:
        """Name of the run where none is given."""
        years = "".join(f"+{one.year}" for one in self.extra).replace("+", "_with_")
        return f"{self.edition.name}_{self.subset}{years}"

    @property
    def scored(self) -> list[str]:
        """Machine types that are scored."""
        return self._chosen_of(_SUBSETS[self.subset])

    @property
    def trained_along(self) -> list[str]:
        """Machine types that only train along: with the evaluation set the development's."""
        return self._chosen_of(["dev"] if self.subset == "eval" else [])

    def _chosen_of(self, subsets: Sequence[str]) -> list[str]:
        names = [name for subset in subsets for name in self.edition.machines[subset]]
        return [name for name in names if not self.machines or name in self.machines]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the challenge's data."""
    parser.add_argument("--subset")
    parser.add_argument("--data-dir", type=Path)


def choose(options: argparse.Namespace, dataset: str) -> Choice:
    """Turn options into a choice; unknown names are refused."""
    subset = options.subset or "dev"
    refuse_unknown([subset], _SUBSETS, "no --subset")
    extra = [challenge.edition(name) for name in getattr(options, "extra_train", None) or []]
    chosen = challenge.edition(dataset)
    if chosen in extra:
        raise InputError(f"--extra-train {dataset}: is the data set of the run itself.")
    data_dir = (options.data_dir or PROJECT_ROOT / "data").resolve()
    choice = Choice(chosen, subset, options.machines or [], extra, data_dir)
    along = _SUBSETS["both" if subset == "eval" else subset]
    chosen.archives(along, machines=choice.machines)  # refuses unknown machines
    if not choice.scored:
        raise InputError(
            f"--machines {','.join(choice.machines)}: none of them is in the subset {subset} of "
            f"{dataset}. There are: {', '.join(Choice(chosen, subset, [], [], data_dir).scored)}."
        )
    return choice


def bring(choice: Choice, view: Path, channel: int | str) -> dict[str, Any]:
    """Fetch what a run needs, lay out its ``view`` of links, give the parameters that follow.

    These are ``channel`` for recordings with several, ``truth`` where evaluation clips are scored.
    """
    job, subsets = _job(say), _SUBSETS[choice.subset]
    one = choice.edition
    archives = one.archives(subsets, machines=choice.scored)
    if choice.trained_along:
        archives += one.archives(["dev"], machines=choice.trained_along)
    challenge.fetch(one, archives, choice.data_dir, job)
    sources = [challenge.Source(one, choice.data_dir, choice.scored, choice.trained_along)]
    for other in choice.extra:
        challenge.fetch(
            other, other.archives(challenge.SUBSETS, with_test=False), choice.data_dir, job
        )
        names = [name for subset in challenge.SUBSETS for name in other.machines[subset]]
        sources.append(challenge.Source(other, choice.data_dir, (), names, label=f"_{other.year}"))
    for source in sources:
        _try_truth(source.edition, choice.data_dir, job)
    has_channels = any(source.edition.channels > 1 for source in sources)
    challenge.lay_out(view, sources, channel=channel if has_channels else None)
    parameters: dict[str, Any] = {"channel": channel} if has_channels else {}
    if "eval" in subsets and one.eval_list is not None:
        truth = choice.data_dir / one.folder / "truth" / one.eval_list
        parameters["truth"] = str(truth) if truth.exists() else ""
    return parameters


def fetch_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Fetch an edition and say where it is."""
    parser.add_argument("dataset")
    parser.add_argument("--machines", type=split_words)
    parser.add_argument("--keep-archives", action="store_true")
    add_options(parser)
    options = parser.parse_args(arguments)
    choice = choose(options, options.dataset)
    job = _job(say, keep_archives=options.keep_archives)
    archives = choice.edition.archives(_SUBSETS[choice.subset], machines=choice.machines)
    root = challenge.fetch(choice.edition, archives, choice.data_dir, job)
    _try_truth(choice.edition, choice.data_dir, job)
    say(f"{choice.edition.name:<12} complete in {root}")
    return 0


def truth_list(name: str, data_dir: Path) -> Path:
    """Give the list of true names that ``--truth`` names: an edition's, or a file."""
    if name not in challenge.EDITIONS:
        if Path(name).is_file():
            return Path(name)
        known = ", ".join(challenge.EDITIONS)
        raise InputError(f"--truth {name}: expected {known} or an eval_data_list_20XX.csv.")
    chosen = challenge.edition(name)
    if chosen.eval_list is not None:
        challenge.fetch_truth(chosen, data_dir, _job(lambda line: None))
    return challenge.eval_list(chosen, data_dir)


def _job(tell: Callable[[str], object], **options: Any) -> challenge.Job:
    bar = partial(progress_bar, description="downloading", unit="B", is_scaled=True)
    return challenge.Job(say=tell, open_progress=bar, **options)


def _try_truth(one: challenge.Edition, data_dir: Path, job: challenge.Job) -> None:
    """Fetch the truth; a run can do without and then says what it cannot compute."""
    try:
        challenge.fetch_truth(one, data_dir, job)
    except InputError as error:
        job.say(f"{error}\nWithout them, hidden truth stays hidden in the results.")
