"""Networks, or their batch normalisations, that stay as they are while the rest learns."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalisations of a network in the order of its modules, as what they were converted to."""
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]


def keep_frozen(modules: Iterable[nn.Module], *, parameters: bool = True) -> None:
    """Put modules in evaluation mode, in which statistics are used and not followed, and take gradients away.

    Whoever holds them calls this at the end of `train`: so it is true after every change of the mode, whoever asks for
    it, and of what the modules were converted to in between (synchronised batch normalisations, for example).

    Args:
        modules: What stays as it is.
        parameters: Whether the parameters do, too; otherwise the statistics alone.

    >>> norm = nn.BatchNorm2d(3)
    >>> keep_frozen([norm])
    >>> norm.training, norm.weight.requires_grad
    (False, False)
    """
    for module in modules:
        module.eval()
        if parameters:
            module.requires_grad_(False)
