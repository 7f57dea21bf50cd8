"""Scoring: backends, their fusion and choice, official metrics, thresholds, submissions."""

from asdlib.scoring.backends import (
    embedding_map,
    make_backend,
    neighbour_agreement,
    score_autoencoder,
    selective_mahalanobis,
    time_average,
)
from asdlib.scoring.decisions import (
    VERDICT_COLUMNS,
    conformal_threshold,
    decide,
    explained_clips,
    false_alarms,
    flagged_first,
    since_when,
    verdict_count,
    verdict_table,
)
from asdlib.scoring.differences import (
    DIFFERENCE_COLUMNS,
    LEARNT,
    SENSITIVITY_COLUMNS,
    blind_spots,
    detection_rates,
    mean_over_seeds,
    paired_differences,
)
from asdlib.scoring.evaluation import CELL_METRICS, METRIC_COLUMNS, evaluate, roc_curves
from asdlib.scoring.final import (
    AUTOENCODER,
    VIEW_METRICS,
    VIEWS,
    View,
    autoencoder_view,
    contribution_table,
    fuse,
    score_machines,
    score_views,
    with_contributions,
)
from asdlib.scoring.knn import KNNBackend
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
from asdlib.scoring.resampling import DomainMinimumBackend
from asdlib.scoring.scores import (
    SCORE_COLUMNS,
    held_out_part,
    read_scores,
    rehearsed_clips,
    validate_scores,
)
