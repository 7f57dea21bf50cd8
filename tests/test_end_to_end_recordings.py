"""Recordings that were not simulated, from their folder to the table."""

import numpy as np
import pandas as pd
import pytest
from corpus import make_tree, write_wav

from asdlib.scoring import read_scores
from asdlib.workbook import cli

pytestmark = pytest.mark.slow


def run_to_scores(arguments: list[str]) -> None:
    """Execute the notebooks up to the scores, and not what finished sweeps have found."""
    for number in ("01", "02", "03", "04"):
        assert cli.main([*arguments, "--only", number]) == 0


def test_real_recordings_run_to_their_table(realdata, tmp_path):
    arguments = ["--data", str(realdata / "dcase"), "--out", str(tmp_path), "--name", "real"]
    machines = ["--machines", "desktopfan,fan", "--profile", "smoke"]
    run_to_scores([*arguments, *machines, "--set", "duration_s=10"])
    metrics = pd.read_csv(tmp_path / "results" / "real" / "metrics.csv")
    empty = metrics[metrics["value"].isna()]
    assert set(empty["machine_type"]) == {"fan"}
    assert empty["reason"].str.contains("no normal test clips in the target domain").any()
    assert not list((tmp_path / "figures").rglob("simulated_*"))


def test_a_folder_of_ones_own_with_odd_recordings(tmp_path, rng):
    bare = "section_00_source_train_normal_{:04d}_noAttribute.wav"
    names = [f"press/train/{bare.format(i)}" for i in range(6)]
    names += [f"solo/train/{bare.format(0)}"]
    names += [f"{machine}/test/section_00_{i:04d}.wav" for machine in ("press", "solo")
              for i in range(2)]  # fmt: skip
    data = make_tree(tmp_path / "own", names, n_samples=16000)
    write_wav(data / names[0], np.zeros(16000, np.int16))
    write_wav(data / names[1], (40000 * rng.standard_normal(16000)).clip(-32768, 32767))
    run_to_scores(["--data", str(data), "--out", str(tmp_path), "--profile", "smoke"])
    scores = read_scores(tmp_path / "results" / "own" / "scores.csv")
    test = scores[(scores["system"] == "knn") & (scores["split"] == "test")]
    assert len(test) == 4
    assert test["anomaly_score"].notna().all()
    lonely = scores[(scores["machine_type"] == "solo") & (scores["split"] == "train")]
    has_score = lonely.set_index("system")["anomaly_score"].notna()
    # A neighbour needs a second clip; a reconstruction does not.
    assert has_score.to_dict() == {
        "trivial": False, "knn": False, "ae_mse": True, "ae_mahalanobis": True, "final": False,
    }  # fmt: skip
    metrics = pd.read_csv(tmp_path / "results" / "own" / "metrics.csv")
    assert metrics["value"].isna().all()
    assert metrics["reason"].str.len().min() > 0
    shown = (tmp_path / "build" / "own" / "notebooks" / "01_spectrum_exploration.html").read_text()
    assert "2 of 11 recordings have a defect" in shown
    table = (tmp_path / "results" / "own" / "table.md").read_text()
    assert table.startswith("# own: recorded machines\n\n## Verdicts\n\n| machine")
    assert "AUC" not in table
    verdicts = pd.read_csv(tmp_path / "results" / "own" / "verdicts.csv")
    assert verdicts["clip_id"].nunique() == 4
