"""The training: one model for all machines, epoch after epoch, resumable to the same result.

"... then training an attribute classification model together with other machines that have
attributes." (report, abstract)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asdlib.base import InputError, choose_device, device_name
from asdlib.training import augment
from asdlib.training.checkpoint import (
    HISTORY_COLUMNS,
    Checkpoint,
    Identity,
    TrainedModel,
    TrainSettings,
    history_table,
    load_checkpoint,
    load_model,
    locked,
    save_checkpoint,
)
from asdlib.training.classes import ClassTable
from asdlib.training.embed import feature_batches
from asdlib.training.losses import TrainingLoss
from asdlib.training.network import EmbeddingNetwork, parameter_groups

_LOOK_S = 2.0  # between two looks at an epoch that is under way, at least


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
    on_part: Callable[[pd.DataFrame], object] = lambda history: None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> TrainedModel:
    """Train the network to tell the classes apart; or read it, if that was done before.

    A training that was interrupted goes on from its checkpoint, written after every epoch, and ends
    in the same weights as if it had not been: the random numbers of an epoch depend on the seed and
    the epoch alone. On the CPU the result is the same bit for bit for one seed and one number of
    threads; on CUDA the sums of some gradients have no fixed order, and autocast uses bfloat16.

    Parameters
    ----------
    features, spectrum : ndarray, shapes (n_rows, n_mels, n_frames), (n_rows, n_bins, 1)
        Log-mel features [dB], and for two branches, and them alone, spectra of the same clips.
    positions : ndarray of int64, shape (len(classes.clips),)
        Row of ``features`` for every row of ``classes.clips``, in that order.
    feature_key, spectrum_key : str
        Keys of the rows that are learnt from (`asdlib.data.ArrayStore.rows_key`).
    checkpoint_dir : Path
        Folder of the checkpoints; this training's lies below it, named by all of the above.
    device : str
        See `asdlib.base.choose_device`.
    on_epoch, on_part : callable
        Called with the history so far (see `TrainedModel`): after every epoch; within one, for 2 %
        of the time at most, with a row for the epoch so far, whose ``epoch`` is a fraction.
    on_progress : callable
        Called with the number of training examples just seen, those of epochs found finished
        first; in all ``settings.epochs * len(classes.clips)``.

    Raises
    ------
    InputError
        When the checkpoint found does not fit or is damaged, the features or the loss are not
        finite, the spectra do not go with the settings, or the device is not there.
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
        settings, classes, feature_key=feature_key, n_mels=features.shape[1],
        spectrum_key=spectrum_key, n_bins=0 if spectrum is None else spectrum.shape[1],
    )  # fmt: skip
    path = identity.path(checkpoint_dir)
    with locked(path):
        checkpoint = load_checkpoint(path, expected=identity) if path.exists() else None
        if checkpoint is not None and checkpoint.is_complete:
            on_progress(settings.epochs * len(positions))
            on_epoch(history_table(checkpoint.history))
            return load_model(path, expected=identity)
        chosen = choose_device(device)
        batches = feature_batches(features, spectrum, positions, chosen)
        examples = augment.Examples(classes, batches, settings, chosen)
        trainer = Trainer(identity, examples, chosen, resume_from=checkpoint)
        on_progress(trainer.epoch * len(positions))
        while trainer.epoch < settings.epochs:
            trainer.run_epoch(on_progress, on_part)
            save_checkpoint(path, trainer.checkpoint())
            on_epoch(history_table(trainer.history))
    return load_model(path, expected=identity)


class Trainer:
    """Network, loss, optimizer and running average, and what happens to them in one epoch."""

    def __init__(
        self,
        identity: Identity,
        examples: augment.Examples,
        device: torch.device,
        *,
        resume_from: Checkpoint | None = None,
    ) -> None:
        self.identity, self.settings = identity, identity.settings
        self.examples, self.device = examples, device
        self.use_bf16 = device.type == "cuda"
        self.epoch = 0
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY_COLUMNS}
        self._next_look = 0.0
        self.network, self.loss = self._modules(is_new=resume_from is None)
        self.average: AveragedModel | None = None
        if self.settings.average_decay > 0:
            update = get_ema_multi_avg_fn(self.settings.average_decay)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(self.network, multi_avg_fn=update, use_buffers=True)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network, self.loss, self.settings.weight_decay),
            lr=self.settings.learning_rate,
            fused=True,
        )
        if resume_from is not None:
            self._resume(resume_from)

    def _modules(self, *, is_new: bool) -> tuple[EmbeddingNetwork, TrainingLoss]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_derived_seed(self.settings.seed, 0))
            network, loss = self.identity.modules()
        inputs = zip(network.input_layers, self.examples.batches, strict=True)
        for layer, batches in inputs if is_new else ():
            mean, std = batches.standardisation(self.settings.input_norm)
            layer.mean.copy_(mean)
            layer.std.copy_(std)
        return network.on(self.device), loss.to(self.device)

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Go on from the end of an epoch."""
        self.epoch = checkpoint.epoch
        self.history = {name: list(values) for name, values in checkpoint.history.items()}
        self.network.load_state_dict(checkpoint.network)
        self.loss.load_state_dict(checkpoint.loss)
        if self.average is not None and checkpoint.average is not None:
            self.average.load_state_dict(checkpoint.average)
        if checkpoint.optimizer is not None:
            self.optimizer.load_state_dict(checkpoint.optimizer)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that an epoch is cut into, none of them of a single clip."""
        n_clips = len(self.examples)
        return min(-(-n_clips // self.settings.batch_size), max(n_clips // 2, 1))

    def run_epoch(
        self, on_progress: Callable[[int], object], on_part: Callable[[pd.DataFrame], object]
    ) -> None:
        """See every training example once, in random order."""
        started = time.perf_counter()
        generator = torch.Generator()
        generator.manual_seed(_derived_seed(self.settings.seed, self.epoch + 1))
        order = torch.randperm(len(self.examples), generator=generator)
        sums, n_seen = torch.zeros(3, device=self.device), 0
        first_step = self.epoch * self.steps_per_epoch
        self.network.train()
        self.loss.train()
        # Steps of nearly equal size: a last one of a few clips would upset batch normalisation.
        for step, clips in enumerate(order.tensor_split(self.steps_per_epoch)):
            loss, is_correct = self.step(clips, first_step + step, generator)
            scale = self.loss.plain.scale.detach()
            sums += torch.stack([loss * len(clips), is_correct.sum(), scale * len(clips)])
            n_seen += len(clips)
            on_progress(len(clips))
            now = time.perf_counter()
            if n_seen < len(order) and now > self._next_look:
                part = self.epoch + n_seen / len(order)
                on_part(pd.DataFrame(self._with_row(part, sums, n_seen, now - started)))
                self._next_look = now + max(_LOOK_S, 50 * (time.perf_counter() - now))
        if not np.isfinite(sums[0].item()):
            raise InputError(
                f"The loss is not finite in epoch {self.epoch + 1}. Lower learning_rate "
                f"({self.settings.learning_rate})."
            )
        self.epoch += 1
        self.history = self._with_row(self.epoch, sums, n_seen, time.perf_counter() - started)

    def _with_row(
        self, epoch: float, sums: Tensor, n_seen: int, seconds: float
    ) -> dict[str, list[float]]:
        """Add a row of the mean loss, accuracy and scale of an epoch, or of its part."""
        means = [value / n_seen for value in sums.tolist()]
        row = (epoch, *means, self.optimizer.param_groups[0]["lr"], n_seen / seconds)
        return {name: [*self.history[name], value]
                for name, value in zip(HISTORY_COLUMNS, row, strict=True)}  # fmt: skip

    def step(self, clips: Tensor, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Learn from the examples of these numbers; ``step`` counts from the training's start.

        Returns the loss before the step, on the device, and which clips got their class.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(step, steps_per_epoch=self.steps_per_epoch)
        batch = self.examples.draw(clips, generator)
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            torch.autocast(self.device.type, torch.bfloat16, enabled=self.use_bf16),
        ):
            embedding = self.network(*batch.levels)
        loss, is_correct = self._score(embedding.float(), batch, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        return loss.detach(), is_correct

    def _score(
        self, embedding: Tensor, batch: augment.Batch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Loss of a batch after FeatEx, and whether the clips get their class."""
        exchanged, labels = embedding, batch.exchanged_labels
        probability = self.settings.featex_probability
        if probability > 0:
            rows, partners = augment.draw_exchange(
                len(embedding), probability=probability, generator=generator
            )
            exchanged = augment.exchange_features(
                embedding, rows, partners, n_exchanged=self.settings.embedding_dim
            )
            labels = augment.exchange_labels(labels, rows, partners)
        return self.loss.score(embedding, batch.labels, exchanged, labels)

    def checkpoint(self) -> Checkpoint:
        """Return the present state; once finished, that of the average and no optimizer's."""
        is_complete = self.epoch == self.settings.epochs
        network = self.network.state_dict()
        average = None if self.average is None else self.average.state_dict()
        if is_complete and self.average is not None:
            network, average = self.average.module.state_dict(), None
        return Checkpoint(
            identity=self.identity,
            epoch=self.epoch,
            network=network,
            loss=self.loss.state_dict(),
            average=average,
            optimizer=None if is_complete else self.optimizer.state_dict(),
            history=self.history,
            device=device_name(self.device),
        )


def _derived_seed(seed: int, number: int) -> int:
    """Seed of the initial weights (number 0) or of one epoch (1 and up)."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
