"""Measuring features, by neighbours and by the space that they use, and predictions: files, measures, fusion."""

from eztorch.evaluation.features import LabelledFeatures, extract_features
from eztorch.evaluation.fusion import fuse
from eztorch.evaluation.health import effective_rank, feature_std
from eztorch.evaluation.knn import count_correct, knn_predict
from eztorch.evaluation.measure import MeasureOptions, measure
from eztorch.evaluation.predictions import Predictions

__all__ = [
    "LabelledFeatures",
    "MeasureOptions",
    "Predictions",
    "count_correct",
    "effective_rank",
    "extract_features",
    "feature_std",
    "fuse",
    "knn_predict",
    "measure",
]
