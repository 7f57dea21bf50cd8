"""What is done to a batch of features before the network sees it.

    "... integrating mixup [7], StatEx [8], and FeatEx to augment new categories." (report,
    section 2.3)

All random numbers are drawn on the CPU from a given generator, so that a seed means the same
batches on every device. Levels are in dB, shape (batch, n_bands, n_frames); ``rows`` and
``partners`` are positions in the batch as from `draw_exchange`.

References
----------
.. [1] H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk
       Minimization", ICLR 2018.
.. [2] H. Chen, Y. Song, Z. Zhuo, Y. Zhou, Y.-H. Li, H. Xue, I. McLoughlin, "An Effective
       Anomalous Sound Detection Method Based on Representation Learning with Simulated
       Anomalies", ICASSP 2023.
.. [3] K. Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.
.. [4] I. Golan, R. El-Yaniv, "Deep Anomaly Detection Using Geometric Transformations",
       NeurIPS 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from asdlib.training.network import is_kept, mean_over

StatexAxis = Literal["frequency", "time"]

_DB_TO_NEPER = math.log(10) / 10

#: Versions of a clip that serve as classes where the data has fewer than two (see `transform`).
N_VERSIONS = 4
_SMALLEST_STD_DB = 1e-3  # frames and bands of one level have no shape to exchange


def mixup(
    levels: Sequence[Tensor], labels: Tensor, *, probability: float, generator: torch.Generator
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Mix clips of a batch with ``probability`` as their recordings would mix in the air ([1]_).

    Levels [dB], per branch (batch, n_bands, n_frames), and labels become those of ``λ a + (1 - λ)
    b``, ``λ`` uniform in 0 to 1; the generator is on the CPU.
    """
    n_clips = len(labels)
    is_mixed = torch.rand(n_clips, generator=generator) < probability
    partner = torch.randperm(n_clips, generator=generator)
    weight = torch.rand(n_clips, generator=generator)
    rows = is_mixed.nonzero().squeeze(1)
    if probability == 0 or len(rows) == 0:
        return tuple(levels), labels
    device = labels.device
    others = partner[rows].to(device)
    lam = weight[rows].to(device, labels.dtype)
    rows = rows.to(device)
    mixed = []
    for level in levels:
        sums = level.clone()
        sums[rows] = mix_levels(level[rows], level[others], lam)
        mixed.append(sums)
    mixed_labels = labels.clone()
    mixed_labels[rows] = lam[:, None] * labels[rows] + (1 - lam)[:, None] * labels[others]
    return tuple(mixed), mixed_labels


def mix_levels(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Levels [dB] of ``λ a + (1 - λ) b``, with one weight ``λ`` per clip, shape (batch,).

    Two independent sounds add in power: the expected power of the sum is
    ``λ² |A|² + (1 - λ)² |B|²`` in every cell of the spectrogram. What that leaves out is the
    cross term ``2 λ (1 - λ) Re(A B*)``, which has mean zero and is averaged down by the width of
    a mel band.
    """
    first = first * _DB_TO_NEPER + 2 * weight.log()[:, None, None]
    second = second * _DB_TO_NEPER + 2 * (1 - weight).log()[:, None, None]
    return torch.logaddexp(first, second) / _DB_TO_NEPER


def mean_level(level: Tensor) -> Tensor:
    """Level of the mean power over bands and frames [dB], shape (batch,)."""
    n_cells = level.shape[1] * level.shape[2]
    total = (level * _DB_TO_NEPER).flatten(1).logsumexp(dim=1)
    return (total - math.log(n_cells)) / _DB_TO_NEPER


def add_noise(
    levels: Sequence[Tensor], noise: Sequence[Tensor], snr_db: Tensor
) -> tuple[Tensor, ...]:
    """Add noise at ``snr_db`` below the mean mel power (`mean_level`) of the first of the levels.

    Powers are added, the expected result of adding waveforms; noise in a clip counts as clip.
    """
    shift = (mean_level(levels[0]) - mean_level(noise[0]) - snr_db)[:, None, None]
    return tuple(
        torch.logaddexp(level * _DB_TO_NEPER, (other + shift) * _DB_TO_NEPER) / _DB_TO_NEPER
        for level, other in zip(levels, noise, strict=True)
    )


def draw_exchange(
    n_clips: int, *, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw which ``rows`` of a batch take something from which ``partners``, never themselves.

    With probability 0 no random number is drawn.
    """
    if probability == 0 or n_clips < 2:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
    is_taking = torch.rand(n_clips, generator=generator) < probability
    circle = torch.randperm(n_clips, generator=generator)
    partner = torch.empty_like(circle)
    partner[circle] = circle.roll(1)
    rows = is_taking.nonzero().squeeze(1)
    return rows, partner[rows]


def exchange_labels(labels: Tensor, rows: Tensor, partners: Tensor) -> Tensor:
    """Labels of a batch in which some clips took something from others, three times as many [3]_.

    ``[y, 0, 0]`` for a clip as it was, ``[0, y_a / 2, y_b / 2]`` for ``a`` with something of ``b``.
    """
    rows, partners = rows.to(labels.device), partners.to(labels.device)
    tripled = nn.functional.pad(labels, (0, 2 * labels.shape[1]))
    taken = torch.cat([torch.zeros_like(labels[rows]), labels[rows], labels[partners]], dim=1)
    tripled[rows] = taken / 2
    return tripled


def exchange_statistics(
    log_mel: Tensor, rows: Tensor, partners: Tensor, *, axis: StatexAxis
) -> Tensor:
    """StatEx: give clips the mean and the standard deviation of others ([2]_, [3]_).

    ``(A - mean(A)) / std(A) * std(B) + mean(B)``, on levels in dB. With axis ``"frequency"``
    there is one mean and one deviation per frame, taken over the bands, as in the code published
    with [3]_; with ``"time"`` one of each per band, taken over the frames. Bands that a high-pass
    took away take no part.

    Parameters
    ----------
    log_mel : Tensor, shape (batch, n_mels, n_frames)
        Level [dB].
    rows, partners : Tensor of int64, shape (n_rows,)
        Positions in the batch of the clips that take something, and of those it is taken from.
    axis : {"frequency", "time"}
    """
    if len(rows) == 0:
        return log_mel
    rows, partners = rows.to(log_mel.device), partners.to(log_mel.device)
    dim = 1 if axis == "frequency" else 2
    kept = is_kept(log_mel)
    mean = mean_over(log_mel, kept, dim=dim)
    std = mean_over((log_mel - mean).square(), kept, dim=dim).sqrt()
    shape = (log_mel[rows] - mean[rows]) / std[rows].clamp_min(_SMALLEST_STD_DB)
    # What the partner does not have, along time a whole band, cannot be taken from it.
    is_taken = kept[rows] & kept[partners].any(dim=dim, keepdim=True)
    exchanged = log_mel.clone()
    exchanged[rows] = torch.where(is_taken, shape * std[partners] + mean[partners], log_mel[rows])
    return exchanged


def exchange_features(
    embedding: Tensor, rows: Tensor, partners: Tensor, *, n_exchanged: int
) -> Tensor:
    """FeatEx: give clips one branch's embedding of others ([3]_).

    The first ``n_exchanged`` values, the first branch's vector, are the partner's; the rest stays.
    """
    source = torch.arange(len(embedding))
    source[rows] = partners
    first = embedding[source.to(embedding.device), :n_exchanged]
    return torch.cat([first, embedding[:, n_exchanged:]], dim=1)


def crop(log_mel: Tensor, *, n_frames: int, generator: torch.Generator) -> Tensor:
    """Cut a random stretch of ``n_frames`` frames out of every clip; 0 keeps all of it."""
    surplus = log_mel.shape[2] - n_frames
    if n_frames == 0 or surplus <= 0:
        return log_mel
    starts = torch.randint(surplus + 1, (len(log_mel),), generator=generator)
    frames = starts[:, None] + torch.arange(n_frames)
    frames = frames.to(log_mel.device)[:, None, :].expand(-1, log_mel.shape[1], -1)
    return torch.take_along_dim(log_mel, frames, dim=2)


def transform(log_mel: Tensor, version: Tensor) -> Tensor:
    """Roll the mel bands of every clip by ``version`` (0: unchanged) quarters of the axis.

    One machine without attributes is one class, from which nothing can be learnt. Telling how a
    clip was transformed is then the task instead, after Golan and El-Yaniv [4]_.
    """
    if not version.any():
        return log_mel
    rolled = log_mel.clone()
    step = log_mel.shape[1] // N_VERSIONS
    for value in range(1, N_VERSIONS):
        rows = (version == value).nonzero().squeeze(1).to(log_mel.device)
        rolled[rows] = log_mel[rows].roll(value * step, dims=1)
    return rolled
