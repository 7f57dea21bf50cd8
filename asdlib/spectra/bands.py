"""Third-octave bands: where a machine's energy, its SNR and its attribute differences lie."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.data.store import ArrayStore
from asdlib.errors import InputError
from asdlib.spectra.average import bin_frequencies_hz, power_of_clips, to_db
from asdlib.spectra.envelope import Array

Groups = npt.NDArray[np.int64]

#: A signal-to-noise ratio further from 0 than this cannot be had from a difference of powers.
SNR_LIMIT_DB = 20.0


def third_octave_edges_hz(fmin: float, fmax: float) -> Array:
    """Band edges ``fmin * 2**(k/3)`` up to ``fmax``, which is the last edge [Hz]."""
    if not 0 < fmin < fmax:
        raise InputError(f"fmin={fmin}, fmax={fmax}: expected 0 < fmin < fmax [Hz].")
    count = max(1, round(3 * np.log2(fmax / fmin)))
    edges = fmin * 2.0 ** (np.arange(count + 1) / 3)
    edges[-1] = fmax
    return edges


def band_power(power: Array, frequencies_hz: Array, edges_hz: Array) -> Array:
    """Add up the bins of every band: (n_clips, n_bins) to (n_clips, n_bands).

    A bin belongs to the band that its frequency lies in, the upper edge of the last included.
    """
    last = np.append(edges_hz[1:-1], np.nextafter(edges_hz[-1], np.inf))
    starts = np.searchsorted(frequencies_hz, edges_hz[:-1])
    stops = np.searchsorted(frequencies_hz, last)
    if (starts >= stops).any():
        band = int(np.argmax(starts >= stops))
        raise InputError(
            f"No bin lies in the band {edges_hz[band]:.0f} to {edges_hz[band + 1]:.0f} Hz. "
            "Choose a longer n_fft or a higher fmin."
        )
    return np.stack([power[:, a:b].sum(1) for a, b in zip(starts, stops, strict=True)], axis=1)


def signal_to_noise(mixed_db: Array, other_db: Array, *, kind: str) -> Array:
    r"""Signal-to-noise power ratio per band from mean levels.

    .. math:: \mathrm{SNR} = \frac{P_\mathrm{mixed}}{P_\mathrm{noise}} - 1
              \quad\text{or}\quad
              \mathrm{SNR} = \frac{P_\mathrm{clean}}{P_\mathrm{mixed} - P_\mathrm{clean}}

    Training clips (machine and background) against supplemental ones of a ``kind``, noise or
    clean. Limited to -20 to 20 dB: a difference of powers tells no more.
    """
    difference: Array = 10.0 ** ((mixed_db - other_db) / 10.0) - 1.0
    limit = 10.0 ** (SNR_LIMIT_DB / 10.0)
    ratio = difference if kind == "noise" else 1.0 / np.maximum(difference, 1.0 / limit)
    return np.clip(ratio, 1.0 / limit, limit)


def explained_variance(levels_db: Array, groups: Groups) -> tuple[Array, Array]:
    r"""Share of each band's variance that groups explain, and the variance within groups.

    .. math:: \eta^2_\mathrm{adj} = 1 - \frac{S_\mathrm{within} / (n - g)}
              {S_\mathrm{total} / (n - 1)}

    for n clips in g groups, S sums of squares. It is 0 on average where the groups do not
    differ, and 0 is its smallest value here. Levels are (n_clips, n_bands) [dB], groups numbers
    from 0; the variance within them is in dB².
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
    """Give a number from 0 to each attribute whose training clips may be compared; else -1.

    Only source clips count (a target clip also differs in background and microphone), and
    only attributes with at least two of them.
    """
    usable = (clips["split"] == "train") & ~(clips["domain"] == "target").fillna(False)
    names = clips["attribute"].astype("string").where(usable.astype(bool))
    names = names.where(names.map(names.value_counts()) >= 2)
    return np.asarray(pd.factorize(names, sort=True)[0], np.int64)


def band_information(
    spectra: ArrayStore, clips: pd.DataFrame, *, fmin: float = 100.0, fmax: float = 8000.0
) -> pd.DataFrame:
    """Where over frequency a machine's energy, its SNR and its attribute differences lie.

    Parameters
    ----------
    spectra : ArrayStore
        Store of `open_average_spectra`.
    clips : DataFrame
        Clip table; training and supplemental clips are used.
    fmin, fmax : float
        Range of the third-octave bands [Hz].

    Returns
    -------
    DataFrame
        One row per machine and band: ``machine_type, low_hz, high_hz, energy_share`` (of the
        training clips' mean power in the range, 0 to 1), ``within_db`` (standard deviation of
        the level between clips of one attribute), ``snr_db`` (from supplemental clips),
        ``attribute_share`` (`explained_variance` of the level). NaN where the clips for it are
        missing.
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
        parts.append(
            pd.DataFrame(
                {
                    "machine_type": machine,
                    "low_hz": edges_hz[:-1],
                    "high_hz": edges_hz[1:],
                    "energy_share": power.mean(0) / max(power.mean(0).sum(), 1e-30),
                    "within_db": np.sqrt(within) if len(power) > 1 else np.nan,
                    "snr_db": snr_db,
                    "attribute_share": share if len(np.unique(groups[known])) > 1 else np.nan,
                }
            )
        )
    if not parts:
        raise InputError(
            "The clip table holds no training clip. Choose a folder with <machine>/train."
        )
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


def power_in_bands(spectra: ArrayStore, clips: pd.DataFrame, edges_hz: Array) -> Array:
    """Power of clips per band [full scale squared], shape (n_clips, n_bands)."""
    return band_power(power_of_clips(spectra, clips), bin_frequencies_hz(spectra), edges_hz)
