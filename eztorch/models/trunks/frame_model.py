"""A 2D network over the frames of clips: TSN, and TRN, TSM, TDN, MVFNet and TAda2D by what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from eztorch.models.trunks.parts import build_part, checked_classes
from eztorch.modules.frames import as_clips, set_frames_per_clip
from eztorch.modules.freezing import batch_norms, keep_frozen
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

_CONSENSUS = {
    "mean": "eztorch.modules.MeanConsensus",
    "trn": "eztorch.modules.TemporalRelation",
    "mtrn": "eztorch.modules.multi_scale_relation",
}


class FrameModel(nn.Module):
    """A 2D network that sees the frames of clips one by one, and the consensus of them; see `create_frame_model`.

    Bricks inside the network that look over time are told how many frames the clips have. Clips in channels-last reach
    the network as channels-last images, without a copy.

    Attributes:
        num_features: Length of the features, those before the classifier.

    Args:
        network: From images, shape (N, 3, H, W), to features, shape (N, `num_features`). With `frames_per_segment` L it
            takes (N, L, 3, H, W).
        consensus: From features of frames, shape (B, T, C), to those of clips, shape (B, `output_dim`).
        num_classes: Length of the output; 0 gives the features.
        frame_dropout: Probability to drop a feature of a frame.
        dropout: Probability to drop a feature of a clip before the classifier.
        partial_bn: Freeze every batch normalisation of the network but the first.
    """

    network: Any

    def __init__(
        self,
        network: nn.Module,
        consensus: nn.Module,
        *,
        num_classes: int,
        frame_dropout: float,
        dropout: float,
        partial_bn: bool,
    ) -> None:
        super().__init__()
        self.network = network
        self.consensus = consensus
        self.frame_dropout, self.dropout = nn.Dropout(frame_dropout), nn.Dropout(dropout)
        self.num_features = int(consensus.output_dim)  # type: ignore[arg-type]  # nn.Module types it as a tensor
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else None
        if self.fc is not None:
            nn.init.normal_(self.fc.weight, std=0.001)  # as the papers' code does
            nn.init.zeros_(self.fc.bias)
        self.frames_per_segment = getattr(network, "frames_per_segment", 1)
        self.partial_bn = partial_bn
        self.num_inputs = 0  # images or segments of a clip that the bricks know of
        self.train()

    @property
    def num_layers(self) -> int:
        """Number of layers for layer-wise learning rates: those of the network, and one for what comes after it."""
        after = any(True for part in (self.consensus, self.fc) if part is not None for _ in part.parameters())
        return int(self.network.num_layers) + after

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        part, _, rest = name.partition(".")
        return int(self.network.get_param_layer_id(rest)) if part == "network" else int(self.network.num_layers)

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def train(self, mode: bool = True) -> FrameModel:
        """Set the mode; frozen normalisations stay in that of evaluation."""
        super().train(mode)
        if self.partial_bn:
            keep_frozen(batch_norms(self.network)[1:])
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Compute features or logits, shape (B, D), of clips, shape (B, 3, T, H, W).

        Raises:
            ConfigError: The input is no clip, the frames do not divide into segments, or the network's output is not of
                the length that it tells.
        """
        if x.ndim != 5 or x.shape[2] % self.frames_per_segment:
            frames = "T frames" if self.frames_per_segment == 1 else f"a multiple of {self.frames_per_segment} frames T"
            raise ConfigError(f"The model takes clips (B, 3, T, H, W) with {frames}, and was given {tuple(x.shape)}.")
        num_inputs = x.shape[2] // self.frames_per_segment
        if num_inputs != self.num_inputs:
            set_frames_per_clip(self.network, num_inputs)
            self.num_inputs = num_inputs
        images = x.transpose(1, 2).flatten(0, 1)
        if self.frames_per_segment > 1:
            images = images.unflatten(0, (-1, self.frames_per_segment))
        features = self.network(images)
        if features.shape[1:] != (self.network.num_features,):
            raise ConfigError(
                f"The network gives {tuple(features.shape[1:])} for an image, and its num_features is "
                f"{self.network.num_features}; build it without a classifier (num_classes: 0)."
            )
        clips: Tensor = self.consensus(as_clips(self.frame_dropout(features), num_inputs))
        if self.fc is not None:
            clips = self.fc(self.dropout(clips))
        return clips


def create_frame_model(
    network: Any,
    consensus: str | Mapping[str, Any] = "mean",
    *,
    num_frames: int | None = None,
    num_classes: int = 0,
    frame_dropout: float = 0.0,
    dropout: float = 0.0,
    partial_bn: bool = False,
) -> FrameModel:
    """Build a model of clips, from (B, 3, T, H, W) to features or logits, out of a 2D network.

    The frames of a clip may be dense or sparse, and but for relations of any number.

    Args:
        network: Module, or spec of one, from images to features, with `num_features`; for example of `create_resnet`
            (TSN, TRN), `create_frame_resnet` (TSM, MVFNet, TAda2D) or `create_tdn`.
        consensus: `mean`, `trn` (a relation of all frames) or `mtrn` (of tuples of all lengths); with options as a
            mapping, `{name: mtrn, num_relations: 3}`; or a spec, which is also given `in_features` and `num_frames`.
        num_frames: Frames of a clip (segments, where the network takes several frames at a time), for relations.
        num_classes: Length of the output; 0 gives the features.
        frame_dropout: Probability to drop a feature of a frame, before the consensus (TSN, TRN, TSM, TDN, MVFNet).
        dropout: Probability to drop a feature of a clip, before the classifier (TAda2D).
        partial_bn: Freeze scale, shift and statistics of every batch normalisation of the network but the first (TSN).

    Raises:
        ConfigError: The network does not tell its `num_features`, an unknown name or option, or a negative number.

    >>> import torch
    >>> model = create_frame_model(nn.Flatten(), num_classes=5)
    Traceback (most recent call last):
    eztorch.utils.errors.ConfigError: network: a Flatten does not tell its num_features.
    >>> from eztorch.models.trunks import create_frame_resnet
    >>> model = create_frame_model(create_frame_resnet("resnet18", brick="shift"), num_classes=5)
    >>> model(torch.zeros(2, 3, 4, 32, 32)).shape
    torch.Size([2, 5])
    """
    built = build(network)
    num_features = getattr(built, "num_features", None)
    if not isinstance(num_features, int):
        raise ConfigError(f"network: a {type(built).__name__} does not tell its num_features.")
    checked_classes(num_classes)
    return FrameModel(
        built,
        build_part(_CONSENSUS, consensus, "consensus", in_features=num_features, num_frames=num_frames),
        num_classes=num_classes,
        frame_dropout=frame_dropout,
        dropout=dropout,
        partial_bn=partial_bn,
    )
