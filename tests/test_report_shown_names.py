"""Names of machines, attributes and systems are shown as they are, and do nothing else."""

import io
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from nbconvert.filters import markdown2html

from asdlib.report.experiments import render_sweep
from asdlib.report.output import save_table
from asdlib.report.spectrum_figures import draw_average_spectra
from asdlib.report.style import save_figure, use_style
from asdlib.report.tables import plain, render_markdown, render_official, result_table
from asdlib.scoring import DIFFERENCE_COLUMNS, METRIC_COLUMNS, OFFICIAL_COLUMNS

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "a|b",
    "**bold** [link](javascript:alert(1))",
    "$x^2$ and $\\frac{1}{2}$",
    "`code` ~~gone~~ \\| &amp;",
]


@pytest.fixture(autouse=True)
def _style():
    with mpl.rc_context(), pd.option_context("display.html.use_mathjax", True):
        use_style()
        yield
        plt.close("all")


def harmless(page):
    """Render Markdown as the pages do; nothing but what the table itself asks for is markup."""
    html = markdown2html(page)
    for tag in ("<img", "<a href", "<code", "<del", "<em", "<script"):
        assert tag not in html
    assert html.count("<strong>") == page.count("**all (")
    # Two dollars in one piece of text would be a formula.
    pieces = re.sub(r"<[^>]*>", "\0", html).split("\0")
    assert all(piece.count("$") < 2 for piece in pieces)
    return html


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_a_name_and_runs_nothing(name):
    rows = [("knn", 0, name, metric, 0.5, 0.4, 0.6, 5, 5, name)
            for metric in ("auc_source", "auc_target", "pauc")]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=METRIC_COLUMNS).assign(system=name)
    page = render_markdown(result_table(metrics), title=name, notes=(name,))
    assert harmless(page).count("<tr>") == 4


def test_a_plain_name_stays_as_it_is():
    assert plain("ToyCar_2 - b.3 (k = 3), ÄÖ 50 %") == "ToyCar_2 - b.3 (k = 3), ÄÖ 50 %"


@pytest.mark.parametrize("name", HOSTILE)
def test_tables_of_sweeps_and_organisers_have_one_cell_a_name(name):
    row = {"variant": name, "group": name, "system": name, "machine_type": "all", "value": 0.6,
           "spread": 0.1, "n_seeds": 2, "reason": name}  # fmt: skip
    metrics = ("auc_source", "auc_target", "pauc", "official_score")
    sweep = pd.DataFrame([{**row, "metric": metric} for metric in metrics])
    columns = ["variant", "group", "system", *DIFFERENCE_COLUMNS[1:]]
    page = render_sweep(sweep.reindex(columns=columns), title=name, failures={name: name})
    official = pd.DataFrame([(name, "00", "source", *[0.5] * 5, 3, 3)], columns=OFFICIAL_COLUMNS)
    page += render_official(official.assign(system=name))
    assert harmless(page).count("<td") == 9 + 7


@pytest.mark.parametrize("name", HOSTILE)
def test_figures_show_dollars_as_dollars(name):
    spectra = pd.DataFrame(
        {"machine_type": name, "group": name, "n_clips": 1, "frequency_hz": np.arange(60.0, 900, 9),
         "mean_db": -60.0, "std_db": 1.0}
    )  # fmt: skip
    figure = draw_average_spectra(spectra)
    figure.savefig(io.BytesIO())
    ax = figure.axes[0]
    legend = ax.get_legend().get_texts()[0]
    assert ax.get_title() == name
    assert not any(text.get_parse_math() for text in (ax.title, legend, figure._suptitle))


def test_data_frames_are_escaped_and_hold_no_formula():
    html = pd.DataFrame({"machine_type": HOSTILE})._repr_html_()
    assert "<img" not in html
    assert "tex2jax_ignore" in html


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "@SUM(A1)", "\t=1", "\r=1", "+1+cmd|' /C calc'!A0", "-2+3*A1"]
)
def test_csv_holds_no_formula(tmp_path, text):
    table = pd.DataFrame({"a": [text, "x", None], "b": pd.Categorical([text, "y", "y"])})
    save_table(table, tmp_path / "t.csv", provenance={})
    read = pd.read_csv(tmp_path / "t.csv", lineterminator="\n")
    assert read.iloc[0].tolist() == ["'" + text] * 2
    assert read["b"].tolist()[1:] == ["y", "y"]


def test_csv_of_plain_values_is_what_pandas_writes(tmp_path):
    table = pd.DataFrame(
        {
            "name": ["-pump 2", "+a.b-c", "a=b", None],
            "number": [-1.5, 1e-300, np.nan, 0.1 + 0.2],
            "whole": pd.array([1, None, -3, 2], dtype="Int64"),
            "mixed": [1, -2.5, "-3.5", True],
            "flag": pd.array([True, None, False, True], dtype="boolean"),
        }
    )
    save_table(table, tmp_path / "t.csv", provenance={})
    assert (tmp_path / "t.csv").read_text() == table.to_csv(index=False)


def test_simulated_figures_say_so_in_title_and_file_name(tmp_path):
    figure, ax = plt.subplots(figsize=(3.5, 2))
    ax.set_title("A finding that is long enough to reach the edge")
    paths = save_figure(figure, tmp_path / "01_x", provenance={}, is_simulated=True)
    assert [path.name for path in paths] == [
        "simulated_01_x.png", "simulated_01_x.pdf", "simulated_01_x.json",
    ]  # fmt: skip
    assert ax.get_title().replace("\n", " ").endswith("the edge (simulated)")
    assert max(map(len, ax.get_title().splitlines())) <= 49
    assert not plt.get_fignums()


def test_a_pdf_is_drawn_again_only_where_the_picture_or_a_version_changed(tmp_path, monkeypatch):
    drawn, savefig = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig",
        lambda self, *args, **given: (drawn.append(given["format"]), savefig(self, *args, **given)),
    )  # fmt: skip
    pdf = tmp_path / "line.pdf"

    def formats(values=(1, 2), version="1"):
        drawn.clear()
        figure, ax = plt.subplots()
        ax.plot(values)
        facts = {"versions": {"matplotlib": version}}
        save_figure(figure, tmp_path / "line", provenance=facts, is_simulated=False)
        return drawn

    assert formats() == ["png", "pdf"]
    content = pdf.read_bytes()
    assert formats() == ["png"]
    assert formats(version="2") == ["png", "pdf"]
    pdf.write_bytes(b"half of it")
    assert formats(version="2") == ["png", "pdf"]
    assert pdf.read_bytes() == content
    assert formats(values=(2, 1), version="2") == ["png", "pdf"]
    assert pdf.read_bytes() != content
    pdf.unlink()
    assert formats(values=(2, 1), version="2") == ["png", "pdf"]


def test_a_title_that_is_marked_stays_where_it_stood(tmp_path):
    figure, _ = plt.subplots()
    figure.suptitle("left", x=0.01, ha="left")
    save_figure(figure, tmp_path / "01_x", provenance={}, is_simulated=True)
    (title,) = figure.texts
    assert (title.get_text(), title.get_ha()) == ("left (simulated)", "left")
