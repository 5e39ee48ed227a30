"""Supervised classification of videos and images."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from eztorch.models.criteria import WrongLabelError, make_criterion
from eztorch.models.evaluation_metric import failures_that_count
from eztorch.models.steps import apply_transform, build_transform, configure_optimizer, is_empty, seed_step
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError


class SupervisedModel(LightningModule):
    """A classifier of samples with one class each, or with several.

    Training gives the scalars `train/{loss,acc_1,acc_5}` of every step; evaluation logs `{val,test}/{loss,acc_1,acc_5}`
    over all processes, with `n_evaluated` and, with a datamodule, `n_expected`, the numbers of videos or images that
    were measured and that there are. `acc_5` needs more than 5 classes. Samples without a label (-1) are left out.
    Where a split has `on_error: count_as_wrong`, accuracies are over the failures too, and the loss is not.

    With `loss: bce` a sample has a weight for every class, `(B, K)`. `acc_k` is then the share of the samples with a
    class that have one of theirs among the k highest, and `map`, the mean average precision, joins in.

    Args:
        model: Module or spec, from an input, shape (B, C, T, H, W) or (B, C, H, W), to logits, shape (B, K).
        optimizer: Spec of an optimizer factory, see `eztorch.models.steps.configure_optimizer`.
        train_transform: Module or spec, applied to a batch on the device.
        val_transform: The same for validation.
        test_transform: The same for test.
        val_time_augmentation: How the views of a video are brought together: `{name: avg_group}`, `{name: same_avg}` or
            `{name: same_max}`, see `eztorch.models.metrics.evaluation_metric`. None measures every sample by itself.
        test_time_augmentation: The same for test.
        label_smoothing: Share of the target that is spread over all classes in training.
        loss: `cross_entropy` (classes, or soft labels) or `bce` (several labels); see `eztorch.models.criteria`.
    """

    counts_evaluated: ClassVar[bool] = True  # logs n_evaluated itself: `FailureMonitor` need not

    def __init__(
        self,
        model: nn.Module | Mapping[str, Any],
        optimizer: Any,
        *,
        train_transform: Any = None,
        val_transform: Any = None,
        test_transform: Any = None,
        val_time_augmentation: Mapping[str, Any] | None = None,
        test_time_augmentation: Mapping[str, Any] | None = None,
        label_smoothing: float = 0.0,
        loss: str = "cross_entropy",
    ) -> None:
        super().__init__()
        self.model: nn.Module = build(model)
        self.optimizer = optimizer
        self.train_transform = build_transform(train_transform)
        self.val_transform = build_transform(val_transform)
        self.test_transform = build_transform(test_transform)
        self.criterion = make_criterion(loss, label_smoothing=label_smoothing)
        self.val_metric = self.criterion.metric(val_time_augmentation, "model.val_time_augmentation")
        self.test_metric = self.criterion.metric(test_time_augmentation, "model.test_time_augmentation")
        self.data_classes = 0  # unknown
        self.has_checked_labels = False

    @property
    def num_layers(self) -> int:
        """Number of layers of the model, for layer-wise learning rates."""
        return int(self.model.num_layers)  # type: ignore[arg-type]  # nn.Module types attributes as tensors

    def get_param_layer_id(self, name: str) -> int:
        """Return the layer of a parameter by its name."""
        return int(self.model.get_param_layer_id(name.removeprefix("model.")))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, shape (B, K), of an input, shape (B, C, T, H, W) or (B, C, H, W)."""
        logits: Tensor = self.model(x)
        return logits

    def configure_optimizers(self) -> Any:
        """Build the optimizer and its scheduler."""
        return configure_optimizer(self, self.optimizer)

    def setup(self, stage: str) -> None:
        """Note how many classes the data has."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        self.data_classes = getattr(datamodule, "num_classes", 0)

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Any]:
        """Return the loss, the scalars and the logits, shape (B, K), of a batch."""
        seed_step(self, batch_idx)
        labels = batch["label"]
        logits = self(apply_transform(self.train_transform, batch["input"]))
        self._check_labels(batch, logits.shape[1])
        loss = self.criterion.loss(logits, labels)
        values = {"loss": loss.detach(), **self.criterion.accuracies(logits.detach(), labels)}
        scalars = {f"train/{name}": value for name, value in values.items()}
        return {"loss": loss, "scalars": scalars, "logits": logits.detach()}

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the logits, shape (B, K), of a batch; None for a batch of failures alone."""
        return self._evaluation_step(batch, "val")

    def test_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor] | None:
        """Return the logits, shape (B, K), of a batch; None for a batch of failures alone."""
        return self._evaluation_step(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self._log_evaluation("test")

    def _evaluation_step(self, batch: Mapping[str, Any], split: str) -> dict[str, Tensor] | None:
        metric, is_measured = getattr(self, f"{split}_metric"), self._is_measured()
        if is_measured:
            metric.add_failures(failures_that_count(batch))
        if is_empty(batch):
            return None
        logits = self(apply_transform(getattr(self, f"{split}_transform"), batch["input"]))
        self._check_labels(batch, logits.shape[1])
        if is_measured:
            metric.update(logits, self.criterion.answers(batch["label"]), batch["idx"])
        return {"logits": logits}

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

    def _check_labels(self, batch: Mapping[str, Any], num_logits: int) -> None:
        """Refuse labels that do not fit the logits or the loss, where that is known without waiting for the device.

        A datamodule checks its labels against its number of classes, so there it is enough to compare numbers; on a
        device the first batch alone is looked at.
        """
        if num_logits < self.data_classes:
            raise ConfigError(f"The model gives {num_logits} logits, and the data has {self.data_classes} classes.")
        if batch["label"].device.type != "cpu" and self.has_checked_labels:
            return
        self.has_checked_labels = True
        try:
            self.criterion.check(batch["label"], num_logits)
        except WrongLabelError as error:
            place = error.position
            name = batch["video_name"][place] if "video_name" in batch else f"Sample {int(batch['idx'][place])}"
            raise DataError(f"{name} {error}") from error
