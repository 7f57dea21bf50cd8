"""Characteristic frequencies of all clips of a machine, and of one clip every step to them.

Three quantities may tell in which state a machine runs: families of lines in the envelope
spectrum (impacts, modulation), tones of the plain spectrum (blade pass, gear mesh; the mains
are left out), and the rate of a working cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import fft, signal

from asdlib.base import available_cores
from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import kept
from asdlib.data.store import ArrayStore
from asdlib.spectra.characteristic import Family, characteristic_frequencies, strongest_bands
from asdlib.spectra.envelope import (
    FALSE_ALARM,
    Array,
    Band,
    band_tree,
    checked_band,
    checked_clip,
    complex_envelope,
    judged_bands,
)
from asdlib.spectra.lines import line_spectra
from asdlib.spectra.tones import (
    cycle_time,
    is_mains,
    level_autocorrelation,
    tonal_families,
)

_FAMILY_COLUMNS = [
    "clip_id", "rank", "frequency_hz", "significance", "sideband_hz", "resolution_hz",
    "quantity",
]  # fmt: skip
#: Highest characteristic frequency that identifies a state [Hz].
MAX_HZ = 250.0
#: Clips from which a machine's bands are chosen.
BAND_CLIPS = 16
#: Tones below are hum and rumble [Hz].
MIN_TONE_HZ = 90.0
#: Clips shorter than this have no families [s].
MIN_DURATION_S = 0.25
#: Share of the clip at each end in which its jump from end to start rings.
_END = 0.05
#: Narrowest bands of the kurtogram [Hz].
_MIN_WIDTH_HZ = 250.0


@dataclass(frozen=True)
class FrequencyTrack:
    """Families of all clips of one machine, in columns `_FAMILY_COLUMNS`.

    Rank 1 is the strongest of its quantity in the clip; clips without a family have no row.
    """

    families: pd.DataFrame
    bands_hz: list[Band]  # looked at in every clip [Hz]


def track_frequencies(
    clip_ids: Sequence[str],
    waveforms: ArrayStore,
    *,
    sr: float,
    seed: int,
    bands_hz: list[Band] | None = None,
    cache_dir: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> FrequencyTrack:
    """Find the characteristic frequencies of all clips of a machine, in the machine's own bands.

    ``waveforms`` holds int16 samples at ``sr`` [Hz], one ragged row per clip; ``bands_hz`` are by
    default chosen from 16 clips that ``seed`` draws. What was found before is read from
    ``<cache_dir>/families/<key>.npz``. ``workers``: threads.
    """
    ids = list(clip_ids)
    positions = dict(zip(ids, waveforms.positions(ids).tolist(), strict=True))

    def read(clip_id: str) -> Array | None:
        samples = np.asarray(waveforms.row(positions[clip_id]) / FULL_SCALE, dtype=np.float64)
        return samples if len(samples) >= MIN_DURATION_S * sr else None

    def envelope_families(clip_id: str) -> list[Family]:
        samples = read(clip_id)
        return [] if samples is None else characteristic_frequencies(samples, sr=sr, max_hz=MAX_HZ)

    def track() -> dict[str, npt.ArrayLike]:
        chosen = sorted(np.random.default_rng(seed).permutation(len(ids))[:BAND_CLIPS])
        rows = []
        with ThreadPoolExecutor(workers or available_cores()) as pool:
            bands = bands_hz
            if bands is None:
                bands = strongest_bands(pool.map(envelope_families, [ids[i] for i in chosen]))
            for own in pool.map(lambda name: _rows(name, read(name), sr=sr, bands_hz=bands), ids):
                rows.extend(own)
                on_progress(1)
        columns = list(zip(*rows, strict=True)) or [()] * len(_FAMILY_COLUMNS)
        return {"bands_hz": bands, **dict(zip(_FAMILY_COLUMNS, columns, strict=True))}

    if cache_dir is None:
        arrays = track()
    else:
        store = waveforms.directory.name
        settings = {
            "waveforms": store, "clip_ids": ids, "sr": sr, "seed": seed, "bands_hz": bands_hz
        }  # fmt: skip
        arrays = dict(kept(
            cache_dir, track, kind="families", settings=settings,
            on_found=lambda: on_progress(len(ids)),
        ))  # fmt: skip
    families = {name: np.asarray(arrays[name]).tolist() for name in _FAMILY_COLUMNS}
    bands = np.asarray(arrays["bands_hz"]).reshape(-1, 2).tolist()
    return FrequencyTrack(pd.DataFrame(families), [(low, high) for low, high in bands])


def _rows(
    clip_id: str, samples: Array | None, *, sr: float, bands_hz: list[Band]
) -> list[tuple[object, ...]]:
    """Families of one clip, as rows of the track."""
    if samples is None:
        return []
    families: list[Family] = []
    if bands_hz:
        families = characteristic_frequencies(samples, sr=sr, bands_hz=bands_hz, max_hz=MAX_HZ)
    tones = [f for f in tonal_families(samples, sr=sr, min_hz=MIN_TONE_HZ) if not is_mains(f)]
    cycle = cycle_time(samples, sr=sr)
    found = {"envelope": families, "tones": tones, "cycle": [] if cycle is None else [cycle]}
    return [
        (clip_id, rank, family.frequency_hz, family.significance,
         np.nan if family.sideband_hz is None else family.sideband_hz, family.resolution_hz,
         quantity)
        for quantity, members in found.items()
        for rank, family in enumerate(members, start=1)
    ]  # fmt: skip


@dataclass(frozen=True)
class BandLevel:
    """One row of the kurtogram: the Nyquist range cut into equal bands."""

    width_hz: float
    centres_hz: Array
    kurtosis: Array  # of the complex envelope; 0: stationary Gaussian


@dataclass(frozen=True)
class SoundInspection:
    """Every step from a sound to its characteristic frequencies, families strongest first."""

    levels: list[BandLevel]  # kurtogram
    band_hz: Band  # of the strongest family, or of the highest kurtosis where there is none [Hz]
    time_s: Array
    envelope: Array  # Hilbert envelope in the band [unit of the sound]
    frequencies_hz: Array  # of the lines that were judged; empty for silence
    evidence: Array  # -log10 p of every line in the band: of the family, or of most evidence
    evidence_anywhere: Array  # the same, highest of all bands
    threshold: float  # -log10 p from which on a line or a sum of harmonics is a family
    n_bands: int  # that were judged
    families: list[Family]
    tone_frequencies_hz: Array
    tone_spectrum: Array  # power spectrum, Blackman-Harris window [unit of the sound squared]
    tones: list[Family]
    lags_s: Array
    autocorrelation: Array  # of the level; empty where it does not move
    cycle: Family | None  # None where the level does not repeat


def inspect_sound(
    y: npt.ArrayLike, *, sr: float, bands_hz: Sequence[Band] | None = None
) -> SoundInspection:
    """Go from a sound (n_samples,), any unit, at ``sr`` [Hz] to its frequencies; keep every step.

    Families are looked for in ``bands_hz``, such as the machine's own; by default, or where it is
    empty, in all.
    """
    samples = np.asarray(y, dtype=np.float64)
    judged_in = list(bands_hz or judged_bands(sr=sr))
    families = characteristic_frequencies(samples, sr=sr, bands_hz=judged_in, max_hz=MAX_HZ)
    levels = kurtogram(samples, sr=sr)
    band_hz = families[0].band_hz if families else choose_band(levels)
    n_samples = len(samples)
    first, last = checked_band(band_hz, sr=sr, n_samples=n_samples)
    envelope = np.abs(complex_envelope(fft.rfft(samples), first, last, n_samples=n_samples))
    judged = line_spectra(samples, sr=sr, bands_hz=judged_in, max_hz=2 * MAX_HZ)
    evidence = np.zeros((1, 0)) if judged is None else judged.evidence / np.log(10)
    shown = int(evidence.max(axis=1, initial=0.0).argmax())
    if judged is not None and families:
        shown = judged.bands_hz.index(band_hz)
    own = evidence[shown]
    n_tests = np.nan if judged is None else max(judged.n_tests, 1)
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
        frequencies_hz=np.arange(len(own), dtype=np.float64) * (sr / n_samples),
        evidence=own,
        evidence_anywhere=evidence.max(axis=0),
        threshold=float(np.log10(n_tests / FALSE_ALARM)),
        n_bands=0 if judged is None else len(judged.bands_hz),
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


def kurtogram(y: npt.ArrayLike, *, sr: float) -> list[BandLevel]:
    """Kurtosis of the complex envelope in every band of the 1/3-binary tree, the widest first.

    ``<p**2> / <p>**2 - 2`` of its power p (J. Antoni, "Fast computation of the kurtogram", MSSP 21
    (2007)). A clip's ends do not meet, and the jump rings: a twentieth at each is not counted.
    """
    samples = checked_clip(y, sr=sr)
    n_samples = len(samples)
    spectrum = fft.rfft(samples * signal.windows.tukey(n_samples, 2 * _END))
    rows = []
    for bands in band_tree(sr=sr, min_width_hz=_MIN_WIDTH_HZ):
        kurtosis = []
        for band in bands:
            first, last = checked_band(band, sr=sr, n_samples=n_samples)
            envelope = complex_envelope(spectrum, first, last, n_samples=n_samples)
            end = int(np.ceil(_END * len(envelope)))
            power = np.abs(envelope[end : len(envelope) - end]) ** 2
            mean = power.mean()
            kurtosis.append(float((power**2).mean() / mean**2 - 2.0) if mean > 0 else 0.0)
        centres_hz = np.array([(low + high) / 2 for low, high in bands])
        rows.append(BandLevel(sr / 2 / len(bands), centres_hz, np.array(kurtosis)))
    return rows


def choose_band(levels: list[BandLevel]) -> Band:
    """Edges [Hz] of the band with the highest kurtosis in a kurtogram."""
    best = max(levels, key=lambda level: float(level.kurtosis.max()))
    centre = float(best.centres_hz[best.kurtosis.argmax()])
    return max(0.0, centre - best.width_hz / 2), centre + best.width_hz / 2
