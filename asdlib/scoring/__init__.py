"""Scoring: backends, their fusion and choice, official metrics, thresholds, submissions."""

from asdlib.scoring.backends import make_backend
from asdlib.scoring.baselines import score_autoencoder, selective_mahalanobis
from asdlib.scoring.differences import DIFFERENCE_COLUMNS, paired_differences
from asdlib.scoring.evaluation import CELL_METRICS, METRIC_COLUMNS, evaluate, mean_over_seeds
from asdlib.scoring.explain import Explanation, embedding_map, explain, extreme_clips
from asdlib.scoring.final import FINAL_BACKENDS, hindsight, score_final, score_views
from asdlib.scoring.fusion import fuse
from asdlib.scoring.knn import Backend, KNNBackend
from asdlib.scoring.machines import score_machines
from asdlib.scoring.metrics import MAX_FPR, auc, harmonic_mean, pauc, roc_curves
from asdlib.scoring.neighbours import neighbour_agreement
from asdlib.scoring.official import (
    OFFICIAL_COLUMNS,
    OFFICIAL_METRICS,
    is_dcase2025_dev,
    official_table,
    published_figures,
)
from asdlib.scoring.scores import SCORE_COLUMNS, read_scores, validate_scores
from asdlib.scoring.selection import NEIGHBOURS, choose_neighbours, held_out_states
from asdlib.scoring.submission import read_submission, write_submission
from asdlib.scoring.threshold import decide, gamma_threshold
from asdlib.scoring.trivial import time_average

__all__ = [
    "CELL_METRICS",
    "DIFFERENCE_COLUMNS",
    "FINAL_BACKENDS",
    "MAX_FPR",
    "METRIC_COLUMNS",
    "NEIGHBOURS",
    "OFFICIAL_COLUMNS",
    "OFFICIAL_METRICS",
    "SCORE_COLUMNS",
    "Backend",
    "Explanation",
    "KNNBackend",
    "auc",
    "choose_neighbours",
    "decide",
    "embedding_map",
    "evaluate",
    "explain",
    "extreme_clips",
    "fuse",
    "gamma_threshold",
    "harmonic_mean",
    "held_out_states",
    "hindsight",
    "is_dcase2025_dev",
    "make_backend",
    "mean_over_seeds",
    "neighbour_agreement",
    "official_table",
    "paired_differences",
    "pauc",
    "published_figures",
    "read_scores",
    "read_submission",
    "roc_curves",
    "score_autoencoder",
    "score_final",
    "score_machines",
    "score_views",
    "selective_mahalanobis",
    "time_average",
    "validate_scores",
    "write_submission",
]
