"""Weights of our networks and of those of other libraries, loaded by name."""

from eztorch.models.weights.files import WeightFile, read_weights
from eztorch.models.weights.loading import load_tensors, load_weights, pretrained_trunk
from eztorch.models.weights.names import common_names, origin
from eztorch.models.weights.report import WeightReport

__all__ = [
    "WeightFile",
    "WeightReport",
    "common_names",
    "load_tensors",
    "load_weights",
    "origin",
    "pretrained_trunk",
    "read_weights",
]
