"""Batches of features from a memory-mapped array, on the device that needs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asdlib.errors import InputError
from asdlib.training.branches import InputNorm

#: Share of the free device memory that the features may fill; the network needs the rest.
RESIDENT_SHARE = 0.5
_BLOCK_CLIPS = 256


class FeatureBatches:
    """Gather rows of a feature array as tensors on a device.

    On a GPU all rows are moved to its memory once, where they fit in `RESIDENT_SHARE` of what
    is free; otherwise, and on the CPU, every batch is read from the array in ascending order.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_mels, n_frames)
        Level [dB], usually float16 and memory-mapped.
    positions : ndarray of int64, shape (n_clips,)
        Row of each clip.
    device : torch.device

    Attributes
    ----------
    is_resident : bool
        Whether the features lie in the device's memory.
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
        """Features of some clips, in their type on disk.

        Parameters
        ----------
        clips : ndarray of int64, shape (batch,)
            Numbers of the clips, 0 to ``len(self) - 1``.

        Returns
        -------
        Tensor, shape (batch, n_mels, n_frames)
            On the device.
        """
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
        """Mean per mel band and one standard deviation over all distinct rows.

        Returns
        -------
        mean : Tensor of float32, shape (n_mels, 1)
            [dB]
        std : Tensor of float32, shape ()
            [dB]; 1 where the features do not vary at all.

        Raises
        ------
        InputError
            When a feature is not finite.
        """
        n_mels, n_frames = self._features.shape[1:]
        total = torch.zeros(n_mels, dtype=torch.float64)
        squares = torch.zeros(n_mels, dtype=torch.float64)
        for start in range(0, len(self._rows), _BLOCK_CLIPS):
            rows = self._rows[start : start + _BLOCK_CLIPS]
            block = torch.from_numpy(self._features[rows]).float()
            is_finite = block.isfinite().flatten(1).all(dim=1)
            if not is_finite.all():
                bad = int(rows[int((~is_finite).nonzero()[0])])
                raise InputError(f"Row {bad} of the features is not finite. Build them again.")
            if input_norm == "clip":
                block = block - block.mean(dim=(1, 2), keepdim=True)
            total += block.sum(dim=(0, 2), dtype=torch.float64)
            squares += block.square().sum(dim=(0, 2), dtype=torch.float64)
        n_values = max(len(self._rows), 1) * n_frames
        mean = total / n_values
        variance = (squares / n_values - mean**2).clamp_min(0).mean()
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
    """Batches of the network's one or two inputs.

    Parameters
    ----------
    features : ndarray, shape (n_rows, n_mels, n_frames)
        Log-mel features [dB].
    spectrum : ndarray, shape (n_rows, n_bins, 1), or None
        Spectra of the same clips, row by row [dB].
    positions : ndarray of int64, shape (n_clips,)
        Row of each clip, in both.
    device : torch.device

    Raises
    ------
    InputError
        When the two have not as many rows.
    """
    if spectrum is None:
        return (FeatureBatches(features, positions, device),)
    if len(spectrum) != len(features):
        raise InputError(
            f"There are {len(spectrum)} spectra for {len(features)} spectrograms. "
            "Build the spectra from these features (asdlib.spectra.open_spectrum)."
        )
    return tuple(FeatureBatches(levels, positions, device) for levels in (features, spectrum))
