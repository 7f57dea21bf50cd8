"""Backends by name: what a parameter of a notebook or a line of a sweep can ask for."""

from __future__ import annotations

from functools import partial

from asdlib.errors import InputError
from asdlib.scoring.banks import BankBackend, kmeans_bank, smote_bank
from asdlib.scoring.density import LocalDensityBackend
from asdlib.scoring.domains import DomainMinimumBackend
from asdlib.scoring.knn import Backend, KNNBackend

SCORES = ("knn", "local_density", "domain_minimum")
BANKS = ("kmeans", "smote")


def make_backend(name: str, *, k: int = 1, seed: int = 0) -> Backend:
    """Make a fresh backend.

    Parameters
    ----------
    name : str
        How clips are scored (``SCORES``), alone or behind a bank (``BANKS``) and ``+``:
        ``"knn"``, ``"local_density"``, ``"kmeans+knn"``, ``"smote+local_density"``, ...
    k : int
        Neighbours, see the backends.
    seed : int
        Seed of the banks.

    Raises
    ------
    InputError
        For a name that is none of these.

    Examples
    --------
    >>> type(make_backend("local_density", k=2)).__name__
    'LocalDensityBackend'
    """
    bank, _, score = name.rpartition("+")
    if score not in SCORES or (bank and bank not in BANKS):
        raise InputError(
            f"backend {name!r}: expected {', '.join(SCORES)}, alone or behind a bank, "
            f"{' or '.join(f'{bank}+...' for bank in BANKS)}."
        )
    backend: Backend
    if score == "knn":
        backend = KNNBackend(k)
    elif score == "local_density":
        backend = LocalDensityBackend(k)
    else:
        backend = DomainMinimumBackend(k)
    if not bank:
        return backend
    make_bank = kmeans_bank if bank == "kmeans" else smote_bank
    return BankBackend(backend, partial(make_bank, seed=seed))
