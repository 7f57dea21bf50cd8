"""The official baseline's autoencoder: few log-mel frames in, the same frames out.

What it learns to reconstruct is normal; what it reconstructs badly is not. Scores are made of the
residuals of every clip and their covariance per domain (N. Harada et al., "First-shot anomaly sound
detection for machine condition monitoring: a domain generalization baseline", EUSIPCO 2023).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from asdlib.base import InputError

#: Neighbouring frames that the network sees at once.
STACKED_FRAMES = 5
_WIDTHS = (128, 128, 128, 128, 8, 128, 128, 128, 128)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings:
    """Everything that shapes a training besides its frames.

    The values stand in notebook 03, their ranges in `asdlib.workbook.parameters`.
    """

    epochs: int  # passes over the training stacks; officially 100
    batch_size: int  # stacks per step; officially 256
    learning_rate: float  # of Adam
    min_steps: int  # fewest steps: a machine's few stacks are passed over several times an epoch
    seed: int  # of the initial weights and the order of the stacks


class Autoencoder(nn.Sequential):
    """Fully connected 640-128-128-128-128-8-128-128-128-128-640 for 5 frames of 128 bands.

    Every layer but the last is followed by batch normalisation (momentum 0.01, epsilon 1e-3)
    and a rectifier. Input and output are levels in dB, not standardised.
    """

    def __init__(self, n_inputs: int) -> None:
        layers: list[nn.Module] = []
        widths = (n_inputs, *_WIDTHS)
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out, eps=1e-3, momentum=0.01)]
            layers.append(nn.ReLU())
        super().__init__(*layers, nn.Linear(_WIDTHS[-1], n_inputs))


class FrameStacks:
    """Stacks of neighbouring frames, gathered as tensors on a device.

    ``frames``, shape (n_frames, n_mels) [dB], lie clip after clip, contiguous in memory; on a GPU
    they are moved to its memory once.
    """

    def __init__(self, frames: npt.NDArray[Any], device: torch.device) -> None:
        n_frames, self.n_mels = frames.shape
        # A stack is one stretch of memory: stacks are overlapping rows of this view.
        shape = (max(n_frames - STACKED_FRAMES + 1, 0), STACKED_FRAMES * self.n_mels)
        self._stacks = np.lib.stride_tricks.as_strided(
            frames, shape, (frames.strides[0], frames.itemsize), writeable=False
        )
        self._device = device
        self._resident: Tensor | None = None
        if device.type == "cuda":
            resident = torch.from_numpy(np.array(frames)).to(device)
            self._resident = resident.as_strided(shape, (self.n_mels, 1))

    def gather(self, first_frames: npt.NDArray[np.int64]) -> Tensor:
        """Stacks that begin at these frames, float32, shape (n_stacks, 5 * n_mels), time first."""
        if self._resident is None:
            return torch.from_numpy(self._stacks[first_frames]).float()
        return self._resident[torch.from_numpy(first_frames).to(self._device)].float()


def stack_starts(
    offsets: npt.NDArray[np.int64], positions: Sequence[int] | npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """First frames of all stacks of some clips; no stack reaches over the end of its clip."""
    return [np.arange(offsets[row], offsets[row + 1] - STACKED_FRAMES + 1) for row in positions]


def fit(
    network: Autoencoder,
    stacks: FrameStacks,
    starts: npt.NDArray[np.int64],
    held_out: npt.NDArray[np.int64],
    settings: AutoencoderSettings,
    rng: np.random.Generator,
    *,
    on_epoch: Callable[[], object] = lambda: None,
) -> dict[str, list[float]]:
    """Train a network to reconstruct the stacks of one machine: mean squared error, Adam.

    ``rng`` draws every epoch's order. Returns per epoch [dB²] the mean ``loss`` while the stacks
    were learnt from and the ``validation_loss`` of those ``held_out`` (NaN without any).
    """
    if len(starts) < 2:
        raise InputError(
            f"There are {len(starts)} stacks of {STACKED_FRAMES} frames to train on: expected "
            "at least 2. Record more, or longer, normal clips."
        )
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    history: dict[str, list[float]] = {"loss": [], "validation_loss": []}
    steps = settings.epochs * math.ceil(len(starts) / settings.batch_size)
    passes = max(1, math.ceil(settings.min_steps / steps))
    for _ in range(settings.epochs):
        network.train()
        losses = []
        seen = np.concatenate([rng.permutation(starts) for _ in range(passes)])
        for batch in _batches(seen, settings.batch_size):
            values = stacks.gather(batch)
            loss = nn.functional.mse_loss(network(values), values)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach())
        mean_loss = float(torch.stack(losses).mean())
        if not math.isfinite(mean_loss):
            raise InputError(
                f"The autoencoder's loss is not finite. Lower learning_rate "
                f"({settings.learning_rate}) or look for damaged clips."
            )
        history["loss"].append(mean_loss)
        history["validation_loss"].append(_mean_squared_error(network, stacks, held_out))
        on_epoch()
    return history


def clip_residuals(
    network: Autoencoder, stacks: FrameStacks, clip_starts: Sequence[npt.NDArray[np.int64]]
) -> tuple[FloatArray, npt.NDArray[np.float32]]:
    """Mean squared error [dB²] and mean residual [dB], shape (n_clips, n_mels), of every clip.

    As in the organisers' code the five frames of a stack count as five spectra, so that the mean
    residual, over all stacks of a clip and their five places, is a spectrum too.
    """
    network.eval()
    mse = np.empty(len(clip_starts))
    mean_residual = np.empty((len(clip_starts), stacks.n_mels), np.float32)
    for clip, starts in enumerate(clip_starts):
        residual = _residual(network, stacks, starts)
        mse[clip] = residual.square().mean().item()
        mean_residual[clip] = residual.reshape(-1, stacks.n_mels).mean(dim=0).cpu().numpy()
    return mse, mean_residual


def residual_covariance(
    network: Autoencoder,
    stacks: FrameStacks,
    starts: npt.NDArray[np.int64],
    domains: npt.NDArray[Any],
    *,
    batch_size: int,
) -> tuple[list[str], FloatArray, npt.NDArray[np.int64]]:
    """Domains with two stacks or more, covariance of their residual spectra [dB²], and stacks.

    As the organisers': batch by batch around the batch's own mean, the sum over the stacks less
    one. A stack holds five vectors: all distances are five times smaller alike.
    """
    network.eval()
    counts = {str(name): int((domains == name).sum()) for name in np.unique(domains)}
    names = [name for name, count in counts.items() if count > 1]
    scatter = np.zeros((len(names), stacks.n_mels, stacks.n_mels))
    for batch in _batches(np.arange(len(starts)), batch_size):
        residual = _residual(network, stacks, starts[batch])
        for row, name in enumerate(names):
            chosen = torch.from_numpy(domains[batch] == name).to(residual.device)
            vectors = residual[chosen].reshape(-1, stacks.n_mels)
            if len(vectors):
                vectors = vectors - vectors.mean(dim=0)
                scatter[row] += (vectors.T @ vectors).cpu().numpy()
    n_stacks = np.array([counts[name] for name in names], np.int64)
    return names, scatter / (n_stacks - 1)[:, None, None], n_stacks


def _residual(network: Autoencoder, stacks: FrameStacks, starts: npt.NDArray[np.int64]) -> Tensor:
    with torch.inference_mode():
        values = stacks.gather(starts)
        residual: Tensor = values - network(values)
    return residual


def _mean_squared_error(
    network: Autoencoder, stacks: FrameStacks, starts: npt.NDArray[np.int64]
) -> float:
    network.eval()
    batches = _batches(starts, 4096, smallest=1)
    errors = [_residual(network, stacks, batch).square().mean(dim=1) for batch in batches]
    return float(torch.cat(errors).mean()) if errors else math.nan


def _batches(
    items: npt.NDArray[np.int64], size: int, *, smallest: int = 2
) -> list[npt.NDArray[np.int64]]:
    """Cut into batches; one stack alone has no variance to normalise by and is left out."""
    batches = [items[first : first + size] for first in range(0, len(items), size)]
    return [batch for batch in batches if len(batch) >= smallest]
