"""Figures of notebook 02 say what they show, from one clip to a thousand."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from asdlib.report import annotation_figures as figures
from asdlib.spectra.characteristic import characteristic_frequencies
from asdlib.spectra.envelope import envelope_spectrum
from asdlib.spectra.kurtogram import kurtogram


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


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


def test_envelope_spectrum_and_kurtogram(rng):
    t = np.arange(16000) / 8000
    y = (1 + np.cos(2 * np.pi * 20 * t)) * rng.standard_normal(16000)
    frequencies_hz, spectrum = envelope_spectrum(y, sr=8000, max_hz=200)
    families = characteristic_frequencies(y, sr=8000)
    drawn = figures.draw_envelope_spectrum(frequencies_hz, spectrum, families, title="clip")
    assert drawn.axes[0].get_legend().get_texts()[0].get_text().startswith("20.0")
    drawn = figures.draw_envelope_spectrum(frequencies_hz, spectrum, [], title="clip")
    assert drawn.axes[0].get_title() == "clip: no line stands out"
    drawn = figures.draw_kurtogram(kurtogram(y, sr=8000), title="clip")
    assert drawn.axes[0].get_ylabel() == "Bandwidth [Hz]"


def test_the_track_says_how_many_clips_have_a_level():
    ax = figures.draw_frequency_track(
        np.array([8.0, 8.1, np.nan, 12.0]), np.array([8.0, 12.0]), ["source"] * 4,
        machine_type="fan",
    )  # fmt: skip
    assert ax.get_title() == "fan: 2 levels hold 75% of the clips"
    ax = figures.draw_frequency_track(
        np.array([np.nan]), np.zeros(0), ["target"], machine_type="fan"
    )
    assert "no line stands out" in ax.get_title()
