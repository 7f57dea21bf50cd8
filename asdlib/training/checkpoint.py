"""One file that holds a training: half-way, to go on from; or finished, to embed with.

Checkpoints are read with ``torch.load(weights_only=True)``: tensors, numbers and text, never
code. A checkpoint lies in a folder named by a hash of everything that shaped the training, and
carries the same facts inside, so that one that was moved is found out. Behind its last byte
stands its SHA-256, which torch passes over, so that one that was damaged is found out.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock

from asdlib.data.cache import VERSIONS
from asdlib.data.store import content_key
from asdlib.errors import InputError
from asdlib.files import write_atomically, writing
from asdlib.training.classes import ClassTable
from asdlib.training.losses import AdaCos, TrainingLoss
from asdlib.training.network import EmbeddingNetwork
from asdlib.training.settings import TrainSettings, make_network

HISTORY_COLUMNS = ["epoch", "loss", "accuracy", "scale", "learning_rate", "clips_per_s"]
_DIGEST_BYTES = hashlib.sha256().digest_size


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
    def of(
        cls,
        settings: TrainSettings,
        classes: ClassTable,
        *,
        feature_key: str,
        n_mels: int,
        spectrum_key: str = "",
        n_bins: int = 0,
    ) -> Identity:
        """Collect the identity of a training."""
        keys = (classes.names, classes.key, feature_key, n_mels, spectrum_key, n_bins)
        return cls(settings, *keys)

    def as_dict(self) -> dict[str, Any]:
        """Return the identity as plain values, the code version included."""
        plain = {"settings": self.settings.as_dict(), "class_names": list(self.class_names)}
        return {"code_version": VERSIONS["checkpoint"], **vars(self), **plain}

    def path(self, checkpoint_dir: Path) -> Path:
        """Where the checkpoint of this training lies: ``<checkpoint_dir>/<hash>/checkpoint.pt``."""
        return Path(checkpoint_dir) / content_key(self.as_dict()) / "checkpoint.pt"


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


def build_modules(identity: Identity) -> tuple[EmbeddingNetwork, TrainingLoss]:
    """Make the network and the loss of a training, with weights drawn from the global state."""
    settings = identity.settings
    network = make_network(settings, n_mels=identity.n_mels, n_bins=identity.n_bins)

    def adacos(n_classes: int, *, is_trainable: bool) -> AdaCos:
        return AdaCos(
            n_classes=n_classes,
            embedding_dim=network.output_dim,
            sub_clusters=settings.sub_clusters,
            is_dynamic=settings.scale == "dynamic",
            is_trainable=is_trainable,
        )

    n_classes, exchange = len(identity.class_names), None
    plain = adacos(n_classes, is_trainable=settings.centres == "trainable")
    if settings.n_exchanges > 0:
        exchange = adacos(n_classes * 3**settings.n_exchanges, is_trainable=True)
    return network, TrainingLoss(plain, exchange)


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
        network, loss = build_modules(checkpoint.identity)
    network.load_state_dict(checkpoint.network)
    loss.load_state_dict(checkpoint.loss)
    return TrainedModel(
        identity=checkpoint.identity,
        network=network.eval(),
        loss=loss.plain.eval(),
        history=history_table(checkpoint.history),
        device=checkpoint.device,
        path=path,
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
