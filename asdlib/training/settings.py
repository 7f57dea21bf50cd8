"""What shapes a training, and on which device it runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from asdlib.errors import InputError
from asdlib.training.augment import StatexAxis
from asdlib.training.branches import InputNorm

_AT_LEAST = {
    "stem_channels": 1,
    "embedding_dim": 2,
    "epochs": 1,
    "batch_size": 2,
    "sub_clusters": 1,
    "crop_frames": 0,
    "seed": 0,
}
_PROBABILITIES = (
    "mixup_probability",
    "statex_probability",
    "featex_probability",
    "noise_mix_probability",
)
_CHOICES = {
    "input_norm": ("corpus", "clip"),
    "branches": ("one", "two"),
    "statex_axis": ("frequency", "time"),
    "scale": ("dynamic", "fixed"),
    "centres": ("trainable", "fixed"),
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
    branches : {"one", "two"}
        Whether the spectrum of the whole clip has a branch of its own beside the spectrogram's.
    statex_probability : float
        Share of the clips that take the statistics of another one's spectrogram, 0 to 1; 0
        switches StatEx off.
    statex_axis : {"frequency", "time"}
        See `asdlib.training.augment.exchange_statistics`.
    featex_probability : float
        Share of the clips that take the spectrogram branch's embedding of another one, 0 to 1;
        0 switches FeatEx off. Needs two branches.
    noise_mix_probability : float
        Share of the clips that are mixed with a noise-only clip, 0 to 1, of those for which
        there is one (see `asdlib.training.classes.NoiseSources`).
    noise_mix_snr_db : tuple of float
        Lowest and highest signal-to-noise ratio of that mixture [dB].
    scale : {"dynamic", "fixed"}
        Whether AdaCos adapts its scale.
    centres : {"trainable", "fixed"}
        Whether the centres of AdaCos are learnt or stay as drawn. Those of the loss that StatEx
        and FeatEx add are always learnt.
    sub_clusters : int
        Centres per class.
    average_decay : float
        Share that the running average of the weights keeps at every step, 0 to below 1; the
        average is what embeds. 0 takes the last step's weights.
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
    branches: Literal["one", "two"] = "one"
    statex_probability: float = 0.0
    statex_axis: StatexAxis = "frequency"
    featex_probability: float = 0.0
    noise_mix_probability: float = 0.0
    noise_mix_snr_db: tuple[float, float] = (0.0, 15.0)
    scale: Literal["dynamic", "fixed"] = "dynamic"
    centres: Literal["trainable", "fixed"] = "trainable"
    sub_clusters: int = 1
    average_decay: float = 0.0
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
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}={getattr(self, name)}: expected 0 to 1.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                expected = " or ".join(map(repr, choices))
                raise InputError(f"{name}={getattr(self, name)!r}: expected {expected}.")
        if not 0 <= self.average_decay < 1:
            raise InputError(f"average_decay={self.average_decay}: expected 0 to below 1.")
        if self.featex_probability > 0 and self.branches == "one":
            raise InputError(
                f"featex_probability={self.featex_probability}: one branch has nothing to "
                "exchange. Use branches='two' or featex_probability=0."
            )
        self._check_snr()

    def _check_snr(self) -> None:
        bounds = tuple(self.noise_mix_snr_db)
        if len(bounds) != 2 or not all(map(math.isfinite, bounds)) or bounds[0] > bounds[1]:
            raise InputError(
                f"noise_mix_snr_db={self.noise_mix_snr_db}: expected two levels [dB], the lowest "
                "and the highest."
            )
        # A list where it comes from a notebook or from JSON.
        object.__setattr__(self, "noise_mix_snr_db", (float(bounds[0]), float(bounds[1])))

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
