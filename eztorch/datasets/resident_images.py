"""Images that live on the device as one tensor, and give whole batches there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from eztorch.datasets.failures import SampleFailure
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.reading import MAX_MISSES, ReadError, Sample, split_address, stand_in
from eztorch.utils.errors import DataError

_log = logging.getLogger("eztorch")
_CHUNK = 256


class ImageMemory:
    """The images of a data set as one uint8 tensor on a device, read when they are first needed.

    Args:
        dataset: Gives samples with `input` (uint8, shape (C, H, W), the same for all), `label` and `idx`, or a
            `SampleFailure`; it draws nothing.
        device: Where they live.
        limit_gb: Most memory that they may take, in GB (10^9 bytes).
        num_workers: Processes that read them, once.
        name: What messages call it.
    """

    def __init__(
        self, dataset: Dataset[Any], device: torch.device | str, *, limit_gb: float, num_workers: int, name: str
    ) -> None:
        self.dataset = dataset
        self.device = torch.device(device)
        self.limit_gb = limit_gb
        self.num_workers = num_workers
        self.name = name
        self.failures: dict[int, SampleFailure] = {}
        self._batch: dict[str, Tensor] = {}

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # map-style

    def load(self) -> None:
        """Read the images, if that was not done yet.

        Raises:
            DataError: Their sizes differ, they take more than the limit, or none can be read.
            ReadError: One cannot be read and the data set does not allow that.
        """
        if self._batch:
            return
        loader = DataLoader(
            self.dataset,
            batch_size=_CHUNK,
            num_workers=self.num_workers,
            collate_fn=list,
            generator=torch.Generator(),  # its own, so that nothing is drawn from the run's
        )
        images, first = torch.empty(0), -1
        numbers = torch.full((2, len(self)), -1)
        for start, chunk in zip(range(0, len(self), _CHUNK), loader, strict=True):
            good = []
            for place, item in enumerate(chunk, start):
                if isinstance(item, SampleFailure):
                    self.failures[place] = item
                    continue
                if first < 0:
                    images, first = self._allocate(item["input"]), place
                self._check(item["input"], images, place, first)
                numbers[:, place] = torch.tensor([item["label"], item["idx"]])
                good.append(place)
            if good:
                stacked = torch.stack([chunk[place - start]["input"] for place in good])
                images[torch.tensor(good, device=self.device)] = stacked.to(self.device)
        if first < 0:
            raise DataError(f"{self.name}: none of the {len(self)} images can be read; the first: {self.failures[0]}.")
        label, idx = numbers.to(self.device)
        self._batch = {"input": images, "label": label, "idx": idx}

    def batch(self, places: Sequence[int]) -> dict[str, Tensor]:
        """Return the samples of some places: `input`, shape (B, C, H, W), `label` and `idx`, shape (B,)."""
        self.load()
        chosen = torch.tensor(places).to(self.device, non_blocking=True)
        return {key: values.index_select(0, chosen) for key, values in self._batch.items()}

    def _allocate(self, image: Tensor) -> Tensor:
        size = len(self) * image.numel() / 1e9
        shape = " x ".join(str(side) for side in image.shape)
        needed = f"{len(self)} images of {shape} take {size:.2f} GB on {self.device}"
        if size > self.limit_gb:
            raise DataError(
                f"{self.name}: {needed}, more than datamodule.resident_limit_gb={self.limit_gb:g}. Raise it if the "
                "device has that much to spare, or write datamodule.resident=false."
            )
        _log.info(f"{self.name}: {needed}.")
        return torch.zeros((len(self), *image.shape), dtype=torch.uint8, device=self.device)

    def _check(self, image: Tensor, images: Tensor, place: int, first: int) -> None:
        if image.dtype != torch.uint8 or image.shape != images.shape[1:]:
            shapes = [" x ".join(str(side) for side in shape) for shape in (images.shape[1:], image.shape)]
            raise DataError(
                f"{self.name}: resident images are uint8 and of one size; {self._name_of(first)} is {shapes[0]} and "
                f"{self._name_of(place)} is {shapes[1]} ({image.dtype}). Write datamodule.resident=false, and crop in "
                "the transform of the split."
            )

    def _name_of(self, place: int) -> str:
        images = getattr(self.dataset, "images", None)
        return images.name(place) if images is not None else f"image {place}"


class ResidentImages(Dataset[Sample]):
    """Images in the memory of the device as a dataset that gives whole batches, in the order that it is asked for.

    Where an image could not be read, another stands in for it in training, the same as `ImageDataset` would give, with
    the failure in the batch's `failures`; in evaluation the failure is there alone.

    Args:
        memory: The images.
        training: Whether another image may stand in for one that cannot be read.
    """

    def __init__(self, memory: ImageMemory, *, training: bool) -> None:
        self.memory = memory
        self.training = training

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every image, shape (N,), -1 for none."""
        labels: NDArray[np.int64] = self.memory.dataset.labels  # type: ignore[attr-defined]
        return labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.memory)

    def __getitem__(self, address: SampleAddress | int) -> Sample:
        """Return one sample.

        Args:
            address: Epoch and index of the image; an index alone means epoch 0.
        """
        batch = self.__getitems__([address])
        return (
            batch if batch["input"] is None else {**batch, **{key: batch[key][0] for key in ("input", "label", "idx")}}
        )

    def __getitems__(self, addresses: Sequence[SampleAddress | int]) -> dict[str, Any]:
        """Return a batch, as a torch loader asks a dataset for it.

        Args:
            addresses: Epoch and index of each sample.

        Returns:
            `input`, uint8, shape (B, C, H, W), `label` and `idx`, shape (B,), on the device; `failures` if there are.
        """
        self.memory.load()
        places = [split_address(address) for address in addresses]
        if not self.memory.failures:
            return self.memory.batch([index for _, index in places])
        chosen, failures = [], []
        for epoch, index in places:
            place, missed = self._choose(epoch, index)
            failures += missed
            chosen += [] if place is None else [place]
        batch: dict[str, Any] = self.memory.batch(chosen) if chosen else {"input": None}
        return {**batch, "failures": failures} if failures else batch

    def _choose(self, epoch: int, index: int) -> tuple[int | None, list[SampleFailure]]:
        """Return which image is given at an address, and the failures on the way to it."""
        missed: list[SampleFailure] = []
        place = index
        while place in self.memory.failures:
            missed.append(self.memory.failures[place]._replace(epoch=epoch))
            if not self.training:
                return None, missed
            if len(missed) == MAX_MISSES:
                raise ReadError(*missed[-1][1:4])
            place = stand_in(len(self), epoch, index, len(missed))
        return place, missed
