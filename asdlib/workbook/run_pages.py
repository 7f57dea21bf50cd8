"""Pages of a run beside its notebooks: the report to mail, its figures, the list of all runs."""

from __future__ import annotations

import ast
import base64
import copy
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pandas as pd
from PIL import Image

from asdlib.report.tables import plain, render_verdicts
from asdlib.workbook.notebooks import SCORING, run_pages
from asdlib.workbook.pages import LEARNED, WRITTEN, address, literally, sections, write_page

_Section = tuple[str, list[Any]]  # title and cells
#: Section of the monitoring notebook that tells of what was checked since.
_LOG = "The log"
#: Sections of the scoring notebook that a report begins with, by how their titles begin.
_FIRST = ("Verdict", "Reasons", _LOG, "What would be heard")
#: Sections that prove the method or serve something else, and stay in the notebook. Verdicts are
#: taken from their table, which has their reasons.
_LEFT_OUT = ("Verdict", "A known answer", "A control", "Submission", LEARNED, WRITTEN,
             "The report's KNN", "The final system", "Maps of", "A detector")  # fmt: skip
#: Sections that say nothing without a label.
_MEASURED = ("Metrics", "The report's Table 2", "What each view hears", "Where the errors lie")
_VERDICTS_SHOWN = 100
_LIMITS = """## Limits

- A verdict says that a clip sounds unlike the recordings this run has learnt from, not that
  something is broken, and not what. Whoever knows the machine decides.
- The thresholds promise a false-alarm rate for clips like those of the training sessions. Another
  place of the microphone, another load or another season may sound unlike them, too.
- Levels are relative to digital full scale. Without calibrated units there is no evaluation zone
  of ISO 20816, and none is given.
- Machines with few recordings get wide intervals: a number in brackets says how little it may
  mean."""
_WEBP_QUALITY = 88
#: Columns of verdicts that a number may stand in.
_TEXTS = ("machine_type", "recording", "heard", "reason", "since")


def write_run_pages(out: Path, name: str) -> None:
    """Write report and figures of a run, and the list of all runs, from what the run has left.

    Without its scoring notebook there is no report; of several machines each has its own, too.
    """
    pages = {text: page for text, page in run_pages(out, name).items()
             if page.exists() or "build" not in page.parts[len(out.parts):]}  # fmt: skip
    scoring = out / "build" / name / "notebooks" / f"{SCORING}.ipynb"
    if scoring.exists():
        book = nbformat.read(scoring, 4)  # type: ignore[no-untyped-call]
        write_page(_report(book, out, name), pages["report"], shows_code=False)
        for page in pages["report"].parent.glob("report_*.html"):
            page.unlink()
        machines = _machines(out, name)
        for machine in machines if len(machines) > 1 else []:
            page = pages["report"].with_name(f"report_{machine}.html")
            write_page(_report(book, out, name, machine), page, shows_code=False)
    else:
        pages.pop("report")
    write_page(_gallery(out, name, pages["figures"]), pages["figures"], links=pages,
               shows_code=False)  # fmt: skip
    write_page(_index(out, pages["all runs"]), pages["all runs"], shows_code=False)


def _book(*texts: str) -> Any:
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]  # type: ignore[no-untyped-call]
    return nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]


def _report(scoring: Any, out: Path, name: str, machine: str = "") -> Any:
    """Verdicts and reasons first, then other results, what was learnt from, limits, settings.

    Of one machine its verdicts, and what cells have displayed with ``metadata={"machine": ...}``.
    """
    facts = _facts(out / "results" / name)
    left_out = _LEFT_OUT if _is_labelled(out / "results" / name) else (*_LEFT_OUT, *_MEASURED)
    taken = [part for part in sections(scoring) if not part[0].startswith(left_out)][1:]
    taken += _trend(out, name)
    if machine:
        taken = list(_of_machine(taken, machine))
    verdicts = _book(_verdicts(out / "results" / name, machine))
    taken = [(_FIRST[0], verdicts.cells), *taken]
    order = {title: next((place for place, begin in enumerate(_FIRST) if title.startswith(begin)),
                         len(_FIRST)) for title, _ in taken}  # fmt: skip
    book = _book(_head(facts, out, name, machine))
    for _, cells in sorted(taken, key=lambda part: order[part[0]]):
        # A page that is mailed has no menus.
        book.cells += [cell for cell in cells if not cell.source.startswith("In JupyterLab")]
    for cell in book.cells:
        _shrink_pictures(cell)
    end = _book(_learnt_from(_clips(out, name, machine)), _LIMITS, _settings(facts))
    book.cells += end.cells
    return book


def _is_labelled(results: Path) -> bool:
    """Whether anything could be measured."""
    table = results / "table.csv"
    return not table.exists() or bool(pd.read_csv(table)["value"].notna().any())


def _verdicts(results: Path, machine: str) -> str:
    """Verdicts with their reasons: all of a machine, or the first of a run."""
    numbers = dict.fromkeys(("anomaly_score", "threshold", "percentile", "start_s"), [""])
    table = pd.read_csv(results / "verdicts.csv", dtype=dict.fromkeys(_TEXTS, "string"),
                        keep_default_na=False, na_values=numbers)  # fmt: skip
    if machine:
        table = table[table["machine_type"].eq(machine)].reset_index(drop=True)
    most = len(table) if machine else _VERDICTS_SHOWN
    shown = render_verdicts(table, most=most) if len(table) else "No test clip."
    return f"## Verdicts\n\nFlagged clips first, then by score.\n\n{shown}"


def _of_machine(
    parts: list[tuple[str, list[Any]]], machine: str
) -> Iterator[tuple[str, list[Any]]]:
    """Reduce sections to what they display of one machine, and leave the others out."""
    for title, cells in parts:
        own = [copy.deepcopy(cell) for cell in cells if cell.cell_type == "code"]
        for cell in own:
            cell.outputs = [one for one in cell.outputs
                            if one.get("metadata", {}).get("machine") == machine]  # fmt: skip
        own = [cell for cell in own if cell.outputs]
        if own:
            yield title, [cells[0], *own]


def _trend(out: Path, name: str) -> list[_Section]:
    """Take what was checked since the run from the monitoring notebook, if anything was."""
    monitoring = out / "build" / name / "notebooks" / "06_monitoring.ipynb"
    if not (monitoring.exists() and (out / "bundles" / name / "log.jsonl").exists()):
        return []
    book = nbformat.read(monitoring, as_version=4)  # type: ignore[no-untyped-call]
    for cell in book.cells:
        cell.id = f"monitoring-{cell.id}"
    return [part for part in sections(book) if part[0].startswith(_LOG)]


def _shrink_pictures(cell: Any) -> None:
    """Hand pictures on as WebP, a fifth of their size, so that the page can be mailed."""
    for output in cell.get("outputs", []):
        if "image/png" in output.get("data", {}):
            picture = Image.open(io.BytesIO(base64.b64decode(output.data.pop("image/png"))))
            small = io.BytesIO()
            picture.save(small, format="WEBP", quality=_WEBP_QUALITY)
            source = f"data:image/webp;base64,{base64.b64encode(small.getvalue()).decode()}"
            output.data["text/html"] = f'<img class="figure" alt="" src="{source}">'


def _facts(results: Path) -> dict[str, Any]:
    """Join what the sidecars of a run say; the latest word counts."""
    facts: dict[str, Any] = {"settings": {}}
    for path in sorted(results.glob("*.json"), key=lambda path: path.stat().st_mtime):
        said = json.loads(path.read_text(encoding="utf-8"))
        facts |= said | {"settings": facts["settings"] | said.get("settings", {})}
    return facts


def _head(facts: dict[str, Any], out: Path, name: str, machine: str) -> str:
    """Title, and in a few lines of what and when the report tells."""
    settings = facts["settings"]
    clips = _clips(out, name, machine)
    machines = _machines(out, name)
    lines = {
        "Recordings": f"{len(clips)} clips in {settings.get('data_dir', '')}",
        "Made": f"{_made(facts)} UTC, code {str(facts.get('git', {}).get('commit'))[:10]}",
        "Promise": f"at most {100 - settings.get('decision_percentile', 90):g} % of normal clips "
        "are called anomalous, in either domain; Decisions says what that does not cover",
    }
    pages = {one: f"report_{quote(one)}.html" for one in machines if len(machines) > 1}
    pages |= {"the whole run": "report.html"} if machine else {}
    links = [f"[{plain(one)}]({pages[one]})" if one in pages else plain(one)
             for one in dict.fromkeys([*machines, *pages]) if one != machine]  # fmt: skip
    table = f"| {'See also' if machine else 'Machines'} | {', '.join(links)} |\n" + "\n".join(
        f"| {word} | {plain(text)} |" for word, text in lines.items()
    )
    of = f", {plain(machine)}" if machine else ""
    title = f"# Report: {plain(name)}{of} ({facts.get('corpus', '')} machines)"
    return f"{title}\n\n| | |\n|---|---|\n{table}"


def _made(facts: dict[str, Any]) -> str:
    return str(facts.get("utc", ""))[:16].replace("T", " ")


def _clips(out: Path, name: str, machine: str = "") -> pd.DataFrame:
    path = out / "build" / name / "clips.csv"
    clips = pd.read_csv(path, dtype="string", keep_default_na=False)
    return clips[clips["machine_type"].eq(machine)] if machine else clips


def _machines(out: Path, name: str) -> list[str]:
    return sorted(set(_clips(out, name)["machine_type"]))


def _learnt_from(clips: pd.DataFrame) -> str:
    """Table of the clips of every machine by split and domain."""
    kinds = (clips["split"] + " " + clips["domain"]).str.strip()
    counts = pd.crosstab(clips["machine_type"].map(plain), kinds)
    heading = (
        "## What it has learnt from\n\nNormal training clips alone; test clips are only judged."
    )
    return f"{heading}\n\n{counts.rename_axis('machine').to_markdown()}"


def _settings(facts: dict[str, Any]) -> str:
    """Table of all settings, folded."""
    rows = "".join(
        f"<tr><td>{literally(name)}</td><td>{literally(value)}</td></tr>"
        for name, value in sorted(facts["settings"].items())
    )
    versions = ", ".join(f"{name} {number}" for name, number in facts.get("versions", {}).items())
    return (f"## Settings\n\n{literally(versions)}\n\n<details><summary>all parameters</summary>"
            f"<table>{rows}</table></details>")  # fmt: skip


def _gallery(out: Path, name: str, page: Path) -> Any:
    """All figures of a run; each leads to the cell that made it."""
    texts = [f"# Figures: {plain(name)}"]
    figures = sorted((out / "figures" / name).glob("*.png"))
    for notebook in sorted((out / "build" / name / "notebooks").glob("*.ipynb")):
        book = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
        makers = list(_makers(book))
        items = []
        for figure in figures:
            number, _, rest = figure.stem.removeprefix("simulated_").partition("_")
            cell = next((cell for pattern, cell in makers if pattern.fullmatch(rest)), None)
            if number == notebook.stem[:2] and cell is not None:
                target = address(notebook.with_suffix(".html"), page) + f"#cell-id={cell}"
                shown = address(figure, page)
                items.append(f'<a href="{target}"><img loading="lazy" src="{shown}" alt="">'
                             f"{literally(rest.replace('_', ' '))}</a>")  # fmt: skip
        if items:
            title = notebook.stem.replace("_", " ")
            texts.append(f'## {title}\n\n<div class="gallery">\n' + "\n".join(items) + "\n</div>")
    return _book(*texts)


def _makers(book: Any) -> Iterator[tuple[re.Pattern[str], str]]:
    """Names of figures that the cells of a notebook save, as patterns, with the cells' ids."""
    for cell in [cell for cell in book.cells if cell.cell_type == "code"]:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.save_figure":
                name = node.args[1]
                parts = [name] if isinstance(name, ast.Constant) else ast.iter_child_nodes(name)
                pattern = "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                    for part in parts
                )
                yield re.compile(pattern), cell.id


def _index(out: Path, page: Path) -> Any:
    """All runs below ``results/``, the latest first, with links to what they have left."""
    lines = []
    folders = [path for path in page.parent.iterdir() if path.is_dir() and any(path.glob("*.json"))]
    for folder in sorted(folders, key=lambda path: _facts(path).get("utc", ""), reverse=True):
        facts = _facts(folder)
        places = {**run_pages(out, folder.name), "table": folder / "table.md",
                  "sweep": folder / "sweep.md"}  # fmt: skip
        places.pop("all runs")
        places |= {page.stem.replace("_", " ", 1): page
                   for page in sorted(folder.glob("report_*.html"))}  # fmt: skip
        links = [f'<a href="{address(place, page)}">{text}</a>'
                 for text, place in places.items() if place.exists()]  # fmt: skip
        made = f'<span style="white-space: nowrap">{literally(_made(facts))}</span>'
        lines.append(f"| {plain(folder.name)} | {plain(facts.get('corpus', ''))} | {made} | "
                     f"{', '.join(links)} |")  # fmt: skip
    table = "| run | machines | made (UTC) | pages |\n|---|---|---|---|\n" + "\n".join(lines)
    return _book(f"# Runs\n\n{table}")
