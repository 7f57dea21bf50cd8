"""Type and range of every parameter of the notebooks, alone and together.

The literals stand in the notebooks' ``parameters`` cells alone; here are no defaults. A notebook,
``--set`` and a sweep file are held to this one declaration. In text a number is what C and JSON
take for one: ``1e-3`` is, ``032``, ``1_0``, ``0x10`` and ``inf`` are not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from asdlib.base import InputError, refuse_unknown
from asdlib.data.scan import machine_types

#: Names below ``build/`` that all runs share, and of the committed results.
RESERVED_NAMES = ("cache", "sweeps", "reference")
_LONGEST_NAME = 100
_NAME = re.compile(rf"(?=.*[^\W_])[\w.-]{{1,{_LONGEST_NAME}}}")
_LARGEST = 2**53  # whole numbers beyond are not told apart as floating-point numbers
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_FLAGS = {"true": True, "True": True, "false": False, "False": False}
_NOTHING = ("null", "None", "~")


@dataclass(frozen=True)
class Kind:
    """What a parameter may be: ``expected`` in words.

    ``read`` gives back the text that it cannot read, which ``accepts`` then refuses.
    """

    expected: str
    accepts: Callable[[Any], bool]
    read: Callable[[Any], Any] = str

    def refusal(self, value: Any) -> str | None:
        """Say what was expected of a value that is refused."""
        try:
            return None if self.accepts(value) else f"expected {self.expected}."
        except InputError as error:
            return str(error)


def read_whole(text: Any) -> Any:
    """Read a whole number, or give back what is none."""
    return int(text) if isinstance(text, str) and _WHOLE.fullmatch(text) else text


def _whole(lowest: int) -> Kind:
    return Kind(
        f"a whole number, {lowest} or more",
        lambda value: type(value) is int and lowest <= value <= _LARGEST,
        read_whole,
    )


def _number(words: str, is_in: Callable[[float], bool] = lambda _: True) -> Kind:
    def read(text: Any) -> Any:
        return float(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else text

    def accepts(value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and is_in(value)

    return Kind(f"a number {words}".rstrip(), accepts, read)


def _word(expected: str, accepts: Callable[[str], bool] = lambda _: True) -> Kind:
    return Kind(expected, lambda value: type(value) is str and accepts(value))


def _choice(*names: str) -> Kind:
    return _word(" or ".join(names), lambda name: name in names)


def _known_to(room: str, what: str, names: str) -> Kind:
    """Name among a room's, or that its function takes; the room is loaded when it is asked for."""

    def accepts(name: str) -> bool:
        known = getattr(import_module(room), names)
        if callable(known):
            known(name)  # raises, and says what there is
        elif name not in known:
            raise InputError(f"{what} {name!r}: expected one of {', '.join(known)}.")
        return True

    return _word(f"the name of a {what}", accepts)


def _optional(kind: Kind) -> Kind:
    return Kind(
        f"{kind.expected}, or null",
        lambda value: value is None or kind.accepts(value),
        lambda text: None if text in _NOTHING else kind.read(text),
    )


def _list_of(kind: Kind, words: str = "", accepts: Callable[[Any], bool] = lambda _: True) -> Kind:
    """List of a kind; text without brackets is a list of one."""
    return Kind(
        f"a list{words}, each entry {kind.expected}",
        lambda value: type(value) is list and all(map(kind.accepts, value)) and accepts(value),
        lambda text: [kind.read(entry) for entry in (text if isinstance(text, list) else [text])],
    )


def _by_name(kind: Kind, expected: str = "") -> Kind:
    """Values of a kind by names, of machines if not ``expected`` otherwise."""

    def accepts(value: Any) -> bool:
        return type(value) is dict and all(
            type(name) is str and kind.accepts(entry) for name, entry in value.items()
        )

    def read(text: Any) -> Any:
        is_dict = isinstance(text, dict)
        return {name: kind.read(entry) for name, entry in text.items()} if is_dict else text

    return Kind(expected or f"{{machine: {kind.expected}}}", accepts, read)


def _is_device(name: str) -> bool:
    if not re.fullmatch(r"cuda(:[0-9]+)?", name):
        return name in ("auto", "cpu")
    # Loading torch takes seconds, which whoever asks for its devices has to wait for.
    from asdlib.base import choose_device

    choose_device(name)  # says what is there
    return True


def _is_distinct(entries: list[Any]) -> bool:
    return len(set(entries)) == len(entries)


def _all(names: str, kind: Kind) -> dict[str, Kind]:
    return dict.fromkeys(names.split(), kind)


_FLAG = Kind(
    "true or false",
    lambda value: type(value) is bool,
    lambda text: _FLAGS.get(text, text) if isinstance(text, str) else text,
)
_TEXT = _word("a text")
_POSITIVE = _number("above 0", lambda x: x > 0)
_NOT_NEGATIVE = _number("of 0 or more", lambda x: x >= 0)
_SHARE = _number("from 0 to 1", lambda x: 0 <= x <= 1)
_METHOD = _choice("auto", "none", "clusters", "frequencies", "both", "true")
_RUN_NAME = _word(
    f"letters, digits, '.', '_' and '-' alone, {_LONGEST_NAME} at most, and not "
    f"{' or '.join(RESERVED_NAMES)}",
    lambda name: bool(_NAME.fullmatch(name)) and name.lower() not in RESERVED_NAMES,
)

PARAMETERS: dict[str, Kind] = {
    "data_dir": _word("an existing folder of recordings", lambda path: Path(path).is_dir()),
    "run_name": _RUN_NAME,
    **_all("out_dir growth_machine", _TEXT),
    "machines": _list_of(_TEXT),
    **_all("sweeps runs", _list_of(_TEXT, " of names, none twice", _is_distinct)),
    "truth": _word(
        "a released eval_data_list_20XX.csv, or nothing",
        lambda path: not path or Path(path).is_file(),
    ),
    **_all("resample highpass use_supplemental details", _FLAG),
    "channel": Kind(
        "a channel from 0, mean for the mean of all, or -1",
        lambda value: value == "mean" or _whole(-1).accepts(value),
        read_whole,
    ),
    "seeds": _list_of(_whole(0), " of one or more, none twice", lambda x: x and _is_distinct(x)),
    **_all("workers annotation_seed crop_frames ae_min_steps companions_below", _whole(0)),
    **_all("sensitivity_clips explained_clips", _whole(0)),
    **_all("drawn_machines hop_length n_mels stem_channels epochs ae_epochs", _whole(1)),
    **_all("spectrum_pool_bins sub_clusters", _whole(1)),
    **_all("neighbours final_neighbours explained_neighbours", _whole(1)),
    **_all("growth_days onset_day recordings_per_day alarm_window", _whole(1)),
    **_all("n_fft embedding_dim batch_size ae_batch_size", _whole(2)),
    "n_bootstrap": _whole(100),
    **_all("duration_s learning_rate ae_learning_rate alarms_a_year", _POSITIVE),
    **_all("fmin_hz weight_decay warmup_epochs shaft_rate_hz", _NOT_NEGATIVE),
    **_all("mixup_probability statex_probability", _SHARE),
    **_all("featex_probability noise_mix_probability", _SHARE),
    "average_decay": _number("from 0 to below 1", lambda x: 0 <= x < 1),
    "confidence": _number("between 0 and 1", lambda x: 0 < x < 1),
    "decision_percentile": _number("between 0 and 100", lambda x: 0 < x < 100),
    "window_s": _number("of 1 or more, or 0", lambda x: x == 0 or x >= 1),
    "excerpt_s": _number("of 0.1 or more", lambda x: x >= 0.1),
    "fmax_hz": _number("above 0, 8000 at most (half the sample rate)", lambda x: 0 < x <= 8000),
    "noise_mix_snr_db": _list_of(
        _number(""), " of the lowest and the highest", lambda x: len(x) == 2 and x[0] <= x[1]
    ),
    "highpass_hz": _by_name(_optional(_NOT_NEGATIVE)),
    "bearing": _by_name(
        _NOT_NEGATIVE,
        "{n_balls: 8, ball_diameter: 0.3, pitch_diameter: 1.3, contact_deg: 0}, or {}",
    ),
    "method": _METHOD,
    "method_by_machine": _by_name(_METHOD),
    "device": _word("auto, cpu, cuda or cuda:N", _is_device),
    "long_clips": _choice("start", "centre", "end"),
    "input_norm": _choice("clip", "corpus"),
    "branches": _choice("one", "two"),
    "statex_axis": _choice("frequency", "time"),
    "scale": _choice("dynamic", "fixed"),
    "centres": _choice("trainable", "fixed"),
    "backends": _list_of(_known_to("asdlib.scoring", "backend", "make_backend")),
    "views": _list_of(_known_to("asdlib.scoring", "view", "VIEWS"), ", none twice", _is_distinct),
    "growth_kind": _known_to("asdlib.spectra.injection", "change", "INJECTIONS"),
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
            refuse_unknown(value, machine_types(data), f"{where}{name}: no machine", f" in {data}")


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
    if not {"decision_percentile", "alarm_window"} <= set(values):
        return
    from asdlib.monitoring import choose_k  # brings torch

    try:  # notebook 06 would find that no rule of the alarm can keep its promise
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
