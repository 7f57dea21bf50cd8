"""Features beside the report's: frames, spectra of whole clips, spectrograms without mel filters.

The official autoencoder learns frames; the network's second branch sees the spectrum of a whole
clip: a spectrogram's frames resolve 16 Hz, the spectrum of 10 s resolves 0.1 Hz.
"""

from __future__ import annotations

import sys
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
from asdlib.spectra.features import fit_length
from asdlib.spectra.logmel import LogMelSettings, LogMelTransform, as_samples, highpass_response

Array = npt.NDArray[Any]

#: Front end of the official baseline: all bands from 0 Hz on, levels down to the smallest
#: difference that double precision knows, no floor below a clip's maximum.
OFFICIAL_LOG_MEL = LogMelSettings(fmin=0.0, amin=sys.float_info.epsilon, top_db=None)
#: Density below which nothing is kept [dB re full scale squared]: rounding to 16 bits alone
#: makes white noise of -101 dB.
FLOOR_DB = -100.0


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


def spectrogram(y: Array, *, n_fft: int = 1024, hop_length: int = 512) -> npt.NDArray[np.float32]:
    """Power spectrogram of a clip in decibel: what `log_mel` computes before its filters.

    Samples (n_samples,) and errors as of `log_mel`. Returns shape (1 + n_fft // 2, n_frames) [dB],
    from 0 Hz to half the sample rate.
    """
    transform = LogMelTransform(LogMelSettings(n_fft=n_fft, hop_length=hop_length, n_mels=1))
    level = transform.decibel(transform.spectrum(as_samples(y)).T.clone())
    return np.asarray(level.numpy())
