"""Characteristic frequencies of all clips of a machine, found once and kept.

    "Therefore, we conduct envelope spectrum analysis on audio signals to extract characteristic
    frequencies within the target sound frequency bands." (report, section 2.1)

Three quantities may tell in which state a machine runs: families of lines in the envelope
spectrum (impacts, modulation), tones of the plain spectrum (blade pass, gear mesh; the mains
are left out), and the rate of a working cycle. `asdlib.annotation.levels` makes levels of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.cores import available_cores
from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import cached
from asdlib.data.store import ArrayStore, content_key
from asdlib.spectra.characteristic import FrequencyFamily, characteristic_frequencies
from asdlib.spectra.cycles import cycle_time
from asdlib.spectra.envelope import Array, Band
from asdlib.spectra.tones import TonalFamily, tonal_families

_FAMILY_COLUMNS = [
    "clip_id", "rank", "frequency_hz", "significance", "sideband_hz", "resolution_hz",
    "quantity",
]  # fmt: skip
#: What a row of the families is: a family of the envelope spectrum, tones, a cycle.
QUANTITIES = ("envelope", "tones", "cycle")
#: Highest characteristic frequency that identifies a state [Hz].
MAX_HZ = 250.0
#: Clips from which a machine's bands are chosen, and how many bands are kept.
BAND_CLIPS, N_BANDS = 16, 6
#: Tones below are hum and rumble [Hz].
MIN_TONE_HZ = 90.0
#: Clips shorter than this have no families [s].
MIN_DURATION_S = 0.25


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

    Parameters
    ----------
    clip_ids : sequence of str
        Clips of one machine.
    waveforms : ArrayStore
        int16 samples, one ragged row per clip, at ``sr`` [Hz].
    seed : int
        Draws the clips from which the bands are chosen.
    bands_hz : list of (float, float), optional
        Bands to look at [Hz]; chosen from 16 clips by default.
    cache_dir : Path, optional
        Folder of the caches; what was found before is read from ``families/<key>.npz``.
    workers : int, optional
        Threads; all processors by default.
    on_progress : callable
        Called with the number of clips just finished.
    """
    positions = waveforms.positions(list(clip_ids)).tolist()

    def track() -> dict[str, npt.ArrayLike]:
        bands, rows = _track(
            clip_ids, positions, waveforms, sr=sr, seed=seed, bands_hz=bands_hz,
            workers=workers or available_cores(), on_progress=on_progress,
        )  # fmt: skip
        columns = list(zip(*rows, strict=True)) or [()] * len(_FAMILY_COLUMNS)
        return {"bands_hz": bands, **dict(zip(_FAMILY_COLUMNS, columns, strict=True))}

    if cache_dir is None:
        return _from_arrays(track())
    settings = {
        "waveforms": waveforms.directory.name,
        "clip_ids": list(clip_ids),
        "sr": sr,
        "seed": seed,
        "bands_hz": bands_hz,
    }
    path = cache_dir / "families" / f"{content_key(settings)}.npz"
    found = cached(
        path, track, kind="families", settings=settings,
        on_found=lambda: on_progress(len(positions)),
    )  # fmt: skip
    return _from_arrays(found)


def _from_arrays(arrays: Mapping[str, npt.ArrayLike]) -> FrequencyTrack:
    columns = {name: np.asarray(arrays[name]).tolist() for name in _FAMILY_COLUMNS}
    bands_hz = np.asarray(arrays["bands_hz"]).reshape(-1, 2).tolist()
    return FrequencyTrack(pd.DataFrame(columns), [(low, high) for low, high in bands_hz])


def _track(
    clip_ids: Sequence[str],
    positions: Sequence[int],
    waveforms: ArrayStore,
    *,
    sr: float,
    seed: int,
    bands_hz: list[Band] | None,
    workers: int,
    on_progress: Callable[[int], object],
) -> tuple[list[Band], list[tuple[object, ...]]]:
    def read(position: int) -> Array | None:
        samples = np.asarray(waveforms.row(position) / FULL_SCALE, dtype=np.float64)
        return samples if len(samples) >= MIN_DURATION_S * sr else None

    def envelope_families(position: int) -> list[FrequencyFamily]:
        samples = read(position)
        return [] if samples is None else characteristic_frequencies(samples, sr=sr, max_hz=MAX_HZ)

    def analyse(numbered: tuple[str, int], bands_hz: list[Band]) -> list[tuple[object, ...]]:
        samples = read(numbered[1])
        return [] if samples is None else _rows(numbered[0], samples, sr=sr, bands_hz=bands_hz)

    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(positions))[:BAND_CLIPS]
    with ThreadPoolExecutor(workers) as pool:
        if bands_hz is None:
            sample = pool.map(envelope_families, [positions[i] for i in sorted(chosen)])
            bands_hz = _machine_bands(list(sample))
        rows = []
        numbered = zip(clip_ids, positions, strict=True)
        for found in pool.map(partial(analyse, bands_hz=bands_hz), numbered):
            rows.extend(found)
            on_progress(1)
    return bands_hz, rows


def _rows(
    clip_id: str, samples: Array, *, sr: float, bands_hz: list[Band]
) -> list[tuple[object, ...]]:
    """Families of one clip, as rows of the track."""
    rows: list[tuple[object, ...]] = []
    families: list[FrequencyFamily] = []
    if bands_hz:
        families = characteristic_frequencies(samples, sr=sr, bands_hz=bands_hz, max_hz=MAX_HZ)
    tones = [f for f in tonal_families(samples, sr=sr, min_hz=MIN_TONE_HZ) if not f.is_mains]
    found: tuple[Sequence[FrequencyFamily | TonalFamily], ...] = (families, tones)
    for quantity, members in zip(QUANTITIES, found, strict=False):
        for rank, family in enumerate(members, start=1):
            sideband_hz = np.nan if family.sideband_hz is None else family.sideband_hz
            rows.append(
                (clip_id, rank, family.frequency_hz, family.significance, sideband_hz,
                 family.resolution_hz, quantity)
            )  # fmt: skip
    cycle = cycle_time(samples, sr=sr)
    if cycle is not None:
        # The peaks of many cycles fix their rate better than 1 / duration.
        resolution_hz = 0.1 * cycle.resolution_hz
        rows.append((clip_id, 1, cycle.rate_hz, cycle.significance, np.nan, resolution_hz, "cycle"))
    return rows


def _machine_bands(sample: list[list[FrequencyFamily]]) -> list[Band]:
    """Bands in which the families of a few clips stand out most."""
    weights: dict[Band, float] = {}
    for families in sample:
        for family in families:
            gain = np.sqrt(family.significance)
            weights[family.band_hz] = weights.get(family.band_hz, 0.0) + gain
    ranked = sorted(weights, key=lambda band: -weights[band])
    return ranked[:N_BANDS]
