"""Swin transformers of torchvision for images as trunks; those for clips are in `video_networks`.

Papers: https://arxiv.org/abs/2103.14030 (Swin), https://arxiv.org/abs/2111.09883 (version 2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.ops import StochasticDepth

from eztorch.models.trunks.layers import layer_ids
from eztorch.models.trunks.library_network import LibraryNetwork, load_pretrained
from eztorch.models.trunks.parts import checked_classes
from eztorch.models.trunks.transformer import drop_rates
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_NAMES = {name: name for name in ("swin_t", "swin_s", "swin_b", "swin_v2_t", "swin_v2_s", "swin_v2_b")}
# A block, else the classifier; what merges patches between two stages belongs to the block before it.
SWIN_UNIT = r"features\.\d+\.\d+(?=\.(?:norm1|attn|norm2|mlp)\.)|head(?=\.)"


def create_swin(
    name: str = "swin_t",
    *,
    num_classes: int = 0,
    pretrained: bool | str = False,
    progress: bool = True,
    stochastic_depth_prob: float | None = None,
    **options: Any,
) -> LibraryNetwork:
    """Build a Swin transformer for images of any size.

    Args:
        name: `swin_t`, `swin_s`, `swin_b`, or of the second version `swin_v2_t`, `swin_v2_s`, `swin_v2_b`.
        num_classes: Length of the output; 0 gives the features before the classifier.
        pretrained: True for torchvision's `IMAGENET1K_V1` weights, or the name of others; they are downloaded once. A
            classifier of other than 1000 classes starts anew.
        progress: Whether the download is shown.
        stochastic_depth_prob: Probability that a residual branch of the last block is dropped; it grows with the depth.
            None for torchvision's.
        **options: Further arguments of torchvision's `SwinTransformer`, for example `dropout`.

    Raises:
        ConfigError: An unknown network, option or name of weights, a negative number of classes, or weights that do not
            fit the options.

    >>> network = create_swin("swin_t")
    >>> network.num_features, network.num_layers
    (768, 13)
    """
    choose(_NAMES, name, "name")
    checked_classes(num_classes)
    try:
        model = build_swin(name, max(num_classes, 1), stochastic_depth_prob, options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from error
    num_features = int(model.head.in_features)  # type: ignore[arg-type, union-attr]  # nn.Module leaves it open
    if pretrained:
        offered = {one.name: one for one in get_model_weights(name)}
        weights = choose(offered, "IMAGENET1K_V1" if pretrained is True else pretrained, "pretrained")
        load_pretrained(model, "head", weights.get_state_dict(progress=progress, check_hash=True))
    if num_classes == 0:
        model.head = nn.Identity()
    return LibraryNetwork(model, num_features, layer_ids((n for n, _ in model.named_parameters()), SWIN_UNIT))


def build_swin(
    name: str, num_classes: int, stochastic_depth_prob: float | None, options: Mapping[str, Any]
) -> nn.Module:
    """Build torchvision's network, for images or clips.

    Its functions know one `stochastic_depth_prob` each, so another is given to the blocks.

    Args:
        name: As in torchvision.
        num_classes: Length of the output.
        stochastic_depth_prob: See `create_swin`.
        options: Further arguments of the library's function.

    Raises:
        ValueError: The probability is not one.
    """
    model: nn.Module = get_model(name, weights=None, num_classes=num_classes, **options)
    if stochastic_depth_prob is not None:
        if not 0 <= stochastic_depth_prob < 1:
            raise ValueError(f"stochastic_depth_prob={stochastic_depth_prob}; expected a share of at least 0, below 1.")
        drops = [module for module in model.modules() if isinstance(module, StochasticDepth)]
        for drop, rate in zip(drops, drop_rates(len(drops), stochastic_depth_prob), strict=True):
            drop.p = rate
    return model
