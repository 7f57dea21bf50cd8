"""Artificial attributes for machines that come without: clusters and frequencies."""

from asdlib.annotation.agreement import cross_table, fixed_clusters, score_agreement, shuffled
from asdlib.annotation.choice import MachineEvidence
from asdlib.annotation.frequencies import track_frequencies
from asdlib.annotation.inspection import (
    average_classes,
    find_exemplars,
    inspect_clip,
    inspect_sound,
)
from asdlib.annotation.labelling import Annotation, annotate
