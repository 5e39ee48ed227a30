"""Measuring features: extraction, nearest neighbours, and how much of their space they use."""

from eztorch.evaluation.features import LabelledFeatures, extract_features
from eztorch.evaluation.health import effective_rank, feature_std
from eztorch.evaluation.knn import count_correct, knn_predict

__all__ = ["LabelledFeatures", "count_correct", "effective_rank", "extract_features", "feature_std", "knn_predict"]
