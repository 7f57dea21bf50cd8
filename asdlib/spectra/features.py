"""Stores made of the clips: log-mel for the network, spectra for a second branch, frames.

Section 2.2 of the report: "For shorter audio below 10 seconds, we repeatedly concatenate to
ensure that all audio has a duration of 10 seconds. Then we transformed all audio clip into LogMel
feature." A spectrogram's frames resolve 16 Hz; the spectrum of 10 s resolves 0.1 Hz.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from typing_extensions import Unpack

from asdlib.base import InputError
from asdlib.data.audio import FULL_SCALE, REMOVED_DB
from asdlib.data.cache import ClipFunction, StoreOptions, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.logmel import (
    LogMelSettings,
    LogMelTransform,
    check_highpass,
    highpass_response,
    mel_matrix,
)

Array = npt.NDArray[Any]

#: Which part of a clip that is too long is kept.
LONG_CLIP_RULES = ("start", "centre", "end")
#: Density below which nothing is kept [dB re full scale squared]: rounding to 16 bits alone
#: makes white noise of -101 dB.
FLOOR_DB = -100.0


def fit_length(y: Array, n_samples: int, *, long_clips: str = "centre") -> Array:
    """Bring samples of a clip to a length: repeat a shorter one, keep a part of a longer one.

    The report does not say which; the centre avoids the noise of switching a recording on or off.
    """
    if long_clips not in LONG_CLIP_RULES:
        raise InputError(
            f"long_clips={long_clips!r}: expected one of {', '.join(LONG_CLIP_RULES)}."
        )
    if y.ndim != 1 or len(y) == 0:
        raise InputError(f"y has shape {y.shape}: expected the samples of one clip.")
    if n_samples < 1:
        raise InputError(f"n_samples={n_samples}: expected at least 1.")
    surplus = len(y) - n_samples
    if surplus < 0:
        return np.resize(y, n_samples)
    first = {"start": 0, "centre": surplus // 2, "end": surplus}[long_clips]
    return y[first : first + n_samples]


def open_log_mel(
    waveforms: ArrayStore,
    clips: pd.DataFrame,
    *,
    settings: LogMelSettings,
    highpass_hz: Mapping[str, float | None],
    duration_s: float = 10.0,
    long_clips: str = "centre",
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the log-mel store of these clips; compute what of it is missing.

    Parameters
    ----------
    waveforms : ArrayStore
        int16 samples, one ragged row per clip (`asdlib.data.waveforms.open_waveforms`).
    clips : DataFrame
        Clip table; ``clip_id`` and ``machine_type`` are read.
    highpass_hz : mapping of str to float or None
        Cut-off per machine type [Hz]; None, or a machine not named, means no high-pass.
    duration_s, long_clips
        Length every clip is brought to [s], and how, see `fit_length`.
    options
        Of `asdlib.data.cache.StoreOptions`.

    Returns
    -------
    ArrayStore
        Rows (n_mels, n_frames) of float16 [dB], ids = ``clip_id`` in the table's order.
        float16 keeps levels to within 0.03 dB. Bands that the high-pass takes away hold
        `asdlib.data.audio.REMOVED_DB`: a floor that follows the clip would tell its level.

    Raises
    ------
    InputError
        When a clip is not in the waveform store or empty, a cut-off names an unknown machine or
        leaves nothing, or the sample rate differs from the waveforms'.
    """
    n_samples = round(duration_s * settings.sample_rate)
    machines = sorted(clips["machine_type"].unique())
    unknown = sorted(set(highpass_hz) - set(machines))
    if unknown:
        raise InputError(
            f"highpass_hz names {', '.join(unknown)}: not in the clip table, which has "
            f"{', '.join(machines)}."
        )
    cutoffs = {name: check_highpass(highpass_hz.get(name), settings) for name in machines}
    fit_length(np.zeros(1, np.int16), n_samples, long_clips=long_clips)  # refuse early
    cutoff_of_clip = [cutoffs[machine] for machine in clips["machine_type"]]

    def make_function() -> ClipFunction:
        transforms = {cutoff: LogMelTransform(settings, cutoff) for cutoff in set(cutoff_of_clip)}
        removed = {cutoff: removed_bands(settings, cutoff) for cutoff in transforms}

        def log_mel_of(index: int, samples: Array, out: Array) -> None:
            fitted = fit_length(samples, n_samples, long_clips=long_clips)
            transforms[cutoff_of_clip[index]].write_clip(fitted, out)
            out[removed[cutoff_of_clip[index]]] = REMOVED_DB

        return log_mel_of

    return map_clips(
        waveforms,
        clips["clip_id"].tolist(),
        make_function,
        kind="log_mel",
        settings={
            "log_mel": settings.as_dict(),
            "highpass_hz": cutoffs,
            "duration_s": float(duration_s),
            "long_clips": long_clips,
        },
        lengths=settings.n_mels,
        row_shape=(settings.n_frames(n_samples),),
        dtype=np.float16,
        sample_rate=settings.sample_rate,
        **options,
    )


def removed_bands(settings: LogMelSettings, highpass_hz: float | None) -> npt.NDArray[np.bool_]:
    """Which bands a high-pass empties, shape (n_mels,); none without one."""
    before, after = (mel_matrix(settings, cut).any(1).numpy() for cut in (None, highpass_hz))
    return np.asarray(before & ~after)


def open_frames(
    waveforms: ArrayStore,
    clips: pd.DataFrame,
    *,
    settings: LogMelSettings,
    min_frames: int = 1,
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the store of log-mel frames of these clips; compute what of it is missing.

    Arguments and errors are as for `open_log_mel`, but clips keep their length (one of fewer than
    ``min_frames`` is repeated) and have no high-pass. Ragged rows (n_frames of the clip, n_mels) of
    float16 [dB], so that a stack of frames is one stretch of the file.
    """
    clip_ids = clips["clip_id"].tolist()
    n_samples = np.maximum(
        np.diff(waveforms.offsets)[waveforms.positions(clip_ids)],
        (min_frames - 1) * settings.hop_length + settings.n_fft % 2,  # one more if odd
    )

    def make_function() -> ClipFunction:
        transform = LogMelTransform(settings)

        def frames_of(index: int, samples: Array, out: Array) -> None:
            transform.write_clip(fit_length(samples, int(n_samples[index])), out.T)

        return frames_of

    return map_clips(
        waveforms,
        clip_ids,
        make_function,
        kind="frames",
        settings={"log_mel": settings.as_dict(), "min_frames": min_frames},
        lengths=np.array([settings.n_frames(int(count)) for count in n_samples], np.int64),
        row_shape=(settings.n_mels,),
        dtype=np.float16,
        sample_rate=settings.sample_rate,
        **options,
    )


def clip_spectrum(
    y: Array,
    *,
    sample_rate: float = 16000,
    highpass_hz: float | None = None,
    pool_bins: int = 1,
) -> npt.NDArray[np.float64]:
    r"""Spectrum of a whole clip as power density [dB re full scale squared], no window.

    :math:`10 \log_{10} \max(10^{-10}, |H(f_k)|^2 |X_k|^2 / N)`, H the high-pass, after K.
    Wilkinghoff (ICASSP 2024), whose is without logarithm: with it no tone drowns all others and a
    gain is an offset. A clip repeated to its length has power at harmonics of its own duration
    only: average ``pool_bins`` bins.
    """
    if y.ndim != 1 or len(y) == 0:
        raise InputError(f"y has shape {y.shape}: expected the samples of one clip.")
    n_bins = count_bins(len(y), pool_bins)
    scale = 1.0 / FULL_SCALE if y.dtype == np.int16 else 1.0
    # torch, not numpy: its transform uses the threads it is given, and is twice as fast.
    spectrum = torch.fft.rfft(torch.from_numpy(y.astype(np.float64) * scale))
    power = torch.view_as_real(spectrum).square_().sum(-1).numpy() / len(y)
    if highpass_hz is not None:
        power *= _response(len(y), sample_rate, highpass_hz)
    pooled = power[: n_bins * pool_bins].reshape(n_bins, pool_bins).mean(axis=1)
    return np.asarray(10 * np.log10(np.maximum(pooled, 10 ** (FLOOR_DB / 10))))


@lru_cache(maxsize=16)
def _response(n_samples: int, sample_rate: float, highpass_hz: float) -> npt.NDArray[np.float64]:
    return highpass_response(np.fft.rfftfreq(n_samples, 1.0 / sample_rate), highpass_hz)


def count_bins(n_samples: int, pool_bins: int = 1) -> int:
    """Count the values of a clip's spectrum, ``pool_bins`` bins each; none is an error."""
    n_bins = n_samples // 2 + 1
    if not 1 <= pool_bins <= n_bins:
        raise InputError(f"pool_bins={pool_bins}: expected 1 to {n_bins}, the number of bins.")
    return n_bins // pool_bins


def open_spectrum(
    waveforms: ArrayStore,
    features: ArrayStore,
    *,
    pool_bins: int = 1,
    **options: Unpack[StoreOptions],
) -> ArrayStore:
    """Open the spectra (`clip_spectrum`) of log-mel features; compute what of them is missing.

    Clips, their order and length, sample rate and high-pass are those of the log-mel store, so
    that a position in one store is a position in the other. Rows (n_bins, 1) of float16 [dB],
    80 001 bins of 10 s at 16 kHz over ``pool_bins``; below a high-pass `REMOVED_DB`.
    """
    made_of = features.settings
    sample_rate, cutoffs = made_of["log_mel"]["sample_rate"], made_of["highpass_hz"]
    n_samples = round(made_of["duration_s"] * sample_rate)
    machine_of_clip = features.ids.str.split("/").str[0]

    def spectrum_of(index: int, samples: Array, out: Array) -> None:
        cutoff = cutoffs[machine_of_clip[index]]
        fitted = fit_length(samples, n_samples, long_clips=made_of["long_clips"])
        out[:, 0] = clip_spectrum(
            fitted, sample_rate=sample_rate, highpass_hz=cutoff, pool_bins=pool_bins
        )
        if cutoff is not None:
            response = _response(n_samples, sample_rate, cutoff)[: len(out) * pool_bins]
            out[~response.reshape(len(out), pool_bins).any(1)] = REMOVED_DB

    return map_clips(
        waveforms,
        features.ids.tolist(),
        lambda: spectrum_of,
        kind="spectrum",
        settings={
            "sample_rate": sample_rate,
            "pool_bins": int(pool_bins),
            **{name: made_of[name] for name in ("highpass_hz", "duration_s", "long_clips")},
        },
        lengths=count_bins(n_samples, pool_bins),
        row_shape=(1,),
        dtype=np.float16,
        **options,
    )
