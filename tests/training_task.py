"""A small task for trainings: tones in noise, whose band tells the class."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from asdlib.training import AutoencoderSettings, ClassTable, TrainSettings, train
from asdlib.training.checkpoint import TrainedModel
from asdlib.training.network import EmbeddingNetwork

N_CLASSES, N_MELS, N_FRAMES = 4, 32, 48


def train_settings(**changes: Any) -> TrainSettings:
    """Settings of a plain training, but for some changes."""
    plain = {
        "stem_channels": 64,
        "embedding_dim": 128,
        "input_norm": "clip",
        "epochs": 20,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
        "warmup_epochs": 1.0,
        "mixup_probability": 0.5,
        "branches": "one",
        "statex_probability": 0.0,
        "statex_axis": "frequency",
        "featex_probability": 0.0,
        "noise_mix_probability": 0.0,
        "noise_mix_snr_db": (0.0, 15.0),
        "scale": "dynamic",
        "centres": "trainable",
        "sub_clusters": 1,
        "average_decay": 0.0,
        "crop_frames": 0,
        "seed": 0,
    }
    return TrainSettings(**{**plain, **changes})


def autoencoder_settings(**changes: Any) -> AutoencoderSettings:
    """Settings of a short training of the official autoencoder, but for some changes."""
    plain = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "min_steps": 0, "seed": 0}
    return AutoencoderSettings(**{**plain, **changes})


def embedding_network(**changes: Any) -> EmbeddingNetwork:
    """Build the network at full width, but for some changes."""
    plain = {"n_mels": 128, "stem_channels": 64, "embedding_dim": 128, "input_norm": "clip"}
    return EmbeddingNetwork(**{**plain, **changes})


QUICK = train_settings(stem_channels=4, embedding_dim=8, epochs=3, batch_size=8, seed=1)


#: Every part of the report's recipe, and the weight average.
RECIPE = {
    "branches": "two",
    "statex_probability": 0.5,
    "featex_probability": 0.5,
    "noise_mix_probability": 0.5,
    "average_decay": 0.9,
}
N_BINS = 300


def tone_task(n_clips: int, seed: int = 0) -> tuple[np.ndarray, ClassTable]:
    """Noise of −40 dB with a tone whose band tells the class."""
    rng = np.random.default_rng(seed)
    class_index = np.arange(n_clips) % N_CLASSES
    features = rng.normal(-40, 4, (n_clips, N_MELS, N_FRAMES)).astype(np.float16)
    features[np.arange(n_clips), 4 + 7 * class_index] += 10
    clips = pd.DataFrame(
        {
            "clip_id": [f"fan/train/{i:03d}.wav" for i in range(n_clips)],
            "class_index": class_index,
            "version": 0,
        }
    )
    clips.loc[clips["class_index"] == 3, "clip_id"] = [
        f"fan/supplemental/{i:03d}.wav" for i in range((clips["class_index"] == 3).sum())
    ]
    names = (*(f"fan|00|source|{c}" for c in range(N_CLASSES - 1)), "fan|00||noise")
    return features, ClassTable(names, clips)


def tone_spectra(n_clips: int, seed: int = 0) -> np.ndarray:
    """Spectra of -60 dB with a line whose bin tells the class."""
    rng = np.random.default_rng(seed)
    spectra = rng.normal(-60, 4, (n_clips, N_BINS, 1)).astype(np.float16)
    spectra[np.arange(n_clips), 30 + 70 * (np.arange(n_clips) % N_CLASSES)] += 30
    return spectra


def run(
    folder: Path, settings: TrainSettings = QUICK, n_clips: int = 30, **options
) -> TrainedModel:
    features, classes = tone_task(n_clips)
    if settings.branches == "two":
        options = {"spectrum": tone_spectra(n_clips), "spectrum_key": "s", **options}
    return train(
        features,
        np.arange(n_clips),
        classes,
        settings,
        feature_key="f",
        checkpoint_dir=folder,
        device="cpu",
        **options,
    )


def assert_same(first: TrainedModel, second: TrainedModel) -> None:
    """Every weight, buffer, centre and learning-curve value is the same, bit for bit."""
    for one, other in [(first.network, second.network), (first.loss, second.loss)]:
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    pd.testing.assert_frame_equal(
        first.history.drop(columns="clips_per_s"), second.history.drop(columns="clips_per_s")
    )
