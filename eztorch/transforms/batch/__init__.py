"""Transforms of whole batches on their device: images `(B, C, H, W)` and clips `(B, C, T, H, W)`, uint8 or float.

Every sample has its own draw, which holds for all its frames; nothing waits for the device.
"""

from eztorch.transforms.batch.base import Compose
from eztorch.transforms.batch.blur import GaussianBlur
from eztorch.transforms.batch.color import ColorJitter, RandomGrayscale, RandomSolarize
from eztorch.transforms.batch.frames import EachFrame
from eztorch.transforms.batch.geometry import CenterCrop, RandomCrop, RandomHorizontalFlip, RandomResizedCrop, Resize
from eztorch.transforms.batch.mix import Mix, Mixture
from eztorch.transforms.batch.pseudo_motions import PseudoMotions
from eztorch.transforms.batch.temporal import RandomTemporalDifference
from eztorch.transforms.batch.values import Normalize, ToFloat

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "EachFrame",
    "GaussianBlur",
    "Mix",
    "Mixture",
    "Normalize",
    "PseudoMotions",
    "RandomCrop",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomSolarize",
    "RandomTemporalDifference",
    "Resize",
    "ToFloat",
]
