"""An edition from nothing to data, and through every fault, against a local stand-in."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from challenge_server import (
    TINY,
    dev_files,
    eval_files,
    fault,
    fill,
    serve,
    zip_bytes,
)

from asdlib.base import InputError
from asdlib.challenge import EDITIONS, Job, edition, fetch, fetch_truth, folders
from asdlib.challenge.catalogue import LOCK_NAME as FILE_NAME
from asdlib.challenge.catalogue import Lock
from asdlib.challenge.fetching import listed_file
from asdlib.challenge.transfer import UnreachableError
from asdlib.data import read_clips

ROOT = Path(__file__).resolve().parents[1]
FAN = "/records/1/files/dev_fan.zip"


@pytest.fixture
def server():
    with serve() as found:
        fill(found)
        yield found


@pytest.fixture
def job(server):
    return Job(hosts=server.hosts)


def dev(**options):
    return TINY.archives(["dev"], **options)


def check_whole(root: Path, *machines: str) -> None:
    """The data are complete and nothing else lies about."""
    clips = read_clips(root)
    assert clips.groupby(["machine_type", "split"]).size().to_dict() == {
        (machine, split): n
        for machine in machines
        for split, n in (("supplemental", 2), ("test", 4), ("train", 4))
    }
    raw = root / "dev_data" / "raw"
    assert sorted(path.name for path in raw.iterdir()) == sorted(machines)
    assert list((root / "archives").iterdir()) == []


def test_from_nothing_to_data(server, job, tmp_path):
    lines, came = [], []

    class Progress:
        def __init__(self, total):
            self.total = total

        def __enter__(self):
            return came.append

        def __exit__(self, *error):
            assert sum(came) == self.total > 0

    job = replace(job, say=lines.append, open_progress=Progress)
    root = fetch(TINY, dev(), tmp_path, job)
    check_whole(root, "fan", "valve")
    assert "0 of 2 parts there" in lines[0]
    assert "2 archives: 0.00 GB to download" in lines[1]
    assert "GB free in" in lines[1]
    pinned = json.loads((root / FILE_NAME).read_text())["archives"]["dev_fan.zip"]
    content = server.files[FAN]
    assert pinned == {
        "record": 1,
        "listed_name": "dev_fan.zip",
        "size": len(content),
        "md5": hashlib.md5(content).hexdigest(),
        "verified": True,
        "downloaded": True,
        "clips": {"train": 4, "test": 4, "supplemental": 2},
    }


def test_what_is_there_is_not_asked_for_again(server, job, tmp_path):
    fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    server.requests.clear()
    root = fetch(TINY, dev(), tmp_path, job)
    assert server.asked("fan") == []
    check_whole(root, "fan", "valve")
    server.requests.clear()
    fetch(TINY, dev(), tmp_path, job)
    assert server.requests == []


@pytest.mark.parametrize("parts", [("train", "test"), ("test", "train")])
def test_evaluation_archives_meet_in_one_folder(job, tmp_path, parts):
    for part in parts:
        wanted = [one for one in TINY.archives(["eval"]) if part in one.splits]
        root = fetch(TINY, wanted, tmp_path, job)
    clips = read_clips(root)
    assert clips.groupby("split").size().to_dict() == {"test": 4, "train": 4}
    assert clips.loc[clips["split"] == "test", ["domain", "is_anomaly"]].isna().all(axis=None)


@pytest.mark.parametrize(
    "faults",
    [
        [fault("reset", 100), fault("reset", 5)],
        [fault("stall", 300)],
        [fault("length", 100)],
        [fault("status", 429, {"Retry-After": "0"})],
        [fault("status", 503), fault("status", 503)],
        [fault("corrupt")],
    ],
    ids=lambda faults: faults[0][0],
)
def test_passing_faults_end_with_verified_data(server, job, tmp_path, faults):
    server.faults[FAN] = list(faults)
    server.faults["/api/records/1"] = [fault("status", 503), fault("reset", 3)]
    check_whole(fetch(TINY, dev(), tmp_path, job), "fan", "valve")


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([fault("status", 404)], "dev_fan.zip: status 404"),
        ([fault("status", 503)] * 9, "status 503.*also when tried again"),
        ([fault("stall", 0)] * 9, "no answer in time"),
        ([fault("corrupt")] * 2, "dev_fan.zip: arrived twice with a wrong checksum"),
    ],
    ids=["404", "503", "stall", "corrupt"],
)
def test_lasting_faults_are_named_and_the_next_run_goes_on(server, job, tmp_path, faults, message):
    server.faults[FAN] = list(faults)
    with pytest.raises(InputError, match=message):
        fetch(TINY, dev(), tmp_path, job)
    root = tmp_path / "dcase2025t2"
    assert not (root / "dev_data" / "raw" / "fan").exists()
    assert (root / "dev_data" / "raw" / "valve").is_dir()  # the others are not given up
    server.faults.clear()
    check_whole(fetch(TINY, dev(), tmp_path, job), "fan", "valve")


def test_without_the_host_the_message_says_what_to_place_where(server, job, tmp_path):
    server.faults["/api/records/1"] = [fault("status", 503)] * 9
    with pytest.raises(UnreachableError) as caught:
        fetch(TINY, dev(), tmp_path, job)
    message = str(caught.value)
    assert "HTTPS_PROXY" in message
    assert f"into {tmp_path / 'dcase2025t2' / 'archives'}" in message
    assert f"{server.url}/records/1: dev_fan.zip, dev_valve.zip" in message


def test_a_file_changed_on_the_host_is_told_from_a_damaged_one(server, job, tmp_path):
    server.faults[FAN] = [fault("status", 404)]
    with pytest.raises(InputError, match="404"):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    other = server.files[FAN][:-1] + b"x"  # of the same size
    server.put_record(1, {"dev_fan.zip": other})
    with pytest.raises(InputError, match="was changed in record 1 since.*delete its entry"):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    fill(server)
    check_whole(fetch(TINY, dev(machines=["fan"]), tmp_path, job), "fan")


def test_a_revised_name_in_the_record_is_found():
    archive = edition("dcase2024").archives(["eval"], machines=["3DPrinter"])[0]
    assert archive.file_name == "eval_data_3DPrinter_train_r2.zip"
    entry = {"key": "eval_data_3DPrinter_train_r3.zip"}
    assert listed_file(archive, {"files": [entry, {"key": "readme.md"}]}) == entry
    with pytest.raises(InputError, match=r"holds no eval_data_3DPrinter.*There are: readme.md"):
        listed_file(archive, {"files": [{"key": "readme.md"}]})


def test_a_page_instead_of_a_description(server, job, tmp_path):
    server.files["/api/records/1"] = b"<html>Please log in</html>"
    with pytest.raises(InputError, match="is no description of a record"):
        fetch(TINY, dev(), tmp_path, job)


def place(server, tmp_path, change=lambda content: content):
    folder = tmp_path / "dcase2025t2" / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dev_fan.zip", "dev_valve.zip"):
        (folder / name).write_bytes(change(server.files[f"/records/1/files/{name}"]))
    return folder


def test_archives_placed_by_hand_are_verified_used_and_kept(server, job, tmp_path):
    folder = place(server, tmp_path)
    root = fetch(TINY, dev(), tmp_path, job)
    assert server.asked("/files/") == []
    assert Lock(root).archive("dev_fan.zip")["verified"] is True
    assert sorted(path.name for path in folder.iterdir()) == ["dev_fan.zip", "dev_valve.zip"]


@pytest.mark.parametrize("place", ["", "dcase2025t2", "dcase2025t2/dev_data/raw"])
def test_archives_are_recognised_where_others_put_them(server, job, tmp_path, place):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("dev_fan.zip", "dev_valve.zip"):
        (folder / name).write_bytes(server.files[f"/records/1/files/{name}"])
    (folder / "dev_fan.zip").write_bytes(b"damaged")
    root = fetch(TINY, dev(), tmp_path, job)
    assert [path for path, _ in server.asked("/files/")] == [FAN]
    assert len(read_clips(root)) == 20
    assert (folder / "dev_fan.zip").read_bytes() == b"damaged"  # somebody's own file


def test_archives_placed_by_hand_serve_offline(server, job, tmp_path):
    place(server, tmp_path)
    server.faults["/api/records/1"] = [fault("status", 503)] * 9
    lines = []
    root = fetch(TINY, dev(), tmp_path, replace(job, say=lines.append))
    assert any("used unverified" in line for line in lines)
    assert Lock(root).archive("dev_fan.zip")["verified"] is False
    assert len(read_clips(root)) == 20


REFUSALS = [
    [fault("status", 401)],
    [fault("status", 403)],
    [fault("status", 404)],
    [fault("status", 451)],
    [],  # a page that says so, with the status of success
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=["401", "403", "404", "451", "page"])
def test_a_host_that_refuses_is_as_one_that_is_not_there(server, job, tmp_path, refusal):
    server.faults["/api/records/1"] = list(refusal)
    if not refusal:
        server.files["/api/records/1"] = b"<html>Access denied</html>"
    with pytest.raises(UnreachableError) as caught:
        fetch(TINY, dev(), tmp_path, job)
    assert f"into {tmp_path / 'dcase2025t2' / 'archives'}" in str(caught.value)
    assert f"{server.url}/records/1: dev_fan.zip, dev_valve.zip" in str(caught.value)
    assert len(server.requests) == 1  # it said no; asking again would be impolite
    place(server, tmp_path)
    server.faults["/api/records/1"] = list(refusal)
    lines = []
    root = fetch(TINY, dev(), tmp_path, replace(job, say=lines.append))
    assert any("placed by hand are used unverified" in line for line in lines)
    assert Lock(root).archive("dev_fan.zip")["verified"] is False
    assert len(read_clips(root)) == 20


def test_a_refused_archive_says_what_to_place_where(server, job, tmp_path):
    server.faults[FAN] = [fault("status", 403)]
    with pytest.raises(UnreachableError) as caught:
        fetch(TINY, dev(), tmp_path, job)
    assert "dev_fan.zip: status 403 Forbidden" in str(caught.value)
    assert f"{server.url}/records/1: dev_fan.zip" in str(caught.value)
    assert "dev_valve.zip" not in str(caught.value)


@pytest.mark.parametrize("change", [lambda c: c[:-200], lambda c: b"x" * len(c)])
def test_truncated_and_corrupt_archives_are_fetched_again(server, job, tmp_path, change):
    place(server, tmp_path, change)
    root = fetch(TINY, dev(), tmp_path, job)
    assert len(server.asked("/files/")) == 2
    check_whole(root, "fan", "valve")


def test_a_damaged_archive_is_refused_offline(server, job, tmp_path):
    place(server, tmp_path, lambda content: content[:-200])
    server.faults["/api/records/1"] = [fault("status", 503)] * 9
    with pytest.raises(InputError, match="dev_fan.zip: is damaged"):
        fetch(TINY, dev(), tmp_path, job)
    assert not list((tmp_path / "dcase2025t2" / "dev_data").rglob("*"))


def test_folders_placed_by_hand_are_recognised(server, job, tmp_path):
    raw = tmp_path / "dcase2025t2" / "dev_data" / "raw"
    for name, content in dev_files("fan").items():
        path = raw / name.replace("test/", "Test/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    assert server.requests == []
    next((raw / "fan" / "train").iterdir()).unlink()
    with pytest.raises(InputError, match="train: holds 3 clips, expected 4. Remove the folder"):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)


def test_renamed_evaluation_clips_do_not_pass_for_the_published_ones(server, job, tmp_path):
    raw = tmp_path / "dcase2025t2" / "eval_data" / "raw" / "ToyPet"
    path = raw / "test_rename" / "section_00_source_test_anomaly_0000.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(next(iter(eval_files("ToyPet", "test").values())))
    clips = read_clips(fetch(TINY, TINY.archives(["eval"]), tmp_path, job))
    assert clips.loc[clips["split"] == "test", "domain"].isna().all()


def test_a_disk_too_small_is_said_first(server, job, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("asdlib.challenge.fetching.shutil.disk_usage", lambda path: usage)
    with pytest.raises(InputError, match=r"0\.00 GB free.*are needed.*--data-dir"):
        fetch(TINY, dev(), tmp_path, job)
    assert server.asked("/files/") == []


def test_a_disk_that_fills_up_while_unpacking(server, job, tmp_path, monkeypatch):
    def full(source, sink, length):
        sink.write(b"RIFF")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asdlib.challenge.folders.shutil.copyfileobj", full)
    with pytest.raises(InputError, match="No space left on device"):
        fetch(TINY, dev(), tmp_path, job)
    root = tmp_path / "dcase2025t2"
    assert list((root / "dev_data" / "raw").iterdir()) == []
    monkeypatch.undo()
    server.requests.clear()
    check = fetch(TINY, dev(), tmp_path, job)
    assert server.asked("/files/") == []  # the archives stayed
    check_whole(check, "fan", "valve")


def test_a_folder_that_cannot_be_written(job, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written.*--data-dir"):
        fetch(TINY, dev(), tmp_path / "file", job)


def test_a_lock_file_that_cannot_be_read(job, tmp_path):
    root = tmp_path / "dcase2025t2"
    root.mkdir()
    (root / FILE_NAME).write_text("{")
    with pytest.raises(InputError, match="challenge.lock.json: cannot be read.*Delete it"):
        fetch(TINY, dev(), tmp_path, job)


CHILD = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from challenge_server import IMPATIENT, TINY
from asdlib.challenge import Job, fetch, folders, transfer
from asdlib.challenge.transfer import Hosts
transfer._BLOCK_BYTES = 64
patience = IMPATIENT.__class__(2, {patience}, 4, 0.005, 0.05)
job = Job(hosts=Hosts(zenodo={url!r}, github={url!r}, patience=patience))
if {slow!r}:
    copy = folders.shutil.copyfileobj
    def slowly(*arguments):
        copy(*arguments)
        Path({tmp!r}, "unpacking").touch()
        time.sleep(30)
    folders.shutil.copyfileobj = slowly
try:
    fetch(TINY, TINY.archives(["dev"]), Path({tmp!r}), job)
except KeyboardInterrupt:
    sys.exit(130)
"""


def start(server, tmp_path, *, slow=False, patience=30):
    code = CHILD.format(
        tests=str(ROOT / "tests"), url=server.url, tmp=str(tmp_path), slow=slow, patience=patience
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        # A test run started in the background hands down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    assert condition()


def is_half_way(tmp_path):
    """One archive is unpacked and put away, 640 bytes of the other are there."""
    root = tmp_path / "dcase2025t2"
    sizes = [path.stat().st_size for path in (root / "archives").glob("*fan*")]
    other = (root / "dev_data" / "raw" / "valve").is_dir()
    return sizes == [640] and other and not (root / "archives" / "dev_valve.zip").exists()


def test_killed_while_downloading_it_goes_on(server, job, tmp_path):
    server.faults[FAN] = [fault("stall", 640)]
    process = start(server, tmp_path)
    try:
        wait_for(lambda: is_half_way(tmp_path), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "dcase2025t2" / "dev_data" / "raw" / "fan").exists()
    server.requests.clear()
    root = fetch(TINY, dev(), tmp_path, job)
    assert server.asked("dev_fan") == [(FAN, "bytes=640-")]
    check_whole(root, "fan", "valve")


def test_killed_while_unpacking_nothing_is_taken_for_data(server, job, tmp_path):
    process = start(server, tmp_path, slow=True)
    try:
        wait_for((tmp_path / "unpacking").exists, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    root = tmp_path / "dcase2025t2"
    with pytest.raises(InputError, match="holds no machine"):
        read_clips(root)
    fetch(TINY, dev(), tmp_path, job)
    assert len(read_clips(root)) == 20
    assert sorted(path.name for path in (root / "dev_data" / "raw").iterdir()) == ["fan", "valve"]


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(server, job, tmp_path):
    server.faults[FAN] = [fault("stall", 640)]
    process = start(server, tmp_path, patience=0.5)
    try:
        wait_for(lambda: is_half_way(tmp_path), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    finally:
        process.kill()
        process.wait()
    server.requests.clear()
    check_whole(fetch(TINY, dev(), tmp_path, job), "fan", "valve")
    assert server.asked("dev_fan") == [(FAN, "bytes=640-")]


def test_killed_between_unpacking_and_moving(job, server, tmp_path):
    """What was unpacked whole is moved on; a machine without training clips is no data."""
    raw = tmp_path / "dcase2025t2" / "eval_data" / "raw"
    fetch(TINY, TINY.archives(["eval"])[1:], tmp_path, job)  # the evaluation clips
    for name, content in eval_files("ToyPet", "train").items():
        path = raw / name.replace("ToyPet/", ".ToyPet@eval_data_ToyPet_train.complete/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with pytest.raises(InputError, match="holds no training clips"):
        read_clips(tmp_path / "dcase2025t2")
    server.requests.clear()
    root = fetch(TINY, TINY.archives(["eval"]), tmp_path, job)
    assert server.requests == []
    assert read_clips(root).groupby("split").size().to_dict() == {"test": 4, "train": 4}


def test_killed_between_noting_and_moving_what_is_noted_holds(server, job, tmp_path, monkeypatch):
    """Whatever is moved to its place was noted as verified before."""

    def kill(complete, machine_folder):
        raise KeyboardInterrupt

    monkeypatch.setattr("asdlib.challenge.folders.settle", kill)
    with pytest.raises(KeyboardInterrupt):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    monkeypatch.undo()
    server.requests.clear()
    root = fetch(TINY, dev(machines=["fan"]), tmp_path, replace(job, stopped=Event()))
    assert server.requests == []
    assert Lock(root).archive("dev_fan.zip")["verified"] is True
    check_whole(root, "fan")


def test_two_processes_fetch_once(server, job, tmp_path):
    server.faults[FAN] = [fault("stall", 100)]
    process = start(server, tmp_path)
    try:
        wait_for(lambda: server.asked("dev_fan"), process)
        lines = []

        def say(line):
            lines.append(line)
            server.closing.set()  # the first process goes on

        root = fetch(TINY, dev(), tmp_path, replace(job, say=say))
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert "another process is fetching" in lines[0]
    check_whole(root, "fan", "valve")
    assert len([asked for _, asked in server.asked("dev_fan") if asked is None]) == 1


@pytest.mark.parametrize(
    "name",
    [
        "../outside.wav",
        "fan/train/../../../outside.wav",
        "/tmp/outside.wav",
        "C:\\outside.wav",
        "fan\\..\\..\\outside.wav",
    ],
)
def test_an_archive_cannot_write_outside_its_folder(server, job, tmp_path, name):
    files = dev_files("fan") | {name: b"evil"}
    server.put_record(1, {"dev_fan.zip": zip_bytes(files)})
    data = tmp_path / "a" / "b" / "c"
    with pytest.raises(InputError, match="would be written outside its folder"):
        fetch(TINY, dev(machines=["fan"]), data, job)
    assert not list(tmp_path.rglob("outside*"))
    assert not list((data / "dcase2025t2" / "dev_data").rglob("*"))


def test_an_archive_that_grows_beyond_any_recording_is_refused(server, job, tmp_path):
    files = dev_files("fan") | {"fan/train/section_00_source_train_normal_0009_x.wav": bytes(10**7)}
    server.put_record(1, {"dev_fan.zip": zip_bytes(files)})
    with pytest.raises(InputError, match="would unpack to 100.*more than 4 times as much"):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    assert not list((tmp_path / "dcase2025t2" / "dev_data").rglob("*.wav"))


def test_links_in_an_archive_are_refused(server, job, tmp_path):
    link = zipfile.ZipInfo("fan/train/section_00_source_train_normal_0009_x.wav")
    link.external_attr = 0o120777 << 16
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    server.put_record(1, {"dev_fan.zip": path.read_bytes()})
    with pytest.raises(InputError, match="would be written outside"):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"valve/train/section_00_source_train_normal_0000_x.wav": b"x"}, "files of fan alone"),
        ({"fan/train/section_00_source_train_normal_0000_x.wav": b"x"}, "no clips of test/"),
        ({"fan/readme.txt": b"x"}, "no clips of train/"),
        (dev_files("fan") | {k.upper(): v for k, v in dev_files("fan").items()}, "twice"),
    ],
)
def test_archives_of_something_else_are_refused(server, job, tmp_path, files, message):
    server.put_record(1, {"dev_fan.zip": zip_bytes(files)})
    with pytest.raises(InputError, match=message):
        fetch(TINY, dev(machines=["fan"]), tmp_path, job)


@pytest.mark.parametrize("prefix", ["", "FAN/", "dev_data/raw/fan/", "./fan/"])
def test_archives_may_be_packed_at_several_levels(server, job, tmp_path, prefix):
    files = {name.replace("fan/", prefix): content for name, content in dev_files("fan").items()}
    files["__MACOSX/fan/._train"] = files["doc/readme.txt"] = b"x"
    files[f"{prefix}train/._section_00_source_train_normal_0000_spd_1.wav"] = b"x"
    files[f"{prefix}attributes_00.csv"] = b"file_name,d1p,d1v\n"
    server.put_record(1, {"dev_fan.zip": zip_bytes(files)})
    root = fetch(TINY, dev(machines=["fan"]), tmp_path, job)
    check_whole(root, "fan")
    assert (root / "dev_data" / "raw" / "fan" / "attributes_00.csv").is_file()


def test_unpacking_checks_the_room(tmp_path, monkeypatch):
    path = tmp_path / "dev_fan.zip"
    path.write_bytes(zip_bytes(dev_files("fan")))
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("asdlib.challenge.folders.shutil.disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match="unpacks to"):
        folders.unpack(path, tmp_path / "raw" / "fan", splits=("train", "test"))


def test_truth_is_fetched_beside_the_data_and_held_to_its_checksum(server, job, tmp_path):
    folder = fetch_truth(TINY, tmp_path, job)
    list_path = folder / "eval_data_list_2025.csv"
    content = list_path.read_bytes()
    root = tmp_path / "dcase2025t2"
    assert folder == root / "truth"
    pinned = Lock(root).truth("eval_data_list_2025.csv")
    assert pinned["sha256"] == hashlib.sha256(content).hexdigest()
    server.requests.clear()
    fetch_truth(TINY, tmp_path, job)
    assert server.requests == []
    list_path.write_text("edited")
    fetch_truth(TINY, tmp_path, job)
    assert list_path.read_bytes() == content
    list_path.write_text("edited")
    server.put_list("eval_data_list_2025.csv", "something else")
    with pytest.raises(InputError, match="has the SHA-256"):
        fetch_truth(TINY, tmp_path, job)


def test_truth_that_cannot_be_had_says_what_to_place_where(server, job, tmp_path):
    server.files.clear()
    with pytest.raises(InputError, match="eval_data_list_2025.csv.*from https://github.com.*truth"):
        fetch_truth(TINY, tmp_path, job)
    folder = tmp_path / "dcase2025t2" / "truth"
    for path in TINY.truth:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("placed by hand")
    assert fetch_truth(TINY, tmp_path, job) == folder


def test_the_catalogue():
    assert [len(one.archives(["dev"])) for one in EDITIONS.values()] == [7] * 4
    assert [len(one.archives(["eval"])) for one in EDITIONS.values()] == [14, 18, 16, 10]
    found = {
        (archive.record, archive.file_name)
        for one in EDITIONS.values()
        for archive in one.archives(["dev", "eval"])
    }
    assert {
        (15097779, "dev_ToyCar.zip"),
        (15392814, "eval_data_AutoTrash_train.zip"),
        (15519362, "eval_data_AutoTrash_test.zip"),
        (11259435, "eval_data_RoboticArm_train_r2.zip"),
        (11363076, "eval_data_RoboticArm_test.zip"),
        (7830345, "eval_data_Vacuum_train.zip"),
        (19336329, "dev_ToyCar_r2.zip"),
        (20437238, "eval_data_Sander_test.zip"),
    } <= found
    with pytest.raises(InputError, match="There are: dcase2023, dcase2024"):
        edition("dcase2019")
    with pytest.raises(InputError, match="--machines pump: not in dcase2025"):
        edition("dcase2025").archives(["dev"], machines=["pump"])


def test_the_catalogue_lists_what_was_released(realdata):
    lists = realdata / "dcase_lists"
    released = {
        path.relative_to(lists).as_posix()
        for path in [*lists.glob("eval_data_list_*"), *lists.rglob("*_correspondence.csv")]
    }
    assert {path for one in EDITIONS.values() for path in one.truth} == released
