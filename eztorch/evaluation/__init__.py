"""Measuring features: extraction, nearest neighbours, linear classifiers, and how much of their space they use."""

from eztorch.evaluation.features import FeatureRows, LabelledFeatures, extract_features
from eztorch.evaluation.health import effective_rank, feature_std
from eztorch.evaluation.knn import count_correct, knn_predict
from eztorch.evaluation.linear import LinearHeads, fit_linear_heads, head_accuracies
from eztorch.evaluation.probe import LinearProbe

__all__ = [
    "FeatureRows",
    "LabelledFeatures",
    "LinearHeads",
    "LinearProbe",
    "count_correct",
    "effective_rank",
    "extract_features",
    "feature_std",
    "fit_linear_heads",
    "head_accuracies",
    "knn_predict",
]
