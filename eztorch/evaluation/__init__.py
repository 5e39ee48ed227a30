"""Measuring features: extraction, nearest neighbours, retrieval, and how much of their space they use."""

from eztorch.evaluation.feature_store import FeatureStore, open_features
from eztorch.evaluation.features import LabelledFeatures, extract_features
from eztorch.evaluation.health import effective_rank, feature_std
from eztorch.evaluation.knn import count_correct, knn_predict, knn_vote
from eztorch.evaluation.neighbours import Neighbours, nearest_neighbours
from eztorch.evaluation.retrieval import average_precisions, count_hits

__all__ = [
    "FeatureStore",
    "LabelledFeatures",
    "Neighbours",
    "average_precisions",
    "count_correct",
    "count_hits",
    "effective_rank",
    "extract_features",
    "feature_std",
    "knn_predict",
    "knn_vote",
    "nearest_neighbours",
    "open_features",
]
