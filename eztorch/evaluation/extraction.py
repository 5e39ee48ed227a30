"""Running a model over a split and writing its features, under a Trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from eztorch.evaluation.feature_store import FeatureStore
from eztorch.evaluation.feature_writer import FeatureWriter
from eztorch.evaluation.features import feature_loader, take_features
from eztorch.utils.errors import ConfigError


class _AsItIs:
    """A loader whose order is its own: Lightning makes another one of a `DataLoader` when it predicts."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader
        self.dataset = loader.dataset

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)


class _Extraction(LightningModule):
    """Takes features from the validation step of a model."""

    def __init__(self, model: LightningModule, writer: FeatureWriter, features: str) -> None:
        super().__init__()
        self.model = model
        self.writer = writer
        self.features = features

    def predict_step(self, batch: Mapping[str, Any], batch_idx: int) -> int:
        """Hand the features of a batch to the writer; return how many there are."""
        self.writer.add_failures(batch.get("failures") or ())
        outputs = self.model.validation_step(batch, batch_idx)
        if outputs is None:
            return 0
        values: Tensor = take_features(outputs, self.features, "extract.features")
        self.writer.add(values, batch)
        return len(values)


def write_features(
    trainer: Trainer,
    model: LightningModule,
    datamodule: LightningDataModule,
    split: str,
    writer: FeatureWriter,
    *,
    features: str,
    facts: Mapping[str, Any],
) -> FeatureStore:
    """Write the features of a split: what the validation step of a model gives for its samples, each of them once.

    Args:
        trainer: Where and with what precision the model runs.
        model: Its `validation_step` returns a mapping with the features, or None for a batch of failures alone.
        datamodule: It has `feature_dataloader(split)`.
        split: The split.
        writer: Where to.
        features: Name of the features in what the step returns.
        facts: What the index is to say of them.

    Raises:
        ConfigError: The datamodule has no such loader, no batch of it is read, or the step returns no features of that
            name.
    """
    loaders: list[_AsItIs] = []

    def loader() -> _AsItIs:
        loaders.append(_AsItIs(feature_loader(datamodule, split)))
        return loaders[0]

    datamodule.predict_dataloader = loader  # type: ignore[method-assign]  # Lightning asks the datamodule alone
    trainer.predict(_Extraction(model, writer, features), datamodule=datamodule, return_predictions=False)
    if not loaders:
        raise ConfigError("trainer.limit_predict_batches=0 leaves nothing to take features of.")
    return writer.close(loaders[0].dataset, {"split": split, "features": features, **facts})


class _Nothing(LightningModule):
    """Computes nothing."""

    def predict_step(self, batch: Any, batch_idx: int) -> int:
        """Return 0."""
        return 0


def start_processes(trainer: Trainer) -> None:
    """Start the processes of a trainer and let them find each other, as its first run would."""
    if trainer.world_size > 1:
        trainer.predict(_Nothing(), dataloaders=[[0]], return_predictions=False)
