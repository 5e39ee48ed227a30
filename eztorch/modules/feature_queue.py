"""First-in first-out memory of features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import generator, run_seed


class FeatureQueue(nn.Module):
    """Memory of the last `size` features, as in MoCo (https://arxiv.org/abs/1911.05722, section 3.1).

    The features stand in rows, so that a batch is written as one block of memory. The position of the next row is a
    0-d tensor beside them: positions are computed on the device, writing never waits for it, and the checkpoint holds
    the only copy of the position that there is. Until rows are written, they hold random directions drawn from the
    seed of the run alone, so that all processes start with the same queue.

    Attributes:
        features: Features, shape (size, feature_dim); a persistent buffer, to be read as it stands.
        pointer: Row that the next feature goes to, shape (), int64; a persistent buffer.

    Args:
        size: Number of features that are kept.
        feature_dim: Length of a feature.

    Raises:
        ConfigError: A size below 1.

    >>> queue = FeatureQueue(3, feature_dim=1)
    >>> queue.enqueue(torch.tensor([[1.0], [2.0]]))
    >>> queue.enqueue(torch.tensor([[3.0], [4.0]]))
    >>> queue.features.flatten().tolist(), int(queue.pointer)
    ([4.0, 2.0, 3.0], 1)
    """

    features: Tensor
    pointer: Tensor

    def __init__(self, size: int, feature_dim: int) -> None:
        super().__init__()
        for key, value in (("size", size), ("feature_dim", feature_dim)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"queue.{key}={value!r}; expected a positive number.")
        features = torch.randn(size, feature_dim, generator=generator(run_seed(), size, feature_dim))
        self.register_buffer("features", F.normalize(features, dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))

    @property
    def size(self) -> int:
        """Number of features that are kept."""
        return self.features.shape[0]

    @property
    def feature_dim(self) -> int:
        """Length of a feature."""
        return self.features.shape[1]

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Write features over the oldest ones.

        Args:
            keys: Features in the order in which they enter, shape (N, feature_dim). Any N, the same on every process;
                of more than `size` the last ones stay.

        Raises:
            ConfigError: The features have another length than those of the queue.
        """
        if keys.ndim != 2 or keys.shape[1] != self.feature_dim:
            raise ConfigError(
                f"queue.feature_dim={self.feature_dim}, but the keys, the output of the projector, "
                f"have {keys.shape[-1]} features (shape {tuple(keys.shape)}); set queue.feature_dim={keys.shape[-1]}."
            )
        number = keys.shape[0]
        skipped = max(number - self.size, 0)
        rows = (self.pointer + torch.arange(skipped, number, device=self.pointer.device)) % self.size
        self.features.index_copy_(0, rows, keys[skipped:].to(self.features.dtype))
        self.pointer.add_(number).remainder_(self.size)

    def extra_repr(self) -> str:
        """Describe the queue in the printout of a model."""
        return f"size={self.size}, feature_dim={self.feature_dim}"
