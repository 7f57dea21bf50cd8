"""What else is made of the clips: spectra for a second branch, frames for the baseline.

A spectrogram's frames resolve 16 Hz; the spectrum of 10 s resolves 0.1 Hz.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from asdlib.data.audio import FULL_SCALE, REMOVED_DB
from asdlib.data.cache import ClipFunction, map_clips
from asdlib.data.store import ArrayStore
from asdlib.errors import InputError
from asdlib.spectra.envelope import Array
from asdlib.spectra.features import fit_length
from asdlib.spectra.logmel import ClipTransform, LogMelTransform, Samples, as_samples
from asdlib.spectra.mel import LogMelSettings, highpass_response

#: Density below which nothing is kept [dB re full scale squared]: rounding to 16 bits alone
#: makes white noise of -101 dB.
FLOOR_DB = -100.0
#: Front end of the official baseline: all bands from 0 Hz on, levels down to the smallest
#: difference that double precision knows, no floor below a clip's maximum.
OFFICIAL_LOG_MEL = LogMelSettings(fmin=0.0, amin=sys.float_info.epsilon, top_db=None)


def spectrogram(
    y: Samples,
    *,
    sr: float = 16000,
    n_fft: int = 1024,
    hop_length: int = 512,
    top_db: float | None = 80.0,
) -> Samples:
    """Power spectrogram in decibel: what `log_mel` computes before its filters.

    Parameters and errors as of `log_mel`. Returns float32 of shape
    (..., 1 + n_fft // 2, n_frames) [dB], bin k at ``k * sr / n_fft`` Hz.
    """
    settings = LogMelSettings(
        sample_rate=sr, n_fft=n_fft, hop_length=hop_length, n_mels=1, fmax=sr / 2, top_db=top_db,
        fmin=0.0,
    )  # fmt: skip
    samples = as_samples(y)
    transform = LogMelTransform(settings, None, samples.device)
    levels = torch.stack(
        [
            transform.decibel(transform.spectrum(clip[None]).mT.clone())[0]
            for clip in samples.reshape(-1, samples.shape[-1])
        ]
    )
    levels = levels.reshape(*samples.shape[:-1], *levels.shape[1:])
    return levels if isinstance(y, torch.Tensor) else levels.numpy()


def clip_spectrum(
    y: npt.NDArray[Any],
    *,
    sample_rate: float = 16000,
    highpass_hz: float | None = None,
    pool_bins: int = 1,
) -> Array:
    r"""Spectrum of a whole clip as power density [dB re full scale squared], no window.

    :math:`10 \log_{10} \max(10^{-10}, |H(f_k)|^2 |X_k|^2 / N)`, H the high-pass. K. Wilkinghoff
    (ICASSP 2024) feeds the magnitude; the logarithm lets no tone drown all others and makes a gain
    an offset. A clip repeated to its length has power at harmonics of its own duration only:
    average ``pool_bins`` bins.
    """
    if y.ndim != 1 or len(y) == 0:
        raise InputError(f"y has shape {y.shape}: expected the samples of one clip.")
    n_bins = count_bins(len(y), pool_bins)
    scale = 1.0 / FULL_SCALE if y.dtype == np.int16 else 1.0
    # torch, not numpy: its transform uses the threads it is given, and is twice as fast.
    spectrum = torch.fft.rfft(torch.from_numpy(y.astype(np.float64) * scale))
    power: Array = torch.view_as_real(spectrum).square_().sum(-1).numpy() / len(y)
    if highpass_hz is not None:
        power *= _response(len(y), sample_rate, highpass_hz)
    pooled: Array = power[: n_bins * pool_bins].reshape(n_bins, pool_bins).mean(axis=1)
    level: Array = 10 * np.log10(np.maximum(pooled, 10 ** (FLOOR_DB / 10)))
    return level


@lru_cache(maxsize=16)
def _response(n_samples: int, sample_rate: float, highpass_hz: float) -> Array:
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
    cache_dir: Path,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> ArrayStore:
    """Open the spectra that belong to log-mel features; compute what of them is missing.

    Clips, their order, their length and what is kept of longer ones, sample rate and high-pass
    are those of the log-mel store, so that a position in one store is a position in the other.

    Parameters
    ----------
    waveforms, cache_dir, workers, on_progress
        As for `asdlib.spectra.open_log_mel`, and the same errors.
    features : ArrayStore
        Log-mel store of the clips (`asdlib.spectra.open_log_mel`).
    pool_bins : int
        See `clip_spectrum`; 1 keeps the 80 001 bins of 10 s at 16 kHz, 160 kB a clip.

    Returns
    -------
    ArrayStore
        Rows (n_bins, 1) of float16 [dB], which keeps 0.03 dB; ids as in ``features``. Bins below a
        high-pass hold `asdlib.data.audio.REMOVED_DB`.
    """
    made_of = features.settings
    sample_rate, cutoffs = made_of["log_mel"]["sample_rate"], made_of["highpass_hz"]
    n_samples = round(made_of["duration_s"] * sample_rate)
    machine_of_clip = features.ids.str.split("/").str[0]

    def spectrum_of(index: int, samples: npt.NDArray[Any], out: npt.NDArray[Any]) -> None:
        cutoff = cutoffs[machine_of_clip[index]]
        out[:, 0] = clip_spectrum(
            fit_length(samples, n_samples, long_clips=made_of["long_clips"]),
            sample_rate=sample_rate,
            highpass_hz=cutoff,
            pool_bins=pool_bins,
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
            "highpass_hz": cutoffs,
            "duration_s": made_of["duration_s"],
            "long_clips": made_of["long_clips"],
            "pool_bins": int(pool_bins),
        },
        lengths=count_bins(n_samples, pool_bins),
        row_shape=(1,),
        dtype=np.float16,
        cache_dir=cache_dir,
        workers=workers,
        on_progress=on_progress,
    )


def open_frames(
    waveforms: ArrayStore,
    clips: pd.DataFrame,
    *,
    settings: LogMelSettings,
    min_frames: int = 1,
    cache_dir: Path,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> ArrayStore:
    """Open the store of log-mel frames of these clips; compute what of it is missing.

    Unlike in `open_log_mel`, no clip is repeated or cut to a common length, there
    is no high-pass, and time is the first axis: neighbouring frames of a clip lie next to
    each other in the file, so that a stack of them is one stretch of it.

    Parameters
    ----------
    waveforms, clips, settings, cache_dir, workers, on_progress
        As for `open_log_mel`, and the same errors.
    min_frames : int
        A clip with fewer frames is repeated until it has as many.

    Returns
    -------
    ArrayStore
        Ragged rows (n_frames of the clip, n_mels) of float16 [dB], ids = ``clip_id`` in the
        table's order.
    """
    clip_ids = clips["clip_id"].tolist()
    positions = waveforms.positions(clip_ids)
    n_samples = np.maximum(
        waveforms.offsets[positions + 1] - waveforms.offsets[positions],
        (min_frames - 1) * settings.hop_length + settings.n_fft % 2,  # one more if odd
    )

    def make_function() -> ClipFunction:
        transform = ClipTransform(settings)

        def frames_of(index: int, samples: Array, out: Array) -> None:
            transform(fit_length(samples, int(n_samples[index])), out.T)

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
        cache_dir=cache_dir,
        workers=workers,
        on_progress=on_progress,
    )
