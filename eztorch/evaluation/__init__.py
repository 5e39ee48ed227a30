"""Measuring features, by neighbours, linear classifiers and the space that they use, and predictions: files, fusion."""

from eztorch.evaluation.features import FeatureRows, LabelledFeatures, extract_features
from eztorch.evaluation.fusion import fuse
from eztorch.evaluation.health import effective_rank, feature_std
from eztorch.evaluation.knn import count_correct, knn_predict
from eztorch.evaluation.linear import LinearHeads, fit_linear_heads, head_accuracies
from eztorch.evaluation.measure import MeasureOptions, measure
from eztorch.evaluation.predictions import Predictions
from eztorch.evaluation.probe import LinearProbe

__all__ = [
    "FeatureRows",
    "LabelledFeatures",
    "LinearHeads",
    "LinearProbe",
    "MeasureOptions",
    "Predictions",
    "count_correct",
    "effective_rank",
    "extract_features",
    "feature_std",
    "fit_linear_heads",
    "fuse",
    "head_accuracies",
    "knn_predict",
    "measure",
]
