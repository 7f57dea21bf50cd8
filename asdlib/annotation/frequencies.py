"""Characteristic frequencies of all clips of a machine, found once and kept.

    "Therefore, we conduct envelope spectrum analysis on audio signals to extract characteristic
    frequencies within the target sound frequency bands." (report, section 2.1)

Three quantities may tell in which state a machine runs: families of lines in the envelope
spectrum (impacts, modulation), tones of the plain spectrum (blade pass, gear mesh; the mains
are left out), and the rate of a working cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.cores import available_cores
from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import kept
from asdlib.data.store import ArrayStore
from asdlib.spectra.characteristic import Family, characteristic_frequencies
from asdlib.spectra.envelope import Array, Band
from asdlib.spectra.tones import cycle_time, is_mains, tonal_families

_FAMILY_COLUMNS = [
    "clip_id", "rank", "frequency_hz", "significance", "sideband_hz", "resolution_hz",
    "quantity",
]  # fmt: skip
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
                bands = _machine_bands(pool.map(envelope_families, [ids[i] for i in chosen]))
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


def _machine_bands(sample: Iterable[list[Family]]) -> list[Band]:
    """Bands in which the families of a few clips stand out most."""
    weights: dict[Band, float] = {}
    for family in chain.from_iterable(sample):
        gain = np.sqrt(family.significance)
        weights[family.band_hz] = weights.get(family.band_hz, 0.0) + gain
    return sorted(weights, key=lambda band: -weights[band])[:N_BANDS]


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
    found: dict[str, Sequence[Family]] = {"envelope": families, "tones": tones}
    rows: list[tuple[object, ...]] = [
        (clip_id, rank, family.frequency_hz, family.significance,
         np.nan if family.sideband_hz is None else family.sideband_hz, family.resolution_hz,
         quantity)
        for quantity, members in found.items()
        for rank, family in enumerate(members, start=1)
    ]  # fmt: skip
    cycle = cycle_time(samples, sr=sr)
    if cycle is not None:
        # The peaks of many cycles fix their rate better than 1 / duration.
        resolution_hz = 0.1 * cycle.resolution_hz
        rows.append((clip_id, 1, cycle.rate_hz, cycle.significance, np.nan, resolution_hz, "cycle"))
    return rows
