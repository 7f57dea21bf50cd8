"""Scoring: backends, their fusion and choice, official metrics, thresholds, submissions."""

from asdlib.scoring.backends import make_backend, neighbour_agreement
from asdlib.scoring.baselines import score_autoencoder, selective_mahalanobis, time_average
from asdlib.scoring.decisions import (
    LEARNT,
    SENSITIVITY_COLUMNS,
    blind_spots,
    conformal_threshold,
    decide,
    detection_rates,
    false_alarms,
    held_out_part,
    rehearsed_clips,
    roc_curves,
)
from asdlib.scoring.differences import DIFFERENCE_COLUMNS, mean_over_seeds, paired_differences
from asdlib.scoring.evaluation import CELL_METRICS, METRIC_COLUMNS, evaluate
from asdlib.scoring.final import (
    AUTOENCODER,
    VIEWS,
    View,
    autoencoder_view,
    fuse,
    score_machines,
    score_views,
)
from asdlib.scoring.knn import KNNBackend, embedding_map
from asdlib.scoring.metrics import MAX_FPR, auc, harmonic_mean, pauc
from asdlib.scoring.official import (
    OFFICIAL_COLUMNS,
    OFFICIAL_METRICS,
    is_dcase2025_dev,
    official_table,
    published_figures,
    read_submission,
    write_submission,
)
from asdlib.scoring.scores import SCORE_COLUMNS, read_scores, validate_scores
from asdlib.scoring.verdicts import (
    VERDICT_COLUMNS,
    NormalBank,
    contribution_table,
    explained_clips,
    flagged_first,
    since_when,
    verdict_table,
    with_contributions,
)

__all__ = [
    "SCORE_COLUMNS",
    "VERDICT_COLUMNS",
    "AUTOENCODER",
    "VIEWS",
    "View",
    "conformal_threshold",
    "false_alarms",
    "CELL_METRICS",
    "DIFFERENCE_COLUMNS",
    "LEARNT",
    "MAX_FPR",
    "METRIC_COLUMNS",
    "OFFICIAL_COLUMNS",
    "OFFICIAL_METRICS",
    "SENSITIVITY_COLUMNS",
    "KNNBackend",
    "NormalBank",
    "auc",
    "autoencoder_view",
    "blind_spots",
    "contribution_table",
    "decide",
    "detection_rates",
    "embedding_map",
    "evaluate",
    "explained_clips",
    "flagged_first",
    "since_when",
    "fuse",
    "harmonic_mean",
    "held_out_part",
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
    "rehearsed_clips",
    "roc_curves",
    "score_autoencoder",
    "score_machines",
    "score_views",
    "selective_mahalanobis",
    "time_average",
    "validate_scores",
    "verdict_table",
    "with_contributions",
    "write_submission",
]
