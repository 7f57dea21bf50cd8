"""The final system as it was trained, ready to score recordings that it never met.

What it needs of the normal training clips are their rows in every view, not their sound. New
clips get rows by the same functions; then both go through `asdlib.scoring.score_views`, `fuse`
and `decide`, as in notebook 04.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib import scoring, spectra, training
from asdlib.data import ArrayStore
from asdlib.data.audio import REMOVED_DB
from asdlib.training.checkpoint import TrainedModel

Rows = npt.NDArray[np.floating]
Arrays = Mapping[str, npt.NDArray[Any]]
#: Opens a progress bar of so many clips under a name; yields what counts it forward.
Progress = Callable[[int, str], AbstractContextManager[Callable[[int], object]]]


def no_progress(total: int, name: str) -> AbstractContextManager[Callable[[int], object]]:  # noqa: ARG001
    """Show nothing."""
    return nullcontext(lambda clips: None)


@dataclass(frozen=True)
class Detector:
    """The final system with its bank of normal clips."""

    #: JSON-serialisable: ``views``, ``neighbours`` (k in each domain), ``false_alarm_rate``,
    #: ``window_s``, ``shaft_rate_hz``, ``bearing``, ``waveforms`` (``sample_rate`` [Hz],
    #: ``resample``, ``channel``, ``scale``), ``features`` (``log_mel``, ``highpass_hz`` by machine,
    #: ``duration_s``, ``long_clips``, ``pool_bins``)
    settings: dict[str, Any]
    clips: pd.DataFrame  # normal training clips; ``is_learnt``: network and autoencoder know it
    rows: Mapping[str, Rows]  # by view, ``spectrum`` always among them, (n_clips, n_values)
    residuals: Mapping[str, Arrays]  # of every machine's autoencoder; empty without that view
    model: TrainedModel | None  # None without the embedding
    #: of a bundle: what its verdicts are held to, see `calibrate`
    thresholds: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def machines(self) -> list[str]:
        """Machine types that it knows."""
        return sorted(self.clips["machine_type"].unique())

    def describe(
        self,
        waveforms: ArrayStore,
        new: pd.DataFrame,
        *,
        cache_dir: Path,
        workers: int | None = None,
        progress: Progress = no_progress,
    ) -> tuple[dict[str, Rows], dict[str, Arrays]]:
        """Give new clips of known machines a row in every view, shape (n_new, n_values).

        With them the autoencoders' arrays of their machines, those of the new clips appended.
        ``waveforms`` are stored by ``settings["waveforms"]``.
        """
        options: dict[str, Any] = {"cache_dir": cache_dir, "workers": workers}
        rows: dict[str, Rows] = {}
        for view in self.rows:
            with progress(len(new), view) as count:
                if view in spectra.PROFILES:
                    store = spectra.open_profiles(
                        waveforms, new, kind=view, on_progress=count, **options
                    )
                    rows[view] = store.fixed()
                else:
                    opened = self.open_features(waveforms, new, **options)
                    rows[view] = self._embed(*opened, cache_dir, count)
        if not self.residuals:
            return rows, {}
        frames = spectra.open_frames(
            waveforms, new, settings=spectra.OFFICIAL_LOG_MEL,
            min_frames=training.STACKED_FRAMES, **options,
        )  # fmt: skip
        residuals: dict[str, Arrays] = {}
        for name, own in new.groupby("machine_type"):
            arrays, ids = dict(self.residuals[str(name)]), own["clip_id"].tolist()
            residuals[str(name)] = training.reconstruct(arrays, frames, ids, cache_dir=cache_dir)
        return rows, residuals

    def beside_bank(
        self, new: pd.DataFrame, new_rows: Mapping[str, Rows]
    ) -> tuple[pd.DataFrame, dict[str, scoring.View]]:
        """Join new clips to the bank of their machines: clip table, and rows by view.

        Their ``split`` decides: test clips are scored, training clips join the bank.
        """
        bank = self.clips[self.clips["machine_type"].isin(new["machine_type"].unique())]
        unknown = new.assign(is_learnt=False)
        table = pd.concat([bank, unknown], join="inner", ignore_index=True)
        ids = [*bank["clip_id"], *new["clip_id"]]
        rows: dict[str, scoring.View] = {
            view: (ids, np.concatenate([self.rows[view][bank.index], own]))
            for view, own in new_rows.items()
        }
        return table, rows

    def score(
        self, new: pd.DataFrame, described: tuple[Mapping[str, Rows], Mapping[str, Arrays]]
    ) -> dict[str, pd.DataFrame]:
        """Score new clips, as `describe` gave them, beside the bank of their machines.

        Scores tables of bank and new clips by view, and the fused one under ``final``.
        """
        return self.score_beside(*self.beside_bank(new, described[0]), described[1])

    def score_beside(
        self, table: pd.DataFrame, rows: Mapping[str, scoring.View], residuals: Mapping[str, Arrays]
    ) -> dict[str, pd.DataFrame]:
        """Score the clips of a table as `beside_bank` gives it; see `score`."""
        wanted = {view: rows[view] for view in self.settings["views"] if view in rows}
        learnt = table.loc[table["is_learnt"], "clip_id"]
        by_view = scoring.score_views(
            wanted, table, neighbours=self.settings["neighbours"], seed=None, learnt=learnt
        )
        if residuals:
            both = scoring.score_autoencoder(residuals, table, seed=None, learnt=learnt)
            by_view[scoring.AUTOENCODER] = scoring.autoencoder_view(both, seed=None)
        by_view["final"] = scoring.fuse(list(by_view.values()), system="final", seed=None)
        return by_view

    def calibrate(self) -> pd.DataFrame:
        """Find the thresholds that the bank leads to, as `asdlib.scoring.decide` gives them."""
        ids = self.clips["clip_id"].tolist()
        rows = {view: (ids, values) for view, values in self.rows.items()}
        final = self.score_beside(self.clips, rows, self.residuals)["final"]
        rate = self.settings["false_alarm_rate"]
        return scoring.decide(final, false_alarm_rate=rate, clips=self.clips)[1]

    def decide(self, final: pd.DataFrame) -> pd.DataFrame:
        """Fill ``is_decided_anomalous`` of final scores by the kept thresholds."""
        limits = self.thresholds.set_index("machine_type")["threshold"]
        limit, score = final["machine_type"].map(limits), final["anomaly_score"]
        decided = (score > limit).astype("boolean").where(limit.notna() & score.notna())
        return final.assign(is_decided_anomalous=decided)

    def extended(
        self, new: pd.DataFrame, described: tuple[Mapping[str, Rows], Mapping[str, Arrays]]
    ) -> Detector:
        """Give the detector with further normal clips in its bank; nothing is trained."""
        new_rows, residuals = described
        learnt = new.assign(split="train", is_learnt=False)
        known = [name for name in self.clips.columns if name in learnt]
        rows = {view: np.concatenate([self.rows[view], new_rows[view]]) for view in self.rows}
        return replace(
            self,
            clips=pd.concat([self.clips, learnt[known]], ignore_index=True),
            rows=rows,
            residuals={**self.residuals, **residuals},
        )

    def without(self, clip_ids: Sequence[str]) -> Detector:
        """Give the detector whose bank lacks some clips."""
        kept = ~self.clips["clip_id"].isin(clip_ids).to_numpy()
        return replace(
            self,
            clips=self.clips[kept].reset_index(drop=True),
            rows={view: rows[kept] for view, rows in self.rows.items()},
        )

    def open_features(
        self, waveforms: ArrayStore, clips: pd.DataFrame, **options: Any
    ) -> tuple[ArrayStore, Rows | None]:
        """Open log-mel and, for two branches, spectra of clips, as the network wants them."""
        made_with = self.settings["features"]
        highpass_hz = {name: made_with["highpass_hz"][name] for name in set(clips["machine_type"])}
        features = spectra.open_log_mel(
            waveforms, clips, settings=spectra.LogMelSettings(**made_with["log_mel"]),
            highpass_hz=highpass_hz, duration_s=made_with["duration_s"],
            long_clips=made_with["long_clips"], **options,
        )  # fmt: skip
        if self.model is None or not self.model.identity.n_bins:
            return features, None
        bins = spectra.open_spectrum(
            waveforms, features, pool_bins=made_with["pool_bins"], **options
        )
        return features, bins.fixed()

    def hear_shifted(
        self, features: ArrayStore, spectrum: Rows | None, clip_id: str, shift_db: Rows
    ) -> Rows:
        """Embed a clip anew for every row of shifts of its mel bands [dB], shape (n, n_mels).

        Bands are those of the view ``spectrum``. The spectrum of a second branch stays.
        """
        assert self.model is not None  # a detector without one has nothing to hear again with
        own_hz = spectra.band_centres_hz(
            spectra.LogMelSettings(**self.settings["features"]["log_mel"])
        )
        given_hz = spectra.profile_bands_hz(self.settings["waveforms"]["sample_rate"])
        place = features.positions([clip_id])
        level = np.asarray(features.fixed()[place], np.float32)
        shift = np.array([np.interp(own_hz, given_hz, row) for row in shift_db], np.float32)
        shifted = np.where(level > REMOVED_DB / 2, level + shift[:, :, None], level)
        same = None if spectrum is None else spectrum[np.repeat(place, len(shifted))]
        rows = np.arange(len(shifted))
        return training.embed(self.model, shifted, rows, spectrum=same, device="cpu")

    def _embed(
        self,
        features: ArrayStore,
        spectrum: Rows | None,
        cache_dir: Path,
        on_progress: Callable[[int], object],
    ) -> Rows:
        """Embed all clips of a store, once for the same network."""
        assert self.model is not None  # with the view ``embedding`` it has one
        key = features.directory.name
        path = cache_dir / "embeddings" / f"{key}_{self.model.path.parent.name}.npz"
        return training.open_embeddings(
            path, self.model, features.fixed(), np.arange(len(features)), features.ids.tolist(),
            feature_key=key, spectrum=spectrum, device="cpu", on_progress=on_progress,
        ).embedding  # fmt: skip


def level_above_normal(detector: Detector, machine_type: str, rows: Mapping[str, Rows]) -> Rows:
    """Level of clips in every mel band, less the median of the machine's normal clips [dB].

    Shape (n_clips, n_bands), of ``rows["spectrum"]``.
    """
    is_own = detector.clips["machine_type"].eq(machine_type).to_numpy()
    n_bands = rows["spectrum"].shape[1] // 2  # behind the levels stands their scatter over time
    normal = np.median(detector.rows["spectrum"][is_own, :n_bands], axis=0)
    return np.asarray(rows["spectrum"][:, :n_bands] - normal)
