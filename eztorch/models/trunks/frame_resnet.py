"""2D residual networks over the frames of clips, with bricks that look over time: TSM, MVFNet, TAda2D.

They are the networks of `create_resnet`; whatever is put in leaves the names of the parameters that were there, so
weights of the 2D network load. A frame model feeds them clips, see `create_frame_model`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.trunks.convolutions import make_conv
from eztorch.models.trunks.parts import build_part
from eztorch.models.trunks.resnet import ResNet, create_resnet
from eztorch.modules.frames import BrickConv2d, as_columns, from_columns
from eztorch.utils.errors import ConfigError

_BRICKS = {"shift": "eztorch.modules.TemporalShift", "fusion": "eztorch.modules.MultiViewFusion"}
_STAGES = (1, 2, 3, 4)


class TemporalPoolBlock(nn.Module):
    """A residual block whose second convolution has a branch that averages over time (TAda2D, section 3.4).

    The block goes on with `bn2(y) + pool_norm(average of y over three frames)`. The scale of `pool_norm` begins at
    zero, so that the block begins as what it was.

    Args:
        block: Block of a `ResNet`, whose layers are taken over.
    """

    conv1: Any  # the layers of the block
    bn1: Any
    conv2: Any
    bn2: Any
    relu: Any
    downsample: Any

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.conv3 = self.bn3 = self.downsample = None
        for name, layer in block.named_children():
            setattr(self, name, layer)
        self.pool_norm = nn.BatchNorm2d(self.conv2.out_channels)
        nn.init.zeros_(self.pool_norm.weight)
        self.frames_per_clip = 1

    def forward(self, x: Tensor) -> Tensor:
        """Map maps of frames, shape (B T, C, H, W)."""
        out = self.conv2(self.relu(self.bn1(self.conv1(x))))
        columns = as_columns(out, self.frames_per_clip)
        pooled = from_columns(F.avg_pool2d(columns, (3, 1), stride=1, padding=(1, 0)), *out.shape[2:])
        out = self.bn2(out) + self.pool_norm(pooled)
        if self.conv3 is not None and self.bn3 is not None:
            out = self.bn3(self.conv3(self.relu(out)))
        activated: Tensor = self.relu(out + (x if self.downsample is None else self.downsample(x)))
        return activated


def create_frame_resnet(
    name: str = "resnet50",
    *,
    brick: str | Mapping[str, Any] | None = None,
    brick_stages: Sequence[int] = _STAGES,
    brick_every: int = 1,
    convolution: str | Mapping[str, Any] = "plain",
    temporal_pool: bool = False,
    **options: Any,
) -> ResNet:
    """Build a residual network for the frames of clips, from (B T, 3, H, W) to features (B T, C).

    Args:
        name: As in `create_resnet`.
        brick: What stands in front of the first convolution of residual blocks: `shift` (TSM: `{name: shift, fold_div:
            8}`), `fusion` (MVFNet: `{name: fusion, share: 0.125}`), or None.
        brick_stages: Stages, 1 to 4, that have it. MVFNet's are 3 and 4.
        brick_every: Which blocks of a stage have it: the first and every so many after it. TSM takes 2 for ResNet-101.
        convolution: The 3 x 3 convolution that is the second of every block: `plain`, or `tada` (`{name: tada,
            reduction: 4, kernel_sizes: [3, 3]}`).
        temporal_pool: Whether that convolution has the branch of TAda2D that averages over time.
        **options: Further arguments of `create_resnet`, for example `pretrained` and `small_input`.

    Raises:
        ConfigError: An unknown name or option, stages that there are not.

    >>> network = create_frame_resnet("resnet18", brick={"name": "shift", "fold_div": 4}, convolution="tada")
    >>> type(network.layer1[0].conv1.brick).__name__, type(network.layer1[0].conv2).__name__
    ('TemporalShift', 'TAdaConv2d')
    """
    if any(stage not in _STAGES for stage in brick_stages):
        raise ConfigError(f"brick_stages={list(brick_stages)}; expected stages of 1 to 4.")
    if brick_every < 1:
        raise ConfigError(f"brick_every={brick_every}; expected a positive number of blocks.")
    network = image_network(name, options)
    for number, stage in enumerate(residual_stages(network), start=1):
        for place, block in enumerate(stage):
            if brick is not None and number in brick_stages and place % brick_every == 0:
                put_before(block, "conv1", build_part(_BRICKS, brick, "brick", channels=block.conv1.in_channels))
            block.conv2 = make_conv(convolution, block.conv2)
            if temporal_pool:
                stage[place] = TemporalPoolBlock(block)
    return network


def image_network(name: str, options: Mapping[str, Any]) -> ResNet:
    """Build a residual network for images, without a classifier.

    Raises:
        ConfigError: The options ask for a classifier; that of clips is the frame model's.
    """
    if options.get("num_classes", 0):
        raise ConfigError(f"network.num_classes={options['num_classes']}: classes belong to the frame model.")
    return create_resnet(name, **{**options, "num_classes": 0})


def residual_stages(network: ResNet) -> list[Any]:
    """Return the four stages of a residual network, sequences of blocks."""
    return [network.layer1, network.layer2, network.layer3, network.layer4]


def put_before(block: nn.Module, name: str, brick: nn.Module) -> None:
    """Put a brick in front of a convolution of a block."""
    setattr(block, name, BrickConv2d(getattr(block, name), brick))
