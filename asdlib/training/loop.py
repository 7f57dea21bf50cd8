"""The training itself: one model for all machines, epoch after epoch, resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from filelock import FileLock
from torch import Tensor, nn

from asdlib.errors import InputError
from asdlib.training import augment
from asdlib.training.batches import FeatureBatches
from asdlib.training.checkpoint import (
    HISTORY_COLUMNS,
    Checkpoint,
    Identity,
    TrainedModel,
    build_modules,
    history_table,
    load_checkpoint,
    load_model,
    save_checkpoint,
)
from asdlib.training.classes import ClassTable
from asdlib.training.losses import AdaCos
from asdlib.training.network import EmbeddingNetwork, memory_format
from asdlib.training.settings import TrainSettings, choose_device


def train(
    features: npt.NDArray[Any],
    positions: npt.NDArray[np.int64],
    classes: ClassTable,
    settings: TrainSettings,
    *,
    feature_key: str,
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
        too few, the loss diverges, the device is not there, or the folder cannot be written.
    """
    if len(positions) != len(classes.clips):
        raise InputError(
            f"There are {len(positions)} positions for {len(classes.clips)} training examples. "
            'Use store.positions(classes.clips["clip_id"]).'
        )
    n_mels = features.shape[1]
    identity = Identity.of(settings, classes, feature_key=feature_key, n_mels=n_mels)
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
        batches = FeatureBatches(features, positions, chosen)
        trainer = Trainer(identity, batches, classes, chosen, resume_from=checkpoint)
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


class Trainer:
    """Network, loss and optimizer, and one epoch of their training.

    Parameters
    ----------
    identity : Identity
        What is trained.
    batches : FeatureBatches
        Features of the training examples, in the order of ``classes.clips``.
    classes : ClassTable
    device : torch.device
    resume_from : Checkpoint, optional
        State to go on from.

    Attributes
    ----------
    epoch : int
        Finished epochs.
    history : dict of str to list of float
        Learning curve.
    """

    def __init__(
        self,
        identity: Identity,
        batches: FeatureBatches,
        classes: ClassTable,
        device: torch.device,
        *,
        resume_from: Checkpoint | None = None,
    ) -> None:
        self.identity = identity
        self.settings = identity.settings
        self.device = device
        self.epoch = 0
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY_COLUMNS}
        self.batches = batches
        self._class_index = torch.from_numpy(classes.clips["class_index"].to_numpy(copy=True))
        self._version = torch.from_numpy(classes.clips["version"].to_numpy(copy=True))
        self.network, self.loss = self._modules(resume_from)
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(self.network, self.loss, self.settings.weight_decay),
            lr=self.settings.learning_rate,
            fused=True,
        )
        if resume_from is not None:
            self.epoch = resume_from.epoch
            self.history = {name: list(values) for name, values in resume_from.history.items()}
            if resume_from.optimizer is not None:
                self.optimizer.load_state_dict(resume_from.optimizer)

    def _modules(self, resume_from: Checkpoint | None) -> tuple[EmbeddingNetwork, AdaCos]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_derived_seed(self.settings.seed, 0))
            network, loss = build_modules(self.identity)
        if resume_from is None:
            mean, std = self.batches.standardisation(self.settings.input_norm)
            network.standardise.mean.copy_(mean)
            network.standardise.std.copy_(std)
        else:
            network.load_state_dict(resume_from.network)
            loss.load_state_dict(resume_from.loss)
        network = network.to(self.device, memory_format=memory_format(network))  # type: ignore[call-overload]
        return network, loss.to(self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that an epoch is cut into."""
        return -(-len(self.batches) // self.settings.batch_size)

    def run_epoch(self, *, on_progress: Callable[[int], object] = lambda clips: None) -> None:
        """See every training example once, in random order.

        Raises
        ------
        InputError
            When the loss is not finite at the end.
        """
        started = time.perf_counter()
        generator = torch.Generator()
        generator.manual_seed(_derived_seed(self.settings.seed, self.epoch + 1))
        order = torch.randperm(len(self.batches), generator=generator)
        loss_sum = torch.zeros((), device=self.device)
        n_correct = torch.zeros((), device=self.device)
        scale_sum = torch.zeros((), device=self.device)
        first_step = self.epoch * self.steps_per_epoch
        self.network.train()
        self.loss.train()
        # Steps of nearly equal size: a last one of a few clips would upset batch normalisation.
        for step, clips in enumerate(order.tensor_split(self.steps_per_epoch)):
            loss, is_correct = self.step(clips, first_step + step, generator)
            loss_sum += loss * len(clips)
            n_correct += is_correct.sum()
            scale_sum += self.loss.scale * len(clips)
            on_progress(len(clips))
        mean_loss = loss_sum.item() / len(order)
        if not np.isfinite(mean_loss):
            raise InputError(
                f"The loss is not finite in epoch {self.epoch + 1}. Lower learning_rate "
                f"({self.settings.learning_rate})."
            )
        self.epoch += 1
        row = {
            "epoch": self.epoch,
            "loss": mean_loss,
            "accuracy": n_correct.item() / len(order),
            "scale": scale_sum.item() / len(order),
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "clips_per_s": len(order) / (time.perf_counter() - started),
        }
        for name in HISTORY_COLUMNS:
            self.history[name].append(row[name])

    def step(self, clips: Tensor, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Learn from one batch.

        Parameters
        ----------
        clips : Tensor of int64, shape (batch,)
            Numbers of the training examples.
        step : int
            Number of the step since the training began; sets the learning rate.
        generator : torch.Generator
            Source of the augmentation's random numbers.

        Returns
        -------
        loss : Tensor, shape ()
            Before the step, on the device, without its graph.
        is_correct : Tensor of bool, shape (batch,)
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(step, steps_per_epoch=self.steps_per_epoch)
        log_mel, labels = self._batch(clips, generator)
        use_bf16 = self.device.type == "cuda"
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            torch.autocast(self.device.type, torch.bfloat16, enabled=use_bf16),
        ):
            embedding = self.network(log_mel[:, None])
        loss, is_correct = self.loss.score(embedding.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach(), is_correct

    def _batch(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Features [dB] and soft labels of a batch, augmented, on the device."""
        settings = self.settings
        log_mel = self.batches.gather(clips.numpy())
        log_mel = augment.crop(log_mel, n_frames=settings.crop_frames, generator=generator).float()
        log_mel = augment.transform(log_mel, self._version[clips])
        class_index = self._class_index[clips].to(self.device)
        labels = nn.functional.one_hot(class_index, len(self.identity.class_names)).float()
        return augment.mixup(
            log_mel, labels, probability=settings.mixup_probability, generator=generator
        )

    def checkpoint(self) -> Checkpoint:
        """Return the present state; without the optimizer's once the training has finished."""
        is_complete = self.epoch == self.settings.epochs
        return Checkpoint(
            identity=self.identity,
            epoch=self.epoch,
            network=self.network.state_dict(),
            loss=self.loss.state_dict(),
            optimizer=None if is_complete else self.optimizer.state_dict(),
            history=self.history,
            device=device_name(self.device),
        )


def device_name(device: torch.device) -> str:
    """Name of a device for tables and provenance."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (bf16 autocast)"
    return f"CPU, {torch.get_num_threads()} threads (float32)"


def _derived_seed(seed: int, number: int) -> int:
    """Seed of the initial weights (number 0) or of one epoch (1 and up)."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _parameter_groups(
    network: EmbeddingNetwork, loss: AdaCos, weight_decay: float
) -> list[dict[str, Any]]:
    """Decay the weights of convolutions and linear layers, nothing else.

    Biases and batch normalisation do not overfit; of a centre only the direction counts.
    """
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [*others, *loss.parameters()], "weight_decay": 0.0},
    ]
