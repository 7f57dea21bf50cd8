"""The official autoencoder: its layers, its stacks, its residuals, its files."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from training_task import autoencoder_settings

from asdlib.base import InputError
from asdlib.data.store import open_or_build
from asdlib.training import (
    count_parameters,
    load_reconstruction,
    open_reconstructions,
    reconstruct,
    reconstruction,
)
from asdlib.training.frame_autoencoder import (
    STACKED_FRAMES,
    Autoencoder,
    FrameStacks,
    clip_residuals,
    fit,
    residual_covariance,
    stack_starts,
)

CPU = torch.device("cpu")
N_MELS = 6
QUICK = autoencoder_settings(epochs=2, batch_size=16)


def clip_table(machine, n_train=6, n_test=2):
    rows = [
        (f"{machine}/{split}/{i:04d}.wav", machine, split, "target" if i < 2 else "source")
        for split, count in (("train", n_train), ("test", n_test))
        for i in range(count)
    ]
    columns = ["clip_id", "machine_type", "split", "domain"]
    return pd.DataFrame(rows, columns=columns).astype("string")


def frame_store(folder, clips, *, seed=3):
    """Ragged rows of 9 to 20 frames that all follow two hidden factors."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(9, 21, len(clips))
    factors = rng.standard_normal((lengths.sum(), 2)) @ rng.standard_normal((2, N_MELS))
    values = (-40 + 5 * factors + 0.1 * rng.standard_normal(factors.shape)).astype(np.float16)
    starts = np.cumsum([0, *lengths])

    def fill(first, last, out):
        out[:] = values[starts[first] : starts[last]]

    return open_or_build(
        folder, settings={"seed": seed}, ids=clips["clip_id"].tolist(), lengths=lengths,
        row_shape=(N_MELS,), dtype=np.float16, fill=fill, block_rows=50, workers=1,
    )  # fmt: skip


@pytest.fixture
def clips():
    return pd.concat([clip_table("pump"), clip_table("saw")], ignore_index=True)


@pytest.fixture
def frames(tmp_path, clips):
    return frame_store(tmp_path / "store", clips)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = Autoencoder(5 * N_MELS)
    with torch.no_grad():  # running statistics as after some training, not the initial 0 and 1
        for _ in range(50):
            network(torch.randn(64, 5 * N_MELS) * 5 - 40)
    return network


def naive_stacks(row):
    return np.array([np.concatenate([row[t + k] for k in range(5)]) for t in range(len(row) - 4)])


def naive_residuals(network, row):
    x = naive_stacks(row).astype(np.float32)
    network.eval()
    with torch.no_grad():
        return x - network(torch.from_numpy(x)).numpy()


def test_network_has_the_official_number_of_parameters():
    # dense layers (weights + biases), then scale and shift of the normalised layers
    dense = 640 * 128 + 128 + 3 * (128 * 128 + 128) + 128 * 8 + 8
    dense += 8 * 128 + 128 + 3 * (128 * 128 + 128) + 128 * 640 + 640
    assert count_parameters(Autoencoder(640)) == dense + 2 * (8 * 128 + 8)


def test_network_is_normalised_and_rectified_everywhere_but_at_its_end():
    layers = [type(layer) for layer in Autoencoder(640)]
    assert layers == [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 9 + [nn.Linear]
    norms = [layer for layer in Autoencoder(640) if isinstance(layer, nn.BatchNorm1d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}
    assert [norm.num_features for norm in norms] == [128] * 4 + [8] + [128] * 4


def test_stacks_are_five_frames_of_one_clip_one_after_the_other(frames):
    stacks = FrameStacks(frames.flat, CPU)
    for position, starts in enumerate(stack_starts(frames.offsets, range(len(frames)))):
        expected = naive_stacks(frames.row(position)).astype(np.float32)
        assert np.array_equal(stacks.gather(starts).numpy(), expected)


def test_clip_residuals_match_a_loop_over_clips(frames, network):
    stacks = FrameStacks(frames.flat, CPU)
    clip_starts = stack_starts(frames.offsets, range(len(frames)))
    mse, mean_residual = clip_residuals(network, stacks, clip_starts)
    for position in range(len(frames)):
        residual = naive_residuals(network, frames.row(position))
        assert mse[position] == pytest.approx((residual**2).mean(), rel=1e-5)
        expected = residual.reshape(-1, N_MELS).mean(axis=0)
        assert mean_residual[position] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_covariance_matches_numpys(frames, network):
    stacks = FrameStacks(frames.flat, CPU)
    clip_starts = stack_starts(frames.offsets, range(6))
    domains = np.repeat(["target", "source"], [sum(map(len, clip_starts[:2])),
                                               sum(map(len, clip_starts[2:]))])  # fmt: skip
    names, covariance, n_stacks = residual_covariance(
        network, stacks, np.concatenate(clip_starts), domains, batch_size=1000
    )
    assert names == ["source", "target"]
    for name, rows, matrix, count in zip(
        names, (range(2, 6), range(2)), covariance, n_stacks, strict=True
    ):
        vectors = np.concatenate(
            [naive_residuals(network, frames.row(r)).reshape(-1, N_MELS) for r in rows]
        )
        assert len(vectors) == 5 * count, name
        expected = np.cov(vectors.T) * (len(vectors) - 1) / (count - 1)
        assert matrix == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_covariance_is_taken_around_the_mean_of_each_batch(frames, network):
    stacks = FrameStacks(frames.flat, CPU)
    starts = np.concatenate(stack_starts(frames.offsets, range(2)))[:8]
    domains = np.full(8, "source")
    _, covariance, _ = residual_covariance(network, stacks, starts, domains, batch_size=4)
    residual = np.concatenate([naive_residuals(network, frames.row(r)) for r in range(2)])[:8]
    parts = residual.reshape(2, 4 * 5, N_MELS)
    expected = sum(19 * np.cov(part.T) for part in parts) / 7
    assert covariance[0] == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_training_learns_to_reconstruct(frames):
    torch.manual_seed(0)
    stacks = FrameStacks(frames.flat, CPU)
    starts = np.concatenate(stack_starts(frames.offsets, range(len(frames))))
    settings = autoencoder_settings(epochs=60, batch_size=16)
    learnt, held_out = starts[: -len(starts) // 10], starts[-len(starts) // 10 :]
    history = fit(
        Autoencoder(STACKED_FRAMES * stacks.n_mels),
        stacks,
        learnt,
        held_out,
        settings,
        np.random.default_rng(0),
    )
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["validation_loss"][-1] < 0.1 * history["loss"][0]


@pytest.mark.parametrize(("min_steps", "passes"), [(0, 1), (8, 1), (9, 2), (40, 5)])
def test_few_stacks_are_passed_over_until_there_were_enough_steps(rng, min_steps, passes):
    frames = rng.normal(-40, 5, (100, N_MELS)).astype(np.float32)
    starts = np.arange(64)  # 4 batches of 16 an epoch, 2 epochs
    settings = autoencoder_settings(min_steps=min_steps)
    stacks = FrameStacks(frames, CPU)
    seen = []
    gather = stacks.gather
    stacks.gather = lambda batch: seen.append(len(batch)) or gather(batch)
    network = Autoencoder(5 * N_MELS)
    history = fit(network, stacks, starts, starts[:0], settings, np.random.default_rng(0))
    assert sum(seen) == 2 * 64 * passes
    assert len(history["loss"]) == 2
    assert np.isnan(history["validation_loss"]).all()


def test_a_seed_gives_the_same_residuals_whatever_runs_beside_it(frames, clips, tmp_path):
    together = open_reconstructions(
        frames, clips, QUICK, folder=tmp_path / "a", cache_dir=tmp_path / "a", workers=2
    )
    alone = open_reconstructions(
        frames,
        clips[clips["machine_type"] == "saw"],
        QUICK,
        folder=tmp_path / "b",
        cache_dir=tmp_path / "b",
        workers=1,
    )
    other = open_reconstructions(
        frames,
        clips,
        autoencoder_settings(epochs=2, batch_size=16, seed=1),
        folder=tmp_path / "c",
        cache_dir=tmp_path / "c",
    )
    for name in ("mse", "mean_residual", "covariance", "loss"):
        assert np.array_equal(together["saw"][name], alone["saw"][name]), name
        assert not np.array_equal(together["saw"][name], other["saw"][name]), name


def test_arrays_have_the_shapes_they_say(frames, clips, tmp_path):
    found = open_reconstructions(frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path)
    assert list(found) == ["pump", "saw"]
    arrays = found["pump"]
    assert arrays["clip_id"].tolist() == clips["clip_id"].tolist()[:8]
    assert arrays["mse"].shape == (8,)
    assert (arrays["mean_residual"].shape, arrays["mean_residual"].dtype) == ((8, N_MELS), "f4")
    assert arrays["domain"].tolist() == ["source", "target"]
    assert arrays["covariance"].shape == (2, N_MELS, N_MELS)
    assert len(arrays["loss"]) == len(arrays["validation_loss"]) == 2
    assert json.loads(str(arrays["settings"]))["settings"]["epochs"] == 2


def test_other_clips_are_reconstructed_once(frames, clips, tmp_path, monkeypatch):
    arrays = open_reconstructions(frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path)["pump"]
    ids = clips["clip_id"].tolist()[1:3]
    first = reconstruct(arrays, frames, ids, cache_dir=tmp_path)
    others = [name for name in arrays["clip_id"] if name not in ids]
    assert first["clip_id"].tolist() == [*others, *ids]  # once, although the file has them too
    assert np.allclose(first["mse"][-2:], arrays["mse"][1:3], rtol=1e-5)
    assert first["mean_residual"].shape == (8, N_MELS)

    def refuse(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(reconstruction, "clip_residuals", refuse)
    again = reconstruct(arrays, frames, ids, cache_dir=tmp_path)
    for name in ("clip_id", "mse", "mean_residual"):
        assert np.array_equal(first[name], again[name])
    # Other clips, or another network, are another matter.
    other = {**arrays, "network.0.bias": 2 * arrays["network.0.bias"]}
    for own, chosen in ((arrays, ids[:1]), (other, ids)):
        with pytest.raises(AssertionError, match="computed again"):
            reconstruct(own, frames, chosen, cache_dir=tmp_path)


def test_finished_machines_are_kept_and_counted(frames, clips, tmp_path):
    first = open_reconstructions(frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path)
    (tmp_path / "saw.npz").unlink()
    kept = (tmp_path / "pump.npz").stat().st_mtime_ns
    epochs = []
    again = open_reconstructions(
        frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path, on_epoch=epochs.append
    )
    assert (tmp_path / "pump.npz").stat().st_mtime_ns == kept
    assert sum(epochs) == 2 * QUICK.epochs
    assert np.array_equal(first["saw"]["mse"], again["saw"]["mse"])


def test_other_settings_or_clips_are_trained_anew(frames, clips, tmp_path):
    def residuals(table, settings):
        return open_reconstructions(frames, table, settings, folder=tmp_path, cache_dir=tmp_path)[
            "pump"
        ]

    first = residuals(clips, QUICK)
    longer = residuals(clips, autoencoder_settings(epochs=3, batch_size=16))
    assert len(longer["loss"]) == 3
    fewer = residuals(clips.drop(index=[0]), QUICK)
    assert len(fewer["clip_id"]) == len(first["clip_id"]) - 1


def test_clips_put_aside_otherwise_are_trained_anew(frames, clips, tmp_path, monkeypatch):
    first = open_reconstructions(frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path)["pump"]
    of_all = reconstruction.learnt_clips
    monkeypatch.setattr(reconstruction, "learnt_clips", lambda table: of_all(table).iloc[1:])
    again = open_reconstructions(frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path)["pump"]
    assert (first["loss"] != again["loss"]).all()


def test_interrupted_training_keeps_the_finished_machine(frames, clips, tmp_path):
    count = 0

    def interrupt(epochs):
        nonlocal count
        count += epochs
        if count > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_reconstructions(
            frames, clips, QUICK, folder=tmp_path, cache_dir=tmp_path, workers=1, on_epoch=interrupt
        )
    assert [path.name for path in tmp_path.glob("*.npz")] == ["pump.npz"]


def test_machine_without_training_clips_is_named(frames, clips, tmp_path):
    only_test = clips[(clips["machine_type"] == "pump") | (clips["split"] == "test")]
    with pytest.raises(InputError, match="saw: has no training clip"):
        open_reconstructions(frames, only_test, QUICK, folder=tmp_path, cache_dir=tmp_path)


def test_too_few_stacks_are_refused_by_name(tmp_path):
    clips = clip_table("press", n_train=1, n_test=1)
    values = np.zeros((10, N_MELS), np.float16)

    def fill(first, last, out):
        out[:] = values[5 * first : 5 * last]

    frames = open_or_build(
        tmp_path / "store", settings={}, ids=clips["clip_id"].tolist(),
        lengths=np.array([5, 5]), row_shape=(N_MELS,), dtype=np.float16, fill=fill,
        block_rows=5, workers=1,
    )  # fmt: skip
    with pytest.raises(InputError, match="press: There are 1 stacks"):
        open_reconstructions(
            frames, clips, QUICK, folder=tmp_path / "ae", cache_dir=tmp_path / "ae"
        )


def test_damaged_and_missing_files_are_named(tmp_path):
    path = tmp_path / "pump.npz"
    with pytest.raises(InputError, match="Run notebook 03 first"):
        load_reconstruction(path)
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match="pump.npz: is damaged"):
        load_reconstruction(path)
