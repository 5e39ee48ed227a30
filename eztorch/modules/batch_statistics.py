"""Running statistics of batch normalisations on several processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from eztorch.utils.distributed import world_size


@torch.no_grad()
def average_batch_statistics(module: nn.Module) -> None:
    """Give the batch normalisations of a module, on every process, the mean of all processes' running statistics.

    Without synchronised batch normalisation each process has statistics of its own batches, so that a network in
    evaluation would be another one on every process. One collective for all of them; nothing on a single process.

    Args:
        module: Changed in place. Every process has the same layers.
    """
    if world_size() == 1:
        return
    statistics: list[Tensor] = []
    for layer in module.modules():
        if isinstance(layer, _NormBase) and not isinstance(layer, nn.SyncBatchNorm):
            statistics += [x for x in (layer.running_mean, layer.running_var) if x is not None]
    if not statistics:
        return
    # In float64 the mean of statistics that all processes have, as those of a frozen network, is these to the last bit.
    flat = torch.cat([x.flatten() for x in statistics]).double()
    dist.all_reduce(flat)
    flat /= world_size()
    for statistic, mean in zip(statistics, flat.split([x.numel() for x in statistics]), strict=True):
        statistic.copy_(mean.view_as(statistic))
