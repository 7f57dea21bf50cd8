"""What is done to a batch of features before the network sees it.

All random numbers are drawn on the CPU from a given generator, so that a seed means the same
batches on every device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_DB_TO_NEPER = math.log(10) / 10

#: Versions of a clip that serve as classes where the data has fewer than two (see `transform`).
N_VERSIONS = 4


def mixup(
    log_mel: Tensor, labels: Tensor, *, probability: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix clips of a batch as their recordings would mix in the air.

    Mixup [1]_ adds the waveforms of two clips, ``λ a + (1 - λ) b`` with ``λ`` uniform in
    0 to 1. Two independent sounds add in power: the expected power of the sum is
    ``λ² |A|² + (1 - λ)² |B|²`` in every cell of the spectrogram, and that is what this
    computes from the levels. What it leaves out is the cross term ``2 λ (1 - λ) Re(A B*)``,
    which has mean zero and is averaged down by the width of a mel band. The labels mix with
    ``λ`` and ``1 - λ``.

    Parameters
    ----------
    log_mel : Tensor, shape (batch, n_mels, n_frames)
        Level of the mel power spectrogram [dB].
    labels : Tensor, shape (batch, n_classes)
        Weights of the classes.
    probability : float
        Share of the clips that are mixed, each with another one of the batch.
    generator : torch.Generator
        Source of the random numbers, on the CPU.

    Returns
    -------
    log_mel : Tensor, shape (batch, n_mels, n_frames)
    labels : Tensor, shape (batch, n_classes)

    References
    ----------
    .. [1] H. Zhang, M. Cisse, Y. Dauphin, D. Lopez-Paz, "mixup: Beyond Empirical Risk
           Minimization", ICLR 2018.
    """
    n_clips = len(log_mel)
    is_mixed = torch.rand(n_clips, generator=generator) < probability
    partner = torch.randperm(n_clips, generator=generator)
    weight = torch.rand(n_clips, generator=generator)
    rows = is_mixed.nonzero().squeeze(1)
    if probability == 0 or len(rows) == 0:
        return log_mel, labels
    device = log_mel.device
    others = partner[rows].to(device)
    lam = weight[rows].to(device, log_mel.dtype)
    rows = rows.to(device)

    first = log_mel[rows] * _DB_TO_NEPER + 2 * lam.log()[:, None, None]
    second = log_mel[others] * _DB_TO_NEPER + 2 * (1 - lam).log()[:, None, None]
    mixed = log_mel.clone()
    mixed[rows] = torch.logaddexp(first, second) / _DB_TO_NEPER
    mixed_labels = labels.clone()
    mixed_labels[rows] = lam[:, None] * labels[rows] + (1 - lam)[:, None] * labels[others]
    return mixed, mixed_labels


def crop(log_mel: Tensor, *, n_frames: int, generator: torch.Generator) -> Tensor:
    """Cut a random stretch of ``n_frames`` frames out of every clip.

    Returns
    -------
    Tensor, shape (batch, n_mels, n_frames)
        All of it where ``n_frames`` is 0 or not less than the clips' length.
    """
    surplus = log_mel.shape[2] - n_frames
    if n_frames == 0 or surplus <= 0:
        return log_mel
    starts = torch.randint(surplus + 1, (len(log_mel),), generator=generator)
    frames = starts[:, None] + torch.arange(n_frames)
    frames = frames.to(log_mel.device)[:, None, :].expand(-1, log_mel.shape[1], -1)
    return torch.take_along_dim(log_mel, frames, dim=2)


def transform(log_mel: Tensor, version: Tensor) -> Tensor:
    """Roll the mel bands of every clip by ``version`` quarters of the axis.

    One machine without attributes is one class, from which nothing can be learnt. Telling how
    a clip was transformed is then the task instead, after Golan and El-Yaniv [1]_: to know by
    how much a spectrum was shifted is to know how it looks when it is normal.

    Parameters
    ----------
    log_mel : Tensor, shape (batch, n_mels, n_frames)
        Level [dB].
    version : Tensor of int64, shape (batch,), on the CPU
        0 (unchanged) to ``N_VERSIONS - 1``.

    References
    ----------
    .. [1] I. Golan, R. El-Yaniv, "Deep Anomaly Detection Using Geometric Transformations",
           NeurIPS 2018.
    """
    if not version.any():
        return log_mel
    rolled = log_mel.clone()
    step = log_mel.shape[1] // N_VERSIONS
    for value in range(1, N_VERSIONS):
        rows = (version == value).nonzero().squeeze(1).to(log_mel.device)
        rolled[rows] = log_mel[rows].roll(value * step, dims=1)
    return rolled
