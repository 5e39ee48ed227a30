"""Networks for clips of torchvision and pytorchvideo as trunks: their modules and weights, our contract.

Papers: R(2+1)D, https://arxiv.org/abs/1711.11248; CSN, https://arxiv.org/abs/1904.02811; X3D,
https://arxiv.org/abs/2004.04730; S3D, https://arxiv.org/abs/1712.04851; MViT, https://arxiv.org/abs/2104.11227 and
https://arxiv.org/abs/2112.01526; Video Swin, https://arxiv.org/abs/2106.13230.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.hub import load_state_dict_from_url
from torch.nn import functional as F
from torchvision.models import get_model, get_model_weights

from eztorch.models.trunks.convolutions import replace_spatial_convs
from eztorch.models.trunks.feature_gates import add_feature_gates
from eztorch.models.trunks.layers import layer_ids
from eztorch.models.trunks.library_network import LibraryNetwork, load_pretrained
from eztorch.models.trunks.mvit import create_mvit
from eztorch.models.trunks.parts import checked_classes
from eztorch.models.trunks.swin import SWIN_UNIT, build_swin
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import choose

_HEADS = {  # of each network the module that makes logits of features
    **dict.fromkeys(("r3d_18", "mc3_18", "r2plus1d_18"), "fc"),
    **dict.fromkeys(("s3d", "s3d_g"), "classifier"),
    **dict.fromkeys(("mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"), "head"),
    **dict.fromkeys(("r2plus1d_r50", "csn_r101", "x3d_xs", "x3d_s", "x3d_m", "x3d_l"), "blocks.5.proj"),
}
# A layer for layer-wise learning rates: a residual block, else a child of the sequence of blocks, and the classifier.
_UNIT = re.compile(r"(?:blocks|features|layer\d)\.\d+(?:\.res_blocks\.\d+)?(?=\.)|(?:fc|classifier|head)(?=\.)")


def create_video_network(
    name: str,
    *,
    num_classes: int = 0,
    pretrained: bool | str = False,
    progress: bool = True,
    convolution: str | Mapping[str, Any] = "plain",
    **options: Any,
) -> LibraryNetwork:
    """Build a network for clips of torchvision or pytorchvideo.

    A pooling with a fixed window takes smaller inputs, too. Multi-scale vision transformers have positions for one size
    of input, `temporal_size` and `spatial_size` (see `mvit.create_mvit`).

    Args:
        name: Of torchvision `r3d_18`, `mc3_18`, `r2plus1d_18`, `s3d`, `mvit_v1_b`, `mvit_v2_s`, `swin3d_t`, `swin3d_s`,
            `swin3d_b`; of pytorchvideo `r2plus1d_r50`, `csn_r101`, `x3d_xs`, `x3d_s`, `x3d_m`, `x3d_l`; `s3d_g` is
            torchvision's `s3d` with gates.
        num_classes: Length of the output; 0 gives the features before the classifier.
        pretrained: True for the weights of the library (Kinetics-400), or their name in torchvision; they are
            downloaded once. A classifier of other than 400 classes starts anew.
        progress: Whether the download is shown.
        convolution: What its 1 x 3 x 3 convolutions behind the stem are: `plain`, or `tada`, which begin as these and
            are calibrated for each frame (`{name: tada, reduction: 4, kernel_sizes: [3, 3]}`).
        **options: Further arguments of the library's function.

    Raises:
        ConfigError: An unknown network, option or name of weights, a negative number of classes, or weights that do not
            fit the options.

    >>> network = create_video_network("r2plus1d_18")
    >>> network.num_features, network.num_layers
    (512, 9)
    """
    head = choose(_HEADS, name, "name")
    checked_classes(num_classes)
    try:
        model = _of_library(name, max(num_classes, 1), options)
    except (AssertionError, TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error or 'these options do not fit together.'}") from error
    for key, module in list(model.named_modules()):
        if isinstance(module, nn.AvgPool3d):
            model.set_submodule(key, _FittingAvgPool3d(module.kernel_size, module.stride, module.padding))
        elif type(module).__name__ == "Swish":  # pytorchvideo's own, of which torch deprecates a part
            model.set_submodule(key, nn.SiLU())
    if pretrained:
        load_pretrained(model, head, _weights(name, "" if pretrained is True else str(pretrained), progress))
    classifier = [m for m in model.get_submodule(head).modules() if isinstance(m, nn.Linear | nn.Conv3d)][-1]
    if num_classes == 0:
        model.set_submodule(head, nn.Identity())
        parent = model.get_submodule(head.rpartition(".")[0])
        if isinstance(getattr(parent, "dropout", None), nn.Dropout):
            parent.dropout = nn.Identity()
    unit = SWIN_UNIT if name.startswith("swin3d") else _UNIT

    def layers() -> dict[str, int]:
        return layer_ids((n for n, _ in model.named_parameters()), unit)

    replace_spatial_convs(model, convolution, layers().__getitem__)
    return LibraryNetwork(model, classifier.weight.shape[1], layers())


class _FittingAvgPool3d(nn.AvgPool3d):
    """Average pooling whose window is cut to inputs that are smaller."""

    def forward(self, input: Tensor) -> Tensor:
        window: Any = self.kernel_size
        fitting = [min(size, side) for size, side in zip(window, input.shape[2:], strict=True)]
        return F.avg_pool3d(input, fitting, self.stride, self.padding)


def _of_library(name: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    network: nn.Module
    if _of_pytorchvideo(name):
        builder = getattr(_pytorchvideo("hub"), name)
        network = builder(model_num_class=num_classes, head_activation=None, **options)
    elif name.startswith("mvit"):
        network = create_mvit(name, num_classes=num_classes, **options)
    elif name.startswith("swin3d"):
        others = {key: value for key, value in options.items() if key != "stochastic_depth_prob"}
        network = build_swin(name, num_classes, options.get("stochastic_depth_prob"), others)
    else:
        network = get_model(name.removesuffix("_g"), weights=None, num_classes=num_classes, **options)
    if name == "s3d_g":
        add_feature_gates(network)
    return network


def _of_pytorchvideo(name: str) -> bool:
    return _HEADS[name] == "blocks.5.proj"


def _pytorchvideo(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports: what they use of torch is deprecated
        return importlib.import_module(f"pytorchvideo.models.{module}")


def _weights(name: str, which: str, progress: bool) -> dict[str, Tensor]:
    if name == "s3d_g":
        raise ConfigError("pretrained: there are no weights of s3d_g; those of s3d fit it but for the gates.")
    if _of_pytorchvideo(name):
        urls = _pytorchvideo(f"hub.{name.partition('_')[0]}").checkpoint_paths
        url = choose({"KINETICS400": urls[name]}, which or "KINETICS400", "pretrained")
        state = load_state_dict_from_url(url, map_location="cpu", progress=progress, weights_only=True)
        return dict(state["model_state"])
    offered = {one.name: one for one in get_model_weights(name)}
    weights = choose(offered, which or "KINETICS400_V1", "pretrained")
    return dict(weights.get_state_dict(progress=progress, check_hash=True))
