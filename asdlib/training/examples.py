"""Training examples as augmented batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from asdlib.training import augment
from asdlib.training.batches import FeatureBatches
from asdlib.training.classes import ClassTable, NoiseSources
from asdlib.training.settings import TrainSettings


@dataclass(frozen=True)
class Batch:
    """What the network and the loss see of some training examples.

    Attributes
    ----------
    levels : tuple of Tensor, shape (batch, 1, n_bands, n_frames) each
        Mel spectrogram and, in the two-branch form, spectrum of the whole clip [dB].
    labels : Tensor, shape (batch, n_classes)
        Weights of the classes.
    exchanged_labels : Tensor, shape (batch, n_classes or 3 n_classes)
        Weights of the classes that StatEx makes of them; without StatEx the labels themselves.
    """

    levels: tuple[Tensor, ...]
    labels: Tensor
    exchanged_labels: Tensor


class Examples:
    """Augmented batches of the training examples.

    Parameters
    ----------
    classes : ClassTable
    batches : tuple of FeatureBatches
        Mel spectrograms and, in the two-branch form, spectra of the examples, in the order of
        ``classes.clips``.
    settings : TrainSettings
    device : torch.device
    """

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
        """Read some examples and augment them: noise, mixup, StatEx, in that order.

        Parameters
        ----------
        clips : Tensor of int64, shape (batch,)
            Numbers of the examples.
        generator : torch.Generator
            Source of the random numbers, on the CPU.
        """
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
