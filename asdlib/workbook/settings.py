"""What each notebook's parameters mean, and the refusal of those that make no sense.

A notebook's ``parameters`` cell holds flat literals; it builds one of these dataclasses from
them. The defaults stand in the notebooks alone, so that there is one set of defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asdlib.errors import InputError
from asdlib.scoring import make_backend
from asdlib.spectra import PROFILES, LogMelSettings
from asdlib.training import LEARNED_VIEWS
from asdlib.training.autoencoder import AutoencoderSettings
from asdlib.training.settings import TrainSettings, choose_device
from asdlib.workbook.names import check_run_name


def _expect(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise InputError(f"parameter {name} = {value!r}: expected {expected}.")


@dataclass(frozen=True, kw_only=True)
class NotebookSettings:
    """Parameters that all notebooks share.

    Attributes
    ----------
    data_dir : str
        Folder with ``<machine>/train/...``, or a root above ``dev_data/raw``.
    out_dir : str
        Folder that receives ``build/``, ``figures/`` and ``results/``.
    run_name : str
        Name of the run's folders; letters, digits, ``.``, ``_`` and ``-``.
    machines : sequence of str
        Machine types to use; empty for all.
    workers : int
        Threads; 0 for one per core.
    """

    data_dir: str
    out_dir: str
    run_name: str
    machines: Sequence[str]
    workers: int

    def __post_init__(self) -> None:
        check_run_name(self.run_name)
        _expect(self.workers >= 0, "workers", self.workers, "a number of threads, or 0 for all")
        _expect(
            Path(self.data_dir).is_dir(),
            "data_dir",
            self.data_dir,
            "an existing folder of recordings",
        )
        self.check()

    def check(self) -> None:
        """Refuse values that make no sense; each notebook's settings extend it."""


@dataclass(frozen=True, kw_only=True)
class ExplorationSettings(NotebookSettings):
    """Parameters of notebook 01."""

    resample: bool
    channel: int
    n_fft: int
    hop_length: int
    n_mels: int
    fmin_hz: float
    fmax_hz: float
    duration_s: float
    long_clips: str
    highpass: bool
    highpass_hz: Mapping[str, float | None]

    def check(self) -> None:
        """Refuse cut-offs outside the analysed band and a channel below -1."""
        _expect(self.channel >= -1, "channel", self.channel, "-1 (mono only), 0, 1, ...")
        _expect(self.duration_s > 0, "duration_s", self.duration_s, "a positive duration")
        _expect(
            self.long_clips in ("start", "centre", "end"),
            "long_clips",
            self.long_clips,
            "start, centre or end",
        )
        _ = self.log_mel  # refuses what makes no sense
        for machine, cut in self.highpass_hz.items():
            _expect(
                cut is None or 0 <= cut < self.fmax_hz,
                f"highpass_hz[{machine}]",
                cut,
                f"0 or None (no high-pass) or a cut-off below fmax_hz = {self.fmax_hz}",
            )

    def chosen_highpass_hz(
        self, by_criterion: Mapping[str, float | None]
    ) -> dict[str, float | None]:
        """Join the cut-offs of the criterion with those that overrule it; None for none.

        Raises
        ------
        InputError
            When a cut-off is given for a machine that is not there.
        """
        unknown = sorted(set(self.highpass_hz) - set(by_criterion))
        if unknown:
            raise InputError(
                f"highpass_hz names {', '.join(unknown)}: there are {', '.join(by_criterion)}."
            )
        chosen = dict(by_criterion) if self.highpass else dict.fromkeys(by_criterion)
        return {name: cut or None for name, cut in {**chosen, **self.highpass_hz}.items()}

    @property
    def log_mel(self) -> LogMelSettings:
        """Settings of the log-mel spectrogram."""
        return LogMelSettings(
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
            fmin=self.fmin_hz,
            fmax=self.fmax_hz,
        )


@dataclass(frozen=True, kw_only=True)
class AnnotationSettings(NotebookSettings):
    """Parameters of notebook 02."""

    method: str
    method_by_machine: Mapping[str, str]
    annotation_seed: int

    def check(self) -> None:
        """Refuse unknown methods."""
        methods = ("auto", "none", "clusters", "frequencies", "both", "true")
        for name, value in {"method": self.method, **self.method_by_machine}.items():
            _expect(value in methods, name, value, " or ".join(methods))

    @property
    def asks_for_truth(self) -> bool:
        """Whether a machine is to have its true attributes, as an oracle."""
        return "true" in (self.method, *self.method_by_machine.values())

    def method_of(self, machine_types: Iterable[str]) -> dict[str, str]:
        """Give the method of every machine; those named one by one go before the common one."""
        return {**dict.fromkeys(sorted(machine_types), self.method), **self.method_by_machine}


@dataclass(frozen=True, kw_only=True)
class TrainingNotebookSettings(NotebookSettings):
    """Parameters of notebook 03."""

    seeds: Sequence[int]
    device: str
    use_supplemental: bool
    spectrum_pool_bins: int
    network: Mapping[str, Any]
    autoencoder: Mapping[str, Any]

    def check(self) -> None:
        """Refuse an empty or repeated list of seeds, and what no network can be trained with."""
        _expect(
            self.spectrum_pool_bins >= 1, "spectrum_pool_bins", self.spectrum_pool_bins, "1 or more"
        )
        _expect(len(self.seeds) > 0, "seeds", list(self.seeds), "at least one seed")
        _expect(
            len(set(self.seeds)) == len(self.seeds), "seeds", list(self.seeds), "different seeds"
        )
        choose_device(self.device)
        for seed in self.seeds:
            self.train_settings(seed)
            self.autoencoder_settings(seed)

    def train_settings(self, seed: int) -> TrainSettings:
        """Give the network's settings for one seed."""
        return TrainSettings(seed=seed, **self.network)

    def autoencoder_settings(self, seed: int) -> AutoencoderSettings:
        """Give the official baseline's settings for one seed."""
        return AutoencoderSettings(seed=seed, **self.autoencoder)


@dataclass(frozen=True, kw_only=True)
class ScoringSettings(NotebookSettings):
    """Parameters of notebook 04."""

    seeds: Sequence[int]
    neighbours: int
    backends: Sequence[str]
    views: Sequence[str]
    final_neighbours: int
    decision_percentile: float
    confidence: float
    n_bootstrap: int
    explained_neighbours: int
    excerpt_s: float
    details: bool
    truth: str

    def check(self) -> None:
        """Refuse percentages outside their range and a list of the truth that is not there."""
        _expect(
            not self.truth or Path(self.truth).is_file(),
            "truth",
            self.truth,
            "a released eval_data_list_20XX.csv, or nothing",
        )
        _expect(self.neighbours >= 1, "neighbours", self.neighbours, "1 or more")
        for name in self.backends:
            make_backend(name)
        known = (*LEARNED_VIEWS, *PROFILES)
        _expect(
            len(self.views) > 0 and set(self.views) <= set(known),
            "views",
            list(self.views),
            f"one or more of {', '.join(known)}",
        )
        _expect(
            self.final_neighbours >= 0,
            "final_neighbours",
            self.final_neighbours,
            "1 or more, or 0 for the rule's choice",
        )
        _expect(
            0 < self.decision_percentile < 100,
            "decision_percentile",
            self.decision_percentile,
            "a percentage between 0 and 100",
        )
        _expect(0 < self.confidence < 1, "confidence", self.confidence, "a share between 0 and 1")
        _expect(self.n_bootstrap >= 100, "n_bootstrap", self.n_bootstrap, "100 or more")
        shown = self.explained_neighbours
        _expect(shown >= 1, "explained_neighbours", shown, "1 or more")
        _expect(self.excerpt_s > 0, "excerpt_s", self.excerpt_s, "a positive duration")


@dataclass(frozen=True, kw_only=True)
class ExperimentSettings(NotebookSettings):
    """Parameters of notebook 05."""

    sweeps: Sequence[str]

    def check(self) -> None:
        """Refuse a sweep that is named twice."""
        _expect(len(set(self.sweeps)) == len(self.sweeps), "sweeps", list(self.sweeps), "each once")
