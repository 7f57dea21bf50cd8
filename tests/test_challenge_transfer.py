"""One file over a connection that breaks in every way: whole in the end, or a clear error."""

import threading
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pooch
import pytest
from challenge_server import IMPATIENT, fault, serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.challenge import transfer
from asdlib.challenge.transfer import (
    Hosts,
    Job,
    ResumingDownloader,
    StoppedError,
    UnreachableError,
)

IMPATIENTLY = Job(hosts=Hosts(patience=IMPATIENT))
CONTENT = bytes(range(256)) * 40
NAME = "/records/1/files/a.zip"


@pytest.fixture(scope="module")
def host():
    with serve() as server:
        yield server


@pytest.fixture
def server(host):
    host.files[NAME] = CONTENT
    host.faults.clear()
    host.requests.clear()
    return host


def download(server, folder: Path, job: Job = IMPATIENTLY, **options):
    downloader = ResumingDownloader(folder / ".a.part", len(CONTENT), job, **options)
    downloader(server.url + NAME, folder / "a.zip", None)
    return (folder / "a.zip").read_bytes()


def test_a_whole_file_arrives_in_one_request(server, tmp_path):
    assert download(server, tmp_path) == CONTENT
    assert server.requests == [(NAME, None)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, len(CONTENT)), min_size=1, max_size=3))
def test_a_connection_reset_at_any_byte_goes_on_from_there(server, tmp_path_factory, breaks):
    server.requests.clear()
    server.faults[NAME] = [fault("reset", n) for n in breaks]
    folder = tmp_path_factory.mktemp("reset")
    came = []
    assert download(server, folder, on_progress=came.append) == CONTENT
    assert sum(came) == len(CONTENT)
    server.faults.clear()


def test_the_rest_alone_is_asked_for(server, tmp_path):
    (tmp_path / ".a.part").write_bytes(CONTENT[:1000])
    came = []
    assert download(server, tmp_path, on_progress=came.append) == CONTENT
    assert server.requests == [(NAME, "bytes=1000-")]
    assert came[0] == 1000
    assert sum(came) == len(CONTENT)


@pytest.mark.parametrize(
    ("before", "fault_of_server"),
    [
        (1000, fault("whole")),  # a host that knows no ranges sends all of it
        (1000, fault("status", 416)),
        (len(CONTENT) + 5, fault("status", 503)),  # longer than the file ever was
        (0, fault("stall", 1000)),
        (0, fault("length", 1000)),  # announces too little
        (0, fault("status", 503)),
        (0, fault("status", 504)),
        (0, fault("status", 429, {"Retry-After": "0"})),
        (500, fault("status", 500)),
    ],
)
def test_passing_faults_end_with_the_whole_file(server, tmp_path, before, fault_of_server):
    (tmp_path / ".a.part").write_bytes((CONTENT + b"12345")[:before])
    server.faults[NAME] = [fault_of_server]
    came = []
    assert download(server, tmp_path, on_progress=came.append) == CONTENT
    assert sum(came) == len(CONTENT)


def test_attempts_that_bring_something_do_not_use_up_the_patience(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_BLOCK_BYTES", 256)
    server.faults[NAME] = [fault("reset", 900)] * 9
    assert download(server, tmp_path) == CONTENT
    assert len(server.requests) == 10 > IMPATIENT.attempts


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (fault("status", 503), "status 503"),
        (fault("status", 429), "status 429"),
        (fault("stall", 0), "no answer in time"),
        (fault("reset", 0), "connection"),
        (fault("length", 10), "announced 10 bytes"),
    ],
)
def test_patience_ends_and_what_came_stays(server, tmp_path, kind, message):
    (tmp_path / ".a.part").write_bytes(CONTENT[:700])
    server.faults[NAME] = [kind] * 20
    with pytest.raises(UnreachableError, match=message):
        download(server, tmp_path)
    assert len(server.requests) == IMPATIENT.attempts
    assert not (tmp_path / "a.zip").exists()
    server.faults.clear()
    assert download(server, tmp_path) == CONTENT


def test_a_host_that_sends_without_end_fills_no_disk(server, tmp_path):
    server.faults[NAME] = [fault("endless")] * 20
    came = []
    with pytest.raises(UnreachableError, match="sends more bytes; the record says 10240 in all"):
        download(server, tmp_path, on_progress=came.append)
    assert max(came) <= len(CONTENT)
    assert sum(came) == 0
    assert list(tmp_path.iterdir()) == []
    server.faults[NAME] = [fault("endless")]
    assert download(server, tmp_path) == CONTENT


def test_what_is_not_there_is_not_asked_for_again(server, tmp_path):
    del server.files[NAME]
    with pytest.raises(InputError, match="status 404"):
        download(server, tmp_path)
    assert len(server.requests) == 1


def test_nobody_listens(tmp_path):
    downloader = ResumingDownloader(tmp_path / "part", 10, IMPATIENTLY)
    with pytest.raises(UnreachableError, match="no connection, also when tried again"):
        downloader("http://127.0.0.1:1/a.zip", tmp_path / "a.zip", None)


def test_something_small_that_nobody_answers_is_given_up_early(server):
    reasons = []
    with pytest.raises(UnreachableError, match="no connection"):
        replace(IMPATIENTLY, say=reasons.append).get("http://127.0.0.1:1/a")
    assert reasons == ["http://127.0.0.1:1/a: no connection; trying again in 0 s"] * 2
    server.faults["/x"] = [fault("status", 503)] * 9
    with pytest.raises(UnreachableError, match="status 503"):
        IMPATIENTLY.get(server.url + "/x")
    assert len(server.requests) == IMPATIENT.attempts == 4


def test_a_proxy_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(UnreachableError, match="the proxy does not let it through"):
        IMPATIENTLY.get("http://example.invalid/a")


def test_the_time_that_a_host_asks_for_is_kept(server):
    server.files["/x"] = b"x"
    asked = [{"Retry-After": "1"}, {"Retry-After": formatdate(time.time() + 3600, usegmt=True)}]
    asked.append({"X-RateLimit-Reset": str(int(time.time()) + 3600)})
    for headers in asked:
        server.faults["/x"] = [fault("status", 429, headers)]
        started = time.monotonic()
        assert IMPATIENTLY.get(server.url + "/x").content == b"x"
        assert time.monotonic() - started >= IMPATIENT.longest_wait_s


def test_a_full_disk_leaves_what_came(server, tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def write(self, block):
            self.file.write(block[:600])
            raise OSError(28, "No space left on device")

        def flush(self):
            pass

    opened = ResumingDownloader._open
    monkeypatch.setattr(ResumingDownloader, "_open", lambda self: Full(opened(self)))
    with pytest.raises(InputError, match="No space left on device.*goes on from there"):
        download(server, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / ".a.part").read_bytes() == CONTENT[:600]
    assert download(server, tmp_path) == CONTENT
    assert server.requests[-1] == (NAME, "bytes=600-")


def test_stopping_keeps_what_came(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "_BLOCK_BYTES", 1000)
    stopped = threading.Event()

    def stop(n_bytes):
        if n_bytes:
            stopped.set()

    with pytest.raises(StoppedError):
        download(server, tmp_path, replace(IMPATIENTLY, stopped=stopped), on_progress=stop)
    assert len((tmp_path / ".a.part").read_bytes()) == 1000


def test_pooch_verifies_what_the_downloader_brings(server, tmp_path):
    server.faults[NAME] = [fault("corrupt")]
    downloader = ResumingDownloader(tmp_path / ".part", len(CONTENT), IMPATIENTLY)
    options = {"fname": "a.zip", "path": tmp_path, "downloader": downloader}
    wanted = "md5:" + pooch.file_hash(__file__, alg="md5")
    with pytest.raises(ValueError, match="does not match the known hash"):
        pooch.retrieve(server.url + NAME, known_hash=wanted, **options)
    assert list(tmp_path.iterdir()) == []
