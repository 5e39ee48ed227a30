"""Feature gates: the gated S3D (https://arxiv.org/abs/1712.04851, section 4.3), made of torchvision's S3D."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.video.s3d import S3D, SepInceptionBlock3D


class FeatureGate(nn.Module):
    """Weigh each channel by a sigmoid of a linear map of all channels, averaged over time and space.

    Args:
        dim: Channels C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map feature maps, shape (B, C, T, H, W), to such."""
        weights = torch.sigmoid(self.fc(x.mean(dim=(2, 3, 4))))
        return x * weights[:, :, None, None, None]


def add_feature_gates(network: S3D) -> None:
    """Put a gate behind the second separable convolution and behind each branch of the Inception blocks.

    The names of the other parameters stay, so that weights of the network without gates load.
    """
    branches = [
        branch for block in network.modules() if isinstance(block, SepInceptionBlock3D) for branch in block.children()
    ]
    for sequence in (network.features[3], *branches):
        convolutions = [layer for layer in sequence.modules() if isinstance(layer, nn.Conv3d)]
        sequence.append(FeatureGate(convolutions[-1].out_channels))
