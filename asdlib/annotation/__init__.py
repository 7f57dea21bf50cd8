"""Artificial attributes for machines that come without: clusters and frequencies."""

from asdlib.annotation.agreement import agreement, cross_table, score_agreement
from asdlib.annotation.baseline import fixed_clusters, shuffled
from asdlib.annotation.choice import METHODS, Annotation, MachineEvidence, annotate
from asdlib.annotation.clustering import clip_statistics, find_clusters, reduce_dimensions
from asdlib.annotation.frequencies import find_levels, track_frequencies

__all__ = [
    "METHODS",
    "Annotation",
    "MachineEvidence",
    "agreement",
    "annotate",
    "clip_statistics",
    "cross_table",
    "find_clusters",
    "find_levels",
    "fixed_clusters",
    "reduce_dimensions",
    "score_agreement",
    "shuffled",
    "track_frequencies",
]
