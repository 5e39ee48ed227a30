"""Networks of timm for images, by their names there."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from eztorch.models.trunks.layers import layer_ids
from eztorch.models.trunks.library_network import LibraryNetwork
from eztorch.models.trunks.parts import checked_classes
from eztorch.utils.errors import ConfigError
from eztorch.utils.names import did_you_mean


def create_model_timm(name: str, *, num_classes: int = 0, pretrained: bool = False, **options: Any) -> LibraryNetwork:
    """Build a network of timm (`pip install 'eztorch[timm]'`), also as the network of `create_frame_model`.

    Its layers for layer-wise learning rates are timm's own (`group_matcher`), or, of a network that timm knows none of,
    its children.

    Args:
        name: As in `timm.list_models()`, with a tag of weights behind a dot where there are several.
        num_classes: Length of the output; 0 gives the features before the classifier.
        pretrained: Whether to begin with timm's weights; they are downloaded once.
        **options: Further arguments of `timm.create_model`, for example `img_size` or `drop_path_rate`.

    Raises:
        ConfigError: timm is not installed, an unknown network or option, a negative number of classes, or weights that
            there are none of.

    >>> network = create_model_timm("resnet10t")
    >>> network.num_features, network.num_layers
    (512, 5)
    """
    timm = _timm()
    checked_classes(num_classes)
    if not timm.is_model(name.partition(".")[0]) and ":" not in name:  # `hf-hub:...` is not of the list
        hint = did_you_mean(name, timm.list_models())
        raise ConfigError(f"name={name!r} is no network of timm {timm.__version__}; see timm.list_models().{hint}")
    try:
        model = timm.create_model(name, pretrained=pretrained, num_classes=num_classes, **options)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{name}: {error}") from error
    # Some have a layer behind the pooling, whose length this is.
    num_features = getattr(model, "head_hidden_size", None) or model.num_features
    return LibraryNetwork(model, int(num_features), _layer_ids(timm, model))


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ConfigError(
            f"create_model_timm needs the package timm (pip install 'eztorch[timm]'): {error}."
        ) from error
    module: ModuleType = timm
    return module


def _layer_ids(timm: ModuleType, model: Any) -> dict[str, int]:
    """Return the layer of each parameter, numbered without gaps."""
    names = [name for name, _ in model.named_parameters()]
    try:
        groups = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    except (AttributeError, NotImplementedError):  # a network whose groups timm does not tell
        return layer_ids(names, r"\w+(?=\.)")
    places = {group: i for i, group in enumerate(sorted({groups[name] for name in names}))}
    return {name: places[groups[name]] for name in names}
