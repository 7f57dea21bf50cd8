"""The features of all clips: each brought to one length, high-passed per machine, log-mel.

"For shorter audio below 10 seconds, we repeatedly concatenate to ensure that all audio has a
duration of 10 seconds. Then we transformed all audio clip into LogMel feature." (report,
section 2.2)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from typing_extensions import Unpack

from asdlib.base import InputError, refuse_unknown
from asdlib.data.audio import REMOVED_DB
from asdlib.data.cache import ClipFunction, StoreOptions, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.logmel import LogMelSettings, LogMelTransform, check_highpass, mel_matrix

Array = npt.NDArray[Any]

#: Which part of a clip that is too long is kept.
LONG_CLIP_RULES = ("start", "centre", "end")


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
    refuse_unknown(highpass_hz, machines, "highpass_hz: the clip table has no machine")
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
