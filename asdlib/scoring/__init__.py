"""Scoring: KNN backend, official metrics with intervals, thresholds, submission files."""

from asdlib.scoring.curves import roc_curves
from asdlib.scoring.evaluation import CELL_METRICS, METRIC_COLUMNS, evaluate, mean_over_seeds
from asdlib.scoring.knn import Backend, KNNBackend
from asdlib.scoring.machines import score_machines
from asdlib.scoring.maps import embedding_map
from asdlib.scoring.metrics import MAX_FPR, auc, harmonic_mean, pauc
from asdlib.scoring.neighbours import neighbour_agreement
from asdlib.scoring.official import OFFICIAL_COLUMNS, OFFICIAL_METRICS, official_table
from asdlib.scoring.published import (
    is_dcase2025_dev,
    published_2025_dev,
    published_eval,
    published_figures,
)
from asdlib.scoring.scores import SCORE_COLUMNS, read_scores, validate_scores
from asdlib.scoring.submission import read_submission, write_submission
from asdlib.scoring.threshold import decide, gamma_threshold
from asdlib.scoring.trivial import time_average

__all__ = [
    "CELL_METRICS",
    "MAX_FPR",
    "METRIC_COLUMNS",
    "OFFICIAL_COLUMNS",
    "OFFICIAL_METRICS",
    "SCORE_COLUMNS",
    "Backend",
    "KNNBackend",
    "auc",
    "decide",
    "embedding_map",
    "evaluate",
    "gamma_threshold",
    "harmonic_mean",
    "is_dcase2025_dev",
    "mean_over_seeds",
    "neighbour_agreement",
    "official_table",
    "pauc",
    "published_2025_dev",
    "published_eval",
    "published_figures",
    "read_scores",
    "read_submission",
    "roc_curves",
    "score_machines",
    "time_average",
    "validate_scores",
    "write_submission",
]
