"""The table of a sweep as Markdown."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from asdlib.report.tables import METRIC_LABELS

_MEANS = ("official_score", "auc_source", "auc_target", "pauc")
_EMPTY = "—"


def render_sweep(
    table: pd.DataFrame, *, title: str, failures: Mapping[str, str] | None = None
) -> str:
    """Write a sweep's table as Markdown: all machines first, then each machine.

    A value reads "0.703 ± 0.012": mean and standard deviation over seeds. A difference reads
    "+1.2 [-0.3, 2.8]": points of 0.01, and its interval over seeds and clips; it is bold where
    the interval does not hold 0.

    Parameters
    ----------
    table : DataFrame
        ``variant, group, system`` and the columns of
        :func:`asdlib.scoring.paired_differences`; the reference is the variant without
        differences.
    title : str
        Heading; says what the data are (for example "simulated").
    failures : mapping of str to str, optional
        Cells without a result, and why.

    Returns
    -------
    str
        Markdown, ending with a line feed.
    """
    whole = table[table["machine_type"] == "all"]
    machines = [name for name in dict.fromkeys(table["machine_type"]) if name != "all"]
    header = ["group", "variant", "system", "seeds", "official score", "difference"]
    lines = [f"# {title}", "", _row([*header, *(METRIC_LABELS[name] for name in _MEANS[1:])])]
    lines.append(_row(["---"] * 3 + ["---:"] * (len(header) - 3 + len(_MEANS) - 1)))
    for variant, rows in whole.groupby("variant", sort=False):
        cells = {row["metric"]: row for row in rows.to_dict(orient="records")}
        first = cells["official_score"]
        fields = [first["group"], str(variant), first["system"], str(first["n_seeds"])]
        fields += [_value(first), _difference(first)]
        lines.append(_row(fields + [_value(cells[name]) for name in _MEANS[1:]]))
    lines += ["", "## Difference to the reference by machine (harmonic mean of its three)", ""]
    lines += [_row(["variant", *machines]), _row(["---"] + ["---:"] * len(machines))]
    own = table[table["metric"] == "hmean"]
    for variant, rows in own.groupby("variant", sort=False):
        by_machine = {row["machine_type"]: row for row in rows.to_dict(orient="records")}
        is_reference = rows["difference"].isna().all()
        show = _value if is_reference else _difference
        lines.append(_row([str(variant), *(show(by_machine[name]) for name in machines)]))
    lines += ["", *_legend(table)]
    if failures:
        lines += ["", "## Cells without a result", ""]
        lines += [f"- {cell}: {reason}" for cell, reason in failures.items()]
    return "\n".join(lines).rstrip() + "\n"


def _value(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["value"]):
        return _EMPTY
    spread = "" if pd.isna(row["spread"]) else f" ± {row['spread']:.3f}"
    return f"{row['value']:.3f}{spread}"


def _difference(row: dict[Hashable, Any]) -> str:
    if pd.isna(row["difference"]):
        return _EMPTY
    text = f"{100 * row['difference']:+.1f}"
    if pd.isna(row["difference_low"]):
        return text
    text += f" [{100 * row['difference_low']:.1f}, {100 * row['difference_high']:.1f}]"
    is_told_apart = row["difference_low"] > 0 or row["difference_high"] < 0
    return f"**{text}**" if is_told_apart else text


def _legend(table: pd.DataFrame) -> list[str]:
    has_seeds = table["n_seeds"].max() > 1
    lines = [
        "Differences in points of 0.01 to the reference, on the same clips and seeds; in brackets "
        f"95 % bootstrap intervals over {'seeds and test clips' if has_seeds else 'test clips'}, "
        "bold where they exclude 0. They are not corrected for the number of variants.  ",
    ]
    if has_seeds:
        lines.append("±: standard deviation over the seeds.  ")
    if 1 < table["n_seeds"].max() < 5:
        few = "Fewer than five seeds tell little of their own scatter: where it exceeds that of "
        lines.append(f"{few}the clips, the intervals are somewhat too narrow.  ")
    reasons = table.loc[table["metric"] == "official_score", ["variant", "reason"]]
    lines += [
        f"{variant}: {reason}.  "
        for variant, reason in zip(reasons["variant"], reasons["reason"], strict=True)
        if reason
    ]
    return lines


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
