"""Notebooks as pages: one file each, in which nothing runs and which fetches nothing.

Code is folded, contents and the run's other pages stand at the side. What cells with the tag
``learned`` print stands at the top as well; the table of one with the tag ``written`` is folded.
Equations become MathML, which browsers draw by themselves.

What an output holds is not rewritten: the content security policy at the head of ``page.html``,
before anything of the run, lets no script or handler run and no form or address be followed unseen.
"""

from __future__ import annotations

import copy
import html
import os
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from pygments.formatters import HtmlFormatter

from asdlib.base import write_atomically

_PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_FORMULA = re.compile(r"(?<!\\)\$\$(.+?)\$\$|(?<!\\)\$([^$\n]+?)\$", re.DOTALL)
_HEADING = re.compile(r'<h([123]) id="([^"]*)">(.*?)<a class="anchor-link"', re.DOTALL)
_TOKEN = "FORMULA{}x"  # stands for a formula while Markdown becomes HTML
_BAR = re.compile(r"\d+%\|")
_FRAME = re.compile(r'<table[^>]* class="dataframe\b.*?</table>', re.DOTALL)
_TABLE_CELL = re.compile(r"<td([^>]*)>([^<]*)</td>")
_TABLE_HEAD = re.compile(r"<th(?: class=words)?>[^<]*</th>")
_ROW_NUMBER = re.compile(r"<th>\d+</th>\s*(?=<td)")
_NUMBER = re.compile(r"[-+−]?[\d.,]+(e[-+]?\d+)?|")
_MISSING = {"NaN", "nan", "None", "<NA>", "NaT"}
#: Texts of table cells up to this length stay in one line, so that no interval is torn apart.
_SHORT = 32


def write_page(
    book: Any, path: Path, *, links: Mapping[str, Path] | None = None, shows_code: bool = True
) -> None:
    """Write an executed notebook as a page of its own; its first heading is the page's title.

    ``links`` (text to file) stand at its side. Without ``shows_code`` none is in the file.
    """
    book = copy.deepcopy(book)
    for cell in book.cells:
        _leave_bars_out(cell)
    _fold_listing(book)
    _repeat_what_was_learned(book)
    formulas = _take_formulas(book)
    options = {"template_name": "basic", "exclude_input": not shows_code,
               "exclude_input_prompt": True, "exclude_output_prompt": True}  # fmt: skip
    body, _ = HTMLExporter(**options).from_notebook_node(book)  # type: ignore[no-untyped-call]
    for number, formula in enumerate(formulas):
        body = body.replace(_TOKEN.format(number), formula)
    body = _TABLE_CELL.sub(_table_cell, _FRAME.sub(_tidy_frame, body))
    body = _TABLE_HEAD.sub(lambda found: found[0].replace("_", "_<wbr>"), body)
    title = next((re.sub("<[^>]*>", "", text) for _, _, text in _HEADING.findall(body)), path.stem)
    style = HtmlFormatter().get_style_defs(".highlight")
    page = _PAGE.substitute(
        title=title,
        highlight=style,
        navigation=_navigation(body, path, links or {}, shows_code),
        body=body,
    )
    write_atomically(path, page)


def _leave_bars_out(cell: Any) -> None:
    """Take progress bars out of what a cell wrote to standard error."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stderr":
            lines = re.split(r"[\r\n]+", output.text)
            output.text = "\n".join(line for line in lines if line and not _BAR.search(line))
    if "outputs" in cell:
        cell.outputs = [one for one in cell.outputs if one.get("text") != ""]


def tags_of(cell: Any) -> list[str]:
    """Tags of a cell, which say what pages do with it."""
    return list(cell.metadata.get("tags", []))


def _outputs_of(book: Any, tag: str) -> list[Any]:
    return [output for cell in book.cells if tag in tags_of(cell)
            for output in cell.get("outputs", [])]  # fmt: skip


def _fold_listing(book: Any) -> None:
    """Fold the list of the files that a notebook wrote."""
    for output in _outputs_of(book, "written"):
        if listing := output.get("data", {}).get("text/html"):
            summary = f"<summary>{listing.count('<tr') - 1} files</summary>"
            output.data["text/html"] = f"<details>{summary}{listing}</details>"


def _repeat_what_was_learned(book: Any) -> None:
    """Put what a notebook printed as its conclusions below its introduction, too."""
    outputs = _outputs_of(book, "learned")
    printed = [output.text for output in outputs if output.output_type == "stream"]
    if printed:
        text = literally("".join(printed).strip())
        lines = text.replace("\n\n", "\n").replace("\n", "<br>\n")
        box = f'<div class="learned"><b>What we learned</b>\n{lines}</div>'
        book.cells.insert(1, nbformat.v4.new_markdown_cell(box))  # type: ignore[no-untyped-call]


def literally(text: object) -> str:
    """Escape a text for HTML within Markdown, where a dollar would begin a formula."""
    return html.escape(str(text)).replace("$", "&#36;")


def _take_formulas(book: Any) -> list[str]:
    """Replace the formulas of Markdown cells by tokens; gives each as MathML."""
    formulas: list[str] = []

    def replace(found: re.Match[str]) -> str:
        display = "block" if found[1] else "inline"
        formulas.append(convert((found[1] or found[2]).strip(), display=display))
        return _TOKEN.format(len(formulas) - 1)

    for cell in book.cells:
        if cell.cell_type == "markdown":
            cell.source = _FORMULA.sub(replace, cell.source)
    return formulas


def _tidy_frame(found: re.Match[str]) -> str:
    """Leave out what only counts a frame's rows, and put heads of words above the words."""
    table = found[0]
    if 0 < len(_ROW_NUMBER.findall(table)) == table.count("<tr") - 1:
        table = _ROW_NUMBER.sub("", table).replace("<th></th>", "", 1)
    head, body = table.split("<tbody>", 1)
    rows = [[text for _, text in _TABLE_CELL.findall(row)] for row in body.split("</tr>")]
    heads = head.split("<th>")
    for place, column in enumerate(zip(*filter(None, rows), strict=False)):
        number = len(heads) - len(rows[0]) + place
        if head.count("<tr") == 1 and any(not _is_number(text) for text in column):
            heads[number] = f"\0{heads[number]}"
    return "<th>".join(heads).replace("<th>\0", "<th class=words>") + "<tbody>" + body


def _is_number(text: str) -> bool:
    return html.unescape(text.strip()) in _MISSING or bool(_NUMBER.fullmatch(text.strip()))


def _table_cell(found: re.Match[str]) -> str:
    """Keep a short text in one line; words stand left where nothing else is said."""
    style, text = found[1], found[2].strip()
    is_number = _is_number(text)
    text = "" if html.unescape(text) in _MISSING else text
    if len(html.unescape(text)) <= _SHORT:
        text = text.replace(" ", "&nbsp;")
    elif " " not in text and "<" not in text:
        text = text.replace("_", "_<wbr>")  # a long name must not push the last column out
    return f"<td{style or (' class=words' if not is_number else '')}>{text}</td>"


def address(target: Path, page: Path) -> str:
    """Give the address of a file as a page links it."""
    return html.escape(quote(os.path.relpath(target, page.parent)))


def _navigation(body: str, page: Path, links: Mapping[str, Path], shows_code: bool) -> str:
    """Links of the side: the run's other pages, the switch for code, the contents."""
    lines = ["<p>This run</p>", "<ul>"] if links else ["<ul>"]
    for text, target in links.items():
        here = ' class="here"' if target == page else ""
        lines.append(f'<li{here}><a href="{address(target, page)}">{html.escape(text)}</a></li>')
    lines += ["</ul>"]
    if shows_code:
        lines.append('<p><label><input type="checkbox" id="show-code"> show code</label></p>')
    lines += ["<p>Contents</p>", "<ul>"]
    headings = _HEADING.findall(body)
    for level, anchor, text in headings[:1] + [one for one in headings[1:] if one[0] != "1"]:
        lines.append(f'<li class="level{level}"><a href="#{anchor}">{text.strip()}</a></li>')
    return "\n".join([*lines, "</ul>"])
