"""Training examples: which clips a step sees, and what is done to them before the network does.

    "... integrating mixup [7], StatEx [8], and FeatEx to augment new categories." (report,
    section 2.3)

All random numbers are drawn on the CPU from a given generator, so that a seed means the same
batches on every device. Levels are in dB, shape (batch, n_bands, n_frames); ``rows`` and
``partners`` are positions in the batch as from `draw_exchange`.

References
----------
.. [1] H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
.. [2] H. Chen et al., "An Effective Anomalous Sound Detection Method Based on Representation
       Learning with Simulated Anomalies", ICASSP 2023.
.. [3] K. Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.
.. [4] I. Golan, R. El-Yaniv, "Deep Anomaly Detection Using Geometric Transformations",
       NeurIPS 2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from asdlib.training.checkpoint import StatexAxis, TrainSettings
from asdlib.training.classes import N_VERSIONS, ClassTable
from asdlib.training.embed import FeatureBatches
from asdlib.training.network import is_kept, mean_over

_DB_TO_NEPER = math.log(10) / 10
_SMALLEST_STD_DB = 1e-3  # frames and bands of one level have no shape to exchange


def mixup(
    levels: Sequence[Tensor], labels: Tensor, *, probability: float, generator: torch.Generator
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Mix clips of a batch with ``probability`` as their recordings would mix in the air ([1]_).

    Levels of every branch and labels become those of ``λ a + (1 - λ) b``, ``λ`` from 0 to 1.
    """
    n_clips = len(labels)
    rows = (torch.rand(n_clips, generator=generator) < probability).nonzero().squeeze(1)
    partner = torch.randperm(n_clips, generator=generator)
    weight = torch.rand(n_clips, generator=generator)
    if len(rows) == 0:
        return tuple(levels), labels
    others = partner[rows].to(labels.device)
    lam = weight[rows].to(labels.device, labels.dtype)
    rows = rows.to(labels.device)
    mixed = [mix_levels(level[rows], level[others], lam) for level in levels]
    mixed_labels = lam[:, None] * labels[rows] + (1 - lam)[:, None] * labels[others]
    return _replaced(levels, rows, mixed), labels.index_copy(0, rows, mixed_labels)


def _replaced(
    levels: Sequence[Tensor], rows: Tensor, others: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Levels of every branch with some rows replaced."""
    return tuple(
        level.index_copy(0, rows, other) for level, other in zip(levels, others, strict=True)
    )


def mix_levels(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Levels [dB] of ``λ a + (1 - λ) b``, with one weight ``λ`` per clip, shape (batch,).

    Independent sounds add in power: that of the sum is ``λ² |A|² + (1 - λ)² |B|²`` in every cell on
    average, the cross term ``2 λ (1 - λ) Re(A B*)`` having mean zero.
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
    """Add noise at ``snr_db`` below the mean power of the first of the levels; powers add up."""
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
    rows = (torch.rand(n_clips, generator=generator) < probability).nonzero().squeeze(1)
    circle = torch.randperm(n_clips, generator=generator)
    partner = torch.empty_like(circle)
    partner[circle] = circle.roll(1)
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

    ``(A - mean(A)) / std(A) * std(B) + mean(B)``, on levels [dB], shape (batch, n_mels, n_frames).
    Axis ``"frequency"``: one mean and one deviation per frame, taken over the bands, as in the code
    published with [3]_; ``"time"``: one of each per band. Bands that a high-pass took away take no
    part.
    """
    rows, partners = rows.to(log_mel.device), partners.to(log_mel.device)
    dim = 1 if axis == "frequency" else 2
    kept = is_kept(log_mel)
    mean = mean_over(log_mel, kept, dim=dim)
    std = mean_over((log_mel - mean).square(), kept, dim=dim).sqrt()
    shape = (log_mel[rows] - mean[rows]) / std[rows].clamp_min(_SMALLEST_STD_DB)
    # What the partner does not have, along time a whole band, cannot be taken from it.
    is_taken = kept[rows] & kept[partners].any(dim=dim, keepdim=True)
    taken = torch.where(is_taken, shape * std[partners] + mean[partners], log_mel[rows])
    return log_mel.index_copy(0, rows, taken)


def exchange_features(
    embedding: Tensor, rows: Tensor, partners: Tensor, *, n_exchanged: int
) -> Tensor:
    """FeatEx: give clips one branch's embedding, the first ``n_exchanged`` values, of others."""
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

    Where there is one class alone, telling these versions apart is the task ([4]_).
    """
    step = log_mel.shape[1] // N_VERSIONS
    for value in range(1, N_VERSIONS):
        rows = (version == value).nonzero().squeeze(1).to(log_mel.device)
        if len(rows):
            log_mel = log_mel.index_copy(0, rows, log_mel[rows].roll(value * step, dims=1))
    return log_mel


@dataclass(frozen=True)
class NoiseSources:
    """Noise-only clips that may be mixed into each training example.

    A training clip gets noise of its own machine, in which it was recorded; a clean clip too, or
    of all machines where its own has none. What a clip is called does not change.
    """

    groups: tuple[Tensor, ...]  # numbers of noise-only examples, a group per machine, one for all
    group_of_example: Tensor  # group of every example, shape (n_examples,); -1 for none

    @classmethod
    def of(cls, classes: ClassTable) -> NoiseSources:
        """Find the noise for every row of ``classes.clips``."""
        machine = classes.clips["clip_id"].str.split("/").str[0]
        is_extra = classes.clips["clip_id"].str.split("/").str[1] == "supplemental"
        kind = classes.clips["class_index"].map(lambda index: classes.names[index].split("|")[-1])
        is_noise = is_extra & (kind == "noise")
        noisy_machines = sorted(machine[is_noise].unique())
        members = [is_noise & (machine == name) for name in noisy_machines]
        if noisy_machines:
            members.append(is_noise)
        group = pd.Series(pd.Index(noisy_machines).get_indexer(machine), index=machine.index)
        group[is_extra & (kind == "clean") & (group < 0)] = len(members) - 1
        group[is_noise] = -1
        return cls(
            tuple(torch.from_numpy(np.flatnonzero(member)) for member in members),
            torch.from_numpy(group.to_numpy(np.int64, copy=True)),
        )

    @property
    def n_examples(self) -> int:
        """How many examples there is noise for."""
        return int((self.group_of_example >= 0).sum())

    def draw(self, examples: Tensor, *, generator: torch.Generator) -> Tensor:
        """Draw a noise-only example for each of some examples; -1 where there is none."""
        place = torch.rand(len(examples), generator=generator)
        drawn = torch.full_like(examples, -1)
        group = self.group_of_example[examples]
        for number, members in enumerate(self.groups):
            rows = (group == number).nonzero().squeeze(1)
            drawn[rows] = members[(place[rows] * len(members)).long()]
        return drawn


@dataclass(frozen=True)
class Batch:
    """What the network and the loss see of some training examples."""

    levels: tuple[Tensor, ...]  # [dB], shape (batch, 1, n_bands, n_frames), one per branch
    labels: Tensor  # weights of the classes, shape (batch, n_classes)
    exchanged_labels: Tensor  # of the classes that StatEx makes of them; without it, the same


class Examples:
    """Augmented batches of the training examples, whose order is that of ``classes.clips``."""

    def __init__(
        self,
        classes: ClassTable,
        batches: tuple[FeatureBatches, ...],
        settings: TrainSettings,
        device: torch.device,
    ) -> None:
        self.batches, self.settings, self.device = batches, settings, device
        self._n_classes = len(classes.names)
        self._class_index = torch.from_numpy(classes.clips["class_index"].to_numpy(copy=True))
        self._version = torch.from_numpy(classes.clips["version"].to_numpy(copy=True))
        self._noise = NoiseSources.of(classes)

    def __len__(self) -> int:
        return len(self._class_index)

    def draw(self, clips: Tensor, generator: torch.Generator) -> Batch:
        """Read examples, by number, and augment them: noise, versions, mixup, StatEx, in order."""
        settings = self.settings
        levels = self._read(clips, generator)
        if settings.noise_mix_probability > 0:
            levels = self._with_noise(levels, clips, generator)
        levels = tuple(transform(level, self._version[clips]) for level in levels)
        class_index = self._class_index[clips].to(self.device)
        labels = nn.functional.one_hot(class_index, self._n_classes).float()
        levels, labels = mixup(
            levels, labels, probability=settings.mixup_probability, generator=generator
        )
        exchanged_labels = labels
        if settings.statex_probability > 0:
            rows, partners = draw_exchange(
                len(clips), probability=settings.statex_probability, generator=generator
            )
            log_mel = exchange_statistics(levels[0], rows, partners, axis=settings.statex_axis)
            levels = (log_mel, *levels[1:])
            exchanged_labels = exchange_labels(labels, rows, partners)
        return Batch(tuple(level[:, None] for level in levels), labels, exchanged_labels)

    def _read(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Features of some examples [dB], the spectrogram cropped."""
        log_mel, *spectrum = (batches.gather(clips.numpy()) for batches in self.batches)
        log_mel = crop(log_mel, n_frames=self.settings.crop_frames, generator=generator)
        return tuple(level.float() for level in (log_mel, *spectrum))

    def _with_noise(
        self, levels: tuple[Tensor, ...], clips: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        noise_clips = self._noise.draw(clips, generator=generator)
        is_mixed = torch.rand(len(clips), generator=generator) < self.settings.noise_mix_probability
        lowest, highest = self.settings.noise_mix_snr_db
        snr_db = lowest + (highest - lowest) * torch.rand(len(clips), generator=generator)
        rows = (is_mixed & (noise_clips >= 0)).nonzero().squeeze(1)
        if len(rows) == 0:
            return levels
        noise = self._read(noise_clips[rows], generator)
        snr_db, rows = snr_db[rows].to(self.device), rows.to(self.device)
        return _replaced(levels, rows, add_noise([level[rows] for level in levels], noise, snr_db))
