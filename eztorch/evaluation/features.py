"""The features of a data set, each sample once, whatever the number of processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from eztorch.models.evaluation_metric import failures_that_count
from eztorch.utils.distributed import all_gather_uneven
from eztorch.utils.errors import ConfigError
from eztorch.utils.randomness import addressed_randomness, run_seed


class LabelledFeatures(NamedTuple):
    """Features of samples.

    Attributes:
        features: Float32, shape (N, C).
        labels: Classes, -1 where there is none, shape (N,); of samples with several labels the weights of the
            classes, shape (N, K).
        idx: Index of the sample in its data set, shape (N,).
        num_wrong: How many further samples could not be read and count as wrong answers.
    """

    features: Tensor
    labels: Tensor
    idx: Tensor
    num_wrong: int = 0


def extract_features(
    module: nn.Module,
    loader: Iterable[Mapping[str, Any]],
    *,
    input_name: str = "h",
    step: Callable[[Any, int], Any] | None = None,
    move: Callable[[Any], Any] | None = None,
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> LabelledFeatures:
    """Run a module over a loader and return the features of every sample, gathered from all ranks.

    The module runs in evaluation mode and is put back as it was, its batch statistics and the random generators
    included. Several clips of a sample are averaged; a sample that could not be read is missing.

    Args:
        module: Its `validation_step(batch, batch_idx)` returns a mapping with the features, or None for an empty batch.
        loader: Batches with `label` and `idx`; on each rank its own part of the samples.
        input_name: Name of the features in what the step returns.
        step: What to call in place of `module.validation_step`.
        move: Brings a batch to the device; by default to that of the module's parameters.
        context: Context of each step, such as the one of a precision.

    Returns:
        One row a sample in the order of `idx`, the same on every rank, on the device of the features.

    Raises:
        ConfigError: The step returns no features of that name, or there is no sample at all.
    """
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    step = step or module.validation_step  # type: ignore[assignment]  # a LightningModule has it
    move = move or (lambda batch: move_data_to_device(batch, device))
    rows = FeatureRows(input_name)
    with torch.no_grad(), evaluating(module), _own_randomness(device):
        for index, batch in enumerate(loader):
            batch = move(batch)
            with context():
                outputs = step(batch, index)  # type: ignore[misc]
            rows.add(outputs, batch)
        return rows.together(device)


def extract_in_run(trainer: Trainer, module: nn.Module, loader: Any, *, input_name: str = "h") -> LabelledFeatures:
    """Return what `extract_features` does, on the device and with the precision of a trainer."""
    precision = trainer.precision_plugin
    return extract_features(
        module,
        loader,
        input_name=input_name,
        move=lambda batch: trainer.strategy.batch_to_device(precision.convert_input(batch)),
        context=precision.val_step_context,
    )


def feature_loader(datamodule: Any, split: str) -> DataLoader[Any]:
    """Return the loader that features of a split are taken of: read as in evaluation, each sample once.

    Raises:
        ConfigError: The datamodule has none.
    """
    if not hasattr(datamodule, "feature_dataloader"):
        raise ConfigError("Features are taken of `datamodule.feature_dataloader(split)`, and there is none.")
    loader: DataLoader[Any] = datamodule.feature_dataloader(split)
    return loader


class FeatureRows:
    """The features of the batches that this process has seen.

    Args:
        input_name: Name of the features in what a step returns.
    """

    def __init__(self, input_name: str = "h") -> None:
        self._input_name = input_name
        self._rows: list[LabelledFeatures] = []
        self._num_wrong = 0
        self._failures: list[Any] = []

    def add(self, outputs: Any, batch: Mapping[str, Any]) -> None:
        """Take the features of a batch.

        Args:
            outputs: What the step returned; None for a batch of failures alone.
            batch: With `label` and `idx`.

        Raises:
            ConfigError: The step returns no features of that name.
        """
        self._num_wrong += len(failures_that_count(batch))
        self._failures += batch.get("failures") or ()
        if outputs is not None:
            self._rows.append(_rows(outputs, batch, self._input_name))

    def together(self, device: torch.device) -> LabelledFeatures:
        """Return the rows of all ranks, one a sample in the order of `idx`, the same on every rank.

        Args:
            device: Of the process group.

        Raises:
            ConfigError: There is no sample at all; the message has the first that this process could not read.
        """
        rows = _average_clips(_gather(self._rows, self._failures, device))
        return rows._replace(num_wrong=int(all_gather_uneven(torch.tensor([self._num_wrong], device=device)).sum()))


def take_features(outputs: Any, name: str, key: str) -> Tensor:
    """Return the features that an evaluation step gave.

    Args:
        outputs: What the step returned.
        name: Name of the features in it.
        key: The key that the name came from, for the message.

    Raises:
        ConfigError: There are none of that name.
    """
    if not isinstance(outputs, Mapping) or outputs.get(name) is None:
        names = sorted(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        hint = ""
        if name == "h" and names == ["logits"]:
            hint = (
                f" The trunk of this model does not stand apart from its classifier: {key}=logits takes its answers. "
                "Its features are those of an experiment with such a trunk (model: trunk_features) and "
                "pretrained.path=CHECKPOINT."
            )
        raise ConfigError(f"{key}={name!r}: the validation step returns {names}.{hint}")
    found: Tensor = outputs[name]
    return found


def _rows(outputs: Any, batch: Mapping[str, Any], input_name: str) -> LabelledFeatures:
    features = take_features(outputs, input_name, "input_name").float()
    return LabelledFeatures(features, batch["label"], batch["idx"])


def _gather(rows: list[LabelledFeatures], failures: Sequence[Any], device: torch.device) -> LabelledFeatures:
    """Concatenate the rows of all ranks; a rank may have none."""
    local = [[row.features for row in rows], [row.labels for row in rows], [row.idx.long() for row in rows]]
    # A rank without rows learns from the others how long theirs are; 0 for one number a row.
    shapes = [[part[0].shape[1] if part and part[0].ndim == 2 else 0 for part in local]]
    widths = all_gather_uneven(torch.tensor(shapes, device=device)).amax(dim=0).tolist()
    if not widths[0]:
        first = failures[0] if failures else None
        read = f" None of {len(failures)} could be read, the first: {first.path}: {first.reason}." if first else ""
        raise ConfigError(f"There is no sample to take features of.{read}")
    parts = []
    for tensors, width, is_index in zip(local, widths, (False, False, True), strict=True):
        dtype = torch.long if is_index or not width else torch.float32
        none = torch.zeros((0, width) if width else 0, dtype=dtype, device=device)
        parts.append(all_gather_uneven(torch.cat(tensors).to(dtype) if tensors else none))
    features, labels, idx = parts
    return LabelledFeatures(features, labels, idx)


def _average_clips(rows: LabelledFeatures) -> LabelledFeatures:
    """Average the rows of the same `idx`."""
    idx, group, counts = rows.idx.unique(return_inverse=True, return_counts=True)
    sums = rows.features.new_zeros(len(idx), rows.features.shape[1]).index_add_(0, group, rows.features)
    labels = rows.labels.new_empty(len(idx), *rows.labels.shape[1:]).index_copy_(0, group, rows.labels)
    return LabelledFeatures(sums / counts[:, None], labels, idx)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode and each of its parts back in its own mode."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Keep the generators of the run as they are: starting a loader draws from them."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), addressed_randomness(run_seed()):
        yield
