"""Reasons of the views that hear tones and modulation: lines, envelope, slow modulation.

Called by `asdlib.spectra.reasons.find_reason`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from scipy import fft, signal

from asdlib.spectra.characteristic import Family
from asdlib.spectra.envelope import Array, Band, band_lines, complex_envelope
from asdlib.spectra.heard import (
    Heard,
    Picture,
    Reason,
    band_values,
    beside_normal,
    hertz,
    highest_line,
    line_in,
    more_or_less,
    run_around,
    strongest_event,
)
from asdlib.spectra.profiles import (
    ENVELOPE_EDGES_HZ,
    MEL_GROUPS,
    envelope_bands,
    modulation_edges_hz,
)
from asdlib.spectra.tones import tonal_families

#: Other speeds that are tried [share], and by how much tones must fit better at one of them.
_SPEEDS = np.geomspace(0.85, 1.15, 141)
_BETTER_FIT = 0.1
#: A family explains a difference if one of its lines stands for this share of the highest.
_FAMILY_SHARE = 0.5
_HARMONICS = 6
#: Values that rise so far in this share of all are a texture, not a rhythm.
_BROAD_DB, _BROAD_SHARE = 2.0, 0.6

#: Mirrored rates are heard up to this share of the frame rate below it: their window lets no more.
_MIRRORED_SHARE = 0.1


def lines(heard: Heard) -> Reason:
    """Tell a tone that stands out or is missing, or all tones moved by another speed."""
    step_hz = heard.sound.sample_rate / 2 / len(heard.row)
    x_hz = np.asarray(step_hz * np.arange(len(heard.row)), np.float64)
    label = "Level above the colour [dB]"
    picture = heard.picture(slice(None), x_hz, label, is_logarithmic=False)
    moved = _other_speed(heard.row, heard.normal.mean(axis=0), x_hz)
    if moved is not None:
        said = f"tones lie {abs(moved):.1f} % {'higher' if moved > 0 else 'lower'} than in the "
        said += "normal clips: another speed"
        band = (float(x_hz[1]), float(x_hz[-1]))
        return heard.reason(said, picture, band, speed_percent=moved)
    place = int(np.abs(heard.difference).argmax())
    level_db, tone_hz, root_hz = float(heard.excess[place]), float(x_hz[place]), 0.0
    if level_db > 0:
        near = (tone_hz - 1.5 * step_hz, tone_hz + 1.5 * step_hz)
        tone_hz = line_in(heard.sound, near)[0]
        root_hz = _root(heard, tone_hz, x_hz)
    said = f"a tone at {tone_hz:.0f} Hz{heard.known.name(tone_hz)}, {beside_normal(level_db)}"
    marks: tuple[float, ...] = (tone_hz,)
    if level_db <= 0:
        said = f"missing: {said}"
    if root_hz:
        said += f", one of several at multiples of {root_hz:.1f} Hz{heard.known.name(root_hz)}"
        marks = tuple(np.arange(1, 7) * root_hz)
    band = (max(tone_hz * 0.94, x_hz[1]), min(tone_hz * 1.06, x_hz[-1]))
    return heard.reason(
        said, replace(picture, marks_hz=marks), band, frequency_hz=tone_hz, level_db=level_db,
        root_hz=root_hz or None,
    )  # fmt: skip


def _other_speed(row: Array, usual: Array, x_hz: Array) -> float | None:
    """Change of speed at which the tones fit those of the normal clips [%], if it is another."""
    from_here = x_hz > 100

    def fit(factor: float) -> float:
        stretched = np.interp(x_hz / factor, x_hz, usual)
        return float(np.corrcoef(row[from_here], stretched[from_here])[0, 1])

    fits = np.array([fit(factor) for factor in _SPEEDS])
    best = int(fits.argmax())
    if abs(_SPEEDS[best] - 1) < 0.004 or fits[best] < fit(1.0) + _BETTER_FIT:
        return None
    return float(100 * (_SPEEDS[best] - 1))


def _root(heard: Heard, tone_hz: float, x_hz: Array) -> float:
    """Fundamental of the family of tones that a tone belongs to, if others of it rose too."""
    difference, spacing_hz = heard.difference, float(x_hz[1])
    for family in tonal_families(heard.sound.samples, sr=heard.sound.sample_rate):
        order = round(tone_hz / family.frequency_hz)
        is_member = abs(tone_hz - order * family.frequency_hz) < max(1.0, 0.003 * tone_hz)
        places = [round(k * family.frequency_hz / spacing_hz) for k in family.harmonics]
        rises = [difference[max(0, p - 1) : p + 2].max() for p in places if p < len(x_hz)]
        strong = sum(rise > _FAMILY_SHARE * difference.max() for rise in rises)
        if is_member and order > 0 and strong >= 3:
            return family.frequency_hz
    return 0.0


def envelope(heard: Heard) -> Reason:
    """Tell impacts or modulation at a rate, in the octave band that shows it most."""
    layout = envelope_bands(heard.sound.sample_rate)
    ends = np.cumsum([0, *(len(edges) - 1 for _, edges in layout)]).tolist()
    of_band = [slice(first, last) for first, last in itertools.pairwise(ends)]
    rises, falls = (
        [float((limit(heard.difference[part], 0.0) ** 2).sum()) for part in of_band]
        for limit in (np.maximum, np.minimum)
    )
    sign = 1.0 if max(rises) >= max(falls) else -1.0
    number = int(np.argmax(rises if sign > 0 else falls))
    (band, edges_hz), part = layout[number], of_band[number]
    centres_hz = np.sqrt(edges_hz[1:] * edges_hz[:-1])
    excess, difference = heard.excess[part], sign * heard.difference[part]
    family, at_s = _family(heard, band, difference) if sign > 0 else None, None
    rate_hz = side_hz = None
    marks: tuple[float, ...] = ()
    if family is not None:
        rate_hz, side_hz = family.frequency_hz, family.sideband_hz
        level_db = float(max(excess[i] for i in _bins(family, len(excess))))
        is_impact = len(family.harmonics) >= 3 or side_hz is not None
        said = f"{'impacts' if is_impact else 'modulation'} at {rate_hz:.1f} Hz"
        said += heard.known.name(rate_hz)
        marks = tuple(k * rate_hz for k in family.harmonics if k * rate_hz <= centres_hz[-1])
        marks = marks or (rate_hz,)
    else:
        run = run_around(int(difference.argmax()), sign * excess)
        level_db = float(excess[run].mean())
        rates = (float(edges_hz[run.start]), float(edges_hz[run.stop]))
        said = f"fluctuation at {hertz(rates)} without a rhythm"
        if sign > 0:
            first, last = np.searchsorted(heard.sound.centres_hz, band)
            event, at_s = strongest_event(heard.sound, slice(first, max(last, first + 1)))
            said = event + said
    said += f" in {hertz(band)}, {beside_normal(level_db)}"
    if side_hz is not None:
        said += f", sidebands ± {side_hz:.1f} Hz{heard.known.name(side_hz)}"
    labels = "Envelope [dB re 1/Hz]", "Envelope frequency [Hz]"
    picture = heard.picture(part, centres_hz, *labels, marks_hz=marks)
    return heard.reason(
        said, picture, band, at_s=at_s, **band_values(band, level_db), frequency_hz=rate_hz,
        sideband_hz=side_hz,
    )  # fmt: skip


def _bins(family: Family, n_bins: int) -> list[int]:
    """Bins of an envelope profile that hold a family's first harmonics."""
    rates = family.frequency_hz * np.array([k for k in family.harmonics if k <= _HARMONICS])
    places = np.searchsorted(ENVELOPE_EDGES_HZ, rates, side="right") - 1
    return [int(place) for place in dict.fromkeys(places) if 0 <= place < n_bins]


def _family(heard: Heard, band: Band, difference: Array) -> Family | None:
    """Family of the clip's envelope in a band that accounts for most of the difference."""
    found = heard.families(band)
    accounts = {}
    for number, family in enumerate(found):
        rises = [max(difference[i], 0.0) for i in _bins(family, len(difference))]
        if rises and max(rises) >= _FAMILY_SHARE * difference.max():
            accounts[number] = float(np.sum(rises))
    return found[max(accounts, key=lambda i: accounts[i])] if accounts else None


def _own_rate(heard: Heard, band: Band, rates: Band) -> float:
    """Rate at which the clip's envelope in a band goes up and down, of those that it can be [Hz].

    The frames of a profile hear rates above half their own as slow ones, mirrored; the envelope
    of the samples tells which it is.
    """
    samples, sr = heard.sound.samples, heard.sound.sample_rate
    first, last = band_lines(band, sr=sr, n_samples=len(samples))
    level = np.abs(complex_envelope(fft.rfft(samples), first, last, n_samples=len(samples)))
    power = np.abs(fft.rfft((level - level.mean()) * signal.get_window("hann", len(level)))) ** 2
    frames_hz = heard.sound.frame_rate_hz
    ranges = [rates]
    if rates[0] > _MIRRORED_SHARE * frames_hz:
        ranges.append((frames_hz - rates[1], frames_hz - rates[0]))
    found = [highest_line(power, sr / len(samples), each) for each in ranges]
    return max(found, key=lambda line: line[1])[0]


def modulation(heard: Heard) -> Reason:
    """Tell a slow rate at which a band's level goes up and down, or a single event."""
    sound = heard.sound
    difference = heard.difference.reshape(MEL_GROUPS, -1)
    excess = heard.excess.reshape(MEL_GROUPS, -1)
    is_broad = (np.sign(excess.mean()) * excess > _BROAD_DB).mean() > _BROAD_SHARE
    if is_broad:
        of_group = excess.mean(axis=1)
        place, groups = 0, run_around(int(np.abs(of_group).argmax()), of_group)
    else:
        group, place = divmod(int(np.abs(difference).argmax()), difference.shape[1])
        groups = run_around(group, difference[:, place])
    width = len(sound.centres_hz) // MEL_GROUPS
    mels = slice(groups.start * width, groups.stop * width)
    band = (float(sound.centres_hz[mels][0]), float(sound.centres_hz[mels][-1]))
    edges_hz = modulation_edges_hz(sound.frame_rate_hz)
    level_db = float(excess[groups].mean() if is_broad else excess[groups, place].mean())
    rate_hz, at_s = None, None
    if is_broad:
        said = more_or_less(level_db, "more", "less") + " fluctuation of the level"
        said += f" from {hertz(band)} than in the normal clips"
        if level_db > 0:
            event, at_s = strongest_event(sound, mels)
            said = event + said
    else:
        rate_hz = float(np.sqrt(edges_hz[place] * edges_hz[place + 1]))
        if level_db > 0:
            rate_hz = _own_rate(heard, band, (edges_hz[place], edges_hz[place + 1]))
        said = f"{'slow ' if rate_hz < edges_hz[-1] else ''}modulation at {rate_hz:.3g} Hz"
        said += f"{heard.known.name(rate_hz)} from {hertz(band)}, {beside_normal(level_db)}"
    picture = Picture(
        x_hz=np.sqrt(edges_hz[1:] * edges_hz[:-1]),
        clip=heard.row.reshape(MEL_GROUPS, -1)[groups].mean(axis=0),
        normal=heard.normal.reshape(len(heard.normal), MEL_GROUPS, -1)[:, groups].mean(axis=1),
        x_label="Modulation frequency [Hz]", y_label="Level changes [dB re 1 dB²/Hz]",
        marks_hz=() if rate_hz is None else (rate_hz,),
    )  # fmt: skip
    return heard.reason(
        said, picture, band, at_s=at_s, **band_values(band, level_db), frequency_hz=rate_hz
    )
