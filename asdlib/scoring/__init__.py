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
    VIEW_METRICS,
    VIEWS,
    View,
    autoencoder_view,
    fuse,
    score_machines,
    score_views,
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
from asdlib.scoring.scores import SCORE_COLUMNS, read_scores, validate_scores
from asdlib.scoring.verdicts import (
    VERDICT_COLUMNS,
    contribution_table,
    explained_clips,
    flagged_first,
    since_when,
    verdict_table,
    with_contributions,
)
