"""Draws the README's picture of the method: ``python figures/reference/pipeline.py [FILE]``."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from asdlib.report import style

REPORT, OWN = style.GROUP_COLOURS[0], style.GROUP_COLOURS[1]
VIEWS = ("level and colour", "fluctuation", "tones", "fast modulation\n(impacts)",
         "slow modulation\n(cycles)", "embedding", "autoencoder")  # fmt: skip


def box(ax: Axes, x: float, y: float, text: str, colour: object, width: float = 1.5) -> None:
    """Draw a box around (x, y)."""
    shape = FancyBboxPatch((x - width / 2, y - 0.34), width, 0.68, boxstyle="round,pad=0.02",
                           facecolor=(*colour, 0.12), edgecolor=colour, lw=0.9)  # fmt: skip
    ax.add_patch(shape)
    ax.text(x, y, text, ha="center", va="center", fontsize=7)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw an arrow between two points."""
    line = {"arrowstyle": "-|>", "lw": 0.8, "color": "0.35", "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=line)


def draw() -> plt.Figure:
    """Draw the report's way above and the seven views below."""
    figure, ax = plt.subplots(figsize=(style.WIDTH_WIDE_IN, 3.3))
    ax.set(xlim=(0, 10), ylim=(-0.15, 4.85))
    ax.set_axis_off()
    ax.text(0.1, 4.68, "the report: one network, one distance", color=REPORT, fontsize=8)
    steps = {1.0: "normal\nrecordings", 3.0: "log-mel,\nhigh-pass per machine",
             5.2: "SE-ResNet18, AdaCos:\nwhich machine, which state?",
             7.35: "embedding", 9.1: "KNN:\nhow far from\nnormal?"}  # fmt: skip
    widths = dict(zip(steps, (1.4, 1.9, 2.2, 1.3, 1.5), strict=True))
    for x, text in steps.items():
        box(ax, x, 4.1, text, REPORT, widths[x])
    for left, right in zip(list(steps)[:-1], list(steps)[1:], strict=True):
        arrow(ax, (left + widths[left] / 2 + 0.03, 4.1), (right - widths[right] / 2 - 0.03, 4.1))
    box(ax, 3.0, 3.0, "annotation: clusters and\nlines of the envelope", REPORT, 2.1)
    arrow(ax, (3.0, 3.73), (3.0, 3.37))
    arrow(ax, (1.0, 3.73), (1.92, 3.1))
    arrow(ax, (4.08, 3.0), (5.2, 3.73))
    ax.text(4.95, 3.12, "classes, where nobody\nwrote them down", fontsize=6, color="0.35")
    ax.text(0.1, 2.28, "the final system: seven views, none outvotes the others", color=OWN,
            fontsize=8)  # fmt: skip
    places = [0.76 + 1.415 * number for number in range(len(VIEWS))]
    for x, view in zip(places, VIEWS, strict=True):
        box(ax, x, 1.68, view, OWN, 1.28)
        arrow(ax, (x, 1.31), (5.0 + 0.35 * (x - 5.0), 0.66))
    arrow(ax, (7.35, 3.73), (places[5], 2.05))
    box(ax, 5.0, 0.28, "mean of bounded scores, threshold, verdict, reason", OWN, 4.2)
    return figure


if __name__ == "__main__":
    style.use_style()
    target = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).with_suffix(".png")
    draw().savefig(target, metadata={"Software": None})
