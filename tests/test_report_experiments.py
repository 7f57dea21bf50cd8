"""Finished sweeps are read back; sentences, table and figures say only what is certain."""

import json

import numpy as np
import pandas as pd
import pytest

from asdlib.base import InputError
from asdlib.report.experiments import (
    differing_settings,
    draw_runs,
    draw_sweep,
    draw_sweep_machines,
    findings,
    read_runs,
    read_sweeps,
    render_sweep,
)
from asdlib.scoring import DIFFERENCE_COLUMNS, paired_differences

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


@pytest.fixture
def table() -> pd.DataFrame:
    """Give a reference, a variant that gains 2 to 4 points, and two that cannot be told apart."""
    rows = []
    effects = {"reference": None, "better": 0.03, "same": 0.0, "other": -0.001}
    groups = {"better": "loss", "same": "loss", "other": "epochs"}
    for variant, effect in effects.items():
        for machine in ("fan", "pump", "all"):
            last = "official_score" if machine == "all" else "hmean"
            for metric in ("auc_source", "auc_target", "pauc", last):
                difference = np.nan if effect is None else effect
                rows.append(
                    {
                        "variant": variant, "group": groups.get(variant, ""), "system": "knn",
                        "machine_type": machine, "metric": metric, "value": 0.6 + (effect or 0),
                        "spread": 0.01, "n_seeds": 3, "difference": difference,
                        "difference_low": difference - 0.01, "difference_high": difference + 0.01,
                        "reason": "",
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_markdown_marks_what_can_be_told_apart(table):
    text = render_sweep(table, title="x (simulated)", failures={"bad, seed 1": "no memory"})
    assert text.startswith("# x (simulated)\n")
    assert "| loss | better | knn | 3 | 0.630 ± 0.010 | **+3.0 [2.0, 4.0]** |" in text
    assert "| loss | same | knn | 3 | 0.600 ± 0.010 | +0.0 [-1.0, 1.0] |" in text
    assert "|  | reference | knn | 3 | 0.600 ± 0.010 | — |" in text
    assert "| reference | 0.600 ± 0.010 | 0.600 ± 0.010 |" in text
    assert "| better | **+3.0 [2.0, 4.0]** | **+3.0 [2.0, 4.0]** |" in text
    assert "- bad, seed 1: no memory" in text
    assert "seeds and test clips" in text


def test_markdown_of_one_seed_says_that_intervals_are_over_clips(table):
    text = render_sweep(table.assign(n_seeds=1, spread=np.nan), title="x")
    assert "intervals over test clips" in text
    assert "±" not in text


def test_a_value_that_cannot_be_computed_is_a_dash(table):
    columns = ["value", "difference", "difference_low", "difference_high"]
    table.loc[table["machine_type"] == "fan", columns] = np.nan
    assert "| better | — | **+3.0 [2.0, 4.0]** |" in render_sweep(table, title="x")


def test_forest_plot_has_one_point_per_variant_and_metric(table):
    figure = draw_sweep(table)
    assert len(figure.axes) == 4
    for ax in figure.axes:
        points = [line for line in ax.lines if line.get_marker() == "o"]
        assert sorted(float(line.get_xdata()[0]) for line in points) == pytest.approx([-0.1, 0, 3])
        filled = [line for line in points if line.get_markerfacecolor() != "white"]
        assert [float(line.get_xdata()[0]) for line in filled] == pytest.approx([3])
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["better", "same", "other"]
    assert {text.get_text() for text in figure.axes[0].texts} == {"loss", "epochs"}
    assert "1 score higher than the reference, 0 lower" in figure.get_suptitle()


def test_machine_figure_writes_uncertain_changes_in_brackets(table):
    table.loc[(table["variant"] == "other") & (table["machine_type"] == "pump"),
              ["difference", "difference_low", "difference_high"]] = np.nan  # fmt: skip
    figure = draw_sweep_machines(table)
    words = [text.get_text() for text in figure.axes[0].texts]
    assert words == ["+3.0", "+3.0", "(+0.0)", "(+0.0)", "(-0.1)"]
    assert "better on fan, +3.0 points" in figure.get_suptitle()


def test_sweeps_of_other_recordings_are_shown_only_by_name(tmp_path):
    for name, data in (("a", "data/mine"), ("b", "data/simulated_demo")):
        write(tmp_path, name, sweep_table())
        sidecar = tmp_path / name / "sweep.csv.json"
        sidecar.write_text(json.dumps({"settings": {"data_dir": data}}))
    assert list(read_sweeps(tmp_path, data_dir="data/mine")) == ["a"]
    assert list(read_sweeps(tmp_path, data_dir="data/other")) == []
    assert list(read_sweeps(tmp_path, names=["b"], data_dir="data/mine")) == ["b"]


def write_run(results, name, wrong, *, seed, clips=6, **settings):
    """Write a run of one machine; its first ``wrong`` anomalous clips score lowest."""
    rows = [
        {"clip_id": f"fan/test/{domain}{i}.wav", "machine_type": "fan", "section": "00",
         "domain": domain, "split": "test", "is_anomaly": i % 2 == 1,
         "anomaly_score": float(i % 2 == 1) * (-1 if i // 2 < wrong else 1) + 0.01 * i,
         "is_decided_anomalous": False, "system": "final", "seed": seed}
        for domain in ("source", "target") for i in range(clips)
    ]  # fmt: skip
    (results / name).mkdir()
    pd.DataFrame(rows).to_csv(results / name / "scores.csv", index=False)
    facts = {"settings": {"run_name": name, **settings}, "git": {"commit": "abc"}}
    (results / name / "scores.csv.json").write_text(json.dumps(facts))


def test_two_runs_are_paired_clip_by_clip(tmp_path):
    write_run(tmp_path, "old", 3, seed=0, neighbours=1, views=[])
    write_run(tmp_path, "new", 0, seed=4, neighbours=2, views=[], clips=8)
    scores, remarks = read_runs(tmp_path, ["old", "new"])
    assert remarks == ["new: 4 test clips that not all runs have are left out."]
    table = paired_differences(scores, reference="old", n_bootstrap=100)
    own = table[(table["system"] == "new") & (table["machine_type"] == "fan")]
    assert own.set_index("metric").loc["auc_source", "difference"] == pytest.approx(1)
    settings = differing_settings(tmp_path, ["old", "new"])
    assert settings.to_dict("index") == {"neighbours": {"old": "1", "new": "2"}}
    table = table.rename(columns={"system": "variant"}).assign(group="", system="final")
    figure = draw_runs(table, corpus="recorded")
    assert figure.get_suptitle().startswith("Against old (recorded). Better: new, +")
    assert [one.get_text() for one in figure.axes[0].get_yticklabels()] == ["fan", "all"]


def test_runs_that_cannot_be_compared_are_named(tmp_path):
    write_run(tmp_path, "old", 3, seed=0)
    with pytest.raises(InputError, match="old alone cannot be compared"):
        read_runs(tmp_path, ["old"])
    with pytest.raises(InputError, match="run new: .* There are: old"):
        read_runs(tmp_path, ["old", "new"])
