"""Figures of the training: learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from asdlib.errors import InputError
from asdlib.report.style import DOMAIN_COLOURS, GROUP_COLOURS, WIDTH_WIDE_IN

_PANELS = {"loss": "Loss [nat]", "accuracy": "Accuracy", "scale": "Scale s of AdaCos"}


def draw_training_curves(
    histories: Mapping[Any, pd.DataFrame],
    *,
    epochs: int | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw loss, accuracy and scale over the epochs, one line per seed.

    Parameters
    ----------
    histories : mapping of seed to DataFrame
        Learning curves, with columns ``epoch, loss, accuracy, scale``; any of them may still
        be growing.
    epochs : int, optional
        Epochs planned: fixes the horizontal axis, so that a live figure does not jump.
    figure : Figure, optional
        A figure to draw anew in, for live updating; by default a new one.

    Returns
    -------
    Figure
        7 in wide.

    Raises
    ------
    InputError
        When there is no learning curve.
    """
    if not histories:
        raise InputError("There is no learning curve to draw: expected one per seed.")
    if figure is None:
        figure = plt.figure(figsize=(WIDTH_WIDE_IN, 2.3), layout="constrained")
    figure.clear()
    axes = figure.subplots(1, len(_PANELS))
    for axis, (column, label) in zip(axes, _PANELS.items(), strict=True):
        for number, (seed, history) in enumerate(histories.items()):
            axis.plot(
                history["epoch"],
                history[column],
                color=GROUP_COLOURS[number % len(GROUP_COLOURS)],
                marker="." if len(history) < 3 else None,
                label=f"seed {seed}",
            )
        axis.set_xlabel("Epoch")
        axis.set_ylabel(label)
        last = epochs or max((len(history) for history in histories.values()), default=1)
        axis.set_xlim(1, max(last, 2))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(0, 1.02)
    if len(histories) > 1:
        axes[2].legend(ncols=2 if len(histories) > 5 else 1)
    figure.suptitle(_finding(histories, epochs))
    return figure


def _finding(histories: Mapping[Any, pd.DataFrame], epochs: int | None) -> str:
    last = [history.iloc[-1] for history in histories.values() if len(history)]
    if not last:
        return "Training has not finished its first epoch"
    done = int(min(row["epoch"] for row in last))
    accuracy = [100 * row["accuracy"] for row in last]
    low, high = f"{min(accuracy):.0f}", f"{max(accuracy):.0f}"
    reached = f"{low} %" if low == high else f"{low} to {high} %"
    after = f"{done} of {epochs} epochs" if epochs and done < epochs else f"{done} epochs"
    return f"After {after}, {reached} of the augmented training clips get their class"


def draw_autoencoder_curves(losses: pd.DataFrame) -> Figure:
    """Draw the loss of each machine's autoencoder over the epochs.

    Parameters
    ----------
    losses : DataFrame
        ``machine_type, epoch, loss, validation_loss`` [dB²], of one seed.

    Returns
    -------
    Figure
        One colour per machine; logarithmic loss; held-out frames dashed.
    """
    figure, axis = plt.subplots(figsize=(WIDTH_WIDE_IN, 2.3), layout="constrained")
    for number, (machine_type, curve) in enumerate(losses.groupby("machine_type", sort=True)):
        colour = GROUP_COLOURS[number % len(GROUP_COLOURS)]
        marker = "." if len(curve) < 3 else None
        axis.plot(curve["epoch"], curve["loss"], color=colour, marker=marker, label=machine_type)
        axis.plot(curve["epoch"], curve["validation_loss"], color=colour, marker=marker, ls="--")
    last = losses[losses["epoch"] == losses["epoch"].max()]
    low, high = (last["loss"] ** 0.5).min(), (last["loss"] ** 0.5).max()
    axis.set(yscale="log", xlabel="Epoch", ylabel="Loss [dB²]")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title(
        f"After {losses['epoch'].max()} epochs the autoencoders miss a level by "
        f"{low:.1f} to {high:.1f} dB (dashed: held-out frames)"
    )
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_class_counts(counts: pd.DataFrame) -> Figure:
    """Draw how many training clips every class has, one point per class.

    Parameters
    ----------
    counts : DataFrame
        ``class_name, n_clips`` as from :meth:`asdlib.training.ClassTable.counts`.

    Returns
    -------
    Figure
        Machines from top to bottom; the number of clips on a logarithmic axis; domain = colour,
        grey for supplemental clips.
    """
    parts = counts["class_name"].str.split("|", expand=True, n=3)
    machines = sorted(parts[0].unique())
    domain = parts[2].where(parts[2].isin(["source", "target"]), "unknown")
    figure, axis = plt.subplots(figsize=(WIDTH_WIDE_IN, 0.9 + 0.25 * len(machines)))
    row = parts[0].map({name: number for number, name in enumerate(machines)})
    for name, offset in {"source": -0.2, "target": 0.0, "unknown": 0.2}.items():
        of_domain = (domain == name).to_numpy()
        label = "supplemental" if name == "unknown" else name
        axis.plot(counts["n_clips"][of_domain], row[of_domain] + offset, ".", alpha=0.7,
                  color=DOMAIN_COLOURS[name], label=label)  # fmt: skip
    axis.set_yticks(range(len(machines)), machines)
    axis.set(xscale="log", ylim=(len(machines) - 0.5, -0.5), xlabel="Training clips per class")
    smallest, largest = counts["n_clips"].min(), counts["n_clips"].max()
    axis.set_title(f"{len(counts)} classes of {smallest} to {largest} clips")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
