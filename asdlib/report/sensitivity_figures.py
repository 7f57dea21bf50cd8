"""Figures of a rehearsal: which changes a detector finds, and from which strength on."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from asdlib.report.style import COLUMNS, GROUP_COLOURS, WIDTH_WIDE_IN, make_panels
from asdlib.scoring import LEARNT


def draw_found_from(rates: pd.DataFrame, *, corpus: str) -> Figure:
    """Draw from which strength on every kind of change is found, machine by machine.

    Parameters
    ----------
    rates : DataFrame
        As from :func:`asdlib.scoring.detection_rates`; the system ``final`` is shown.
    corpus : str
        "simulated" or "recorded", for the title.

    Returns
    -------
    Figure
        Heat map: colour is the probability of detection over all strengths, the number the
        strength from which on it reaches 90 %; a dash where it never does.
    """
    final = rates[rates["system"] == "final"]
    share = final.pivot_table(index="kind", columns="machine_type", values="pod", sort=False)
    shown = final.drop_duplicates(["kind", "machine_type"]).set_index(["kind", "machine_type"])
    words = pd.DataFrame("–", index=share.index, columns=share.columns)
    for row in shown[shown["found_from"].notna()].reset_index().itertuples():
        words.loc[row.kind, row.machine_type] = f"{row.found_from:.0f} {row.unit}"
    figure, ax = plt.subplots(figsize=(WIDTH_WIDE_IN, 1.2 + 0.27 * len(share)))
    sns.heatmap(
        share, ax=ax, vmin=0, vmax=1, cmap="viridis", annot=words,
        fmt="", annot_kws={"size": 8}, linewidths=0.5,
        cbar_kws={"label": "Probability of detection"},
    )  # fmt: skip
    ax.set(xlabel="", ylabel="", title=f"Found with 90 % probability from ... on ({corpus})")
    ax.tick_params(axis="x", rotation=30)
    ax.tick_params(axis="y", rotation=0)
    return figure


def draw_detection_curves(rates: pd.DataFrame, machine_type: str, *, corpus: str) -> Figure:
    """Draw the probability of detection of one machine against the strength of every change.

    Parameters
    ----------
    rates : DataFrame
        As from :func:`asdlib.scoring.detection_rates`.
    machine_type : str
        Which machine.
    corpus : str
        "simulated" or "recorded", for the title.

    Returns
    -------
    Figure
        A panel per kind: the final system with its exact 95 % interval, the profile that hears
        the kind best, and the false alarms of the unchanged clips as a dotted line.
    """
    own = rates[rates["machine_type"] == machine_type]
    kinds = own["kind"].unique()
    figure, panels = make_panels(len(kinds))
    for ax, kind in zip(panels, kinds, strict=True):
        of_kind = own[own["kind"] == kind]
        final = of_kind[of_kind["system"] == "final"]
        views = of_kind[~of_kind["system"].isin(["final", *LEARNT])]
        best = views.groupby("system", sort=False)["auc"].mean().idxmax() if len(views) else ""
        view = views[views["system"] == best]
        error = [final["pod"] - final["pod_low"], final["pod_high"] - final["pod"]]
        ax.errorbar(final["strength"], final["pod"], yerr=error, color=GROUP_COLOURS[0],
                    marker="o", ms=3, lw=1.2, elinewidth=0.6, label="final")  # fmt: skip
        ax.plot(view["strength"], view["pod"], color=GROUP_COLOURS[1], ls="--", lw=1, marker="s",
                ms=2.5)  # fmt: skip
        ax.axhline(final["false_alarms"].iloc[0], color="grey", ls=":", lw=0.8)
        ax.set(ylim=(-0.05, 1.05), xlabel=f"Strength [{final['unit'].iloc[0]}]")
        ax.set_title(f"{kind}\n({best})" if best else kind, fontsize=8)
    for ax in panels[::COLUMNS]:
        ax.set_ylabel("POD")
    figure.suptitle(
        f"{machine_type}: probability of detection ({corpus})\n"
        "solid: final, dashed: best profile (named), dotted: false alarms",
        fontsize=9,
    )
    return figure
