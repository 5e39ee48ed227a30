"""Random data, for tests and to measure speed without reading anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from eztorch.datasets.loader_samplers import SampleAddress
from eztorch.utils.randomness import addressed_randomness, generator, run_seed


class RandomDataset(Dataset[dict[str, Any]]):
    """Samples of noise. A sample is the same in every epoch; what its transform draws is not.

    Args:
        shape: Shape of a view.
        len_dataset: Number of samples.
        num_classes: Number of classes; sample i has the label `i % num_classes`.
        num_views: With more than one, the input is a list of views.
        uint8: Whether values are uint8 from 0 to 255; otherwise float32 from 0 to 1.
        transform: Applied to each sample.

    >>> RandomDataset([3, 2, 4, 4], 5, num_classes=2)[3]["input"].shape
    torch.Size([3, 2, 4, 4])
    """

    def __init__(
        self,
        shape: Sequence[int],
        len_dataset: int,
        *,
        num_classes: int,
        num_views: int = 1,
        uint8: bool = False,
        transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self.shape = tuple(shape)
        self.len_dataset = len_dataset
        self.num_classes = num_classes
        self.num_views = num_views
        self.uint8 = uint8
        self.transform = transform

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.len_dataset

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of every sample, shape (N,)."""
        return np.arange(self.len_dataset) % self.num_classes

    def __getitem__(self, address: SampleAddress | int) -> dict[str, Any]:
        """Make a sample.

        Args:
            address: Epoch and index of the sample; an index alone means epoch 0.
        """
        epoch, index = address if isinstance(address, SampleAddress) else (0, address)
        draws = generator(run_seed(), index)
        views = [self._view(draws) for _ in range(self.num_views)]
        sample = {"input": views if self.num_views > 1 else views[0], "label": index % self.num_classes, "idx": index}
        if self.transform is None:
            return sample
        with addressed_randomness(run_seed(), epoch, index):
            return self.transform(sample)

    def _view(self, draws: torch.Generator) -> Tensor:
        if self.uint8:
            return torch.randint(256, self.shape, generator=draws, dtype=torch.uint8)
        return torch.rand(self.shape, generator=draws)
