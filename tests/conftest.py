"""Fixtures that every test may use, and how tests share the cores."""

import os
import sys

# Before anything imports numpy or torch: as many processes run as there are cores.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from asdlib.base import available_cores

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"
MOST_PROCESSES = 8


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process per core for the whole suite; none for a part, which is sooner done without."""
    is_part = config.option.keyword or config.option.markexpr or config.args_source.name == "ARGS"
    watched = config.option.capture == "no"
    return 0 if is_part or watched else min(available_cores(), MOST_PROCESSES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among several processes, which take whole files, those that take longest come first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session", autouse=True)
def _no_real_hosts() -> Iterator[None]:
    """Whatever a test forgets: nothing is ever asked of the challenge's hosts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ASDLIB_ZENODO_URL", "ASDLIB_GITHUB_URL"):
            patch.setenv(name, "http://127.0.0.1:1")
        yield


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    """Close what a test has drawn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20250701)


@pytest.fixture(scope="session")
def realdata() -> Path:
    if not REALDATA.is_dir():
        pytest.skip(f"no real recordings at {REALDATA}")
    return REALDATA


@pytest.fixture(scope="session")
def simulated_smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two machines of the simulated corpus, in its smallest size, made once for the whole run."""
    from asdlib.data.simulate import write_corpus

    folder = tmp_path_factory.getbasetemp()
    # The processes of one run have folders side by side.
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with FileLock(shared / "simulated_smoke.lock"):
        root = shared / "corpus" / "simulated_smoke"
        return write_corpus(root, size="smoke", machines=["bearingSim", "fanSim"])


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """One thread per operation, on which results repeat bit for bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
