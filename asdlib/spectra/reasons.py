"""Reasons: what in a clip the deciding view heard, in one sentence and one picture.

What a view compared is a row of numbers: the clip's, against those of its nearest normal clips.
Where these rows differ most in the view's own metric is where the score comes from; what it is
exactly (a frequency, a moment) is then read from the clip's own samples. No sound of a normal
clip is needed.

What differs is told, not what broke: noise, a raised band and rubbing without a rhythm are all
"louder from ... to ...", a missing stroke of many is only "steadier". The network's embedding has
no rows that mean something: the network is asked again, with one band of the clip after another
made as loud as in its nearest normal clips, and what takes most off its score is named.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from asdlib.base import InputError
from asdlib.spectra import rhythms
from asdlib.spectra.envelope import Array, Band
from asdlib.spectra.heard import (
    Heard,
    KnownRates,
    Picture,
    Reason,
    Rescore,
    Sound,
    band_of,
    band_values,
    hertz,
    line_in,
    more_or_less,
    run_around,
    strongest_event,
)
from asdlib.spectra.other_features import OFFICIAL_LOG_MEL
from asdlib.spectra.profiles import band_centres_hz

#: A tone is looked for in bands of this many mel bands or fewer, and has this height [dB].
_NARROW_BANDS, _TONE_DB = 8, 25.0
#: A rhythm is looked for in a band at least so wide [Hz], and told from this modulation on.
_RHYTHM_BAND_HZ, _DEEP_MODULATION = 500.0, 0.3
#: Bands that a network is asked about, and the share of its score from which on one is a cause.
_ASKED_BANDS, _CAUSE_SHARE = 16, 1 / 3


def find_reason(
    view: str,
    *,
    row: npt.ArrayLike,
    normal_rows: npt.ArrayLike,
    samples: npt.ArrayLike,
    sample_rate: float,
    scatter: npt.ArrayLike | None = None,
    known: KnownRates | None = None,
    rescore: Rescore | None = None,
) -> Reason:
    """Say what a view (a profile, "autoencoder" or "embedding") heard in a clip.

    ``row`` (n_values,) is the clip in it, ``normal_rows`` (n_neighbours, n_values) are its nearest
    normal clips: profiles, of the autoencoder mean residuals [dB], of the embedding the profile
    ``spectrum``. ``samples`` (n_samples,) at ``sample_rate`` [Hz] are int16 or re full scale;
    ``scatter`` (n_values,) is what a view counts differences in, if it does. An embedding needs
    ``rescore``. Rows of unequal length are refused.
    """
    jumps = ("Change from frame to frame [dB]", "level jumps from frame to frame by")
    makers: dict[str, Callable[[Heard], Reason]] = {
        "spectrum": _spectrum,
        "fluctuation": lambda heard: _restless(heard, slice(None), *jumps),
        "lines": rhythms.lines, "envelope": rhythms.envelope, "modulation": rhythms.modulation,
        "autoencoder": _autoencoder, "embedding": _embedding,
    }  # fmt: skip
    if view not in makers or (view == "embedding" and rescore is None):
        raise InputError(
            f"view={view!r}: expected one of {', '.join(makers)}; the last needs rescore."
        )
    own, normal = np.asarray(row, np.float64), np.atleast_2d(np.asarray(normal_rows, np.float64))
    if normal.shape[1:] != own.shape:
        raise InputError(
            f"view={view!r}: the clip has {own.size} values, its normal clips "
            f"{normal.shape[-1]}. Take rows of one view."
        )
    of_values = None if scatter is None else np.asarray(scatter, np.float64)
    sound, rates = Sound(samples, sample_rate), known or KnownRates()
    return makers[view](Heard(view, own, normal, sound, of_values, rates, rescore))


def _spectrum(heard: Heard) -> Reason:
    """Level of the mel bands, or its scatter over time, whichever the score heard more of."""
    n_mels = len(heard.sound.centres_hz)
    weight = heard.difference**2
    if weight[n_mels:].sum() > weight[:n_mels].sum():
        return _restless(heard, slice(n_mels, None), "Scatter over time [dB]", "level varies by")
    return _level(heard)


def _level(heard: Heard) -> Reason:
    """Which band is louder or quieter, and whether a peak has only moved."""
    n_mels = len(heard.sound.centres_hz)
    excess, weight = heard.excess[:n_mels], heard.difference[:n_mels]
    peak = int(np.abs(ndimage.uniform_filter1d(weight, 3, mode="nearest")).argmax())
    run = run_around(peak, excess)
    band, level_db = band_of(heard.sound.centres_hz, run), float(excess[run].mean())
    said = more_or_less(level_db, "louder", "quieter")
    if run.stop - run.start >= 0.9 * n_mels:
        said += " at all frequencies"
    else:
        said += f" from {hertz(band)}"
        other = _opposite(excess, run)
        if other is not None:
            there = band_of(heard.sound.centres_hz, other)
            difference = more_or_less(float(excess[other].mean()), "louder", "quieter")
            said += f" and {difference} from {hertz(there)}: a peak of the spectrum has moved"
    values = band_values(band, level_db)
    if level_db > 0:
        said += _tone_there(heard, run, values) or _rhythm_there(heard, band, values)
    return heard.reason(said, _level_picture(heard, band), band, **values)


def _level_picture(heard: Heard, band: Band | None) -> Picture:
    x_hz = heard.sound.centres_hz
    return heard.picture(slice(None, len(x_hz)), x_hz, "Mean log-mel level [dB re 1]", band_hz=band)


def _tone_there(heard: Heard, run: slice, values: dict[str, float]) -> str:
    """Name the tone that fills a narrow band, if one does."""
    if run.stop - run.start > _NARROW_BANDS:
        return ""
    tone_hz, height_db = line_in(heard.sound, band_of(heard.sound.centres_hz, run))
    if height_db < _TONE_DB:
        return ""
    values["frequency_hz"] = tone_hz
    tone = f"{tone_hz:.0f} Hz{heard.known.name(tone_hz)}"
    return f": a tone at {tone} stands there, {height_db:.0f} dB over its surroundings"


def _rhythm_there(heard: Heard, band: Band, values: dict[str, float]) -> str:
    """Name the rate at which a band pulses, if it does."""
    highest_hz, half_hz = heard.sound.sample_rate / 2, max(band[1] - band[0], _RHYTHM_BAND_HZ) / 2
    centre_hz = min(max(sum(band) / 2, half_hz), highest_hz - half_hz)
    whole = (max(0.0, centre_hz - half_hz), min(highest_hz, centre_hz + half_hz))
    found = heard.families(whole, max_families=1)
    if not found or found[0].modulation < _DEEP_MODULATION:
        return ""
    values["rate_hz"] = found[0].frequency_hz
    return f", pulsing at {values['rate_hz']:.1f} Hz{heard.known.name(values['rate_hz'])}"


def _opposite(excess: Array, run: slice) -> slice | None:
    """Run beside another one that differs as much in the other direction."""
    reach = max(2 * (run.stop - run.start), 6)
    first = max(0, run.start - reach)
    nearby = -np.sign(excess[run].mean()) * excess[first : run.stop + reach]
    if nearby.max() < 0.7 * np.abs(excess[run]).max():
        return None
    return run_around(first + int(nearby.argmax()), excess)


def _restless(heard: Heard, part: slice, y_label: str, verb: str) -> Reason:
    """Which band varies more or less over time than it should, and when most."""
    excess, weight = heard.excess[part], heard.difference[part]
    run = run_around(int(np.abs(weight).argmax()), excess)
    band = band_of(heard.sound.centres_hz, run)
    own, usual = float(heard.row[part][run].mean()), float(heard.normal[:, part][:, run].mean())
    said = f"{verb} {own:.1f} dB from {hertz(band)}, in normal clips by {usual:.1f} dB"
    values, at_s = band_values(band, own - usual), None
    if own > usual:
        event, at_s = strongest_event(heard.sound, run)
        said = event + said + ("" if event else _rhythm_there(heard, band, values))
    else:
        said = f"steadier than normal: {said}{_tone_there(heard, run, values)}"
    picture = heard.picture(part, heard.sound.centres_hz, y_label, band_hz=band)
    return heard.reason(said, picture, band, at_s=at_s, **values)


def _autoencoder(heard: Heard) -> Reason:
    """Band in which the clip is farthest from what the autoencoder makes of it."""
    centres_hz = np.asarray(band_centres_hz(OFFICIAL_LOG_MEL), np.float64)
    run = run_around(int(np.abs(heard.difference).argmax()), heard.excess)
    band, level_db = band_of(centres_hz, run), float(heard.excess[run].mean())
    louder = more_or_less(level_db, "louder", "quieter")
    picture = heard.picture(slice(None), centres_hz, "Mean residual [dB]", band_hz=band)
    said = f"{louder} from {hertz(band)} than the autoencoder expects"
    return heard.reason(said, picture, band, **band_values(band, level_db))


def _embedding(heard: Heard) -> Reason:
    """Levels that, made as in the nearest normal clips, take most off the network's score."""
    n_mels = len(heard.sound.centres_hz)
    excess = heard.excess[:n_mels]
    edges = np.linspace(0, n_mels, _ASKED_BANDS + 1).astype(int).tolist()
    bands = [slice(*ends) for ends in [(0, n_mels), *itertools.pairwise(edges)]]
    whole, *of_band = _shares(heard, excess, bands)
    held, _ = ndimage.label(np.array(of_band) >= max(of_band) / 2)
    members = np.flatnonzero(held == held[np.argmax(of_band)])
    run, everywhere = slice(edges[members[0]], edges[members[-1] + 1]), slice(0, n_mels)
    share = _shares(heard, excess, [run])[0]
    is_cause = share >= _CAUSE_SHARE
    meant = run if is_cause else everywhere
    band, values = band_of(heard.sound.centres_hz, meant), {}
    if is_cause:
        level_db, farthest_db = float(excess[run].mean()), float(np.abs(excess[run]).max())
        values = band_values(band, level_db) | {"share": share}
        said = more_or_less(level_db, "louder", "quieter")
        if abs(level_db) <= farthest_db / 4:
            said = f"of another colour, up to {farthest_db:.0f} dB off,"
        said += f" from {hertz(band)}; as loud as in normal clips there, the network's score would "
        said += f"be {100 * share:.0f} % lower"
    elif whole >= _CAUSE_SHARE:
        said = "levels differ at many frequencies; as loud as in normal clips, the network's score "
        said += f"would be {100 * whole:.0f} % lower"
    else:
        said = "heard by the network alone, and by no level of a band: no cause can be named"
    picture = _level_picture(heard, band if is_cause else None)
    _, at_s = strongest_event(heard.sound, meant)
    return heard.reason(said, picture, band, at_s=at_s, **values)


def _shares(heard: Heard, excess: Array, parts: Sequence[slice]) -> list[float]:
    """Share of the score that is gone once a part's levels are the usual ones, for every part."""
    if heard.rescore is None:
        raise AssertionError("find_reason sees to it.")
    shifts = np.zeros((1 + len(parts), len(excess)))
    for shift, part in zip(shifts[1:], parts, strict=True):
        shift[part] = -excess[part]
    before, *after = np.maximum(heard.rescore(shifts), 0.0).tolist()
    return [1 - score / before if before > 0 else 0.0 for score in after]
