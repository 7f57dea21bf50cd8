"""``check`` and ``learn``: a kept detector hears new recordings, without kernel or training."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib import scoring
from asdlib.base import PROJECT_ROOT, InputError, first_few, raise_problems, refuse_unknown
from asdlib.data import ArrayStore, open_waveforms
from asdlib.data.clips import find_recordings, new_clips
from asdlib.monitoring import bundle
from asdlib.monitoring.detector import Detector
from asdlib.report.output import package_versions, progress_bar, say
from asdlib.report.tables import render_verdicts
from asdlib.spectra import KnownRates
from asdlib.workbook.explaining import Explainer, reason_sentences, residual_rows

#: Exit status of ``check`` where a recording was flagged.
FLAGGED = 3
_POLL_S = 2.0
#: Recordings that are heard together; after each such part the log is written.
_AT_ONCE = 256


def add_options(parser: argparse.ArgumentParser, *, is_check: bool) -> argparse.ArgumentParser:
    """Add the options of ``check`` or of ``learn``."""
    parser.add_argument("recordings", type=Path, nargs="*")
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, default=PROJECT_ROOT)
    parser.add_argument("--machine")
    if is_check:
        parser.add_argument("--watch", action="store_true")
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--alarm", default="3/5")
    else:
        parser.add_argument("--domain", choices=("source", "target"), default="source")
        parser.add_argument("--use")
    return parser


def check_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Give verdicts on recordings; the exit status says if one was flagged. See ``help.txt``."""
    options = add_options(parser, is_check=True).parse_args(arguments)
    if not options.recordings:
        raise InputError("check: names no recording. Expected ./run_all.sh check RECORDING ...")
    checker = Checker(options)
    paths = _find(options.recordings, may_be_empty=options.watch)
    is_flagged = bool(paths) and checker.check(paths)
    if options.watch:
        checker.watch(options.recordings, known=paths)
    return FLAGGED if is_flagged else 0


class Checker:
    """A loaded detector with its log, which hears recordings as they come."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._folder = options.out / "bundles" / options.name
        self._k, self._n = _read_alarm(options.alarm)
        self._is_json = options.json
        self._detector, self._facts = bundle.load_bundle(self._folder)
        self._machines = _machines(self._detector, options.machine)

    def check(self, paths: Sequence[Path]) -> bool:
        """Tell and log the verdicts on recordings; whether one is anomalous.

        What cannot be used is refused once the verdicts on all others are told.
        """
        parts: list[pd.DataFrame] = []
        refused: list[str] = []
        for first in range(0, len(paths), _AT_ONCE):
            self._hear(paths[first : first + _AT_ONCE], parts, refused)
        is_flagged = False
        if parts:
            told = pd.concat(parts, ignore_index=True)
            self._tell(scoring.flagged_first(told))
            is_flagged = bool(told["verdict"].eq("anomalous").any())
        try:
            raise_problems(refused)
        except InputError as error:
            if not is_flagged:
                raise
            say(str(error))  # that something was flagged is what the exit status has to say
        return is_flagged

    def _hear(self, paths: Sequence[Path], parts: list[pd.DataFrame], refused: list[str]) -> None:
        """Log and append verdicts, or else why not; what cannot be used is found by halving."""
        try:
            new = new_clips(paths, self._machines, window_s=self._detector.settings["window_s"])
            with heard(self._detector, new) as hearing:
                verdicts = hearing.verdicts.assign(reason=hearing.reasons())
        except InputError as error:
            if len(paths) == 1:
                refused.append(str(error))
                return
            half = len(paths) // 2
            self._hear(paths[:half], parts, refused)
            self._hear(paths[half:], parts, refused)
            return
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        parts.append(verdicts.assign(version=self._facts["version"], checked_at=now))
        bundle.append_verdicts(self._folder / "log.jsonl", parts[-1])

    def watch(self, places: Sequence[Path], *, known: Iterable[Path]) -> None:
        """Check what is new in folders, until Ctrl-C; a file counts once it has stopped growing."""
        done, sizes = set(known), dict[Path, int]()
        say("watching for new recordings; Ctrl-C ends it.")
        while True:
            time.sleep(_POLL_S)
            fresh = {path: path.stat().st_size for path in find_recordings(places)[0]
                     if path not in done}  # fmt: skip
            ready = sorted(path for path, size in fresh.items() if size and sizes.get(path) == size)
            sizes = fresh
            if ready:
                done |= set(ready)
                try:
                    self.check(ready)
                except InputError as error:
                    say(f"passed over: {error}")

    def _tell(self, verdicts: pd.DataFrame) -> None:
        log, damaged = bundle.read_log(self._folder / "log.jsonl")
        if damaged:
            shown = ", ".join(map(str, damaged[:5]))
            say(f"{self._folder / 'log.jsonl'}: lines {shown} cannot be read, passed over.")
        state = bundle.trend(log, k=self._k, n=self._n).drop_duplicates("machine_type", keep="last")
        persists = state[state["is_persistent"]].set_index("machine_type")["since"]
        if self._is_json:
            told = verdicts.assign(alarm_since=verdicts["machine_type"].map(persists))
            sys.stdout.write("\n".join(bundle.json_lines(told)) + "\n")
        else:
            sys.stdout.write(render_verdicts(verdicts))
            for machine, since in persists.items():
                sys.stdout.write(
                    f"ALARM {machine}: at least {self._k} of the last {self._n} recordings are "
                    f"anomalous, since {since}\n"
                )
        sys.stdout.flush()


@dataclass(frozen=True)
class Hearing:
    """What a detector made of new clips."""

    waveforms: ArrayStore
    cache_dir: Path
    described: Any  # as from `Detector.describe`
    verdicts: pd.DataFrame  # with content and path of every clip, reasons still empty
    views: pd.DataFrame  # contributions to the scores
    explainer: Explainer

    def reasons(self) -> pd.Series:
        """Say what was heard in the flagged clips; empty for the others."""
        flagged = self.verdicts[self.verdicts["verdict"].eq("anomalous")]
        said = reason_sentences(
            flagged, self.views, self.waveforms, self.explainer, cache_dir=self.cache_dir
        )
        return pd.Series(said, flagged.index, dtype="str").reindex(
            self.verdicts.index, fill_value=""
        )


@contextmanager
def heard(detector: Detector, new: pd.DataFrame) -> Iterator[Hearing]:
    """Let a detector hear new clips, decoded as its own were.

    What is computed lies in a folder of its own, which is gone with the context.
    """
    with tempfile.TemporaryDirectory(prefix="asdlib_") as folder:
        place = Path(folder)
        waveforms = open_waveforms(new, cache_dir=place, **detector.settings["waveforms"])
        described = detector.describe(waveforms, new, cache_dir=place, progress=progress_bar)
        beside = detector.beside_bank(new, described[0])
        tables = detector.score_beside(*beside, described[1])
        decided = detector.decide(tables.pop("final"))
        views = scoring.with_contributions(tables.values())
        verdicts = scoring.verdict_table(decided, views, detector.thresholds, new)
        verdicts = verdicts.merge(new[["clip_id", "content", "path"]], on="clip_id")
        table, rows = beside
        if described[1]:
            rows = {**rows, scoring.AUTOENCODER: residual_rows(described[1])}
        settings = detector.settings
        known = KnownRates(settings["shaft_rate_hz"], settings["bearing"])
        explainer = Explainer(rows, table, known=known, k=settings["neighbours"])
        if detector.model is not None:
            features = detector.open_features(waveforms, new, cache_dir=place)
            explainer.hear_shifted = partial(detector.hear_shifted, *features)
        yield Hearing(waveforms, place, described, verdicts, views, explainer)


def learn_command(arguments: list[str], parser: argparse.ArgumentParser) -> int:
    """Add normal recordings to a bundle's bank, or go back a version; see ``help.txt``."""
    options = add_options(parser, is_check=False).parse_args(arguments)
    folder = options.out / "bundles" / options.name
    if options.use:
        bundle.use_version(folder, options.use)
        say(f"{folder}: {options.use} is in use.")
        return 0
    if not options.recordings:
        raise InputError("learn: names no recording. Expected ./run_all.sh learn FOLDER ...")
    detector, facts = bundle.load_bundle(folder)
    paths = _find(options.recordings)
    new = new_clips(paths, _machines(detector, options.machine), domain=options.domain,
                    window_s=detector.settings["window_s"])  # fmt: skip
    is_known = new["content"].isin(detector.clips.get("content", pd.Series(dtype=str)))
    if is_known.any():
        n_known, n_all = new.loc[is_known, "path"].nunique(), new["path"].nunique()
        say(f"{n_known} of {n_all} recordings were learnt before: passed over.")
        new = new[~is_known].reset_index(drop=True)
    if new.empty:
        return 0
    # In the bank a clip is named by its content too: the same path may be checked, or learnt anew.
    new["clip_id"] = [
        name.replace("/test/", f"/train/{content}/", 1)
        for name, content in zip(new["clip_id"], new["content"], strict=True)
    ]
    with heard(detector, new) as hearing:
        _tell_what_stands_out(hearing.verdicts)
        extended = detector.extended(new, hearing.described)
    made_from = {
        "learnt": new["recording"].tolist(),
        "version_before": facts["version"],
        "versions": package_versions(),
        "run": facts["made_from"],
    }
    version = bundle.save_bundle(extended, folder, made_from=made_from)
    say(f"{version}: {new['path'].nunique()} recordings learnt, {len(extended.clips)} in the bank. "
        f"--use {facts['version']} goes back.")  # fmt: skip
    return 0


def _tell_what_stands_out(verdicts: pd.DataFrame) -> None:
    """Name what is called normal and sounds anomalous: it will raise the threshold."""
    odd = verdicts[verdicts["verdict"].eq("anomalous")]
    if len(odd):
        say(f"{len(odd)} of {len(verdicts)} sound anomalous so far and will be taken for normal "
            f"from now on: {first_few(odd['recording'].tolist())}")  # fmt: skip


def _find(places: Sequence[Path], *, may_be_empty: bool = False) -> list[Path]:
    """List the recordings that a call names, and tell what is passed over."""
    paths, others = find_recordings(places)
    if not paths and not may_be_empty:
        raise InputError(f"{places[0]}: holds no recording. Expected wav, flac, ...")
    if others:
        say(f"{len(others)} passed over: {first_few(others)}")
    return paths


def _machines(detector: Detector, machine: str | None) -> list[str]:
    if machine is None:
        return detector.machines
    refuse_unknown([machine], detector.machines, "no --machine")
    return [machine]


def _read_alarm(text: str) -> tuple[int, int]:
    k, slash, n = text.partition("/")
    if not (slash and k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise InputError(f"--alarm {text}: expected K/N with 1 <= K <= N, such as 3/5.")
    return int(k), int(n)
