"""Exponential moving average of parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError


@torch.no_grad()
def ema_update(target: Iterable[Tensor], online: Iterable[Tensor], momentum: float) -> None:
    """Move the targets towards the online tensors, in place: `target = momentum * target + (1 - momentum) * online`.

    The tensors of one device and data type are moved by a single fused call, without temporaries.

    Args:
        target: Tensors that are moved.
        online: Tensors that they follow, the same number with the same shapes in the same order.
        momentum: Share of the target that stays, in [0, 1]; 1 changes nothing, 0 copies the online tensors.

    Raises:
        ConfigError: The momentum is outside [0, 1].
        ValueError: The tensors do not pair up.

    >>> target, online = torch.zeros(2), torch.ones(2)
    >>> ema_update([target], [online], momentum=0.75)
    >>> target
    tensor([0.2500, 0.2500])
    """
    if not 0.0 <= momentum <= 1.0:
        raise ConfigError(f"momentum={momentum} of a moving average; expected a value from 0 to 1.")
    groups: dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]] = {}
    targets, onlines = list(target), list(online)
    if len(targets) != len(onlines):
        raise ValueError(f"{len(targets)} target tensors cannot follow {len(onlines)} online tensors.")
    for number, (t, o) in enumerate(zip(targets, onlines, strict=True)):
        if (t.shape, t.device, t.dtype) != (o.shape, o.device, o.dtype):
            raise ValueError(
                f"tensor {number}: the target is {tuple(t.shape)} {t.dtype} on {t.device}, "
                f"the online one {tuple(o.shape)} {o.dtype} on {o.device}."
            )
        moved, followed = groups.setdefault((t.device, t.dtype), ([], []))
        moved.append(t)
        followed.append(o)
    for moved, followed in groups.values():
        torch._foreach_lerp_(moved, followed, 1.0 - momentum)
