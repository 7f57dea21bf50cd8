"""Recordings that were not simulated, from their folder to the table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from corpus import make_tree, write_wav
from scipy.signal import resample_poly

from asdlib.scoring import read_scores
from asdlib.workbook import cli
from asdlib.workbook.check import FLAGGED

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


def test_a_folder_as_it_lies_runs_to_its_scores_without_labels(tmp_path, rng):
    """Any names, a long recording, stereo beside mono, silence, clipping; nothing is known."""
    data = tmp_path / "Presse und mehr"
    for name in ("Presse 3", "solo"):
        for day in range(3):
            samples = (2000 * rng.standard_normal(16000)).astype(np.int16)
            write_wav(data / name / f"normal/2026-05-0{day + 1}/07_15 (gut) $1$.wav", samples)
    write_wav(data / "solo/normal/2026-05-01/07_15 (gut) $1$.wav", np.zeros(16000, np.int16))
    loud = (40000 * rng.standard_normal((48000 * 25, 2))).clip(-32768, 32767)
    write_wav(data / "Presse 3/normal/=loud.wav", loud.astype(np.int16), sample_rate=48000)
    make_tree(data, [f"Presse 3/check/neu <b>|[{i}].wav" for i in range(2)], n_samples=16000)
    (data / "Presse 3/check/Bericht.pdf").write_bytes(b"%PDF")
    arguments = ["--data", str(data), "--out", str(tmp_path), "--profile", "smoke"]
    run_to_scores([*arguments, "--set", "resample=true", "--set", "channel=mean"])
    results = tmp_path / "results" / "Presse_und_mehr"
    scores = read_scores(results / "scores.csv")
    final = scores[scores["system"] == "final"].set_index("clip_id")
    assert sorted(final.index) == [
        "Presse 3/test/neu <b>|[0].wav", "Presse 3/test/neu <b>|[1].wav",
        *(f"Presse 3/train/2026-05-0{day}_07_15 (gut) $1$.wav" for day in (1, 2, 3)),
        "Presse 3/train/_=loud@00000.0s.wav", "Presse 3/train/_=loud@00012.5s.wav",
        *(f"solo/train/2026-05-0{day}_07_15 (gut) $1$.wav" for day in (1, 2, 3)),
    ]  # fmt: skip
    assert final["anomaly_score"].notna().all()
    metrics = pd.read_csv(results / "metrics.csv")
    assert metrics["value"].isna().all()
    assert metrics["reason"].str.len().min() > 0
    pages = tmp_path / "build" / "Presse_und_mehr" / "notebooks"
    shown = (pages / "01_spectrum_exploration.html").read_text()
    assert "1 of 10 recordings have a defect" in shown
    assert "<b>|" not in shown
    table = (results / "table.md").read_text()
    assert table.startswith("# Presse_und_mehr: recorded machines\n\n## Verdicts\n\n| machine")
    assert "AUC" not in table
    verdicts = pd.read_csv(results / "verdicts.csv")
    assert verdicts["clip_id"].nunique() == 2


def test_from_a_folder_as_it_is_to_a_verdict_tomorrow(simulated_smoke, tmp_path, rng, capfd):
    """The folder as it is; learnt; verdicts with reasons; one file tomorrow; a page to mail."""
    clips = sorted(simulated_smoke.rglob("fanSim/train/*.wav"))
    data, machine = tmp_path / "Messungen", "Lüfter 7"

    def put(place: Path, source: Path) -> None:
        """Keep a clip as a field recorder does: 48 kHz, stereo, 24 bit, as flac."""
        samples = resample_poly(soundfile.read(source)[0], 3, 1)
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, np.stack([samples, samples], 1).clip(-1, 1), 48000, "PCM_24")

    for day, source in enumerate(clips[:-3], start=1):
        put(data / machine / f"normal/2026-04-{day:02d}/{machine} 07_15.flac", source)
    put(data / machine / "check/2026-05-01 07_15 ruhig.flac", clips[-3])
    noise = data / machine / "check/2026-05-02 07_15 [laut].wav"
    soundfile.write(noise, 0.5 * rng.uniform(-1, 1, 44100 * 6), 44100, "FLOAT")
    (data / "Bericht.pdf").write_bytes(b"%PDF")
    where = ["--name", "halle", "--out", str(tmp_path)]
    run = ["--data", str(data), "--profile", "smoke", *where, "--set", "sensitivity_clips=0"]
    assert cli.main(run) == 2  # says all that is wrong, and how to go on
    said = capfd.readouterr().err
    assert "--set resample=true" in said
    assert "--set channel=mean" in said
    assert "Bericht.pdf" in said
    assert cli.main([*run, "--set", "resample=true", "--set", "channel=mean"]) == 0
    shown = capfd.readouterr().out
    verdicts = pd.read_csv(tmp_path / "results/halle/verdicts.csv")
    loud = verdicts.set_index("recording").loc[f"{machine}/check/2026-05-02 07_15 [laut].wav"]
    assert (loud["verdict"], loud["recorded_at"]) == ("anomalous", "2026-05-02T07:15:00")
    assert loud["heard"] == "spectrum"
    assert "dB louder" in loud["reason"]
    assert "laut" in shown
    page = (tmp_path / "results/halle/report.html").read_text(encoding="utf-8")
    assert page.count("<audio") >= 2
    assert "2026-05-02 07_15" in page
    assert len(page) < 10_000_000
    tomorrow = tmp_path / "2026-05-03 07_15.wav"
    soundfile.write(tomorrow, 0.5 * rng.uniform(-1, 1, 44100 * 6), 44100, "FLOAT")
    assert cli.main(["check", str(tomorrow), *where]) == FLAGGED
    told = capfd.readouterr().out
    assert "2026-05-03 07_15.wav" in told
    assert "louder" in told or "dB" in told
    put(tmp_path / "mehr/2026-05-04.flac", clips[-2])
    put(tmp_path / "mehr/2026-05-05.flac", clips[-1])
    assert cli.main(["learn", str(tmp_path / "mehr"), *where]) == 0
    assert "v002: 2 recordings learnt" in capfd.readouterr().err
