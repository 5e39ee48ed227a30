"""Measures as functions of all scores and labels; `eztorch.evaluation.measure` has them by name."""

from eztorch.evaluation.metrics.calibration import (
    ReliabilityBins,
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_bins,
)
from eztorch.evaluation.metrics.one_label import (
    class_accuracies,
    class_counts,
    confusion_matrix,
    group_accuracy,
    group_scores,
    mean_class_accuracy,
    top_hits,
    top_k_accuracy,
)
from eztorch.evaluation.metrics.several_labels import (
    any_top_k_accuracy,
    f1_score,
    jaccard,
    mean_average_precision,
    top_set_accuracy,
)

__all__ = [
    "ReliabilityBins",
    "any_top_k_accuracy",
    "brier_score",
    "class_accuracies",
    "class_counts",
    "confusion_matrix",
    "expected_calibration_error",
    "f1_score",
    "group_accuracy",
    "group_scores",
    "jaccard",
    "maximum_calibration_error",
    "mean_average_precision",
    "mean_class_accuracy",
    "negative_log_likelihood",
    "reliability_bins",
    "top_hits",
    "top_k_accuracy",
    "top_set_accuracy",
]
