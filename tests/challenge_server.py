"""A local stand-in for the hosts of the challenge, with faults on demand, and tiny archives."""

import hashlib
import io
import json
import socket
import struct
import threading
import zipfile
from collections import defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from corpus import wav_bytes

from asdlib.challenge import Edition
from asdlib.challenge.transfer import TRUTH_COMMIT, TRUTH_REPOSITORY, Hosts, Patience

#: Milliseconds where the real thing waits for seconds.
IMPATIENT = Patience(connect_s=2, read_s=0.3, attempts=4, first_wait_s=0.005, longest_wait_s=0.05)
EVAL_TRUTH = [
    ("section_00_0000.wav", "section_00_target_test_anomaly_0005_spd_2.wav"),
    ("section_00_0001.wav", "section_00_source_test_normal_0007_spd_1.wav"),
    ("section_00_0002.wav", "section_00_target_test_normal_0001_spd_2.wav"),
    ("section_00_0003.wav", "section_00_source_test_anomaly_0002_spd_1.wav"),
]
TINY = Edition(
    "dcase2025",
    records={"dev": 1, "train": 2, "test": 3},
    machines={"dev": ("fan", "valve"), "eval": ("ToyPet",)},
    clips={"train": 4, "test": 4},
    truth=(
        "eval_data_list_2025.csv",
        "ground_truth_attributes/dcase2025t2/dev_data/valve/attributes_00_train_correspondence.csv",
    ),
)


class Server:
    """What is on the hosts, what goes wrong with it, and what was asked for."""

    def __init__(self):
        self.files = {}  # path below the host -> bytes
        self.faults = defaultdict(list)  # path -> faults, one per request
        self.requests = []  # (path, Range header)
        self.closing = threading.Event()
        self.url = ""

    @property
    def hosts(self):
        return Hosts(zenodo=self.url, github=self.url, patience=IMPATIENT)

    def put_record(self, record, files):
        for name, content in files.items():
            self.files[f"/records/{record}/files/{name}"] = content
        listing = [
            {
                "key": name,
                "size": len(content),
                "checksum": "md5:" + hashlib.md5(content).hexdigest(),
            }
            for name, content in files.items()
        ]
        self.files[f"/api/records/{record}"] = json.dumps({"files": listing}).encode()

    def put_list(self, path, text):
        self.files[f"/{TRUTH_REPOSITORY}/{TRUTH_COMMIT}/datasets/{path}"] = text.encode()

    def asked(self, part):
        return [(path, asked) for path, asked in self.requests if part in path]


def fault(kind, *values):
    """``status code headers``, ``reset|stall|length n``, ``corrupt``, ``whole``, ``endless``."""
    return kind, values


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server = self.server.content
        path = self.path.split("?")[0]
        server.requests.append((path, self.headers.get("Range")))
        kind, values = server.faults[path].pop(0) if server.faults[path] else ("", ())
        if kind == "status":
            return self._answer(values[0], b"", values[1] if len(values) > 1 else {})
        content = server.files.get(path)
        if content is None:
            return self._answer(404, b"", {})
        first, status, headers = 0, 200, {}
        asked = self.headers.get("Range")
        if asked and kind != "whole":
            first, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            if first >= len(content):
                return self._answer(416, b"", {})
        body = content[first:]
        if kind == "corrupt":
            body = bytes([body[0] ^ 255]) + body[1:]
        if kind == "length":
            body = body[: values[0]]
        if kind == "endless":
            return self._send_endlessly()
        if kind in ("reset", "stall"):
            return self._break_off(kind, values[0], body, status, headers)
        return self._answer(status, body, headers)

    def _answer(self, status, body, headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_endlessly(self):
        """Announce no length, and send until the client hangs up."""
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        while True:
            self.wfile.write(bytes(1 << 16))

    def _break_off(self, kind, n_bytes, body, status, headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:n_bytes])
        self.wfile.flush()
        if kind == "stall":
            self.server.content.closing.wait(20)
        else:
            linger = struct.pack("ii", 1, 0)  # the connection is reset, not closed
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that were told to break off do


@contextmanager
def serve():
    """Run the stand-in on a free port of the loopback."""
    server = _Quiet(("127.0.0.1", 0), _Handler)
    server.content = Server()
    server.content.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.content
    finally:
        server.content.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


def zip_bytes(files, *, compression=zipfile.ZIP_DEFLATED):
    """An archive of ``{name: bytes}``; names are written as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)
    return buffer.getvalue()


def sound(seed, *, n_samples=160, channels=1):
    """A tiny wav file of noise."""
    samples = np.random.default_rng(seed).integers(-3000, 3000, n_samples * channels)
    return wav_bytes(samples.astype("<i2").tobytes(), channels=channels)


def dev_files(machine, *, attribute="spd_1", n_samples=160, n=2, channels=1):
    """Files of a development machine: 2 n training and 4 test clips, and supplemental ones."""
    names = [f"train/section_00_{domain}_train_normal_{i:04d}_{attribute}.wav"
             for domain in ("source", "target") for i in range(n)]  # fmt: skip
    names += [
        f"test/section_00_{domain}_test_{condition}_0000_{attribute}.wav"
        for domain in ("source", "target")
        for condition in ("normal", "anomaly")
    ]
    names += [f"supplemental/section_00_noise_source_{i:04d}_noAttribute.wav" for i in range(2)]
    return {
        f"{machine}/{name}": sound(i, n_samples=n_samples, channels=channels)
        for i, name in enumerate(names)
    }


def eval_files(machine, part, *, n_samples=160, n=2):
    """Files of the additional training data or of the evaluation data of a machine."""
    if part == "test":
        names = [f"test/{published}" for published, _ in EVAL_TRUTH]
    else:
        names = [f"train/section_00_{domain}_train_normal_{i:04d}_noAttribute.wav"
                 for domain in ("source", "target") for i in range(n)]  # fmt: skip
    return {f"{machine}/{name}": sound(50 + i, n_samples=n_samples) for i, name in enumerate(names)}


def fill(server, *, n_samples=160, n=2):
    """Put the tiny edition on the hosts."""
    sizes = {"n_samples": n_samples, "n": n}
    server.put_record(1, {
        "dev_fan.zip": zip_bytes(dev_files("fan", **sizes)),
        "dev_valve.zip": zip_bytes(dev_files("valve", attribute="noAttribute", **sizes)),
    })  # fmt: skip
    for record, part in ((2, "train"), (3, "test")):
        files = eval_files("ToyPet", part, **sizes)
        server.put_record(record, {f"eval_data_ToyPet_{part}.zip": zip_bytes(files)})
    lines = ["ToyPet", *(f"{published},{true}" for published, true in EVAL_TRUTH)]
    server.put_list(TINY.truth[0], "\n".join(lines) + "\n")
    rows = ["source_file_name,target_file_name"]
    for domain in ("source", "target"):
        stems = [f"section_00_{domain}_train_normal_{i:04d}" for i in range(n)]
        rows += [f"{stem}_v_{i}.wav,{stem}_noAttribute.wav" for i, stem in enumerate(stems)]
    server.put_list(TINY.truth[1], "\n".join(rows) + "\n")
