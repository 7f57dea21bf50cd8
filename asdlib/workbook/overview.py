"""What was understood of a data folder, told before anything runs, and all that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from asdlib.data import scan_clips
from asdlib.data.scan import Scan
from asdlib.data.waveforms import format_problems
from asdlib.errors import InputError, raise_problems

SAMPLE_RATE = 16000
#: A neighbour and a scatter need a second and a third clip.
FEWEST_TRAINING_CLIPS = 3
_MACHINES_TOLD, _PROBLEMS_TOLD, _LINES_OF_AN_ERROR = 20, 20, 4


def check_recordings(
    data: Path,
    machines: list[str] | None,
    settings: Mapping[str, Any],
    *,
    tell: Callable[[str], object],
) -> None:
    """Tell what was understood of the recordings, and refuse what a run could not use.

    Names, headers and lists are read, no sound: about a second for 1,000 clips.

    Parameters
    ----------
    data : Path
        Data folder.
    machines : list of str or None
        Machine types to read; all by default.
    settings : mapping
        ``window_s``, ``resample`` and ``channel`` of notebook 01.
    tell : callable
        Called with the lines.

    Raises
    ------
    InputError
        At most five lines; where there is more to say, it was told before.
    """
    clips, scan = scan_clips(data, machines=machines, window_s=settings["window_s"], refuse=False)
    for line in [*_summary(data, clips, scan), *scan.told()]:
        tell(line)
    decoding = {"resample": settings["resample"], "channel": settings["channel"]}
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
        f"{data}: {scan.layout if not scan.entries else 'as its clips.csv says'}, "
        f"{clips['recording'].nunique()} recordings, machines: {clips['machine_type'].nunique()}"
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
    }


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"
