"""Where the challenge's files are fetched from, and with how much patience."""

from __future__ import annotations

import os
from dataclasses import dataclass

from asdlib.challenge.catalogue import TRUTH_COMMIT, TRUTH_REPOSITORY


@dataclass(frozen=True)
class Patience:
    """How long a transfer waits and how often it tries again.

    Attributes
    ----------
    connect_s, read_s : float
        Longest wait for a connection, and for the next bytes of an open one [s].
    attempts : int
        Attempts in a row that may bring no new byte.
    first_wait_s, longest_wait_s : float
        Wait after the first failure, doubled after each further one, and its limit [s]. A
        server that names a time is given that time, up to the limit.
    """

    connect_s: float = 15.0
    read_s: float = 30.0
    attempts: int = 8
    first_wait_s: float = 2.0
    longest_wait_s: float = 120.0


@dataclass(frozen=True)
class Hosts:
    """Base addresses, so that a mirror or a test can stand in.

    Attributes
    ----------
    zenodo, github : str
        Addresses without a trailing slash.
    patience : Patience
    """

    zenodo: str = "https://zenodo.org"
    github: str = "https://raw.githubusercontent.com"
    patience: Patience = Patience()

    @classmethod
    def from_environment(cls) -> Hosts:
        """Take the addresses from ``ASDLIB_ZENODO_URL`` and ``ASDLIB_GITHUB_URL`` where set."""
        return cls(
            zenodo=os.environ.get("ASDLIB_ZENODO_URL", cls.zenodo).rstrip("/"),
            github=os.environ.get("ASDLIB_GITHUB_URL", cls.github).rstrip("/"),
        )

    def record(self, record: int) -> str:
        """Address of a record's page, for a person."""
        return f"{self.zenodo}/records/{record}"

    def listing(self, record: int) -> str:
        """Address of a record's description, for a program."""
        return f"{self.zenodo}/api/records/{record}"

    def archive(self, record: int, file_name: str) -> str:
        """Address of one file of a record."""
        return f"{self.zenodo}/records/{record}/files/{file_name}"

    def truth(self, path: str) -> str:
        """Address of a released list."""
        return f"{self.github}/{TRUTH_REPOSITORY}/{TRUTH_COMMIT}/datasets/{path}"
