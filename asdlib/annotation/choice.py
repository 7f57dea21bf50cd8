"""Which annotation a machine gets, by a written rule that sees no true label.

For every machine (and section) without attributes, from its normal training clips alone:

1. Fewer than 20 clips: none; that is too little to tell structure from chance.
2. Frequencies, if their levels are at least two, hold 80 % of the clips, and come out alike
   from halves of the clips (adjusted Rand 0.8). They are of the quantity (envelope, tones or
   cycle) that tells most, see `asdlib.annotation.levels.find_levels`. A second view must tell
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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from asdlib.annotation.clustering import (
    MIN_CLIPS,
    MIN_STABILITY,
    Clustering,
    by_size,
    find_clusters,
    information,
    sample,
    unstructured,
)
from asdlib.annotation.frequencies import FrequencyTrack
from asdlib.annotation.levels import MIN_COVERAGE, FrequencyLevels, name_frequencies

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

#: Another view of the clips must tell this much of the levels, above chance.
MIN_TOLD = 0.25
#: Neighbours that lend a clip without a line its level.
_NEIGHBOURS = 5
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


def find_clusters_by_domain(
    points: Array,
    domains: Sequence[str],
    *,
    seed: int,
    on_progress: Callable[[int], object] = lambda clips: None,
) -> Clustering:
    """Cluster the largest domain, the others by themselves: another microphone is no attribute.

    Few clips (ten target clips) are joined (average linkage) until they are further apart than
    those within the largest domain's clusters (1.5 times their median distance).
    """
    from sklearn.cluster import AgglomerativeClustering

    names, domain = np.unique(np.asarray(domains, dtype=str), return_inverse=True)
    largest = int(np.bincount(domain).argmax())
    inside = domain == largest
    main = find_clusters(points[inside], seed=seed, on_progress=on_progress)
    on_progress(int((~inside).sum()))
    if len(names) == 1:
        return main
    if main.n_clusters == 1:
        return unstructured(len(points), main.criterion)
    judged = sample(np.arange(len(main.labels)), seed)
    reach = 1.5 * _inner_distance(points[inside][judged], main.labels[judged])
    labels: Labels = np.zeros(len(points), np.int64)
    confidence, is_outlier = np.zeros(len(points)), np.zeros(len(points), np.bool_)
    labels[inside], confidence[inside] = main.labels, main.confidence
    is_outlier[inside] = main.is_outlier
    count = main.n_clusters
    model = AgglomerativeClustering(n_clusters=None, distance_threshold=reach, linkage="average")
    for number in [n for n in range(len(names)) if n != largest]:
        members = np.flatnonzero(domain == number)
        own: Labels = np.zeros(len(members), np.int64)
        if len(members) > 1:
            own = np.asarray(model.fit_predict(points[members]), dtype=np.int64)
        labels[members] = count + by_size(own)
        confidence[members] = 0.5  # too few clips for the criteria above
        count += int(own.max()) + 1
    return replace(
        main, labels=labels, confidence=confidence, is_outlier=is_outlier, n_clusters=count
    )


def _inner_distance(points: Array, labels: Labels) -> float:
    """Median distance of two clips of one cluster."""
    from scipy.spatial.distance import pdist

    parts = [pdist(points[labels == label]) for label in np.unique(labels)]
    return float(np.median(np.concatenate(parts)))


def choose_method(found: Mapping[str, object]) -> tuple[str, str]:
    """Return method and reason; see the module."""
    quantity = str(found["level_quantity"])
    value = {name: float(str(n)) for name, n in found.items() if name != "level_quantity"}
    if value["n_levels"] < 2:
        frequencies = "no frequency tells clips apart"
    elif value["coverage"] < MIN_COVERAGE:
        frequencies = f"frequency levels hold only {value['coverage']:.0%} of the clips"
    elif value["level_stability"] < MIN_STABILITY:
        frequencies = f"frequency levels are unstable ({value['level_stability']:.2f})"
    elif max(value["level_predictability"], value["level_agreement"]) < MIN_TOLD:
        frequencies = f"levels of {quantity} show in nothing else"
    else:
        words = f"{value['n_levels']:.0f} levels of {quantity}"
        held = f"hold {value['coverage']:.0%} of clips"
        if value["n_clusters"] > 1 and value["cluster_information"] > value["level_information"]:
            return "clusters", (
                f"{value['n_clusters']:.0f} clusters, stability {value['cluster_stability']:.2f}, "
                f"tell more than {words}, stability {value['level_stability']:.2f}"
            )
        if value["n_split_levels"]:
            return "both", f"{words} {held}; {value['n_split_levels']:.0f} fall into clusters"
        return "frequencies", f"{words} {held}"
    if value["n_clusters"] > 1:
        stability = value["cluster_stability"]
        return "clusters", (
            f"{value['n_clusters']:.0f} clusters, stability {stability:.2f}; {frequencies}"
        )
    return "none", f"{frequencies}; no number of clusters is accepted"


def label_clips(
    details: MachineEvidence, method: str, *, seed: int
) -> tuple[pd.Series[str], pd.Series[float]]:
    """Attribute and confidence of every clip by a method."""
    ids = details.clip_ids
    if method == "none":
        return pd.Series("none", ids, dtype=object), pd.Series(1.0, ids)
    if method == "clusters":
        clustering = details.clustering
        names = [f"cluster_{label + 1}" for label in clustering.labels]
        certainty = np.where(clustering.is_outlier, 0.0, clustering.confidence)
        return pd.Series(names, ids, dtype=object), pd.Series(certainty, ids)
    levels = details.levels
    if len(levels.levels_hz) == 0:
        return pd.Series("none", ids, dtype=object), pd.Series(1.0, ids)
    labels = np.array(levels.labels, dtype=np.int64)
    confidence = np.array(levels.confidence, dtype=np.float64)
    lost = labels < 0
    if lost.any():
        known = details.points[~lost]
        labels[lost] = _neighbour_labels(details.points[lost], known, labels[~lost])
        confidence[lost] = 0.0
    prefix = _LEVEL_NAMES[levels.quantity]
    level_names = [f"{prefix}_{name}Hz" for name in name_frequencies(levels.levels_hz)]
    attributes = np.array([level_names[label] for label in labels], dtype=object)
    if method == "both":
        for level, clustering in _split_levels(details, seed=seed).items():
            held = np.flatnonzero(~lost & (labels == level))
            strays = np.flatnonzero(lost & (labels == level))
            known, parts = details.points[held], clustering.labels
            attributes[held] = [f"{level_names[level]}_cluster_{p + 1}" for p in parts]
            confidence[held] *= clustering.confidence
            if len(strays):
                told = _neighbour_labels(details.points[strays], known, parts)
                attributes[strays] = [f"{level_names[level]}_cluster_{p + 1}" for p in told]
    return pd.Series(attributes, ids, dtype=object), pd.Series(confidence, ids)


def judge(details: MachineEvidence, *, seed: int) -> dict[str, object]:
    """Quantities that the rule looks at."""
    from sklearn.metrics import homogeneity_score, normalized_mutual_info_score

    levels, clustering = details.levels, details.clustering
    frequency_labels = np.asarray(levels.labels, dtype=np.int64)
    splits = _split_levels(details, seed=seed)
    return {
        "n_levels": len(levels.levels_hz),
        "coverage": levels.coverage,
        "level_stability": levels.stability,
        "level_quantity": levels.quantity,
        "level_gap": _level_gap(levels),
        "level_predictability": _predictability(details.points, frequency_labels),
        "level_information": levels.information,
        "level_agreement": levels.agreement,
        "n_clusters": clustering.n_clusters,
        "cluster_stability": clustering.stability,
        "cluster_information": information(clustering.labels, clustering.stability),
        "silhouette": clustering.silhouette,
        "agreement_nmi": float(normalized_mutual_info_score(frequency_labels, clustering.labels)),
        "levels_told_by_clusters": float(homogeneity_score(frequency_labels, clustering.labels)),
        "n_split_levels": len(splits),
    }


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
    inside = labels >= 0
    names, counts = np.unique(labels[inside], return_counts=True)
    if len(names) < 2 or inside.sum() < MIN_CLIPS:
        return 0.0
    told = _neighbour_labels(points[inside], points[inside], labels[inside], skip_first=True)
    chance = counts.max() / counts.sum()
    return float(max(0.0, ((told == labels[inside]).mean() - chance) / (1.0 - chance)))


def _neighbour_labels(
    points: Array, known: Array, labels: Labels, *, skip_first: bool = False
) -> Labels:
    """Majority label of the nearest known clips; ``skip_first`` leaves out the point itself."""
    from sklearn.neighbors import NearestNeighbors

    first = int(skip_first)
    count = min(_NEIGHBOURS + first, len(known))
    nearest = NearestNeighbors(n_neighbors=count).fit(known).kneighbors(points)[1][:, first:]
    return np.array([np.bincount(row).argmax() for row in labels[nearest]], dtype=np.int64)


def _split_levels(details: MachineEvidence, *, seed: int) -> dict[int, Clustering]:
    """Levels whose clips fall into accepted clusters."""
    labels = details.levels.labels.to_numpy()
    found = {}
    for level in range(len(details.levels.levels_hz)):
        inside = labels == level
        if inside.sum() >= MIN_CLIPS:
            clustering = find_clusters(details.points[inside], seed=seed, max_clusters=6)
            if clustering.n_clusters > 1:
                found[level] = clustering
    return found
