"""What there is to see and hear of a machine's classes and of one clip."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import fft, signal

from asdlib.annotation.choice import MachineEvidence
from asdlib.annotation.frequencies import MAX_HZ, MIN_TONE_HZ
from asdlib.data.audio import FULL_SCALE
from asdlib.data.store import ArrayStore
from asdlib.spectra.characteristic import FrequencyFamily, characteristic_frequencies
from asdlib.spectra.cycles import CycleTime, cycle_time, level_autocorrelation
from asdlib.spectra.envelope import (
    Band,
    BandLevel,
    checked_band,
    choose_band,
    complex_envelope,
    envelope_spectrum,
    kurtogram,
)
from asdlib.spectra.tones import TonalFamily, tonal_families

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SoundInspection:
    """Every step from a sound to its characteristic frequencies, families strongest first."""

    levels: list[BandLevel]  # kurtogram
    band_hz: Band  # of the strongest family, or of the highest kurtosis where there is none [Hz]
    time_s: Array
    envelope: Array  # Hilbert envelope in the band [unit of the sound]
    frequencies_hz: Array
    spectrum: Array  # squared envelope spectrum in the band
    families: list[FrequencyFamily]
    tone_frequencies_hz: Array
    tone_spectrum: Array  # power spectrum, Blackman-Harris window [unit of the sound squared]
    tones: list[TonalFamily]
    lags_s: Array
    autocorrelation: Array  # of the level; empty for silence
    cycle: CycleTime | None  # None where the level does not repeat


def inspect_sound(
    y: npt.ArrayLike, *, sr: float, bands_hz: Sequence[Band] | None = None, max_hz: float = MAX_HZ
) -> SoundInspection:
    """Go from a sound to its characteristic frequencies and keep every step.

    Parameters
    ----------
    y : array_like, shape (n_samples,)
        Sound, any unit.
    sr : float
        Sampling rate [Hz].
    bands_hz : sequence of (float, float), optional
        Bands in which families are looked for [Hz], such as the machine's own; by default,
        and where the sequence is empty, all.
    max_hz : float
        Highest fundamental [Hz].

    Raises
    ------
    InputError
        For a signal that is too short or not finite, or bands outside 0 to ``sr / 2``.
    """
    samples = np.asarray(y, dtype=np.float64)
    families = characteristic_frequencies(samples, sr=sr, bands_hz=bands_hz or None, max_hz=max_hz)
    levels = kurtogram(samples, sr=sr)
    band_hz = families[0].band_hz if families else choose_band(levels)
    n_samples = len(samples)
    first, last = checked_band(band_hz, sr=sr, n_samples=n_samples)
    envelope = np.abs(complex_envelope(fft.rfft(samples), first, last, n_samples=n_samples))
    frequencies_hz, spectrum = envelope_spectrum(samples, sr=sr, band_hz=band_hz)
    time_s = np.arange(len(envelope)) * n_samples / sr / len(envelope)
    tone_frequencies_hz, tone_spectrum = signal.periodogram(
        samples, fs=sr, window="blackmanharris", detrend="constant", scaling="spectrum"
    )
    lags_s, autocorrelation = level_autocorrelation(samples, sr=sr)
    return SoundInspection(
        levels=levels,
        band_hz=band_hz,
        time_s=time_s,
        envelope=envelope,
        frequencies_hz=frequencies_hz,
        spectrum=spectrum,
        families=families,
        tone_frequencies_hz=tone_frequencies_hz,
        tone_spectrum=tone_spectrum,
        tones=tonal_families(samples, sr=sr, min_hz=MIN_TONE_HZ),
        lags_s=lags_s,
        autocorrelation=autocorrelation,
        cycle=cycle_time(samples, sr=sr),
    )


def inspect_clip(
    clip_id: str, waveforms: ArrayStore, *, bands_hz: Sequence[Band] | None = None
) -> SoundInspection:
    """Inspect one clip of a waveform store; see `inspect_sound`."""
    samples = waveforms.row_of(clip_id) / FULL_SCALE
    return inspect_sound(samples, sr=waveforms.settings["sample_rate"], bands_hz=bands_hz)


def find_exemplars(
    details: MachineEvidence, attributes: pd.DataFrame, *, n_classes: int = 8
) -> dict[str, str]:
    """Find the clip nearest to the centre of each of the largest classes.

    Parameters
    ----------
    details : MachineEvidence
    attributes : DataFrame
        ``clip_id, attribute``.
    n_classes : int
        How many classes, largest first.

    Returns
    -------
    dict of str to str
        Attribute to ``clip_id``.
    """
    names = attributes.set_index("clip_id")["attribute"].reindex(details.clip_ids)
    found = {}
    for name in names.value_counts().index[:n_classes]:
        members = np.flatnonzero((names == name).to_numpy(bool, na_value=False))
        points = details.points[members]
        distance = np.linalg.norm(points - points.mean(axis=0), axis=1)
        found[str(name)] = details.clip_ids[members[distance.argmin()]]
    return found


def average_classes(
    details: MachineEvidence, attributes: pd.DataFrame, log_mel: ArrayStore
) -> pd.DataFrame:
    """Average the log-mel spectra of each class of a machine.

    Parameters
    ----------
    details : MachineEvidence
    attributes : DataFrame
        ``clip_id, attribute``.
    log_mel : ArrayStore
        Log-mel spectrograms (n_mels, n_frames) of these clips [dB].

    Returns
    -------
    DataFrame, shape (n_classes, n_mels)
        Mean level over time and clips [dB]; the index holds attribute and number of clips, in
        the order of the numbers in the attributes' names.
    """
    names = attributes.set_index("clip_id")["attribute"].reindex(details.clip_ids)
    positions = log_mel.positions(details.clip_ids)
    means = [log_mel.row(int(p)).astype(np.float64).mean(axis=1) for p in positions]
    table = pd.DataFrame(np.stack(means), index=names.to_numpy())
    grouped = table.groupby(level=0)
    averages = grouped.mean()
    averages.index = pd.MultiIndex.from_arrays(
        [averages.index, grouped.size().to_numpy()], names=["attribute", "n_clips"]
    )
    order = sorted(range(len(averages)), key=lambda i: _number_key(str(averages.index[i][0])))
    return averages.iloc[order]


def _number_key(name: str) -> tuple[list[float], str]:
    return [float(digits) for digits in re.findall(r"\d+(?:\.\d+)?", name)], name
