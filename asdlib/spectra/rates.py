"""Known rates: a frequency named by the shaft it belongs to, or by a fault of its bearing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from asdlib.data.simulate.bearings import BearingGeometry, bearing_frequencies
from asdlib.errors import InputError

#: Slip, and what a plate says of a shaft's rate, leave frequencies unsure by this share.
TOLERANCE = 0.02
#: Highest whole multiple of a shaft rate that is called one: beyond, any frequency is near one.
_HIGHEST_MULTIPLE = 10
_GEOMETRY = ("n_balls", "ball_diameter", "pitch_diameter", "contact_deg")
_PLACES = {
    "bpfo_hz": "outer race, BPFO",
    "bpfi_hz": "inner race, BPFI",
    "bsf_hz": "ball, BSF",
    "ftf_hz": "cage, FTF",
}


@dataclass(frozen=True)
class KnownRates:
    """What a user knows of a machine.

    Attributes
    ----------
    shaft_rate_hz : float
        Revolutions per second [Hz]; 0 for unknown.
    bearing : mapping of str to float
        ``n_balls``, ``ball_diameter``, ``pitch_diameter`` (one unit of length) and
        ``contact_deg`` [°] (0 if left out); empty for unknown.

    Raises
    ------
    InputError
        When the geometry lacks a value or is no bearing's.

    Examples
    --------
    >>> bearing = {"n_balls": 8, "ball_diameter": 0.235, "pitch_diameter": 1.245}
    >>> known = KnownRates(25.0, bearing)
    >>> known.name(119.5), known.name(50.2), known.name(133.0)
    (' (4.8 x shaft rate: inner race, BPFI)', ' (2 x shaft rate)', ' (5.3 x shaft rate)')
    """

    shaft_rate_hz: float = 0.0
    bearing: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a geometry that cannot be one."""
        if not self.bearing:
            return
        missing = [name for name in _GEOMETRY[:3] if name not in self.bearing]
        unknown = sorted(set(self.bearing) - set(_GEOMETRY))
        sizes = [self.bearing.get(name, 0) for name in _GEOMETRY[:3]]
        if missing or unknown or not (sizes[0] >= 1 and 0 < sizes[1] < sizes[2]):
            raise InputError(
                f"bearing={dict(self.bearing)!r}: expected {', '.join(_GEOMETRY)} with 1 ball or "
                "more and 0 < ball_diameter < pitch_diameter."
            )

    def faults(self) -> dict[str, float]:
        """Fault frequencies by what they are called [Hz]; none without shaft rate and bearing."""
        if not (self.shaft_rate_hz and self.bearing):
            return {}
        geometry = BearingGeometry(
            int(self.bearing["n_balls"]),
            self.bearing["ball_diameter"] / self.bearing["pitch_diameter"],
            self.bearing.get("contact_deg", 0.0),
        )
        found = bearing_frequencies(self.shaft_rate_hz, geometry)
        named = {_PLACES[name]: value for name, value in found.items()}
        return {**named, "ball, 2 x BSF": 2 * found["bsf_hz"]}

    def name(self, frequency_hz: float) -> str:
        """Name a frequency, in brackets; empty where the shaft rate is not known."""
        if not self.shaft_rate_hz:
            return ""
        multiple = frequency_hz / self.shaft_rate_hz
        off = {name: abs(math.log(frequency_hz / hz)) for name, hz in self.faults().items()}
        nearest = min(off, key=lambda name: off[name], default="")
        if nearest and off[nearest] <= TOLERANCE:
            return f" ({multiple:.1f} x shaft rate: {nearest})"
        for side, words in ((-1, "less"), (1, "plus")):
            for name, hz in self.faults().items():
                if "race" in name and abs(frequency_hz / (hz + side * self.shaft_rate_hz) - 1) <= (
                    TOLERANCE / 2
                ):
                    return f" ({multiple:.1f} x shaft rate: {name}, {words} the shaft rate)"
        whole = round(multiple)
        if 1 <= whole <= _HIGHEST_MULTIPLE and abs(multiple / whole - 1) <= TOLERANCE:
            return f" ({whole} x shaft rate)"
        return f" ({multiple:.1f} x shaft rate)"
