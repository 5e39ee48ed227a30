"""Changes along the time of a batch of clips."""

from __future__ import annotations

import torch
from torch import Tensor

from eztorch.transforms.batch.base import InPlaceTransform
from eztorch.transforms.batch.draws import draw_samples, pieces, probability, send
from eztorch.transforms.video.temporal import temporal_difference
from eztorch.utils.errors import ConfigError


class RandomTemporalDifference(InPlaceTransform):
    """Replace the frames of some clips by the differences of consecutive ones; see `video.temporal_difference`.

    Floats lie from 0 to 1 here, and no difference is 0.5; of uint8 it is 128.

    Args:
        p: Probability that a clip is replaced; see `draw_samples`.
        use_grayscale: Whether colours are turned to grey first.
        absolute: Whether absolute values are taken.

    >>> clip = torch.tensor([0.25, 0.75, 0.75]).view(1, 1, 3, 1, 1)
    >>> RandomTemporalDifference(p=1)(clip).flatten().tolist()
    [0.25, 0.5, 0.5]
    """

    takes_bytes = True

    def __init__(self, p: float = 0.2, use_grayscale: bool = True, absolute: bool = False) -> None:
        super().__init__()
        self.p = probability(p)
        self.use_grayscale = use_grayscale
        self.absolute = absolute

    def change(self, batch: Tensor) -> None:
        """Replace clips in place.

        Raises:
            ConfigError: The batch is one of images.
        """
        if batch.ndim != 5:
            raise ConfigError(f"RandomTemporalDifference takes clips (B, C, T, H, W), not {tuple(batch.shape)}.")
        samples, highest = draw_samples(len(batch), self.p), 1 if batch.is_floating_point() else 255
        for piece, _ in pieces(batch, samples, send(torch.tensor(samples, dtype=torch.int64), batch.device)):
            piece.copy_(
                temporal_difference(piece, use_grayscale=self.use_grayscale, absolute=self.absolute, highest=highest)
            )

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"p={self.p}, use_grayscale={self.use_grayscale}, absolute={self.absolute}"
