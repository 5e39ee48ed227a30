"""Networks of other libraries as trunks: their modules, our contract."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from eztorch.utils.errors import ConfigError


class LibraryNetwork(nn.Module):
    """A network of another library, from images or clips to features or logits.

    Attributes:
        num_features: Length of the features, those before the classifier.
        num_layers: Number of layers for layer-wise learning rates: what comes before the blocks, each block, and the
            head where it has parameters.

    Args:
        model: The network.
        num_features: Length of its features.
        layer_ids: Layer of each of its parameters.
    """

    def __init__(self, model: nn.Module, num_features: int, layer_ids: Mapping[str, int]) -> None:
        super().__init__()
        self.model = model
        self.num_features = num_features
        self._layer_ids = dict(layer_ids)
        self.num_layers = 1 + max(self._layer_ids.values())

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to; one between two blocks belongs to the block before it."""
        return self._layer_ids[name.removeprefix("model.")]

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters to optimize."""
        return list(self.parameters())

    def forward(self, x: Tensor) -> Tensor:
        """Return features, shape (B, C), or logits, of images, (B, 3, H, W), or clips, (B, 3, T, H, W)."""
        out: Tensor = self.model(x)
        return out


def load_pretrained(model: nn.Module, head: str, state: Mapping[str, Tensor]) -> None:
    """Load weights of a library, those of a classifier only where it has as many classes.

    Args:
        model: Network of the library.
        head: Name of the module in it that makes logits of features.
        state: The weights.

    Raises:
        ConfigError: They are those of a network that was built with other options.
    """
    wanted = model.state_dict()
    others = {key for key in wanted if key.startswith(head) and key in state and state[key].shape != wanted[key].shape}
    try:
        model.load_state_dict({key: value for key, value in state.items() if key not in others}, strict=not others)
    except RuntimeError as error:
        raise ConfigError(f"The pretrained weights do not fit these options: {error}") from error
