"""Sweeps share what cells have in common, keep what finished, and survive what breaks."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from corpus import make_tree, train_and_test
from distributed import Client, LocalCluster
from sweep_notebooks import write_notebooks

from asdlib.base import InputError
from asdlib.workbook import cli
from asdlib.workbook.notebooks import NOTEBOOK_FOLDER, list_notebooks
from asdlib.workbook.stages import code_key, key_of_data, plan_chain
from asdlib.workbook.sweep import run_cells, save_results
from asdlib.workbook.sweep_file import plan_cells, read_sweep_file

ROOT = Path(__file__).resolve().parents[1]


class Bench:
    """A folder with tiny notebooks, recordings, and a sweep file that tests rewrite."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.data = make_tree(folder / "data", [*train_and_test("fan"), *train_and_test("pump")])
        self.notebooks = list_notebooks(write_notebooks(folder / "notebooks"))

    def read(self, text: str):
        path = self.folder / "try.yaml"
        path.write_text(text)
        return read_sweep_file(path, self.notebooks)

    def cells(self, text: str):
        notebooks = list_notebooks(self.folder / "notebooks")
        return plan_cells(self.read(text), notebooks, data=self.data, build=self.out / "build")

    def log(self) -> list[str]:
        path = self.folder / "log.txt"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(scope="module")
def cluster():
    options = {"dashboard_address": "127.0.0.1:0", "memory_limit": 0, "silence_logs": 50}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as up:
        yield up


SWEEP = """
reference: {epochs: 3}
seeds: [0, 1]
variants:
  two neighbours: {neighbours: 2, group: backend}
  trivial: {system: trivial, group: backend}
grid: {epochs: [1]}
"""


def test_what_cells_have_in_common_is_executed_once(bench, cluster):
    cells = bench.cells(SWEEP.replace("[0, 1]", "[4]"))
    assert len(cells) == 4
    assert run_cells(cells, scheduler=cluster.scheduler_address) == {}
    log = bench.log()
    assert len([line for line in log if line.startswith("01")]) == 1
    trained = sorted(line.split(" threads")[0] for line in log if line.startswith("03"))
    assert trained == ["03 1 [4]", "03 3 [4]"]
    # A variant that judges another system of the same run is no execution of its own.
    assert len([line for line in log if line.startswith("04")]) == 3


def test_finished_cells_are_kept_and_what_they_shared_is_found_again(bench, cluster):
    address = cluster.scheduler_address
    assert run_cells(bench.cells("seeds: [0]"), scheduler=address) == {}
    before = bench.log()
    assert run_cells(bench.cells("seeds: [0]"), scheduler=address) == {}
    assert bench.log() == before
    assert run_cells(bench.cells("{seeds: [0], grid: {neighbours: [3]}}"), scheduler=address) == {}
    assert bench.log()[len(before) :] == ["04 3 [0]"]


def test_failed_cells_are_reported_and_tried_again(bench, cluster, capsys):
    text = "{seeds: [0], variants: {unlucky: {epochs: 13}, lucky: {epochs: 1}}}"
    failures = run_cells(bench.cells(text), scheduler=cluster.scheduler_address)
    assert list(failures) == ["unlucky, seed 0"]
    lines = failures["unlucky, seed 0"].splitlines()
    assert lines[0].startswith("notebook")
    assert "03_train" in lines[0]
    assert lines[1:] == ["cell       Heading of 03_train",
                         "error      ValueError: thirteen is not allowed"]  # fmt: skip
    assert "unlucky, seed 0" in capsys.readouterr().err
    (bench.folder / "mended").touch()
    before = bench.log()
    assert run_cells(bench.cells(text), scheduler=cluster.scheduler_address) == {}
    again = [line.split(" threads")[0] for line in bench.log()[len(before) :]]
    assert again == ["03 13 [0]", "04 1 [0]"]


def test_a_killed_worker_loses_nothing(bench, cluster):
    """The training waits for its death, however long a loaded machine takes to kill it."""
    (bench.folder / "hold").touch()
    cells, failures = bench.cells("{seeds: [0], reference: {epochs: 6}}"), {"not": "run"}

    def run() -> None:
        failures.clear()
        failures.update(run_cells(cells, scheduler=cluster.scheduler_address))

    thread = threading.Thread(target=run)
    thread.start()
    marks = bench.out / "build" / "cache"
    with Client(cluster) as client:
        wait_until(lambda: len(list(marks.glob("*/*"))) == 3)
        kernel = int(bench.log()[-1].split("pid=")[1])
        for pid in client.run(os.getpid).values():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_alive(kernel))  # it looks for its parent once a second
    (bench.folder / "hold").unlink()
    thread.join()
    assert failures == {}
    assert all(cell.is_finished for cell in cells)
    (trained,) = marks.iterdir()
    pids = [int((trained / str(epoch)).read_text()) for epoch in range(6)]
    # The second process went on from the first one's epochs.
    assert pids[:3] == [kernel] * 3
    assert pids[3:] == [pids[-1]] * 3
    assert pids[-1] != kernel


def test_interrupt_ends_cleanly_and_the_same_command_goes_on(bench):
    (bench.folder / "try.yaml").write_text("{seeds: [0], reference: {epochs: 30, excerpt_s: 0.2}}")
    code = (
        "import sys; from pathlib import Path; from asdlib.workbook import cli, notebooks;"
        "known = notebooks.list_notebooks;"
        f"notebooks.list_notebooks = lambda: known(Path({str(bench.folder)!r},"
        "'notebooks')); sys.exit(cli.main(sys.argv[1:]))"
    )
    where = ["--data", str(bench.data), "--out", str(bench.out), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "sweep", str(bench.folder / "try.yaml"), *where],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    marks = bench.out / "build" / "cache"
    wait_until(lambda: list(marks.glob("*/*")) or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    kernel = int(bench.log()[-1].split("pid=")[1])
    wait_until(lambda: not is_alive(kernel))
    done = len(list(marks.glob("*/*")))
    assert 0 < done < 30
    time.sleep(0.5)
    assert len(list(marks.glob("*/*"))) == done


def wait_until(condition, *, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# -- results -------------------------------------------------------------------------------------


def finish(cell, gain: float, *, device: str = "cpu") -> None:
    """Leave what the notebooks of a cell would leave: scores of a system and of a trivial one."""
    last = cell.chain[-1]
    common, own = np.random.default_rng(5), np.random.default_rng(cell.variant.seeds[cell.position])
    rows = pd.DataFrame({"i": np.arange(80), "seed": cell.variant.seeds[cell.position][0]})
    rows["machine_type"] = np.repeat(["fan", "pump"], 40)
    rows["domain"] = np.tile(["source", "target"], 40)
    rows["is_anomaly"] = rows["i"] % 40 >= 20
    rows["clip_id"] = rows["machine_type"] + "/test/" + rows["i"].astype(str)
    noise = common.standard_normal(80) + 0.3 * own.standard_normal(80)
    rows["anomaly_score"] = noise + gain * rows["is_anomaly"]
    rows = rows.assign(section="00", split="test", system="knn")
    trivial = rows.assign(system="trivial", seed=None, anomaly_score=noise)
    last.results.mkdir(parents=True)
    scores = pd.concat([rows, trivial.astype({"seed": "Int64"})], ignore_index=True)
    scores.to_csv(last.results / "scores.csv", index=False)
    (last.results / "training.csv.json").write_text(json.dumps({"device": device}))
    last.finish(2.0)


def test_results_hold_every_variant_and_say_what_is_missing(bench):
    text = SWEEP.replace("epochs: [1]", "epochs: [1, 13]").replace("[0, 1]", "[5, 7]")
    sweep, cells, failures = bench.read(text), bench.cells(text), {}
    for cell in cells:
        gain = {"two neighbours": 1.2, "epochs = 1": 0.1}.get(cell.variant.name, 1.0)
        if cell.variant.name == "epochs = 13":
            failures[cell.name] = "cell       x\nerror      ValueError: unlucky"
        elif cell.variant.name != "trivial":
            finish(cell, gain)
    place = {"data": bench.data, "out": bench.out, "name": "try"}
    text = save_results(sweep, cells, failures, **place).read_text()
    assert "|  | reference | knn | 2 |" in text
    assert "- epochs = 13, seed 5: ValueError: unlucky" in text
    table = pd.read_csv(bench.out / "results" / "try" / "sweep.csv")
    rows = table[table["metric"] == "official_score"].set_index("variant")
    assert rows.index.tolist() == ["reference", "two neighbours", "trivial", "epochs = 1"]
    assert rows.loc["two neighbours", "difference"] > 0
    assert rows.loc["epochs = 1", "difference_high"] < 0
    assert rows.loc["trivial", ["group", "system"]].tolist() == ["backend", "trivial"]
    assert rows["n_seeds"].eq(2).all()
    assert set(table["machine_type"]) == {"fan", "pump", "all"}
    metrics = pd.read_csv(bench.out / "results" / "try" / "metrics.csv")
    assert set(metrics["seed"]) == {5, 7}
    listing = pd.read_csv(bench.out / "results" / "try" / "cells.csv")
    assert listing["state"].value_counts().to_dict() == {"finished": 8, "failed": 2}
    official = listing.groupby("variant")["official_score"].mean()
    assert official["reference"] == pytest.approx(rows.loc["reference", "value"])
    figure = json.loads((bench.out / "figures" / "try" / "sweep.json").read_text())
    assert figure["reference"] == {"epochs": 3}
    assert (figure["notebook"], figure["device"]) == ("sweep", ["cpu"])


def test_system_that_was_not_scored_is_a_failure(bench):
    text = "{seeds: [0], variants: {other: {system: final}}}"
    sweep, cells, failures = bench.read(text), bench.cells(text), {}
    finish(cells[0], 1.0)
    save_results(sweep, cells, failures, data=bench.data, out=bench.out, name="try")
    assert "no system 'final'. There are: knn, trivial" in failures["other, seed 0"]


def test_reference_without_result_gives_no_table(bench):
    text = "{seeds: [0]}"
    sweep, cells = bench.read(text), bench.cells(text)
    place = {"data": bench.data, "out": bench.out, "name": "try"}
    assert save_results(sweep, cells, {cells[0].name: "error x"}, **place) is None


def test_scheduler_that_is_not_there(bench, monkeypatch):
    monkeypatch.setattr("asdlib.workbook.sweep.CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(InputError, match="--scheduler tcp://127.0.0.1:9: no scheduler answers"):
        run_cells(bench.cells("seeds: [0]"), scheduler="tcp://127.0.0.1:9")


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("Nanny failed to start worker")])
def test_workers_that_do_not_come_up(bench, monkeypatch, error):
    def fail(**options):
        raise error

    monkeypatch.setattr("asdlib.workbook.sweep.LocalCluster", fail)
    said = str(error) or "TimeoutError"
    expected = rf"--workers 3: the workers do not come up \({said}\). Try fewer; .* goes on from"
    with pytest.raises(InputError, match=expected):
        run_cells(bench.cells("seeds: [0]"), workers=3)


# -- the file ------------------------------------------------------------------------------------


def test_file_gives_variants_in_order(bench):
    sweep = bench.read(
        "{reference: {profile: smoke, epochs: 5, data: data, machines: [fan]}, system: trivial,"
        "seeds: [0, 1], variants: {a: {epochs: 2}, pairs: {seeds: [[0, 1], [2, 3]]}},"
        "grid: [{epochs: [7, 9], long_clips: [start, end]}, {system: [knn]}]}"
    )
    assert [variant.name for variant in sweep.variants] == [
        "reference", "a", "pairs", "epochs = 7, long_clips = start", "epochs = 7, long_clips = end",
        "epochs = 9, long_clips = start", "epochs = 9, long_clips = end", "system = knn",
    ]  # fmt: skip
    assert sweep.variants[3].group == "epochs × long_clips"
    assert sweep.variants[2].seeds == ((0, 1), (2, 3))
    assert [variant.system for variant in sweep.variants[-2:]] == ["trivial", "knn"]
    assert (sweep.profile, sweep.machines, sweep.parameters) == ("smoke", ["fan"], {"epochs": 5})
    assert sweep.data == bench.folder / "data"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{variants: {a: {epoch: 2}}}",
            r"a: epoch: no notebook has this .*Did you mean epochs\?",
        ),
        ("{reference: {epoch: 2}}", "reference: epoch: no notebook has this parameter"),
        ("{variants: {a: {epochs: many}}}", "a: epochs='many': expected a whole number"),
        ("{variant: {a: {epochs: 2}}}", "unknown variant. There are: reference, seeds"),
        ("{variants: {reference: {epochs: 2}}}", "called 'reference'.*name of the reference"),
        ("{variants: {a: {machines: [fan]}}}", "machines: is the same for all variants"),
        ("{variants: {a: {workers: 2}}}", "workers: is no parameter of a sweep.*OMP_NUM_THREADS"),
        ("{reference: {seeds: [2]}}", "seeds: is no parameter of a sweep; say seeds beside"),
        ("{variants: {a: {seeds: [0]}}, seeds: [0, 1]}", "a: has 1 seeds, the reference 2"),
        ("{seeds: [0, 0]}", "expected different whole numbers"),
        ("{seeds: [x]}", "expected different whole numbers"),
        ("{grid: {epochs: 3}}", "epochs = 3: expected a list of values"),
        ("{reference: {profile: huge}}", "no profile huge. There are: smoke, demo, full"),
        ("[1, 2]", "expected entries of the form"),
        ("{a: ", "is no YAML"),
    ],
)
def test_file_that_makes_no_sense_is_refused(bench, text, message):
    with pytest.raises(InputError, match=message):
        bench.read(text)


def test_missing_file(capsys, tmp_path):
    assert cli.main(["sweep", str(tmp_path / "no.yaml")]) == 2
    assert "no.yaml: cannot be read" in capsys.readouterr().err


def test_committed_sweeps_can_be_read():
    notebooks = list_notebooks()
    paths = sorted((ROOT / "sweeps").glob("*.yaml"))
    assert len(paths) >= 2
    for path in paths:
        assert len(read_sweep_file(path, notebooks).variants) > 1


# -- keys ----------------------------------------------------------------------------------------


def test_key_of_a_stage_holds_what_shaped_it(bench):
    (cell,) = bench.cells("seeds: [0]")
    keys = [stage.key for stage in cell.chain]

    def changed(text: str) -> list[bool]:
        return [old != new.key for old, new in zip(keys, bench.cells(text)[0].chain, strict=True)]

    assert changed("seeds: [0]") == [False, False, False]
    assert changed("{seeds: [0], reference: {neighbours: 2}}") == [False, False, True]
    assert changed("{seeds: [0], reference: {epochs: 9}}") == [False, True, True]
    assert changed("{seeds: [0], reference: {long_clips: end}}") == [True, True, True]
    assert changed("seeds: [1]") == [False, True, True]
    assert changed("{seeds: [0], reference: {machines: [fan]}}") == [True, True, True]
    path = bench.data / "fan/train/section_00_source_train_normal_0000_pro_A.wav"
    path.touch()
    assert changed("seeds: [0]") == [False, False, False]
    path.write_bytes(path.read_bytes()[:-2] + b"ab")
    assert changed("seeds: [0]") == [True, True, True]


def test_key_of_code_changes_with_code_alone(tmp_path):
    path = write_notebooks(tmp_path) / "04_score.ipynb"
    before = code_key(path)
    book = nbformat.read(path, as_version=4)
    book.cells[0].source = "## Another heading"
    book.cells[1].source += "more: int = 3  # a parameter"
    nbformat.write(book, path)
    assert code_key(path) == before
    book.cells[2].source += "\nscore = 0"
    nbformat.write(book, path)
    assert code_key(path) != before


def test_key_of_code_holds_the_package_but_for_what_only_draws(tmp_path, monkeypatch):
    path = write_notebooks(tmp_path) / "04_score.ipynb"
    package = tmp_path / "asdlib"
    for room, text in {"training": "k = 1", "report": "blue = 1"}.items():
        (package / room).mkdir(parents=True)
        (package / room / "one.py").write_text(text)
    monkeypatch.setattr("asdlib.workbook.stages.PROJECT_ROOT", tmp_path)
    before = code_key(path)
    (package / "report" / "one.py").write_text("blue = 2")
    assert code_key(path) == before
    (package / "training" / "one.py").write_text("k = 2")
    assert code_key(path) != before


def test_real_notebooks_have_keys_of_their_own(tmp_path):
    keys = {path: code_key(path) for path in NOTEBOOK_FOLDER.glob("*.ipynb")}
    assert len(set(keys.values())) == len(keys) >= 4
    books = [(book, "code") for book in list_notebooks()]
    chain = plan_chain(books, {"n_fft": 512}, data=tmp_path, data_key="data", root=tmp_path)
    assert chain[0].parameters["n_fft"] == 512
    assert "workers" not in chain[0].parameters
    assert [stage.before for stage in chain] == [None, *(stage.folder for stage in chain[:-1])]


# -- the whole -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_smoke_sweep_of_the_workbook(simulated_smoke, tmp_path):
    path = tmp_path / "smoke.yaml"
    path.write_text(
        "{reference: {profile: smoke, machines: [bearingSim], details: false}, seeds: [0],"
        "variants: {two neighbours: {neighbours: 2}, trivial: {system: trivial}}}"
    )
    arguments = ["sweep", str(path), "--data", str(simulated_smoke), "--out", str(tmp_path)]
    assert cli.main(arguments) == 0
    stages = tmp_path / "build" / "sweeps"
    counts = {folder.name[:2]: len(list(folder.iterdir())) for folder in stages.iterdir()}
    assert counts == {"01": 1, "02": 1, "03": 1, "04": 2}
    results = tmp_path / "results" / "smoke_simulated"
    assert "smoke_simulated: simulated machines" in (results / "sweep.md").read_text()
    scores = pd.read_csv(next(stages.glob("04*/*/results/*/scores.csv")))
    assert {"knn", "trivial"} <= set(scores["system"])
    assert not list(stages.rglob("bundles"))
    assert (tmp_path / "figures/smoke_simulated/simulated_sweep_machines.png").exists()


def test_recordings_are_known_by_their_content_not_by_their_time(tmp_path):
    make_tree(tmp_path, train_and_test("fan"))
    before = key_of_data(tmp_path, [])
    path = next(tmp_path.rglob("*.wav"))
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert key_of_data(tmp_path, []) != before
