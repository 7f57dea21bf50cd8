"""From features, read in batches, to embeddings, and the file that carries them to the scoring."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asdlib.base import InputError, choose_device
from asdlib.data.cache import cached, read_arrays
from asdlib.data.store import content_key
from asdlib.training.checkpoint import TrainedModel
from asdlib.training.network import InputNorm, is_kept, mean_over

#: Share of the free device memory that the features may fill; the network needs the rest.
RESIDENT_SHARE = 0.5
_BLOCK_CLIPS = 256


class FeatureBatches:
    """Gather rows of an array (n_rows, n_mels, n_frames) of levels [dB] as tensors on a device.

    ``positions`` holds the row of each clip. On a GPU all rows are moved to its memory once, where
    they fit in `RESIDENT_SHARE` of what is free; otherwise every batch is read from the array in
    ascending order. Refuses arrays and positions that do not go together (`InputError`).
    """

    def __init__(
        self, features: npt.NDArray[Any], positions: npt.NDArray[np.int64], device: torch.device
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
        self._features, self._device = features, device
        self._rows, self._row_of_clip = np.unique(positions, return_inverse=True)
        self._resident: Tensor | None = None
        n_bytes = features.itemsize * len(self._rows) * features.shape[1] * features.shape[2]
        if device.type == "cuda" and (
            n_bytes <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]
        ):
            dtype = torch.from_numpy(features[:0].copy()).dtype
            shape = (len(self._rows), *features.shape[1:])
            self._resident = torch.empty(shape, dtype=dtype, device=device)
            for start, block in self._blocks():
                self._resident[start : start + len(block)] = block

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

        Over the bands that no high-pass took away; the deviation is 1 where nothing varies.
        """
        total, squares, count = torch.zeros(3, self._features.shape[1], dtype=torch.float64)
        for start, block in self._blocks():
            block = block.float()
            is_finite = block.isfinite().flatten(1).all(dim=1)
            if not is_finite.all():
                bad = int(self._rows[start + int((~is_finite).nonzero()[0])])
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

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """All rows in blocks, each with the number of its first."""
        for start in range(0, len(self._rows), _BLOCK_CLIPS):
            rows = self._rows[start : start + _BLOCK_CLIPS]
            yield start, torch.from_numpy(self._features[rows])


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
class Embeddings:
    """What a network says of clips. Only directions were trained: compare by cosine."""

    clip_ids: list[str]  # unique
    embedding: npt.NDArray[np.float32]  # (n_clips, output_dim)
    made_by: dict[str, Any]  # what shaped them, JSON-serialisable

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
        """Take them from the arrays of a file."""
        made_by = json.loads(str(arrays["settings"]))
        return cls(arrays["clip_id"].tolist(), arrays["embedding"], made_by)


def embed(
    model: TrainedModel,
    features: npt.NDArray[Any],
    positions: npt.NDArray[np.int64],
    *,
    spectrum: npt.NDArray[Any] | None = None,
    device: str = "auto",
    batch_size: int = 64,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> npt.NDArray[np.float32]:
    """Embed whole clips, in float32 on every device; arguments as for `open_embeddings`.

    Refuses features of another shape than were trained on, and embeddings that are not finite.
    """
    if features.ndim == 3 and features.shape[1] != model.identity.n_mels:
        raise InputError(
            f"The features have {features.shape[1]} mel bands, the network was trained on "
            f"{model.identity.n_mels}. Use the features it was trained on."
        )
    n_bins = 0 if spectrum is None else spectrum.shape[1]
    if n_bins != model.identity.n_bins:
        raise InputError(
            f"The spectra have {n_bins} bins, the network was trained on "
            f"{model.identity.n_bins}. Use the spectra it was trained on."
        )
    chosen = choose_device(device)
    batches = feature_batches(features, spectrum, positions, chosen)
    network = model.network
    if next(network.parameters()).device != chosen:
        network = copy.deepcopy(network)  # the model's own stays where it is
    network = network.on(chosen)
    embedding = np.empty((len(positions), network.output_dim), np.float32)
    for start in range(0, len(positions), batch_size):
        clips = np.arange(start, min(start + batch_size, len(positions)))
        levels = [each.gather(clips).float()[:, None] for each in batches]
        with torch.inference_mode():
            embedding[clips] = network(*levels).cpu().numpy()
        on_progress(len(clips))
    is_finite = np.isfinite(embedding).all(axis=1)
    if not is_finite.all():
        bad = int(np.flatnonzero(~is_finite)[0])
        raise InputError(f"Row {positions[bad]} of the features gives no finite embedding.")
    return embedding


def open_embeddings(
    path: Path,
    model: TrainedModel,
    features: npt.NDArray[Any],
    positions: npt.NDArray[np.int64],
    clip_ids: Sequence[str],
    *,
    feature_key: str,
    spectrum: npt.NDArray[Any] | None = None,
    device: str = "auto",
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Embeddings:
    """Read the embeddings of these clips by this network; compute and write them if need be.

    Parameters
    ----------
    path : Path
        ``embeddings.npz``; used as it is when it was made by the same training from the same
        features for the same clips, else written anew: arrays ``clip_id`` (text), ``embedding``
        (float32) and ``settings`` (JSON text).
    features, spectrum : ndarray, shapes (n_rows, n_mels, n_frames), (n_rows, n_bins, 1)
        What the network was trained on [dB]; spectra for a network of two branches alone.
    positions, clip_ids : ndarray of int64, sequence of str, shape (n_clips,)
        Row of each clip, and its name.
    feature_key : str
        Key of the features of all these clips (the name of the store's folder).
    device : str
        See `asdlib.base.choose_device`.
    on_progress : callable
        Called with the number of clips just finished.

    Raises
    ------
    InputError
        When a clip is listed twice or its embedding is not finite, the features or spectra have
        another shape than the network was trained on, or the file cannot be written.
    """
    if not len(set(clip_ids)) == len(clip_ids) == len(positions):
        raise InputError(
            f"{path}: there are {len(positions)} embeddings for {len(clip_ids)} clips, "
            f"{len(set(clip_ids))} of them different. Expected one for each clip."
        )

    def make() -> dict[str, npt.ArrayLike]:
        embedding = embed(
            model, features, positions, spectrum=spectrum, device=device, on_progress=on_progress
        )
        return {"clip_id": np.asarray(clip_ids, dtype=np.str_), "embedding": embedding}

    made_by = {
        **model.identity.as_dict(),
        "checkpoint": model.path.parent.name,
        "clips": content_key({"clip_ids": list(clip_ids), "features": feature_key}),
    }
    arrays = cached(
        path, make, kind="embeddings", settings=made_by,
        on_found=lambda: on_progress(len(clip_ids)),
    )  # fmt: skip
    return Embeddings.of(arrays)


def load_embeddings(path: Path) -> Embeddings:
    """Read the file of `open_embeddings`; refuses one that is missing or damaged."""
    names = ("clip_id", "embedding")
    return Embeddings.of(read_arrays(path, *names, what="embeddings", made_in="notebook 03"))
