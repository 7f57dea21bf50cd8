"""Artificial attributes for machines that come without: clusters and frequencies."""

from asdlib.annotation.agreement import (
    average_classes,
    cross_table,
    find_exemplars,
    fixed_clusters,
    score_agreement,
    shuffled,
)
from asdlib.annotation.choice import MachineEvidence
from asdlib.annotation.frequencies import inspect_clip, inspect_sound, track_frequencies
from asdlib.annotation.labelling import Annotation, annotate
