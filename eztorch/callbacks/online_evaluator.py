"""A linear probe that trains beside the model, on its detached features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional

from eztorch.callbacks.publishing import publish
from eztorch.models.evaluation_metric import failures_that_count
from eztorch.models.steps import build_optimizer
from eztorch.utils.config import build
from eztorch.utils.distributed import all_gather_rows, world_size
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import addressed_randomness, run_seed


class OnlineEvaluator(Callback):
    """Trains a classifier on the features of the training steps, without a gradient to the model.

    The classifier works in float32 under any precision and steps when the model steps. Samples labelled -1 count for
    nothing. With several processes its gradient is that of the whole batch, by one `all_reduce` of a flat tensor, so
    that its state is that of one process and loads at any number of them.

    Written at the end of each epoch: `online/{train,val}_{loss,acc_1}`, and `acc_5` with more than five classes; after
    a validation also `online/n_evaluated` and `online/n_expected`, how many videos or images were classified and how
    many there are. Failures of a split with `on_error: count_as_wrong` count in its accuracies.

    Args:
        optimizer: Spec of, or a callable `(model, num_steps_per_epoch) -> (optimizer, lr scheduler mapping or None)`.
        classifier: Module from features (B, C) to logits (B, classes), or its spec.
        input_name: Which features of the steps to take.
    """

    def __init__(self, optimizer: Any, classifier: Any, input_name: str = "h") -> None:
        self._optimizer_spec = optimizer
        with addressed_randomness(run_seed()):  # a probe beside the model leaves the run's generators alone
            self.classifier: nn.Module = build(classifier)
        self._input_name = input_name
        self._optimizer: torch.optim.Optimizer | None = None
        self._scheduler: Mapping[str, Any] = {}
        self._restored: Mapping[str, Any] = {}
        self._labelled: Tensor | float = 0.0  # samples since the classifier's last step
        self._last_step = 0
        self._train, self._val = _Averages(), _Averages()
        self._val_idx: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring the classifier to the device of the model and build its optimizer."""
        self.classifier.to(pl_module.device)
        if world_size() > 1:
            for tensor in self.classifier.state_dict().values():
                dist.broadcast(tensor, 0)
        self._optimizer, scheduler = build_optimizer(
            self._optimizer_spec, self.classifier, trainer, key="OnlineEvaluator: optimizer"
        )
        self._scheduler = scheduler or {}
        if self._restored:
            self._optimizer.load_state_dict(self._restored["optimizer"])
            if self._scheduler:
                self._scheduler["scheduler"].load_state_dict(self._restored["scheduler"])
        self._last_step = trainer.global_step

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the averages of the epoch."""
        self._train = _Averages()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Learn from the features of a step."""
        if not isinstance(outputs, Mapping) or self._optimizer is None:
            return
        self.classifier.train()
        with torch.enable_grad():
            logits, labels = self._classify(outputs, batch)
            if self._train.is_empty:
                _check_classes(trainer, logits.shape[1])
            functional.cross_entropy(logits, labels, ignore_index=-1, reduction="sum").backward()
        self._labelled = self._labelled + (labels >= 0).sum()
        self._train.add(logits.detach(), labels)
        if trainer.global_step != self._last_step:
            self._last_step = trainer.global_step
            self._step(self._optimizer)
            if self._scheduler.get("interval") == "step" and (batch_idx + 1) % self._scheduler.get("frequency", 1) == 0:
                self._scheduler["scheduler"].step()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the averages of the epoch."""
        publish(trainer, self._train.compute("online/train", pl_module.device))
        if self._scheduler.get("interval", "epoch") == "epoch" and self._scheduler:
            self._scheduler["scheduler"].step()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the averages; running statistics that the ranks gathered on their own become those of rank 0."""
        self._val, self._val_idx = _Averages(), []
        self.classifier.to(pl_module.device).eval()
        if world_size() > 1:
            for buffer in self.classifier.buffers():
                dist.broadcast(buffer, 0)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Classify the features of a batch; one without a readable sample has none."""
        if not self._has_learned(trainer):
            return
        self._val.add_wrong(len(failures_that_count(batch)))
        if outputs is not None:
            with torch.no_grad():
                logits, labels = self._classify(outputs, batch)
                self._val.add(logits, labels)
                self._val_idx.append(torch.where(labels >= 0, batch["idx"], -1))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the averages."""
        if self._has_learned(trainer):
            publish(trainer, self._val.compute("online/val", pl_module.device))
            none = torch.full((1,), -1, device=pl_module.device)
            idx = all_gather_rows(torch.cat([none, *self._val_idx]), pl_module.device)
            loaders = trainer.val_dataloaders
            loaders = loaders if isinstance(loaders, list | tuple) else [loaders]
            expected = sum(len(loader.dataset) for loader in loaders)
            publish(trainer, {"online/n_evaluated": len(idx[idx >= 0].unique()), "online/n_expected": expected})

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: classifier, optimizer and scheduler."""
        state = {"classifier": self.classifier.state_dict()}
        if self._optimizer is not None:
            state["optimizer"] = self._optimizer.state_dict()
        if self._scheduler:
            state["scheduler"] = self._scheduler["scheduler"].state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what a checkpoint kept; optimizer and scheduler when they are built."""
        self.classifier.load_state_dict(state_dict["classifier"])
        self._restored = state_dict

    def _has_learned(self, trainer: Trainer) -> bool:
        return not trainer.sanity_checking and (self._optimizer is not None or bool(self._restored))

    def _classify(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return logits (B, classes) in float32 and labels (B,)."""
        features, labels = outputs.get(self._input_name), batch["label"]
        if features is None or len(features) != len(labels):
            found = "no such features" if features is None else f"{len(features)} rows for {len(labels)} labels"
            raise ConfigError(f"OnlineEvaluator: input_name={self._input_name!r}: the step returns {found}.")
        if labels.ndim == 2:
            raise ConfigError("OnlineEvaluator learns one class a sample, and these samples have several labels each.")
        first = next((one for one in self.classifier.modules() if isinstance(one, nn.Linear)), None)
        if first is not None and first.in_features != features.shape[-1]:
            raise ConfigError(
                f"OnlineEvaluator: classifier takes {first.in_features} features, and {self._input_name!r} of the "
                f"model has {features.shape[-1]}: write that as input_dim of the classifier."
            )
        with torch.autocast(features.device.type, enabled=False):
            return self.classifier(features.detach().float()), labels

    def _step(self, optimizer: torch.optim.Optimizer) -> None:
        gradients = [p.grad for p in self.classifier.parameters() if p.grad is not None]
        labelled = torch.as_tensor(self._labelled, dtype=torch.float32, device=gradients[0].device)
        if world_size() > 1:
            flat = torch.cat([*(gradient.flatten() for gradient in gradients), labelled[None]])
            dist.all_reduce(flat)
            for gradient, part in zip(gradients, flat[:-1].split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
            labelled = flat[-1]
        torch._foreach_div_(gradients, labelled.clamp_min(1))
        optimizer.step()
        optimizer.zero_grad()
        self._labelled = 0.0


def _check_classes(trainer: Trainer, outputs: int) -> None:
    classes = getattr(trainer.datamodule, "num_classes", None)  # type: ignore[attr-defined]  # a connector sets it
    if classes is not None and outputs < classes:
        raise ConfigError(f"OnlineEvaluator: the classifier has {outputs} outputs, and the data {classes} classes.")


class _Averages:
    """Sums over an epoch that stay on the device until it is over."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._wrong = 0

    def add_wrong(self, count: int) -> None:
        """Count failures as wrong answers, which have no loss."""
        self._wrong += count

    @property
    def is_empty(self) -> bool:
        """Say whether nothing was counted yet."""
        return self._sums is None

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            logits: Shape (B, classes).
            labels: Shape (B,); those that are -1 count for nothing.
        """
        classes = logits.shape[1]
        hits = logits.topk(min(5, classes), dim=1).indices == labels[:, None]
        loss = functional.cross_entropy(logits, labels, ignore_index=-1, reduction="sum")
        count = (labels >= 0).sum()
        sums = torch.stack([loss, hits[:, 0].sum(), hits.sum(), count, count if classes > 5 else 0 * count])
        self._sums = sums if self._sums is None else self._sums + sums

    def compute(self, prefix: str, device: torch.device) -> dict[str, float]:
        """Return the averages over all ranks, some of which may have had no batch; nothing without a labelled sample.

        Args:
            prefix: Of the names.
            device: Of the process group.
        """
        sums = torch.zeros(5, device=device) if self._sums is None else self._sums
        sums = torch.cat([sums, sums.new_tensor([self._wrong])])
        if world_size() > 1:
            dist.all_reduce(sums)
        loss, correct_1, correct_5, count, count_5, wrong = sums.tolist()
        if not count:
            return {}
        averages = {f"{prefix}_loss": loss / count, f"{prefix}_acc_1": correct_1 / (count + wrong)}
        return {**averages, f"{prefix}_acc_5": correct_5 / (count + wrong)} if count_5 else averages
