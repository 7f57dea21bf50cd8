"""Figures of notebook 02 say what they show, from one clip to a thousand."""

import numpy as np
import pandas as pd
import pytest

from asdlib.annotation import inspect_sound, score_agreement
from asdlib.report import annotation_figures as figures
from asdlib.report import clip_figures


def test_the_cluster_evidence_names_the_number():
    criterion = pd.DataFrame(
        {
            "n_clusters": [2, 3, 4],
            "silhouette": [0.3, 0.7, 0.5],
            "reference": 0.2,
            "reference_std": 0.01,
            "stability": [1.0, 1.0, np.nan],
            "is_accepted": [True, True, False],
        }
    )
    drawn = figures.draw_cluster_evidence(criterion, machine_type="fan")
    assert drawn.axes[0].get_title() == "fan: 3 clusters"
    none = criterion.assign(is_accepted=False)
    drawn = figures.draw_cluster_evidence(none, machine_type="fan")
    assert "no number" in drawn.axes[0].get_title()


@pytest.mark.parametrize("count", [1, 1000])
def test_the_map_takes_one_clip_or_a_thousand(rng, count):
    labels = [f"cluster_{i % 30}" for i in range(count)]
    domains = ["source", "target"] * count
    drawn = figures.draw_clip_map(
        rng.standard_normal((count, 2)),
        {"Artificial": labels, "True": labels},
        machine_type="fan",
        domains=domains[:count],
    )
    assert [ax.get_title() for ax in drawn.axes] == ["Artificial", "True"]


def test_the_contingency_counts_clips():
    table = pd.crosstab(pd.Series(list("aabb")), pd.Series(list("xxyy")))
    drawn = figures.draw_contingency(table, machine_type="fan", nmi=1.0)
    assert drawn.axes[0].get_title() == "fan: 2 artificial classes, NMI 1.00"
    assert [t.get_text() for t in drawn.axes[0].texts] == ["2", "0", "0", "2"]


@pytest.mark.parametrize("rate_hz", [20.0, 0.0])
def test_the_inspection_says_what_was_found(rng, rate_hz):
    t = np.arange(16000) / 8000
    y = (1 + np.cos(2 * np.pi * rate_hz * t)) * rng.standard_normal(16000)
    drawn = clip_figures.draw_inspection(inspect_sound(y, sr=8000), title="clip")
    spectrum = next(ax for ax in drawn.axes if "Evidence" in ax.get_ylabel())
    if rate_hz:
        assert drawn.get_suptitle() == "clip\nenvelope: 19.99 Hz, tones: none, cycle: none"
        said = [text.get_text() for text in spectrum.get_legend().get_texts()]
        assert said[2] == "threshold of a family"
        assert float(said[3].split(" Hz")[0]) == pytest.approx(rate_hz, abs=0.1)
        assert drawn.axes[1].get_title().startswith("8 periods of")
    else:
        assert drawn.get_suptitle() == "clip\nenvelope: none, tones: none, cycle: none"
        assert len(spectrum.get_legend().get_texts()) == 3
    assert drawn.axes[0].get_title().startswith("for orientation")
    assert drawn.axes[0].get_ylabel() == "Bandwidth [Hz]"


def test_the_inspection_shows_tones_and_cycle(rng):
    t = np.arange(5 * 8000) / 8000
    noise = (0.1 + (t % 0.5 < 0.2)) * rng.standard_normal(len(t))
    y = np.sin(2 * np.pi * 431.0 * t) + 0.1 * noise
    drawn = clip_figures.draw_inspection(inspect_sound(y, sr=8000), title="clip")
    axes = {ax.get_title(): ax for ax in drawn.axes}
    tones = axes["plain spectrum: tones"].get_legend().get_texts()
    assert [text.get_text() for text in tones] == ["median line", "highest line", "431.0 Hz"]
    drawn = clip_figures.draw_inspection(inspect_sound(noise, sr=8000), title="clip")
    axes = {ax.get_title(): ax for ax in drawn.axes}
    cycle = axes["level: does it repeat?"].get_legend().get_texts()
    assert [text.get_text() for text in cycle] == ["cycle of 0.5 s"]
    assert drawn.get_suptitle().endswith("cycle: 1.999 Hz")


def test_class_spectra_are_drawn_class_by_class(rng):
    index = pd.MultiIndex.from_tuples([("f_9Hz", 12), ("f_13Hz", 3)])
    averages = pd.DataFrame(rng.standard_normal((2, 16)), index=index)
    drawn = figures.draw_class_spectra(averages, np.geomspace(200, 8000, 16), machine_type="fan")
    shown = [tick.get_text() for tick in drawn.axes[0].get_yticklabels()]
    assert shown == ["f_9Hz (12 clips)", "f_13Hz (3 clips)"]


def test_the_track_says_how_many_clips_have_a_level():
    ax = figures.draw_frequency_track(
        np.array([8.0, 8.1, np.nan, 12.0]), np.array([8.0, 12.0]), ["source"] * 4,
        machine_type="fan",
    )  # fmt: skip
    assert ax.get_title() == "fan: 2 levels hold 75 % of the clips"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["source", "in none"]
    ax = figures.draw_frequency_track(
        np.array([np.nan]), np.zeros(0), ["target"], machine_type="fan"
    )
    assert "no line stands out" in ax.get_title()


def test_names_of_neighbouring_levels_do_not_lie_over_each_other():
    levels_hz = np.array([100.0, 2953.4, 2961.2, 5000.0])
    ax = figures.draw_frequency_track(levels_hz, levels_hz, ["source"] * 4, machine_type="fan")
    shown = [tick.get_text() for tick in ax.get_yticklabels()]
    assert shown == ["100", "2950", "", "5000"]


def test_tables_show_every_measure_with_its_interval():
    ids = [f"m/train/{i}.wav" for i in range(20)]
    truth = pd.DataFrame({"clip_id": ids, "attribute": ["a", "b"] * 10})
    clips = pd.DataFrame({"clip_id": ids, "machine_type": "m", "domain": "source"})
    scores = score_agreement(truth, truth, clips, n_halves=10)
    table = figures.tabulate_agreement(scores)
    assert table.loc[("m", "all"), "NMI"] == "1.00 [1.00, 1.00]"
    assert list(table)[3:] == ["NMI", "ARI", "V-measure", "purity"]
    both = pd.concat([scores.assign(labelling="z"), scores.assign(labelling="a")])
    compared = figures.tabulate_agreement(both[both["metric"] == "ari"], by="labelling")
    assert list(compared) == ["z", "a"]
    few = figures.tabulate_agreement(score_agreement(truth, truth.head(3), clips))
    assert few.loc[("m", "all"), "NMI"] == "1.00"
    single = figures.tabulate_agreement(score_agreement(truth, truth.head(1), clips))
    assert single.loc[("m", "all"), "NMI"] == "—"
    nothing = score_agreement(truth, truth.head(0), clips)
    assert figures.tabulate_agreement(nothing).empty
    assert figures.tabulate_agreement(nothing.assign(labelling="z"), by="labelling").empty
