"""Speed, memory and numerical agreement of the training on the challenge's shapes.

Trains the full-width network (128 mel bands, 313 frames, embedding 128, 100 classes) on
synthetic features, on a GPU where there is one, and prints clips per second, the share of the
device's measured matrix-product peak, the peak memory, and on a GPU the largest difference of
the loss to the CPU in float32 over the first steps::

    python benchmarks/training.py                   # sizes chosen for the device
    python benchmarks/training.py --save results    # also as JSON
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from asdlib.training import ClassTable, Identity, TrainSettings, choose_device  # noqa: E402
from asdlib.training.batches import FeatureBatches  # noqa: E402
from asdlib.training.examples import Examples  # noqa: E402
from asdlib.training.trainer import Trainer, device_name  # noqa: E402

N_MELS, N_FRAMES, N_CLASSES = 128, 313, 100


def synthetic_features(n_clips: int) -> tuple[np.ndarray, ClassTable]:
    """Noise of −40 dB with a band per class that stands out, float16."""
    rng = np.random.default_rng(0)
    features = np.empty((n_clips, N_MELS, N_FRAMES), np.float16)
    class_index = np.arange(n_clips) % N_CLASSES
    for clip in range(n_clips):
        features[clip] = rng.normal(-40, 5, (N_MELS, N_FRAMES)).astype(np.float16)
        features[clip, class_index[clip] + 10] += 10
    clips = pd.DataFrame(
        {
            "clip_id": [f"synthetic/train/{clip:05d}.wav" for clip in range(n_clips)],
            "class_index": class_index,
            "version": 0,
        }
    )
    names = tuple(f"synthetic|00|source|{number:03d}" for number in range(N_CLASSES))
    return features, ClassTable(names, clips)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_peak_flops(device: torch.device) -> float:
    """Best rate of a square matrix product in the training's number format [FLOP/s]."""
    is_cuda = device.type == "cuda"
    size = 8192 if is_cuda else 1536
    dtype = torch.bfloat16 if is_cuda else torch.float32
    a = torch.randn(size, size, device=device, dtype=dtype)
    b = torch.randn(size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        synchronise(device)
        started = time.perf_counter()
        for _ in range(5):
            a @ b
        synchronise(device)
        best = min(best, (time.perf_counter() - started) / 5)
    return 2 * size**3 / best


def make_trainer(
    features: np.ndarray, classes: ClassTable, device: torch.device, *, batch_size: int
) -> Trainer:
    settings = TrainSettings(batch_size=batch_size, epochs=100)
    identity = Identity.of(settings, classes, feature_key="synthetic", n_mels=N_MELS)
    batches = (FeatureBatches(features, np.arange(len(features)), device),)
    return Trainer(identity, Examples(classes, batches, settings, device), device)


def run_steps(trainer: Trainer, n_clips: int, *, steps: int, batch_size: int) -> list[torch.Tensor]:
    """Losses of the first steps, on the device."""
    generator = torch.Generator().manual_seed(0)
    trainer.network.train()
    losses = []
    for step in range(steps):
        clips = torch.randint(n_clips, (batch_size,), generator=generator)
        losses.append(trainer.step(clips, step, generator)[0])
    return losses


def training_flops(trainer: Trainer, batch_size: int) -> float:
    """Floating-point operations of one clip, forward and backward."""
    counter = FlopCounterMode(display=False)
    x = torch.zeros(batch_size, 1, N_MELS, N_FRAMES, device=trainer.device)
    with counter:
        trainer.network(x).sum().backward()
    trainer.network.zero_grad(set_to_none=True)
    return counter.get_total_flops() / batch_size


def memory_gib(device: torch.device) -> float:
    """Peak memory of the device, or of this process on a CPU [GiB]."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def loss_difference(
    features: np.ndarray, classes: ClassTable, device: torch.device, *, steps: int, batch_size: int
) -> float | None:
    """Largest difference of the loss to the CPU in float32; None on the CPU itself."""
    if device.type == "cpu":
        return None
    losses = [
        torch.stack(
            run_steps(
                make_trainer(features, classes, one, batch_size=batch_size),
                len(features),
                steps=steps,
                batch_size=batch_size,
            )
        ).cpu()
        for one in (device, torch.device("cpu"))
    ]
    return float((losses[0] - losses[1]).abs().max())


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    device = choose_device(arguments.device)
    is_cuda = device.type == "cuda"
    n_clips = arguments.clips or (14_000 if is_cuda else 128)
    steps = arguments.steps or (300 if is_cuda else 6)
    batch_size = arguments.batch_size or (256 if is_cuda else 32)
    features, classes = synthetic_features(n_clips)
    peak = matrix_peak_flops(device)
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    trainer = make_trainer(features, classes, device, batch_size=batch_size)
    run_steps(trainer, n_clips, steps=max(steps // 10, 1), batch_size=batch_size)
    synchronise(device)
    started = time.perf_counter()
    losses = run_steps(trainer, n_clips, steps=steps, batch_size=batch_size)
    synchronise(device)
    clips_per_s = steps * batch_size / (time.perf_counter() - started)
    memory = memory_gib(device)
    flops = training_flops(trainer, 2)
    return {
        "device": device_name(device),
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "stem_channels": trainer.settings.stem_channels,
        "n_clips": n_clips,
        "is_resident": trainer.batches.is_resident,
        "batch_size": batch_size,
        "steps": steps,
        "clips_per_s": clips_per_s,
        "gflop_per_clip": flops / 1e9,
        "matrix_peak_tflops": peak / 1e12,
        "share_of_peak": clips_per_s * flops / peak,
        "peak_memory_gib": memory,
        "last_loss": losses[-1].item(),
        "compared_steps": 20,
        "compared_batch_size": 16,
        "largest_loss_difference_to_cpu": loss_difference(
            features, classes, device, steps=20, batch_size=16
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--clips", type=int, help="training clips (14,000 on a GPU, 128 else)")
    parser.add_argument("--steps", type=int, help="timed steps (300 on a GPU, 6 else)")
    parser.add_argument("--batch-size", type=int, help="clips per step (256 on a GPU, 32 else)")
    parser.add_argument("--save", type=Path, metavar="DIR", help="write training_<device>.json")
    arguments = parser.parse_args()
    result = measure(arguments)
    for name, value in result.items():
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"{name:32} {'not measured' if value is None else shown}")
    if arguments.save:
        kind = "cpu" if result["device"].startswith("CPU") else "cuda"
        arguments.save.mkdir(parents=True, exist_ok=True)
        path = arguments.save / f"training_{kind}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
