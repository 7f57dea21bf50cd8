"""Menus of clips: they show what was chosen, and nothing where nobody can choose."""

import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from corpus import make_tree, train_and_test
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.backend_bases import MouseEvent

from asdlib import scoring
from asdlib.data import open_waveforms, read_clips
from asdlib.report import output
from asdlib.report.output import STATIC_VARIABLE
from asdlib.spectra import LogMelSettings
from asdlib.workbook import showing


def test_choosing_a_machine_shows_its_first_clip(monkeypatch):
    seen = []
    clips = {"fan": ["fan/1", "fan/2"], "pump": ["pump/1"]}
    monkeypatch.delenv(STATIC_VARIABLE, raising=False)
    box = showing.browse_clips(clips, lambda *chosen: seen.append(chosen))
    machine, clip = box.children[0].children
    clip.value = "fan/2"
    machine.value = "pump"
    assert seen == [("fan", "fan/1"), ("fan", "fan/2"), ("pump", "pump/1")]
    assert showing.browse_clips({}, seen.append) is None
    monkeypatch.setenv(STATIC_VARIABLE, "1")
    assert showing.browse_clips(clips, seen.append) is None
    assert len(seen) == 3


@pytest.mark.filterwarnings("ignore:Passing unrecognized arguments")  # ipympl's own
def test_a_click_on_a_map_shows_the_nearest_point(monkeypatch):
    monkeypatch.delenv(STATIC_VARIABLE, raising=False)
    seen = []
    figure, axes = plt.subplots(1, 2)
    points = {}
    for name, axis in zip(("fan", "pump"), axes, strict=True):
        axis.set(title=name, xlim=(0, 1), ylim=(0, 1))
        points[name] = (np.array([[0.2, 0.2], [0.9, 0.9]]), [f"{name}/low", f"{name}/high"])
    backend = mpl.get_backend()
    canvas, _ = showing.browse_points(figure, points, seen.append).children
    assert mpl.get_backend() == backend
    for axis, place in ((axes[1], (0.8, 0.6)), (axes[0], (0.5, 0.1)), (axes[0], (-9, 0.1))):
        x, y = axis.transData.transform(place)
        event = MouseEvent("button_press_event", canvas, x, y, button=1)
        canvas.callbacks.process("button_press_event", event)
    assert seen == ["pump/high", "fan/low"]
    monkeypatch.setenv(STATIC_VARIABLE, "1")
    assert showing.browse_points(figure, points, seen.append) is None
    plt.close(figure)


def test_maps_of_machines_are_kept_until_their_embeddings_change(tmp_path, rng, monkeypatch):
    embedding, machines = rng.random((12, 4)), np.array(["pump"] * 5 + ["fan"] * 7)
    made = []

    def embedding_map(own, *, seed):
        made.append(len(own))
        return own[:, :2] + seed

    monkeypatch.setattr(scoring, "embedding_map", embedding_map)
    options = {"seed": 3, "cache_dir": tmp_path}
    maps = showing.open_maps(embedding, machines, **options)
    assert list(maps) == ["fan", "pump"]
    assert np.array_equal(maps["pump"], embedding[:5, :2] + 3)
    assert np.array_equal(showing.open_maps(embedding, machines, **options)["fan"], maps["fan"])
    assert made == [7, 5]
    embedding[0] += 1
    showing.open_maps(embedding, machines, **options)
    assert made == [7, 5, 5]


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Clips, their waveforms, and what is displayed of them where somebody can choose."""
    monkeypatch.delenv(STATIC_VARIABLE, raising=False)
    clips = read_clips(make_tree(tmp_path / "data", train_and_test("fan"), n_samples=8000))
    shown = []
    monkeypatch.setattr(showing, "display", lambda figure, sound: shown.append((figure, sound)))
    return clips, open_waveforms(clips, cache_dir=tmp_path / "cache"), shown


def test_any_recording_is_found_by_machine_domain_and_condition(recordings):
    clips, waveforms, shown = recordings
    box = showing.browse_recordings(clips, waveforms, LogMelSettings(), corpus="simulated")
    machine, clip = box.children[0].children
    assert "fan, test, source, anomalous" in machine.options
    assert set(clip.options) < set(clips["clip_id"])
    machine.value = "fan, test, source, anomalous"
    figure, sound = shown[-1]
    assert figure.get_suptitle() == f"{clip.value} (simulated)"
    assert clip.value in sound.data


def test_the_envelope_analysis_of_any_clip_is_seen_and_heard(recordings):
    clips, waveforms, shown = recordings
    evidence = SimpleNamespace(
        clip_ids=clips["clip_id"].tolist(), track=SimpleNamespace(bands_hz=[(1000.0, 2000.0)])
    )
    box = showing.browse_envelopes({("fan", "00"): evidence}, waveforms, corpus="simulated")
    machine, clip = box.children[0].children
    assert machine.options == ("fan, section 00",)
    clip.value = evidence.clip_ids[2]
    figure, sound = shown[-1]
    assert figure.get_suptitle().startswith(f"{clip.value} (simulated)\nenvelope: ")
    assert clip.value in sound.data


@pytest.mark.parametrize("static", ["", "1"])
def test_a_bar_is_red_and_in_lines_only_where_nobody_sits(monkeypatch, static):
    monkeypatch.setattr(output, "get_ipython", InteractiveShell)
    monkeypatch.setattr(output, "tqdm", overwritten := MagicMock())
    monkeypatch.setattr(output, "_LogBar", in_lines := MagicMock())
    monkeypatch.setenv(output.PROGRESS_VARIABLE, "log")
    monkeypatch.setenv(STATIC_VARIABLE, static)
    with output.progress_bar(3, "clips") as count:
        count(1)
    used, other = (in_lines, overwritten) if static else (overwritten, in_lines)
    assert used.call_args.kwargs["file"] is (sys.stderr if static else sys.stdout)
    assert not other.called


def test_an_interrupted_cell_ends_in_one_line(monkeypatch, capsys):
    shell = InteractiveShell()
    monkeypatch.setattr(output, "get_ipython", lambda: shell)
    monkeypatch.setenv(STATIC_VARIABLE, "1")
    output.shorten_interrupts()
    assert shell.custom_exceptions == ()
    monkeypatch.delenv(STATIC_VARIABLE)
    output.shorten_interrupts()
    result = shell.run_cell("raise KeyboardInterrupt")
    assert isinstance(result.error_in_exec, KeyboardInterrupt)
    said = "".join(capsys.readouterr())
    assert said.strip().splitlines() == [
        "Interrupted. What was computed stays: run the cell again to go on."
    ]
