"""An evaluation set from nothing to its table, as a user calls it, on a local stand-in.

The first run finds no released truth, so that everything up to the scores is made without it.
"""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from challenge_server import EVAL_TRUTH, TINY, fill, serve

from asdlib.challenge import catalogue
from asdlib.scoring import read_scores
from asdlib.workbook import cli

pytestmark = pytest.mark.slow

RUN = "dcase2025_eval"


class Workbook:
    def __init__(self, out: Path, server):
        self.out = out
        self.server = server
        self.results = out / "results" / RUN

    def run(self, *more):
        call = ["--dataset", "dcase2025", "--subset", "eval", "--out", str(self.out)]
        call += ["--data-dir", str(self.out / "data"), "--profile", "smoke"]
        assert cli.main([*call, "--set", "duration_s=1", *more]) == 0

    def state(self):
        """What was made before the truth is joined."""
        scores = read_scores(self.results / "scores.csv")
        paths = [self.results / "attributes.csv", self.results / "thresholds.csv"]
        paths += sorted((self.out / "build").rglob("checkpoint.pt"))
        paths += sorted((self.out / "build").rglob("embeddings.npz"))
        paths += sorted((self.results / "submission").glob("*.csv"))
        columns = ["clip_id", "anomaly_score", "is_decided_anomalous", "system"]
        return scores[columns], {path: path.read_bytes() for path in paths}

    def trivial_auc(self):
        metrics = pd.read_csv(self.results / "metrics.csv")
        chosen = metrics.query("system == 'trivial' and metric == 'auc_target'")
        return chosen["value"].iloc[0]

    def give_truth(self, lines):
        self.server.put_list("eval_data_list_2025.csv", "ToyPet\n" + "\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A run made while the released lists cannot be had."""
    with serve() as server, pytest.MonkeyPatch.context() as patch:
        fill(server, n_samples=16000)
        for path in [path for path in server.files if "datasets" in path]:
            del server.files[path]
        patch.setenv("ASDLIB_ZENODO_URL", server.url)
        patch.setenv("ASDLIB_GITHUB_URL", server.url)
        patch.setitem(catalogue.EDITIONS, "dcase2025", TINY)
        book = Workbook(tmp_path_factory.mktemp("out"), server)
        for number in ("01", "02", "03", "04"):
            book.run("--only", number)
        yield book


def test_the_evaluation_set_from_nothing_to_its_table(blind):
    clips = pd.read_csv(blind.out / "build" / RUN / "clips.csv")
    test = clips[clips["split"] == "test"]
    assert set(test["machine_type"]) == {"ToyPet"}  # development machines train along
    assert set(clips["machine_type"]) == {"ToyPet", "fan", "valve"}
    assert test[["domain", "is_anomaly"]].isna().all(axis=None)
    metrics = pd.read_csv(blind.results / "metrics.csv")
    assert set(metrics["machine_type"]) == {"ToyPet", "all"}
    assert metrics["value"].isna().all()
    assert metrics["reason"].str.contains("condition of the test clips unknown").any()


def test_the_submission_has_the_format_of_the_organisers(blind):
    folder = blind.results / "submission"
    names = sorted(path.name for path in folder.glob("*.csv"))
    assert names == [f"{kind}_ToyPet_section_00_test.csv"
                     for kind in ("anomaly_score", "decision_result")]  # fmt: skip
    for name in names:
        rows = [line.split(",") for line in (folder / name).read_text().splitlines()]
        assert [row[0] for row in rows] == [published for published, _ in EVAL_TRUTH]
    assert {row[1] for row in rows} <= {"0", "1"}


def test_the_truth_changes_the_metrics_and_nothing_else(blind):
    scores, files = blind.state()
    blind.give_truth([f"{published},{true}" for published, true in EVAL_TRUTH])
    blind.run("--only", "04")
    pd.testing.assert_frame_equal(blind.state()[0], scores)
    assert blind.state()[1] == files
    first = blind.trivial_auc()
    table = (blind.results / "table.md").read_text()
    assert "baseline MSE" in table
    assert "difference to the published figures" in table
    assert "Data: dcase2025, eval; along for training: fan, valve." in table

    # The opposite truth: the same scores, the opposite areas.
    other = {"anomaly": "normal", "normal": "anomaly"}
    lines = []
    for published, true in EVAL_TRUTH:
        words = [other.get(word, word) for word in true.split("_")]
        lines.append(f"{published},{'_'.join(words)}")
    root = blind.out / "data" / "dcase2025t2"
    shutil.rmtree(root / "truth")
    lock = root / "challenge.lock.json"
    lock.write_text(lock.read_text().replace('"sha256"', '"was"'))
    blind.give_truth(lines)
    blind.run("--only", "04")
    pd.testing.assert_frame_equal(blind.state()[0], scores)
    assert blind.state()[1] == files
    assert blind.trivial_auc() != first
