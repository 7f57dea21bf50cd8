"""One notebook's view of a run: where it reads, where it writes, what it says of its origin."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd
from IPython.display import Image
from matplotlib.figure import Figure

from asdlib.base import InputError, available_cores, file_hash, refuse_unknown, write_atomically
from asdlib.challenge import read_facts
from asdlib.data import ArrayStore, open_waveforms, scan_clips
from asdlib.data.clips import read_clip_table
from asdlib.data.scan import is_simulated
from asdlib.data.store import open_existing
from asdlib.report import output, style
from asdlib.scoring import is_dcase2025_dev, published_figures
from asdlib.workbook.parameters import PARAMETERS, check_machine_names, check_parameters

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_WRITES = {
    "01_spectrum_exploration": ("clips.csv", "waveforms.json", "features.json", "highpass.csv"),
    "02_attribute_annotation": ("attributes.csv",),
    "03_training": ("checkpoint.pt", "spectrum.json", "embeddings.npz"),
    "04_knn_scoring": ("scores.csv",),
}
_Settings = TypeVar("_Settings", bound="DataclassInstance")


@dataclass
class Run:
    """Folders, stage files, provenance and saving for one notebook of one run.

    ``facts`` are what the sidecars say beside the settings: device, seeds, data manifest hash...
    """

    notebook: str  # stem of its file name
    settings: SimpleNamespace  # its parameters by name
    facts: dict[str, Any] = field(default_factory=dict)
    results: Path = field(init=False)  # its tables
    figures: Path = field(init=False)
    build: Path = field(init=False)  # its intermediate files
    bundle: Path = field(init=False)  # the detector that it leaves for later recordings
    cache: Path = field(init=False)  # keyed stores, shared by all runs
    #: Shows a progress bar while a block runs; yields what counts it forward.
    progress = staticmethod(output.progress_bar)

    def __post_init__(self) -> None:
        out, name = Path(self.settings.out_dir).resolve(), str(self.settings.run_name)
        self._out, self._written = out, list[Path]()
        self.results, self.figures = out / "results" / name, out / "figures" / name
        self.build, self.bundle = out / "build" / name, out / "bundles" / name
        self.cache = out / "build" / "cache"

    @classmethod
    def open(cls, notebook: str, namespace: Mapping[str, Any]) -> Run:
        """Open the run for a notebook (stem of its file name), whose parameters must make sense.

        ``namespace`` is the notebook's ``globals()``; parameters are what its ``parameters`` cell
        annotates. The `InputError` names all whose type or value is not what was declared.
        """
        names = namespace.get("__annotations__", namespace)
        values = {name: namespace[name] for name in names if name in PARAMETERS}
        advice = "Change it in the parameters cell, or with --set NAME=VALUE."
        check_parameters(values, where="parameter ", advice=advice)
        check_machine_names(values, Path(values["data_dir"]), where="parameter ")
        run = cls(notebook, SimpleNamespace(**values))
        shown = [output.shown_path(path) for path in (Path(run.settings.data_dir), run.results)]
        output.shorten_interrupts()
        print(f"Run {run.settings.run_name}: {run.corpus} clips of {shown[0]}; writes {shown[1]}")
        return run

    def build_settings(self, kind: type[_Settings], *, prefix: str = "", **given: Any) -> _Settings:
        """Build settings (a dataclass) from the parameters that have its fields' names.

        These have a ``prefix`` before them; ``given`` are fields that are no parameters.
        """
        named = {one.name: prefix + one.name for one in fields(kind)}
        own = {name: vars(self.settings)[long] for name, long in named.items()
               if long in vars(self.settings) and name not in given}  # fmt: skip
        return kind(**own, **given)

    @property
    def workers(self) -> int:
        """Threads to use."""
        return self.settings.workers or available_cores()

    @property
    def store(self) -> dict[str, Any]:
        """Where stores lie and how many threads fill them, for all that open one."""
        return {"cache_dir": self.cache, "workers": self.workers}

    @property
    def is_simulated(self) -> bool:
        """Whether the recordings come from the workbook's own generator."""
        return is_simulated(Path(self.settings.data_dir))

    @property
    def corpus(self) -> str:
        """Word for titles: ``simulated`` or ``recorded``."""
        return "simulated" if self.is_simulated else "recorded"

    @property
    def dataset(self) -> Mapping[str, Any]:
        """What is known of the challenge's data in this run; empty for other recordings."""
        return read_facts(Path(self.settings.data_dir))

    @property
    def dataset_notes(self) -> list[str]:
        """Lines that say on which of the challenge's data the results stand."""
        facts = self.dataset
        if not facts:
            return []
        along = ", ".join(facts["trained_along"]) or "none"
        notes = [f"Data: {facts['edition']}, {' and '.join(facts['subsets'])}; along for training: "
                 f"{along}."]  # fmt: skip
        if not facts["verified"]:
            notes.append(
                "Some clips were placed by hand; no checksum of the record holds for them."
            )
        if facts["channel"] is not None:
            notes.append(f"Channel {facts['channel']} of {facts['channels']} was used (0: near).")
        return notes

    def scored(self, clips: pd.DataFrame) -> pd.DataFrame:
        """Leave out the machines that only train along."""
        along = self.dataset.get("trained_along", [])
        return clips[~clips["machine_type"].isin(along)].reset_index(drop=True)

    def published(self, clips: pd.DataFrame) -> pd.DataFrame | None:
        """Give the published figures for these clips; None unless the clips are certainly those.

        Certain are clips of archives with the record's checksum, and the 2025 development set by
        its names and counts.
        """
        if self.dataset.get("verified"):
            return published_figures(self.dataset["edition"], self.dataset["subsets"])
        return published_figures("dcase2025", ["dev"]) if is_dcase2025_dev(clips) else None

    def seed_folder(self, seed: int) -> Path:
        """Folder of what was trained with one seed."""
        return self.build / f"seed_{seed}"

    # -- stage files -----------------------------------------------------------------------

    def stage_file(self, path: Path) -> Path:
        """Return a file of an earlier stage; if it is missing, name the notebook that writes it."""
        if not path.exists():
            writer = next(notebook for notebook, files in _WRITES.items() if path.name in files)
            raise InputError(
                f"{path}: is missing. Run notebook {writer} of the run "
                f"{self.settings.run_name!r} first (./run_all.sh --from {writer[:2]})."
            )
        return path

    def scan_clips(self) -> pd.DataFrame:
        """Read the clip table, keep it as the run's stage file, and tell what is passed over."""
        machines = list(self.settings.machines) or None
        clips, scan = scan_clips(
            self.settings.data_dir, machines=machines, window_s=self.settings.window_s
        )
        for line in scan.told():
            print(line)
        write_atomically(self.build / "clips.csv", clips.to_csv(index=False))
        return clips

    def clips(self) -> pd.DataFrame:
        """Clip table of the run as notebook 01 left it, reduced to the chosen machines.

        `InputError` when notebook 01 has not run or did not see one of them.
        """
        path = self.stage_file(self.build / "clips.csv")
        clips = read_clip_table(path)
        wanted, there = list(self.settings.machines), sorted(set(clips["machine_type"]))
        refuse_unknown(wanted, there, f"{path}: has no machine", " (run notebook 01 with it)")
        return clips[clips["machine_type"].isin(wanted or there)].reset_index(drop=True)

    def attributes(self) -> tuple[pd.DataFrame, str]:
        """Read the run's ``attributes.csv``; say if notebook 02 wrote it so, or somebody's hand.

        ``clip_id, attribute, method, confidence`` as text; ``attribute`` is NA where there is none.
        """
        path = self.stage_file(self.results / "attributes.csv")
        table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
        missing = {"clip_id", "attribute"} - set(table)
        if missing:
            raise InputError(
                f"{path}: lacks the column {', '.join(sorted(missing))}. Expected "
                "clip_id, attribute, method, confidence."
            )
        edited = output.was_edited(path)
        self.facts["attributes_edited_by_hand"] = edited
        return table, "edited by hand" if edited else "as notebook 02 wrote them"

    def waveforms(self, clips: pd.DataFrame, **options: Any) -> ArrayStore:
        """Open the waveform store of a clip table, decoding what is not decoded yet."""
        with self.progress(len(clips), "decoding") as count:
            store = open_waveforms(
                clips, **self.store, on_progress=count, on_remark=print, **options
            )
        self.facts["data_manifest"] = store.directory.name
        return store

    def write_store_link(self, name: str, store: ArrayStore, **facts: Any) -> None:
        """Leave a stage file that says which store the run uses."""
        link = {"store": os.path.relpath(store.directory, self.build), **facts}
        write_atomically(self.build / name, json.dumps(link, indent=1) + "\n")

    def open_store_link(self, name: str) -> ArrayStore:
        """Open the store that a stage file names."""
        link = json.loads(self.stage_file(self.build / name).read_text())
        store = open_existing((self.build / link["store"]).resolve())
        self.facts["data_manifest"] = link.get("data_manifest", store.directory.name)
        return store

    # -- saving ----------------------------------------------------------------------------

    def provenance(self, **facts: Any) -> dict[str, Any]:
        """Say where a result of this notebook comes from."""
        settings = dict(vars(self.settings))
        settings["data_dir"] = output.shown_path(Path(self.settings.data_dir))
        settings["out_dir"] = output.shown_path(self._out)
        return output.collect_provenance(
            notebook=self.notebook,
            run=self.settings.run_name,
            corpus=self.corpus,
            **({"dataset": dict(self.dataset)} if self.dataset else {}),
            settings=settings,
            **{**self.facts, **facts},
        )

    def save_figure(self, figure: Figure, name: str) -> Image:
        """Save a figure as ``<figures>/<simulated_><notebook number>_<name>``, a sweep's without.

        Gives the picture that was saved, for the notebook to show; its name is the text beside it.
        """
        number = f"{self.notebook[:2]}_" if self.notebook[:2].isdecimal() else ""
        stem = self.figures / f"{number}{name}"
        paths = style.save_figure(
            figure, stem, provenance=self.provenance(), is_simulated=self.is_simulated
        )
        self._written += paths
        return Image(paths[0].read_bytes(), alt=paths[0].stem)  # type: ignore[no-untyped-call]

    def save_table(self, table: pd.DataFrame, name: str, **facts: Any) -> None:
        """Save a table as ``<results>/<name>.csv`` with its sidecar."""
        path = self.results / f"{name}.csv"
        self._written += output.save_table(table, path, provenance=self.provenance(**facts))

    def save_text(self, text: str, file_name: str) -> None:
        """Save a text file under the run's results with its sidecar."""
        self._written += output.save_text(
            text, self.results / file_name, provenance=self.provenance()
        )

    def note_written(self, *paths: Path) -> None:
        """List files that were written by other means; each gets a sidecar."""
        for path in paths:
            sidecar = output.write_sidecar(
                output.sidecar_path(path), path, provenance=self.provenance()
            )
            self._written += [path, sidecar]

    def written(self) -> pd.DataFrame:
        """List what this notebook wrote: path, size in bytes, first digits of the SHA-256."""
        paths = list(dict.fromkeys(self._written))
        return pd.DataFrame(
            {
                "path": [os.path.relpath(path, self._out) for path in paths],
                "bytes": [path.stat().st_size for path in paths],
                "sha256": [file_hash(path) for path in paths],
            }
        )
