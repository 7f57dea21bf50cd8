"""Which annotation a machine gets, by a written rule that sees no true label.

For every machine (and section) without attributes, from its normal training clips alone:

1. Fewer than 20 clips: none; that is too little to tell structure from chance.
2. Frequencies, if their levels are at least two, hold 80 % of the clips, and come out alike
   from halves of the clips (adjusted Rand 0.8). They are of the quantity (envelope, tones or
   cycle) that tells most, see `find_levels`. A second view must tell
   them, too, by a quarter above chance: the nearest clips in the log-mel statistics, or the
   levels of another quantity. One state whose clips differ in the harmonic that stands out
   most has stable levels, but sounds alike.
3. Clusters instead, if an accepted number of clusters tells more than the levels: the entropy
   of the labels, as far as halves of the clips agree on them.
4. Both, if the clips of one level fall into clusters by the criteria of
   `asdlib.annotation.clustering`.
5. Clusters, if there is no such frequency but an accepted number of clusters.
6. None otherwise.

Given attributes stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.annotation.clustering import MIN_CLIPS, MIN_STABILITY, Clustering, Labels, find_clusters
from asdlib.annotation.frequencies import FrequencyTrack
from asdlib.annotation.levels import FrequencyLevels, levels_of
from asdlib.spectra.envelope import Array

#: Quantities in the order in which equally informative ones are taken.
PREFERENCE = ("envelope", "tones", "cycle")
#: Levels are trusted that hold this share of the clips.
MIN_COVERAGE = 0.8
#: Another view of the clips must tell this much of the levels, above chance.
MIN_TOLD = 0.25
#: Neighbours that lend a clip without a line its level.
_NEIGHBOURS = 5
_N_SPLITS = 4
#: Most clusters that the clips of one level fall into.
_MAX_PARTS = 6
#: What the levels of a quantity are called.
_LEVEL_NAMES = {"envelope": "f", "tones": "tone", "cycle": "cycle"}


@dataclass(frozen=True)
class MachineEvidence:
    """What one machine's annotation rests on, for figures and for the curious."""

    machine_type: str
    section: str
    clip_ids: list[str]  # training clips, the order of the points and of the labels
    points: Array  # (n_clips, n_dimensions), principal components of the log-mel statistics [dB]
    clustering: Clustering
    track: FrequencyTrack
    levels: FrequencyLevels


def choose_method(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return method and reason; see the module."""
    if found["n_levels"] < 2:
        frequencies = "no frequency tells clips apart"
    elif found["coverage"] < MIN_COVERAGE:
        frequencies = f"frequency levels hold only {100 * found['coverage']:.0f} % of the clips"
    elif found["level_stability"] < MIN_STABILITY:
        frequencies = f"frequency levels are unstable ({found['level_stability']:.2f})"
    elif max(found["level_predictability"], found["level_agreement"]) < MIN_TOLD:
        frequencies = f"levels of {found['level_quantity']} show in nothing else"
    else:
        frequencies = ""
    clusters = f"{found['n_clusters']} clusters, stability {found['cluster_stability']:.2f}"
    if frequencies and found["n_clusters"] > 1:
        return "clusters", f"{clusters}; {frequencies}"
    if frequencies:
        return "none", f"{frequencies}; no number of clusters is accepted"
    words = f"{found['n_levels']} levels of {found['level_quantity']}"
    if found["n_clusters"] > 1 and found["cluster_information"] > found["level_information"]:
        stability = f"stability {found['level_stability']:.2f}"
        return "clusters", f"{clusters}, tell more than {words}, {stability}"
    words += f" hold {100 * found['coverage']:.0f} % of clips"
    if found["n_split_levels"]:
        return "both", f"{words}; {found['n_split_levels']} fall into clusters"
    return "frequencies", words


def label_clips(
    details: MachineEvidence, method: str, splits: Mapping[int, Clustering]
) -> tuple[npt.NDArray[np.object_], Array]:
    """Attribute and confidence of every clip by a method."""
    levels, clustering, points = details.levels, details.clustering, details.points
    if method == "clusters":
        names = [f"cluster_{label + 1}" for label in clustering.labels]
        certainty = np.where(clustering.is_outlier, 0.0, clustering.confidence)
        return np.array(names, dtype=object), certainty
    if method == "none" or len(levels.levels_hz) == 0:
        return np.full(len(points), "none", dtype=object), np.ones(len(points))
    labels = np.array(levels.labels, dtype=np.int64)
    confidence = np.array(levels.confidence, dtype=np.float64)
    lost = labels < 0
    labels[lost] = _neighbour_labels(points[lost], points[~lost], labels[~lost])
    confidence[lost] = 0.0
    prefix = _LEVEL_NAMES[levels.quantity]
    level_names = [f"{prefix}_{name}Hz" for name in name_frequencies(levels.levels_hz)]
    attributes = np.array([level_names[label] for label in labels], dtype=object)
    for level, split in splits.items() if method == "both" else ():
        held, strays = (np.flatnonzero(part & (labels == level)) for part in (~lost, lost))
        confidence[held] *= split.confidence
        told = _neighbour_labels(points[strays], points[held], split.labels)
        for members, parts in ((held, split.labels), (strays, told)):
            attributes[members] = [f"{level_names[level]}_cluster_{part + 1}" for part in parts]
    return attributes, confidence


def judge(details: MachineEvidence, splits: Mapping[int, Clustering]) -> dict[str, Any]:
    """Quantities that the rule looks at."""
    from sklearn.metrics import homogeneity_score, normalized_mutual_info_score

    levels, clustering = details.levels, details.clustering
    labels = np.asarray(levels.labels, dtype=np.int64)
    return {
        "n_levels": len(levels.levels_hz),
        "coverage": levels.coverage,
        "level_stability": levels.stability,
        "level_quantity": levels.quantity,
        "level_gap": _level_gap(levels),
        "level_predictability": _predictability(details.points, labels),
        "level_information": information(levels.labels, levels.stability),
        "level_agreement": levels.agreement,
        "n_clusters": clustering.n_clusters,
        "cluster_stability": clustering.stability,
        "cluster_information": information(clustering.labels, clustering.stability),
        "silhouette": clustering.silhouette,
        "agreement_nmi": float(normalized_mutual_info_score(labels, clustering.labels)),
        "levels_told_by_clusters": float(homogeneity_score(labels, clustering.labels)),
        "n_split_levels": len(splits),
    }


def find_levels(
    track: pd.DataFrame,
    clip_ids: Sequence[str],
    *,
    domains: Sequence[str] | None = None,
    exclude_hz: Sequence[float] = (),
    seed: int = 0,
) -> FrequencyLevels:
    """Group the clips of one machine by the levels of their characteristic frequency.

    Levels: peaks of the density over log f, its kernel as wide as a speed scatters or 1 / duration.
    Trusted quantities go first, then those that tell most of a clip (entropy), envelope before
    tones. No levels where no line stands out. ``exclude_hz``: surroundings.
    """
    from sklearn.metrics import adjusted_mutual_info_score

    groups = np.asarray([""] * len(clip_ids) if domains is None else list(domains))
    ids = pd.Index(clip_ids)
    found = []
    for quantity in PREFERENCE:
        part = track[track["quantity"] == quantity]
        levels = levels_of(part, ids, groups, exclude_hz)
        stability = _stability(levels, part, groups, exclude_hz, seed=seed)
        found.append(replace(levels, quantity=quantity, stability=stability))
    best = max(
        found,
        key=lambda levels: (
            _is_trusted(levels), round(information(levels.labels, levels.stability), 2),
            round(levels.coverage * levels.stability, 1),  # counts where none can be trusted
        ),
    )  # fmt: skip
    if best.labels.nunique() < 2:
        return best
    others = [levels.labels for levels in found if levels is not best]
    told = max(adjusted_mutual_info_score(best.labels, other) for other in others)
    return replace(best, agreement=float(told))


def split_levels(details: MachineEvidence, *, seed: int) -> dict[int, Clustering]:
    """Levels whose clips fall into accepted clusters, and these."""
    labels = details.levels.labels.to_numpy()
    found = {
        level: find_clusters(details.points[labels == level], seed=seed, max_clusters=_MAX_PARTS)
        for level in range(len(details.levels.levels_hz))
    }
    return {level: clustering for level, clustering in found.items() if clustering.n_clusters > 1}


def information(labels: npt.ArrayLike, stability: float) -> float:
    """Entropy of labels [nats], without the negative ones, as far as they are stable."""
    labels = np.asarray(labels, dtype=np.int64)
    _, counts = np.unique(labels[labels >= 0], return_counts=True)
    if not len(counts):
        return 0.0
    excess = max(0.0, (stability - MIN_STABILITY) / (1.0 - MIN_STABILITY))
    return entropy(counts) * excess * float(counts.sum() / len(labels))


def entropy(counts: npt.NDArray[np.int64]) -> float:
    """Entropy of a labelling with so many members a label [nats]."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def name_frequencies(frequencies_hz: Array) -> list[str]:
    """Write distinct frequencies [Hz] with three digits, or more where two would read the same."""
    for digits in range(3, 9):
        rounded = [float(f"{f:.{digits}g}") for f in frequencies_hz]
        if len(set(rounded)) == len(rounded):
            break
    return [np.format_float_positional(f, trim="-") for f in rounded]


def _is_trusted(levels: FrequencyLevels) -> bool:
    """Whether the levels tell clips apart, hold most of them and come out alike."""
    is_wide = levels.coverage >= MIN_COVERAGE
    return len(levels.levels_hz) > 1 and is_wide and levels.stability >= MIN_STABILITY


def _stability(
    levels: FrequencyLevels,
    track: pd.DataFrame,
    groups: npt.NDArray[np.str_],
    exclude_hz: Sequence[float],
    *,
    seed: int,
) -> float:
    """Mean adjusted Rand index between the levels of halves of the clips and those of all."""
    from sklearn.metrics import adjusted_rand_score

    if len(levels.levels_hz) < 2:
        return 0.0
    rng = np.random.default_rng(seed)
    ids = levels.labels.index
    orders = [rng.permutation(len(ids)) for _ in range(_N_SPLITS)]
    values = []
    for half in (order[first::2] for order in orders for first in (0, 1)):
        own = ids[half]
        part = track[track["clip_id"].isin(own)]
        again = levels_of(part, own, groups[half], exclude_hz)
        values.append(adjusted_rand_score(levels.labels[own], again.labels))
    return float(np.mean(values))


def _level_gap(levels: FrequencyLevels) -> float:
    """Smallest distance of neighbouring levels over the scatter within levels, in log f."""
    if len(levels.levels_hz) < 2:
        return 0.0
    inside = levels.labels >= 0
    centres = levels.levels_hz[levels.labels[inside].to_numpy()]
    scatter = float(np.median(np.abs(np.log(levels.frequency_hz[inside] / centres)))) * 1.48
    return float(np.diff(np.log(levels.levels_hz)).min() / max(scatter, 1e-4))


def _predictability(points: Array, labels: Labels) -> float:
    """Share of clips whose label their nearest other clips tell, from chance (0) to always (1)."""
    points, labels = points[labels >= 0], labels[labels >= 0]
    counts = np.unique(labels, return_counts=True)[1]
    if len(counts) < 2 or len(labels) < MIN_CLIPS:
        return 0.0
    told = _neighbour_labels(None, points, labels)
    chance = counts.max() / counts.sum()
    return float(max(0.0, ((told == labels).mean() - chance) / (1.0 - chance)))


def _neighbour_labels(points: Array | None, known: Array, labels: Labels) -> Labels:
    """Majority label of the nearest known clips; without points, of each known clip's others."""
    from sklearn.neighbors import KNeighborsClassifier

    if points is not None and not len(points):
        return np.zeros(0, np.int64)
    count = min(_NEIGHBOURS, len(known) - (points is None))
    return np.asarray(KNeighborsClassifier(count).fit(known, labels).predict(points), np.int64)
