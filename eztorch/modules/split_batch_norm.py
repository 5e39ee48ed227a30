"""Batch normalisation in splits: one device behaves as several that do not share batch statistics."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from eztorch.utils.errors import ConfigError


class _SplitBatchNorm(_NormBase):
    """Normalise each of `num_splits` parts of a batch by its own statistics; in evaluation, ordinary batch norm.

    A split holds every `num_splits`-th row of the batch, which costs no copy. The running statistics move towards the
    mean over the splits of their means and (unbiased) variances, what the average over that many devices would be.

    The classes are not subclasses of torch's `BatchNorm{1,2,3}d`, because `SyncBatchNorm.convert_sync_batchnorm`
    replaces those, and would silently undo the splits.

    Args:
        num_features: Number of channels C.
        num_splits: Number of parts; divides every training batch.
        **kwargs: Other arguments of `torch.nn.BatchNorm{1,2,3}d`.

    Raises:
        ConfigError: `num_splits` is below 1, or does not divide a training batch.
    """

    dims: ClassVar[tuple[int, ...]]

    def __init__(self, num_features: int, num_splits: int, **kwargs: Any) -> None:
        super().__init__(num_features, **kwargs)
        if num_splits < 1:
            raise ConfigError(f"num_splits={num_splits} of a split batch normalisation; expected a positive number.")
        self.num_splits = num_splits

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim not in self.dims:
            raise ValueError(
                f"{type(self).__name__} expects {' or '.join(map(str, self.dims))} dimensions; got {x.ndim}."
            )

    def forward(self, x: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: Batch, shape (B, C, ...).

        Returns:
            Normalised batch, the same shape.
        """
        self._check_input_dim(x)
        if not self.training:
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=self.running_mean is None,
                eps=self.eps,
            )
        batch, splits = x.shape[0], self.num_splits
        if batch % splits:
            raise ConfigError(
                f"num_splits={splits} does not divide a batch of {batch} rows; use a multiple of {splits}."
            )
        # Neighbouring rows become channels beside each other: (B, C, ...) -> (B / splits, splits * C, ...).
        parted = x.reshape(batch // splits, splits * self.num_features, *x.shape[2:])
        mean, var = (None if s is None else s.repeat(splits) for s in (self.running_mean, self.running_var))
        normalised = F.batch_norm(
            parted,
            mean,
            var,
            None if self.weight is None else self.weight.repeat(splits),
            None if self.bias is None else self.bias.repeat(splits),
            training=True,
            momentum=self._next_momentum(),
            eps=self.eps,
        )
        for running, new in ((self.running_mean, mean), (self.running_var, var)):
            if running is not None and new is not None:
                running.copy_(new.view(splits, -1).mean(dim=0))
        return normalised.reshape(x.shape)

    def _next_momentum(self) -> float:
        """Count the batch; return the weight of its statistics, 1 / count for a cumulative average."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                return 1.0 / float(self.num_batches_tracked)
        return 0.0 if self.momentum is None else self.momentum

    def extra_repr(self) -> str:
        """Describe the layer in the printout of a model."""
        return f"{super().extra_repr()}, num_splits={self.num_splits}"


class SplitBatchNorm1d(_SplitBatchNorm):
    """Split batch normalisation of features, shape (B, C) or (B, C, L)."""

    dims = (2, 3)


class SplitBatchNorm2d(_SplitBatchNorm):
    """Split batch normalisation of images, shape (B, C, H, W)."""

    dims = (4,)


class SplitBatchNorm3d(_SplitBatchNorm):
    """Split batch normalisation of clips, shape (B, C, T, H, W)."""

    dims = (5,)


_SPLIT_OF: dict[type[nn.Module], type[_SplitBatchNorm]] = {
    nn.BatchNorm1d: SplitBatchNorm1d,
    nn.BatchNorm2d: SplitBatchNorm2d,
    nn.BatchNorm3d: SplitBatchNorm3d,
}


def convert_to_split_batch_norm(module: nn.Module, num_splits: int) -> nn.Module:
    """Replace every `BatchNorm{1,2,3}d` of a module by its split form, which takes over parameters, buffers and mode.

    Args:
        module: Changed in place, except where it is itself a batch normalisation.
        num_splits: Number of parts of a batch.

    Returns:
        The module, or the split batch normalisation that takes its place.

    Raises:
        ConfigError: The module holds a `SyncBatchNorm`, whose statistics are those of all processes.

    >>> type(convert_to_split_batch_norm(nn.BatchNorm1d(4), num_splits=2)).__name__
    'SplitBatchNorm1d'
    """
    if isinstance(module, nn.SyncBatchNorm):
        raise ConfigError("a SyncBatchNorm cannot be split: use trainer.sync_batchnorm=false with split batch norms.")
    split_type = _SPLIT_OF.get(type(module))
    if split_type is None:
        for name, child in module.named_children():
            setattr(module, name, convert_to_split_batch_norm(child, num_splits))
        return module
    assert isinstance(module, _NormBase)
    split = split_type(
        module.num_features,
        num_splits,
        eps=module.eps,
        momentum=module.momentum,
        affine=False,
        track_running_stats=False,
    )
    split.affine, split.track_running_stats = module.affine, module.track_running_stats
    split._parameters.update(module._parameters)
    split._buffers.update(module._buffers)
    return split.train(module.training)
