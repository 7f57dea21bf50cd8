"""Average spectra of clips, by domain, attribute and condition.

Section 2.2 of the report: "We found that the characteristics of certain machines are mainly
concentrated in high frequencies through observing the spectrum." Every clip is reduced once to
its long-term power spectrum (Welch), a row of a few hundred numbers; everything else is computed
from those rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import signal

from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import map_clips
from asdlib.data.store import ArrayStore
from asdlib.errors import InputError
from asdlib.spectra.envelope import Array

#: Levels below this are taken as silence [dB re full scale].
FLOOR_DB = -120.0
#: How clips can be grouped for `average_spectra`.
GROUPINGS = ("domain", "attribute", "condition")


def open_average_spectra(
    waveforms: ArrayStore,
    clips: pd.DataFrame,
    *,
    sample_rate: float = 16000,
    n_fft: int = 1024,
    cache_dir: Path,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> ArrayStore:
    """Open the long-term power spectra of these clips (Welch); compute what is missing.

    Parameters
    ----------
    waveforms, clips, workers, on_progress
        As for `asdlib.spectra.open_log_mel`.
    sample_rate : float
        Sample rate [Hz].
    n_fft : int
        Length of the Hann-windowed frames, half overlapping [samples].
    cache_dir : Path
        Folder of the caches; the store lies in ``average_spectra/<key>`` below it.

    Returns
    -------
    ArrayStore
        Rows of n_fft // 2 + 1 float32: one-sided power per bin [full scale squared], averaged
        over the clip at its native length; they add up to its mean square.

    Raises
    ------
    InputError
        When a clip is missing or empty, or the sample rate differs from the waveforms'.
    """
    if n_fft < 2:
        raise InputError(f"n_fft={n_fft}: expected at least 2 samples.")

    def power_of(index: int, samples: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        out[:] = welch_power(samples, n_fft=n_fft)

    return map_clips(
        waveforms,
        clips["clip_id"].tolist(),
        lambda: power_of,
        kind="average_spectra",
        settings={"n_fft": int(n_fft), "sample_rate": float(sample_rate)},
        lengths=n_fft // 2 + 1,
        sample_rate=sample_rate,
        cache_dir=cache_dir,
        workers=workers,
        on_progress=on_progress,
    )


def welch_power(samples: npt.NDArray[np.int16], *, n_fft: int) -> Array:
    """Average one-sided power per bin of one clip, shape (n_fft // 2 + 1,) [full scale squared].

    The sum over bins is the mean square of the samples; a shorter clip is repeated to ``n_fft``.
    """
    if len(samples) < n_fft:
        samples = np.resize(samples, n_fft)
    _, density = signal.welch(
        samples / FULL_SCALE, nperseg=n_fft, noverlap=n_fft - n_fft // 2, detrend=False
    )
    return np.asarray(density / n_fft)


def group_of_clip(clips: pd.DataFrame, by: str) -> pd.Series:
    """Name the group of every clip, one of `GROUPINGS`; missing where a clip takes no part.

    Test clips never do: nothing may be learned from them before they are scored. Conditions are
    training clips, and supplemental clips of the clean machine and of background noise.
    """
    if by not in GROUPINGS:
        raise InputError(f"by={by!r}: expected one of {', '.join(GROUPINGS)}.")
    training = clips["split"] == "train"
    if by == "condition":
        names = clips["supplemental_kind"].map({"clean": "clean machine", "noise": "noise only"})
        names = names.astype("string").where(clips["split"] == "supplemental")
        return names.mask(training, "training")
    return clips[by].astype("string").where(training)


def average_spectra(spectra: ArrayStore, clips: pd.DataFrame, *, by: str) -> pd.DataFrame:
    """Mean and spread of the spectra of every machine's groups.

    Parameters
    ----------
    spectra : ArrayStore
        Store of `open_average_spectra`.
    clips : DataFrame
        Clip table.
    by : {"domain", "attribute", "condition"}
        Training clips by domain or attribute; by condition: training clips (machine and
        background), supplemental clips of the clean machine and of background noise.

    Returns
    -------
    DataFrame
        ``machine_type, group, n_clips, frequency_hz, mean_db, std_db``: level of the mean
        power per bin and standard deviation of the clips' levels [dB re full scale squared;
        std_db is NaN for one clip].
    """
    labelled = clips.assign(group=group_of_clip(clips, by)).dropna(subset="group")
    frequencies_hz = bin_frequencies_hz(spectra)
    parts = []
    for (machine, group), members in labelled.groupby(["machine_type", "group"], sort=True):
        power = power_of_clips(spectra, members)
        levels_db = to_db(power)
        std_db = (
            levels_db.std(0, ddof=1) if len(power) > 1 else np.full(len(frequencies_hz), np.nan)
        )
        parts.append(
            pd.DataFrame(
                {
                    "machine_type": machine,
                    "group": group,
                    "n_clips": len(power),
                    "frequency_hz": frequencies_hz,
                    "mean_db": to_db(power.mean(0)),
                    "std_db": std_db,
                }
            )
        )
    columns = ["machine_type", "group", "n_clips", "frequency_hz", "mean_db", "std_db"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def bin_frequencies_hz(spectra: ArrayStore) -> Array:
    """Frequencies of the bins of a store of average spectra [Hz]."""
    settings = spectra.settings
    frequencies: Array = np.fft.rfftfreq(settings["n_fft"], 1.0 / settings["sample_rate"])
    return frequencies


def to_db(power: Array) -> Array:
    """Power to level, not below `FLOOR_DB` [dB re full scale squared]."""
    level: Array = 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10.0)))
    return level


def power_of_clips(spectra: ArrayStore, members: pd.DataFrame) -> Array:
    """Power per clip and bin [full scale squared], float64, shape (n_clips, n_bins)."""
    return spectra.fixed()[spectra.positions(members["clip_id"])].astype(np.float64)
