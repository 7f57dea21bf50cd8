"""Look through machines and clips with the mouse, in a notebook that somebody has open."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import display

from asdlib.annotation import MachineEvidence, inspect_clip, read_samples, sample_rate_of
from asdlib.data.store import ArrayStore
from asdlib.report.envelope_figures import draw_inspection
from asdlib.report.explain_figures import audio_players
from asdlib.report.progress import STATIC_VARIABLE


def browse_envelopes(
    machines: Mapping[tuple[str, str], MachineEvidence], waveforms: ArrayStore
) -> ipywidgets.VBox | None:
    """Choose a machine and one of its clips; see its envelope analysis and hear it.

    Parameters
    ----------
    machines : mapping of (str, str) to MachineEvidence
        By machine type and section, as an annotation holds them.
    waveforms : ArrayStore
        int16 samples of the clips.

    Returns
    -------
    ipywidgets.VBox or None
        As `browse_clips`.
    """
    named = {f"{machine}, section {section}": m for (machine, section), m in machines.items()}
    clip_ids = {name: details.clip_ids for name, details in named.items()}
    return browse_clips(clip_ids, partial(_show_clip, named, waveforms))


def _show_clip(
    machines: Mapping[str, MachineEvidence], waveforms: ArrayStore, name: str, clip_id: str
) -> None:
    bands_hz = machines[name].track.bands_hz
    inspection = inspect_clip(clip_id, waveforms, bands_hz=bands_hz)
    figure = draw_inspection(inspection, title=clip_id)
    sound = audio_players(
        {clip_id: read_samples(clip_id, waveforms)}, sample_rate=sample_rate_of(waveforms)
    )
    display(figure, sound)  # type: ignore[no-untyped-call]
    plt.close(figure)


def browse_clips(
    clip_ids: Mapping[str, Sequence[str]], show: Callable[[str, str], object]
) -> ipywidgets.VBox | None:
    """Show a menu of machines, one of their clips, and what belongs to the chosen clip.

    Parameters
    ----------
    clip_ids : mapping of str to sequence of str
        Clips by machine.
    show : callable
        Called with machine and clip whenever another one is chosen; what it displays appears
        below the menus.

    Returns
    -------
    ipywidgets.VBox or None
        The menus, for the notebook to display; None where there is nobody to choose or
        nothing to choose from.
    """
    if os.environ.get(STATIC_VARIABLE) or not clip_ids:
        return None
    machine = ipywidgets.Dropdown(options=list(clip_ids), description="Machine")
    clip = ipywidgets.Dropdown(options=list(clip_ids[machine.value]), description="Clip")
    clip.layout.width = "40em"
    below = ipywidgets.Output()

    def change_machine(_: object) -> None:
        clip.options = list(clip_ids[machine.value])

    def change_clip(_: object) -> None:
        below.clear_output(wait=True)
        with below:
            show(machine.value, clip.value)

    machine.observe(change_machine, names="value")
    clip.observe(change_clip, names="value")
    change_clip(None)
    return ipywidgets.VBox([ipywidgets.HBox([machine, clip]), below])
