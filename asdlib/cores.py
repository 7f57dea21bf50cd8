"""Processors, threads and devices: what there is, and what is used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from asdlib.errors import InputError

if TYPE_CHECKING:
    import torch  # importing it is slow, and decoding does without


def available_cores() -> int:
    """Processors that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_one_torch_thread() -> None:
    """Leave torch one thread per operation in this thread: clips or machines run side by side."""
    import torch

    torch.set_num_threads(1)


@contextmanager
def torch_threads_restored() -> Iterator[None]:
    """Leave torch with as many threads per operation as it had before."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def choose_device(device: str = "auto") -> torch.device:
    """Device for training and embedding: CUDA where there is one, else the CPU.

    ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"`` and so on; an `InputError` for one that is not
    known or not there.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        chosen = torch.device("meta")
    if chosen.type not in ("cpu", "cuda"):
        raise InputError(f"device={device!r}: expected 'auto', 'cpu' or 'cuda'.")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={device!r}: this machine has {torch.cuda.device_count()} CUDA devices. "
            "Use 'auto' or 'cpu'."
        )
    return chosen


def device_name(device: torch.device) -> str:
    """Name of a device for tables and provenance."""
    import torch

    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} (bf16 autocast)"
    return f"CPU, {torch.get_num_threads()} threads (float32)"
