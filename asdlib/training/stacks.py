"""Stacks of neighbouring frames: what the official baseline's autoencoder sees at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

#: Neighbouring frames that the network sees at once.
STACKED_FRAMES = 5


class FrameStacks:
    """Stacks of neighbouring frames, gathered as tensors on a device.

    On a GPU the frames are moved to its memory once; on the CPU every batch is read from the
    array, usually a memory-mapped one.

    Parameters
    ----------
    frames : ndarray, shape (n_frames, n_mels)
        Level [dB], clip after clip, contiguous in memory.
    device : torch.device
    """

    def __init__(self, frames: npt.NDArray[Any], device: torch.device) -> None:
        n_frames, n_mels = frames.shape
        self.n_mels = n_mels
        self.width = STACKED_FRAMES * n_mels
        # A stack is one stretch of memory: stacks are overlapping rows of this view.
        self._stacks = np.lib.stride_tricks.as_strided(
            frames,
            (max(n_frames - STACKED_FRAMES + 1, 0), self.width),
            (frames.strides[0], frames.itemsize),
            writeable=False,
        )
        self._device = device
        self._frames: Tensor | None = None
        if device.type == "cuda":
            self._frames = torch.from_numpy(np.array(frames)).to(device)
            self._steps = torch.arange(STACKED_FRAMES, device=device)

    def gather(self, first_frames: npt.NDArray[np.int64]) -> Tensor:
        """Stacks that begin at these frames, float32, shape (n_stacks, 5 * n_mels), time first."""
        if self._frames is None:
            return torch.from_numpy(self._stacks[first_frames]).float()
        rows = torch.from_numpy(first_frames).to(self._device)[:, None] + self._steps
        return self._frames[rows].flatten(1).float()


def stack_starts(
    offsets: npt.NDArray[np.int64], positions: Sequence[int] | npt.NDArray[np.int64]
) -> list[npt.NDArray[np.int64]]:
    """First frames of all stacks of some clips; no stack reaches over the end of its clip.

    Parameters
    ----------
    offsets : ndarray of int64, shape (n_rows + 1,)
        Where each clip's frames begin.
    positions : sequence of int
        The clips.

    Returns
    -------
    list of ndarray of int64
        One array per clip.

    Examples
    --------
    >>> [starts.tolist() for starts in stack_starts(np.array([0, 6, 12]), [0, 1])]
    [[0, 1], [6, 7]]
    """
    return [np.arange(offsets[row], offsets[row + 1] - STACKED_FRAMES + 1) for row in positions]
