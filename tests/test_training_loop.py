"""Training: it learns, repeats, resumes to the same result and refuses what does not fit."""

import dataclasses
import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from training_task import N_MELS, QUICK, RECIPE, assert_same, run, tone_task, train_settings

from asdlib.base import InputError
from asdlib.training import (
    AutoencoderSettings,
    Identity,
    TrainSettings,
    choose_device,
    class_table,
    embed,
    load_model,
    train,
)
from asdlib.training.checkpoint import load_checkpoint
from asdlib.training.embed import FeatureBatches
from asdlib.workbook.parameters import PARAMETERS, check_parameters

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_it_learns_to_tell_tones_apart(tmp_path: Path) -> None:
    settings = train_settings(stem_channels=8, epochs=10, batch_size=16, learning_rate=3e-3)
    model = run(tmp_path, settings, n_clips=96)
    assert model.history["loss"].iloc[-1] < 0.8 * model.history["loss"].iloc[0]
    features, classes = tone_task(40, seed=9)
    embedding = torch.from_numpy(embed(model, features, np.arange(40), device="cpu"))
    found = model.loss.cosines(embedding).amax(dim=2).argmax(dim=1).numpy()
    assert (found == classes.clips["class_index"]).mean() > 0.9


def test_two_runs_are_identical_and_seeds_differ(tmp_path: Path) -> None:
    first = run(tmp_path / "a")
    assert_same(first, run(tmp_path / "b"))
    other = run(tmp_path / "c", dataclasses.replace(QUICK, seed=2))
    assert not torch.equal(first.loss.centres, other.loss.centres)


def test_training_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tmp_path)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("stop_after_clips", "recipe"),
    [(10, {}), (45, {}), (75, {}), (45, RECIPE), (75, RECIPE)],
)
def test_interrupted_training_resumes_to_the_same_result(
    tmp_path: Path, stop_after_clips: int, recipe: dict
) -> None:
    settings = dataclasses.replace(QUICK, crop_frames=32, sub_clusters=2, **recipe)
    seen = []

    def interrupt(clips: int) -> None:
        seen.append(clips)
        if sum(seen) >= stop_after_clips:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", settings, on_progress=interrupt)
    resumed = []
    model = run(tmp_path / "a", settings, on_progress=resumed.append)
    assert resumed[0] == stop_after_clips // 30 * 30
    assert sum(resumed) == 90
    assert_same(model, run(tmp_path / "b", settings))


def test_finished_training_is_read_not_repeated(tmp_path: Path) -> None:
    model = run(tmp_path)
    histories: list[pd.DataFrame] = []
    seen: list[int] = []
    again = run(tmp_path, on_progress=seen.append, on_epoch=histories.append)
    assert seen == [90]
    assert len(histories) == 1
    pd.testing.assert_frame_equal(again.history, model.history)
    assert_same(again, model)


def test_history_grows_epoch_by_epoch(tmp_path: Path) -> None:
    lengths: list[int] = []
    model = run(tmp_path, on_epoch=lambda history: lengths.append(len(history)))
    assert lengths == [1, 2, 3]
    assert model.history["epoch"].tolist() == [1, 2, 3]
    assert model.history.drop(columns="epoch").gt(0).all(axis=None)


def test_an_epoch_is_seen_while_it_is_under_way(tmp_path: Path) -> None:
    parts: list[pd.DataFrame] = []
    model = run(tmp_path, on_part=parts.append)
    first = parts[0]  # after the first step, which has 8 of the 30 clips
    assert first["epoch"].tolist() == pytest.approx([8 / 30])
    assert first.columns.tolist() == model.history.columns.tolist()
    assert first.drop(columns="epoch").gt(0).all(axis=None)
    assert_same(model, run(tmp_path / "unseen"))


def test_other_settings_lie_in_another_folder(tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path, dataclasses.replace(QUICK, learning_rate=1e-4))
    assert first.path != second.path
    assert first.path.exists()


def test_checkpoint_carries_settings_classes_and_feature_key(tmp_path: Path) -> None:
    model = run(tmp_path)
    checkpoint = load_checkpoint(model.path)
    _, classes = tone_task(30)
    assert checkpoint.identity == Identity.of(QUICK, classes, feature_key="f", n_mels=N_MELS)
    assert checkpoint.is_complete
    assert checkpoint.device.startswith("CPU")


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = run(tmp_path)
    mine = model.identity
    for change, message in [
        ({"feature_key": "g"}, "feature_key is 'f', expected 'g'"),
        ({"class_names": (*mine.class_names, "x")}, "class_names is 4 classes, expected 5 classes"),
        ({"class_key": "k"}, "class_key is"),
        ({"settings": dataclasses.replace(QUICK, seed=7)}, "seed is 1, expected 7"),
    ]:
        with pytest.raises(InputError, match=message):
            load_model(model.path, expected=dataclasses.replace(mine, **change))
    foreign = dataclasses.replace(QUICK, seed=7)
    _, classes = tone_task(30)
    place = Identity.of(foreign, classes, feature_key="f", n_mels=N_MELS).path(tmp_path)
    place.parent.mkdir()
    shutil.copy(model.path, place)
    with pytest.raises(InputError, match="does not fit: seed is 1, expected 7"):
        run(tmp_path, foreign)


@pytest.mark.parametrize("size", [0, 10, 2000])
def test_damaged_checkpoint_is_refused(tmp_path: Path, size: int) -> None:
    model = run(tmp_path)
    model.path.write_bytes(model.path.read_bytes()[:size])
    with pytest.raises(InputError, match="is damaged or no checkpoint"):
        run(tmp_path)


def test_flipped_bits_anywhere_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    model = run(tmp_path)
    whole = model.path.read_bytes()
    assert torch.load(model.path, weights_only=True)["epoch"] == QUICK.epochs  # torch alone, too
    for place in [0, len(whole) - 1, *rng.integers(len(whole), size=50)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        model.path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoint\.pt: is damaged .* train again\.$"):
            load_model(model.path)
    model.path.write_bytes(whole)
    assert_same(load_model(model.path), model)


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    content = io.BytesIO()
    torch.save({"identity": Path("x")}, content)
    path.write_bytes(content.getvalue() + hashlib.sha256(content.getvalue()).digest())
    with pytest.raises(InputError, match="is damaged or no checkpoint"):
        load_checkpoint(path)


def test_unfinished_and_missing_checkpoints_are_told_apart(tmp_path: Path) -> None:
    def interrupt(history: pd.DataFrame) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_epoch=interrupt)
    path = next(tmp_path.glob("*/checkpoint.pt"))
    with pytest.raises(InputError, match="has 1 of 3 epochs"):
        load_model(path)
    with pytest.raises(InputError, match="there is no checkpoint"):
        load_model(tmp_path / "nowhere.pt")


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run(tmp_path / "file")


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    features, classes = tone_task(8)
    features[5, 0, 0] = np.nan
    with pytest.raises(InputError, match="Row 5 of the features is not finite"):
        train(features, np.arange(8), classes, QUICK, feature_key="f", checkpoint_dir=tmp_path)


def test_positions_must_match_the_classes(tmp_path: Path) -> None:
    features, classes = tone_task(8)
    with pytest.raises(InputError, match="7 positions for 8 training examples"):
        train(features, np.arange(7), classes, QUICK, feature_key="f", checkpoint_dir=tmp_path)
    with pytest.raises(InputError, match="rows 0 to 7"):
        train(features, np.arange(8) + 1, classes, QUICK, feature_key="f", checkpoint_dir=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"stem_channels": 2.5}, "stem_channels=2.5"),
        ({"learning_rate": 0}, "learning_rate=0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"mixup_probability": 1.5}, "mixup_probability=1.5"),
        ({"warmup_epochs": 30.0}, "warmup_epochs=30.0"),
        ({"scale": "free"}, "scale='free'"),
        ({"centres": "free"}, "centres='free': expected trainable or fixed"),
        ({"branches": "three"}, "branches='three'"),
        ({"statex_axis": "mel"}, "statex_axis='mel'"),
        ({"statex_probability": -0.1}, "statex_probability=-0.1"),
        ({"featex_probability": 0.5}, "one branch has nothing to exchange; branches=two has"),
        ({"noise_mix_probability": 2}, "noise_mix_probability=2"),
        ({"noise_mix_snr_db": [5, 0]}, "the lowest and the highest"),
        ({"noise_mix_snr_db": [5]}, "the lowest and the highest"),
        ({"average_decay": 1.0}, "average_decay=1.0"),
        ({"input_norm": "band"}, "input_norm='band'"),
        ({"ae_epochs": 0}, "ae_epochs=0"),
        ({"ae_batch_size": 1}, "ae_batch_size=1"),
        ({"ae_learning_rate": 0.0}, "ae_learning_rate=0.0"),
        ({"seeds": [-1]}, "seeds="),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_parameters({**train_settings().as_dict(), **change}, where="")


def test_the_declaration_holds_every_setting_and_there_is_no_default() -> None:
    for kind, prefix in ((TrainSettings, ""), (AutoencoderSettings, "ae_")):
        for field in dataclasses.fields(kind):
            assert field.default is field.default_factory is dataclasses.MISSING
            assert field.name == "seed" or prefix + field.name in PARAMETERS


def test_settings_survive_json() -> None:
    settings = train_settings(noise_mix_snr_db=[-5, 10])  # type: ignore[arg-type]
    assert settings.noise_mix_snr_db == (-5.0, 10.0)
    assert train_settings(**json.loads(json.dumps(settings.as_dict()))) == settings


def test_learning_rate_rises_then_falls_to_nothing() -> None:
    settings = train_settings(epochs=10, warmup_epochs=2, learning_rate=1.0)
    rates = [settings.learning_rate_at(step, steps_per_epoch=5) for step in range(50)]
    assert np.allclose(rates[:10], np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[30] == pytest.approx(0.5)
    assert 0 < rates[-1] < 0.01


def test_single_machine_without_labels_trains_on_versions(tmp_path: Path) -> None:
    features, _ = tone_task(12)
    clips = pd.DataFrame(
        {
            "clip_id": [f"fan/train/{i:03d}.wav" for i in range(12)],
            "machine_type": "fan",
            "section": "00",
            "domain": pd.NA,
            "split": "train",
            "supplemental_kind": pd.NA,
        }
    )
    classes = class_table(clips, clips[["clip_id"]].assign(attribute=pd.NA))
    settings = dataclasses.replace(QUICK, epochs=6, learning_rate=3e-3)
    positions = pd.Index(clips["clip_id"]).get_indexer(classes.clips["clip_id"])
    model = train(
        features,
        positions,
        classes,
        settings,
        feature_key="f",
        checkpoint_dir=tmp_path,
        device="cpu",
    )
    assert embed(model, features, np.arange(12), device="cpu").shape == (12, 8)
    assert model.history["accuracy"].iloc[-1] > model.history["accuracy"].iloc[0]


def test_batches_give_the_rows_asked_for(rng: np.random.Generator) -> None:
    features = rng.normal(size=(9, 2, 3)).astype(np.float16)
    positions = np.array([7, 2, 2, 5])
    batches = FeatureBatches(features, positions, torch.device("cpu"))
    clips = np.array([3, 0, 1, 2, 0])
    assert np.array_equal(batches.gather(clips).numpy(), features[positions[clips]])
    assert len(batches) == 4


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(InputError, match="has 0 CUDA devices"):
        choose_device("cuda")
    with pytest.raises(InputError, match="device='gpu'"):
        choose_device("gpu")
    with pytest.raises(InputError, match="device='mps'"):
        choose_device("mps")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_learns_what_the_cpu_learns(tmp_path: Path) -> None:
    features, classes = tone_task(64)
    settings = dataclasses.replace(QUICK, stem_channels=16)
    losses = [
        train(
            features,
            np.arange(64),
            classes,
            settings,
            feature_key="f",
            checkpoint_dir=tmp_path / device,
            device=device,
        ).history["loss"]
        for device in ("cpu", "cuda")
    ]
    assert np.allclose(losses[0], losses[1], rtol=0.05)


def test_import_needs_torch_numpy_and_pandas_only() -> None:
    code = (
        "import sys\n"
        "for name in ('scipy', 'sklearn', 'librosa', 'soundfile', 'matplotlib', 'seaborn', 'tqdm',"
        " 'yaml', 'papermill'):\n"
        "    sys.modules[name] = None\n"
        "import asdlib.training\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
