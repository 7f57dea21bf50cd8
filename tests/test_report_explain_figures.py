"""Explanations as a figure and as players."""

import base64
import io
import re
import wave

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from asdlib.report.explain_figures import audio_players, draw_explanation, draw_verdicts
from asdlib.report.style import DOMAIN_COLOURS, use_style
from asdlib.scoring import Explanation

mpl.use("Agg")
CENTRES_HZ = np.geomspace(200, 7000, 16)


@pytest.fixture(autouse=True)
def close_figures():
    with mpl.rc_context():
        use_style()
        yield


def explanation(rng, **changes):
    normal = rng.normal(-40, 3, (16, 250))
    facts = {
        "clip_id": "saw/test/section_00_source_test_0001.wav",
        "machine_type": "saw",
        "domain": "source",
        "condition": "anomalous",
        "anomaly_score": 0.3,
        "percentile": 98.0,
        "training_scores": rng.uniform(0.01, 0.2, 50),
        "neighbours": pd.DataFrame({"clip_id": ["a", "b"], "distance": [0.1, 0.2]}),
        "log_mel": normal + 6.0,
        "normal_log_mel": normal,
    }
    return Explanation(**{**facts, **changes})


def draw(*explanations, **options):
    return draw_explanation(
        explanations, band_centres_hz=CENTRES_HZ, duration_s=10.0, excerpt_frames=75, **options
    )


def panel(figure, title, row=0):
    return [ax for ax in figure.axes if ax.get_title() == title][row]


def test_a_row_shows_clip_normals_difference_and_score(rng):
    figure = draw(explanation(rng), explanation(rng, percentile=0.0))
    assert figure.get_suptitle() == "saw: scores above 98 % and 0 % of the training clips"
    for title in ("clip", "2 nearest normals", "difference", "its mean", "training scores"):
        assert len([ax for ax in figure.axes if ax.get_title() == title]) == 2
    texts = [text.get_text() for text in figure.texts]
    assert texts.count("section_00_source_test_0001.wav (source, anomalous)") == 2


def test_axes_stay_where_they_were_put(rng):
    figure = draw(explanation(rng), explanation(rng))
    before = [ax.get_position().bounds for ax in figure.axes]
    figure.savefig(io.BytesIO(), bbox_inches="tight")
    assert [ax.get_position().bounds for ax in figure.axes] == before


def test_difference_is_centred_and_in_db(rng):
    figure = draw(explanation(rng))
    image = panel(figure, "difference").images[0]
    low, high = image.get_clim()
    assert low == -high
    assert high >= 6.0
    assert np.asarray(image.get_array()) == pytest.approx(6.0)
    assert panel(figure, "its mean").lines[0].get_xdata() == pytest.approx(6.0)
    clip, normal = panel(figure, "clip").images[0], panel(figure, "2 nearest normals").images[0]
    assert clip.get_clim() == normal.get_clim()


def test_own_score_is_drawn_in_the_colour_of_its_domain(rng):
    ax = panel(draw(explanation(rng, domain="target")), "training scores")
    line = ax.lines[0]
    assert line.get_color() == DOMAIN_COLOURS["target"]
    assert line.get_linestyle() == "--"
    assert line.get_xdata()[0] == 0.3
    assert sum(ax.patches[0].get_data()[0]) == 50
    assert ax.get_xscale() == "log"
    assert 1 <= len(ax.get_xticks()) <= 4


def test_frequencies_stand_at_their_bands(rng):
    ax = panel(draw(explanation(rng)), "clip")
    labels = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert list(labels) == ["0.25", "0.5", "1", "2", "4"]
    assert np.interp(labels["1"], np.arange(16), CENTRES_HZ) == pytest.approx(1000)


def test_without_training_scores_and_with_negative_ones(rng):
    empty = draw(explanation(rng, training_scores=np.array([]), percentile=float("nan")))
    assert empty.get_suptitle() == "saw: no training score to compare with"
    figure = draw(explanation(rng, training_scores=rng.normal(0, 1, 30), condition="unknown"))
    assert panel(figure, "training scores").get_xscale() == "linear"
    assert draw(explanation(rng), title="Mine").get_suptitle() == "Mine"


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
