"""What a view heard: the rows that it compared, the clip's sound, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage, signal

from asdlib.data.audio import FULL_SCALE
from asdlib.spectra.characteristic import characteristic_frequencies
from asdlib.spectra.envelope import Array, Band
from asdlib.spectra.logmel import ClipTransform
from asdlib.spectra.mel import band_centres_hz
from asdlib.spectra.profiles import profile_settings
from asdlib.spectra.rates import KnownRates

#: Scores (n,) of a clip whose mel bands are shifted by (n, n_mels) [dB].
Rescore = Callable[[Array], Array]
#: A band ends where the smoothed difference is under this share of its peak.
_BAND_SHARE = 0.5
#: A level that strays from its median by this share of the farthest is an event of its own.
_EVENT_SHARE, _EVENT_DEVIATIONS = 0.6, 4.0
#: A rhythm is looked for in a band at least so wide [Hz], and told from this modulation on.
_RHYTHM_BAND_HZ, _DEEP_MODULATION = 500.0, 0.3
#: More events than this are a texture, not events.
_MOST_EVENTS = 12


@dataclass(frozen=True)
class Picture:
    """The rows that were compared, over frequency, and where they differ.

    Attributes
    ----------
    x_hz, clip : ndarray of float64, shape (n,)
        Frequency [Hz] and the clip's values.
    normal : ndarray of float64, shape (n_neighbours, n)
        Values of its nearest normal clips.
    x_label, y_label : str
        With units.
    marks_hz : tuple of float
        Lines to be marked.
    band_hz : (float, float) or None
        Stretch of ``x_hz`` to be shaded.
    is_logarithmic : bool
        Whether ``x_hz`` is.
    """

    x_hz: Array
    clip: Array
    normal: Array
    x_label: str
    y_label: str
    marks_hz: tuple[float, ...] = ()
    band_hz: Band | None = None
    is_logarithmic: bool = True


@dataclass(frozen=True)
class Reason:
    """What a view heard in a clip.

    Attributes
    ----------
    view, sentence : str
    values : dict of str to float
        Numbers of the sentence: ``frequency_hz``, ``low_hz``, ``high_hz``, ``level_db``,
        ``at_s``, as far as it has them.
    picture : Picture
    band_hz : (float, float)
        Part of the clip's spectrogram that is meant [Hz].
    at_s : float or None
        Moment that is meant; None where it is the whole clip.
    """

    view: str
    sentence: str
    values: dict[str, float]
    picture: Picture
    band_hz: Band
    at_s: float | None = None


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
        ClipTransform(self.settings)(self.samples.astype(np.float32), level)
        return level


@dataclass(frozen=True)
class Heard:
    """What a view compared: the clip's row, the rows of its nearest normals, and the sound.

    ``scatter`` holds the scatter of every value over the training clips, or nothing for a view
    that compares directions. ``known`` names frequencies. ``rescore``: see
    `asdlib.spectra.reasons.find_reason`.
    """

    row: Array
    normal: Array
    sound: Sound
    scatter: Array | None = None
    known: KnownRates = field(default_factory=KnownRates)
    rescore: Rescore | None = None

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
    digits = 2 if band[1] > 1.1 * band[0] else 3
    if band[1] < 1000:
        low, high = (f"{edge:.{3 if edge >= 100 else digits}g}" for edge in band)
        return f"{low} to {high} Hz"
    high = f"{band[1] / 1000:.{digits}g} kHz"
    return (
        f"{band[0]:.0f} Hz to {high}" if band[0] < 300 else f"{band[0] / 1000:.{digits}g} to {high}"
    )


def more_or_less(decibel: float, more: str, less: str) -> str:
    """Word a difference of level: "6 dB louder"."""
    amount = abs(decibel)
    return (
        f"{amount:.0f} dB {more if decibel > 0 else less}"
        if amount >= 0.95
        else (f"{amount:.1f} dB {more if decibel > 0 else less}")
    )


def run_around(peak: int, excess: Array) -> slice:
    """Neighbouring values that differ in the same direction by half as much as a peak or more."""
    smooth = np.sign(excess[peak]) * ndimage.uniform_filter1d(excess, 3, mode="nearest")
    above = smooth >= _BAND_SHARE * max(smooth[peak], 1e-12)
    labels, _ = ndimage.label(above)
    is_member = (labels == labels[peak]) & above
    strong = np.flatnonzero(
        is_member & (np.sign(excess[peak]) * excess >= _BAND_SHARE * smooth[peak])
    )
    members = strong if is_member[peak] and len(strong) else np.array([peak])
    return slice(int(members[0]), int(members[-1]) + 1)


def band_of(centres_hz: Array, run: slice) -> Band:
    """Edges of a run of mel bands [Hz]: half-way to the next band."""
    edges = np.concatenate(
        [centres_hz[:1], (centres_hz[1:] + centres_hz[:-1]) / 2, centres_hz[-1:]]
    )
    return float(edges[run.start]), float(edges[run.stop])


def strongest_event(sound: Sound, run: slice) -> tuple[str, float | None]:
    """Find when a band's level strays most from its median: in words ("... : "), and when [s].

    Moments that stray by more than 0.6 of the farthest are counted, up to a dozen. Nothing where
    none strays farther than four robust standard deviations.
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
    """Highest line of the clip's own spectrum in a band [Hz], and its height there [dB].

    The height is that over the median of the lines within half an octave.
    """
    n_samples = len(sound.samples)
    spectrum = fft.rfft(sound.samples * signal.get_window("blackmanharris", n_samples))
    power, spacing_hz = np.abs(spectrum) ** 2, sound.sample_rate / n_samples
    peak_hz = peak_frequency(power, spacing_hz, band)
    around = slice(*(int(peak_hz * factor / spacing_hz) for factor in (0.84, 1.19)))
    highest = power[max(0, round(peak_hz / spacing_hz) - 1) :][:3].max()
    return peak_hz, float(10 * np.log10(highest / max(float(np.median(power[around])), 1e-300)))


def peak_frequency(power: Array, spacing_hz: float, band: Band) -> float:
    """Place of the highest line within a band, between lines by its neighbours [Hz]."""
    first = max(1, round(band[0] / spacing_hz))
    last = min(len(power) - 1, max(round(band[1] / spacing_hz) + 1, first + 1))
    if last <= first:
        return float(np.mean(band))
    place = first + int(power[first:last].argmax())
    low, middle, high = np.log(power[place - 1 : place + 2] + 1e-300)
    bend = low - 2 * middle + high
    return float((place + (0.5 * (low - high) / bend if bend < 0 else 0.0)) * spacing_hz)


def rhythm_in(heard: Heard, band: Band) -> tuple[str, float]:
    """Name the rate at which the clip's level in a band pulses [Hz]: nothing and 0 without one."""
    sound, half_hz = heard.sound, max(band[1] - band[0], _RHYTHM_BAND_HZ) / 2
    centre_hz = min(max(sum(band) / 2, half_hz), sound.sample_rate / 2 - half_hz)
    whole = (max(0.0, centre_hz - half_hz), min(sound.sample_rate / 2, centre_hz + half_hz))
    found = characteristic_frequencies(
        sound.samples, sr=sound.sample_rate, bands_hz=[whole],
        shaft_rate_hz=heard.known.shaft_rate_hz or None, max_families=1,
    )  # fmt: skip
    if not found or found[0].modulation < _DEEP_MODULATION:
        return "", 0.0
    rate_hz = found[0].frequency_hz
    return f", pulsing at {rate_hz:.1f} Hz{heard.known.name(rate_hz)}", rate_hz
