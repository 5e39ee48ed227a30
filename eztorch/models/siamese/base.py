"""What every siamese method shares: networks, views, the training step and the steps of evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import Required, TypedDict

from eztorch.models.siamese import layers
from eztorch.models.siamese.checks import check_both_ways, check_chain
from eztorch.models.siamese.features import Features, of_samples, of_training
from eztorch.models.siamese.gradient_cache import cached_step, checked_size
from eztorch.models.siamese.legacy_checkpoints import convert_legacy_state_dict
from eztorch.models.siamese.target_branch import TargetBranch
from eztorch.models.siamese.view_plan import ViewPlan, combine_patches, split_patches
from eztorch.models.steps import (
    apply_transform,
    build_transform,
    configure_optimizer,
    is_empty,
    seed_step,
    steps_per_epoch,
    steps_per_pass,
    total_steps,
)
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

Scalars = dict[str, Tensor | float]


class SiameseKeys(TypedDict, total=False):
    """Keys that every siamese method takes; `SiameseModel` says what they mean."""

    trunk: Required[Any]
    optimizer: Required[Any]
    projector: Any
    predictor: Any
    train_transform: Any
    val_transform: Any
    test_transform: Any
    normalize_outputs: bool
    num_global_crops: int
    num_local_crops: int
    sym: bool
    mutual_pass: bool
    num_splits: int
    num_splits_per_combination: int
    gradient_cache_size: int | None


class SiameseModel(LightningModule, ABC):
    """Networks, transforms, optimizer and the one training step of the siamese methods.

    A method is a final subclass. It owns its loss, its schedules and what it compares the online branch with: a target
    that follows by a moving average, with or without a queue (`use_target`), or nothing but the other views.

    Args:
        trunk: Module or spec: from an input, shape (B, ...), to features h, shape (B, C).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        projector: Module or spec, from h to the projection z; None leaves z = h.
        predictor: Module or spec, from z to the prediction q; None leaves q = z. A target has none.
        train_transform: Callable or spec, run on the device on the list of the views of a training batch.
        val_transform: The same for the input of a validation batch.
        test_transform: The same for the input of a test batch.
        normalize_outputs: Scale the z and q that are compared and returned to length 1; the predictor takes z as it is.
        num_global_crops: Views that come first in a batch.
        num_local_crops: Views that follow, queries only.
        sym: Compare every global view as key with all others; False: view 0 alone is the key of all others.
        mutual_pass: Encode the views of the same shape as one batch.
        num_splits: Cut global query views into this number of patches along height and width; 0 for whole views.
        num_splits_per_combination: Patches whose features are averaged to make a query.
        gradient_cache_size: Samples whose activations are kept at a time, for batches that do not fit in memory; see
            `eztorch.models.siamese.gradient_cache`. None keeps those of the batch.

    Raises:
        ConfigError: A value is out of its range, or the networks do not fit together.
    """

    # Whether the queries of a view are compared with the same view, seen by another network.
    views_with_themselves: ClassVar[bool] = False

    def __init__(
        self,
        *,
        trunk: Any,
        optimizer: Any,
        projector: Any = None,
        predictor: Any = None,
        train_transform: Any = None,
        val_transform: Any = None,
        test_transform: Any = None,
        normalize_outputs: bool = True,
        num_global_crops: int = 2,
        num_local_crops: int = 0,
        sym: bool = False,
        mutual_pass: bool = False,
        num_splits: int = 0,
        num_splits_per_combination: int = 2,
        gradient_cache_size: int | None = None,
    ) -> None:
        super().__init__()
        self.trunk: nn.Module = build(trunk)
        self.projector: nn.Module | None = build(projector)
        self.predictor: nn.Module | None = build(predictor)
        check_chain(self.trunk, self.projector, self.predictor)
        self.optimizer = optimizer
        self.plan = ViewPlan(
            num_global_crops,
            num_local_crops,
            sym,
            mutual_pass,
            num_splits,
            num_splits_per_combination,
            self.views_with_themselves,
        )
        self.normalize_outputs = normalize_outputs
        self.train_transform = build_transform(train_transform)
        self.val_transform = build_transform(val_transform)
        self.test_transform = build_transform(test_transform)
        self.gradient_cache_size = checked_size(gradient_cache_size)
        self.branch: TargetBranch | None = None
        # Facts of the run that the schedules need; a fit finds them out anew, so they are no state.
        self.total_steps = 1
        self.steps_per_epoch = 1
        self.steps_per_pass = 1

    def use_target(self, branch: TargetBranch) -> None:
        """Compare the queries with the keys of a target, and register it and its queue.

        Args:
            branch: Made from the trunk and the projector of this model.
        """
        self.branch, self.target, self.queue = branch, branch.target, branch.queue

    @abstractmethod
    def compute_loss(
        self, queries: Mapping[int, Features], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, Scalars]:
        """Return the loss of a step, shape (), and the other scalars to log, without a prefix.

        Args:
            queries: Features of the query views by index of the view, see `encode_queries`.
            keys: Normalised projections of the key views by the target, each of shape (B, D); empty without a target.
            batch: The batch, for a method that needs more of it than its views.
        """

    def beside_views(self, views: Sequence[Tensor], batch_idx: int) -> list[Tensor]:
        """Return what the networks get beside the views of a batch, behind them in the list: nothing.

        Args:
            views: All views of the batch, each of shape (B, ...).
            batch_idx: Number of the batch in the epoch.

        Returns:
            Tensors of B rows, so that they stay with the views wherever a batch is taken apart.
        """
        return []

    def require_all_views(self) -> None:
        """Refuse a plan that leaves views out or cuts them: the method has no target and compares whole views.

        Raises:
            ConfigError: `sym` is false, there are patches, or there is one global crop.
        """
        if not self.plan.sym or self.plan.num_splits:
            raise ConfigError(
                f"{type(self).__name__} compares all views with one another, whole; write model.sym=true and "
                "model.num_splits=0."
            )
        check_both_ways(self.plan, type(self).__name__)

    def mean_over_pairs(self, queries: Mapping[int, Features], loss: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Average a loss over the pairs of views, and over the combinations of patches of a query view.

        Args:
            queries: Features of the query views.
            loss: From predictions q, shape (B, D), and the index of the key view that they are compared with.
        """
        losses = [
            torch.stack([loss(q, key_view) for q in queries[query_view].q]).mean()
            for key_view, query_view in self.plan.pairs
        ]
        return torch.stack(losses).mean()

    def momentum_at(self, step: int) -> float:
        """Return the momentum of the moving average at an optimizer step.

        Raises:
            ConfigError: The method has no target.
        """
        if self.branch is None:
            raise ConfigError(f"{type(self).__name__} has no moving average, so there is no momentum.")
        return self.branch.momentum_at(step, self.total_steps, self.steps_per_pass)

    def encode_keys(self, views: Sequence[Tensor]) -> dict[int, Tensor]:
        """Encode the key views with the target, if there is one; keys wait for the optimizer step to enter the queue.

        Args:
            views: All views of the batch, each of shape (B, ...).

        Returns:
            Keys by index of the view, each of shape (B, D), detached.
        """
        if self.branch is None:
            return {}
        keys = {view: self.normalized(z) for view, z in self.branch.encode(views, self.plan).items()}
        self.branch.remember([keys[view] for view in self.plan.key_views])
        return keys

    def after_optimizer_step(self, step: int) -> None:
        """Move what moves once per optimizer step besides the parameters: the target and its queue.

        Args:
            step: Number of optimizer steps before the one that was just made.
        """
        if self.branch is not None:
            self.branch.follow(self.trunk, self.projector, self.momentum_at(step))

    def forward(self, x: Tensor) -> Tensor:
        """Return the prediction of a batch of views: predictor(projector(trunk(x))), as far as they exist.

        Args:
            x: One view of a batch, shape (B, ...).

        Returns:
            Prediction, not normalised, shape (B, D).
        """
        return self._heads(self.trunk(x))[1]

    def features(self, x: Tensor) -> Features:
        """Encode one view of a batch with the online branch.

        Args:
            x: One view, shape (B, ...).
        """
        return self._features(self.trunk(x))

    def encode_queries(self, views: Sequence[Tensor]) -> dict[int, Features]:
        """Encode the query views of a training batch with the online branch.

        Args:
            views: All views of the batch, each of shape (B, ...).

        Returns:
            Features by index of the view, with a leading dimension of its M combinations of patches: shapes (M, B, C)
            and (M, B, D); M is 1 for a view that is encoded whole.
        """
        queries: dict[int, Features] = {}
        for group in self.plan.passes(views, self.plan.query_views):
            x = views[group[0]] if len(group) == 1 else torch.cat([views[view] for view in group])
            rows = len(views[group[0]])
            if self.plan.is_split(group[0]):
                h = self.trunk(split_patches(x, self.plan.num_splits))
                h = combine_patches(h, self.plan.num_splits, self.plan.num_splits_per_combination)
            else:
                h = self.trunk(x)
            # Rows stand by combination, then by view, then by sample.
            parts = [part.unflatten(0, (-1, len(group), rows)).unbind(dim=1) for part in self._features(h)]
            queries.update(zip(group, (Features(*view) for view in zip(*parts, strict=True)), strict=True))
        return queries

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Compute the loss of a batch of several views.

        Returns:
            Step output (see the design page): loss, scalars, and the features h, z, q of the first query view,
            detached, shapes (B, C) and (B, D); those of a view in patches are the means over its combinations, those of
            tokens the means over the tokens.

        Raises:
            DataError: The batch has another number of views than the plan.
        """
        seed_step(self, batch_idx)
        views = self.plan.check(apply_transform(self.train_transform, batch["input"]))
        views += self.beside_views(views, batch_idx)
        keys = self.encode_keys(views)
        if self.gradient_cache_size is None:
            queries = self.encode_queries(views)
            loss, scalars = self.compute_loss(queries, keys, batch)
        else:
            loss, scalars, queries = cached_step(self, views, keys, batch, size=self.gradient_cache_size)
        if self.branch is not None:
            scalars = {**scalars, "momentum_value": self.momentum_at(self.global_step)}
        named = {f"pretrain/{name}": value for name, value in {"loss": loss.detach(), **scalars}.items()}
        return {"loss": loss, "scalars": named, **of_training(queries[self.plan.query_views[0]])}

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features h, z, q of a batch (of its first view, when it has several); None for an empty batch."""
        return self._evaluation_step(batch, self.val_transform)

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the features h, z, q of a batch (of its first view, when it has several); None for an empty batch."""
        return self._evaluation_step(batch, self.test_transform)

    def setup(self, stage: str) -> None:
        """Prepare the target for the number of processes of the run."""
        if stage == "fit" and self.branch is not None:
            self.branch.prepare(self.trainer.world_size)

    def on_train_start(self) -> None:
        """Begin without keys of an earlier fit."""
        if self.branch is not None:
            self.branch.start()

    def on_fit_start(self) -> None:
        """Find out the length of the run."""
        self.total_steps = total_steps(self.trainer)
        self.steps_per_epoch = steps_per_epoch(self.trainer)
        self.steps_per_pass = steps_per_pass(self.trainer)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Make the optimizer step (once per accumulated batch), then move what moves with it."""
        step = self.trainer.global_step
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.gradient_cache_size is not None:
            optimizer.zero_grad()
        self.after_optimizer_step(step)

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Any) -> None:
        """Forget the gradients of the step before; with a gradient cache that was done behind it.

        Lightning asks for it between the training step, in which a gradient cache makes most of the gradients, and the
        backward pass.
        """
        if self.gradient_cache_size is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the weights of a checkpoint of the predecessor under its names."""
        checkpoint["state_dict"] = convert_legacy_state_dict(checkpoint["state_dict"])

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its scheduler from the spec."""
        return configure_optimizer(self, self.optimizer)

    @property
    def learnable_params(self) -> list[nn.Parameter]:
        """Parameters of the online branch."""
        return [parameter for network in self._online().values() for parameter in network.parameters()]

    @property
    def num_layers(self) -> int:
        """Number of layers of the online branch, for layer-wise learning rates.

        Raises:
            ConfigError: A network does not tell its layers.
        """
        return layers.count(self._online())

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer that a parameter belongs to: the trunk's come first, then the projector's, the predictor's.

        Args:
            name: Name of a parameter of the online branch, as `named_parameters` has it.

        Raises:
            ConfigError: The parameter is not of the online branch, or a network does not tell its layers.
        """
        return layers.layer_of(name, self._online())

    def _online(self) -> dict[str, nn.Module]:
        networks = {"trunk": self.trunk, "projector": self.projector, "predictor": self.predictor}
        return {name: network for name, network in networks.items() if network is not None}

    def _heads(self, h: Tensor) -> tuple[Tensor, Tensor]:
        z = h if self.projector is None else self.projector(h)
        return z, z if self.predictor is None else self.predictor(z)

    def _features(self, h: Tensor) -> Features:
        z, q = self._heads(h)
        return Features(h, self.normalized(z), self.normalized(q))

    def normalized(self, x: Tensor) -> Tensor:
        """Return rows x, shape (B, D), of length 1 in float32 or finer; as they are without `normalize_outputs`."""
        if not self.normalize_outputs:
            return x
        return F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)

    def _evaluation_step(self, batch: Mapping[str, Any], transform: Any) -> dict[str, Tensor] | None:
        if is_empty(batch):
            return None
        inputs = apply_transform(transform, batch["input"])
        return of_samples(self.features(inputs if isinstance(inputs, Tensor) else inputs[0])._asdict())
