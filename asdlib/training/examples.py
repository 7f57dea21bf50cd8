"""Training examples: features and noise as augmented batches on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from asdlib.training import augment
from asdlib.training.classes import ClassTable
from asdlib.training.settings import TrainSettings

if TYPE_CHECKING:
    from asdlib.training.embed import FeatureBatches


@dataclass(frozen=True)
class NoiseSources:
    """Noise-only clips that may be mixed into each training example.

    A training clip gets noise of its own machine: it was recorded in that noise. A clean clip gets
    noise of its own machine where there is some, else of all machines: with noise it is a simulated
    training clip. Noise-only clips get none. What a clip is called does not change.
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
        self.batches = batches
        self.settings = settings
        self.device = device
        self._n_classes = len(classes.names)
        self._class_index = torch.from_numpy(classes.clips["class_index"].to_numpy(copy=True))
        self._version = torch.from_numpy(classes.clips["version"].to_numpy(copy=True))
        self._noise = NoiseSources.of(classes)

    def __len__(self) -> int:
        return len(self._class_index)

    def draw(self, clips: Tensor, generator: torch.Generator) -> Batch:
        """Read some examples, by number, and augment them: noise, mixup, StatEx, in that order."""
        settings = self.settings
        levels = self._read(clips, generator)
        if settings.noise_mix_probability > 0:
            levels = self._with_noise(levels, clips, generator)
        version = self._version[clips]
        levels = tuple(augment.transform(level, version) for level in levels)
        class_index = self._class_index[clips].to(self.device)
        labels = nn.functional.one_hot(class_index, self._n_classes).float()
        levels, labels = augment.mixup(
            levels, labels, probability=settings.mixup_probability, generator=generator
        )
        exchanged_labels = labels
        if settings.statex_probability > 0:
            rows, partners = augment.draw_exchange(
                len(clips), probability=settings.statex_probability, generator=generator
            )
            log_mel = augment.exchange_statistics(
                levels[0], rows, partners, axis=settings.statex_axis
            )
            levels = (log_mel, *levels[1:])
            exchanged_labels = augment.exchange_labels(labels, rows, partners)
        return Batch(tuple(level[:, None] for level in levels), labels, exchanged_labels)

    def _read(self, clips: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Features of some examples [dB], the spectrogram cropped."""
        log_mel, *spectrum = (batches.gather(clips.numpy()) for batches in self.batches)
        n_frames = self.settings.crop_frames
        log_mel = augment.crop(log_mel, n_frames=n_frames, generator=generator)
        return tuple(level.float() for level in (log_mel, *spectrum))

    def _with_noise(
        self, levels: tuple[Tensor, ...], clips: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        noise_clips = self._noise.draw(clips, generator=generator)
        is_mixed = torch.rand(len(clips), generator=generator)
        is_mixed = is_mixed < self.settings.noise_mix_probability
        lowest, highest = self.settings.noise_mix_snr_db
        snr_db = lowest + (highest - lowest) * torch.rand(len(clips), generator=generator)
        rows = (is_mixed & (noise_clips >= 0)).nonzero().squeeze(1)
        if len(rows) == 0:
            return levels
        noise = self._read(noise_clips[rows], generator)
        snr_db, rows = snr_db[rows].to(self.device), rows.to(self.device)
        noisy = augment.add_noise([level[rows] for level in levels], noise, snr_db)
        return tuple(
            level.index_copy(0, rows, mixed) for level, mixed in zip(levels, noisy, strict=True)
        )
