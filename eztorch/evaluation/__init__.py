"""Measuring features: extraction, nearest neighbours, how much of their space they use, and where a class is seen."""

from eztorch.evaluation.activation_maps import class_activation_maps
from eztorch.evaluation.features import LabelledFeatures, extract_features
from eztorch.evaluation.health import effective_rank, feature_std
from eztorch.evaluation.knn import count_correct, knn_predict

__all__ = [
    "LabelledFeatures",
    "class_activation_maps",
    "count_correct",
    "effective_rank",
    "extract_features",
    "feature_std",
    "knn_predict",
]
