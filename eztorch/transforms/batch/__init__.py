"""Transforms of whole batches on their device: images `(B, C, H, W)` and clips `(B, C, T, H, W)`, uint8 or float.

Every sample has its own draw, which holds for all its frames; nothing waits for the device.
"""

from eztorch.transforms.batch.base import Compose
from eztorch.transforms.batch.geometry import CenterCrop, RandomCrop, RandomHorizontalFlip, RandomResizedCrop
from eztorch.transforms.batch.values import Normalize, ToFloat

__all__ = ["CenterCrop", "Compose", "Normalize", "RandomCrop", "RandomHorizontalFlip", "RandomResizedCrop", "ToFloat"]
