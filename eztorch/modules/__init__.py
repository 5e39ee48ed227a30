"""Building blocks of training that hold state or talk to other processes. Nothing here knows Lightning."""

from eztorch.modules.batch_shuffle import shuffle, unshuffle
from eztorch.modules.batch_statistics import average_batch_statistics
from eztorch.modules.block_masks import block_mask, draw_hidden
from eztorch.modules.consensus import MeanConsensus, TemporalRelation, multi_scale_relation
from eztorch.modules.ema import ema_update
from eztorch.modules.feature_queue import FeatureQueue
from eztorch.modules.frames import (
    BrickConv2d,
    LongTermDifference,
    MultiViewFusion,
    TemporalConv,
    TemporalShift,
    set_frames_per_clip,
    temporal_shift,
)
from eztorch.modules.freezing import batch_norms, keep_frozen
from eztorch.modules.gather import gather_with_gradient, gather_without_gradient, sum_over_processes
from eztorch.modules.momentum_target import MomentumTarget
from eztorch.modules.non_local import NonLocal
from eztorch.modules.split_batch_norm import (
    SplitBatchNorm1d,
    SplitBatchNorm2d,
    SplitBatchNorm3d,
    convert_to_split_batch_norm,
)
from eztorch.modules.tada import TAdaConv2d, TAdaConv3d

__all__ = [
    "BrickConv2d",
    "FeatureQueue",
    "LongTermDifference",
    "MeanConsensus",
    "MomentumTarget",
    "MultiViewFusion",
    "NonLocal",
    "SplitBatchNorm1d",
    "SplitBatchNorm2d",
    "SplitBatchNorm3d",
    "TAdaConv2d",
    "TAdaConv3d",
    "TemporalConv",
    "TemporalRelation",
    "TemporalShift",
    "average_batch_statistics",
    "batch_norms",
    "block_mask",
    "convert_to_split_batch_norm",
    "draw_hidden",
    "ema_update",
    "gather_with_gradient",
    "gather_without_gradient",
    "keep_frozen",
    "multi_scale_relation",
    "set_frames_per_clip",
    "shuffle",
    "sum_over_processes",
    "temporal_shift",
    "unshuffle",
]
