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

from collections.abc import Mapping

import numpy as np
import pandas as pd

from asdlib.annotation.evidence import MachineEvidence, neighbour_labels, split_levels
from asdlib.annotation.levels import MIN_COVERAGE, name_frequencies
from asdlib.annotation.partitions import MIN_STABILITY

#: Another view of the clips must tell this much of the levels, above chance.
MIN_TOLD = 0.25
#: What the levels of a quantity are called.
_LEVEL_NAMES = {"envelope": "f", "tones": "tone", "cycle": "cycle"}


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
        labels[lost] = neighbour_labels(details.points[lost], known, labels[~lost])
        confidence[lost] = 0.0
    prefix = _LEVEL_NAMES[levels.quantity]
    level_names = [f"{prefix}_{name}Hz" for name in name_frequencies(levels.levels_hz)]
    attributes = np.array([level_names[label] for label in labels], dtype=object)
    if method == "both":
        for level, clustering in split_levels(details, seed=seed).items():
            held = np.flatnonzero(~lost & (labels == level))
            strays = np.flatnonzero(lost & (labels == level))
            known, parts = details.points[held], clustering.labels
            attributes[held] = [f"{level_names[level]}_cluster_{p + 1}" for p in parts]
            confidence[held] *= clustering.confidence
            if len(strays):
                told = neighbour_labels(details.points[strays], known, parts)
                attributes[strays] = [f"{level_names[level]}_cluster_{p + 1}" for p in told]
    return pd.Series(attributes, ids, dtype=object), pd.Series(confidence, ids)
