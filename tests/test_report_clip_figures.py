"""Explanations as a figure and as players."""

import base64
import io
import re
import wave
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from asdlib.report.clip_figures import audio_players, draw_reason
from asdlib.report.scoring_figures import draw_verdicts
from asdlib.report.style import use_style
from asdlib.spectra import Picture, Reason

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    with mpl.rc_context():
        use_style()
        yield


def draw(**changes):
    x_hz = np.geomspace(2, 500, 64)
    picture = Picture(
        x_hz=x_hz, clip=np.ones(64), normal=np.zeros((5, 64)), x_label="Envelope frequency [Hz]",
        y_label="Envelope [dB re 1/Hz]", marks_hz=(107.2, 214.4),
    )  # fmt: skip
    reason = Reason("envelope", "impacts", {}, picture, (2000.0, 4000.0), 1.5)
    shares = pd.Series({"spectrum": -0.4, "envelope": 2.5, "embedding": 1.0})
    return draw_reason(
        replace(reason, **changes), shares, title="pump/a.wav, anomalous: impacts at 107.2 Hz",
        level_db=np.full((128, 250), -40.0), band_centres_hz=np.geomspace(60, 7800, 128),
        duration_s=8.0,
    )  # fmt: skip


def test_a_reason_shows_contributions_rows_and_the_clip():
    figure = draw()
    bars, rows, clip = figure.axes[:3]
    assert [patch.get_width() for patch in bars.patches] == [-0.4, 2.5, 1.0]
    colours = [patch.get_facecolor() for patch in bars.patches]
    assert colours[1] != colours[0] == colours[2]
    assert len(rows.lines) == 5 + 1 + 2
    assert [line.get_xdata()[0] for line in rows.lines[-2:]] == [107.2, 214.4]
    assert rows.get_xlabel() == "Envelope frequency [Hz]"
    frame = clip.patches[0]
    octave = np.interp([2000, 4000], np.geomspace(60, 7800, 128), np.arange(128))
    assert [frame.get_y(), frame.get_height()] == pytest.approx([octave[0], np.diff(octave)[0]])
    assert clip.lines[0].get_xdata() == [1.5]
    assert figure.get_suptitle() == "pump/a.wav, anomalous: impacts at 107.2 Hz"
    assert not draw(at_s=None).axes[2].lines


def decoded(page):
    for content in re.findall(r"data:audio/wav;base64,([^\"]+)", page):
        with wave.open(io.BytesIO(base64.b64decode(content))) as sound:
            yield sound.getframerate(), np.frombuffer(sound.readframes(10**9), "<i2")


def test_players_share_one_amplification(rng):
    quiet = rng.integers(-100, 101, 800).astype(np.int16)
    excerpts = {"clip <1>": (4 * quiet).astype(np.int16), "nearest normal": quiet}
    page = audio_players(excerpts, sample_rate=16000).data
    (rate, loud), (_, soft) = decoded(page)
    assert rate == 16000
    assert np.abs(loud).max() == pytest.approx(0.9 * 32767, rel=1e-3)
    assert loud[100:] == pytest.approx(4.0 * soft[100:], abs=4)
    assert "clip &lt;1&gt;" in page


def test_silence_stays_silent():
    page = audio_players({"clip": np.zeros(100, np.int16)}, sample_rate=16000).data
    assert not next(decoded(page))[1].any()


def test_verdicts_stand_at_their_distance_from_the_threshold():
    verdicts = pd.DataFrame(
        {
            "machine_type": ["pump", "fan", "fan", "pump"],
            "recording": ["pump/Pumpe 3.wav", "fan/a.wav", "fan/b.wav", "pump/c.wav"],
            "anomaly_score": [2.0, 0.5, 0.1, 0.0],
            "threshold": [0.5, 1.0, 1.0, 0.5],
            "verdict": ["anomalous", "normal", "normal", "normal"],
        }
    )
    figure = draw_verdicts(verdicts)
    assert figure.get_suptitle() == "1 of 4 clips of 2 machines is anomalous."
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["fan", "pump"]
    flagged = [line for line in ax.lines if line.get_marker() == "X" and len(line.get_xdata())]
    assert [(float(x), float(y)) for x, y in flagged[0].get_xydata()] == [(1.5, 1.0)]
    assert [text.get_text() for text in ax.texts] == ["Pumpe 3.wav"]
