"""Finished sweeps are read back, and only what their intervals say is said."""

import numpy as np
import pandas as pd
import pytest

from asdlib.errors import InputError
from asdlib.report.experiments import findings, read_sweeps
from asdlib.scoring import DIFFERENCE_COLUMNS

DIFFERENCES = {
    "reference": (np.nan, np.nan, np.nan),
    "good": (0.04, 0.01, 0.07),
    "bad": (-0.10, -0.15, -0.05),
    "unclear": (0.03, -0.01, 0.07),
}


def sweep_table():
    rows = [
        {
            "variant": name, "group": "", "system": "knn", "machine_type": "all",
            "metric": "official_score", "value": 0.6, "spread": 0.01, "n_seeds": 3,
            "difference": difference, "difference_low": low, "difference_high": high,
        }
        for name, (difference, low, high) in DIFFERENCES.items()
    ]  # fmt: skip
    columns = ["variant", "group", "system", *DIFFERENCE_COLUMNS[1:]]
    return pd.DataFrame(rows).reindex(columns=columns)


def write(folder, name, table):
    (folder / name).mkdir()
    table.to_csv(folder / name / "sweep.csv", index=False)


def test_findings_say_what_the_intervals_say():
    assert findings(sweep_table()) == [
        "Reference (knn): official score 0.600, standard deviation 0.010 over 3 seeds.",
        "Better: good, +4.0 points [1.0, 7.0].",
        "Worse: bad, -10.0 points [-15.0, -5.0].",
        "Not told from the reference: unclear.",
    ]


def test_sweeps_are_found_and_chosen_by_name(tmp_path):
    for name in ("a", "b"):
        write(tmp_path, name, sweep_table())
    (tmp_path / "run").mkdir()
    assert list(read_sweeps(tmp_path)) == ["a", "b"]
    chosen = read_sweeps(tmp_path, names=["b"])
    assert list(chosen) == ["b"]
    assert findings(chosen["b"]) == findings(sweep_table())
    assert read_sweeps(tmp_path / "nothing") == {}


def test_missing_and_older_sweeps_are_named(tmp_path):
    write(tmp_path, "old", sweep_table().drop(columns="difference_low"))
    with pytest.raises(InputError, match="sweep new: .* There are: old"):
        read_sweeps(tmp_path, names=["new"])
    with pytest.raises(InputError, match=r"sweep\.csv: lacks difference_low"):
        read_sweeps(tmp_path)
