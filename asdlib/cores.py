"""Processors and threads: how many there are, and one each for work that runs side by side."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


def available_cores() -> int:
    """Processors that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_one_torch_thread() -> None:
    """Leave torch one thread per operation in this thread: clips or machines run side by side."""
    import torch  # importing it is slow, and decoding does without

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
