"""From the samples of a dataset to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import default_collate

from eztorch.datasets.failures import SampleFailure
from eztorch.datasets.sending import Outbox
from eztorch.utils.errors import DataError


def collate(items: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """Put the samples of a batch together.

    An item that is a list of samples (the clips of a video, in order) is taken apart: its samples follow one another
    in the batch. A value that is a list (the views of a sample) becomes a list of batches. Tensors keep the order of
    their memory, so a batch of pictures may have its channels last. Videos that could not be read, and those that a
    sample carries because it stands in for them, are gathered.

    Args:
        items: What a dataset returned: samples, lists of samples, or `SampleFailure`s; a mapping is a whole batch, of
            a dataset that gives such, and stays as it is.

    Returns:
        The batch: every key of the samples, and `failures`, a list of `SampleFailure`, when there are any. A batch of
        failures alone is `{"input": None, "failures": [...]}`.

    Raises:
        DataError: Values that do not stack; the message names the samples and the shapes.
    """
    if isinstance(items, Mapping):
        return dict(items)
    samples: list[Mapping[str, Any]] = []
    failures: list[SampleFailure] = []
    for item in items:
        for sample in item if isinstance(item, list) else [item]:
            if isinstance(sample, SampleFailure):
                failures.append(sample)
            else:
                samples.append(sample)
                failures.extend(sample.get("failures", ()))
    batch: dict[str, Any] = {"input": None}
    if samples:
        outbox = Outbox()
        batch = {key: _stack(key, samples, outbox) for key in samples[0] if key != "failures"}
    if failures:
        batch["failures"] = failures
    return batch


# Lists of samples are always taken apart, so the name that asks for it has nothing to add.
multiple_samples_collate = collate

COLLATE_FUNCTIONS = {"default": collate, "multiple_samples_collate": multiple_samples_collate}


def _stack(key: str, samples: Sequence[Mapping[str, Any]], outbox: Outbox) -> Any:
    missing = [sample for sample in samples if key not in sample]
    if missing:
        raise DataError(
            f"{_name(missing[0])} has no {key!r}, which {_name(samples[0])} has; all samples need the same keys."
        )
    try:
        return _stack_values([sample[key] for sample in samples], outbox)
    except (RuntimeError, TypeError, ValueError) as error:
        shapes = {str(_shape(sample[key])): _name(sample) for sample in reversed(samples)}
        if len(shapes) == 1:
            raise
        listed = "; ".join(f"{shape} of {name}" for shape, name in reversed(shapes.items()))
        raise DataError(
            f"The samples of a batch do not stack, {key!r} has different shapes: {listed}. Different numbers of "
            "frames: use decoder_args.frame_filter or eztorch.transforms.video.UniformTemporalSubsample. Different "
            "heights or widths: crop in the transform, with eztorch.transforms.video.RandomResizedCrop or "
            "UniformCropVideo (images: eztorch.transforms.RandomResizedCrop). Different numbers of views: use one "
            "number of clips for all videos."
        ) from error


def _stack_values(values: Sequence[Any], outbox: Outbox) -> Any:
    if isinstance(values[0], list):
        return [_stack_values(view, outbox) for view in zip(*values, strict=True)]
    if all(isinstance(value, Tensor) for value in values):
        return outbox.stack(values)
    # Numbers have single precision, as every other number of the batch.
    batched = torch.tensor(values) if isinstance(values[0], float) else default_collate(list(values))
    return outbox.send(batched) if isinstance(batched, Tensor) else batched


def _shape(value: Any) -> Any:
    if isinstance(value, Tensor):
        return tuple(value.shape)
    return [_shape(view) for view in value] if isinstance(value, list) else type(value).__name__


def _name(sample: Mapping[str, Any]) -> str:
    return str(sample.get("video_name", f"sample {sample.get('idx', '?')}"))
