"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"


@pytest.fixture(scope="session", autouse=True)
def _no_real_hosts() -> Iterator[None]:
    """Whatever a test forgets: nothing is ever asked of the challenge's hosts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ASDLIB_ZENODO_URL", "ASDLIB_GITHUB_URL"):
            patch.setenv(name, "http://127.0.0.1:1")
        yield


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
    """Simulated corpus of the smallest size, made once for the whole test run."""
    from asdlib.data.simulate import write_corpus

    return write_corpus(tmp_path_factory.mktemp("corpus") / "simulated_smoke", size="smoke")


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """One thread per operation, on which results repeat bit for bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
