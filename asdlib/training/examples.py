"""Training examples: features read from a memory-mapped array, as augmented batches on a device.

"To further diversify the categories, we curated clean machine data or noise-only data from
supplemental dataset and combined them with DCASE Task2 data for training." (report, section
2.3)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from asdlib.errors import InputError
from asdlib.training import augment
from asdlib.training.classes import ClassTable
from asdlib.training.network import InputNorm, is_kept, mean_over
from asdlib.training.settings import TrainSettings

#: Share of the free device memory that the features may fill; the network needs the rest.
RESIDENT_SHARE = 0.5
_BLOCK_CLIPS = 256


class FeatureBatches:
    """Gather rows of an array (n_rows, n_mels, n_frames) of levels [dB] as tensors on a device.

    On a GPU all rows are moved to its memory once, where they fit in `RESIDENT_SHARE` of what
    is free; otherwise, and on the CPU, every batch is read from the array in ascending order.
    ``positions`` holds the row of each clip.
    """

    def __init__(
        self,
        features: npt.NDArray[Any],
        positions: npt.NDArray[np.int64],
        device: torch.device,
    ) -> None:
        if features.ndim != 3 or 0 in features.shape[1:]:
            raise InputError(
                f"Features have shape {features.shape}: expected (clips, mel bands, frames)."
            )
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(features):
            raise InputError(
                f"Positions reach from {positions.min()} to {positions.max()}: the features have "
                f"rows 0 to {len(features) - 1}."
            )
        self._features = features
        self._rows, self._row_of_clip = np.unique(positions, return_inverse=True)
        self._device = device
        self._resident: Tensor | None = None
        row_bytes = features.itemsize * features.shape[1] * features.shape[2]
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if len(self._rows) * row_bytes <= RESIDENT_SHARE * free:
                self._resident = self._load()

    @property
    def is_resident(self) -> bool:
        """Whether the features lie in the device's memory."""
        return self._resident is not None

    def __len__(self) -> int:
        return len(self._row_of_clip)

    def gather(self, clips: npt.NDArray[np.int64]) -> Tensor:
        """Features of some clips, by their numbers, in their type on disk and on the device."""
        rows = self._row_of_clip[clips]
        if self._resident is not None:
            return self._resident[torch.from_numpy(rows).to(self._device)]
        ascending, place = np.unique(rows, return_inverse=True)
        batch = torch.from_numpy(self._features[self._rows[ascending]])
        batch = batch[torch.from_numpy(place)]
        if self._device.type == "cuda":
            return batch.pin_memory().to(self._device, non_blocking=True)
        return batch

    def standardisation(self, input_norm: InputNorm) -> tuple[Tensor, Tensor]:
        """Mean per mel band, shape (n_mels, 1), and one standard deviation over all rows [dB].

        Over the bands that no high-pass took away. The deviation is 1 where the features do not
        vary at all.
        """
        n_mels = self._features.shape[1]
        total = torch.zeros(n_mels, dtype=torch.float64)
        squares = torch.zeros(n_mels, dtype=torch.float64)
        count = torch.zeros(n_mels, dtype=torch.float64)
        for start in range(0, len(self._rows), _BLOCK_CLIPS):
            rows = self._rows[start : start + _BLOCK_CLIPS]
            block = torch.from_numpy(self._features[rows]).float()
            is_finite = block.isfinite().flatten(1).all(dim=1)
            if not is_finite.all():
                bad = int(rows[int((~is_finite).nonzero()[0])])
                raise InputError(f"Row {bad} of the features is not finite. Build them again.")
            kept = is_kept(block)
            if input_norm == "clip":
                block = block - mean_over(block, kept, dim=(1, 2))
            block = torch.where(kept, block, 0.0)
            count += kept.sum(dim=(0, 2))
            total += block.sum(dim=(0, 2), dtype=torch.float64)
            squares += block.square().sum(dim=(0, 2), dtype=torch.float64)
        n_values = count.clamp_min(1)
        mean = total / n_values
        scatter = (squares / n_values - mean**2).clamp_min(0) * count
        variance = scatter.sum() / count.sum().clamp_min(1)
        std = variance.sqrt() if variance > 1e-6 else torch.ones(())
        return mean.float()[:, None], std.float()

    def _load(self) -> Tensor:
        shape = (len(self._rows), *self._features.shape[1:])
        dtype = torch.from_numpy(self._features[:0].copy()).dtype
        resident = torch.empty(shape, dtype=dtype, device=self._device)
        for start in range(0, len(self._rows), _BLOCK_CLIPS):
            rows = self._rows[start : start + _BLOCK_CLIPS]
            resident[start : start + len(rows)] = torch.from_numpy(self._features[rows])
        return resident


def feature_batches(
    features: npt.NDArray[Any],
    spectrum: npt.NDArray[Any] | None,
    positions: npt.NDArray[np.int64],
    device: torch.device,
) -> tuple[FeatureBatches, ...]:
    """Batches of the network's one or two inputs: log-mel features and spectra, row by row."""
    if spectrum is None:
        return (FeatureBatches(features, positions, device),)
    if len(spectrum) != len(features):
        raise InputError(
            f"There are {len(spectrum)} spectra for {len(features)} spectrograms. "
            "Build the spectra from these features (asdlib.spectra.open_spectrum)."
        )
    return tuple(FeatureBatches(levels, positions, device) for levels in (features, spectrum))


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
