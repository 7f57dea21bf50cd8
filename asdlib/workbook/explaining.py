"""Explaining: the deciding view's reason for a clip's score, beside its nearest normal clips."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib import scoring, spectra
from asdlib.base import InputError, available_cores, one_thread, use_one_torch_thread
from asdlib.data import ArrayStore
from asdlib.data.cache import arrays_key, kept
from asdlib.data.store import content_key
from asdlib.scoring.scores import rows_of_clips

#: View whose rows are shown where a view's own rows mean nothing.
_STAND_IN = {"embedding": "spectrum"}
#: A second view is told where it contributes this share of what the first does, or this share
#: where the first names no cause.
_NEARLY, _WITHOUT_CAUSE = 0.85, 0.4
#: Gives embeddings (n, n_values) of a clip by shifts of its mel bands (n, n_mels) [dB].
HearShifted = Callable[[str, npt.NDArray[np.float64]], npt.NDArray[np.floating]]


@dataclass(frozen=True)
class Explained:
    """One clip's score, taken apart."""

    clip_id: str
    contributions: pd.Series  # of each view, by its name
    reason: spectra.Reason  # of the view that contributes most
    nearest: list[str]  # ``clip_id`` of the nearest normal clips in that view
    names: tuple[str, str]  # as the user knows the clip and the nearest normal one
    second: spectra.Reason | None = None  # of the next view, if it contributes nearly as much

    @property
    def sentence(self) -> str:
        """What was heard, in one sentence."""
        also = f"; {self.second.view}: {self.second.sentence}" if self.second else ""
        return self.reason.sentence + also


@dataclass
class Explainer:
    """Says what the view that contributes most heard in a clip.

    ``rows`` of every view (clip ids, and an array (n_clips, n_values)) are those of the clips and
    of their machines' training clips; the autoencoder's are mean residuals. Where the embedding is
    among the views, ``spectrum`` is, too, and ``hear_shifted`` is
    `asdlib.monitoring.Detector.hear_shifted` of the clips' features.
    """

    rows: Mapping[str, scoring.View]
    clips: pd.DataFrame  # clip table: ``clip_id, machine_type, split, domain``
    neighbours: int = 5  # normal clips that a clip is compared with
    known: spectra.KnownRates = field(default_factory=spectra.KnownRates)  # names frequencies
    k: int = 2  # neighbours in each domain that a score is the mean of
    hear_shifted: HearShifted | None = None
    _banks: dict[tuple[str, str], tuple[list[str], scoring.DomainMinimumBackend]] = field(
        default_factory=dict, init=False
    )

    def explain(self, clip_id: str, contributions: pd.Series, waveforms: ArrayStore) -> Explained:
        """Explain a clip that is no training clip, given what each view contributed to its score.

        ``waveforms`` has its samples.
        """
        contributions = contributions.dropna()
        ranked = contributions.sort_values(ascending=False, kind="stable")
        facts = {"samples": waveforms.row_of(clip_id), "known": self.known,
                 "sample_rate": float(waveforms.settings["sample_rate"])}  # fmt: skip
        reason, nearest = self._heard_by(str(ranked.index[0]), clip_id, facts)
        second = None
        enough = _NEARLY if reason.values else _WITHOUT_CAUSE  # noqa: PD011 - no pandas object
        if len(ranked) > 1 and ranked.iloc[1] > enough * ranked.iloc[0] > 0:
            second, _ = self._heard_by(str(ranked.index[1]), clip_id, facts)
        names = (self._name(clip_id), self._name(nearest[0]))
        return Explained(clip_id, contributions, reason, nearest, names, second)

    def settings(self) -> dict[str, Any]:
        """Give what shapes its sentences, JSON-serialisable; embeddings stand for the network."""
        table = self.clips[["clip_id", "machine_type", "split", "domain"]].fillna("")
        return {
            "clips_heard": content_key({"clips": table.to_dict("list")}),
            "rows": {view: arrays_key({"clip_id": names, "rows": rows})
                     for view, (names, rows) in self.rows.items()},
            "known": [self.known.shaft_rate_hz, dict(self.known.bearing)],
            "neighbours": [self.neighbours, self.k],
            "hears_again": self.hear_shifted is not None,
        }  # fmt: skip

    def _name(self, clip_id: str) -> str:
        """Name of a clip's recording, and where in it the clip begins."""
        row = self.clips[self.clips["clip_id"].eq(clip_id)].iloc[0]
        start_s = row.get("start_s", 0.0)
        return f"{row.get('recording', clip_id)}" + (f" from {start_s:g} s" if start_s else "")

    def _heard_by(
        self, view: str, clip_id: str, facts: Mapping[str, Any]
    ) -> tuple[spectra.Reason, list[str]]:
        """Reason of one view, and the normal clips that are nearest in it."""
        names, bank = self._bank(view, clip_id)
        places = bank.nearest(self._rows(view, [clip_id])[0], count=self.neighbours)
        nearest = [names[place] for place in places]
        told = _STAND_IN.get(view, view)
        hear = self.hear_shifted
        if view in _STAND_IN and hear is not None:
            facts = {**facts, "rescore": lambda shifts: bank.anomaly_score(hear(clip_id, shifts))}
        reason = spectra.find_reason(
            view, row=self._rows(told, [clip_id])[0], normal_rows=self._rows(told, nearest),
            scatter=self._bank(told, clip_id)[1].scatter, **facts,
        )  # fmt: skip
        return reason, nearest

    def _bank(self, view: str, clip_id: str) -> tuple[list[str], scoring.DomainMinimumBackend]:
        """Training clips of the clip's machine, and what compares a clip with them in a view."""
        own = self.clips.loc[self.clips["clip_id"].eq(clip_id), "machine_type"]
        if own.empty:
            raise InputError(f"{clip_id}: is not in the clip table.")
        key = (view, str(own.iloc[0]))
        if key not in self._banks:
            is_own = self.clips["machine_type"].eq(key[1]) & self.clips["split"].eq("train")
            train = self.clips[is_own]
            names = train["clip_id"].astype(str).tolist()
            domains = train["domain"].fillna("").to_numpy(str)
            bank = scoring.DomainMinimumBackend(
                self.k, scoring.VIEW_METRICS.get(view, "standardised")
            )
            bank.fit(self._rows(view, names), domains=domains)
            self._banks[key] = (names, bank)
        return self._banks[key]

    def _rows(self, view: str, clip_ids: list[str]) -> npt.NDArray[np.float64]:
        """Rows of some clips in a view."""
        names, values = self.rows[view]
        return rows_of_clips(values, names, pd.Series(clip_ids), what=f"row of the view {view}")


def reason_sentences(
    verdicts: pd.DataFrame,
    view_scores: pd.DataFrame,
    waveforms: ArrayStore,
    explainer: Explainer,
    *,
    cache_dir: Path,
    workers: int | None = None,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> list[str]:
    """Say what was heard in all flagged clips and the extremes of every machine.

    ``verdicts`` are as from `asdlib.scoring.verdict_table`, ``view_scores`` what they were made of;
    ``waveforms`` has the clips' samples. A sentence for every verdict, empty for those between; all
    are kept in ``cache_dir``. ``on_progress`` is called with the number of clips just finished.
    """
    shares = scoring.contribution_table(view_scores).T
    chosen = scoring.explained_clips(verdicts, most=len(verdicts))["clip_id"].astype(str).tolist()

    def make() -> dict[str, list[str]]:
        said = []
        count = workers or available_cores()
        with one_thread(), ThreadPoolExecutor(count, initializer=use_one_torch_thread) as pool:
            explain = explainer.explain
            for one in pool.map(lambda name: explain(name, shares[name], waveforms), chosen):
                said.append(one.sentence)
                on_progress(1)
        return {"sentence": said}

    settings = {
        "clips": chosen,
        "shares": arrays_key({name: shares[name] for name in chosen}),
        "waveforms": waveforms.directory.name,
        **explainer.settings(),
    }
    found = kept(cache_dir, make, kind="reasons", settings=settings,
                 on_found=lambda: on_progress(len(chosen)))["sentence"]  # fmt: skip
    sentence_of = dict(zip(chosen, found.tolist(), strict=True))
    return [sentence_of.get(name, "") for name in verdicts["clip_id"]]


def residual_rows(residuals: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> scoring.View:
    """Mean residuals of the autoencoders of all machines as rows of one view [dB]."""
    ids = [clip_id for arrays in residuals.values() for clip_id in arrays["clip_id"].tolist()]
    return ids, np.concatenate([arrays["mean_residual"] for arrays in residuals.values()])
