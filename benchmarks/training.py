"""Speed, memory and numerical agreement of the training on the challenge's shapes.

Trains the full-width network (128 mel bands, 313 frames, embedding 128, 100 classes) on
synthetic features, on a GPU where there is one: in float32 and, on CUDA, in bfloat16 autocast as
well. Prints clips per second, the share of the device's measured matrix-product peak in that
number format, the peak memory, and on a GPU the largest difference of the loss to the CPU over
the first steps::

    python benchmarks/training.py                # sizes chosen for the device
    python benchmarks/training.py --save         # also benchmarks/training_<device>.json
    python benchmarks/training.py --miniature    # seconds: does it run?
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asdlib.training import ClassTable, Identity, TrainSettings, choose_device  # noqa: E402
from asdlib.training.augment import Examples  # noqa: E402
from asdlib.training.embed import FeatureBatches  # noqa: E402
from asdlib.training.loop import Trainer  # noqa: E402

N_MELS, N_CLASSES = 128, 100


@dataclass(frozen=True)
class Size:
    """What is trained, and for how long."""

    stem_channels: int
    n_frames: int
    n_clips: int
    batch_size: int
    steps: int
    matrix_size: int
    compared_steps: int = 20
    compared_batch_size: int = 16


SIZES = {
    "cuda": Size(64, 313, n_clips=14_000, batch_size=256, steps=300, matrix_size=8192),
    "cpu": Size(64, 313, n_clips=128, batch_size=32, steps=6, matrix_size=1536),
    "miniature": Size(16, 32, n_clips=100, batch_size=4, steps=2, matrix_size=64,
                      compared_steps=2, compared_batch_size=4),
}  # fmt: skip


def synthetic_features(size: Size) -> tuple[np.ndarray, ClassTable]:
    """Noise of −40 dB with a band per class that stands out, float16."""
    rng = np.random.default_rng(0)
    features = np.empty((size.n_clips, N_MELS, size.n_frames), np.float16)
    class_index = np.arange(size.n_clips) % N_CLASSES
    for clip in range(size.n_clips):
        features[clip] = rng.normal(-40, 5, (N_MELS, size.n_frames)).astype(np.float16)
        features[clip, class_index[clip] + 10] += 10
    clip_ids = [f"synthetic/train/{clip:05d}.wav" for clip in range(size.n_clips)]
    clips = pd.DataFrame({"clip_id": clip_ids, "class_index": class_index, "version": 0})
    names = tuple(f"synthetic|00|source|{number:03d}" for number in range(N_CLASSES))
    return features, ClassTable(names, clips)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_peak_flops(device: torch.device, precision: str, matrix_size: int) -> float:
    """Best rate of a square matrix product in a number format [FLOP/s].

    On CUDA, float32 products run in TF32, as cuDNN's convolutions do by default.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a = torch.randn(matrix_size, matrix_size, device=device, dtype=dtype)
    b = torch.randn(matrix_size, matrix_size, device=device, dtype=dtype)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else before)
    best = float("inf")
    for _ in range(5):
        synchronise(device)
        started = time.perf_counter()
        for _ in range(5):
            a @ b
        synchronise(device)
        best = min(best, (time.perf_counter() - started) / 5)
    torch.set_float32_matmul_precision(before)
    return 2 * matrix_size**3 / best


def make_trainer(
    features: np.ndarray,
    classes: ClassTable,
    device: torch.device,
    *,
    size: Size,
    precision: str,
) -> Trainer:
    settings = TrainSettings(
        stem_channels=size.stem_channels,
        embedding_dim=128,
        input_norm="clip",
        epochs=100,
        batch_size=size.batch_size,
        learning_rate=1e-3,
        weight_decay=1e-2,
        warmup_epochs=1.0,
        mixup_probability=0.5,
        branches="one",
        statex_probability=0.0,
        statex_axis="frequency",
        featex_probability=0.0,
        noise_mix_probability=0.0,
        noise_mix_snr_db=(0.0, 15.0),
        scale="dynamic",
        centres="trainable",
        sub_clusters=1,
        average_decay=0.0,
        crop_frames=0,
        seed=0,
    )
    identity = Identity.of(settings, classes, feature_key="synthetic", n_mels=N_MELS)
    batches = (FeatureBatches(features, np.arange(len(features)), device),)
    trainer = Trainer(identity, Examples(classes, batches, settings, device), device)
    trainer.use_bf16 = precision == "bfloat16"
    return trainer


def run_steps(trainer: Trainer, *, steps: int, batch_size: int) -> torch.Tensor:
    """Losses of the first steps, on the device."""
    generator = torch.Generator().manual_seed(0)
    trainer.network.train()
    losses = []
    for step in range(steps):
        clips = torch.randint(len(trainer.examples), (batch_size,), generator=generator)
        losses.append(trainer.step(clips, step, generator)[0])
    return torch.stack(losses)


def training_flops(trainer: Trainer, n_frames: int) -> float:
    """Floating-point operations of one clip, forward and backward."""
    counter = FlopCounterMode(display=False)
    x = torch.zeros(2, 1, N_MELS, n_frames, device=trainer.device)
    with counter:
        trainer.network(x).sum().backward()
    trainer.network.zero_grad(set_to_none=True)
    return counter.get_total_flops() / len(x)


def memory_gib(device: torch.device) -> float:
    """Peak memory of the device, or of this process on a CPU [GiB]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def measure(
    features: np.ndarray, classes: ClassTable, device: torch.device, size: Size, precision: str
) -> dict[str, Any]:
    """Train in one number format."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trainer = make_trainer(features, classes, device, size=size, precision=precision)
    run_steps(trainer, steps=max(size.steps // 10, 1), batch_size=size.batch_size)
    synchronise(device)
    started = time.perf_counter()
    losses = run_steps(trainer, steps=size.steps, batch_size=size.batch_size)
    synchronise(device)
    clips_per_s = size.steps * size.batch_size / (time.perf_counter() - started)
    memory = memory_gib(device)
    flops = training_flops(trainer, size.n_frames)
    peak = matrix_peak_flops(device, precision, size.matrix_size)
    return {
        "clips_per_s": clips_per_s,
        "gflop_per_clip": flops / 1e9,
        "matrix_peak_tflops": peak / 1e12,
        "share_of_peak": clips_per_s * flops / peak,
        "peak_memory_gib": memory,
        "is_resident": trainer.examples.batches[0].is_resident,
        "last_loss": losses[-1].item(),
    }


def loss_differences(
    features: np.ndarray, classes: ClassTable, device: torch.device, size: Size
) -> dict[str, float]:
    """Largest difference of the first losses to the CPU in float32, by number format."""

    def first_losses(one: torch.device, precision: str) -> torch.Tensor:
        trainer = make_trainer(features, classes, one, size=size, precision=precision)
        steps, batch_size = size.compared_steps, size.compared_batch_size
        return run_steps(trainer, steps=steps, batch_size=batch_size).cpu()

    expected = first_losses(torch.device("cpu"), "float32")
    return {
        precision: float((first_losses(device, precision) - expected).abs().max())
        for precision in ("float32", "bfloat16")
    }


def measure_device(device: torch.device, size: Size) -> dict[str, Any]:
    """Train in every number format of a device."""
    is_cuda = device.type == "cuda"
    features, classes = synthetic_features(size)
    precisions = ("float32", "bfloat16") if is_cuda else ("float32",)
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device)
        if is_cuda
        else f"CPU, {torch.get_num_threads()} threads",
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "stem_channels": size.stem_channels,
        "n_clips": size.n_clips,
        "batch_size": size.batch_size,
        "steps": size.steps,
    }
    for precision in precisions:
        result[precision] = measure(features, classes, device, size, precision)
    if is_cuda:
        result |= {"compared_steps": size.compared_steps}
        result |= {"compared_batch_size": size.compared_batch_size}
        differences = loss_differences(features, classes, device, size)
        for precision, difference in differences.items():
            result[precision]["largest_loss_difference_to_cpu"] = difference
    return result


def print_result(result: dict[str, Any]) -> None:
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"in {name}:")
            print_result({f"  {inner}": number for inner, number in value.items()})
        else:
            print(f"{name:32} {f'{value:.4g}' if isinstance(value, float) else value}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--miniature", action="store_true", help="sizes of seconds: does it run?")
    parser.add_argument(
        "--save", type=Path, nargs="?", const=Path(__file__).parent, metavar="DIR",
        help="write training_<device>.json, beside this file if no folder is named",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    result = measure_device(device, SIZES["miniature" if options.miniature else device.type])
    print_result(result)
    if options.save:
        options.save.mkdir(parents=True, exist_ok=True)
        path = options.save / f"training_{device.type}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
