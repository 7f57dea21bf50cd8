import numpy as np

from asdlib.scoring import neighbour_agreement


def test_separate_classes_agree_and_shuffled_ones_do_not(rng):
    labels = np.repeat(["a", "b", "c", "d"], 50)
    centres = {"a": [1, 0, 0], "b": [0, 1, 0], "c": [0, 0, 1], "d": [-1, 0, 0]}
    points = np.array([centres[name] for name in labels]) + 0.05 * rng.standard_normal((200, 3))
    table = neighbour_agreement(points, labels, ["fan"] * 200)
    assert table.loc[0, "agreement"] == 1.0
    assert table.loc[0, "agreement_shuffled"] < 0.4
    assert table.loc[0, "n_classes"] == 4


def test_a_neighbour_is_never_of_another_machine_and_single_clips_are_left_out():
    points = np.array([[1.0, 0.0], [1.0, 0.01], [1.0, 0.0], [0.0, 1.0]])
    table = neighbour_agreement(points, ["x", "x", "y", "z"], ["fan", "fan", "pump", "saw"])
    assert table["machine_type"].tolist() == ["fan"]
    assert table.loc[0, "agreement"] == 1.0
