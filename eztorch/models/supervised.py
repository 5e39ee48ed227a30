"""Supervised classification of videos and images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from eztorch.models.metrics import accuracies, evaluation_metric
from eztorch.models.steps import apply_transform, build_transform, configure_optimizer, is_empty, seed_step
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError


class SupervisedModel(LightningModule):
    """A classifier trained with cross-entropy.

    Training gives the scalars `train/{loss,acc_1,acc_5}` of every step; evaluation logs `{val,test}/{loss,acc_1,acc_5}`
    over all processes, with `n_evaluated` and, with a datamodule, `n_expected`, the numbers of videos or images that
    were measured and that there are. `acc_5` needs more than 5 classes. Samples without a label (-1) are left out.

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
    ) -> None:
        super().__init__()
        self.model: nn.Module = build(model)
        self.optimizer = optimizer
        self.train_transform = build_transform(train_transform)
        self.val_transform = build_transform(val_transform)
        self.test_transform = build_transform(test_transform)
        self.val_metric = evaluation_metric(val_time_augmentation, "model.val_time_augmentation")
        self.test_metric = evaluation_metric(test_time_augmentation, "model.test_time_augmentation")
        self.label_smoothing = label_smoothing
        self.data_classes = 0  # unknown

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
        total = F.cross_entropy(
            logits.float(), labels, ignore_index=-1, reduction="sum", label_smoothing=self.label_smoothing
        )
        loss = total / (labels >= 0).sum().clamp(min=1)
        values = {"loss": loss.detach(), **accuracies(logits.detach(), labels)}
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
        if is_empty(batch):
            return None
        logits = self(apply_transform(getattr(self, f"{split}_transform"), batch["input"]))
        self._check_labels(batch, logits.shape[1])
        getattr(self, f"{split}_metric").update(logits, batch["label"], batch["idx"])
        return {"logits": logits}

    def _log_evaluation(self, split: str) -> None:
        metric = getattr(self, f"{split}_metric")
        values = {name: float(value) for name, value in metric.compute().items()}
        metric.reset()
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]  # a connector sets it
        if datamodule is not None:
            values["n_expected"] = float(getattr(datamodule, f"{split}_num_samples"))
        # The values are those of all processes already; their mean, which Lightning asks for, is the same.
        self.log_dict({f"{split}/{name}": value for name, value in values.items()}, sync_dist=True)

    def _check_labels(self, batch: Mapping[str, Any], num_logits: int) -> None:
        """Refuse labels outside the logits, where that is known without waiting for the device.

        A datamodule checks its labels against its number of classes, so there it is enough to compare numbers.
        """
        if num_logits < self.data_classes:
            raise ConfigError(f"The model gives {num_logits} logits, and the data has {self.data_classes} classes.")
        labels = batch["label"]
        if labels.device.type != "cpu":
            return
        wrong = ((labels < -1) | (labels >= num_logits)).nonzero()
        if len(wrong):
            position = int(wrong[0])
            name = batch["video_name"][position] if "video_name" in batch else f"Sample {int(batch['idx'][position])}"
            raise DataError(
                f"{name} has label {int(labels[position])}; the model gives {num_logits} logits, for labels 0 to "
                f"{num_logits - 1} (-1: none)."
            )
