"""Type and range of every parameter of the notebooks, alone and together.

The literals stand in the notebooks' ``parameters`` cells alone; here are no defaults. A notebook,
``--set`` and a sweep file are held to this one declaration.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asdlib.data.scan import machine_types
from asdlib.errors import InputError
from asdlib.workbook.kinds import (
    FLAG,
    TEXT,
    Kind,
    by_machine,
    choice,
    list_of,
    name_among,
    number,
    optional,
    read_whole,
    taken_by,
    whole,
    word,
)

#: Names below ``build/`` that all runs share, and of the committed results.
RESERVED_NAMES = ("cache", "sweeps", "reference")
_LONGEST_NAME = 100
_NAME = re.compile(rf"(?=.*[^\W_])[\w.-]{{1,{_LONGEST_NAME}}}")


def _is_device(name: str) -> bool:
    if not re.fullmatch(r"cuda(:[0-9]+)?", name):
        return name in ("auto", "cpu")
    # Loading torch takes seconds, which whoever asks for its devices has to wait for.
    from asdlib.training.settings import choose_device

    choose_device(name)  # says what is there
    return True


def _is_distinct(entries: list[Any]) -> bool:
    return len(set(entries)) == len(entries)


_POSITIVE = number("above 0", lambda x: x > 0)
_NOT_NEGATIVE = number("of 0 or more", lambda x: x >= 0)
_SHARE = number("from 0 to 1", lambda x: 0 <= x <= 1)
_METHOD = choice("auto", "none", "clusters", "frequencies", "both", "true")
_RUN_NAME = word(
    f"letters, digits, '.', '_' and '-' alone, {_LONGEST_NAME} at most, and not "
    f"{' or '.join(RESERVED_NAMES)}",
    lambda name: bool(_NAME.fullmatch(name)) and name.lower() not in RESERVED_NAMES,
)

PARAMETERS: dict[str, Kind] = {
    # of all notebooks
    "data_dir": word("an existing folder of recordings", lambda path: Path(path).is_dir()),
    "out_dir": TEXT,
    "run_name": _RUN_NAME,
    "machines": list_of(TEXT),
    "workers": whole(0),
    # 01
    "resample": FLAG,
    "channel": Kind(
        "a channel from 0, mean for the mean of all, or -1",
        lambda value: value == "mean" or whole(-1).accepts(value),
        read_whole,
    ),
    "window_s": number("of 1 or more, or 0", lambda x: x == 0 or x >= 1),
    "drawn_machines": whole(1),
    "n_fft": whole(2),
    "hop_length": whole(1),
    "n_mels": whole(1),
    "fmin_hz": _NOT_NEGATIVE,
    "fmax_hz": number("above 0, 8000 at most (half the sample rate)", lambda x: 0 < x <= 8000),
    "duration_s": _POSITIVE,
    "long_clips": choice("start", "centre", "end"),
    "highpass": FLAG,
    "highpass_hz": by_machine(optional(_NOT_NEGATIVE)),
    # 02
    "method": _METHOD,
    "method_by_machine": by_machine(_METHOD),
    "annotation_seed": whole(0),
    # 03
    "seeds": list_of(whole(0), " of one or more, none twice", lambda x: x and _is_distinct(x)),
    "device": word("auto, cpu, cuda or cuda:N", _is_device),
    "stem_channels": whole(1),
    "embedding_dim": whole(2),
    "input_norm": choice("clip", "corpus"),
    "epochs": whole(1),
    "batch_size": whole(2),
    "learning_rate": _POSITIVE,
    "weight_decay": _NOT_NEGATIVE,
    "warmup_epochs": _NOT_NEGATIVE,
    "mixup_probability": _SHARE,
    "branches": choice("one", "two"),
    "spectrum_pool_bins": whole(1),
    "statex_probability": _SHARE,
    "statex_axis": choice("frequency", "time"),
    "featex_probability": _SHARE,
    "noise_mix_probability": _SHARE,
    "noise_mix_snr_db": list_of(
        number(""), " of the lowest and the highest", lambda x: len(x) == 2 and x[0] <= x[1]
    ),
    "scale": choice("dynamic", "fixed"),
    "centres": choice("trainable", "fixed"),
    "sub_clusters": whole(1),
    "average_decay": number("from 0 to below 1", lambda x: 0 <= x < 1),
    "crop_frames": whole(0),
    "use_supplemental": FLAG,
    "ae_epochs": whole(1),
    "ae_batch_size": whole(2),
    "ae_learning_rate": _POSITIVE,
    "ae_min_steps": whole(0),
    # 04
    "neighbours": whole(1),
    "backends": list_of(taken_by("the name of a backend", "asdlib.scoring", "make_backend")),
    "views": list_of(name_among("view", "asdlib.scoring", "VIEWS"), ", none twice", _is_distinct),
    "final_neighbours": whole(1),
    "sensitivity_clips": whole(0),
    "decision_percentile": number("between 0 and 100", lambda x: 0 < x < 100),
    "confidence": number("between 0 and 1", lambda x: 0 < x < 1),
    "n_bootstrap": whole(100),
    "explained_clips": whole(0),
    "explained_neighbours": whole(1),
    "shaft_rate_hz": _NOT_NEGATIVE,
    "bearing": by_machine(
        _NOT_NEGATIVE,
        "{n_balls: 8, ball_diameter: 0.3, pitch_diameter: 1.3, contact_deg: 0}, or {}",
    ),
    "excerpt_s": number("of 0.1 or more", lambda x: x >= 0.1),
    "truth": word(
        "a released eval_data_list_20XX.csv, or nothing",
        lambda path: not path or Path(path).is_file(),
    ),
    "details": FLAG,
    # 05
    "sweeps": list_of(TEXT, " of names, none twice", _is_distinct),
    "runs": list_of(TEXT, " of names, none twice", _is_distinct),
    # 06
    "growth_machine": TEXT,
    "growth_kind": name_among("change", "asdlib.spectra.injection", "INJECTIONS"),
    "growth_days": whole(1),
    "onset_day": whole(1),
    "recordings_per_day": whole(1),
    "alarm_window": whole(1),
    "alarms_a_year": _POSITIVE,
}


def check_parameters(values: Mapping[str, Any], *, where: str, advice: str = "") -> None:
    """Refuse values that make no sense, alone or together; all are named in one message.

    ``where`` stands before each name (``"--set "``), ``advice`` is the last line; at most four are
    told in full.
    """
    own = {name: value for name, value in values.items() if name in PARAMETERS}
    refusals = {name: PARAMETERS[name].refusal(value) for name, value in own.items()}
    found = [f"{where}{name}={values[name]!r}: {said}" for name, said in refusals.items() if said]
    if not found:
        found = [f"{where}{said}" for said in _contradictions(values)]
    if len(found) > 4:
        found[3:] = [f"... and {len(found) - 3} more of this kind."]
    if found:
        raise InputError("\n".join(found + [advice] * bool(advice)))


def check_machine_names(values: Mapping[str, Any], data: Path, *, where: str) -> None:
    """Refuse parameters by machine that name machines which the recordings lack."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name != "bearing":
            there = machine_types(data)
            unknown = sorted(set(value) - set(there))
            if unknown:
                raise InputError(
                    f"{where}{name}: no machine {', '.join(unknown)} in {data}. There are: "
                    f"{', '.join(there)}."
                )


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """Say which values do not go together, as far as they are there."""
    low, high = values.get("fmin_hz", 0), values.get("fmax_hz", math.inf)
    if low >= high:
        yield f"fmin_hz={low}: expected less than fmax_hz={high}."
    for machine, cut in values.get("highpass_hz", {}).items():
        if cut is not None and cut >= high:
            yield f"highpass_hz[{machine}]={cut}: expected less than fmax_hz={high}."
    warmup, epochs = values.get("warmup_epochs", 0), values.get("epochs", math.inf)
    if warmup >= epochs > 1:
        yield f"warmup_epochs={warmup}: expected less than epochs={epochs}."
    share = values.get("featex_probability", 0)
    if share > 0 and values.get("branches", "two") == "one":
        yield f"featex_probability={share}: one branch has nothing to exchange; branches=two has."
    onset, days = values.get("onset_day", 1), values.get("growth_days", math.inf)
    if onset > days:
        yield f"onset_day={onset}: expected a day of growth_days={days}."
    if {"decision_percentile", "alarm_window"} <= set(values):
        yield from _impossible_alarm(values)


def _impossible_alarm(values: Mapping[str, Any]) -> Iterator[str]:
    """Say that no rule of the alarm could keep its promise, which notebook 06 would find."""
    from asdlib.monitoring import choose_k  # brings torch

    try:
        choose_k(
            1 - values["decision_percentile"] / 100, n=values["alarm_window"],
            per_day=values["recordings_per_day"], alarms_a_year=values["alarms_a_year"],
        )  # fmt: skip
    except InputError as error:
        yield f"alarm_window={values['alarm_window']}: {error}"


def read_parameter(name: str, text: Any, *, where: str) -> Any:
    """Read a value from text, or from lists and dictionaries of text, or refuse it."""
    value = PARAMETERS[name].read(text)
    said = PARAMETERS[name].refusal(value)
    if said:
        raise InputError(f"{where}{name}={value!r}: {said}")
    return value


def check_run_name(name: str) -> None:
    """Refuse a run name that could not be a folder's name everywhere."""
    said = _RUN_NAME.refusal(name)
    if said:
        shown = name if len(name) <= _LONGEST_NAME else f"{name[:20]}..."
        raise InputError(f"--name {shown!r}: {said}")
