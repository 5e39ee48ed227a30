"""The target of a momentum method at work: how it encodes keys, follows the online branch and feeds a queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from eztorch.models.siamese import keys as keys_of
from eztorch.models.siamese.checks import share
from eztorch.models.siamese.view_plan import ViewPlan
from eztorch.modules import FeatureQueue, MomentumTarget
from eztorch.schedulers.schedules import momentum_at


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
        shuffle_bn: Batch statistics of the target are those of parts of a batch, see `keys.prepare_target`.
        num_devices: Number of processes that is expected; -1 takes any.
        simulate_n_devices: Number of parts of a batch on one device.

    Attributes:
        target: The target networks.
        queue: The queue, or None.

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
        shuffle_bn: bool = False,
        num_devices: int = -1,
        simulate_n_devices: int = 8,
    ) -> None:
        self.target = MomentumTarget(trunk, projector)
        self.queue: FeatureQueue | None = keys_of.make_queue(queue, trunk if projector is None else projector)
        self.shuffle_bn, self.num_devices, self.simulate_n_devices = shuffle_bn, num_devices, simulate_n_devices
        self.momentum_at = partial(momentum_at, scheduler_momentum, share("initial_momentum", initial_momentum))
        self.momentum_at(0, 1, 1)  # an unknown name is an error now, not after the first step
        self._splits = 1
        self._pending = keys_of.PendingKeys()

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
        """Check what the strategy made of the target, and begin without keys of an earlier fit."""
        keys_of.check_not_synchronized(self.target, shuffle_bn=self.shuffle_bn)
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
            keys: Keys of each key view as they are compared, each of shape (B, D).
        """
        if self.queue is not None:
            keys_of.check_feature_dim(self.queue, keys[0].shape[1])
            self._pending.add(keys)

    def follow(self, trunk: nn.Module, projector: nn.Module | None, momentum: float) -> None:
        """Move the target towards the online branch and put the keys of the optimizer step into the queue."""
        self.target.update(trunk, projector, momentum)
        if self.queue is not None:
            self.queue.enqueue(self._pending.take())
