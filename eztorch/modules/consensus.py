"""What makes features of a clip from those of its frames, shape (B, T, C).

Papers: TSN, https://arxiv.org/abs/1608.00859 (mean); TRN, https://arxiv.org/abs/1711.08496 (relations).
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError


class MeanConsensus(nn.Module):
    """The mean over the frames, of any number of them.

    Args:
        in_features: Length C of the features.
        num_frames: Not needed; every consensus is told.
    """

    def __init__(self, in_features: int, num_frames: int | None = None) -> None:
        super().__init__()
        self.output_dim = in_features

    def forward(self, x: Tensor) -> Tensor:
        """Average features of frames, shape (B, T, C), to those of clips, shape (B, C)."""
        return x.mean(dim=1)


class TemporalRelation(nn.Module):
    """Relations of ordered tuples of frames (TRN).

    The features of a scale k are `sum of relu(W_k [f_i1, ..., f_ik])` over tuples i1 < ... < ik of frames, with f a
    projection of a frame's features and a ReLU; those of all scales are put one after another. A linear layer on them
    is the sum of TRN's classifiers of each scale.

    Of a scale's tuples `num_relations` take part. In training they are drawn anew at every call, for all clips of a
    batch together, from torch's generator of the CPU, which a training step seeds by its address. In evaluation they
    are always the same, spread evenly over the tuples in lexicographic order.

    Attributes:
        output_dim: Length of the result, the number of scales times `relation_dim`.

    Args:
        in_features: Length C of the features of a frame.
        num_frames: Frames T of a clip.
        scales: Lengths of tuples; None for T alone, all frames in their order (TRN).
        frame_dim: Length of a projected frame.
        relation_dim: Length of a relation.
        num_relations: How many tuples of a scale take part at most.

    Raises:
        ConfigError: No number of frames, or scales that it does not have.
    """

    def __init__(
        self,
        in_features: int,
        num_frames: int | None,
        *,
        scales: Sequence[int] | None = None,
        frame_dim: int = 256,
        relation_dim: int = 512,
        num_relations: int = 3,
    ) -> None:
        super().__init__()
        if num_frames is None or num_frames < 2:
            raise ConfigError(f"num_frames={num_frames}; relations need the number of frames of a clip, 2 or more.")
        self.num_frames, self.num_relations = num_frames, num_relations
        self.scales = (num_frames,) if scales is None else tuple(scales)
        if not self.scales or not all(1 <= scale <= num_frames for scale in self.scales):
            raise ConfigError(f"scales={list(self.scales)}; expected lengths of tuples of {num_frames} frames.")
        if num_relations < 1:
            raise ConfigError(f"num_relations={num_relations}; expected a positive number of tuples.")
        self.project = nn.Linear(in_features, frame_dim)
        self.relations = nn.ModuleList(nn.Linear(scale * frame_dim, relation_dim) for scale in self.scales)
        self.output_dim = len(self.scales) * relation_dim

    def forward(self, x: Tensor) -> Tensor:
        """Relate features of frames, shape (B, T, C), to those of clips, shape (B, output_dim).

        Raises:
            ConfigError: Another number of frames.
        """
        if x.shape[1] != self.num_frames:
            raise ConfigError(f"num_frames={self.num_frames} of the model, and its clips have {x.shape[1]} frames.")
        frames = F.relu(self.project(x))
        tuples = self._tuples()
        flat = torch.tensor([frame for scale in tuples for choice in scale for frame in choice])
        chosen = frames.index_select(1, flat.to(x.device, non_blocking=True))
        parts = chosen.split([len(scale) * len(scale[0]) for scale in tuples], dim=1)
        related = [
            F.relu(layer(part.unflatten(1, (len(scale), -1)).flatten(2))).sum(dim=1)
            for layer, part, scale in zip(self.relations, parts, tuples, strict=True)
        ]
        return torch.cat(related, dim=1)

    def _tuples(self) -> list[list[tuple[int, ...]]]:
        """Return the tuples of frames of each scale that take part."""
        counts = [math.comb(self.num_frames, scale) for scale in self.scales]
        drawn = self.training and any(count > self.num_relations for count in counts)
        draw = random.Random(int(torch.randint(2**62, ()))) if drawn else None
        return [
            [nth_tuple(self.num_frames, scale, place) for place in self._places(count, draw)]
            for scale, count in zip(self.scales, counts, strict=True)
        ]

    def _places(self, count: int, draw: random.Random | None) -> list[int]:
        """Return which of `count` tuples take part, by their place in lexicographic order."""
        if count <= self.num_relations:
            return list(range(count))
        if draw is not None:
            return draw.sample(range(count), self.num_relations)
        return [(2 * i + 1) * count // (2 * self.num_relations) for i in range(self.num_relations)]


def multi_scale_relation(
    in_features: int,
    num_frames: int | None,
    *,
    frame_dim: int = 256,
    relation_dim: int = 256,
    num_relations: int = 3,
) -> TemporalRelation:
    """Build the relations of multi-scale TRN: tuples of all lengths from all frames down to pairs.

    The result has T - 1 times `relation_dim` numbers. Arguments are those of `TemporalRelation`.
    """
    return TemporalRelation(
        in_features,
        num_frames,
        scales=None if num_frames is None else range(num_frames, 1, -1),
        frame_dim=frame_dim,
        relation_dim=relation_dim,
        num_relations=num_relations,
    )


def nth_tuple(num_frames: int, length: int, place: int) -> tuple[int, ...]:
    """Return an ordered tuple of frames by its place in lexicographic order, without listing those before it.

    >>> [nth_tuple(4, 2, place) for place in range(math.comb(4, 2))]
    [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    """
    chosen: list[int] = []
    for frame in range(num_frames):
        with_it = math.comb(num_frames - frame - 1, length - len(chosen) - 1) if len(chosen) < length else 0
        if place < with_it:
            chosen.append(frame)
        else:
            place -= with_it
    return tuple(chosen)
