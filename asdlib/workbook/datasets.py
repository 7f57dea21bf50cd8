"""The recordings that a call means: the simulated corpus, a folder, or the challenge's data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asdlib.challenge import (
    EDITIONS,
    SUBSETS,
    Edition,
    Job,
    Source,
    edition,
    eval_list,
    fetch,
    fetch_truth,
    lay_out,
)
from asdlib.data.scan import machine_types
from asdlib.data.simulate import MACHINES, SIZES, finished_machines, write_corpus
from asdlib.errors import InputError
from asdlib.files import PROJECT_ROOT
from asdlib.report.progress import progress_bar, say
from asdlib.workbook.overview import check_recordings

#: Microphone that is used where a recording has two: the one near the machine.
NEAR_CHANNEL = 0
_SUBSETS = {"dev": ("dev",), "eval": ("eval",), "both": SUBSETS}


def split_words(text: str) -> list[str]:
    """Split a list of an option's words."""
    return [word for word in text.split(",") if word]


def corpus_folder(size: str) -> Path:
    """Folder of the project's own simulated corpus of a size."""
    return PROJECT_ROOT / "data" / f"simulated_{size}"


def ensure_corpus(size: str, machines: list[str] | None = None) -> None:
    """Generate what is missing of these machines (default: all) of the simulated corpus."""
    folder = corpus_folder(size)
    there, wanted = finished_machines(folder), set(machines or MACHINES)
    if wanted <= there:
        return
    plan = SIZES[size]
    per_machine = plan.train_source + plan.train_target + 4 * plan.test + plan.supplemental
    with progress_bar(len(wanted | there) * per_machine, "simulated corpus") as bar:
        write_corpus(folder, size=size, machines=sorted(wanted), on_progress=bar.update)


def check_data(data: Path, machines: list[str] | None, settings: Mapping[str, Any] | None) -> None:
    """Tell what was understood of the recordings; refuse what notebook 01 could not use.

    Without its settings only unknown machines are refused.
    """
    there = machine_types(data)
    unknown = sorted(set(machines or []) - set(there))
    if unknown:
        raise InputError(
            f"--machines {','.join(unknown)}: not in {data}. There are: {', '.join(there)}."
        )
    if settings is not None:
        check_recordings(data, machines or None, settings, tell=say)


def no_such_folder(data: Path) -> str:
    """Say that the data folder is not there, and which folders are."""
    place = next(parent for parent in data.absolute().parents if parent.is_dir())
    folders = sorted(path.name for path in place.iterdir() if path.is_dir())
    shown = ", ".join(folders[:10]) + (", ..." if len(folders) > 10 else "")
    return (
        f"--data {data}: expected an existing folder of recordings. "
        f"In {place} there are: {shown or 'no folders'}."
    )


@dataclass(frozen=True)
class Choice:
    """What the options of a call name of the challenge's data."""

    edition: Edition
    subset: str  # ``dev``, ``eval`` or ``both``
    machines: Sequence[str]  # none: all
    extra: Sequence[Edition]  # years that train along
    data_dir: Path

    @property
    def subsets(self) -> tuple[str, ...]:
        """Subsets that are scored."""
        return _SUBSETS[self.subset]

    @property
    def name(self) -> str:
        """Name of the run where none is given."""
        years = "".join(f"+{one.year}" for one in self.extra).replace("+", "_with_")
        return f"{self.edition.name}_{self.subset}{years}"

    @property
    def scored(self) -> list[str]:
        """Machine types that are scored."""
        return self._wanted(self.subsets)

    @property
    def trained_along(self) -> list[str]:
        """Machine types that only train along: with the evaluation set the development's."""
        return self._wanted([name for name in ("dev",) if name not in self.subsets])

    def _wanted(self, subsets: Sequence[str]) -> list[str]:
        names = [name for subset in subsets for name in self.edition.machines[subset]]
        return [name for name in names if not self.machines or name in self.machines]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the challenge's data."""
    parser.add_argument("--subset")
    parser.add_argument("--data-dir", type=Path)


def choose(options: argparse.Namespace, dataset: str) -> Choice:
    """Turn options into a choice; unknown names are refused."""
    subset = options.subset or "dev"
    if subset not in _SUBSETS:
        raise InputError(f"--subset {subset}: there are {', '.join(_SUBSETS)}.")
    extra = [edition(name) for name in getattr(options, "extra_train", None) or []]
    chosen = edition(dataset)
    if chosen in extra:
        raise InputError(f"--extra-train {dataset}: is the data set of the run itself.")
    data_dir = (options.data_dir or PROJECT_ROOT / "data").resolve()
    choice = Choice(chosen, subset, options.machines or [], extra, data_dir)
    along = SUBSETS if subset == "eval" else choice.subsets
    chosen.archives(along, machines=choice.machines)  # refuses unknown machines
    if not choice.scored:
        raise InputError(
            f"--machines {','.join(choice.machines)}: none of them is in the subset {subset} of "
            f"{dataset}. There are: {', '.join(Choice(chosen, subset, [], [], data_dir).scored)}."
        )
    return choice


def bring(
    choice: Choice, view: Path, tell: Callable[[str], object], channel: int | str
) -> dict[str, Any]:
    """Fetch what a run needs, lay out its ``view`` of links, give the parameters that follow.

    These are ``channel`` for recordings with several, ``truth`` where evaluation clips are scored.
    """
    job = _job(tell)
    one = choice.edition
    archives = one.archives(choice.subsets, machines=choice.scored)
    if choice.trained_along:
        archives += one.archives(["dev"], machines=choice.trained_along)
    fetch(one, archives, choice.data_dir, job)
    sources = [Source(one, choice.data_dir, choice.scored, choice.trained_along)]
    for other in choice.extra:
        fetch(other, other.archives(SUBSETS, with_test=False), choice.data_dir, job)
        names = [name for subset in SUBSETS for name in other.machines[subset]]
        sources.append(Source(other, choice.data_dir, (), names, label=f"_{other.year}"))
    for source in sources:
        _try_truth(source.edition, choice.data_dir, job)
    has_channels = any(source.edition.channels > 1 for source in sources)
    lay_out(view, sources, channel=channel if has_channels else None)
    parameters: dict[str, Any] = {"channel": channel} if has_channels else {}
    if "eval" in choice.subsets and one.eval_list is not None:
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
    archives = choice.edition.archives(choice.subsets, machines=choice.machines)
    root = fetch(choice.edition, archives, choice.data_dir, job)
    _try_truth(choice.edition, choice.data_dir, job)
    say(f"{choice.edition.name:<12} complete in {root}")
    return 0


def truth_list(name: str, data_dir: Path, tell: Callable[[str], object]) -> Path:
    """Give the list of true names that ``--truth`` names: an edition's, or a file."""
    if name not in EDITIONS:
        if Path(name).is_file():
            return Path(name)
        raise InputError(
            f"--truth {name}: expected {', '.join(EDITIONS)} or an eval_data_list_20XX.csv."
        )
    chosen = edition(name)
    if chosen.eval_list is not None:
        fetch_truth(chosen, data_dir, _job(tell))
    return eval_list(chosen, data_dir)


@contextmanager
def _bytes_bar(n_bytes: int) -> Iterator[Callable[[int], object]]:
    with progress_bar(n_bytes, "downloading", unit="B", is_scaled=True) as bar:
        yield bar.update


def _job(tell: Callable[[str], object], **options: Any) -> Job:
    return Job(say=tell, open_progress=_bytes_bar, **options)


def _try_truth(one: Edition, data_dir: Path, job: Job) -> None:
    """Fetch the truth; a run can do without and then says what it cannot compute."""
    try:
        fetch_truth(one, data_dir, job)
    except InputError as error:
        job.say(f"{error}\nWithout them, hidden truth stays hidden in the results.")
