"""What shapes a training, and on which device it runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from asdlib.errors import InputError
from asdlib.training.augment import StatexAxis
from asdlib.training.network import InputNorm


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


def device_name(device: torch.device) -> str:
    """Name of a device for tables and provenance."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (bf16 autocast)"
    return f"CPU, {torch.get_num_threads()} threads (float32)"
