"""A figure that is redrawn in place while a notebook computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure


class LiveFigure:
    """Show a figure in a notebook and replace it whenever there is more to see.

    Parameters
    ----------
    draw : callable
        Makes the figure from the newest state.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        The newest figure; an empty one before anything was shown.
    """

    def __init__(self, draw: Callable[[Any], Figure]) -> None:
        self.figure = Figure()
        self._draw = draw
        self._handle: Any = None  # IPython's handle of the shown figure

    def show(self, state: Any) -> None:
        """Draw the state and put it in the place of the figure before."""
        self.figure = self._draw(state)
        if self._handle is None:
            self._handle = display(self.figure, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self.figure)
        plt.close(self.figure)
