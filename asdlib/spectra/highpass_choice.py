r"""Which machines get a high-pass, and where: a cut-off or none, from normal clips alone.

Section 2.2 of the report: "for certain types of machines, filtered features are more suitable".
It names neither the machines nor the cut-offs; this is the rule used here.

A band is worth keeping for what it tells about the machine, and costs what it adds to the
scatter between clips of the same operating state. Over the third-octave bands b from 200 Hz
up, each weighted by its width in mel (as it counts in the features),

* information: :math:`\log_2(1 + \mathrm{SNR}_b)`, the capacity of a band in which the machine
  stands out from its background, where supplemental clips tell the two apart; otherwise
  :math:`-\log_2(1 - \eta^2_b)/2`, what the band's level holds about the given attributes. SNR and
  eta squared are taken at their lower bounds (two standard errors);
* scatter: the variance of the level between clips of one attribute.

The criterion of a cut-off c is the difference between the shares of both that remain above it,
:math:`J(c) = \sum_{b \ge c} \mathrm{inf}_b / \sum_b \mathrm{inf}_b - \sum_{b \ge c} \mathrm{scat}_b
/ \sum_b \mathrm{scat}_b`, 0 without high-pass. Among the cut-offs that lose at most a tenth of the
information and do not make attributes harder to tell apart (leave-one-out nearest neighbour), the
one of the largest J is chosen, if the lower end of J's 95 % bootstrap interval over clips is at
least 0.1. Otherwise the answer is no high-pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import sem

from asdlib.base import InputError
from asdlib.data.store import ArrayStore
from asdlib.spectra import average
from asdlib.spectra.envelope import Array

#: Fewer training or supplemental clips than this are too few to tell.
MIN_TRAINING_CLIPS, MIN_SUPPLEMENTAL_CLIPS = 20, 5
#: Share of the information that a cut-off must keep.
MIN_KEPT = 0.9
#: What J must exceed beyond chance.
MIN_GAIN = 0.1
#: How many standard errors information is lowered by, so that chance is not taken for it.
STANDARD_ERRORS = 2.0
#: Mean information per band below which nothing stands out from the background [bit].
MIN_INFORMATION = 0.05
#: Resamples of the clips for the intervals.
_N_BOOTSTRAP = 200
_COLUMNS = ["machine_type", "cutoff_hz", "information_kept", "scatter_kept", "criterion",
            "ci_low", "ci_high", "agreement"]  # fmt: skip


@dataclass(frozen=True)
class HighpassChoice:
    """The high-pass of every machine and why."""

    #: Per machine: machine_type, highpass_hz (NaN: none), reason, evidence (noise, clean,
    #: attributes or nothing), n_training, n_supplemental.
    table: pd.DataFrame
    #: Per machine and candidate: machine_type, cutoff_hz (0: none), information_kept, scatter_kept,
    #: criterion, ci_low, ci_high, agreement (`_agreement`).
    curves: pd.DataFrame

    def by_machine(self) -> dict[str, float | None]:
        """Return the cut-off per machine as `asdlib.spectra.open_log_mel` takes it."""
        cutoffs = self.table.set_index("machine_type")["highpass_hz"]
        return {str(name): None if np.isnan(hz) else float(hz) for name, hz in cutoffs.items()}


@dataclass(frozen=True)
class _Evidence:
    """What is known about one machine: levels [dB] per clip and band."""

    training: Array
    groups: average.Groups
    other: tuple[str, Array] | None

    @property
    def kind(self) -> str:
        if self.other is not None:
            return self.other[0]
        return "attributes" if len(np.unique(self.groups[self.groups >= 0])) > 1 else "nothing"


def choose_highpass(
    clips: pd.DataFrame, spectra: ArrayStore, *, fmin: float = 200.0, fmax: float = 8000.0
) -> HighpassChoice:
    """Choose a high-pass cut-off per machine, or none, by the criterion of this module.

    Of a clip table, whose test clips are not looked at, and its `open_average_spectra`. Candidates
    are ``fmin * 2**(k/3)`` up to ``fmax / 2``, the range of the mel filters [Hz], rounded to 1 Hz.
    An `InputError` when no machine has a training clip.
    """
    edges_hz = average.third_octave_edges_hz(fmin, fmax)
    rows, curves = [], [pd.DataFrame(columns=_COLUMNS)]
    for machine, own in clips.groupby("machine_type", sort=True):
        evidence = _evidence(spectra, own, edges_hz)
        cutoff: float | None = None
        if len(evidence.training) < MIN_TRAINING_CLIPS:
            reason = f"too few clips ({len(evidence.training)} of {MIN_TRAINING_CLIPS})"
        elif evidence.kind == "nothing":
            reason = "no supplemental clips and no attributes to tell machine from background"
        else:
            rng = np.random.default_rng([0, *str(machine).encode()])
            curve, information = _curve(evidence, edges_hz, rng=rng)
            cutoff, reason = _decide(curve, information, evidence.kind)
            curves.append(curve.assign(machine_type=machine))
        n_supplemental = 0 if evidence.other is None else len(evidence.other[1])
        rows.append({
            "machine_type": machine, "highpass_hz": np.nan if cutoff is None else cutoff,
            "reason": reason, "evidence": evidence.kind, "n_training": len(evidence.training),
            "n_supplemental": n_supplemental,
        })  # fmt: skip
    if not any(row["n_training"] for row in rows):
        raise InputError("The clip table holds no training clip that is not silent.")
    all_curves = pd.concat(curves[1:] or curves, ignore_index=True)
    return HighpassChoice(table=pd.DataFrame(rows), curves=all_curves[_COLUMNS])


def _evidence(spectra: ArrayStore, own: pd.DataFrame, edges_hz: Array) -> _Evidence:
    training = own[own["split"] == "train"]
    if training.empty:
        return _Evidence(np.zeros((0, len(edges_hz) - 1)), np.zeros(0, np.int64), None)
    levels_db = average.to_db(average.power_in_bands(spectra, training, edges_hz))
    heard = levels_db.max(1) > average.FLOOR_DB  # a silent clip tells nothing about bands
    other = average.supplemental_levels(spectra, own, edges_hz)
    if other is not None and len(other[1]) < MIN_SUPPLEMENTAL_CLIPS:
        other = None
    return _Evidence(levels_db[heard], average.attribute_groups(training)[heard], other)


def _decide(curve: pd.DataFrame, information: float, kind: str) -> tuple[float | None, str]:
    if information < MIN_INFORMATION:
        what = "attributes" if kind == "attributes" else "machine and background"
        return None, f"no band tells {what} apart"
    allowed = curve[
        (curve["cutoff_hz"] > 0) & (curve["information_kept"] >= MIN_KEPT) & ~curve["is_worse"]
    ]
    if allowed.empty:
        lost = f"{100 * (1 - MIN_KEPT):.0f} % of the information"
        return None, f"every cut-off loses more than {lost}"
    best = allowed.loc[allowed["criterion"].idxmax()]
    cutoff = float(best["cutoff_hz"])
    if best["ci_low"] < MIN_GAIN:
        return None, (
            f"{cutoff:.0f} Hz, the best that keeps {100 * MIN_KEPT:.0f} % of the information, "
            f"gains {best['criterion']:.2f}, perhaps only {best['ci_low']:.2f}; asked for is a "
            f"sure {MIN_GAIN:.2f}"
        )
    return cutoff, (
        f"keeps {100 * best['information_kept']:.0f} % of the information and "
        f"{100 * best['scatter_kept']:.0f} % of the scatter"
    )


def _curve(
    evidence: _Evidence, edges_hz: Array, *, rng: np.random.Generator
) -> tuple[pd.DataFrame, float]:
    """Criterion of every candidate, the first no high-pass, and the mean information [bit]."""
    from librosa import hz_to_mel  # importing it is slow

    first_bands = np.flatnonzero(edges_hz[:-1] <= edges_hz[-1] / 2)
    weights = np.diff(hz_to_mel(edges_hz))

    def shares(of: _Evidence) -> Iterator[Array]:
        for part in _information_and_scatter(of):
            above = np.cumsum((weights * part)[::-1])[::-1]
            yield np.asarray(above[first_bands] / max(float(above[0]), 1e-12))

    kept, scattered = shares(evidence)
    criterion = kept - scattered
    resampled = [np.subtract(*shares(_resample(evidence, rng))) for _ in range(_N_BOOTSTRAP)]
    # The basic interval, which reflects the resamples about the estimate, takes away the
    # upward bias that drawing clips twice gives to eta squared.
    low, high = 2 * criterion - np.quantile(resampled, [0.975, 0.025], axis=0)
    agreement, is_worse = _agreement(evidence, first_bands, rng=rng)
    curve = pd.DataFrame({
        "cutoff_hz": np.where(first_bands == 0, 0.0, edges_hz[first_bands].round()),
        "information_kept": kept, "scatter_kept": scattered, "criterion": criterion,
        "ci_low": np.clip(low, -1.0, 1.0), "ci_high": np.clip(high, -1.0, 1.0),
        "agreement": agreement, "is_worse": is_worse,
    })  # fmt: skip
    information, _ = _information_and_scatter(evidence)
    return curve, float(np.average(information, weights=weights))


def _information_and_scatter(evidence: _Evidence) -> tuple[Array, Array]:
    """Information [bit] and scatter [dB²] per band, information at its lower bound."""
    levels_db, groups = evidence.training, evidence.groups
    if evidence.other is None:
        known = groups >= 0
        share, scatter = average.explained_variance(levels_db[known], groups[known])
        n_clips, n_groups = int(known.sum()), len(np.unique(groups[known]))
        by_chance = np.sqrt(2 * (n_groups - 1) / (max(n_clips - n_groups, 1) * (n_clips + 1)))
        share = np.clip(share - STANDARD_ERRORS * by_chance, 0.0, 0.99)
        return -0.5 * np.log2(1.0 - share), scatter
    _, scatter = average.explained_variance(levels_db, groups + 1)
    kind, other_db = evidence.other
    error_db = STANDARD_ERRORS * np.hypot(sem(levels_db), sem(other_db))
    mixed_db = levels_db.mean(0) + (error_db if kind == "clean" else -error_db)
    ratio = average.signal_to_noise(mixed_db, other_db.mean(0), kind=kind)
    return np.log2(1.0 + ratio), scatter


def _resample(evidence: _Evidence, rng: np.random.Generator) -> _Evidence:
    drawn = rng.integers(len(evidence.training), size=len(evidence.training))
    other = evidence.other
    if other is not None:
        other = (other[0], other[1][rng.integers(len(other[1]), size=len(other[1]))])
    return _Evidence(evidence.training[drawn], evidence.groups[drawn], other)


def _agreement(
    evidence: _Evidence, first_bands: average.Groups, *, rng: np.random.Generator
) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Mean share of an attribute's clips whose nearest clip has it too, above every cut-off.

    By Euclidean distance of the level-normalised bands, NaN without attributes; and where it lies
    below that without high-pass beyond chance (95 %, paired bootstrap).
    """
    known = evidence.groups >= 0
    groups = evidence.groups[known]
    if len(np.unique(groups)) < 2:
        return np.full(len(first_bands), np.nan), np.zeros(len(first_bands), bool)
    agrees = np.empty((len(first_bands), len(groups)))
    for index, first in enumerate(first_bands):
        bands = evidence.training[known, first:]
        levels_db = bands - bands.mean(1, keepdims=True)
        distance = cdist(levels_db, levels_db)
        np.fill_diagonal(distance, np.inf)
        agrees[index] = groups[distance.argmin(1)] == groups
    clip_weights = 1.0 / np.bincount(groups)[groups]
    clip_weights /= clip_weights.sum()
    counts = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), _N_BOOTSTRAP)
    drawn = counts * clip_weights
    drawn /= drawn.sum(1, keepdims=True)
    gain = drawn @ (agrees - agrees[0]).T
    is_worse: npt.NDArray[np.bool_] = np.quantile(gain, 0.975, axis=0) < 0
    return agrees @ clip_weights, is_worse
