"""Building blocks of training that hold state or talk to other processes. Nothing here knows Lightning."""

from eztorch.modules.batch_shuffle import shuffle, unshuffle
from eztorch.modules.batch_statistics import average_batch_statistics
from eztorch.modules.ema import ema_update
from eztorch.modules.feature_queue import FeatureQueue
from eztorch.modules.gather import gather_with_gradient, gather_without_gradient, sum_over_processes
from eztorch.modules.momentum_target import MomentumTarget
from eztorch.modules.split_batch_norm import (
    SplitBatchNorm1d,
    SplitBatchNorm2d,
    SplitBatchNorm3d,
    convert_to_split_batch_norm,
)

__all__ = [
    "FeatureQueue",
    "MomentumTarget",
    "SplitBatchNorm1d",
    "SplitBatchNorm2d",
    "SplitBatchNorm3d",
    "average_batch_statistics",
    "convert_to_split_batch_norm",
    "ema_update",
    "gather_with_gradient",
    "gather_without_gradient",
    "shuffle",
    "sum_over_processes",
    "unshuffle",
]
