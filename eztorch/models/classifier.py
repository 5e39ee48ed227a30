"""What classifiers share: transforms, the step of training, an exact evaluation, the optimizer."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor
from typing_extensions import TypedDict

from eztorch.losses.class_loss import as_weights
from eztorch.models.criteria import Criterion, WrongLabelError
from eztorch.models.evaluation_metric import failures_that_count
from eztorch.models.steps import apply_transform, build_transform, configure_optimizer, is_empty, seed_step
from eztorch.utils.errors import DataError


class ClassifierKeys(TypedDict, total=False):
    """Keys that every classifier takes; `Classifier` says what they mean."""

    train_transform: Any
    train_mix: Any
    val_transform: Any
    test_transform: Any
    val_time_augmentation: Mapping[str, Any] | None
    test_time_augmentation: Mapping[str, Any] | None


class Classifier(LightningModule, ABC):
    """A network that is trained on labels and measured by them; a final subclass says which, and how it trains.

    Training gives the scalars `train/{loss,...}` of every step; evaluation logs `{val,test}/{loss,...}` over all
    processes, with `n_evaluated` and, with a datamodule, `n_expected`, the numbers of videos or images that were
    measured and that there are. What these are of the outputs of the network, the criterion says.

    Args:
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        criterion: What the outputs are trained on and measured by.
        train_transform: Module or spec, applied to a batch on the device.
        train_mix: Module or spec that mixes the samples of a training batch after that, such as
            `eztorch.transforms.batch.Mix`: from an input to it and to what tells the mixed labels. Accuracies of
            training are then of the class with the larger weight.
        val_transform: The same for validation.
        test_transform: The same for test.
        val_time_augmentation: How the views of a video are brought together: `{name: avg_group}`, `{name: same_avg}` or
            `{name: same_max}`, see `eztorch.models.metrics.evaluation_metric`. None measures every sample by itself.
        test_time_augmentation: The same for test.
    """

    counts_evaluated: ClassVar[bool] = True  # logs n_evaluated itself: `FailureMonitor` need not

    def __init__(
        self,
        optimizer: Any,
        criterion: Criterion,
        *,
        train_transform: Any = None,
        train_mix: Any = None,
        val_transform: Any = None,
        test_transform: Any = None,
        val_time_augmentation: Mapping[str, Any] | None = None,
        test_time_augmentation: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.train_transform = build_transform(train_transform)
        self.train_mix = build_transform(train_mix)
        self.val_transform = build_transform(val_transform)
        self.test_transform = build_transform(test_transform)
        self.criterion = criterion
        self.val_metric = criterion.metric(val_time_augmentation, "model.val_time_augmentation")
        self.test_metric = criterion.metric(test_time_augmentation, "model.test_time_augmentation")
        self.data_classes: Any = 0  # unknown
        self.has_checked_labels = False

    @abstractmethod
    def forward(self, x: Any) -> Any:
        """Return what the criterion takes, such as logits, shape (B, K), of an input, shape (B, C, ...)."""

    def outputs(self, x: Any) -> dict[str, Any]:
        """Return what an evaluation step gives of an input: `logits`, and features `h` where the trunk stands apart."""
        return {"logits": self(x)}

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its scheduler."""
        return configure_optimizer(self, self.optimizer)

    def setup(self, stage: str) -> None:
        """Note how many classes the data has, and what else the criterion needs of it."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        self.data_classes = getattr(datamodule, "num_classes", 0)
        self.criterion.look_at(datamodule, training=stage == "fit")

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss, the scalars and the logits, shape (B, K), of a batch."""
        seed_step(self, batch_idx)
        inputs, mixture = apply_transform(self.train_transform, batch["input"]), None
        if self.train_mix is not None:
            inputs, mixture = apply_transform(self.train_mix, inputs)
        logits = self(inputs)
        targets = self._checked_targets(batch, logits)
        if mixture is not None:
            targets = _mixed(targets, mixture, logits)
        loss = self.criterion.loss(logits, targets)
        logits = _detached(logits)
        values = {"loss": loss.detach(), **self.criterion.accuracies(logits, targets)}
        return {"loss": loss, "scalars": {f"train/{name}": value for name, value in values.items()}, "logits": logits}

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any] | None:
        """Return the outputs of a batch, such as logits, shape (B, K); None for a batch of failures alone."""
        return self._evaluation_step(batch, "val")

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any] | None:
        """Return the outputs of a batch, such as logits, shape (B, K); None for a batch of failures alone."""
        return self._evaluation_step(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self._log_evaluation("test")

    def _evaluation_step(self, batch: Mapping[str, Any], split: str) -> dict[str, Any] | None:
        metric, is_measured = getattr(self, f"{split}_metric"), self._is_measured()
        if is_measured:
            metric.add_failures(failures_that_count(batch))
        if is_empty(batch):
            return None
        outputs = self.outputs(apply_transform(getattr(self, f"{split}_transform"), batch["input"]))
        targets = self._checked_targets(batch, outputs["logits"])
        if is_measured:
            metric.update(outputs["logits"], self.criterion.answers(targets), batch["idx"])
        return outputs

    def _is_measured(self) -> bool:
        """Say whether a step is one of an evaluation; callbacks take features from it in training too."""
        trainer = self._trainer  # `self.trainer` would raise without one
        return trainer is None or trainer.evaluating or trainer.sanity_checking

    def _log_evaluation(self, split: str) -> None:
        metric = getattr(self, f"{split}_metric")
        with warnings.catch_warnings():  # a process whose samples all failed has updated nothing, and still takes part
            warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
            values = {name: float(value) for name, value in metric.compute().items()}
        metric.reset()
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        if datamodule is not None:
            values["n_expected"] = float(getattr(datamodule, f"{split}_num_samples"))
        # The values are those of all processes already; their mean, which Lightning asks for, is the same.
        self.log_dict({f"{split}/{name}": value for name, value in values.items()}, sync_dist=True)

    def _checked_targets(self, batch: Mapping[str, Any], logits: Any) -> Any:
        """Return the targets, none of which is one that the logits or the loss cannot have.

        That is known without waiting for the device: a datamodule checks its labels against its number of classes, so
        there it is enough to compare numbers; on a device the labels of the first batch alone are looked at.
        """
        targets = self.criterion.targets(batch)
        self.criterion.check_classes(logits, self.data_classes)
        if self.device.type != "cpu" and self.has_checked_labels:
            return targets
        self.has_checked_labels = True
        try:
            self.criterion.check(logits, targets)
        except WrongLabelError as error:
            place = error.position
            name = batch["video_name"][place] if "video_name" in batch else f"Sample {int(batch['idx'][place])}"
            raise DataError(f"{name} {error}") from error
        return targets


def _mixed(targets: Any, mixture: Any, logits: Any) -> Any:
    """Return the targets of mixed samples, those of several heads by name."""
    if isinstance(targets, Tensor):
        mixed: Tensor = mixture.labels(as_weights(targets, logits.shape[1]))
        return mixed
    return {name: _mixed(target, mixture, logits[name]) for name, target in targets.items()}


def _detached(logits: Any) -> Any:
    """Return logits, or those of several heads by name, without their gradient."""
    if isinstance(logits, Tensor):
        return logits.detach()
    return {name: _detached(value) for name, value in logits.items()}
