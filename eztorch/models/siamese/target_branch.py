"""The target of a momentum method at work: how it encodes keys, follows the online branch and feeds a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn
from typing_extensions import TypedDict, Unpack

from eztorch.losses import sce_chance_level
from eztorch.models.siamese import keys as keys_of
from eztorch.models.siamese.checks import share
from eztorch.models.siamese.view_plan import ViewPlan
from eztorch.modules import FeatureQueue, MomentumTarget, gather_without_gradient
from eztorch.schedulers.schedules import momentum_at
from eztorch.utils.distributed import rank
from eztorch.utils.errors import ConfigError


class TargetKeys(TypedDict, total=False):
    """Keys of the methods that compare with negatives of a target; `TargetBranch` says what they mean."""

    initial_momentum: float
    scheduler_momentum: str
    queue: Mapping[str, int] | None
    use_keys: bool
    shuffle_bn: bool
    num_devices: int
    simulate_n_devices: int


class TargetBranch:
    """What a method with a moving average does with its target, and with the queue of its keys.

    It is no module: the model that owns it registers `target` and `queue` under these names, so that a checkpoint has
    them as `target.*` and `queue.*`.

    Args:
        trunk: Online trunk.
        projector: Online projector, None where the features are compared as they are.
        initial_momentum: Momentum of the moving average at the first step, from 0 to 1.
        scheduler_momentum: `constant`, or `cosine` (a step) or `cosine_epoch` (an epoch) towards 1 at the last update.
        queue: `size` and `feature_dim` of the memory of earlier keys; None for none.
        use_keys: The keys of the other samples of the batch, of all processes, are negatives too.
        shuffle_bn: Batch statistics of the target are those of parts of a batch, see `keys.prepare_target`.
        num_devices: Number of processes that is expected; -1 takes any.
        simulate_n_devices: Number of parts of a batch on one device.

    Attributes:
        target: The target networks.
        queue: The queue, or None.
        num_negatives: How many negatives a query has; without a queue 0 until the first batch, which is their source.

    Raises:
        ConfigError: A value is out of its range, or the queue does not fit the keys.
    """

    def __init__(
        self,
        trunk: nn.Module,
        projector: nn.Module | None,
        *,
        initial_momentum: float,
        scheduler_momentum: str,
        queue: Mapping[str, int] | None = None,
        use_keys: bool = False,
        shuffle_bn: bool = False,
        num_devices: int = -1,
        simulate_n_devices: int = 8,
    ) -> None:
        self.target = MomentumTarget(trunk, projector)
        self.queue: FeatureQueue | None = keys_of.make_queue(queue, trunk if projector is None else projector)
        self.use_keys = use_keys
        self.num_negatives = 0 if self.queue is None else self.queue.size
        self.shuffle_bn, self.num_devices, self.simulate_n_devices = shuffle_bn, num_devices, simulate_n_devices
        self.momentum_at = partial(momentum_at, scheduler_momentum, share("initial_momentum", initial_momentum))
        self.momentum_at(0, 1, 1)  # an unknown name is an error now, not after the first step
        self._splits = 1
        self._pending = keys_of.PendingKeys()

    @property
    def chance_level(self) -> float | None:
        """Loss of features that tell nothing; None without a queue until the first batch, the source of negatives."""
        return sce_chance_level(self.num_negatives) if self.num_negatives else None

    def require_negatives(self) -> None:
        """Refuse a method that compares with negatives and has none.

        Raises:
            ConfigError: There is neither a queue nor `use_keys`.
        """
        if self.queue is None and not self.use_keys:
            raise ConfigError(
                "There are no negatives; write model.queue.size and model.queue.feature_dim, or use_keys=true."
            )

    def prepare(self, world_size: int) -> None:
        """Prepare the target for the number of processes of a fit."""
        self._splits = keys_of.prepare_target(
            self.target,
            world_size=world_size,
            shuffle_bn=self.shuffle_bn,
            num_devices=self.num_devices,
            simulate_n_devices=self.simulate_n_devices,
        )

    def start(self) -> None:
        """Check what strategy and precision made of the target, and begin without keys of an earlier fit."""
        keys_of.check_not_synchronized(self.target, shuffle_bn=self.shuffle_bn)
        keys_of.check_precision(self.target)
        self._pending.clear()

    def encode(self, views: Sequence[Tensor], plan: ViewPlan) -> dict[int, Tensor]:
        """Encode the key views with the target.

        Args:
            views: All views of the batch, each of shape (B, ...).
            plan: Which of them are keys.

        Returns:
            Projections by index of the view, shape (B, D), as the projector gives them.
        """
        passes = plan.passes(views, plan.key_views)
        return keys_of.encode(self.target, views, passes, shuffle_bn=self.shuffle_bn, splits=self._splits)

    def remember(self, keys: Sequence[Tensor]) -> None:
        """Keep the keys of a batch for the queue, where there is one, until the optimizer step.

        Args:
            keys: Keys of each key view as they are compared, each of shape (B, D), or (B, T, D) of tokens.
        """
        if self.queue is not None:
            keys_of.check_feature_dim(self.queue, keys[0].shape[-1])
            self._pending.add(keys)

    def negatives(self, keys: Mapping[int, Tensor]) -> dict[int, dict[str, Any]]:
        """Return what a loss takes as negatives, by key view: `queue`, `keys` and `keys_offset`.

        Args:
            keys: Keys of this process by index of the view, each of shape (B, D).
        """
        queue = None if self.queue is None else self.queue.features
        if not self.use_keys:
            return {view: {"queue": queue} for view in keys}
        found = {}
        for view, key in keys.items():
            everyone = gather_without_gradient(key)
            found[view] = {"queue": queue, "keys": everyone, "keys_offset": rank() * len(key)}
            self.num_negatives = len(everyone) - 1 + (0 if queue is None else len(queue))
        return found

    def follow(self, trunk: nn.Module, projector: nn.Module | None, momentum: float) -> None:
        """Move the target towards the online branch and put the keys of the optimizer step into the queue."""
        self.target.update(trunk, projector, momentum)
        if self.queue is not None:
            self.queue.enqueue(self._pending.take())


def contrastive_target(trunk: nn.Module, projector: nn.Module | None, **keys: Unpack[TargetKeys]) -> TargetBranch:
    """Make the target of a method that compares with negatives, with MoCo's momentum and shuffled batches by default.

    Args:
        trunk: Online trunk.
        projector: Online projector, None where the features are compared as they are.
        **keys: See `TargetBranch`.

    Raises:
        ConfigError: A value is out of its range, or there are no negatives.
    """
    defaults: dict[str, Any] = {"initial_momentum": 0.999, "scheduler_momentum": "constant", "shuffle_bn": True}
    branch = TargetBranch(trunk, projector, **{**defaults, **keys})
    branch.require_negatives()
    return branch
