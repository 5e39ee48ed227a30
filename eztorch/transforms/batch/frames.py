"""Transforms of the frames of clips, each frame for itself."""

from __future__ import annotations

from torch import Tensor, nn

from eztorch.transforms.on_list import Transform, as_module
from eztorch.utils.errors import ConfigError


class EachFrame(nn.Module):
    """Give every frame of a clip a draw of its own, where batch transforms draw once for all of them.

    Args:
        transform: Batch transform; it takes the frames as images, shape (B T, C, H, W).

    >>> import torch
    >>> from eztorch.transforms.batch import RandomHorizontalFlip
    >>> clip = torch.tensor([1, 2]).expand(1, 1, 4, 1, 2)
    >>> flipped = EachFrame(RandomHorizontalFlip(p=0.5))(clip)[0, 0, :, 0, 0]  # of 4 frames 2 are flipped
    >>> flipped.sort().values
    tensor([1, 1, 2, 2])
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = as_module(transform)

    def forward(self, batch: Tensor) -> Tensor:
        """Return the transformed clips, shape (B, C, T, H, W).

        Args:
            batch: Clips, shape (B, C, T, H, W).

        Raises:
            ConfigError: They are no clips.
        """
        if batch.ndim != 5:
            raise ConfigError(f"EachFrame takes clips (B, C, T, H, W), not {tuple(batch.shape)}.")
        frames: Tensor = self.transform(batch.transpose(1, 2).flatten(0, 1))
        clips: Tensor = frames.unflatten(0, (batch.shape[0], batch.shape[2]))
        return clips.transpose(1, 2)
