"""The network: one clip in, one embedding out.

    "We utilize a SeResNet18-based feature extractor [5] ..." (report, section 2.3)

The spectrogram branch is the 18-layer residual network of He et al. [1]_, table 1, with a
squeeze-and-excitation block of Hu et al. [2]_ on every residual branch. It is fully
convolutional up to its global average, so that clips of any length can be embedded. The
two-branch form adds the spectrum branch of Wilkinghoff [3]_: the spectrum of the whole clip
resolves tones that a short frame cannot tell apart, and says nothing of when they sound. The
embedding is both branches' vectors, one behind the other.

References
----------
.. [1] K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
.. [2] J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018.
.. [3] K. Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from asdlib.base import InputError
from asdlib.data.audio import REMOVED_DB

InputNorm = Literal["corpus", "clip"]

SE_REDUCTION = 16
#: Kernel and stride of the spectrum branch's convolutions ([3]_).
SPECTRUM_CONVOLUTIONS = ((256, 64), (64, 32), (16, 4))
_SPECTRUM_DENSE_LAYERS = 4
_MIN_SQUEEZED = 4  # what reduction 16 leaves of the narrowest stage at full width (64 channels)


def is_kept(level_db: Tensor) -> Tensor:
    """Where a level was measured: not in bands that a high-pass took away (`REMOVED_DB`)."""
    return level_db > REMOVED_DB / 2


def mean_over(values: Tensor, kept: Tensor, *, dim: int | tuple[int, ...]) -> Tensor:
    """Mean of the kept values along some axes, which stay with length 1; 0 where none is kept."""
    count = kept.sum(dim=dim, keepdim=True).clamp_min(1)
    return torch.where(kept, values, 0.0).sum(dim=dim, keepdim=True) / count


class InputStandardisation(nn.Module):
    """``(x - level - mean) / std`` of levels [dB]: one mean a band, one deviation for all bands.

    ``level`` is 0 for ``"corpus"`` (loudness tells machines apart), the clip's mean for ``"clip"``
    (gain drops out). Bands that a high-pass took away become 0.
    """

    mean: Tensor  # of the training features per band, shape (n_bands, 1) [dB]
    std: Tensor  # of the training features around the mean, shape () [dB]

    def __init__(self, n_bands: int, input_norm: InputNorm) -> None:
        super().__init__()
        self.input_norm = input_norm
        self.register_buffer("mean", torch.zeros(n_bands, 1))
        self.register_buffer("std", torch.ones(()))

    def forward(self, level_db: Tensor) -> Tensor:
        """Standardise levels [dB], shape (batch, 1, n_bands, n_frames)."""
        kept = is_kept(level_db)
        if self.input_norm == "clip":
            level_db = level_db - mean_over(level_db, kept, dim=(2, 3))
        return torch.where(kept, (level_db - self.mean) / self.std, 0.0)


class SqueezeExcitation(nn.Module):
    """Weigh channels by their mean over the map ([2]_): ``x * sigmoid(W2 relu(W1 mean(x)))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // SE_REDUCTION, _MIN_SQUEEZED)
        self.squeeze = nn.Linear(channels, squeezed)
        self.excite = nn.Linear(squeezed, channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Weigh ``maps``, shape (batch, channels, length) or (batch, channels, height, width)."""
        axes = tuple(range(2, maps.ndim))
        weight = torch.sigmoid(self.excite(torch.relu(self.squeeze(maps.mean(dim=axes)))))
        return maps * weight.reshape(*weight.shape, *(1 for _ in axes))


class ResidualBlock(nn.Module):
    """``relu(shortcut(x) + se(bn(conv(relu(bn(conv(x)))))))`` with 3×3 convolutions.

    The shortcut is the identity, or a strided 1×1 convolution where the block changes the shape.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.squeeze_excitation = SqueezeExcitation(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut.append(nn.Conv2d(in_channels, channels, 1, stride, bias=False))
            self.shortcut.append(nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """Transform ``maps``, shape (batch, in_channels, height, width)."""
        residual = torch.relu_(self.norm1(self.conv1(maps)))
        residual = self.squeeze_excitation(self.norm2(self.conv2(residual)))
        return torch.relu_(residual + self.shortcut(maps))


class SEResNet18(nn.Module):
    """Standardised spectrogram in, embedding out.

    A 7×7 convolution and a 3×3 maximum with stride 2, four stages of two residual blocks with 1, 2,
    4 and 8 times ``stem_channels``, the mean over both axes, one linear layer.
    """

    def __init__(self, stem_channels: int, embedding_dim: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, stem_channels, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(stem_channels),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.stages = nn.Sequential()
        in_channels = stem_channels
        for stage in range(4):
            channels = stem_channels * 2**stage
            first = ResidualBlock(in_channels, channels, stride=1 if stage == 0 else 2)
            self.stages.extend([first, ResidualBlock(channels, channels, stride=1)])
            in_channels = channels
        self.project = nn.Linear(in_channels, embedding_dim)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Embed ``spectrogram``, shape (batch, 1, n_mels, n_frames)."""
        maps: Tensor = self.stages(self.stem(spectrogram))
        return torch.as_tensor(self.project(maps.mean(dim=(2, 3))))


class SpectrumBranch(nn.Module):
    """Strided convolutions along the frequency axis of a clip's spectrum ([3]_), then dense layers.

    All positions go into the dense layers at once: it matters *where* on the axis something lies.
    Every layer has twice ``stem_channels`` channels, 128 at full width.
    """

    def __init__(
        self, n_bins: int, stem_channels: int, embedding_dim: int, *, input_norm: InputNorm
    ) -> None:
        super().__init__()
        self.standardise = InputStandardisation(n_bins, input_norm)
        width = 2 * stem_channels
        self.convolutions = nn.Sequential()
        in_channels, length = 1, n_bins
        for kernel, stride in SPECTRUM_CONVOLUTIONS:
            convolution = nn.Conv1d(in_channels, width, kernel, stride, kernel // 2, bias=False)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            self.convolutions.extend([convolution, nn.ReLU(), SqueezeExcitation(width)])
            in_channels, length = width, length // stride + 1
        self.dense = nn.Sequential(nn.Flatten())
        n_in = width * length
        for _ in range(_SPECTRUM_DENSE_LAYERS):
            layers = [nn.Linear(n_in, width, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
            self.dense.extend(layers)
            n_in = width
        self.project = nn.Linear(width, embedding_dim)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Embed ``spectrum`` [dB], shape (batch, 1, n_bins, 1)."""
        maps = self.convolutions(self.standardise(spectrum).squeeze(3))
        return torch.as_tensor(self.project(self.dense(maps)))


class EmbeddingNetwork(nn.Module):
    """Input standardisation and SE-ResNet18; with ``n_bins`` > 0 the spectrum branch too.

    Each branch gives ``embedding_dim`` values; ``stem_channels`` is 64 at full width.
    """

    def __init__(
        self,
        *,
        n_mels: int,
        stem_channels: int,
        embedding_dim: int,
        input_norm: InputNorm,
        n_bins: int = 0,
    ) -> None:
        super().__init__()
        if min(n_mels, stem_channels, embedding_dim) < 1 or n_bins < 0:
            raise InputError(
                f"n_mels={n_mels}, stem_channels={stem_channels}, embedding_dim={embedding_dim}: "
                f"each must be at least 1, and n_bins={n_bins} at least 0."
            )
        if input_norm not in ("corpus", "clip"):
            raise InputError(f"input_norm={input_norm!r}: expected 'corpus' or 'clip'.")
        self.stem_channels = stem_channels
        self.output_dim = embedding_dim
        self.standardise = InputStandardisation(n_mels, input_norm)
        self.spectrogram_branch = SEResNet18(stem_channels, embedding_dim)
        self.spectrum_branch: SpectrumBranch | None = None
        if n_bins > 0:
            self.output_dim = 2 * embedding_dim
            self.spectrum_branch = SpectrumBranch(
                n_bins, stem_channels, embedding_dim, input_norm=input_norm
            )

    @property
    def input_layers(self) -> tuple[InputStandardisation, ...]:
        """Standardisation of every input, in the order of the inputs."""
        if self.spectrum_branch is None:
            return (self.standardise,)
        return (self.standardise, self.spectrum_branch.standardise)

    def on(self, device: torch.device) -> EmbeddingNetwork:
        """Move the network to a device, in the memory layout to run it in."""
        # Channels last: 1.5 times the clips per second on a CPU, and what tensor cores want. Not
        # below 16 channels: there oneDNN's backward pass of torch 2.13 writes past its buffers.
        is_narrow = self.stem_channels < 16
        layout = torch.contiguous_format if is_narrow else torch.channels_last
        return self.to(device, memory_format=layout)  # type: ignore[call-overload,no-any-return]

    def forward(self, log_mel: Tensor, spectrum: Tensor | None = None) -> Tensor:
        """Embed levels [dB], shapes (batch, 1, n_mels, n_frames) and (batch, 1, n_bins, 1).

        Both branches' vectors one behind the other; not normalised, as only directions count.
        """
        embedding = self.spectrogram_branch(self.standardise(log_mel))
        if self.spectrum_branch is None:
            return torch.as_tensor(embedding)
        if spectrum is None:
            raise InputError("The network has two branches: expected the spectrum as well.")
        return torch.cat([embedding, self.spectrum_branch(spectrum)], dim=1)


def parameter_groups(
    network: nn.Module, loss: nn.Module, weight_decay: float
) -> list[dict[str, Any]]:
    """Decay the weights of convolutions and linear layers, nothing else."""
    # Biases and batch normalisation do not overfit; of a centre only the direction counts.
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    centres = [weight for weight in loss.parameters() if weight.requires_grad]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": [*others, *centres], "weight_decay": 0.0},
    ]
