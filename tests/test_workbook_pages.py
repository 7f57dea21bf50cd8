"""Pages: nothing runs or is fetched, bars and code stay out, conclusions come first."""

import base64
import json
import re
from html import unescape

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest

from asdlib.report.output import save_table
from asdlib.report.tables import plain, render_verdicts
from asdlib.workbook.notebooks import run_pages
from asdlib.workbook.pages import write_page
from asdlib.workbook.run_pages import write_run_pages

NEW = nbformat.v4
HOSTILE = "<script>alert(1)</script>"
BAR = "decoding:  40%|████      | 4/10 [00:01<00:01,  3.3 clip/s]"


def stream(text, name="stdout"):
    return NEW.new_output("stream", name=name, text=text)


def code(source, *outputs, cell_id, tags=()):
    cell = NEW.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})
    cell.id = cell_id
    return cell


def words(source, *tags):
    return NEW.new_markdown_cell(source, metadata={"tags": list(tags)})


@pytest.fixture
def book():
    table = pd.DataFrame({"auc_source": ["0.690 [0.520, 0.830]"], "note": ["long " * 20], "n": [3]})
    html = NEW.new_output("display_data", {"text/html": table.to_html(index=False)})
    cells = [
        NEW.new_markdown_cell("# 4. Scores of *all*\n\n**A question?**"),
        NEW.new_markdown_cell("The scale is $\\sqrt{2} \\ln(C - 1)$:\n\n$$s = \\frac{1}{B}$$"),
        code("secret_code = 1", stream(f"\r{BAR}\r{BAR}\nreal warning\n", "stderr"), cell_id="a"),
        NEW.new_markdown_cell("text\n\n## Verdicts\nflagged first"),
        code("f'{x}'", html, stream(f"{BAR}\n", "stderr"), cell_id="b"),
        NEW.new_markdown_cell("## A control: shuffled"),
        NEW.new_markdown_cell("## What we learned"),
        code("print()", stream(f"final: $0.7\n{HOSTILE}\n"), cell_id="c", tags=["learned"]),
        NEW.new_markdown_cell("## Written to disk"),
        code("run.written()", html, cell_id="d", tags=["written"]),
    ]
    return NEW.new_notebook(cells=cells)


@pytest.fixture
def page(book, tmp_path):
    path = tmp_path / "04.html"
    write_page(book, path, links={"here": path, "there": tmp_path / "a b" / "x.html"})
    return path.read_text()


def test_page_has_no_script_and_fetches_nothing(page):
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:|#|[a-z0-9%/.]+html")', page)
    assert "http" not in re.sub("http-equiv|http://www.w3.org/1998/Math/MathML", "", page)


def test_title_contents_and_links(page):
    assert "<title>4. Scores of all</title>" in page
    contents = re.findall(r'<li class="level\d"><a href="#([^"]*)">', page)
    assert contents[1:] == ["Verdicts", "A-control:-shuffled", "What-we-learned", "Written-to-disk"]
    assert all(f'id="{anchor}"' in page for anchor in contents)
    assert '<li class="here"><a href="04.html">here</a></li>' in page
    assert '<a href="a%20b/x.html">there</a>' in page


def test_policy_comes_before_anything_of_the_run_and_lets_nothing_run(page):
    before, policy = re.search(r'(.*)http-equiv="Content-Security-Policy" content="([^"]*)"', page,
                               re.DOTALL).groups()  # fmt: skip
    assert "4. Scores" not in before
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'",  # scripts, handlers, frames, objects, fonts, requests
        "style-src": "'unsafe-inline'", "img-src": "data: file: 'self'", "media-src": "data:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip


NAMES = ["<img src=x onerror=alert(1)>", "a|b", "$x$ and $\\frac{$", '=HYPERLINK("x")']


@pytest.mark.parametrize("name", NAMES)
def test_names_of_recordings_are_shown_and_do_nothing(tmp_path, name):
    recording = f"fan/{name}.wav"
    row = {"machine_type": "fan", "recording": recording, "start_s": 0.0, "since": recording,
           "verdict": "anomalous", "anomaly_score": 2.0, "threshold": 1.0, "percentile": 99.0,
           "heard": "knn", "reason": name, "domain": ""}  # fmt: skip
    verdicts = pd.DataFrame([row])
    shown = NEW.new_output("display_data", {"text/html": verdicts.to_html()})
    cells = [
        NEW.new_markdown_cell(f"# {plain(name)}\n\n{render_verdicts(verdicts)}"),
        code("x", shown, stream(name), cell_id="a"),
        NEW.new_markdown_cell("## What we learned"),
        code("y", stream(name), cell_id="b", tags=["learned"]),
    ]
    write_page(NEW.new_notebook(cells=cells), tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text()
    assert "<img" not in page
    assert "<math" not in page
    assert "FORMULA" not in page
    body = unescape(re.sub("<[^>]*>", "", page[page.index("<main>") :])).replace("\xa0", " ")
    assert body.count(name) >= 8
    assert page.count("<tr") == 2 + 2
    save_table(verdicts, tmp_path / "verdicts.csv", provenance={})
    read = pd.read_csv(tmp_path / "verdicts.csv")
    assert read.loc[0, "recording"] == recording
    assert read.loc[0, "reason"] == "'" * name.startswith("=") + name


def test_conclusions_stand_at_the_top_and_are_escaped(page):
    assert page.index("final: $0.7") < page.index("real warning")
    assert page.count("&lt;script&gt;alert(1)") == 2


def test_progress_bars_are_left_out_and_warnings_are_not(page):
    assert "real warning" in page
    assert "40%" not in page


def test_formulas_become_mathml_and_dollars_elsewhere_stay(page):
    assert page.count("<math ") == 2
    assert 'display="block"' in page
    assert "$" not in page.replace("final: $0.7", "")


def test_short_cells_stay_in_one_line_and_the_list_of_files_is_folded(page):
    assert "0.690&nbsp;[0.520,&nbsp;0.830]" in page
    assert "long long" in page
    assert "auc_<wbr>source" in page
    assert "<details><summary>1 files</summary>" in page


def test_long_names_may_break_so_that_the_last_column_stays_on_the_page(tmp_path):
    name = "section_00_source_test_anomaly_0006_volt_2.5_wt_50.wav"
    cell = NEW.new_markdown_cell(f"# Names\n\n| a | b |\n|---|---|\n| {name} | 1 |")
    write_page(NEW.new_notebook(cells=[cell]), tmp_path / "page.html")
    assert name.replace("_", "_<wbr>") in (tmp_path / "page.html").read_text()


def test_numbers_of_rows_and_missing_values_are_left_out(tmp_path):
    frame = pd.DataFrame({"kind": ["tone", "level"], "auc": [0.5, None]}, index=[7, 3])
    named = frame.set_index("kind")
    shown = [frame.to_html(), named.to_html(classes="tex2jax_ignore")]
    outputs = [NEW.new_output("display_data", {"text/html": one}) for one in shown]
    cells = [NEW.new_markdown_cell("# T"), NEW.new_code_cell("", outputs=outputs)]
    write_page(NEW.new_notebook(cells=cells), tmp_path / "t.html")
    first, second = re.findall("<table.*?</table>", (tmp_path / "t.html").read_text(), re.DOTALL)
    assert "<th>7</th>" not in first
    assert "NaN" not in first + second
    assert "<th class=words>kind</th>" in first
    assert "<th>auc</th>" in first
    assert "<th>tone</th>" in second


def test_code_is_folded_or_left_out(book, page, tmp_path):
    assert "secret_code" in page
    assert 'id="show-code"' in page
    write_page(book, tmp_path / "r.html", shows_code=False)
    assert "secret_code" not in (tmp_path / "r.html").read_text()


VERDICTS = pd.DataFrame(
    {"machine_type": ["pump", "fan 2"], "recording": ["p.wav", "f.wav"], "start_s": 0.0,
     "since": "", "verdict": "normal", "anomaly_score": [1.0, 2.0], "threshold": [1.5, None],
     "percentile": 50.0, "heard": "", "reason": ["a tone", ""]}
)  # fmt: skip


@pytest.fixture
def out(book, tmp_path):
    """A run that has left a scoring notebook, a figure, a table and the clip table."""
    notebooks = tmp_path / "build" / "my run" / "notebooks"
    results, figures = tmp_path / "results" / "my run", tmp_path / "figures" / "my run"
    for folder in (notebooks, results, figures):
        folder.mkdir(parents=True)
    figure, _ = plt.subplots()
    figure.savefig(figures / "simulated_04_explain_pump.png")
    picture = base64.b64encode((figures / "simulated_04_explain_pump.png").read_bytes()).decode()
    named = {"image/png": {"alt": "simulated_04_explain_pump"}}
    png = NEW.new_output("display_data", {"image/png": picture}, metadata=named)
    book.cells.insert(3, words("## What would be heard", "report-3"))
    book.cells.insert(4, words("## Reasons", "report-1"))
    book.cells.insert(5, code("draw()", png, cell_id="why", tags=["report-1"]))
    book.cells.insert(6, words("In JupyterLab any clip can be chosen."))
    nbformat.write(book, notebooks / "04_knn_scoring.ipynb")
    write_page(book, notebooks / "04_knn_scoring.html")
    cells = [NEW.new_markdown_cell("# 6. Monitoring"), words("## The log: trend", "report-2")]
    nbformat.write(NEW.new_notebook(cells=cells), notebooks / "06_monitoring.ipynb")
    (tmp_path / "bundles" / "my run").mkdir(parents=True)
    (tmp_path / "bundles" / "my run" / "log.jsonl").write_text("{}")
    clips = {"machine_type": ["pump", "pump"], "split": ["train", "test"], "domain": ["source", ""]}
    pd.DataFrame(clips).to_csv(tmp_path / "build" / "my run" / "clips.csv")
    facts = {"corpus": "simulated", "utc": "2026-01-02T03:04:05+00:00", "git": {"commit": "abc"},
             "settings": {"data_dir": "<b>$data$</b>", "decision_percentile": 95.0}}  # fmt: skip
    (results / "scores.csv.json").write_text(json.dumps(facts))
    VERDICTS.to_csv(results / "verdicts.csv", index=False)
    write_run_pages(tmp_path, "my run")
    return tmp_path


def test_report_tells_verdicts_then_reasons_then_limits_in_one_file(out):
    text = run_pages(out, "my run")["report"].read_text().replace("&nbsp;", " ")
    order = ["Report: my run (simulated machines)", "2026-01-02 03:04", "at most 5 %",
             'id="Verdicts"', "a tone", 'id="Reasons"', 'id="The-log:-trend"',
             'id="What-would-be-heard"', 'id="What-it-has-learnt-from"', 'id="Limits"',
             "ISO 20816", 'id="Settings"']  # fmt: skip
    places = [text.index(word, text.index("<main>")) for word in order]
    assert places == sorted(places)
    assert "A control" not in text
    assert "secret_code" not in text
    assert "JupyterLab" not in text
    assert "data:image/webp" in text
    assert "<b>$" not in text
    assert "<math" not in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "@media print" in text


@pytest.mark.parametrize("value", [0.5, None])
def test_a_report_without_labels_has_no_empty_sections(out, value):
    place = out / "build" / "my run" / "notebooks" / "04_knn_scoring.ipynb"
    notebook = nbformat.read(place, 4)
    notebook.cells.append(words("## Where the errors lie", "report-4", "measured"))
    nbformat.write(notebook, place)
    pd.DataFrame({"value": [value]}).to_csv(out / "results" / "my run" / "table.csv")
    write_run_pages(out, "my run")
    text = run_pages(out, "my run")["report"].read_text()
    assert ('id="Where-the-errors-lie"' in text) == (value is not None)


def test_each_of_several_machines_has_a_report_of_its_own(out):
    build, results = out / "build" / "my run", out / "results" / "my run"
    clips = pd.read_csv(build / "clips.csv")
    fan = clips.assign(machine_type="fan 2")
    pd.concat([clips, fan]).to_csv(build / "clips.csv", index=False)
    book = nbformat.read(build / "notebooks" / "04_knn_scoring.ipynb", 4)
    why = next(cell for cell in book.cells if cell.id == "why")
    why.outputs[0].metadata["machine"] = "pump"
    nbformat.write(book, build / "notebooks" / "04_knn_scoring.ipynb")
    (results / "report_gone.html").write_text("of a machine that is left out by now")
    write_run_pages(out, "my run")
    pump = (results / "report_pump.html").read_text()
    other = (results / "report_fan 2.html").read_text()
    assert "Report: my run, pump (simulated machines)" in pump
    assert ("p.wav" in pump, "f.wav" in pump) == (True, False)
    assert ('id="Reasons"' in pump, 'id="Reasons"' in other) == (True, False)
    assert ("data:image/webp" in pump, "data:image/webp" in other) == (True, False)
    assert "2 clips in" in pump.replace("&nbsp;", " ")
    assert 'href="report.html"' in pump
    assert 'href="report_fan%202.html"' in run_pages(out, "my run")["report"].read_text()
    assert 'href="my%20run/report_fan%202.html"' in (out / "results/index.html").read_text()
    assert not (results / "report_gone.html").exists()


def test_figures_lead_to_the_cells_that_made_them(out):
    page = run_pages(out, "my run")["figures"]
    text = page.read_text()
    target = "../../build/my%20run/notebooks/04_knn_scoring.html"
    assert f'<a href="{target}#cell-id=why">' in text
    assert 'src="../../figures/my%20run/simulated_04_explain_pump.png"' in text
    assert 'id="cell-id=why"' in (page.parent / target.replace("%20", " ")).read_text()


def test_list_of_runs_links_what_is_there(out):
    text = run_pages(out, "my run")["all runs"].read_text()
    assert '<a href="my%20run/report.html">report</a>' in text
    assert '<a href="../build/my%20run/notebooks/04_knn_scoring.html">04 knn scoring</a>' in text
    assert "01 spectrum" not in text
