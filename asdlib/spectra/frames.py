"""Log-mel frames of clips at their own length, for models that look at a few frames at a time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from asdlib.cores import available_cores
from asdlib.data.store import ArrayStore, open_or_build
from asdlib.spectra.features import (
    check_lengths,
    check_sample_rate,
    fit_length,
    torch_threads_restored,
)
from asdlib.spectra.logmel import LogMelTransform
from asdlib.spectra.mel import LogMelSettings

#: Raised whenever the same settings would give other frames.
CODE_VERSION = 1
_BLOCK_CLIPS = 64

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
    check_sample_rate(waveforms, settings.sample_rate)
    positions = waveforms.positions(clips["clip_id"])
    check_lengths(waveforms, positions)
    n_samples = np.maximum(
        waveforms.offsets[positions + 1] - waveforms.offsets[positions],
        (min_frames - 1) * settings.hop_length + settings.n_fft % 2,  # one more if odd
    )
    lengths = np.array([settings.n_frames(int(count)) for count in n_samples], np.int64)
    owned = threading.local()

    def transform() -> LogMelTransform:
        if not hasattr(owned, "transform"):
            torch.set_num_threads(1)  # of this thread: the clips are what runs in parallel
            owned.transform = LogMelTransform(settings, None, torch.device("cpu"))
        found: LogMelTransform = owned.transform
        return found

    def fill(first: int, last: int, out: npt.NDArray[Any]) -> None:
        start = 0
        for index in range(first, last):
            samples = fit_length(waveforms.row(int(positions[index])), int(n_samples[index]))
            batch = torch.from_numpy(np.require(samples, requirements=["C", "W"]))[None]
            frames = torch.from_numpy(out[start : start + lengths[index]])
            transform()(batch, frames.T[None])
            start += int(lengths[index])
        waveforms.release()

    with torch_threads_restored():
        return open_or_build(
            Path(cache_dir) / "frames",
            settings={
                "log_mel": settings.as_dict(),
                "min_frames": min_frames,
                "waveforms": waveforms.directory.name,
                "code_version": CODE_VERSION,
            },
            ids=clips["clip_id"].tolist(),
            lengths=lengths,
            row_shape=(settings.n_mels,),
            dtype=np.float16,
            fill=fill,
            block_rows=_BLOCK_CLIPS,
            workers=workers or available_cores(),
            on_progress=on_progress,
        )
