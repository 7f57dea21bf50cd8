"""Figures of notebook 01: any number of machines, titles that say what was found."""

from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from asdlib.report.spectrum_figures import (
    draw_average_spectra,
    draw_band_information,
    draw_highpass_criterion,
    draw_recording,
)
from asdlib.report.style import WIDTH_WIDE_IN, use_style
from asdlib.spectra import LogMelSettings

MACHINES = [f"machine{index:02d}" for index in range(15)]


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context():
        mpl.use("Agg")
        use_style()
        yield


def finding(figure):
    figure.canvas.draw()
    return figure.get_suptitle().replace("\n", " ")


def spectra_table(machines, groups, *, step_db=10.0):
    frequencies = np.fft.rfftfreq(256, 1 / 16000)
    parts = []
    for machine in machines:
        for index, group in enumerate(groups):
            near = np.abs(frequencies - 2000) < 400
            parts.append(
                pd.DataFrame(
                    {
                        "machine_type": machine, "group": group, "n_clips": 1 + index,
                        "frequency_hz": frequencies, "mean_db": -60 + step_db * index * near,
                        "std_db": np.nan if index == 0 else 2.0,
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("count", [1, 15])
def test_average_spectra_name_the_largest_difference(count):
    figure = draw_average_spectra(spectra_table(MACHINES[:count], ["source", "target"]))
    assert finding(figure).startswith("Groups differ most in machine00: 10 dB near")
    assert len([ax for ax in figure.axes if ax.axison]) == count
    assert figure.axes[0].get_title() == "machine00"


@pytest.mark.parametrize("groups", [["a"], list("abcdefgh"), [f"car_{i}" for i in range(25)]])
def test_average_spectra_of_any_number_of_attributes(groups):
    figure = draw_average_spectra(spectra_table(MACHINES[:2], groups))
    assert len(figure.axes[0].get_lines()) == len(groups)
    if len(groups) == 1:
        assert "nothing to compare" in finding(figure)
    if len(groups) > 8:
        assert figure.axes[0].get_title() == "machine00: 25 attributes"


@pytest.mark.parametrize("count", [1, 15])
def test_band_information(count):
    edges = 100 * 2 ** (np.arange(20) / 3)
    high = edges[:-1] >= 1000
    parts = [
        pd.DataFrame(
            {
                "machine_type": machine, "low_hz": edges[:-1], "high_hz": edges[1:],
                "energy_share": high / high.sum() if machine == MACHINES[0] else ~high / 10,
                "snr_db": 3.0, "attribute_share": np.nan,
            }
        )
        for machine in MACHINES[:count]
    ]  # fmt: skip
    figure = draw_band_information(pd.concat(parts))
    assert finding(figure) == (
        f"1 of {count} machines have most of their energy above 1 kHz: machine00"
    )
    ax = figure.axes[0]
    labels = [label.get_text() for label in ax.get_xticklabels()]
    # An octave above the first band's lower edge.
    assert ax.get_xticks()[labels.index("200")] == pytest.approx(2.5)


@pytest.mark.parametrize("count", [1, 15])
def test_highpass_criterion(count):
    cutoffs = 200 * 2 ** (np.arange(13) / 3)
    curves = pd.DataFrame(
        {
            "machine_type": MACHINES[0], "cutoff_hz": cutoffs, "information_kept": 0.95,
            "scatter_kept": 0.5, "criterion": 0.45, "ci_low": 0.4, "ci_high": 0.5,
        }
    )  # fmt: skip
    table = pd.DataFrame(
        {
            "machine_type": MACHINES[:count],
            "highpass_hz": [1600.0, *[np.nan] * (count - 1)],
            "reason": "too few clips (3 of 20)",
        }
    )
    figure = draw_highpass_criterion(curves, table)
    assert finding(figure) == f"A high-pass for 1 of {count} machines: machine00 (1600 Hz)"
    assert figure.axes[0].get_title() == "machine00: 1600 Hz"
    if count > 1:
        assert figure.axes[1].get_title() == "machine01: none"
        assert "too few clips" in figure.axes[1].texts[0].get_text()
    none = draw_highpass_criterion(curves.head(0), table.assign(highpass_hz=np.nan))
    assert finding(none) == f"A high-pass for none of {count} machines"


def drawn_recording(samples, title):
    store = SimpleNamespace(settings={"sample_rate": 16000}, row_of={"a": samples}.__getitem__)
    return draw_recording("a", store, LogMelSettings(), title=title)


def test_a_recording_is_drawn_as_waveform_and_two_spectrograms(rng):
    figure = drawn_recording((3000 * rng.standard_normal(16000)).astype(np.int16), "fan/a.wav")
    assert finding(figure) == "fan/a.wav"
    assert figure.get_figwidth() == WIDTH_WIDE_IN
    labels = [ax.get_ylabel() for ax in figure.axes[:3]]
    assert labels == ["Amplitude [1]", "Frequency [kHz]", "Mel band at [kHz]"]
    highest = np.abs(figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]).max()
    assert highest == pytest.approx(3000 * 4 / 32768, rel=0.2)  # re full scale


def test_a_very_short_silent_clip_is_drawn():
    assert finding(drawn_recording(np.zeros(10, np.int16), "silence")) == "silence"
