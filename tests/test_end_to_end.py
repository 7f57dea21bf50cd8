"""The whole workbook on the smallest simulated corpus, as a user runs it."""

import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from asdlib.base import InputError
from asdlib.data.cache import VERSIONS
from asdlib.data.clips import new_clips
from asdlib.monitoring import load_bundle, read_log, save_bundle
from asdlib.scoring import evaluate, read_scores
from asdlib.training import load_embeddings
from asdlib.workbook import cli
from asdlib.workbook.check import FLAGGED, heard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
NAME = "simulated_test"
CONTRACT = {
    "scores.csv": "clip_id,machine_type,section,domain,split,is_anomaly,anomaly_score,"
    "is_decided_anomalous,system,seed",
    "metrics.csv": "system,seed,machine_type,metric,value,ci_low,ci_high,n_normal,n_anomaly,reason",
    "attributes.csv": "clip_id,attribute,method,confidence",
}


def command(data: Path, out: Path, *more: str) -> list[str]:
    where = ["--data", str(data), "--out", str(out), "--name", NAME, "--profile", "smoke"]
    return [*where, "--machines", "bearingSim,fanSim", *more]


@pytest.fixture(scope="module")
def out(simulated_smoke, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    assert cli.main(command(simulated_smoke, folder)) == 0
    return folder


@pytest.mark.parametrize("name", CONTRACT)
def test_tables_keep_the_contract(out, name):
    path = out / "results" / NAME / name
    assert path.read_text().splitlines()[0] == CONTRACT[name]


def test_every_clip_is_scored_by_every_system(out):
    scores = read_scores(out / "results" / NAME / "scores.csv")
    counts = scores.groupby("system")["clip_id"].nunique()
    systems = ("ae_mahalanobis", "ae_mse", "final", "knn", "trivial")
    assert counts.to_dict() == dict.fromkeys(systems, 2 * (15 + 16))
    # Of a training clip, a trained system says something only where it has not learnt from it.
    is_known = scores["anomaly_score"].notna()
    assert scores["is_decided_anomalous"].notna().equals(is_known)
    assert is_known[scores["split"].eq("test") | scores["system"].isin(["final", "trivial"])].all()
    assert scores[~is_known].groupby("system").size().to_dict() == dict.fromkeys(
        ("ae_mahalanobis", "ae_mse", "knn"), 2 * 12
    )


def test_metrics_follow_from_the_scores(out):
    scores = read_scores(out / "results" / NAME / "scores.csv")
    stored = pd.read_csv(out / "results" / NAME / "metrics.csv")
    again = evaluate(scores, n_bootstrap=100)
    assert stored["value"].to_numpy() == pytest.approx(again["value"].to_numpy(float), nan_ok=True)
    assert stored.loc[stored["machine_type"] == "all", "metric"].unique().tolist() == [
        "auc_source", "auc_target", "pauc", "official_score",
    ]  # fmt: skip


def test_every_result_has_provenance(out):
    tables = [p for p in (out / "results" / NAME).rglob("*") if p.suffix in (".csv", ".md")]
    figures = list((out / "figures" / NAME).glob("*.png"))
    assert tables
    assert figures
    sidecars = [path.with_name(path.name + ".json") for path in tables]
    sidecars += [path.with_suffix(".json") for path in figures]
    for path in sidecars:
        facts = json.loads(path.read_text())
        assert {"git", "notebook", "settings", "versions", "utc", "corpus", "sha256"} <= set(facts)
        assert facts["corpus"] == "simulated"
        assert facts["data_manifest"]


def test_simulated_figures_say_so(out):
    for path in (out / "figures" / NAME).iterdir():
        assert path.name.startswith("simulated_")


def test_submission_has_two_files_per_machine(out):
    names = {path.name for path in (out / "results" / NAME / "submission").glob("*.csv")}
    assert names == {
        f"{kind}_{machine}_section_00_test.csv"
        for kind in ("anomaly_score", "decision_result")
        for machine in ("bearingSim", "fanSim")
    }


def test_notebooks_are_executed_and_shown(out):
    folder = out / "build" / NAME / "notebooks"
    assert len(list(folder.glob("*.ipynb"))) == 6
    for page in folder.glob("*.html"):
        assert "Written to disk" in page.read_text()
    gallery = (out / "results" / NAME / "figures.html").read_text()
    for picture in (out / "figures" / NAME).glob("*.png"):
        assert picture.name in gallery


def check(out: Path, *words: str) -> int:
    return cli.main(["check", *words, "--name", NAME, "--out", str(out)])


def test_the_bundle_gives_the_verdicts_of_the_run_anywhere(
    out, simulated_smoke, tmp_path, capfd, monkeypatch
):
    scores = read_scores(out / "results" / NAME / "scores.csv")
    of_run = scores[(scores["system"] == "final") & (scores["split"] == "test")]
    of_run = of_run.set_index(of_run["clip_id"].str.rpartition("/")[2])
    of_run = of_run[of_run["machine_type"] == "bearingSim"]
    shutil.copytree(out / "bundles", tmp_path / "bundles")  # to another machine
    folder = next(simulated_smoke.rglob("bearingSim/test"))
    assert check(tmp_path, str(folder), "--json") in (0, FLAGGED)
    told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(told) == len(of_run)
    for verdict in told:
        row = of_run.loc[Path(verdict["recording"]).name]
        assert verdict["anomaly_score"] == pytest.approx(row["anomaly_score"], abs=1e-5)
        assert (verdict["verdict"] == "anomalous") == row["is_decided_anomalous"]
    reasons = pd.read_csv(out / "results" / NAME / "verdicts.csv").set_index("clip_id")["reason"]
    flagged = [verdict for verdict in told if verdict["verdict"] == "anomalous"]
    for verdict in flagged:
        clip_id = f"bearingSim/test/{Path(verdict['recording']).name}"
        assert verdict["reason"] == reasons[clip_id]
    assert flagged
    thresholds = pd.read_csv(out / "results" / NAME / "thresholds.csv").set_index("machine_type")
    of_final = thresholds.loc[thresholds["system"] == "final", "threshold"]
    kept = load_bundle(tmp_path / "bundles" / NAME)[0].thresholds.set_index("machine_type")
    assert kept["threshold"].to_dict() == pytest.approx(of_final.to_dict(), rel=1e-12)
    # A network that hears a clip again, nothing changed, hears the same.
    detector, _ = load_bundle(tmp_path / "bundles" / NAME)
    new = new_clips(sorted(folder.glob("*.wav"))[:1], ["bearingSim"])
    with heard(detector, new) as hearing:
        again = hearing.explainer.hear_shifted(new["clip_id"][0], np.zeros((2, 128)))
        assert again[1] == pytest.approx(hearing.described[0]["embedding"][0], abs=1e-5)
    log, damaged = read_log(tmp_path / "bundles" / NAME / "log.jsonl")
    assert (len(log), damaged) == (len(told), [])
    # A recording that cannot be used keeps no other from its verdict.
    mixed = tmp_path / "bearingSim"
    shutil.copytree(folder, mixed)
    (mixed / "damaged.wav").write_bytes(b"RIFF0000")
    assert check(tmp_path, str(mixed), "--json") == FLAGGED
    said = capfd.readouterr()
    assert len(said.out.splitlines()) == len(told)
    assert "damaged.wav: is not a wav file" in said.err
    normal = min(mixed.glob("*normal*"))
    for path in set(mixed.glob("section*")) - {normal}:
        path.unlink()
    assert check(tmp_path, str(mixed)) in (2, FLAGGED)
    assert normal.name in capfd.readouterr().out
    # A machine that no folder names is asked for, or named.
    monkeypatch.chdir(folder)
    one = next(folder.glob("*.wav"))
    copy = shutil.copy(one, tmp_path / "Lager 3 2026-05-02.wav")
    assert check(tmp_path, str(copy)) == 2
    assert "--machine" in capfd.readouterr().err
    assert check(tmp_path, str(copy), "--machine", "bearingSim") in (0, FLAGGED)
    assert "Lager 3 2026-05-02.wav" in capfd.readouterr().out


def test_what_was_learnt_is_a_version_that_one_can_leave(out, simulated_smoke, tmp_path, capfd):
    shutil.copytree(out / "bundles", tmp_path / "bundles")
    bundle = tmp_path / "bundles" / NAME
    place = tmp_path / "fanSim"
    place.mkdir()
    for number, path in enumerate(sorted(simulated_smoke.rglob("fanSim/test/*_normal_*.wav"))):
        shutil.copy(path, place / f"day {number}.wav")
    learn = ["learn", str(place), "--name", NAME, "--out", str(tmp_path)]
    (tmp_path / "empty").mkdir()
    assert cli.main(["learn", str(tmp_path / "empty"), *learn[2:]]) not in (0, FLAGGED)
    assert "empty: holds no recording. Expected wav" in capfd.readouterr().err
    detector, _ = load_bundle(bundle)
    assert cli.main(learn) == 0
    learnt, facts = load_bundle(bundle)
    n_new = number + 1
    assert facts["version"] == "v002"
    assert len(learnt.clips) == len(detector.clips) + n_new
    assert cli.main(learn) == 0  # the same recordings once more
    assert f"{n_new} of {n_new} recordings were learnt before" in capfd.readouterr().err
    assert load_bundle(bundle)[1]["version"] == "v002"
    assert not learnt.thresholds.equals(detector.thresholds)  # calibrated anew
    assert save_bundle(detector, bundle, made_from={}).name == "v001"  # the run once more
    assert load_bundle(bundle)[1]["version"] == "v002"
    assert check(tmp_path, str(place)) in (0, FLAGGED)  # what was learnt can be checked
    shutil.copy(place / "day 0.wav", place / "day 1.wav")  # another recording of the same name
    os.utime(place / "day 1.wav")
    with (place / "day 1.wav").open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x07\x00")
    assert cli.main(learn) == 0
    assert load_bundle(bundle)[1]["version"] == "v003"
    assert cli.main([*learn[:1], *learn[2:], "--use", "v001"]) == 0
    assert len(load_bundle(bundle)[0].clips) == len(detector.clips)


def test_what_a_killed_process_left_of_a_bundle_goes(out, tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(out / "bundles" / NAME, bundle)
    detector, _ = load_bundle(bundle)
    (bundle / ".partial").mkdir()
    (bundle / ".partial" / "clips.csv").write_text("half")
    (bundle / "current").unlink()
    assert save_bundle(detector, bundle, made_from={}).name == "v001"
    assert load_bundle(bundle)[1]["version"] == "v001"
    (bundle / ".partial").mkdir()
    fewer = dataclasses.replace(detector, settings={**detector.settings, "note": 1})
    assert save_bundle(fewer, bundle, made_from={}).name == "v002"
    assert not (bundle / ".partial").exists()
    assert (bundle / "current").read_text() == "v002\n"


def test_a_damaged_bundle_is_refused(out, tmp_path):
    bundle = tmp_path / "bundle"
    names = ("bank.npz", "network.pt", "clips.csv", "autoencoder_fanSim.npz", "thresholds.csv")
    for name in names:
        shutil.copytree(out / "bundles" / NAME, bundle)
        path = bundle / "v001" / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: is not what was written"):
            load_bundle(bundle)
        shutil.rmtree(bundle)
    with pytest.raises(InputError, match="there is no bundle"):
        load_bundle(bundle)


def test_a_bundle_is_held_to_the_computations_behind_its_scores(out, tmp_path, monkeypatch):
    shutil.copytree(out / "bundles" / NAME, tmp_path / "bundle")
    monkeypatch.setitem(VERSIONS, "reasons", 99)
    load_bundle(tmp_path / "bundle")
    monkeypatch.setitem(VERSIONS, "profile_lines", 99)
    with pytest.raises(InputError, match="another version of profile_lines"):
        load_bundle(tmp_path / "bundle")


def test_a_run_of_two_seeds_and_few_details_leaves_the_first_seeds_detector(
    out, simulated_smoke, tmp_path
):
    shutil.copytree(out / "build", tmp_path / "build", symlinks=True)
    shutil.copytree(out / "results", tmp_path / "results")
    few = ["--seeds", "1,0", "--set", "details=false", "--set", "sensitivity_clips=0"]
    for number in ("03", "04", "06"):
        assert cli.main(command(simulated_smoke, tmp_path, "--only", number, *few)) == 0
    detector, _ = load_bundle(tmp_path / "bundles" / NAME)
    bank = detector.clips["clip_id"].tolist()
    embeddings = load_embeddings(tmp_path / "build" / NAME / "seed_1" / "embeddings.npz")
    places = pd.Index(embeddings.clip_ids).get_indexer(pd.Index(bank))
    assert (detector.rows["embedding"] == embeddings.embedding[places]).all()
    book = (tmp_path / "build" / NAME / "notebooks" / "06_monitoring.ipynb").read_text()
    told = re.search(r"largest difference of the final score: ([\d.e-]+)", book)
    assert float(told[1]) < 1e-4


def test_second_run_trains_nothing_again(out, simulated_smoke, capfd):
    checkpoint = next((out / "build" / "cache").rglob("checkpoint.pt"))
    embeddings = next((out / "build" / NAME).rglob("embeddings.npz"))
    before = checkpoint.stat().st_mtime_ns, embeddings.stat().st_mtime_ns
    assert cli.main(command(simulated_smoke, out, "--only", "03")) == 0
    assert (checkpoint.stat().st_mtime_ns, embeddings.stat().st_mtime_ns) == before


def test_one_more_test_clip_trains_nothing(out, simulated_smoke, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(simulated_smoke, data)
    test = next(data.rglob("fanSim/test"))
    new = test / "section_00_0099.wav"  # of unknown condition
    shutil.copy(min(test.glob("*anomaly*")), new)
    trained = [*(out / "build" / "cache").rglob("checkpoint.pt")]
    trained += (out / "build" / "cache" / "residuals").glob("*.npz")
    before = {path: path.stat().st_mtime_ns for path in trained}
    assert len(before) > 2
    for folder in (data, simulated_smoke):
        assert all(cli.main(command(folder, out, "--only", number)) == 0 for number in ("01", "03"))
        embeddings = load_embeddings(out / "build" / NAME / "seed_0" / "embeddings.npz")
        assert ("fanSim/test/section_00_0099.wav" in embeddings.clip_ids) == (folder == data)
    after = [*(out / "build" / "cache").rglob("checkpoint.pt")]
    after += (out / "build" / "cache" / "residuals").glob("*.npz")
    assert {path: path.stat().st_mtime_ns for path in after} == before


def test_attributes_edited_by_hand_are_used_and_said(out, simulated_smoke):
    path = out / "results" / NAME / "attributes.csv"
    written = path.read_text()
    table = pd.read_csv(path)
    table.loc[table["clip_id"].str.startswith("bearingSim"), "attribute"] = "mine"
    table.to_csv(path, index=False)
    try:
        assert cli.main(command(simulated_smoke, out, "--only", "03")) == 0
        facts = json.loads((out / "results" / NAME / "classes.csv.json").read_text())
        assert facts["attributes_edited_by_hand"] is True
        classes = pd.read_csv(out / "results" / NAME / "classes.csv")["class_name"]
        assert "bearingSim|00|source|mine" in classes.tolist()
    finally:
        path.write_text(written)
        # Other tests compare with the embeddings of the attributes as they were.
        assert cli.main(command(simulated_smoke, out, "--only", "03")) == 0


def test_missing_stage_names_the_notebook(simulated_smoke, tmp_path, capfd):
    assert cli.main(command(simulated_smoke, tmp_path, "--only", "04")) == 1
    lines = capfd.readouterr().err.strip().splitlines()[-3:]
    assert lines[0].startswith("notebook")
    assert "04_knn_scoring" in lines[0]
    assert lines[1].startswith("cell")
    assert "01_spectrum_exploration" in lines[2]


def test_interrupt_ends_cleanly_and_the_next_run_goes_on(simulated_smoke, tmp_path):
    arguments = command(simulated_smoke, tmp_path, "--only", "01", "--machines", "bearingSim")
    process = subprocess.Popen(
        [sys.executable, "-m", "asdlib.workbook.cli", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # A test run started in the background hands down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    stage = tmp_path / "build" / NAME / "clips.csv"
    deadline = time.monotonic() + 120
    while not stage.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "goes on from there" in errors
    assert cli.main(arguments) == 0


def test_killed_at_random_points_of_a_run_it_ends_in_the_same_results(
    out, simulated_smoke, tmp_path
):
    """A point is a number of files that are there; it goes on from the notebook that was killed."""
    shutil.copytree(out / "build" / "cache", tmp_path / "build" / "cache", symlinks=True)
    shutil.rmtree(tmp_path / "build" / "cache" / "frames")
    n_before, n_files = len(files(tmp_path)), len(files(*made_by_a_run(out)))
    call = command(simulated_smoke, tmp_path)
    points = [(n_before + random.randrange(n_files), random.random()) for _ in range(2)]
    for n_there, wait_s in points:
        process = psutil.Popen([sys.executable, "-m", "asdlib.workbook.cli", *call], cwd=ROOT,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        while len(files(tmp_path)) < n_there and process.poll() is None:
            time.sleep(0.02)
        time.sleep(wait_s)
        with contextlib.suppress(psutil.NoSuchProcess):  # it may have ended before
            for part in [*process.children(recursive=True), process]:
                part.kill()  # the kernel, too, which is in a session of its own
        process.wait()
        reached = (tmp_path / "build" / NAME / "notebooks").glob("*.ipynb")
        first = max((path.name[:2] for path in reached), default="01")
        call = command(simulated_smoke, tmp_path, "--from", first)
    assert cli.main(call) == 0, f"after kills at {points} of {n_files} files"
    # What the training's speed stands in differs from run to run.
    same = [path for path in files(*made_by_a_run(tmp_path))
            if path.suffix in (".csv", ".npz") and path.name != "training.csv"]  # fmt: skip
    assert len(same) > 25
    for path in same:
        before = out / path.relative_to(tmp_path)
        assert path.read_bytes() == before.read_bytes(), f"{path} after kills at {points}"


def made_by_a_run(folder: Path) -> list[Path]:
    return [folder / place / NAME for place in ("build", "results", "figures", "bundles")]


def files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]
