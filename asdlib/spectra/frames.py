"""Log-mel frames of clips at their own length, for models that look at a few frames at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from asdlib.data.cache import ClipFunction, map_clips
from asdlib.data.store import ArrayStore
from asdlib.spectra.features import Array, fit_length
from asdlib.spectra.logmel import ClipTransform
from asdlib.spectra.mel import LogMelSettings

#: Front end of the official baseline: all bands from 0 Hz on, levels down to the smallest
#: difference that double precision knows, no floor below a clip's maximum.
OFFICIAL_LOG_MEL = LogMelSettings(fmin=0.0, amin=sys.float_info.epsilon, top_db=None)


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

    Unlike `asdlib.spectra.open_log_mel`, no clip is repeated or cut to a common length, there
    is no high-pass, and time is the first axis: neighbouring frames of a clip lie next to
    each other in the file, so that a stack of them is one stretch of it.

    Parameters
    ----------
    waveforms : ArrayStore
        int16 samples, one ragged row per clip (`asdlib.data.waveforms.open_waveforms`).
    clips : DataFrame
        Clip table; ``clip_id`` is read.
    settings : LogMelSettings
    min_frames : int
        A clip with fewer frames is repeated until it has as many.
    cache_dir : Path
        Folder of the caches; the store lies in ``frames/<key>`` below it.
    workers : int or None
        Threads; None takes all processors.
    on_progress : callable
        Called with the number of clips just finished.

    Returns
    -------
    ArrayStore
        Ragged rows (n_frames of the clip, n_mels) of float16 [dB], ids = ``clip_id`` in the
        table's order.

    Raises
    ------
    InputError
        When a clip is not in the waveform store or empty, the sample rate differs from the
        waveforms', or the store cannot be written.
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
