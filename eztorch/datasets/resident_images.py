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

from eztorch.datasets.collate import collate
from eztorch.datasets.concat import class_names_of
from eztorch.datasets.failures import SampleFailure
from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.datasets.reading import Item, Sample, split_address
from eztorch.utils.errors import DataError

_log = logging.getLogger("eztorch")
_CHUNK = 256


class ImageMemory:
    """The images of a data set as one uint8 tensor on a device, read when they are first needed.

    Args:
        dataset: Gives samples with `input` (uint8, shape (C, H, W), the same for all), `label` and `idx`, and what is
            left of those that cannot be read: a `SampleFailure`, or a sample with `failures`. It draws nothing else.
        device: Where they live.
        limit_gb: Most memory that they may take, in GB (10^9 bytes).
        num_workers: Processes that read them, once.
        name: What messages call it.

    Attributes:
        unreadable: Indices of the images that could not be read.
    """

    def __init__(
        self, dataset: Dataset[Any], device: torch.device | str, *, limit_gb: float, num_workers: int, name: str
    ) -> None:
        self.dataset = dataset
        self.device = torch.device(device)
        self.limit_gb = limit_gb
        self.num_workers = num_workers
        self.name = name
        self.unreadable: set[int] = set()
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
                if isinstance(item, SampleFailure) or "failures" in item:
                    self.unreadable.add(place)
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
            raise DataError(f"{self.name}: none of the {len(self)} images can be read; the first is {self.name_of(0)}.")
        label, idx = numbers.to(self.device)
        self._batch = {"input": images, "label": label, "idx": idx}

    def batch(self, places: Sequence[int]) -> dict[str, Tensor]:
        """Return samples as a batch on the device: `input`, shape (B, C, H, W), `label` and `idx`, shape (B,)."""
        self.load()
        chosen = torch.tensor(places).to(self.device, non_blocking=True)
        return {key: values.index_select(0, chosen) for key, values in self._batch.items()}

    def sample(self, place: int) -> Sample:
        """Return one sample, its `input` on the CPU, shape (C, H, W)."""
        one = {key: values[0].cpu() for key, values in self.batch([place]).items()}
        return {"input": one["input"], "label": int(one["label"]), "idx": int(one["idx"])}

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
                f"{self.name}: resident images are uint8 and of one size; {self.name_of(first)} is {shapes[0]} and "
                f"{self.name_of(place)} is {shapes[1]} ({image.dtype}). Write datamodule.resident=false, and crop in "
                "the transform of the split."
            )

    def name_of(self, place: int) -> str:
        """Return what messages call an image."""
        return str(self.dataset.name(place)) if hasattr(self.dataset, "name") else f"image {place}"


class ResidentImages(Dataset[Item]):
    """Images in the memory of the device as a dataset that gives whole batches, in the order that it is asked for.

    Args:
        memory: The images.
        dataset: The data set that they are of. It is asked again for those that could not be read, so what is done
            about them is what the data set does.
    """

    def __init__(self, memory: ImageMemory, dataset: Dataset[Any]) -> None:
        self.memory = memory
        self.dataset = dataset

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every image, shape (N,), -1 for none."""
        labels: NDArray[np.int64] = self.dataset.labels  # type: ignore[attr-defined]
        return labels

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of their labels, empty where they have none."""
        return class_names_of(self.dataset)

    def name(self, index: int) -> str:
        """Return what messages call an image."""
        return self.memory.name_of(index)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.memory)

    def __getitem__(self, address: SampleAddress | int) -> Item:
        """Return one sample.

        Args:
            address: Epoch and index of the image; an index alone means epoch 0.
        """
        _, place = split_address(address)
        self.memory.load()
        item: Item = self.dataset[address] if place in self.memory.unreadable else self.memory.sample(place)
        return item

    def __getitems__(self, addresses: Sequence[SampleAddress | int]) -> dict[str, Any]:
        """Return a batch, as a torch loader asks a dataset for it.

        Args:
            addresses: Epoch and index of each sample.

        Returns:
            `input`, uint8, shape (B, C, H, W), `label` and `idx`, shape (B,), on the device; `failures` if there are.
        """
        places = [split_address(address)[1] for address in addresses]
        self.memory.load()
        if self.memory.unreadable.isdisjoint(places):
            return dict(self.memory.batch(places))
        batch = collate([self[address] for address in addresses])
        return {key: x.to(self.memory.device) if isinstance(x, Tensor) else x for key, x in batch.items()}
