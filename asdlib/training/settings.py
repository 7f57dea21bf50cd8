"""What shapes a training: its settings, the network that they make, the device it runs on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from asdlib.errors import InputError
from asdlib.training.augment import StatexAxis
from asdlib.training.network import (
    EmbeddingNetwork,
    InputNorm,
    InputStandardisation,
    ResidualBlock,
    SqueezeExcitation,
)

_WHOLE = (InputStandardisation, ResidualBlock, SqueezeExcitation)  # one row each


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


def make_network(settings: TrainSettings, *, n_mels: int, n_bins: int) -> EmbeddingNetwork:
    """Make the network of these settings, with weights drawn from the global state."""
    return EmbeddingNetwork(
        n_mels=n_mels,
        stem_channels=settings.stem_channels,
        embedding_dim=settings.embedding_dim,
        input_norm=settings.input_norm,
        n_bins=n_bins,
    )


def memory_format(network: EmbeddingNetwork) -> torch.memory_format:
    """Memory layout to run a network in."""
    # Channels last: 1.5 times the clips per second on a CPU, and what tensor cores want. Not below
    # 16 channels: there oneDNN's backward pass of torch 2.13 writes past its buffers.
    is_narrow = network.stem_channels < 16
    return torch.contiguous_format if is_narrow else torch.channels_last


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def layer_table(
    settings: TrainSettings, *, n_mels: int, n_frames: int, n_bins: int = 0
) -> pd.DataFrame:
    """List the layers of a network in the order of a forward pass.

    Shapes alone run through it, on torch's device without numbers: that takes no time at any
    width and draws no random number.

    Parameters
    ----------
    settings : TrainSettings
    n_mels, n_frames : int
        Size of a clip's log-mel features.
    n_bins : int
        Bins of its spectrum; 0 for the one-branch form.

    Returns
    -------
    DataFrame
        ``layer`` (name), ``kind`` (what it does), ``output`` (shape of its output for one clip:
        channels, then bands and frames), ``parameters`` (trainable). A residual block is one row.
        What has no parameters is left out, pooling and standardisation excepted. The parameters
        add up to those of the network.
    """
    rows: list[tuple[str, str, str, int]] = []

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            shape = " × ".join(map(str, output.shape[1:]))
            rows.append((name, _kind(module), shape, count_parameters(module)))

        return hook

    with torch.device("meta"):
        network = make_network(settings, n_mels=n_mels, n_bins=n_bins).eval()
        inputs = [torch.zeros(1, 1, n_mels, n_frames)]
        inputs += [torch.zeros(1, 1, n_bins, 1)] if n_bins else []
    shown = {name: module for name, module in network.named_modules() if _is_shown(module)}
    for name, module in shown.items():
        if not any(name.startswith(f"{other}.") for other in shown):
            module.register_forward_hook(note(name))
    network(*inputs)
    return pd.DataFrame(rows, columns=["layer", "kind", "output", "parameters"])


def _is_shown(module: nn.Module) -> bool:
    if isinstance(module, (*_WHOLE, nn.MaxPool2d)):
        return True
    return not list(module.children()) and bool(list(module.parameters()))


def _kind(module: nn.Module) -> str:
    if isinstance(module, ResidualBlock):
        stride, shortcut = module.conv1.stride[0], "1×1" if len(module.shortcut) else "identity"
        return f"2 convolutions 3×3, stride {stride}, squeeze-and-excitation, {shortcut} shortcut"
    if isinstance(module, SqueezeExcitation):
        return f"squeeze-and-excitation by {module.squeeze.out_features} values"
    if isinstance(module, InputStandardisation):
        return f"standardisation by the {module.input_norm}"
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        size = "×".join(map(str, module.kernel_size))
        return f"convolution {size}, stride {module.stride[0]}"
    if isinstance(module, nn.MaxPool2d):
        return f"maximum of {module.kernel_size}×{module.kernel_size}, stride {module.stride}"
    return "linear" if isinstance(module, nn.Linear) else "batch normalisation"
