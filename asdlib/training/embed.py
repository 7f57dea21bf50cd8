"""From features to embeddings, and the file that carries them to the scoring."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asdlib.data.cache import cached, read_arrays
from asdlib.data.store import content_key
from asdlib.errors import InputError
from asdlib.training.checkpoint import TrainedModel
from asdlib.training.examples import feature_batches
from asdlib.training.settings import choose_device, memory_format


@dataclass(frozen=True)
class Embeddings:
    """What a network says of clips. Only directions were trained: compare by cosine."""

    clip_ids: list[str]  # unique
    embedding: npt.NDArray[np.float32]  # (n_clips, output_dim)
    made_by: dict[str, Any]  # what shaped them, JSON-serialisable


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

    ``batch_size`` does not shape the result beyond rounding. Refuses features and spectra of
    another shape than the network was trained on, and clips whose embedding is not finite.
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
    network = copy.deepcopy(model.network)
    network = network.to(chosen, memory_format=memory_format(network))  # type: ignore[call-overload]
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
    model : TrainedModel
    features : ndarray, shape (n_rows, n_mels, n_frames)
        Log-mel features [dB] that the network was trained on.
    positions : ndarray of int64, shape (n_clips,)
        Row of each clip.
    clip_ids : sequence of str, length n_clips
        Clip of every position.
    spectrum : ndarray, shape (n_rows, n_bins, 1), optional
        Spectra of whole clips [dB] in the rows of ``features``; for a network of two branches.
    device : str
        See `asdlib.training.settings.choose_device`.
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
        "clips": content_key({"clip_ids": list(clip_ids)}),
    }
    arrays = cached(
        path,
        make,
        kind="embeddings",
        settings=made_by,
        on_found=lambda: on_progress(len(clip_ids)),
    )
    return _from_arrays(arrays)


def _from_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> Embeddings:
    return Embeddings(
        arrays["clip_id"].tolist(),
        arrays["embedding"],
        json.loads(str(arrays["settings"])),
    )


def load_embeddings(path: Path) -> Embeddings:
    """Read the file of `open_embeddings`; refuses one that is missing or damaged."""
    names = ("clip_id", "embedding")
    return _from_arrays(read_arrays(path, *names, what="embeddings", made_in="notebook 03"))
