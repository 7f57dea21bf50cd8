"""What a network is made of, layer by layer, how large it is, and how it is laid out in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from asdlib.training.network import (
    EmbeddingNetwork,
    InputStandardisation,
    ResidualBlock,
    SqueezeExcitation,
)
from asdlib.training.settings import TrainSettings

_WHOLE = (InputStandardisation, ResidualBlock, SqueezeExcitation)  # one row each


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
    """Memory layout to run a network in.

    Channels last: 1.5 times the clips per second on a CPU, and what tensor cores want. Not
    below 16 channels: there oneDNN's backward pass of torch 2.13 writes past its buffers.
    """
    is_narrow = network.stem_channels < 16
    return torch.contiguous_format if is_narrow else torch.channels_last


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
