"""Samples mixed with others of their batch, and the labels that they then have.

Papers: mixup, https://arxiv.org/abs/1710.09412; CutMix, https://arxiv.org/abs/1905.04899; on clips, the same
box of every frame, VideoMix, https://arxiv.org/abs/2012.03457. B samples, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eztorch.transforms.batch.base import checked, to_float
from eztorch.transforms.batch.draws import draw_samples, probability, send
from eztorch.utils.errors import ConfigError


@dataclass(frozen=True)
class Mixture:
    """Which samples were mixed, and how much of each is left.

    Attributes:
        partner: The sample that each is mixed with, shape (B,).
        share: How much of a sample is its own, the rest being its partner's, shape (B,).
    """

    partner: Tensor
    share: Tensor

    def labels(self, weights: Tensor) -> Tensor:
        """Return the weights of the classes of the mixed samples, shape (B, K).

        Args:
            weights: Those of the samples before, shape (B, K), all 0 of one without a label. So what is unknown of a
                mixed sample has no weight.
        """
        share = self.share[:, None]
        return share * weights + (1 - share) * weights[self.partner]


class Mix(nn.Module):
    """Mix every sample with another one of the batch, and their labels alike.

    Mixup takes the mean `r a + (1 - r) b` of two samples; CutMix puts a box of b, whose sides are sqrt(1 - r) of
    those of the frames, at a random place of a, and r becomes the share of a that is left. r is drawn from
    Beta(alpha, alpha) for each sample, where the papers' code draws once a batch; partners are a permutation of
    the batch.

    Args:
        mixup_alpha: alpha of mixup; None for no mixup.
        cutmix_alpha: alpha of CutMix; None for no CutMix.
        cutmix_share: Where there are both, the share of the mixed samples that get a box.
        p: Probability that a sample is mixed; see `draw_samples`.

    Raises:
        ConfigError: There is neither, an alpha is not above 0, or a share is no probability.

    >>> mixed, mixture = Mix(mixup_alpha=1.0)(torch.eye(2)[:, :, None, None])
    >>> torch.allclose(mixed[:, :, 0, 0], mixture.labels(torch.eye(2)))
    True
    """

    def __init__(
        self,
        mixup_alpha: float | None = None,
        cutmix_alpha: float | None = None,
        cutmix_share: float = 0.5,
        p: float = 1.0,
    ) -> None:
        super().__init__()
        alphas = {"mixup_alpha": mixup_alpha, "cutmix_alpha": cutmix_alpha}
        if mixup_alpha is None and cutmix_alpha is None:
            raise ConfigError("A mix needs mixup_alpha, cutmix_alpha, or both.")
        for key, alpha in alphas.items():
            if alpha is not None and not alpha > 0:
                raise ConfigError(f"{key}={alpha}; expected a number above 0, or null for none.")
        self.mixup_alpha, self.cutmix_alpha = mixup_alpha, cutmix_alpha
        self.cutmix_share = probability(cutmix_share)
        if mixup_alpha is None or cutmix_alpha is None:
            self.cutmix_share = float(cutmix_alpha is not None)
        self.p = probability(p)

    def forward(self, batch: Tensor) -> tuple[Tensor, Mixture]:
        """Return the mixed batch, in float32 from bytes, and what was mixed.

        Args:
            batch: Images, shape (B, C, H, W), or clips, shape (B, C, T, H, W).

        Raises:
            ConfigError: The batch has another number of dimensions.
        """
        values = to_float(checked(batch))
        height, width = values.shape[-2:]
        partner, share, boxes = self.draw(len(values), height, width)
        sent = send(torch.cat([partner[:, None].double(), share[:, None], boxes.double()], dim=1), values.device)
        partner, share, boxes = sent[:, 0].long(), sent[:, 1], sent[:, 2:].long()
        # The share of each pixel: of a sample with a box all or nothing, otherwise that of the sample.
        in_rows = _between(height, boxes[:, 0], boxes[:, 1])[:, :, None]
        inside = in_rows & _between(width, boxes[:, 2], boxes[:, 3])[:, None]
        has_box = (boxes[:, 1] > 0)[:, None, None]
        weight = torch.where(has_box, (~inside).double(), share[:, None, None]).to(values.dtype)
        weight = weight.view(len(values), *[1] * (values.ndim - 3), height, width)
        mixed = values[partner].lerp_(values, weight)
        return mixed, Mixture(partner, share.float())

    def draw(self, batch_size: int, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw what is mixed, on the CPU.

        Args:
            batch_size: B.
            height: Height of the frames.
            width: Width of the frames.

        Returns:
            The partner of each sample, shape (B,); the share that is its own, float64, shape (B,); and top, bottom,
            left and right of its box, shape (B, 4), all 0 for none.
        """
        partner = torch.randperm(batch_size)
        share, boxes = torch.ones(batch_size, dtype=torch.float64), torch.zeros(batch_size, 4, dtype=torch.int64)
        mixed = draw_samples(batch_size, self.p)
        with_box = set(draw_samples(len(mixed), self.cutmix_share))
        boxed = [sample for place, sample in enumerate(mixed) if place in with_box]
        others = [sample for place, sample in enumerate(mixed) if place not in with_box]
        if others and self.mixup_alpha is not None:
            share[others] = draw_shares(self.mixup_alpha, len(others))
        if boxed and self.cutmix_alpha is not None:
            boxes[boxed] = cut_boxes(draw_shares(self.cutmix_alpha, len(boxed)), height, width)
            top, bottom, left, right = boxes[boxed].unbind(1)
            share[boxed] = 1 - ((bottom - top) * (right - left)).double() / (height * width)
        return partner, share, boxes

    def extra_repr(self) -> str:
        """Show the arguments."""
        return (
            f"mixup_alpha={self.mixup_alpha}, cutmix_alpha={self.cutmix_alpha}, cutmix_share={self.cutmix_share}, "
            f"p={self.p}"
        )


def draw_shares(alpha: float, number: int) -> Tensor:
    """Draw from Beta(alpha, alpha), float64, shape (number,), on the CPU."""
    concentration = torch.tensor(alpha, dtype=torch.float64)
    shares: Tensor = torch.distributions.Beta(concentration, concentration).sample((number,))
    return shares


def cut_boxes(share: Tensor, height: int, width: int) -> Tensor:
    """Draw the boxes of CutMix: a centre anywhere in the frame, sides sqrt(1 - r) of it, what is outside cut off.

    Args:
        share: r, what is to be left of each sample, float64, shape (B,).
        height: Height of the frames.
        width: Width of the frames.

    Returns:
        Top, bottom, left and right, the second and the last excluded, int64, shape (B, 4).
    """
    sides = (1 - share).sqrt()
    edges = []
    for length in (height, width):
        half = (sides * length).long() // 2
        centre = (torch.rand(len(share), dtype=torch.float64) * length).long()
        edges += [(centre - half).clamp(0, length), (centre + half).clamp(0, length)]
    return torch.stack(edges, dim=1)


def _between(length: int, first: Tensor, end: Tensor) -> Tensor:
    """Say which of `length` places lie in each range, shape (B,): shape (B, length)."""
    places = torch.arange(length, device=first.device)
    return (places >= first[:, None]) & (places < end[:, None])
