"""The report's recipe: two branches, StatEx, FeatEx, noise, fixed centres, weight average."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_task import (
    N_CLASSES,
    N_MELS,
    QUICK,
    RECIPE,
    assert_same,
    run,
    tone_spectra,
    tone_task,
    train_settings,
)

from asdlib.base import InputError
from asdlib.training import ClassTable, Identity, embed
from asdlib.training.augment import Examples
from asdlib.training.checkpoint import load_checkpoint
from asdlib.training.embed import feature_batches
from asdlib.training.loop import Trainer

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize(
    "recipe",
    [
        {"branches": "two"},
        {"statex_probability": 0.5, "statex_axis": "time"},
        {"branches": "two", "featex_probability": 0.5},
        {"noise_mix_probability": 0.5},
        {"average_decay": 0.8},
        {"centres": "fixed", "scale": "fixed"},
        RECIPE,
    ],
)
def test_every_part_of_the_recipe_learns_and_repeats(tmp_path: Path, recipe: dict) -> None:
    settings = train_settings(
        stem_channels=4, embedding_dim=8, epochs=4, batch_size=12, learning_rate=3e-3, **recipe
    )
    first = run(tmp_path / "a", settings, n_clips=36)
    assert first.history["loss"].iloc[-1] < first.history["loss"].iloc[0]
    assert_same(first, run(tmp_path / "b", settings, n_clips=36))


def test_exchanges_triple_the_classes_and_are_not_asked_for_when_embedding(tmp_path: Path) -> None:
    for recipe, times in [
        ({"statex_probability": 0.5}, 3),
        ({"branches": "two", "featex_probability": 0.5}, 3),
        (RECIPE, 9),
    ]:
        model = run(tmp_path, dataclasses.replace(QUICK, epochs=1, **recipe))
        state = load_checkpoint(model.path).loss
        assert len(state["exchange.centres"]) == times * N_CLASSES
        assert len(model.loss.centres) == N_CLASSES
    assert "exchange.centres" not in load_checkpoint(run(tmp_path).path).loss
    # Plain embeddings: nothing drawn at random, no neighbour's branch.
    features, spectra = tone_task(30)[0], tone_spectra(30)
    together = embed(model, features, np.arange(30), spectrum=spectra, device="cpu")
    alone = embed(model, features, np.array([7]), spectrum=spectra, device="cpu")
    assert together.shape == (30, 16)
    np.testing.assert_allclose(alone[0], together[7], rtol=1e-4, atol=1e-5)


def test_fixed_centres_stay_where_they_were_drawn(tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, centres="fixed", statex_probability=0.5)
    states = []
    for epochs in (1, 2):
        changed = dataclasses.replace(settings, epochs=epochs, warmup_epochs=0.0)
        states.append(load_checkpoint(run(tmp_path, changed).path).loss)
    assert torch.equal(states[0]["plain.centres"], states[1]["plain.centres"])
    assert not torch.equal(states[0]["exchange.centres"], states[1]["exchange.centres"])


def test_average_of_the_weights_is_the_running_one(tmp_path: Path) -> None:
    features, classes = tone_task(30)
    settings = dataclasses.replace(QUICK, average_decay=0.7, epochs=2)
    identity = Identity.of(settings, classes, feature_key="f", n_mels=N_MELS)
    device = torch.device("cpu")
    batches = feature_batches(features, None, np.arange(30), device)
    trainer = Trainer(identity, Examples(classes, batches, settings, device), device)
    expected = None
    for step in range(5):
        trainer.step(torch.arange(step, step + 8), step, torch.Generator())
        weight = trainer.network.spectrogram_branch.project.weight.detach().clone()
        expected = weight if expected is None else 0.7 * expected + 0.3 * weight
    assert trainer.average is not None
    found = trainer.average.module.spectrogram_branch.project.weight
    torch.testing.assert_close(found, expected)
    trainer.epoch = 2
    done = trainer.checkpoint()
    assert done.average is None
    assert torch.equal(done.network["spectrogram_branch.project.weight"], found)


def test_noise_changes_only_the_clips_that_there_is_noise_for() -> None:
    features, classes = tone_task(30)
    device = torch.device("cpu")
    batches = feature_batches(features, None, np.arange(30), device)
    settings = dataclasses.replace(
        QUICK, mixup_probability=0.0, noise_mix_probability=1.0, noise_mix_snr_db=(-20, -20)
    )
    examples = Examples(classes, batches, settings, device)
    batch = examples.draw(torch.arange(30), torch.Generator().manual_seed(0))
    levels = batch.levels[0][:, 0]
    is_noise = classes.clips["class_index"].to_numpy() == 3
    before = torch.from_numpy(features).float()
    assert torch.equal(levels[is_noise], before[is_noise])
    assert torch.equal(batch.labels.argmax(dim=1), torch.arange(30) % N_CLASSES)
    # 20 dB above the clip, the noise-only clips' band (25) is the strongest.
    assert (levels[~is_noise].mean(dim=2).argmax(dim=1) == 25).all()
    assert ((levels - before)[~is_noise] > -0.01).all()


def test_made_up_classes_roll_the_spectrum_too() -> None:
    features, _ = tone_task(2)
    clips = pd.DataFrame(
        {"clip_id": ["fan/train/0.wav"] * 4, "class_index": range(4), "version": range(4)}
    )
    classes = ClassTable(tuple(f"fan|00|source|@{version}" for version in range(4)), clips)
    device = torch.device("cpu")
    settings = dataclasses.replace(QUICK, branches="two", mixup_probability=0.0)
    spectra = tone_spectra(2)
    batches = feature_batches(features, spectra, np.zeros(4, np.int64), device)
    batch = Examples(classes, batches, settings, device).draw(torch.arange(4), torch.Generator())
    for levels, stored in zip(batch.levels, (features[0], spectra[0]), strict=True):
        for version in range(4):
            expected = np.roll(stored, version * (len(stored) // 4), axis=0)
            assert np.array_equal(levels[version, 0].numpy(), expected)


def test_spectra_go_with_two_branches(tmp_path: Path) -> None:
    two = dataclasses.replace(QUICK, branches="two")
    with pytest.raises(InputError, match="branches='two': there is no spectrum"):
        run(tmp_path, two, spectrum=None)
    with pytest.raises(InputError, match="branches='one': there is a spectrum"):
        run(tmp_path, spectrum=tone_spectra(30))
    with pytest.raises(InputError, match="29 spectra for 30 spectrograms"):
        run(tmp_path, two, spectrum=tone_spectra(29))
    first = run(tmp_path, two)
    assert first.path != run(tmp_path, two, spectrum_key="other").path
    with pytest.raises(InputError, match="spectra have 0 bins, the network was trained on 300"):
        embed(first, tone_task(30)[0], np.arange(3), device="cpu")


def test_no_step_has_a_single_clip(tmp_path: Path) -> None:
    # Batch normalisation of the spectrum branch has nothing to learn from one clip.
    run(tmp_path, dataclasses.replace(QUICK, branches="two", batch_size=2, epochs=1), n_clips=5)
