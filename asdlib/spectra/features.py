"""From the waveform store to a memory-mapped, keyed store of log-mel spectrograms."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from asdlib.cores import available_cores
from asdlib.data.store import ArrayStore, open_or_build
from asdlib.errors import InputError
from asdlib.spectra.logmel import LogMelTransform
from asdlib.spectra.mel import LogMelSettings, check_highpass

#: Raised whenever the same settings would give other features.
CODE_VERSION = 1
#: Which part of a clip that is too long is kept.
LONG_CLIP_RULES = ("start", "centre", "end")
_BLOCK_CLIPS = 64


def fit_length(
    y: npt.NDArray[Any], n_samples: int, *, long_clips: str = "centre"
) -> npt.NDArray[Any]:
    """Bring a clip to a length: repeat a shorter one, keep a part of a longer one.

    Parameters
    ----------
    y : ndarray, shape (length,)
        Samples of one clip, any type.
    n_samples : int
        Wanted length.
    long_clips : {"centre", "start", "end"}
        Which part of a longer clip is kept. The report does not say; the centre avoids
        whatever happens while a recording is switched on or off.

    Returns
    -------
    ndarray, shape (n_samples,)
        A view where nothing had to be repeated.

    Raises
    ------
    InputError
        When the clip is empty, the length not positive or the rule unknown.

    References
    ----------
    Report, section 2.2: "For shorter audio below 10 seconds, we repeatedly concatenate".

    Examples
    --------
    >>> fit_length(np.array([1, 2, 3]), 7).tolist()
    [1, 2, 3, 1, 2, 3, 1]
    >>> fit_length(np.arange(10), 4, long_clips="centre").tolist()
    [3, 4, 5, 6]
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
    cache_dir: Path,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> ArrayStore:
    """Open the log-mel store of these clips; compute what of it is missing.

    Clips stream from the waveform store in blocks of 64 per thread, so that memory does not
    grow with the number of clips. The key holds the settings, duration and rule, the cut-off
    of every machine, the waveform store's own key and this module's version.

    Parameters
    ----------
    waveforms : ArrayStore
        int16 samples, one ragged row per clip (`asdlib.data.waveforms.open_waveforms`).
    clips : DataFrame
        Clip table; ``clip_id`` and ``machine_type`` are read.
    settings : LogMelSettings
    highpass_hz : mapping of str to float or None
        Cut-off per machine type [Hz]; None, or a machine not named, means no high-pass.
    duration_s : float
        Length every clip is brought to [s], see `fit_length`.
    long_clips : {"centre", "start", "end"}
        Which part of a longer clip is kept.
    cache_dir : Path
        Folder of the caches; the store lies in ``log_mel/<key>`` below it.
    workers : int or None
        Threads; None takes all processors.
    on_progress : callable
        Called with the number of clips just finished.

    Returns
    -------
    ArrayStore
        Rows (n_mels, n_frames) of float16 [dB], ids = ``clip_id`` in the table's order.
        float16 keeps levels to within 0.03 dB.

    Raises
    ------
    InputError
        When a clip is not in the waveform store or empty, a cut-off names an unknown machine
        or leaves nothing, the sample rate differs from the waveforms', or the store cannot be
        written.
    """
    n_samples = round(duration_s * settings.sample_rate)
    cutoffs = _cutoff_per_machine(clips, highpass_hz, settings)
    check_sample_rate(waveforms, settings.sample_rate)
    positions = waveforms.positions(clips["clip_id"])
    check_lengths(waveforms, positions)
    fit_length(np.zeros(1, np.int16), n_samples, long_clips=long_clips)  # refuse early
    machine_of_clip = clips["machine_type"].to_numpy()
    n_frames = settings.n_frames(n_samples)
    owned = threading.local()

    def transform(machine: str) -> LogMelTransform:
        if not hasattr(owned, "transforms"):
            torch.set_num_threads(1)  # of this thread: the clips are what runs in parallel
            owned.transforms = {}
        cutoff = cutoffs[machine]
        if cutoff not in owned.transforms:
            owned.transforms[cutoff] = LogMelTransform(settings, cutoff, torch.device("cpu"))
        found: LogMelTransform = owned.transforms[cutoff]
        return found

    def fill(first: int, last: int, out: npt.NDArray[Any]) -> None:
        rows = torch.from_numpy(out.reshape(last - first, 1, settings.n_mels, n_frames))
        for row, index in zip(rows, range(first, last), strict=True):
            samples = fit_length(
                waveforms.row(int(positions[index])), n_samples, long_clips=long_clips
            )
            batch = torch.from_numpy(np.require(samples, requirements=["C", "W"]))[None]
            transform(machine_of_clip[index])(batch, row)
        waveforms.release()

    with torch_threads_restored():
        return open_or_build(
            Path(cache_dir) / "log_mel",
            settings={
                "log_mel": settings.as_dict(),
                "highpass_hz": cutoffs,
                "duration_s": float(duration_s),
                "long_clips": long_clips,
                "waveforms": waveforms.directory.name,
                "code_version": CODE_VERSION,
            },
            ids=clips["clip_id"].tolist(),
            lengths=np.full(len(clips), settings.n_mels, np.int64),
            row_shape=(n_frames,),
            dtype=np.float16,
            fill=fill,
            block_rows=_BLOCK_CLIPS,
            workers=workers or available_cores(),
            on_progress=on_progress,
        )


def fitted_samples(
    features: ArrayStore, waveforms: ArrayStore, clip_id: str, *, first_frame: int, last_frame: int
) -> npt.NDArray[np.int16]:
    """Cut out the samples behind some frames of a clip's features: what the features heard.

    Parameters
    ----------
    features : ArrayStore
        Store of `open_log_mel`.
    waveforms : ArrayStore
        The store that the features were computed from.
    clip_id : str
    first_frame, last_frame : int
        Frames, the last one exclusive.

    Returns
    -------
    ndarray of int16
        ``hop_length`` samples per frame, fewer at the end of the clip.

    Raises
    ------
    InputError
        When the clip is not in the waveform store.
    """
    made_with = stored_settings(features)
    hop_length = int(made_with["log_mel"]["hop_length"])
    n_samples = round(made_with["duration_s"] * made_with["log_mel"]["sample_rate"])
    row = waveforms.row(int(waveforms.positions([clip_id])[0]))
    fitted = fit_length(row, n_samples, long_clips=made_with["long_clips"])
    return fitted[first_frame * hop_length : last_frame * hop_length]


def _cutoff_per_machine(
    clips: pd.DataFrame, highpass_hz: Mapping[str, float | None], settings: LogMelSettings
) -> dict[str, float | None]:
    machines = sorted(clips["machine_type"].unique())
    unknown = sorted(set(highpass_hz) - set(machines))
    if unknown:
        raise InputError(
            f"highpass_hz names {', '.join(unknown)}: not in the clip table, which has "
            f"{', '.join(machines)}."
        )
    cutoffs = {}
    for machine in machines:
        cutoff = highpass_hz.get(machine)
        check_highpass(cutoff, settings)
        cutoffs[machine] = None if cutoff is None else float(cutoff)
    return cutoffs


def check_sample_rate(waveforms: ArrayStore, sample_rate: float) -> None:
    """Refuse a sample rate other than the one the waveforms were stored at.

    Raises
    ------
    InputError
        When they differ.
    """
    rate = stored_settings(waveforms).get("sample_rate", sample_rate)
    if rate != sample_rate:
        raise InputError(
            f"sample_rate={sample_rate}: the waveforms in {waveforms.directory} have {rate} Hz. "
            "Use that rate, or resample when the waveforms are stored."
        )


def stored_settings(store: ArrayStore) -> dict[str, Any]:
    """Return the settings that a store was built with."""
    settings: dict[str, Any] = json.loads((store.directory / "meta.json").read_text())["settings"]
    return settings


def check_lengths(waveforms: ArrayStore, positions: npt.NDArray[np.int64]) -> None:
    """Refuse clips without samples.

    Raises
    ------
    InputError
        When one is empty, naming the first.
    """
    lengths = waveforms.offsets[positions + 1] - waveforms.offsets[positions]
    if (lengths == 0).any():
        first = waveforms.ids[positions[lengths == 0][0]]
        raise InputError(f"{first}: holds no samples. Remove the recording from the folder.")


@contextmanager
def torch_threads_restored() -> Iterator[None]:
    """Leave torch with as many threads per operation as it had before."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
