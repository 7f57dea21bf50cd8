"""Everything that shapes a training, and the file that holds one, half-way or finished.

Checkpoints are read with ``torch.load(weights_only=True)``: tensors, numbers and text, never
code. A checkpoint lies in a folder named by a hash of everything that shaped the training, and
carries the same facts inside, so that one that was moved is found out. Behind its last byte
stands its SHA-256, which torch passes over, so that one that was damaged is found out.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from filelock import FileLock
from torch import nn

from asdlib.base import InputError, write_atomically, writing
from asdlib.data.cache import VERSIONS
from asdlib.data.store import content_key
from asdlib.training.classes import ClassTable
from asdlib.training.losses import AdaCos, TrainingLoss
from asdlib.training.network import EmbeddingNetwork, InputNorm

StatexAxis = Literal["frequency", "time"]
HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "scale", "learning_rate", "clips_per_s"]
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Everything that shapes a training besides its features and classes.

    The values stand in notebook 03, their ranges in `asdlib.workbook.parameters`.
    """

    stem_channels: int  # width of the network; 64 is SE-ResNet18 itself
    embedding_dim: int  # length of an embedding
    input_norm: InputNorm  # see `asdlib.training.network.InputStandardisation`
    epochs: int  # passes over the training clips
    batch_size: int  # clips per step, at most: an epoch is cut into steps of nearly equal size
    learning_rate: float  # highest of AdamW
    weight_decay: float  # decoupled, of the convolution and linear weights
    warmup_epochs: float  # linear rise of the learning rate; then it falls along a half cosine
    mixup_probability: float  # share of the clips that are mixed with another one
    branches: Literal["one", "two"]  # two: the clip's spectrum has a branch of its own
    statex_probability: float  # share of the clips that take another's statistics; 0 for no StatEx
    statex_axis: StatexAxis  # see `asdlib.training.augment.exchange_statistics`
    featex_probability: float  # share that take another's embedding in the spectrogram's branch
    noise_mix_probability: float  # share mixed with a noise-only clip, where there is one
    noise_mix_snr_db: tuple[float, float]  # lowest and highest ratio of that mixture [dB]
    scale: Literal["dynamic", "fixed"]  # whether AdaCos adapts its scale
    centres: Literal["trainable", "fixed"]  # of AdaCos over the classes; others are always learnt
    sub_clusters: int  # centres per class
    average_decay: float  # share kept by the running average of the weights, which embeds; 0: none
    crop_frames: int  # length of the random stretch that training sees of a clip; 0 for all of it
    seed: int  # of the initial weights, the order of the clips and the augmentation

    def __post_init__(self) -> None:
        # A list where it comes from a notebook or from JSON.
        lowest, highest = self.noise_mix_snr_db
        object.__setattr__(self, "noise_mix_snr_db", (float(lowest), float(highest)))

    @property
    def n_exchanges(self) -> int:
        """How many of StatEx and FeatEx are switched on; each triples the classes."""
        return (self.statex_probability > 0) + (self.featex_probability > 0)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, ready for JSON."""
        return asdict(self) | {"noise_mix_snr_db": list(self.noise_mix_snr_db)}

    def learning_rate_at(self, step: int, *, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0 over the whole training.

        Linear warm-up, then ``(1 + cos(π t)) / 2`` with ``t`` from 0 to 1 at the last step's end.
        """
        warmup_steps = min(self.warmup_epochs, self.epochs) * steps_per_epoch
        if step < warmup_steps:
            return self.learning_rate * min((step + 1) / warmup_steps, 1.0)
        done = (step - warmup_steps) / max(self.epochs * steps_per_epoch - warmup_steps, 1)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2

    def network(self, *, n_mels: int, n_bins: int = 0) -> EmbeddingNetwork:
        """Make the network of these settings, with weights drawn from the global state."""
        return EmbeddingNetwork(
            n_mels=n_mels, stem_channels=self.stem_channels, embedding_dim=self.embedding_dim,
            input_norm=self.input_norm, n_bins=n_bins,
        )  # fmt: skip


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


@dataclass(frozen=True)
class Identity:
    """Everything that shaped a training."""

    settings: TrainSettings
    class_names: tuple[str, ...]  # in the order of the loss's centres
    class_key: str  # `ClassTable.key`: which clip belongs to which class
    feature_key: str  # of the feature store
    n_mels: int
    spectrum_key: str = ""  # of the spectrum store; empty for the one-branch form
    n_bins: int = 0  # of the spectrum; 0 for the one-branch form

    @classmethod
    def of(cls, settings: TrainSettings, classes: ClassTable, **features: Any) -> Identity:
        """Collect the identity of a training; ``features`` are the fields that are left."""
        return cls(settings, classes.names, classes.key, **features)

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as plain values, the code version included."""
        plain = {"settings": self.settings.as_dict(), "class_names": list(self.class_names)}
        return {"code_version": VERSIONS["checkpoint"], **vars(self), **plain}

    def path(self, checkpoint_dir: Path) -> Path:
        """Where the checkpoint of this training lies: ``<checkpoint_dir>/<hash>/checkpoint.pt``."""
        return Path(checkpoint_dir) / content_key(self.as_dict()) / "checkpoint.pt"

    def modules(self) -> tuple[EmbeddingNetwork, TrainingLoss]:
        """Make network and loss, with weights drawn from the global state."""
        settings, n_classes = self.settings, len(self.class_names)
        network = settings.network(n_mels=self.n_mels, n_bins=self.n_bins)

        def adacos(n_classes: int, *, is_trainable: bool) -> AdaCos:
            return AdaCos(
                n_classes=n_classes, embedding_dim=network.output_dim,
                sub_clusters=settings.sub_clusters, is_dynamic=settings.scale == "dynamic",
                is_trainable=is_trainable,
            )  # fmt: skip

        plain, exchange = adacos(n_classes, is_trainable=settings.centres == "trainable"), None
        if settings.n_exchanges > 0:
            exchange = adacos(n_classes * 3**settings.n_exchanges, is_trainable=True)
        return network, TrainingLoss(plain, exchange)


@dataclass
class Checkpoint:
    """State of a training after some epoch.

    Once it is finished, there is no optimizer, and ``network`` is the running average.
    """

    identity: Identity
    epoch: int  # finished
    network: dict[str, Any]  # its input standardisation included
    loss: dict[str, Any]
    average: dict[str, Any] | None  # of the network's state
    optimizer: dict[str, Any] | None
    history: dict[str, list[float]]  # `HISTORY_COLUMNS`, one entry per finished epoch
    device: str  # its name

    @property
    def is_complete(self) -> bool:
        """Whether the training has finished."""
        return self.epoch == self.identity.settings.epochs


@dataclass(frozen=True)
class TrainedModel:
    """A finished training."""

    identity: Identity
    network: EmbeddingNetwork  # in evaluation mode, on the CPU
    loss: AdaCos  # over the classes; its centres tell them apart (`AdaCos.cosines`)
    #: per epoch ``epoch, loss, accuracy, scale, learning_rate, clips_per_s``, means over augmented
    #: batches (rate: of the last step); only ``loss`` includes the exchange loss
    history: pd.DataFrame
    device: str  # name of the device it was trained on
    path: Path = field(repr=False)  # of the checkpoint


def history_table(history: dict[str, list[float]]) -> pd.DataFrame:
    """Learning curve as a table, the epoch as a whole number."""
    return pd.DataFrame(history, columns=HISTORY_COLUMNS).astype({"epoch": "int64"})


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file is the old one or the new one at any time."""
    content = io.BytesIO()
    torch.save({**vars(checkpoint), "identity": checkpoint.identity.as_dict()}, content)
    write_atomically(path, content.getvalue() + hashlib.sha256(content.getbuffer()).digest())


def locked(path: Path) -> FileLock:
    """Keep a second process from training the same network at once."""
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "lock").touch()
    return FileLock(path.parent / "lock")


def load_checkpoint(path: Path, *, expected: Identity | None = None) -> Checkpoint:
    """Read a checkpoint, tensors on the CPU.

    Refuses one that is missing, damaged, no checkpoint of this project, written by another
    version of the code, or made from other features, classes or settings than ``expected``.
    """
    try:
        data = path.read_bytes()
        if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
            raise EOFError("the digest is of other bytes")
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        found = dict(content["identity"])
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no checkpoint. Train first (--from 03).") from error
    except (RuntimeError, EOFError, OSError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise InputError(
            f"{path}: is damaged or no checkpoint of this version. Delete it and train again."
        ) from error
    if found.get("code_version") != VERSIONS["checkpoint"]:
        raise InputError(
            f"{path}: was written by version {found.get('code_version')} of the training code, "
            f"this is version {VERSIONS['checkpoint']}. Delete it and train again."
        )
    if expected is not None:
        _refuse_other(path, found, expected.as_dict())
    del found["code_version"]
    found["settings"] = TrainSettings(**found["settings"])
    identity = Identity(**{**found, "class_names": tuple(found["class_names"])})
    return Checkpoint(**{**content, "identity": identity})


def load_model(path: Path, *, expected: Identity | None = None) -> TrainedModel:
    """Read a finished training; errors as for `load_checkpoint`."""
    checkpoint = load_checkpoint(path, expected=expected)
    if not checkpoint.is_complete:
        raise InputError(
            f"{path}: has {checkpoint.epoch} of {checkpoint.identity.settings.epochs} epochs. "
            "Run the training again: it goes on from there."
        )
    with torch.random.fork_rng(devices=[]):
        network, loss = checkpoint.identity.modules()
    network.load_state_dict(checkpoint.network)
    loss.load_state_dict(checkpoint.loss)
    history = history_table(checkpoint.history)
    return TrainedModel(
        checkpoint.identity, network.eval(), loss.plain.eval(), history, checkpoint.device, path
    )


def _refuse_other(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Name every fact in which a checkpoint differs from what is expected."""
    flat_found = {**found, **found["settings"]}
    differing = [
        f"{name} is {_short(flat_found.get(name))}, expected {_short(value)}"
        for name, value in {**expected, **expected["settings"]}.items()
        if name != "settings" and flat_found.get(name) != value
    ]
    if differing:
        raise InputError(
            f"{path}: does not fit: {'; '.join(differing)}. "
            "Delete it or choose the checkpoint of these settings."
        )


def _short(value: Any) -> str:
    return f"{len(value)} classes" if isinstance(value, list) else repr(value)
