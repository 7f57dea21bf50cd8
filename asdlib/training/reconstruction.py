"""The autoencoder of every machine, and the files that carry its residuals to the scoring."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from asdlib.base import (
    InputError,
    available_cores,
    choose_device,
    torch_threads_restored,
    use_one_torch_thread,
)
from asdlib.data.cache import arrays_key, cached, kept, read_arrays
from asdlib.data.store import ArrayStore
from asdlib.training.classes import learnt_clips
from asdlib.training.frame_autoencoder import (
    STACKED_FRAMES,
    Autoencoder,
    AutoencoderSettings,
    FrameStacks,
    clip_residuals,
    fit,
    residual_covariance,
    stack_starts,
)

Arrays = dict[str, npt.NDArray[Any]]

#: What the names of the weights begin with in a machine's file.
_WEIGHT = "network."


def open_reconstructions(
    frames: ArrayStore,
    clips: pd.DataFrame,
    settings: AutoencoderSettings,
    *,
    folder: Path,
    cache_dir: Path,
    device: str = "auto",
    workers: int | None = None,
    on_epoch: Callable[[int], object] = lambda epochs: None,
) -> dict[str, Arrays]:
    """Train one autoencoder per machine and keep its residuals; read those that exist.

    A machine's network is kept in ``cache_dir``, for all that learn from the same clips, and its
    file ``<folder>/<machine>.npz`` is written when the machine is finished, so that an interrupted
    call goes on with the next one. On the CPU ``workers`` machines (None: one per core) train side
    by side, one thread each: the result depends on the machine's own clips and the seed alone.
    float32 everywhere.

    Parameters
    ----------
    frames : ArrayStore
        Ragged rows (n_frames, n_mels) [dB] as from `asdlib.spectra.open_frames`, each of at
        least 5 frames.
    clips : DataFrame
        Clip table. `asdlib.training.learnt_clips` are learnt from; training and test clips get
        residuals.
    device : str
        See `asdlib.base.choose_device`.
    on_epoch : callable
        Called with the number of epochs just finished; in all: epochs times machines.

    Returns
    -------
    dict of str to dict of arrays
        By machine type ``clip_id`` (text), ``mse`` (float64) [dB²], ``mean_residual`` (float32,
        n_clips x n_mels) [dB]; ``domain`` (text), ``covariance`` (float64, n_domains x n_mels x
        n_mels) [dB²], ``n_stacks`` (int64); ``loss``, ``validation_loss`` (float64, epochs) [dB²];
        ``settings`` (JSON text), all that shaped them.

    Raises
    ------
    InputError
        When a machine has no training clip or too few frames, a clip is not in the store, the
        loss diverges, the device is not there or a file is damaged or cannot be written.
    """
    chosen = choose_device(device)
    used = clips[clips["split"].isin(["train", "test"])]
    jobs = [
        _Job(str(machine), own, frames, settings, folder, cache_dir, chosen)
        for machine, own in used.groupby("machine_type", sort=True)
    ]
    stop, lock = threading.Event(), threading.Lock()

    def count(epochs: int) -> None:
        with lock:  # progress bars are not made for threads
            on_epoch(epochs)
        if stop.is_set():
            raise InterruptedError

    at_once = 1 if chosen.type == "cuda" else min(workers or available_cores(), len(jobs))
    pool = ThreadPoolExecutor(max_workers=max(at_once, 1))
    try:
        with torch_threads_restored():
            arrays = pool.map(lambda job: job.run(count), jobs)
            return {job.machine: own for job, own in zip(jobs, arrays, strict=True)}
    finally:
        stop.set()  # after an error or Ctrl-C the other machines end with their epoch
        pool.shutdown(wait=True, cancel_futures=True)


class _Job:
    """One machine's training; its weights are drawn here, in the calling thread."""

    def __init__(
        self,
        machine: str,
        clips: pd.DataFrame,
        frames: ArrayStore,
        settings: AutoencoderSettings,
        folder: Path,
        cache_dir: Path,
        device: torch.device,
    ) -> None:
        if not clips["split"].eq("train").any():
            raise InputError(
                f"{machine}: has no training clip to learn from. Add normal clips to its folder "
                "'train' or leave the machine out."
            )
        self.machine, self._settings, self._device = machine, settings, device
        self._path, self._cache_dir = folder / f"{machine}.npz", cache_dir
        self._clips = clips.reset_index(drop=True)
        self._learnt = learnt_clips(self._clips)
        self._frames = frames
        self._positions = frames.positions(clips["clip_id"])
        self._rng = np.random.default_rng([settings.seed, zlib.crc32(machine.encode())])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._rng.integers(2**31)))
            self._network = Autoencoder(STACKED_FRAMES * int(frames.flat.shape[1]))

    @property
    def _trained_by(self) -> dict[str, Any]:
        """What shaped the network: a test clip more or less does not."""
        train = self._clips[self._clips["split"].eq("train")]
        return {
            "settings": vars(self._settings),
            "frames": self._frames.rows_key(train["clip_id"]),
            "machine_type": self.machine,
            "domains": train["domain"].astype("string").fillna("").tolist(),
            "learnt": self._learnt["clip_id"].tolist(),
        }

    def run(self, count: Callable[[int], None]) -> Arrays:
        """Read the machine's files where they fit, else train and write them."""
        if self._device.type == "cpu":
            use_one_torch_thread()
        trained_by = self._trained_by
        trained = kept(
            self._cache_dir,
            lambda: self._train(lambda: count(1)),
            kind="residuals",
            settings=trained_by,
            on_found=lambda: count(self._settings.epochs),
        )
        clips = {"clips": self._frames.rows_key(self._clips["clip_id"])}
        return cached(
            self._path, lambda: self._with_residuals(trained), kind="residuals",
            settings={**trained_by, **clips},
        )  # fmt: skip

    def _train(self, on_epoch: Callable[[], object]) -> Arrays:
        train = self._clips[self._clips["split"].eq("train")]
        stacks, starts_of_clip = self._stacks(self._positions[train.index])
        is_learnt = train.index.isin(self._learnt.index)
        learnt = np.concatenate(list(compress(starts_of_clip, is_learnt)))
        held_out = [*compress(starts_of_clip, ~is_learnt), learnt[:0]]
        network = self._network.to(self._device)
        try:
            history = fit(
                network, stacks, learnt, np.concatenate(held_out), self._settings, self._rng,
                on_epoch=on_epoch,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"{self.machine}: {error}") from error
        domain_of_stack = np.repeat(
            self._learnt["domain"].astype("string").fillna("unknown").to_numpy(str),
            [len(starts) for starts in compress(starts_of_clip, is_learnt)],
        )
        order = self._rng.permutation(len(learnt))  # batches of many clips
        domain, covariance, n_stacks = residual_covariance(
            network, stacks, learnt[order], domain_of_stack[order],
            batch_size=self._settings.batch_size,
        )  # fmt: skip
        return {
            "domain": np.array(domain, dtype=np.str_),
            "covariance": covariance,
            "n_stacks": n_stacks,
            **{name: np.array(values) for name, values in history.items()},
            **{_WEIGHT + name: value.cpu().numpy() for name, value in network.state_dict().items()},
        }

    def _with_residuals(self, trained: Arrays) -> Arrays:
        network = _network_of(trained, self._frames).to(self._device)
        mse, mean_residual = clip_residuals(network, *self._stacks(self._positions))
        ids = self._clips["clip_id"].to_numpy(str)
        return {**trained, "clip_id": ids, "mse": mse, "mean_residual": mean_residual}

    def _stacks(
        self, positions: npt.NDArray[np.int64]
    ) -> tuple[FrameStacks, list[npt.NDArray[np.int64]]]:
        """Stacks of frames of some clips, and where those of each clip begin."""
        offsets = self._frames.offsets
        first, last = offsets[positions.min()], offsets[positions.max() + 1]
        stacks = FrameStacks(self._frames.flat[first:last], self._device)
        return stacks, stack_starts(offsets - first, positions)


def _network_of(arrays: Arrays, frames: ArrayStore) -> Autoencoder:
    """Make the trained network that a machine's file holds."""
    network = Autoencoder(STACKED_FRAMES * int(frames.flat.shape[1]))
    names = [name for name in arrays if name.startswith(_WEIGHT)]
    network.load_state_dict({n.removeprefix(_WEIGHT): torch.from_numpy(arrays[n]) for n in names})
    return network


def load_reconstruction(path: Path) -> Arrays:
    """Read one machine's file of `open_reconstructions`; refuses one that is missing or damaged."""
    names = ("clip_id", "mse", "mean_residual", "domain", "covariance", "n_stacks", "loss")
    return read_arrays(path, *names, what="residuals", made_in="notebook 03")


def reconstruct(
    arrays: Arrays, frames: ArrayStore, clip_ids: Sequence[str], *, cache_dir: Path
) -> Arrays:
    """Reconstruct other clips by a machine's autoencoder, given its file (`load_reconstruction`).

    ``frames`` have the settings of those that were learnt from. Returns the same arrays with these
    clips' ``clip_id``, ``mse`` and ``mean_residual`` appended, which are kept in ``cache_dir``; a
    clip that the file has already is not there twice.
    """
    positions = frames.positions(clip_ids)

    def make() -> Arrays:
        stacks, starts = FrameStacks(frames.flat, torch.device("cpu")), frames.offsets
        found = clip_residuals(_network_of(arrays, frames), stacks, stack_starts(starts, positions))
        return dict(zip(("mse", "mean_residual"), found, strict=True))

    weights = {name: array for name, array in arrays.items() if name.startswith(_WEIGHT)}
    settings = {"network": arrays_key(weights), "frames": frames.rows_key(clip_ids)}
    new = kept(cache_dir, make, kind="residuals", settings=settings)
    new["clip_id"] = np.asarray(clip_ids, str)
    others = ~np.isin(arrays["clip_id"], new["clip_id"])
    appended = {
        name: np.concatenate([arrays[name][others], new[name]])
        for name in new
        if name != "settings"
    }
    return {**arrays, **appended}


def loss_table(reconstructions: Mapping[str, Arrays]) -> pd.DataFrame:
    """List the losses of `open_reconstructions`: machine_type, epoch, loss, validation_loss."""
    tables = []
    for machine, arrays in reconstructions.items():
        losses = {name: arrays[name] for name in ("loss", "validation_loss")}
        epochs = np.arange(1, len(arrays["loss"]) + 1)
        tables.append(pd.DataFrame({"machine_type": machine, "epoch": epochs, **losses}))
    return pd.concat(tables, ignore_index=True)
