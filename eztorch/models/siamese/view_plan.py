"""Which views of a batch are keys, which are queries, and which of them are compared."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from eztorch.utils.errors import ConfigError, DataError


@dataclass(frozen=True)
class ViewPlan:
    """The views of a batch and what is done with them: global crops come first, local crops after them.

    Global crops may be keys and queries, local crops are queries only. A pair `(key, query)` is compared by the loss.

    With `num_splits` = n > 0 a global query view is cut into n x n patches that the trunk encodes one by one; the
    features of every combination of r = `num_splits_per_combination` patches are averaged before the projector, so
    that a view gives C(n^2, r) queries (Fast-MoCo, arXiv 2207.08220, section 3.2). Keys see the whole view.

    Args:
        num_global_crops: Number of global crops, at least 1.
        num_local_crops: Number of local crops.
        sym: True: every global crop is a key and is compared with every other view. False: view 0 is the key of all
            other views.
        mutual_pass: Views of the same shape go through the networks as one batch, which they then share the batch
            statistics of; False: one forward a view.
        num_splits: Patches along the height and along the width; 0 encodes the views whole.
        num_splits_per_combination: Patches of a combination.
        itself: Every view is key and query, and is compared with nothing but itself as another network sees it; then
            one view is enough, and `sym` must be false.

    Raises:
        ConfigError: A number is out of its range, or there is no pair of views.

    >>> ViewPlan(num_global_crops=2, num_local_crops=1, sym=True).pairs
    ((0, 1), (0, 2), (1, 0), (1, 2))
    >>> ViewPlan(num_global_crops=2, num_local_crops=1, sym=False).pairs
    ((0, 1), (0, 2))
    """

    num_global_crops: int = 2
    num_local_crops: int = 0
    sym: bool = False
    mutual_pass: bool = False
    num_splits: int = 0
    num_splits_per_combination: int = 2
    itself: bool = False

    def __post_init__(self) -> None:
        if self.num_global_crops < 1 or self.num_local_crops < 0:
            raise ConfigError(
                f"num_global_crops={self.num_global_crops} must be at least 1 "
                f"and num_local_crops={self.num_local_crops} at least 0."
            )
        if self.itself and self.sym:
            raise ConfigError("The views are not compared with one another, so there is no sym; write model.sym=false.")
        if self.num_views < 2 and not self.itself:
            raise ConfigError("num_global_crops=1 and num_local_crops=0 leave no pair of views to compare.")
        if self.num_splits < 0 or self.num_splits == 1:
            raise ConfigError(f"num_splits={self.num_splits} must be 0 (whole views) or at least 2.")
        if self.num_splits and not 1 <= self.num_splits_per_combination <= self.num_splits**2:
            raise ConfigError(
                f"num_splits_per_combination={self.num_splits_per_combination} must be between 1 and the "
                f"{self.num_splits**2} patches of num_splits={self.num_splits}."
            )

    @property
    def num_views(self) -> int:
        """Views of a sample."""
        return self.num_global_crops + self.num_local_crops

    @property
    def key_views(self) -> tuple[int, ...]:
        """Views that the target encodes."""
        if self.itself:
            return tuple(range(self.num_views))
        return tuple(range(self.num_global_crops)) if self.sym else (0,)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Compared views as (key, query)."""
        if self.itself:
            return tuple((view, view) for view in self.key_views)
        return tuple((k, q) for k in self.key_views for q in range(self.num_views) if q != k)

    @cached_property
    def query_views(self) -> tuple[int, ...]:
        """Views that the online networks encode, in ascending order."""
        return tuple(sorted({query for _, query in self.pairs}))

    def is_split(self, view: int) -> bool:
        """Say whether a query view is encoded patch by patch."""
        return self.num_splits > 0 and view < self.num_global_crops

    def check(self, views: Tensor | Sequence[Tensor]) -> list[Tensor]:
        """Return the views of a batch as a list.

        Raises:
            DataError: Their number is not that of the plan; the message names both.
        """
        views = [views] if isinstance(views, Tensor) else list(views)
        if len(views) != self.num_views:
            raise DataError(
                f"The batch has {len(views)} view(s) and the model expects {self.num_views} "
                f"(num_global_crops={self.num_global_crops}, num_local_crops={self.num_local_crops}); the clip "
                "sampler or the transform of the training set must make as many."
            )
        return views

    def passes(self, views: Sequence[Tensor], which: Sequence[int]) -> list[list[int]]:
        """Group views that go through a network together.

        Args:
            views: All views of the batch.
            which: Indices of the views to encode.

        Returns:
            Groups of indices in the order of `which`. Members of a group have the same shape and are all cut into
            patches or all whole; without `mutual_pass` every view is a group of its own.
        """
        if not self.mutual_pass:
            return [[index] for index in which]
        groups: dict[tuple[torch.Size, bool], list[int]] = {}
        for index in which:
            groups.setdefault((views[index].shape, self.is_split(index)), []).append(index)
        return list(groups.values())


def split_patches(x: Tensor, num_splits: int) -> Tensor:
    """Cut images or clips into n x n patches; a patch of a clip keeps all frames.

    Args:
        x: Images or clips, shape (B, ..., H, W).
        num_splits: n, patches along the height and along the width.

    Returns:
        Patches, shape (n^2 * B, ..., H / n, W / n): the top left one of every sample, then the next to its right, ...

    Raises:
        ConfigError: n does not divide the height or the width.

    >>> split_patches(torch.arange(4.0).reshape(1, 1, 2, 2), 2).flatten().tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    height, width = x.shape[-2:]
    if height % num_splits or width % num_splits:
        raise ConfigError(f"num_splits={num_splits} does not divide views of height {height} and width {width}.")
    rows = x.chunk(num_splits, dim=-2)
    return torch.cat([patch for row in rows for patch in row.chunk(num_splits, dim=-1)])


def combine_patches(h: Tensor, num_splits: int, num_per_combination: int) -> Tensor:
    """Average the features of every combination of patches.

    Args:
        h: Features of the patches in the order of `split_patches`, shape (n^2 * B, C).
        num_splits: n, patches along the height and along the width.
        num_per_combination: r, patches of a combination.

    Returns:
        Means, shape (M * B, C) with M = C(n^2, r): combinations in lexicographic order, the samples of each together.

    >>> combine_patches(torch.tensor([[0.0], [3.0], [6.0], [9.0]]), 2, 3).flatten().tolist()
    [3.0, 4.0, 5.0, 6.0]
    """
    patches = h.reshape(num_splits**2, -1, *h.shape[1:]).unbind()
    return torch.cat([torch.stack(some).mean(dim=0) for some in itertools.combinations(patches, num_per_combination)])
