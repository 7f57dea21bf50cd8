"""Embeddings and their file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_task import embedding_network, train_settings

from asdlib.base import InputError
from asdlib.training import Embeddings, Identity, embed, load_embeddings, open_embeddings
from asdlib.training.checkpoint import TrainedModel
from asdlib.training.losses import AdaCos


@pytest.fixture
def model() -> TrainedModel:
    torch.manual_seed(0)
    settings = train_settings(stem_channels=4, embedding_dim=8)
    return TrainedModel(
        identity=Identity(settings, ("a", "b"), "key", "features", 16),
        network=embedding_network(n_mels=16, stem_channels=4, embedding_dim=8).eval(),
        loss=AdaCos(n_classes=2, embedding_dim=8),
        history=pd.DataFrame(),
        device="CPU",
        path=Path("nowhere"),
    )


@pytest.fixture
def features(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(-40, 5, (11, 16, 20)).astype(np.float16)


def test_rows_follow_the_positions(model: TrainedModel, features: np.ndarray) -> None:
    positions = np.array([4, 0, 10, 4])
    seen: list[int] = []
    embedding = embed(
        model, features, positions, device="cpu", batch_size=3, on_progress=seen.append
    )
    assert embedding.dtype == np.float32
    assert sum(seen) == 4
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(features[positions]).float()[:, None]).numpy()
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)


def test_a_clip_does_not_depend_on_its_batch(model: TrainedModel, features: np.ndarray) -> None:
    alone = embed(model, features, np.array([3]), device="cpu")
    together = embed(model, features, np.arange(11), device="cpu")
    np.testing.assert_allclose(alone[0], together[3], rtol=1e-4, atol=1e-5)


def test_no_clips_give_no_embeddings(model: TrainedModel, features: np.ndarray) -> None:
    assert embed(model, features, np.empty(0, np.int64), device="cpu").shape == (
        0,
        8,
    )


def test_other_features_are_refused(model: TrainedModel, features: np.ndarray) -> None:
    with pytest.raises(InputError, match="have 8 mel bands, the network was trained on 16"):
        embed(model, features[:, :8], np.arange(2), device="cpu")
    features[6, 0, 0] = np.inf
    with pytest.raises(InputError, match="Row 6 of the features"):
        embed(model, features, np.array([2, 6]), device="cpu")


def test_file_gives_back_what_was_written(
    model: TrainedModel, features: np.ndarray, tmp_path: Path
) -> None:
    path, ids = tmp_path / "new" / "embeddings.npz", ["fan/train/ä.wav", "b"]
    written = open_embeddings(
        path, model, features, np.arange(2), ids, feature_key="f", device="cpu"
    )
    found = load_embeddings(path)
    assert found.clip_ids == ids
    assert found.made_by == written.made_by
    assert model.identity.as_dict().items() <= found.made_by.items()
    assert np.array_equal(found.embedding, written.embedding)
    assert found.embedding.dtype == np.float32
    with np.load(path, allow_pickle=False) as content:
        assert set(content) == {"clip_id", "embedding", "settings"}


def test_bad_files_are_refused(model: TrainedModel, features: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "embeddings.npz"
    with pytest.raises(InputError, match="there are no embeddings"):
        load_embeddings(path)
    open_embeddings(path, model, features, np.arange(1), ["a"], feature_key="f", device="cpu")
    for content in (b"", path.read_bytes()[:100], b"no archive at all"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            load_embeddings(path)


def test_embeddings_are_computed_once_and_again_where_the_file_is_damaged(
    model: TrainedModel, features: np.ndarray, tmp_path: Path
) -> None:
    path, ids = tmp_path / "embeddings.npz", [f"fan/train/{i}.wav" for i in range(11)]

    def opened() -> Embeddings:
        return open_embeddings(
            path, model, features, np.arange(11), ids, feature_key="f", device="cpu"
        )

    first = opened()
    written_at = path.stat().st_mtime_ns
    again = opened()
    assert path.stat().st_mtime_ns == written_at
    assert np.array_equal(again.embedding, first.embedding)
    path.write_bytes(b"no archive at all")
    np.testing.assert_array_equal(opened().embedding, first.embedding)
    assert load_embeddings(path).clip_ids == ids


def test_ids_must_be_unique(model: TrainedModel, features: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="2 embeddings for 2 clips, 1 of them different"):
        open_embeddings(
            tmp_path / "e.npz",
            model,
            features,
            np.arange(2),
            ["a", "a"],
            feature_key="f",
            device="cpu",
        )
