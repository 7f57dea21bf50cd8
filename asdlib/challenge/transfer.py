"""Hosts, and transfers over HTTP that go on where they broke off."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import requests

from asdlib.base import InputError, writing

# A connection that is reset loses the block that was being read, so that it is a small one.
_BLOCK_BYTES = 1 << 14
_HEADERS = {"User-Agent": "asdlib (https://dcase.community)", "Accept-Encoding": "identity"}
#: Attempts at something small that nobody answers.
_UNANSWERED = 3
_PASSING = (408, 425, 429, 500, 502, 503, 504)
_Answer = TypeVar("_Answer")
#: The organisers' repository with the truth, at the commit that it is read from.
TRUTH_REPOSITORY = "nttcslab/dcase2023_task2_baseline_ae"
TRUTH_COMMIT = "9b64dc42276a64f65b7cbf2761d3c9ec525cff94"


@dataclass(frozen=True)
class Patience:
    """How long a transfer waits and how often it tries again.

    A server that names a time to wait is given that time, up to ``longest_wait_s``.
    """

    connect_s: float = 15.0  # longest wait for a connection
    read_s: float = 30.0  # and for the next bytes of an open one
    attempts: int = 8  # in a row that may bring no new byte
    first_wait_s: float = 2.0  # after the first failure, doubled after each further one
    longest_wait_s: float = 120.0

    @property
    def timeout(self) -> tuple[float, float]:
        """Longest waits, as requests takes them."""
        return self.connect_s, self.read_s


@dataclass(frozen=True)
class Hosts:
    """Base addresses without a trailing slash, so that a mirror or a test can stand in."""

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


class StoppedError(Exception):
    """The user stopped the transfers; what came so far stays."""


class UnreachableError(InputError):
    """The host did not answer usefully, however often it was asked."""


class _PassingError(Exception):
    """A failure that may be gone in a moment; the server may have said when."""

    def __init__(self, message: str, wait_s: float = 0.0, *, is_answer: bool = True) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        self.is_answer = is_answer


@dataclass
class Job:
    """What is done, for whom it is reported, with which patience, and how it is stopped."""

    hosts: Hosts = field(default_factory=Hosts.from_environment)
    say: Callable[[str], object] = lambda line: None  # gets every line that the user should read
    #: Gets the bytes to download; gives a context manager of what counts the bytes that came.
    open_progress: Callable[[int], Any] = lambda n_bytes: nullcontext(lambda n_bytes: None)
    keep_archives: bool = False  # after they were unpacked
    stopped: threading.Event = field(default_factory=threading.Event)  # ends all transfers

    def get(self, url: str) -> requests.Response:
        """Fetch something small with the patience of a download; where nobody answers, less."""

        def once() -> requests.Response:
            try:
                response = requests.get(url, headers=_HEADERS, timeout=self.hosts.patience.timeout)
            except requests.RequestException as error:
                raise _PassingError(_said(error), is_answer=False) from error
            _check_status(response, url)
            return response

        return self.persist(url, once)

    def persist(
        self, url: str, action: Callable[[], _Answer], have: Callable[[], int] = lambda: 0
    ) -> _Answer:
        """Repeat an action until it succeeds; only attempts that bring no new byte count."""
        patience, reached, fruitless = self.hosts.patience, have(), 0
        while not self.stopped.is_set():
            try:
                return action()
            except _PassingError as error:
                fruitless = 1 if have() > reached else fruitless + 1
                reached = have()
                attempts = patience.attempts if error.is_answer else _UNANSWERED
                if fruitless >= min(attempts, patience.attempts):
                    raise UnreachableError(f"{url}: {error}, also when tried again.") from error
                wait_s = max(error.wait_s, patience.first_wait_s * 2.0**fruitless)
                wait_s = min(wait_s, patience.longest_wait_s)
                self.say(f"{url}: {error}; trying again in {wait_s:.0f} s")
                self.stopped.wait(wait_s)
        raise StoppedError


@dataclass
class ResumingDownloader:
    """A downloader for pooch that keeps what came in ``part`` and asks for the rest.

    Only at full ``size`` [bytes] pooch gets it. ``on_progress`` gets the bytes that came (negative:
    thrown away).
    """

    part: Path
    size: int
    job: Job
    on_progress: Callable[[int], object] = lambda n_bytes: None

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:  # noqa: ARG002
        """Fetch ``url`` to ``output_file``; raises UnreachableError, StoppedError or InputError."""
        self.on_progress(self._have())
        self.job.persist(url, lambda: self._go_on(url), self._have)
        self.part.replace(output_file)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _forget(self) -> None:
        self.on_progress(-self._have())
        self.part.unlink(missing_ok=True)

    def _go_on(self, url: str) -> None:
        if self._have() > self.size:
            self._forget()
        have = self._have()
        if have == self.size:
            return
        headers = {**_HEADERS, "Range": f"bytes={have}-"} if have else _HEADERS
        timeout = self.job.hosts.patience.timeout
        try:
            with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
                if response.status_code == requests.codes.requested_range_not_satisfiable:
                    self._forget()
                    raise _PassingError("the server does not know the rest of the file")
                _check_status(response, url)
                if response.status_code != requests.codes.partial_content and have:
                    self._forget()
                self._append(response)
        except requests.RequestException as error:
            raise _PassingError(_said(error)) from error
        if self._have() < self.size:
            raise _PassingError(f"ended after {self._have()} of {self.size} bytes")

    def _append(self, response: requests.Response) -> None:
        announced = response.headers.get("Content-Length", "")
        if announced.isdigit():
            self._hold_to_size(
                self._have() + int(announced), f"announced {announced}", exactly=True
            )
        with self._writing():
            file = self._open()
        with file:
            for block in response.iter_content(_BLOCK_BYTES):
                if self.job.stopped.is_set():
                    raise StoppedError
                self._hold_to_size(self._have() + len(block), "sends more")
                with self._writing():
                    file.write(block)
                self.on_progress(len(block))

    def _hold_to_size(self, n_bytes: int, what: str, *, exactly: bool = False) -> None:
        """Refuse another length than the record's, before it is on the disk."""
        if n_bytes > self.size or (exactly and n_bytes != self.size):
            self._forget()
            raise _PassingError(f"the server {what} bytes; the record says {self.size} in all")

    def _open(self) -> Any:
        return self.part.open("ab", buffering=0)

    def _writing(self) -> AbstractContextManager[None]:
        remedy = "Free space or name another folder (--data-dir), then run the same command"
        return writing(self.part, f"{remedy}: it goes on from there.")


def _check_status(response: requests.Response, url: str) -> None:
    """Turn a status that is no success into the error it deserves."""
    status = response.status_code
    if status in _PASSING:
        raise _PassingError(f"status {status} {response.reason}", _asked_wait_s(response))
    if status == requests.codes.proxy_authentication_required:
        raise UnreachableError(f"{url}: the proxy wants a user name and password (status 407).")
    if status >= requests.codes.bad_request:
        raise UnreachableError(
            f"{url}: status {status} {response.reason}; expected the file there."
        )


def _asked_wait_s(response: requests.Response) -> float:
    """Wait that the server asks for [s]: seconds, a date, or the time its limit is reset."""
    text = response.headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    with suppress(ValueError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    reset = response.headers.get("X-RateLimit-Reset", "")
    return max(0.0, float(reset) - time.time()) if reset.isdigit() else 0.0


def _said(error: requests.RequestException) -> str:
    """Say in a few words what a broken request broke on."""
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not let it through"
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate is not accepted"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return "no answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke"
    return "no connection"
