"""Keys of the methods with a target network: how a batch reaches the target, and how keys reach the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from eztorch.models.siamese.checks import output_dim
from eztorch.modules import (
    FeatureQueue,
    MomentumTarget,
    convert_to_split_batch_norm,
    gather_without_gradient,
    shuffle,
    unshuffle,
)
from eztorch.utils.errors import ConfigError


def prepare_target(
    target: MomentumTarget, *, world_size: int, shuffle_bn: bool, num_devices: int, simulate_n_devices: int
) -> int:
    """Make the batch statistics of the target those of parts of a batch (MoCo, arXiv 1911.05722, section 3.3).

    With several processes the batch is shuffled among them (`encode`) and the networks stay as they are. On one device
    the batch normalisations of the target work on `simulate_n_devices` parts of the batch. Names in the state dict are
    the same in both cases.

    Args:
        target: Target, changed in place.
        world_size: Number of processes of the run.
        shuffle_bn: False leaves the target as it is.
        num_devices: Number of processes that the configuration expects; -1 takes any.
        simulate_n_devices: Parts of a batch on one device.

    Returns:
        Number of parts that the target splits its batches into, 1 where it does not.

    Raises:
        ConfigError: Another number of processes is expected, or one device is asked to shuffle a single part.
    """
    if num_devices not in (-1, world_size):
        raise ConfigError(
            f"num_devices={num_devices}, but the run has {world_size} process(es); "
            f"write model.num_devices={world_size}, or -1 to take the number of the run."
        )
    if not shuffle_bn or world_size > 1:
        return 1
    if simulate_n_devices < 2:
        raise ConfigError(
            f"shuffle_bn=true on one device needs simulate_n_devices of at least 2, got {simulate_n_devices}; "
            "write model.simulate_n_devices=8, or model.shuffle_bn=false."
        )
    convert_to_split_batch_norm(target, simulate_n_devices)
    return simulate_n_devices


def check_not_synchronized(target: MomentumTarget, *, shuffle_bn: bool) -> None:
    """Refuse to shuffle batches whose statistics are those of all processes anyway.

    Raises:
        ConfigError: `shuffle_bn` is set and the target has synchronised batch normalisations.
    """
    if shuffle_bn and any(isinstance(module, nn.SyncBatchNorm) for module in target.modules()):
        raise ConfigError(
            "shuffle_bn=true does nothing with synchronised batch normalisation, whose statistics are those of all "
            "processes; write model.shuffle_bn=false or trainer.sync_batchnorm=false."
        )


def check_precision(target: MomentumTarget) -> None:
    """Refuse a moving average of weights in half precision, most of which would never move.

    A step of a momentum of 0.996 is 0.4 % of the way, and 8 bits do not tell less than that from nothing.

    Raises:
        ConfigError: A weight of the target has two bytes.
    """
    for name, parameter in target.named_parameters():
        if parameter.is_floating_point() and parameter.element_size() < 4:
            raise ConfigError(
                f"The target's {name} is of {parameter.dtype}, and a moving average of such weights stands still: its "
                "steps are rounded away; write trainer.precision=bf16-mixed, 16-mixed or 32."
            )


@torch.no_grad()
def encode(
    target: MomentumTarget, views: Sequence[Tensor], passes: Sequence[Sequence[int]], *, shuffle_bn: bool, splits: int
) -> dict[int, Tensor]:
    """Encode key views with the target.

    Args:
        target: Target network.
        views: All views of the batch, each of shape (B, ...).
        passes: Groups of views that go through the target together.
        shuffle_bn: Shuffle each pass among the processes and put the result back.
        splits: Parts that the target splits a batch into, see `prepare_target`.

    Returns:
        Projections by index of the view, shape (B, D), as the projector gives them.

    Raises:
        ConfigError: The parts do not divide the batch.
    """
    keys: dict[int, Tensor] = {}
    for group in passes:
        x = views[group[0]] if len(group) == 1 else torch.cat([views[view] for view in group])
        if len(x) % splits:
            raise ConfigError(
                f"simulate_n_devices={splits} does not divide a batch of {len(x)} rows; use a global_batch_size that "
                "is a multiple of it with loader.drop_last=true, or model.shuffle_bn=false."
            )
        if shuffle_bn:
            shuffled, restore = shuffle(x)
            z = unshuffle(target.encode(shuffled)[1], restore)
        else:
            z = target.encode(x)[1]
        keys.update(zip(group, z.chunk(len(group)), strict=True))
    return keys


def make_queue(spec: Mapping[str, int] | None, network: nn.Module) -> FeatureQueue | None:
    """Make the queue of a configuration.

    Args:
        spec: Its `size` and `feature_dim`; None for no queue.
        network: What makes the keys; where it tells the length of its output, the queue must have the same.

    Raises:
        ConfigError: A key is missing or not known, or the queue does not fit what the network returns.
    """
    if spec is None:
        return None
    if set(spec) != {"size", "feature_dim"}:
        raise ConfigError(f"model.queue={dict(spec)!r}; expected the keys size and feature_dim, or null for no queue.")
    queue = FeatureQueue(**spec)
    dim = output_dim(network)
    if dim is not None:
        check_feature_dim(queue, dim)
    return queue


def check_feature_dim(queue: FeatureQueue, dim: int) -> None:
    """Refuse keys of another length than the queue's features.

    Raises:
        ConfigError: The lengths differ; the message names both.
    """
    if dim != queue.feature_dim:
        raise ConfigError(
            f"queue.feature_dim={queue.feature_dim}, but the keys have {dim} features; "
            f"write model.queue.feature_dim={dim}, or make the projector return {queue.feature_dim}."
        )


class PendingKeys:
    """Keys of the batches since the last optimizer step, until they enter the queue.

    With accumulated gradients the queue so stays as it is during a step, as the weights do.
    """

    def __init__(self) -> None:
        self._batches: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._batches)

    def add(self, keys: Sequence[Tensor]) -> None:
        """Keep the keys of a batch.

        Args:
            keys: Keys of each key view, each of shape (B, D), or (B, T, D) of tokens.
        """
        self._batches.append(torch.stack(list(keys), dim=1))

    def clear(self) -> None:
        """Forget the keys."""
        self._batches.clear()

    def take(self) -> Tensor:
        """Return the keys in the order in which they enter the queue, and forget them.

        Returns:
            Keys of all V key views of all R processes, shape (V * N * R, D) for N samples of a process: those of the
            first key view, then those of the second; of a view sample 0 of every rank, then sample 1. As rank r
            trains on every R-th sample from r on, this is the order that one process has for the same samples. The
            tokens of a sample stay together.
        """
        local = torch.cat(self._batches)
        self.clear()
        rows = gather_without_gradient(local).view(-1, *local.shape)  # (R, N, V, D), or (R, N, V, T, D)
        return rows.transpose(0, 2).flatten(0, -2)
