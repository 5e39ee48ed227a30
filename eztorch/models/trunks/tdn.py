"""Temporal difference networks: short-term differences in the stem, long-term ones between segments.

Paper: TDN, https://arxiv.org/abs/2012.10071.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.trunks.frame_resnet import image_network, put_before, residual_stages
from eztorch.models.trunks.resnet import ResNet
from eztorch.modules.frames import LongTermDifference, TemporalConv
from eztorch.utils.errors import ConfigError


class ShortTermDifference(nn.Module):
    """Maps of the motion around a frame, from the differences of five consecutive ones at half their size.

    It begins as the stem and first stage of a network for images, see `motion_weights`.

    Args:
        resnet: That network; it is left as it is.
    """

    def __init__(self, resnet: ResNet) -> None:
        super().__init__()
        conv = resnet.conv1
        self.conv1 = nn.Conv2d(12, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.bn1 = nn.BatchNorm2d(conv.out_channels)
        self.maxpool = copy.deepcopy(resnet.maxpool)
        self.layer1 = copy.deepcopy(resnet.layer1)
        self.load_state_dict(motion_weights(resnet.state_dict()), strict=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps after the stem and after the first stage for frames, shape (N, 5, 3, H, W)."""
        differences = F.avg_pool2d((x[:, 1:] - x[:, :-1]).flatten(1, 2), 2)
        stem = self.maxpool(F.relu(self.bn1(self.conv1(differences))))
        return stem, self.layer1(stem)


class TDNResNet(nn.Module):
    """A residual network over segments of five frames, the middle one of which is what it looks at; see `create_tdn`.

    Weights of the 2D network load under the prefix `resnet.`; where they come alone, the motion's part begins as them.

    Attributes:
        num_features: Length C of the features.
        num_layers: Those of the 2D network, for layer-wise learning rates.
        frames_per_segment: 5; a frame model gives the network its frames so many at a time.

    Args:
        resnet: The network for the middle frames, without a classifier.
        share: Share of the motion's maps where they are added to those of the middle frame.
        fold_div: The convolutions over segments begin as the shift of TSM with this `fold_div`.
        reduction: See `LongTermDifference`.
    """

    frames_per_segment = 5

    def __init__(self, resnet: ResNet, *, share: float = 0.5, fold_div: int = 8, reduction: int = 16) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ConfigError(f"share={share}; expected the motion's share, between 0 and 1.")
        self.resnet = resnet
        self.difference = ShortTermDifference(resnet)
        self.share = share
        self.num_features, self.num_layers = resnet.num_features, resnet.num_layers
        self.register_load_state_dict_pre_hook(_with_motion_weights)
        for block in [block for stage in residual_stages(resnet)[1:] for block in stage]:
            channels = block.conv2.in_channels
            bricks = (LongTermDifference(channels, reduction), TemporalConv(channels, fold_div))
            put_before(block, "conv2", nn.Sequential(*bricks))

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to; the motion's are those of the same place in the 2D network."""
        return self.resnet.get_param_layer_id(name.partition(".")[2])

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Map segments, shape (B S, 5, 3, H, W) with the S segments of a clip one after another, to (B S, C)."""
        resnet = self.resnet
        motion_stem, motion_stage = self.difference(x)
        out = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(x[:, 2]))))
        out = self._with_motion(out, motion_stem)
        out = self._with_motion(resnet.layer1(out), motion_stage)
        out = resnet.layer4(resnet.layer3(resnet.layer2(out)))
        features: Tensor = resnet.avgpool(out).flatten(1)
        return features

    def _with_motion(self, x: Tensor, motion: Tensor) -> Tensor:
        return torch.lerp(x, F.interpolate(motion, x.shape[2:]), self.share)


def motion_weights(image: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Return the weights by which `ShortTermDifference` begins.

    The first stage is that of the network for images. In the stem, each of the 12 channels of the four differences has
    the mean of the weights over the colours.

    Args:
        image: Weights of the network for images.
        prefix: What stands before their names.
    """
    stage = f"{prefix}layer1."
    weights = {name.removeprefix(prefix): value for name, value in image.items() if name.startswith(stage)}
    stem = image.get(f"{prefix}conv1.weight")
    return weights if stem is None else {**weights, "conv1.weight": stem.mean(dim=1, keepdim=True).repeat(1, 12, 1, 1)}


def _with_motion_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Add the motion's weights to a state dict of the 2D network alone."""
    if not any(name.startswith(f"{prefix}difference.") for name in state):
        motion = motion_weights(state, f"{prefix}resnet.")
        state.update({f"{prefix}difference.{name}": value for name, value in motion.items()})


def create_tdn(
    name: str = "resnet50", *, share: float = 0.5, fold_div: int = 8, reduction: int = 16, **options: Any
) -> TDNResNet:
    """Build a temporal difference network for a frame model, whose clips have five frames a segment.

    The motion's part begins as the stem and first stage of the 2D network, with pretrained weights if it has them.

    Args:
        name: As in `create_resnet`.
        share: Share of the motion's maps where they are added; the paper takes 1/2 with 8 segments, 1/4 with 16.
        fold_div: The convolutions over segments begin as the shift of TSM with this `fold_div`.
        reduction: The long-term differences have a share of 1 / reduction of the channels.
        **options: Further arguments of `create_resnet`, for example `pretrained`.

    Raises:
        ConfigError: An unknown name or option, or a share that is not between 0 and 1.

    >>> create_tdn("resnet18")(torch.zeros(2, 5, 3, 64, 64)).shape
    torch.Size([2, 512])
    """
    return TDNResNet(image_network(name, options), share=share, fold_div=fold_div, reduction=reduction)
