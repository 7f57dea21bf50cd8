"""The official baseline's autoencoder: few log-mel frames in, the same frames out.

What it learns to reconstruct is normal; what it reconstructs badly is not. This module holds
the network, its training on one machine's clips, and what the scores are made of: the
residuals of every clip and their covariance per domain.

References
----------
N. Harada, D. Niizumi, Y. Ohishi, D. Takeuchi, M. Yasuda, "First-shot anomaly sound detection
for machine condition monitoring: a domain generalization baseline", EUSIPCO 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from asdlib.errors import InputError
from asdlib.training.stacks import STACKED_FRAMES, FrameStacks

_WIDTHS = (128, 128, 128, 128, 8, 128, 128, 128, 128)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings:
    """Everything that shapes a training besides its frames; the defaults are the official ones.

    Attributes
    ----------
    epochs : int
        Passes over the training stacks.
    batch_size : int
        Stacks per step.
    learning_rate : float
        Of Adam.
    min_steps : int
        Fewest steps of the whole training: the stacks of a machine of few clips are passed over
        several times an epoch.
    validation_share : float
        Share of the training stacks that is held out, to watch the loss only.
    seed : int
        Seed of the initial weights, the held-out stacks and their order.

    Raises
    ------
    InputError
        When a value makes no sense.
    """

    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    min_steps: int = 0
    validation_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in {"epochs": 1, "batch_size": 2, "min_steps": 0, "seed": 0}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise InputError(f"{name}={value!r}: expected a whole number, {lowest} or more.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate={self.learning_rate!r}: expected a positive number.")
        if not 0 <= self.validation_share < 1:
            raise InputError(f"validation_share={self.validation_share}: expected 0 to below 1.")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings by name, ready for JSON."""
        return asdict(self)


class Autoencoder(nn.Sequential):
    """Fully connected 640-128-128-128-128-8-128-128-128-128-640 for 5 frames of 128 bands.

    Every layer but the last is followed by batch normalisation (momentum 0.01, epsilon 1e-3)
    and a rectifier. Input and output are levels in dB, not standardised.

    Parameters
    ----------
    n_inputs : int
        Values of a stack: frames times mel bands.

    Examples
    --------
    >>> Autoencoder(640)(torch.zeros(3, 640)).shape
    torch.Size([3, 640])
    """

    def __init__(self, n_inputs: int) -> None:
        layers: list[nn.Module] = []
        widths = (n_inputs, *_WIDTHS)
        for n_in, n_out in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out, eps=1e-3, momentum=0.01)]
            layers.append(nn.ReLU())
        super().__init__(*layers, nn.Linear(_WIDTHS[-1], n_inputs))


def fit(
    network: Autoencoder,
    stacks: FrameStacks,
    starts: npt.NDArray[np.int64],
    settings: AutoencoderSettings,
    rng: np.random.Generator,
    *,
    on_epoch: Callable[[], object] = lambda: None,
) -> tuple[npt.NDArray[np.int64], dict[str, list[float]]]:
    """Train a network to reconstruct the stacks of one machine: mean squared error, Adam.

    Parameters
    ----------
    network : Autoencoder
        On the stacks' device; trained in place.
    stacks : FrameStacks
    starts : ndarray of int64, shape (n_stacks,)
        The machine's training stacks.
    settings : AutoencoderSettings
    rng : Generator
        Draws the held-out stacks and every epoch's order.
    on_epoch : callable
        Called after every epoch.

    Returns
    -------
    trained_on : ndarray of int64
        The stacks that were not held out.
    history : dict
        ``loss`` (mean over the epoch's batches while they were learnt from) and
        ``validation_loss`` (NaN where nothing is held out) per epoch [dB²].

    Raises
    ------
    InputError
        When there are fewer than two stacks or the loss is not finite.
    """
    order = rng.permutation(starts)
    n_held_out = math.ceil(settings.validation_share * len(order))
    held_out, trained_on = order[:n_held_out], order[n_held_out:]
    if len(trained_on) < 2:
        raise InputError(
            f"There are {len(starts)} stacks of {STACKED_FRAMES} frames to train on: expected "
            "at least 2 besides those held out. Record more, or longer, normal clips."
        )
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, fused=True)
    history: dict[str, list[float]] = {"loss": [], "validation_loss": []}
    steps = settings.epochs * math.ceil(len(trained_on) / settings.batch_size)
    passes = max(1, math.ceil(settings.min_steps / steps))
    for _ in range(settings.epochs):
        network.train()
        losses = []
        seen = np.concatenate([rng.permutation(trained_on) for _ in range(passes)])
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
    return trained_on, history


def clip_residuals(
    network: Autoencoder, stacks: FrameStacks, clip_starts: Sequence[npt.NDArray[np.int64]]
) -> tuple[FloatArray, npt.NDArray[np.float32]]:
    r"""Mean squared error and mean residual of every clip.

    The residual of a stack is :math:`r = x - \hat x`. As in the organisers' code its five frames
    count as five vectors of one spectrum each, so that the mean residual is a spectrum too:
    the mean over all stacks of a clip and their five places.

    Parameters
    ----------
    network : Autoencoder
    stacks : FrameStacks
    clip_starts : sequence of ndarray
        As from `stack_starts`.

    Returns
    -------
    mse : ndarray of float64, shape (n_clips,)
        [dB²]
    mean_residual : ndarray of float32, shape (n_clips, n_mels)
        [dB]
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
    """Covariance of the residual spectra of each domain's training stacks.

    As the organisers' code estimates it: batch by batch around the mean of the batch's own
    vectors of that domain, the sum divided by the number of stacks less one. A stack holds
    five vectors, which makes every distance five times smaller, in all domains alike.

    Parameters
    ----------
    network : Autoencoder
    stacks : FrameStacks
    starts : ndarray of int64, shape (n_stacks,)
        Training stacks, shuffled.
    domains : ndarray of str, shape (n_stacks,)
        Domain of each stack.
    batch_size : int
        Stacks per batch.

    Returns
    -------
    names : list of str
        Domains with at least two stacks, sorted.
    covariance : ndarray of float64, shape (n_domains, n_mels, n_mels)
        [dB²]
    n_stacks : ndarray of int64, shape (n_domains,)
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
    errors = [
        _residual(network, stacks, batch).square().mean(dim=1)
        for batch in _batches(starts, 4096, smallest=1)
    ]
    return float(torch.cat(errors).mean()) if errors else math.nan


def _batches(
    items: npt.NDArray[np.int64], size: int, *, smallest: int = 2
) -> list[npt.NDArray[np.int64]]:
    """Cut into batches; one stack alone has no variance to normalise by and is left out."""
    batches = [items[first : first + size] for first in range(0, len(items), size)]
    return [batch for batch in batches if len(batch) >= smallest]
