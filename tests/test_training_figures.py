"""Learning curves as a figure."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from asdlib.base import InputError
from asdlib.report import training_figures
from asdlib.report.training_figures import (
    LiveCurves,
    draw_adacos_scale,
    draw_augmentation,
    draw_autoencoder_curves,
    draw_training_curves,
)

mpl.use("Agg")


def history(n_epochs: int, accuracy: float) -> pd.DataFrame:
    epoch = np.arange(1, n_epochs + 1)
    return pd.DataFrame({"epoch": epoch, "loss": 3 / epoch, "accuracy": accuracy, "scale": 5.0})


def test_one_line_per_seed_and_the_finding_as_title() -> None:
    figure = draw_training_curves({0: history(5, 0.9), 1: history(5, 0.95)}, corpus="simulated")
    assert [len(axis.lines) for axis in figure.axes] == [2, 2]
    assert figure.get_suptitle().replace("\n", " ") == (
        "After 5 epochs, 90 to 95 % of the augmented training clips get their class (simulated)"
    )
    assert figure.get_figwidth() == 7.0


def test_the_live_curve_takes_its_own_place_and_says_what_it_shows(monkeypatch) -> None:
    shown = []

    class Handle:
        update = staticmethod(shown.append)

    def display(picture, *, display_id):
        assert display_id  # without it nothing could take its place
        shown.append(picture)
        return Handle

    monkeypatch.setattr(training_figures, "display", display)
    live = LiveCurves("simulated")
    live.show(0, history(1, 0.5))
    live.show(0, history(2, 0.6))
    assert shown[1:] == [live.figure]
    assert all(figure.get_suptitle().endswith("(simulated)") for figure in shown)


def test_before_the_first_epoch_and_without_curves() -> None:
    figure = draw_training_curves({0: history(0, 0.0)}, corpus="simulated")
    assert "not finished its first epoch" in figure.get_suptitle()
    figure = draw_training_curves({0: history(1, 0.5).assign(epoch=0.25)}, corpus="simulated")
    assert "not finished its first epoch" in figure.get_suptitle()
    assert figure.axes[0].get_xlim() == (0.25, 2)
    part = pd.concat([history(1, 0.5), history(1, 0.6).assign(epoch=1.25)])
    assert (
        "After 1.25 epochs, 60 %"
        in draw_training_curves({0: part}, corpus="simulated").get_suptitle()
    )
    with pytest.raises(InputError, match="no learning curve"):
        draw_training_curves({}, corpus="simulated")


def test_autoencoder_curves_have_two_lines_a_machine_and_an_error_in_db() -> None:
    epoch = np.arange(1, 5)
    losses = pd.concat(
        [
            pd.DataFrame(
                {"machine_type": name, "epoch": epoch, "loss": last * 4 / epoch,
                 "validation_loss": last}
            )
            for name, last in (("pump", 4.0), ("saw", 25.0))
        ]
    )  # fmt: skip
    axis = draw_autoencoder_curves(losses).axes[0]
    assert [line.get_linestyle() for line in axis.lines] == ["-", "--"] * 2
    assert "After 4 epochs the autoencoders miss a level by 2.0 to 5.0 dB" in axis.get_title()


def test_the_scale_starts_at_its_fixed_value_and_tells_how_sure_an_angle_is() -> None:
    figure = draw_adacos_scale({0: history(5, 0.9)}, first_scale=8.0, n_centres=101)
    curve, probability = figure.axes
    assert len(curve.lines) == 2
    at_zero = [line.get_ydata()[0] for line in probability.lines]
    assert at_zero == pytest.approx([1 / (1 + 100 * np.exp(-s)) for s in (8.0, 5.0)])
    assert figure.get_suptitle() == "The scale goes from 8.0 to 5.0"


def test_augmentation_shows_every_clip_on_one_scale(rng: np.random.Generator) -> None:
    clips = {name: rng.normal(level, 3, (16, 20)) for name, level in
             (("pump", -60), ("fan", -40), ("mixup", -45), ("StatEx", -40))}  # fmt: skip
    figure = draw_augmentation(clips, band_centres_hz=np.geomspace(200, 8000, 16), duration_s=10)
    images = [axis.images[0] for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in figure.axes[:4]] == list(clips)
    assert len({image.get_clim() for image in images}) == 1


def test_classes_of_companions_are_said_to_be_simulated() -> None:
    names = ["companion_fanSim|00|target|b", "fan|00|source|a"]
    counts = pd.DataFrame({"class_name": names, "n_clips": [1, 3]})
    (axis,) = training_figures.draw_class_counts(counts).axes
    assert axis.get_title().endswith("; companions are simulated")
    labels = [text.get_text() for text in axis.get_legend().get_texts()]
    assert labels == ["source", "target"]  # nothing supplemental is there
    (axis,) = training_figures.draw_class_counts(counts.iloc[1:]).axes
    assert "simulated" not in axis.get_title()
