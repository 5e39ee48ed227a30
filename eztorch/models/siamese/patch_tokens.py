"""Hidden patches of a vision transformer as places, int64, shape (B, M): indices of patches, then -1 up to M."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from eztorch.models.siamese.features import Features


def as_mask(places: Tensor, grid: Sequence[int]) -> Tensor:
    """Return which of the N patches of a grid are hidden, bool, shape (B, N).

    >>> as_mask(torch.tensor([[0, 3], [1, -1]]), (2, 2)).int().tolist()
    [[1, 0, 0, 1], [0, 1, 0, 0]]
    """
    mask = torch.zeros(len(places), 1 + math.prod(grid), dtype=torch.bool, device=places.device)
    return mask.scatter_(1, places + 1, torch.ones_like(places, dtype=torch.bool))[:, 1:]


def at_places(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens of the hidden patches, shape (B, M, C), anything for -1.

    Args:
        tokens: All tokens, that of the class first, shape (B, 1 + N, C).
        places: The hidden patches.
    """
    return tokens.gather(1, (places + 1)[:, :, None].expand(-1, -1, tokens.shape[2]))


def by_view(indices: Sequence[int], h: Tensor, scores: Tensor) -> dict[int, Features]:
    """Take apart what went through the networks together.

    Args:
        indices: Of the V views, or of their hidden patches.
        h: Tokens, shape (V * B, ..., C).
        scores: Shape (V * B, ..., K).

    Returns:
        Features by index, with a leading dimension of 1 for the combinations of patches, of which there are none.
    """
    parts = zip(h.chunk(len(indices)), scores.chunk(len(indices)), strict=True)
    return {index: Features(a[None], b[None], b[None]) for index, (a, b) in zip(indices, parts, strict=True)}
