"""Network, loss and optimizer, and what happens to them in one epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asdlib.errors import InputError
from asdlib.training import augment
from asdlib.training.checkpoint import (
    HISTORY_COLUMNS,
    Checkpoint,
    Identity,
    build_modules,
)
from asdlib.training.examples import Batch, Examples
from asdlib.training.losses import TrainingLoss
from asdlib.training.network import EmbeddingNetwork, memory_format


class Trainer:
    """Network, loss and optimizer, and one epoch of their training.

    Parameters
    ----------
    identity : Identity
        What is trained.
    examples : Examples
        The training examples.
    device : torch.device
    resume_from : Checkpoint, optional
        State to go on from.

    Attributes
    ----------
    use_bf16 : bool
        Whether the network runs in bfloat16 where autocast allows it; set on CUDA.
    epoch : int
        Finished epochs.
    history : dict of str to list of float
        Learning curve.
    network : EmbeddingNetwork
    loss : TrainingLoss
    average : AveragedModel or None
        Running average of the network, where the settings ask for one.
    """

    def __init__(
        self,
        identity: Identity,
        examples: Examples,
        device: torch.device,
        *,
        resume_from: Checkpoint | None = None,
    ) -> None:
        self.identity = identity
        self.settings = identity.settings
        self.device = device
        self.use_bf16 = device.type == "cuda"
        self.epoch = 0
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY_COLUMNS}
        self.examples = examples
        self.network, self.loss = self._modules(resume_from)
        self.average = self._average(resume_from)
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

    def _modules(self, resume_from: Checkpoint | None) -> tuple[EmbeddingNetwork, TrainingLoss]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_derived_seed(self.settings.seed, 0))
            network, loss = build_modules(self.identity)
        if resume_from is None:
            for layer, batches in zip(network.input_layers, self.examples.batches, strict=True):
                mean, std = batches.standardisation(self.settings.input_norm)
                layer.mean.copy_(mean)
                layer.std.copy_(std)
        else:
            network.load_state_dict(resume_from.network)
            loss.load_state_dict(resume_from.loss)
        network = network.to(self.device, memory_format=memory_format(network))  # type: ignore[call-overload]
        return network, loss.to(self.device)

    def _average(self, resume_from: Checkpoint | None) -> AveragedModel | None:
        decay = self.settings.average_decay
        if decay == 0:
            return None
        update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average = AveragedModel(self.network, multi_avg_fn=update, use_buffers=True)
        if resume_from is not None and resume_from.average is not None:
            average.load_state_dict(resume_from.average)
        return average

    @property
    def steps_per_epoch(self) -> int:
        """Steps that an epoch is cut into, none of them of a single clip."""
        n_clips = len(self.examples)
        return min(-(-n_clips // self.settings.batch_size), max(n_clips // 2, 1))

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
        order = torch.randperm(len(self.examples), generator=generator)
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
            scale_sum += self.loss.plain.scale * len(clips)
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
        self, embedding: Tensor, batch: Batch, generator: torch.Generator
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


def device_name(device: torch.device) -> str:
    """Name of a device for tables and provenance."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (bf16 autocast)"
    return f"CPU, {torch.get_num_threads()} threads (float32)"


def _derived_seed(seed: int, number: int) -> int:
    """Seed of the initial weights (number 0) or of one epoch (1 and up)."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _parameter_groups(
    network: EmbeddingNetwork, loss: TrainingLoss, weight_decay: float
) -> list[dict[str, Any]]:
    """Decay the weights of convolutions and linear layers, nothing else.

    Biases and batch normalisation do not overfit; of a centre only the direction counts.
    """
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    centres = [weight for weight in loss.parameters() if weight.requires_grad]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [*others, *centres], "weight_decay": 0.0},
    ]
