"""The training itself: one model for all machines, epoch after epoch, resumable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock

from asdlib.errors import InputError
from asdlib.training.batches import feature_batches
from asdlib.training.checkpoint import (
    Identity,
    TrainedModel,
    history_table,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from asdlib.training.classes import ClassTable
from asdlib.training.examples import Examples
from asdlib.training.settings import TrainSettings, choose_device
from asdlib.training.trainer import Trainer


def train(
    features: npt.NDArray[Any],
    positions: npt.NDArray[np.int64],
    classes: ClassTable,
    settings: TrainSettings,
    *,
    feature_key: str,
    spectrum: npt.NDArray[Any] | None = None,
    spectrum_key: str = "",
    checkpoint_dir: Path,
    device: str = "auto",
    on_epoch: Callable[[pd.DataFrame], object] = lambda history: None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> TrainedModel:
    """Train the network to tell the classes apart; or read it, if that was done before.

    A checkpoint is written after every epoch. A training that was interrupted goes on from the
    last one and ends in the same weights as if it had not been: the random numbers of an epoch
    depend on the seed and the epoch alone. On the CPU the result is the same bit for bit for
    one seed and one number of threads. On CUDA the sums of some gradients have no fixed order,
    and the computation runs in bfloat16 where autocast allows it.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_mels, n_frames)
        Log-mel features [dB], usually the memory-mapped array of a store.
    positions : ndarray of int64, shape (len(classes.clips),)
        Row of ``features`` for every row of ``classes.clips``, in that order
        (``store.positions(classes.clips["clip_id"])``).
    classes : ClassTable
        The training examples and their classes.
    settings : TrainSettings
        Everything else that shapes the result.
    feature_key : str
        Key of the features (the name of the store's folder).
    spectrum : ndarray, shape (n_rows, n_bins, 1), optional
        Spectra of whole clips [dB] in the rows of ``features``
        (`asdlib.spectra.spectrum.open_spectrum`); for two branches, and for them alone.
    spectrum_key : str
        Key of the spectra.
    checkpoint_dir : Path
        Folder of the checkpoints; this training's lies in a folder below it that is named by
        all of the above.
    device : str
        See `asdlib.training.settings.choose_device`.
    on_epoch : callable
        Called after every epoch with the history so far (see `TrainedModel`).
    on_progress : callable
        Called with the number of training examples just seen; those of epochs found finished
        come first. In all: ``settings.epochs * len(classes.clips)``.

    Returns
    -------
    TrainedModel

    Raises
    ------
    InputError
        When the checkpoint found does not fit or is damaged, the features are not finite or
        too few, the spectra do not go with the settings or the features, the loss diverges, the
        device is not there, or the folder cannot be written.
    """
    if len(positions) != len(classes.clips):
        raise InputError(
            f"There are {len(positions)} positions for {len(classes.clips)} training examples. "
            'Use store.positions(classes.clips["clip_id"]).'
        )
    if (spectrum is not None) != (settings.branches == "two"):
        given = "no spectrum" if spectrum is None else "a spectrum"
        raise InputError(
            f"branches={settings.branches!r}: there is {given}. Two branches need one "
            "(asdlib.spectra.open_spectrum), one branch has no use for it."
        )
    identity = Identity.of(
        settings,
        classes,
        feature_key=feature_key,
        n_mels=features.shape[1],
        spectrum_key=spectrum_key,
        n_bins=0 if spectrum is None else spectrum.shape[1],
    )
    path = identity.path(checkpoint_dir)
    lock = _lock(path)
    with lock:
        if path.exists():
            checkpoint = load_checkpoint(path, expected=identity)
            if checkpoint.is_complete:
                on_progress(settings.epochs * len(positions))
                on_epoch(history_table(checkpoint.history))
                return load_model(path, expected=identity)
        else:
            checkpoint = None
        chosen = choose_device(device)
        batches = feature_batches(features, spectrum, positions, chosen)
        examples = Examples(classes, batches, settings, chosen)
        trainer = Trainer(identity, examples, chosen, resume_from=checkpoint)
        on_progress(trainer.epoch * len(positions))
        while trainer.epoch < settings.epochs:
            trainer.run_epoch(on_progress=on_progress)
            save_checkpoint(path, trainer.checkpoint())
            on_epoch(history_table(trainer.history))
    return load_model(path, expected=identity)


def _lock(path: Path) -> FileLock:
    """Keep a second process from training the same network at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "lock").touch()
    except OSError as error:
        raise InputError(
            f"{path.parent}: cannot be written ({error.strerror}). "
            "Choose a writable folder (--out)."
        ) from error
    return FileLock(path.parent / "lock")
