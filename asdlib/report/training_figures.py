"""Figures of notebook 03: the network's layers, learning curves while they grow, the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from IPython.display import display
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor, nn

from asdlib.base import InputError
from asdlib.data.audio import REMOVED_DB
from asdlib.data.simulate.machines import COMPANION
from asdlib.report import style
from asdlib.training import TrainSettings, count_parameters
from asdlib.training.network import InputStandardisation, ResidualBlock, SqueezeExcitation

_PANELS = {"loss": "Loss [nat]", "accuracy": "Accuracy"}


def layer_table(
    settings: TrainSettings, *, n_mels: int, n_frames: int, n_bins: int = 0
) -> pd.DataFrame:
    """List the layers of a network for clips of ``n_mels`` bands and ``n_frames`` frames, in order.

    With a spectrum of ``n_bins``, two branches. Columns ``layer`` (name), ``kind`` (what it does),
    ``output`` (shape for one clip: channels, then bands and frames), ``parameters`` (trainable, in
    all the network's). A residual block is one row, activations have none. Draws no random number.
    """
    rows: list[tuple[str, str, str, int]] = []

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, _: Any, output: Tensor) -> None:
            shape = " × ".join(map(str, output.shape[1:]))
            rows.append((name, _kind_of_layer(module), shape, count_parameters(module)))

        return hook

    with torch.device("meta"):  # shapes without numbers
        network = settings.network(n_mels=n_mels, n_bins=n_bins).eval()
        inputs = [torch.zeros(1, 1, n_mels, n_frames)]
        inputs += [torch.zeros(1, 1, n_bins, 1)] if n_bins else []
    shown = {name: module for name, module in network.named_modules() if _kind_of_layer(module)}
    for name, module in shown.items():
        if not any(name.startswith(f"{other}.") for other in shown):
            module.register_forward_hook(note(name))
    network(*inputs)
    return pd.DataFrame(rows, columns=["layer", "kind", "output", "parameters"])


def _kind_of_layer(module: nn.Module) -> str:
    """Say what a layer that has a row in the table does; nothing of one that has none."""
    if isinstance(module, ResidualBlock):
        stride, shortcut = module.conv1.stride[0], "1×1" if len(module.shortcut) else "identity"
        return f"2 convolutions 3×3, stride {stride}, squeeze-and-excitation, {shortcut} shortcut"
    if isinstance(module, SqueezeExcitation):
        return f"squeeze-and-excitation by {module.squeeze.out_features} values"
    if isinstance(module, InputStandardisation):
        return f"standardisation by the {module.input_norm}"
    if isinstance(module, nn.MaxPool2d):
        return f"maximum of {module.kernel_size}×{module.kernel_size}, stride {module.stride}"
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        size = "×".join(map(str, module.kernel_size))
        return f"convolution {size}, stride {module.stride[0]}"
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return "batch normalisation"
    return "linear" if isinstance(module, nn.Linear) else ""


class LiveCurves:
    """Learning curves in a notebook, drawn anew whenever there is more to see."""

    def __init__(self, corpus: str) -> None:
        self.corpus = corpus  # "simulated" or "recorded", for the title
        self.histories: dict[int, pd.DataFrame] = {}  # by seed
        self.figure = Figure()  # the newest
        self.handle: Any = None  # of the shown figure, for the picture that is saved of it

    def show(self, seed: int, history: pd.DataFrame) -> None:
        """Draw the curve of a seed beside the others, in the place of the figure before."""
        self.histories[seed] = history
        self.figure = draw_training_curves(self.histories, corpus=self.corpus)
        if self.handle is None:
            self.handle = display(self.figure, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.handle.update(self.figure)
        plt.close(self.figure)


def draw_training_curves(histories: Mapping[Any, pd.DataFrame], *, corpus: str) -> Figure:
    """Draw loss and accuracy over the epochs, one line per seed.

    ``histories`` of every seed, at least one, have the columns ``epoch, loss, accuracy``;
    any of them may still be growing. ``corpus``: "simulated" or "recorded", for the title.
    """
    if not histories:
        raise InputError("There is no learning curve to draw: expected one per seed.")
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(style.WIDTH_WIDE_IN, 2.3))
    for axis, (column, label) in zip(axes, _PANELS.items(), strict=True):
        for number, (seed, history) in enumerate(histories.items()):
            axis.plot(history["epoch"], history[column], label=f"seed {seed}",
                      **_look(number, history))  # fmt: skip
        axis.set(xlabel="Epoch", ylabel=label)
        first = min(1, *(history["epoch"].min() for history in histories.values()))
        axis.set_xlim(first, max(2, *(len(history) for history in histories.values())))
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(0, 1.02)
    if len(histories) > 1:
        axes[1].legend(ncols=2 if len(histories) > 5 else 1)
    style.set_wrapped_title(figure, f"{_finding(histories)} ({corpus})")
    return figure


def _look(number: int, curve: pd.DataFrame) -> dict[str, Any]:
    """Colour of the curve with a number; a curve of few epochs has points."""
    colour = style.group_colour(number)
    return {"color": colour, "marker": "." if len(curve) < 3 else None}


def _finding(histories: Mapping[Any, pd.DataFrame]) -> str:
    last = [history.iloc[-1] for history in histories.values() if len(history)]
    done = min((row["epoch"] for row in last), default=0)
    if done < 1:
        return "Training has not finished its first epoch"
    accuracy = [100 * row["accuracy"] for row in last]
    low, high = f"{min(accuracy):.0f}", f"{max(accuracy):.0f}"
    reached = f"{low} %" if low == high else f"{low} to {high} %"
    return f"After {done:.3g} epochs, {reached} of the augmented training clips get their class"


def draw_autoencoder_curves(losses: pd.DataFrame) -> Figure:
    """Draw the loss of each machine's autoencoder over the epochs, held-out frames dashed.

    ``losses`` are ``machine_type, epoch, loss, validation_loss`` [dB²], of one seed.
    """
    figure, axis = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 2.3))
    for number, (machine_type, curve) in enumerate(losses.groupby("machine_type", sort=True)):
        look = _look(number, curve)
        axis.plot(curve["epoch"], curve["loss"], label=machine_type, **look)
        axis.plot(curve["epoch"], curve["validation_loss"], ls="--", **look)
    last = losses[losses["epoch"] == losses["epoch"].max()]
    low, high = (last["loss"] ** 0.5).min(), (last["loss"] ** 0.5).max()
    axis.set(xlabel="Epoch", ylabel="Loss [dB²]")
    style.logarithmic_ticks(axis, "y")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title(
        f"After {losses['epoch'].max()} epochs the autoencoders miss a level by "
        f"{low:.1f} to {high:.1f} dB (dashed: held-out frames)"
    )
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_class_counts(counts: pd.DataFrame) -> Figure:
    """Draw how many training clips every class has, a point per class and a row per machine.

    ``counts`` are ``class_name, n_clips`` as from :meth:`asdlib.training.ClassTable.counts`. Domain
    = colour, grey for supplemental clips.
    """
    parts = counts["class_name"].str.split("|", expand=True, n=3)
    machines = sorted(parts[0].unique())
    domain = parts[2].where(parts[2].isin(["source", "target"]), "unknown")
    size = counts.groupby([parts[0], domain, counts["n_clips"]])["n_clips"].transform("size")
    figure, axis = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 0.9 + 0.25 * len(machines)))
    row = parts[0].map({name: number for number, name in enumerate(machines)})
    for name, offset in {"source": -0.2, "target": 0.0, "unknown": 0.2}.items():
        of_domain = (domain == name).to_numpy()
        if not of_domain.any():
            continue
        label = "supplemental" if name == "unknown" else name
        axis.scatter(counts["n_clips"][of_domain], row[of_domain] + offset, 10 * size[of_domain],
                     lw=0, color=style.DOMAIN_COLOURS[name], label=label)  # fmt: skip
    axis.set_yticks(range(len(machines)), machines)
    axis.set(ylim=(len(machines) - 0.5, -0.5), xlabel="Training clips per class")
    style.logarithmic_ticks(axis, "x")
    smallest, largest = counts["n_clips"].min(), counts["n_clips"].max()
    simulated = "; companions are simulated" if parts[0].str.startswith(COMPANION).any() else ""
    axis.set_title(
        f"{len(counts)} classes of {smallest} to {largest} clips (larger dot: several){simulated}"
    )
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_adacos_scale(
    histories: Mapping[Any, pd.DataFrame], *, first_scale: float, n_centres: int
) -> Figure:
    """Draw the scale of AdaCos over the epochs, and what it makes of an angle.

    ``histories`` of every seed, at least one, have the columns ``epoch, scale``; ``first_scale`` is
    that before the first step. The right panel, for a clip at right angles to all centres but one,
    holds for ``n_centres`` of all classes.
    """
    figure, (curve, probability) = plt.subplots(1, 2, figsize=(style.WIDTH_WIDE_IN, 2.3))
    for number, (seed, history) in enumerate(histories.items()):
        look = _look(number, history)
        curve.plot(history["epoch"], history["scale"], label=f"seed {seed}", **look)
    curve.axhline(first_scale, color="k", ls=":", label="√2 ln(C − 1)")
    highest = max(first_scale, *(history["scale"].max() for history in histories.values()))
    curve.set(xlabel="Epoch", ylabel="Scale s of AdaCos", ylim=(0, 1.1 * highest))
    curve.xaxis.set_major_locator(MaxNLocator(integer=True))
    curve.legend(loc="lower left")
    last_scale = float(next(iter(histories.values()))["scale"].iloc[-1])
    angle_deg = np.linspace(0, 180, 181)
    for scale, line in ((first_scale, ":"), (last_scale, "-")):
        others = (n_centres - 1) * np.exp(-scale * np.cos(np.deg2rad(angle_deg)))
        probability.plot(angle_deg, 1 / (1 + others), color="k", ls=line, label=f"s = {scale:.1f}")
    probability.set(xlabel="Angle to the own centre [°]", ylabel="Probability of the class",
                    xlim=(0, 180), ylim=(0, 1.02), xticks=range(0, 181, 45))  # fmt: skip
    probability.legend(loc="upper right")
    figure.suptitle(f"The scale goes from {first_scale:.1f} to {last_scale:.1f}")
    return figure


def draw_augmentation(
    clips_db: Mapping[str, npt.NDArray[np.floating]],
    *,
    band_centres_hz: npt.NDArray[np.floating],
    duration_s: float,
) -> Figure:
    """Draw log-mel spectrograms side by side: two clips, and what augmentation makes of them.

    ``clips_db`` are levels (n_mels, n_frames) [dB] by the panels' titles, ``band_centres_hz`` the
    centre frequencies (n_mels,) [Hz], ``duration_s`` is the length of the clips [s].
    """
    figure, axes = plt.subplots(1, len(clips_db), figsize=(style.WIDTH_WIDE_IN, 2.2), sharey=True)
    levels = np.stack(list(clips_db.values()))
    low, high = np.percentile(levels[levels > REMOVED_DB / 2], [1, 99.9])
    n_mels = len(band_centres_hz)
    for axis, (name, level_db) in zip(axes, clips_db.items(), strict=True):
        image = style.show_levels(axis, level_db, (0, duration_s, -0.5, n_mels - 0.5), vmin=low,
                            vmax=high)  # fmt: skip
        axis.set_title(name)
        axis.set_xlabel("Time [s]")
    style.mel_axis(axes[0], band_centres_hz)
    figure.colorbar(image, ax=axes, label="Log-mel level [dB re 1]", pad=0.01)
    figure.suptitle(
        "Mixup adds two clips in power; StatEx gives the pattern of one the other's level"
    )
    return figure
