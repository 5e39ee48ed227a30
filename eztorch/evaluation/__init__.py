"""Measuring features, by neighbours, linear classifiers and the space that they use, and predictions: files, fusion.

Most names are imported when they are asked for: predictions are read and measured without Lightning.
"""

from typing import TYPE_CHECKING

# Not when it is asked for: `measure` is the function and not the module that it is in.
from eztorch.evaluation.measure import MeasureOptions, measure
from eztorch.utils.lazy import lazy_names

if TYPE_CHECKING:
    from eztorch.evaluation.activation_maps import class_activation_maps
    from eztorch.evaluation.feature_store import FeatureStore, open_features
    from eztorch.evaluation.features import FeatureRows, LabelledFeatures, extract_features
    from eztorch.evaluation.fusion import fuse
    from eztorch.evaluation.health import effective_rank, feature_std
    from eztorch.evaluation.knn import count_correct, knn_predict, knn_vote
    from eztorch.evaluation.linear import LinearHeads, fit_linear_heads, head_accuracies
    from eztorch.evaluation.neighbours import Neighbours, nearest_neighbours
    from eztorch.evaluation.predictions import Predictions
    from eztorch.evaluation.probe import LinearProbe
    from eztorch.evaluation.retrieval import average_precisions, count_hits

__all__ = [
    "FeatureRows",
    "FeatureStore",
    "LabelledFeatures",
    "LinearHeads",
    "LinearProbe",
    "MeasureOptions",
    "Neighbours",
    "Predictions",
    "average_precisions",
    "class_activation_maps",
    "count_correct",
    "count_hits",
    "effective_rank",
    "extract_features",
    "feature_std",
    "fit_linear_heads",
    "fuse",
    "head_accuracies",
    "knn_predict",
    "knn_vote",
    "measure",
    "nearest_neighbours",
    "open_features",
]

_MODULES = {
    "activation_maps": ("class_activation_maps",),
    "feature_store": ("FeatureStore", "open_features"),
    "features": ("FeatureRows", "LabelledFeatures", "extract_features"),
    "fusion": ("fuse",),
    "health": ("effective_rank", "feature_std"),
    "knn": ("count_correct", "knn_predict", "knn_vote"),
    "linear": ("LinearHeads", "fit_linear_heads", "head_accuracies"),
    "neighbours": ("Neighbours", "nearest_neighbours"),
    "predictions": ("Predictions",),
    "probe": ("LinearProbe",),
    "retrieval": ("average_precisions", "count_hits"),
}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
