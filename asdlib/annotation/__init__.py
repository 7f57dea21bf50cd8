"""Artificial attributes for machines that come without: clusters and frequencies."""

from asdlib.annotation.agreement import (
    agreement,
    cross_table,
    fixed_clusters,
    score_agreement,
    shuffled,
)
from asdlib.annotation.choice import MachineEvidence
from asdlib.annotation.clustering import find_clusters
from asdlib.annotation.frequencies import track_frequencies
from asdlib.annotation.inspection import (
    SoundInspection,
    average_classes,
    find_exemplars,
    inspect_clip,
    inspect_sound,
)
from asdlib.annotation.labelling import METHODS, ORACLE, Annotation, annotate
from asdlib.annotation.levels import find_levels

__all__ = [
    "METHODS",
    "ORACLE",
    "Annotation",
    "MachineEvidence",
    "SoundInspection",
    "agreement",
    "average_classes",
    "annotate",
    "cross_table",
    "find_clusters",
    "find_exemplars",
    "find_levels",
    "fixed_clusters",
    "inspect_clip",
    "inspect_sound",
    "score_agreement",
    "shuffled",
    "track_frequencies",
]
