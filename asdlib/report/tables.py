"""The report's Table 2 for a run: numbers for programs, Markdown for readers."""

from __future__ import annotations

import html
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from asdlib.base import InputError
from asdlib.scoring import CELL_METRICS, OFFICIAL_METRICS, mean_over_seeds
from asdlib.scoring.decisions import verdict_count

TABLE_COLUMNS = [
    "machine_type", "metric", "system", "value", "spread", "n_seeds", "ci_low", "ci_high",
    "n_normal", "n_anomaly", "reason", "source",
]  # fmt: skip
METRIC_LABELS = {
    "auc_source": "AUC (source)",
    "auc_target": "AUC (target)",
    "pauc": "pAUC",
    "hmean": "harmonic mean",
    "official_score": "official score",
}
EMPTY = "—"
_MARKUP = re.compile(r"([\\`*|\[\]~])")


def plain(text: object) -> str:
    """Escape a name for Markdown, so that it is shown as it is and does nothing else."""
    escaped = _MARKUP.sub(r"\\\1", html.escape(" ".join(str(text).split()), quote=False))
    # Two dollars in one element are a formula to MathJax, escaped or not.
    return escaped.replace("$", r"<span>\$</span>")


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, n_text: int
) -> list[str]:
    """Lines of a table; the first ``n_text`` columns to the left, the others to the right."""
    ruler = ["---"] * n_text + ["---:"] * (len(header) - n_text)
    return ["| " + " | ".join(cells) + " |" for cells in (header, ruler, *rows)]


def value_text(row: Mapping[Hashable, Any]) -> str:
    """Mean and, over several seeds, standard deviation: "0.703 ± 0.012"; a dash without a value."""
    if pd.isna(row["value"]):
        return EMPTY
    spread = "" if pd.isna(row["spread"]) else f" ± {row['spread']:.3f}"
    return f"{row['value']:.3f}{spread}"


def explained_names(names: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Lines below a table: what there is to say of a name, where there is something."""
    pairs = zip(names, texts, strict=True)
    return [f"{plain(name)}: {plain(text)}.  " for name, text in pairs if text]


def result_table(metrics: pd.DataFrame, *, published: pd.DataFrame | None = None) -> pd.DataFrame:
    """Arrange the metrics of a run (`asdlib.scoring.evaluate`) as the report's Table 2.

    ``TABLE_COLUMNS``, values 0 to 1, averaged over seeds: a row per machine, metric (AUC source,
    AUC target, pAUC) and system, then the means over all machines and the official score.

    ``published`` (``system, machine_type, metric, value, source``) stand beside the run, only where
    they were measured on the same clips; those of machines that the run has not are left out, and
    so are their means unless the run has their machines and no others. ``source`` is empty for the
    run. `InputError` when a published system has the name of one of the run's systems.
    """
    run = mean_over_seeds(metrics).assign(source="")
    machines = [name for name in dict.fromkeys(run["machine_type"]) if name != "all"]
    parts = [run]
    if published is not None:
        doubled = set(published["system"]) & set(run["system"])
        if doubled:
            raise InputError(
                f"{sorted(doubled)[0]}: is the name of a system of this run and of a published "
                "one. Rename the run's."
            )
        parts.append(_comparable(published, machines))
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    wanted = [(name, metric) for name in machines for metric in CELL_METRICS]
    wanted += [("all", metric) for metric in (*CELL_METRICS, "official_score")]
    order = pd.DataFrame(wanted, columns=["machine_type", "metric"])
    order = order.merge(pd.DataFrame({"system": table["system"].unique()}), how="cross")
    table = order.merge(table).reindex(columns=TABLE_COLUMNS)
    counts = ["n_seeds", "n_normal", "n_anomaly"]
    return table.astype(dict.fromkeys(counts, "Int64")).fillna({"reason": ""})


def render_markdown(
    table: pd.DataFrame,
    *,
    title: str,
    notes: tuple[str, ...] = (),
    verdicts: pd.DataFrame | None = None,
) -> str:
    """Write a result table as Markdown, one column per system.

    A value reads "0.703 [0.620, 0.780]" (interval over clips), with several seeds
    "0.703 ± 0.012 [...]" (mean and spread). What cannot be computed is a dash with a footnote.
    ``title`` says what the data are (for example "simulated"); ``notes`` are lines below the table.
    ``verdicts`` (`asdlib.scoring.verdict_table`) stand first, and instead of an empty table.
    """
    text = [f"# {plain(title)}", ""]
    if verdicts is not None:
        text += ["## Verdicts", "", render_verdicts(verdicts)]
    if verdicts is None or table["value"].notna().any():
        text += _metric_lines(table)
    text += [f"{plain(note)}  " for note in notes]
    return "\n".join(text).rstrip() + "\n"


def _metric_lines(table: pd.DataFrame) -> list[str]:
    """Lines of the table of metrics, its footnotes and its legend."""
    footnotes: dict[str, int] = {}
    systems = list(dict.fromkeys(table["system"]))
    previous, lines = "", []
    for (machine_type, metric), rows in table.groupby(["machine_type", "metric"], sort=False):
        label = "**all (harmonic mean)**" if machine_type == "all" else plain(machine_type)
        cells = {row["system"]: _value_text(row, footnotes) for row in rows.to_dict("records")}
        first = label if machine_type != previous else ""
        values = [cells.get(system, "") for system in systems]
        lines.append([first, METRIC_LABELS[str(metric)], _count_text(rows), *values])
        previous = str(machine_type)
    header = ["machine", "metric", "normal / anomalous", *map(plain, systems)]
    text = [*markdown_table(header, lines, n_text=2), ""]
    text += [f"[{number}] {plain(reason)}  " for reason, number in footnotes.items()]
    return text + _legend(table)


def render_verdicts(verdicts: pd.DataFrame, *, most: int = 20) -> str:
    """Write the first verdicts (`asdlib.scoring.verdict_table`) and how many there are of a kind.

    Columns are as wide as their entries, for terminals; ``since`` and ``reason`` only
    where there are any.
    """
    shown = verdicts.head(most)
    records = shown.to_dict(orient="records")
    columns = {
        "machine": shown["machine_type"].map(plain),
        "recording": pd.Series([_recording_text(row) for row in records]),
        "verdict": shown["verdict"],
        "score": shown["anomaly_score"].map("{:.2f}".format),
        "threshold": shown["threshold"].map("{:.2f}".format).replace("nan", ""),
        "above": shown["percentile"].map("{:.0f} %".format).replace("nan %", ""),
        "since": shown["since"].astype(str).map(_minute),
        "heard by": shown["heard"],
        "reason": shown["reason"].map(plain),
    }
    for name in ("since", "reason"):
        if not columns[name].any():
            del columns[name]
    cells = [[name, *map(str, values)] for name, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    padded = [[text.ljust(width) for text in column]
              for column, width in zip(cells, widths, strict=True)]  # fmt: skip
    header, *rows = map(list, zip(*padded, strict=True))
    lines = markdown_table(header, rows, n_text=len(header))
    lines += ["", "above: share of the machine's training clips that score lower.  "]
    return "\n".join([*lines, verdict_count(verdicts, n_shown=len(shown))]) + "\n"


def _minute(since: str) -> str:
    """Date and time; nothing where the name of a recording stands for them."""
    return since[:16].replace("T", " ") if re.match(r"\d{4}-\d{2}-\d{2}", since) else ""


def _recording_text(row: dict[Hashable, Any]) -> str:
    """Name of the recording, and where in it the clip begins."""
    name = plain(str(row["recording"]).rpartition(f"{row['machine_type']}/")[2])
    return f"{name} from {row['start_s']:g} s" if row["start_s"] else name


def differences(table: pd.DataFrame, *, system: str) -> pd.DataFrame:
    """Subtract the published figures in a `result_table` from those of one of the run's systems.

    ``machine_type, metric, system, published_system, value, published, difference``, a row per
    cell; positive where the run's value is larger. Empty without published figures.
    """
    keys = ["machine_type", "metric"]
    own = table.loc[table["system"].eq(system) & table["source"].eq(""), [*keys, "system", "value"]]
    others = table.loc[table["source"].ne(""), [*keys, "system", "value"]]
    others = others.rename(columns={"system": "published_system", "value": "published"})
    joined = own.merge(others, on=keys)
    joined["difference"] = joined["value"] - joined["published"]
    columns = [*keys, "system", "published_system", "value", "published", "difference"]
    return joined[columns]


def render_differences(differences: pd.DataFrame) -> str:
    """Write what :func:`differences` found, if anything, one column per published system."""
    others = list(dict.fromkeys(differences["published_system"]))
    system = plain(differences["system"].iloc[0])
    lines = []
    for (machine_type, metric), rows in differences.groupby(["machine_type", "metric"], sort=False):
        values = rows.set_index("published_system")["difference"].reindex(others)
        texts = ["" if pd.isna(value) else f"{value:+.3f}" for value in values]
        lines.append([plain(machine_type), METRIC_LABELS[str(metric)], *texts])
    text = ["", f"## {system}, difference to the published figures", ""]
    text += markdown_table(["machine", "metric", *map(plain, others)], lines, n_text=2)
    return "\n".join(text) + "\n"


def render_official(official: pd.DataFrame) -> str:
    """Write tables of :func:`asdlib.scoring.official_table`, one block per ``system``."""
    text: list[str] = []
    header = ["machine", "row", "AUC", "pAUC", "precision", "recall", "F1"]
    for system, rows in official.groupby("system", sort=False):
        values = rows[list(OFFICIAL_METRICS)].to_numpy(dtype=float)
        named = zip(rows["machine_type"], rows["row"], values, strict=True)
        lines = [
            [plain(machine_type), name, *("" if np.isnan(x) else f"{x:.4f}" for x in row)]
            for machine_type, name, row in named
        ]
        text += ["", f"## {plain(system)}: the organisers' table", ""]
        text += markdown_table(header, lines, n_text=2)
    return "\n".join(text) + "\n"


def _comparable(published: pd.DataFrame, machines: list[str]) -> pd.DataFrame:
    """Keep the machines of a run, and means over machines where these are the run's."""
    known = published["machine_type"]
    has_all = known.groupby(published["system"]).transform(
        lambda names: set(names) - {"all"} == set(machines)
    )
    return published[known.isin(machines) | (known.eq("all") & has_all)]


def _value_text(row: dict[Hashable, Any], footnotes: dict[str, int]) -> str:
    reason = str(row["reason"])
    mark = f" [{footnotes.setdefault(reason, len(footnotes) + 1)}]" if reason else ""
    text = value_text(row)
    if pd.notna(row["value"]) and pd.notna(row["ci_low"]):
        text += f" [{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    return text + mark


def _count_text(rows: pd.DataFrame) -> str:
    counts = rows.dropna(subset=["n_normal"])[["n_normal", "n_anomaly"]].drop_duplicates()
    return "; ".join(
        f"{normal} / {anomalous}"
        for normal, anomalous in zip(counts["n_normal"], counts["n_anomaly"], strict=True)
    )


def _legend(table: pd.DataFrame) -> list[str]:
    lines = []
    if table["ci_low"].notna().any():
        lines.append("In brackets: bootstrap interval over test clips.  ")
    seeds = table["n_seeds"].max()
    if pd.notna(seeds) and seeds > 1:
        lines.append(f"±: standard deviation over {seeds} seeds, of which the mean is shown.  ")
    cited = table[["system", "source"]].drop_duplicates()
    return lines + explained_names(cited["system"], cited["source"])
