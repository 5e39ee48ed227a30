"""A video network with a head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError


class VideoHeadModel(nn.Module):
    """A network that gives feature maps, and the head that takes them.

    Its layers for layer-wise learning rates are those of the network, then those of the head, where both tell theirs
    (`num_layers`, `get_param_layer_id`).

    Args:
        model: From clips, shape (B, channels, T, H, W), to feature maps, shape (B, C, T', H', W').
        head: From these to features, shape (B, `output_dim`).

    Raises:
        ConfigError: The head expects another number of channels than the network gives.
    """

    model: Any
    head: Any

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        given, expected = getattr(model, "num_features", None), getattr(head, "input_dim", None)
        if given is not None and expected is not None and given != expected:
            raise ConfigError(
                f"head.in_features={expected}, but the model gives {given}; set head.in_features={given}."
            )
        self.model = model
        self.head = head

    @property
    def num_features(self) -> int:
        """Length of the output of the head."""
        return int(self.head.output_dim)

    @property
    def num_layers(self) -> int:
        """Number of layers of the network and the head."""
        return int(self.model.num_layers + self.head.num_layers)

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to."""
        part, _, rest = name.partition(".")
        if part == "model":
            return int(self.model.get_param_layer_id(rest))
        return int(self.model.num_layers + self.head.get_param_layer_id(rest))

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Compute the head's output for clips x, shape (B, channels, T, H, W)."""
        out: Tensor = self.head(self.model(x))
        return out


def create_video_head_model(model: Any, head: Any) -> VideoHeadModel:
    """Build a video network with a head.

    Args:
        model: Module, or spec of one, from clips to feature maps.
        head: Module, or spec of one, that takes them.
    """
    return VideoHeadModel(build(model), build(head))
