"""One piece of fetching: which hosts, for whom it is reported, how it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from asdlib.challenge.hosts import Hosts
from asdlib.challenge.transfer import get


@dataclass
class Job:
    """What is done, for whom it is reported, and how it is stopped.

    Attributes
    ----------
    hosts : Hosts
    say : callable
        Called with every line that the user should read.
    open_progress : callable
        Called with the bytes to download; gives a context manager that yields a function,
        called with the bytes that came.
    keep_archives : bool
        Whether downloaded archives stay after they were unpacked.
    stopped : threading.Event
        Set to end all transfers.
    """

    hosts: Hosts = field(default_factory=lambda: Hosts.from_environment())
    say: Callable[[str], object] = lambda line: None
    open_progress: Callable[[int], Any] | None = None
    keep_archives: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)

    def get(self, url: str) -> requests.Response:
        """Fetch something small."""
        return get(
            url,
            patience=self.hosts.patience,
            on_wait=lambda reason: self.say(f"{url}: {reason}"),
            stopped=self.stopped,
        )

    @contextmanager
    def progress(self, n_bytes: int) -> Iterator[Callable[[int], object]]:
        """Report the bytes that come while the block runs."""
        if self.open_progress is None:
            yield lambda n_bytes: None
            return
        with self.open_progress(n_bytes) as count:
            yield count
