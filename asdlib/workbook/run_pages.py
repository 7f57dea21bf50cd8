"""Pages of a run beside its notebooks: the report to mail, its figures, the list of all runs.

The report takes the cells of the scoring notebook, and of the monitoring notebook where something
was checked, that have a tag ``report-<place>``, in the order of these; those with the tag
``measured`` only where a test clip has a label.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import pandas as pd
from PIL import Image

from asdlib.report.tables import plain, render_verdicts
from asdlib.workbook.notebooks import SCORING, run_pages
from asdlib.workbook.pages import address, literally, tags_of, write_page

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
    facts, results = _facts(out / "results" / name), out / "results" / name
    taken = [*_reported(scoring), *_trend(out, name)]
    if not _is_labelled(results):
        taken = [(place, cell) for place, cell in taken if "measured" not in tags_of(cell)]
    cells = [cell for _, cell in sorted(taken, key=itemgetter(0))]
    book = _book(_head(facts, out, name, machine), _verdicts(results, machine))
    book.cells += _of_machine(cells, machine) if machine else cells
    for cell in book.cells:
        _shrink_pictures(cell)
    end = _book(_learnt_from(_clips(out, name, machine)), _LIMITS, _settings(facts))
    book.cells += end.cells
    return book


def _reported(book: Any) -> list[tuple[str, Any]]:
    """Cells that go into the report, with their places there."""
    return [(tag, cell) for cell in book.cells for tag in tags_of(cell)
            if tag.startswith("report-")]  # fmt: skip


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


def _of_machine(cells: list[Any], machine: str) -> Iterator[Any]:
    """Reduce cells to what they display of one machine, below the headings of these."""
    heading = None
    for cell in cells:
        if cell.source.startswith("## "):
            heading = cell
        own = [one for one in cell.get("outputs", [])
               if one.get("metadata", {}).get("machine") == machine]  # fmt: skip
        if own:
            if heading is not None:
                yield heading
            heading = None
            yield nbformat.from_dict({**cell, "outputs": own})  # type: ignore[no-untyped-call]


def _trend(out: Path, name: str) -> list[tuple[str, Any]]:
    """Take what was checked since the run from the monitoring notebook, if anything was."""
    monitoring = out / "build" / name / "notebooks" / "06_monitoring.ipynb"
    if not (monitoring.exists() and (out / "bundles" / name / "log.jsonl").exists()):
        return []
    book = nbformat.read(monitoring, as_version=4)  # type: ignore[no-untyped-call]
    for cell in book.cells:
        cell.id = f"monitoring-{cell.id}"
    return _reported(book)


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
    for notebook in sorted((out / "build" / name / "notebooks").glob("*.ipynb")):
        book = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
        shown = notebook.with_suffix(".html")
        items = [
            f'<a href="{address(shown, page)}#cell-id={cell}">'
            f'<img loading="lazy" src="{address(figure, page)}" alt="">'
            f"{literally(figure.stem.removeprefix('simulated_')[3:].replace('_', ' '))}</a>"
            for figure, cell in _pictures(book, out / "figures" / name)
        ]
        if items:
            gallery = '<div class="gallery">\n' + "\n".join(items) + "\n</div>"
            texts.append(f"## {notebook.stem.replace('_', ' ')}\n\n{gallery}")
    return _book(*texts)


def _pictures(book: Any, figures: Path) -> Iterator[tuple[Path, str]]:
    """Figures that the cells of a notebook have displayed, with the cells' ids."""
    for cell in book.cells:
        for output in cell.get("outputs", []):
            stem = output.get("metadata", {}).get("image/png", {}).get("alt")
            if stem and (figure := figures / f"{stem}.png").exists():
                yield figure, cell.id


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
