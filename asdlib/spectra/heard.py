"""What a view heard: the rows it compared, the sound, the words, and rates that a user knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal

from asdlib.base import InputError
from asdlib.data.audio import FULL_SCALE
from asdlib.data.simulate.bearings import BearingGeometry, bearing_frequencies
from asdlib.spectra.characteristic import Family, characteristic_frequencies
from asdlib.spectra.envelope import Array, Band
from asdlib.spectra.logmel import LogMelTransform
from asdlib.spectra.profiles import band_centres_hz, profile_settings

#: Scores (n,) of a clip whose mel bands are shifted by (n, n_mels) [dB].
Rescore = Callable[[Array], Array]
#: A band ends where the smoothed difference is under this share of its peak.
_BAND_SHARE = 0.5
#: A level that strays from its median by this share of the farthest is an event of its own.
_EVENT_SHARE, _EVENT_DEVIATIONS = 0.6, 4.0
#: More events than this are a texture, not events.
_MOST_EVENTS = 12
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
    """What a user knows of a machine: a frequency is named by its shaft, or a fault of its bearing.

    ``bearing`` (empty: unknown): ``n_balls``, ``ball_diameter``, ``pitch_diameter`` (one unit of
    length), ``contact_deg`` [°] (0 if left out); an `InputError` where it is none.

    Examples
    --------
    >>> bearing = {"n_balls": 8, "ball_diameter": 0.235, "pitch_diameter": 1.245}
    >>> known = KnownRates(25.0, bearing)
    >>> known.name(119.5), known.name(50.2), known.name(133.0)
    (' (4.8 x shaft rate: inner race, BPFI)', ' (2 x shaft rate)', ' (5.3 x shaft rate)')
    """

    shaft_rate_hz: float = 0.0  # for unknown
    bearing: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_balls, ball, pitch = (self.bearing.get(name, 0) for name in _GEOMETRY[:3])
        is_one = n_balls >= 1 and 0 < ball < pitch and set(self.bearing) <= set(_GEOMETRY)
        if self.bearing and not is_one:
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
        multiple, faults = frequency_hz / self.shaft_rate_hz, self.faults()
        off = {name: abs(math.log(frequency_hz / hz)) for name, hz in faults.items()}
        nearest = min(off, key=lambda name: off[name], default="")
        if nearest and off[nearest] <= TOLERANCE:
            return f" ({multiple:.1f} x shaft rate: {nearest})"
        for side, words in ((-1, "less"), (1, "plus")):
            for name, hz in faults.items():
                beside = frequency_hz / (hz + side * self.shaft_rate_hz)
                if "race" in name and abs(beside - 1) <= TOLERANCE / 2:
                    return f" ({multiple:.1f} x shaft rate: {name}, {words} the shaft rate)"
        whole = round(multiple)
        if 1 <= whole <= _HIGHEST_MULTIPLE and abs(multiple / whole - 1) <= TOLERANCE:
            return f" ({whole} x shaft rate)"
        return f" ({multiple:.1f} x shaft rate)"


@dataclass(frozen=True)
class Picture:
    """The rows that were compared, over frequency, and where they differ."""

    x_hz: Array  # (n,)
    clip: Array  # (n,), the clip's values
    normal: Array  # (n_neighbours, n), those of its nearest normal clips
    x_label: str  # with units, as the other
    y_label: str
    marks_hz: tuple[float, ...] = ()  # lines to be marked
    band_hz: Band | None = None  # stretch to be shaded
    is_logarithmic: bool = True  # whether x_hz is


@dataclass(frozen=True)
class Reason:
    """What a view heard in a clip, in one sentence and one picture."""

    view: str
    sentence: str
    values: dict[str, float]  # of the sentence, such as ``frequency_hz``; none without a cause
    picture: Picture
    band_hz: Band  # part of the clip's spectrogram that is meant [Hz]
    at_s: float | None = None  # moment that is meant; None where it is the whole clip


class Sound:
    """A clip's own samples, and its spectrogram as the profiles see it."""

    def __init__(self, samples: npt.ArrayLike, sample_rate: float) -> None:
        given = np.asarray(samples)
        is_whole = np.issubdtype(given.dtype, np.integer)
        self.samples: Array = given / FULL_SCALE if is_whole else given.astype(np.float64)
        self.sample_rate = float(sample_rate)
        self.settings = profile_settings(self.sample_rate)
        self.centres_hz = np.asarray(band_centres_hz(self.settings), np.float64)
        self.frame_rate_hz = self.sample_rate / self.settings.hop_length

    @cached_property
    def level_db(self) -> Array:
        """Log-mel spectrogram, shape (n_mels, n_frames) [dB re 1]."""
        level = np.empty((self.settings.n_mels, self.settings.n_frames(len(self.samples))))
        LogMelTransform(self.settings).write_clip(self.samples.astype(np.float32), level)
        return level


@dataclass(frozen=True)
class Heard:
    """What a view compared, as in `asdlib.spectra.reasons.find_reason`."""

    view: str
    row: Array
    normal: Array
    sound: Sound
    scatter: Array | None  # none of a view that compares directions
    known: KnownRates
    rescore: Rescore | None

    def reason(
        self,
        sentence: str,
        picture: Picture,
        band: Band,
        *,
        at_s: float | None = None,
        **values: float | None,
    ) -> Reason:
        """Make the reason; a value that is None is not in the sentence."""
        values |= {"at_s": at_s} if values else {}
        told = {name: value for name, value in values.items() if value is not None}
        return Reason(self.view, sentence, told, picture, band, at_s)

    def picture(
        self, part: slice, x_hz: Array, y_label: str, x_label: str = "Frequency [Hz]", **drawn: Any
    ) -> Picture:
        """Make the picture of a part of the rows; ``drawn`` are further fields of `Picture`."""
        return Picture(x_hz, self.row[part], self.normal[:, part], x_label, y_label, **drawn)

    def families(self, band: Band, **options: Any) -> list[Family]:
        """Find what repeats in a band of the clip, see `characteristic_frequencies`."""
        return characteristic_frequencies(
            self.sound.samples, sr=self.sound.sample_rate, bands_hz=[band],
            shaft_rate_hz=self.known.shaft_rate_hz or None, **options,
        )  # fmt: skip

    @property
    def excess(self) -> Array:
        """Clip less mean of the normals [unit of the row]."""
        return np.asarray(self.row - self.normal.mean(axis=0))

    @property
    def difference(self) -> Array:
        """The difference as the metric counts it: in scatters, or of equally long rows."""
        if self.scatter is not None:
            return self.excess / self.scatter
        mean = self.normal.mean(axis=0)
        length = max(float(np.linalg.norm(self.row)), 1e-12)
        return np.asarray(self.row * (np.linalg.norm(mean) / length) - mean)


def hertz(band: Band) -> str:
    """Name a band: "250 to 500 Hz", "2 to 4 kHz"."""
    low, high = band
    digits = 2 if high > 1.1 * low else 3
    if high < 1000:
        below, above = (f"{edge:.{3 if edge >= 100 else digits}g}" for edge in band)
        return f"{below} to {above} Hz"
    below = f"{low:.0f} Hz" if low < 300 else f"{low / 1000:.{digits}g}"
    return f"{below} to {high / 1000:.{digits}g} kHz"


def more_or_less(decibel: float, more: str, less: str) -> str:
    """Word a difference of level: "6 dB louder"."""
    digits = 0 if abs(decibel) >= 0.95 else 1
    return f"{abs(decibel):.{digits}f} dB {more if decibel > 0 else less}"


def beside_normal(decibel: float) -> str:
    """Word a difference to the normal clips: "6 dB above the normal clips"."""
    side = "above" if decibel > 0 else "below"
    return f"{abs(decibel):.0f} dB {side} the normal clips"


def run_around(peak: int, excess: Array) -> slice:
    """Neighbouring values that differ in the same direction by half as much as a peak or more."""
    own = np.sign(excess[peak]) * excess
    smooth = ndimage.uniform_filter1d(own, 3, mode="nearest")
    above = smooth >= _BAND_SHARE * max(smooth[peak], 1e-12)
    labels, _ = ndimage.label(above)
    strong = above & (labels == labels[peak]) & (own >= _BAND_SHARE * smooth[peak])
    members = np.flatnonzero(strong) if above[peak] and strong.any() else np.array([peak])
    return slice(int(members[0]), int(members[-1]) + 1)


def band_of(centres_hz: Array, run: slice) -> Band:
    """Edges of a run of mel bands [Hz]: half-way to the next band."""
    between = (centres_hz[1:] + centres_hz[:-1]) / 2
    edges = [float(centres_hz[0]), *between.tolist(), float(centres_hz[-1])]
    return edges[run.start], edges[run.stop]


def band_values(band: Band, level_db: float) -> dict[str, float]:
    """Numbers of a sentence about a band."""
    return {"low_hz": band[0], "high_hz": band[1], "level_db": level_db}


def strongest_event(sound: Sound, run: slice) -> tuple[str, float | None]:
    """Find when a band's level strays most from its median: in words ("... : "), and when [s].

    Nothing where it strays by less than four robust standard deviations.
    """
    level = sound.level_db[run].mean(axis=0)
    stray = level - np.median(level)
    place = int(np.abs(stray).argmax())
    farthest = float(abs(stray[place]))
    if farthest <= _EVENT_DEVIATIONS * 1.4826 * float(np.median(np.abs(stray))):
        return "", None
    sign = np.sign(stray[place])
    _, count = ndimage.label(sign * stray >= _EVENT_SHARE * farthest)
    what, at_s = "burst" if sign > 0 else "dropout", place / sound.frame_rate_hz
    number = f"{count} {what}s" if count <= _MOST_EVENTS else f"many {what}s"
    moment = f"a {what} at" if count == 1 else f"{number}, the strongest at"
    side = "above" if sign > 0 else "below"
    return f"{moment} {at_s:.1f} s, {farthest:.0f} dB {side} the median level: ", at_s


def line_in(sound: Sound, band: Band) -> tuple[float, float]:
    """Highest line of the clip's own spectrum in a band [Hz], and its height [dB].

    The height is that over the median of the lines within half an octave.
    """
    n_samples = len(sound.samples)
    spectrum = fft.rfft(sound.samples * signal.get_window("blackmanharris", n_samples))
    power, spacing_hz = np.abs(spectrum) ** 2, sound.sample_rate / n_samples
    peak_hz, highest = highest_line(power, spacing_hz, band)
    around = slice(*(int(peak_hz * factor / spacing_hz) for factor in (0.84, 1.19)))
    return peak_hz, float(10 * np.log10(highest / max(float(np.median(power[around])), 1e-300)))


def highest_line(power: Array, spacing_hz: float, band: Band) -> tuple[float, float]:
    """Place of the highest line within a band, between lines by its neighbours [Hz]; its power."""
    first = max(1, round(band[0] / spacing_hz))
    last = min(len(power) - 1, max(round(band[1] / spacing_hz) + 1, first + 1))
    if last <= first:
        return float(np.mean(band)), float(power[-1])
    place = first + int(power[first:last].argmax())
    nearby = power[place - 1 : place + 2]
    low, middle, high = np.log(nearby + 1e-300)
    bend = low - 2 * middle + high
    shift = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return float((place + shift) * spacing_hz), float(nearby.max())
