import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from asdlib.report import scoring_figures as figures
from asdlib.report.scoring_figures import draw_result_summary
from asdlib.report.tables import result_table
from asdlib.scoring import decide, evaluate, roc_curves

mpl.use("agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    mpl.pyplot.close("all")


def make_scores(rng, machines, *, n_clips=6, labelled=True):
    rows = [
        (
            f"{machine}/{split}/{domain}{anomaly}{i}",
            machine,
            "00",
            domain,
            split,
            anomaly if labelled or split == "train" else pd.NA,
            rng.gamma(2.0) + 2 * anomaly,
            pd.NA,
            "knn",
            0,
        )
        for machine in machines
        for split in ("train", "test")
        for domain in ("source", "target")
        for anomaly in ((False,) if split == "train" else (False, True))
        for i in range(n_clips)
    ]
    columns = [
        "clip_id",
        "machine_type",
        "section",
        "domain",
        "split",
        "is_anomaly",
        "anomaly_score",
        "is_decided_anomalous",
        "system",
        "seed",
    ]
    return pd.DataFrame(rows, columns=columns)


@pytest.mark.parametrize("n_machines", [1, 5, 15])
def test_every_machine_has_its_panel(rng, n_machines):
    machines = [f"machine{i}" for i in range(n_machines)]
    scores, thresholds = decide(make_scores(rng, machines))
    roc = figures.draw_roc_curves(roc_curves(scores))
    histograms = figures.draw_score_histograms(scores, thresholds=thresholds)
    for figure in (roc, histograms):
        titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
        assert titles == sorted(machines)
        assert figure.get_figwidth() in (3.5, 7.0)
        figure.canvas.draw()
    assert "of its anomalies" in roc.get_suptitle().replace("\n", " ")
    assert "Above the threshold:" in histograms.get_suptitle()
    summary = draw_result_summary(result_table(evaluate(scores, n_bootstrap=20)))
    labels = [text.get_text() for text in summary.axes[0].get_yticklabels()]
    assert labels == [*sorted(machines), "all"]
    assert summary.get_suptitle().startswith("Official score: knn 0.")
    summary.canvas.draw()


def test_every_score_of_a_histogram_lies_in_one_of_its_bins(rng):
    positive = make_scores(rng, ["fan"], n_clips=1)
    for scores in (positive, positive.assign(anomaly_score=positive["anomaly_score"] - 10)):
        ax = figures.draw_score_histograms(scores).axes[0]
        filled = [patch for patch in ax.patches if patch.get_fill()]
        # Training clips, and the four styles of test clips: each has its one clip in one bin.
        tops = [max(patch.get_data()[0]) for patch in filled]
        assert tops == pytest.approx([0.9, 1.9, 2.9, 3.9, 4.9])
        assert ax.get_xscale() == ("log" if scores is positive else "linear")


@pytest.mark.parametrize("n_clips", [1, 60])
def test_unlabelled_clips_and_negative_scores_are_drawn(rng, n_clips):
    scores = make_scores(rng, ["fan"], n_clips=n_clips, labelled=False)
    scores["anomaly_score"] -= 10
    scores.loc[scores["domain"] == "target", "domain"] = pd.NA
    figure = figures.draw_score_histograms(scores)
    labels = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"source, unknown", "unknown, unknown"} <= labels
    figure.canvas.draw()
    title = figures.draw_roc_curves(roc_curves(scores)).get_suptitle()
    assert "no curve" in title.replace("\n", " ")
    summary = draw_result_summary(result_table(evaluate(scores, n_bootstrap=2)))
    assert summary.get_suptitle() == "No official score"
    summary.canvas.draw()


def test_maps_tell_domain_and_condition(rng):
    clips = make_scores(rng, ["fan", "pump"])
    of_fan = int(clips["machine_type"].eq("fan").sum())
    maps = {"fan": rng.normal(size=(of_fan, 2)), "pump": rng.normal(size=(len(clips) - of_fan, 2))}
    figure = figures.draw_embedding_maps(maps, clips, title="two machines")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "source, normal",
        "source, anomalous",
        "target, normal",
        "target, anomalous",
        "training (pale)",
    ]
    drawn = sum(len(points.get_offsets()) for ax in figure.axes for points in ax.collections)
    assert drawn == len(clips)
    one = figures.draw_embedding_maps({"fan": np.zeros((1, 2))}, clips.iloc[:1], title="one clip")
    one.canvas.draw()
