"""What shapes a training, and on which device it runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from asdlib.errors import InputError
from asdlib.training.network import InputNorm

_AT_LEAST = {
    "stem_channels": 1,
    "embedding_dim": 2,
    "epochs": 1,
    "batch_size": 2,
    "sub_clusters": 1,
    "crop_frames": 0,
    "seed": 0,
}


@dataclass(frozen=True)
class TrainSettings:
    """Everything that shapes a training besides its features and classes.

    Attributes
    ----------
    stem_channels : int
        Width of the network; 64 is SE-ResNet18 itself.
    embedding_dim : int
        Length of an embedding.
    input_norm : {"corpus", "clip"}
        See `asdlib.training.network.InputStandardisation`.
    epochs : int
        Passes over the training clips.
    batch_size : int
        Clips per step, at most: an epoch is cut into steps of nearly equal size.
    learning_rate : float
        Highest learning rate of AdamW.
    weight_decay : float
        Decoupled weight decay of the convolution and linear weights.
    warmup_epochs : float
        Epochs over which the learning rate rises linearly; then it falls along a half cosine.
    mixup_probability : float
        Share of the clips that are mixed with another one, 0 to 1.
    scale : {"dynamic", "fixed"}
        Whether AdaCos adapts its scale.
    sub_clusters : int
        Centres per class.
    crop_frames : int
        Length of the random stretch that training sees of a clip [frames]; 0 for all of it.
        Embeddings are always those of whole clips.
    seed : int
        Seed of the initial weights, the order of the clips and the augmentation.

    Raises
    ------
    InputError
        When a value makes no sense.
    """

    stem_channels: int = 64
    embedding_dim: int = 128
    input_norm: InputNorm = "clip"
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    mixup_probability: float = 0.5
    scale: Literal["dynamic", "fixed"] = "dynamic"
    sub_clusters: int = 1
    crop_frames: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in _AT_LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise InputError(f"{name}={value!r}: expected a whole number, {lowest} or more.")
        for name in ("learning_rate", "weight_decay", "warmup_epochs"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}={value!r}: expected a finite number, 0 or more.")
        if self.learning_rate == 0:
            raise InputError("learning_rate=0: nothing would be learnt.")
        if self.warmup_epochs >= self.epochs and self.epochs > 1:
            raise InputError(
                f"warmup_epochs={self.warmup_epochs}: expected less than epochs={self.epochs}."
            )
        if not 0 <= self.mixup_probability <= 1:
            raise InputError(f"mixup_probability={self.mixup_probability}: expected 0 to 1.")
        if self.scale not in ("dynamic", "fixed"):
            raise InputError(f"scale={self.scale!r}: expected 'dynamic' or 'fixed'.")
        if self.input_norm not in ("corpus", "clip"):
            raise InputError(f"input_norm={self.input_norm!r}: expected 'corpus' or 'clip'.")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, ready for JSON."""
        return asdict(self)

    def learning_rate_at(self, step: int, *, steps_per_epoch: int) -> float:
        """Learning rate of a step, counted from 0 over the whole training.

        Linear warm-up, then ``(1 + cos(π t)) / 2`` with ``t`` from 0 to 1 at the last step's end.
        """
        warmup_steps = min(self.warmup_epochs, self.epochs) * steps_per_epoch
        if step < warmup_steps:
            return self.learning_rate * min((step + 1) / warmup_steps, 1.0)
        done = (step - warmup_steps) / max(self.epochs * steps_per_epoch - warmup_steps, 1)
        return self.learning_rate * (1 + math.cos(math.pi * done)) / 2


def choose_device(device: str = "auto") -> torch.device:
    """Device for training and embedding: CUDA where there is one, else the CPU.

    Parameters
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` and so on.

    Raises
    ------
    InputError
        When the device is not known or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device={device!r}: expected 'auto', 'cpu' or 'cuda'.") from error
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"device={device!r}: expected 'auto', 'cpu' or 'cuda'.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices. "
            "Use 'auto' or 'cpu'."
        )
    return chosen
