import io

import pandas as pd
import pytest

from asdlib.base import InputError
from asdlib.report.tables import TABLE_COLUMNS, render_markdown, result_table
from asdlib.scoring import METRIC_COLUMNS, published_figures

EMPTY = "no normal test clips in the target domain"


def make_metrics(system, seed, machines, *, shift=0.0):
    rows = []
    for machine in machines:
        rows += [
            (system, seed, machine, "auc_source", 0.7 + shift, 0.6, 0.8, 50, 100, ""),
            (system, seed, machine, "auc_target", None, None, None, 0, 100, EMPTY),
            (system, seed, machine, "pauc", 0.5, 0.4, 0.6, 50, 100, ""),
            (system, seed, machine, "hmean", 0.58, 0.5, 0.6, 50, 100, ""),
        ]
    rows += [
        (system, seed, "all", metric, 0.55, 0.5, 0.6, 100, 200, "")
        for metric in ("auc_source", "auc_target", "pauc", "official_score")
    ]
    table = pd.DataFrame(rows, columns=METRIC_COLUMNS)
    return table.astype({"seed": "Int64", "value": float, "ci_low": float, "ci_high": float})


@pytest.fixture
def metrics():
    runs = [
        make_metrics("network", 0, ["fan", "ToyCar"]),
        make_metrics("network", 1, ["fan", "ToyCar"], shift=0.1),
        make_metrics("trivial", pd.NA, ["fan", "ToyCar"]),
    ]
    return pd.concat(runs, ignore_index=True)


def test_table_has_one_row_per_machine_metric_and_system(metrics):
    table = result_table(metrics)
    assert list(table.columns) == TABLE_COLUMNS
    assert table.groupby("system").size().to_dict() == {"network": 10, "trivial": 10}
    assert table["machine_type"].drop_duplicates().tolist() == ["fan", "ToyCar", "all"]
    assert table["metric"].iloc[-1] == "official_score"
    first = table.iloc[0]
    assert (first["system"], first["n_seeds"]) == ("network", 2)
    assert first["value"] == pytest.approx(0.75)
    assert first["spread"] == pytest.approx(0.1 / 2**0.5)
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert again["value"].equals(table["value"])


def test_markdown_shows_values_intervals_counts_and_footnotes(metrics):
    text = render_markdown(result_table(metrics), title="Simulated corpus", notes=("Demo size.",))
    lines = text.splitlines()
    assert lines[0] == "# Simulated corpus"
    assert "| fan | AUC (source) | 50 / 100 | 0.750 ± 0.071 [0.600, 0.800] |" in text
    assert "0.700 [0.600, 0.800] |" in text
    assert "|  | AUC (target) | 0 / 100 | — [1] | — [1] |" in text
    assert f"[1] {EMPTY}  " in lines
    assert "official score" in text
    assert "±: standard deviation over 2 seeds" in text
    assert lines[-1] == "Demo size."
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 2 * 3 + 4
    assert len({row.count("|") for row in rows}) == 1


def test_published_columns_stand_beside_the_machines_that_the_run_has(metrics):
    published = published_figures("dcase2025", ["dev"])
    table = result_table(metrics, published=published)
    report = table[table["system"] == "report (Chu and Qian)"]
    assert set(report["machine_type"]) == {"fan", "ToyCar"}
    source = report.loc[report["metric"] == "auc_source", "value"]
    assert source.tolist() == pytest.approx([0.5478, 0.943])
    assert report["source"].str.contains("technical report").all()
    assert "Yang (from scratch)" not in set(table["system"])

    whole = make_metrics("network", 0, published["machine_type"].unique()[:7])
    table = result_table(whole, published=published)
    official = table[table["metric"] == "official_score"].set_index("system")["value"]
    assert official["report (Chu and Qian)"] == pytest.approx(0.6325, abs=1e-4)
    assert official["Yang (from scratch)"] == pytest.approx(0.6162)
    text = render_markdown(table, title="2025")
    assert "report (Chu and Qian): F. Chu" in text
    with pytest.raises(InputError, match="baseline MSE: is the name"):
        result_table(whole.assign(system="baseline MSE"), published=published)


def test_table_without_any_value_is_all_dashes(metrics):
    empty = metrics.assign(
        value=float("nan"),
        ci_low=float("nan"),
        ci_high=float("nan"),
        reason="condition of the test clips unknown",
    )
    text = render_markdown(result_table(empty), title="No labels")
    assert text.count("— [1]") == 2 * 10
    assert "[2]" not in text
    assert "interval" not in text
