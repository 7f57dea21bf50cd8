"""Average spectra of clips, by domain, attribute and condition, and in third-octave bands.

Section 2.2 of the report: "We found that the characteristics of certain machines are mainly
concentrated in high frequencies through observing the spectrum." Every clip is reduced once to
its long-term power spectrum (Welch), a row of a few hundred numbers; everything else is computed
from those rows.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import signal
from typing_extensions import Unpack

from asdlib.base import InputError
from asdlib.data.audio import FULL_SCALE
from asdlib.data.cache import StoreOptions, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.envelope import Array

#: Levels below this are taken as silence [dB re full scale].
FLOOR_DB = -120.0
#: How clips can be grouped for `average_spectra`.
GROUPINGS = ("domain", "attribute", "condition")
#: A signal-to-noise ratio further from 0 than this cannot be had from a difference of powers.
SNR_LIMIT_DB = 20.0

Groups = npt.NDArray[np.int64]


def open_average_spectra(
    waveforms: ArrayStore,
    clips: pd.DataFrame,
    *,
    n_fft: int = 1024,
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the long-term power spectra (`welch_power`) of these clips; compute what is missing.

    Arguments are as for `asdlib.spectra.open_log_mel`. Rows of n_fft // 2 + 1 float32 [full scale
    squared], of the clip at its native length.
    """
    if n_fft < 2:
        raise InputError(f"n_fft={n_fft}: expected at least 2 samples.")

    def power_of(index: int, samples: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        out[:] = welch_power(samples, n_fft=n_fft)

    sample_rate = float(waveforms.settings["sample_rate"])
    return map_clips(
        waveforms,
        clips["clip_id"].tolist(),
        lambda: power_of,
        kind="average_spectra",
        settings={"n_fft": int(n_fft), "sample_rate": sample_rate},
        lengths=n_fft // 2 + 1,
        **options,
    )


def welch_power(samples: npt.NDArray[np.int16], *, n_fft: int) -> Array:
    """Average one-sided power per bin of one clip, shape (n_fft // 2 + 1,) [full scale squared].

    Hann-windowed frames of ``n_fft``, half overlapping; the sum over bins is the mean square.
    """
    if len(samples) < n_fft:
        samples = np.resize(samples, n_fft)
    _, density = signal.welch(
        samples / FULL_SCALE, nperseg=n_fft, noverlap=n_fft - n_fft // 2, detrend=False
    )
    return np.asarray(density / n_fft)


def group_of_clip(clips: pd.DataFrame, by: str) -> pd.Series:
    """Name the group of every clip, one of `GROUPINGS`; missing where a clip takes no part.

    Test clips never do: nothing may be learned from them before they are scored.
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

    Of training clips by "domain" or "attribute"; by "condition": training clips (machine and
    background), supplemental clips of the clean machine and of background noise. Columns
    ``machine_type, group, n_clips, frequency_hz``, ``mean_db`` of the mean power and ``std_db`` of
    the clips' levels [dB re full scale squared; NaN for one clip].
    """
    labelled = clips.assign(group=group_of_clip(clips, by)).dropna(subset="group")
    columns = ["machine_type", "group", "n_clips", "frequency_hz", "mean_db", "std_db"]
    parts = [pd.DataFrame(columns=columns)]
    for (machine, group), members in labelled.groupby(["machine_type", "group"], sort=True):
        power = _power_of_clips(spectra, members)
        std_db = to_db(power).std(0, ddof=1) if len(power) > 1 else np.nan
        values = (machine, group, len(power), bin_frequencies_hz(spectra), to_db(power.mean(0)))
        parts.append(pd.DataFrame(dict(zip(columns, (*values, std_db), strict=True))))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def bin_frequencies_hz(spectra: ArrayStore) -> Array:
    """Frequencies of the bins of a store of average spectra [Hz]."""
    made_of = spectra.settings
    return np.asarray(np.fft.rfftfreq(made_of["n_fft"], 1.0 / made_of["sample_rate"]))


def to_db(power: Array) -> Array:
    """Power to level, not below `FLOOR_DB` [dB re full scale squared]."""
    return np.asarray(10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10.0))))


def _power_of_clips(spectra: ArrayStore, members: pd.DataFrame) -> Array:
    """Power per clip and bin [full scale squared], float64, shape (n_clips, n_bins)."""
    return spectra.fixed()[spectra.positions(members["clip_id"])].astype(np.float64)


def third_octave_edges_hz(fmin: float, fmax: float) -> Array:
    """Band edges ``fmin * 2**(k/3)`` up to ``fmax``, which is the last edge [Hz]."""
    if not 0 < fmin < fmax:
        raise InputError(f"fmin={fmin}, fmax={fmax}: expected 0 < fmin < fmax [Hz].")
    count = max(1, round(3 * np.log2(fmax / fmin)))
    edges = fmin * 2.0 ** (np.arange(count + 1) / 3)
    edges[-1] = fmax
    return edges


def power_in_bands(spectra: ArrayStore, clips: pd.DataFrame, edges_hz: Array) -> Array:
    """Power of clips per band, the last edge included [full scale squared], (n_clips, n_bands)."""
    ends = np.append(edges_hz[:-1], np.nextafter(edges_hz[-1], np.inf))
    bounds = np.searchsorted(bin_frequencies_hz(spectra), ends)
    if (np.diff(bounds) < 1).any():
        band = int(np.argmax(np.diff(bounds) < 1))
        raise InputError(
            f"No bin lies in the band {edges_hz[band]:.0f} to {edges_hz[band + 1]:.0f} Hz. "
            "Choose a longer n_fft or a higher fmin."
        )
    power = _power_of_clips(spectra, clips)
    return np.stack([power[:, a:b].sum(1) for a, b in itertools.pairwise(bounds)], axis=1)


def signal_to_noise(mixed_db: Array, other_db: Array, *, kind: str) -> Array:
    """Signal-to-noise power ratio per band from mean levels, limited to ±20 dB.

    Against supplemental noise ``P_mixed / P_noise - 1``, the clean machine
    ``P_clean / (P_mixed - P_clean)``.
    """
    difference: Array = 10.0 ** ((mixed_db - other_db) / 10.0) - 1.0
    limit = 10.0 ** (SNR_LIMIT_DB / 10.0)
    ratio = difference if kind == "noise" else 1.0 / np.maximum(difference, 1.0 / limit)
    return np.clip(ratio, 1.0 / limit, limit)


def explained_variance(levels_db: Array, groups: Groups) -> tuple[Array, Array]:
    """Share of each band's variance that groups (from 0) explain, and that within groups [dB²].

    ``1 - (S_within / (n - g)) / (S_total / (n - 1))`` for n clips in g groups, S sums of squares:
    0 on average where the groups do not differ, and not below.
    """
    counts = np.bincount(groups).astype(np.float64)
    present = int(np.count_nonzero(counts))
    sums = np.zeros((len(counts), levels_db.shape[1]))
    np.add.at(sums, groups, levels_db)
    means = sums / np.maximum(counts, 1.0)[:, None]
    n_clips = len(levels_db)
    within = np.square(levels_db - means[groups]).sum(0) / max(n_clips - present, 1)
    total = np.square(levels_db - levels_db.mean(0)).sum(0) / max(n_clips - 1, 1)
    share = 1.0 - within / np.maximum(total, 1e-12)
    return np.clip(share, 0.0, 1.0), within


def attribute_groups(clips: pd.DataFrame) -> Groups:
    """Give each attribute that two or more source training clips share a number from 0; else -1."""
    # A target clip also differs in background and microphone.
    usable = (clips["split"] == "train") & ~(clips["domain"] == "target").fillna(False)
    names = clips["attribute"].astype("string").where(usable.astype(bool))
    names = names.where(names.map(names.value_counts()) >= 2)
    return np.asarray(pd.factorize(names, sort=True)[0], np.int64)


def band_information(
    spectra: ArrayStore, clips: pd.DataFrame, *, fmin: float = 100.0, fmax: float = 8000.0
) -> pd.DataFrame:
    """Where over frequency a machine's energy, its SNR and its attribute differences lie.

    From training and supplemental clips, in third-octave bands from ``fmin`` to ``fmax`` [Hz]. Per
    machine and band ``machine_type, low_hz, high_hz, energy_share`` (0 to 1), ``within_db``
    (standard deviation between clips of one attribute), ``snr_db`` (from supplemental clips),
    ``attribute_share`` (`explained_variance`). NaN where the clips for it are missing.
    """
    edges_hz = third_octave_edges_hz(fmin, fmax)
    parts = []
    for machine, own in clips.groupby("machine_type", sort=True):
        training = own[own["split"] == "train"]
        if training.empty:
            continue
        power = power_in_bands(spectra, training, edges_hz)
        groups = attribute_groups(training)
        levels_db, known = to_db(power), groups >= 0
        share, within = explained_variance(levels_db, np.zeros(len(power), np.int64))
        if known.any():
            share, within = explained_variance(levels_db[known], groups[known])
        other = supplemental_levels(spectra, own, edges_hz)
        snr_db: Array = np.full(len(edges_hz) - 1, np.nan)
        if other is not None:
            ratio = signal_to_noise(levels_db.mean(0), other[1].mean(0), kind=other[0])
            snr_db = 10.0 * np.log10(ratio)
        table = {
            "machine_type": machine,
            "low_hz": edges_hz[:-1],
            "high_hz": edges_hz[1:],
            "energy_share": power.mean(0) / max(power.mean(0).sum(), 1e-30),
            "within_db": np.sqrt(within) if len(power) > 1 else np.nan,
            "snr_db": snr_db,
            "attribute_share": share if len(np.unique(groups[known])) > 1 else np.nan,
        }
        parts.append(pd.DataFrame(table))
    if not parts:
        raise InputError("The clips have no training clip. Choose a folder with <machine>/train.")
    return pd.concat(parts, ignore_index=True)


def supplemental_levels(
    spectra: ArrayStore, own: pd.DataFrame, edges_hz: Array
) -> tuple[str, Array] | None:
    """Kind (noise before clean) and band levels [dB] of one machine's supplemental clips."""
    for kind in ("noise", "clean"):
        members = own[(own["supplemental_kind"] == kind).fillna(False).astype(bool)]
        if len(members):
            return kind, to_db(power_in_bands(spectra, members, edges_hz))
    return None
