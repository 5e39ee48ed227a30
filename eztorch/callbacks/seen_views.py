"""What a test has seen of the views of its videos."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from eztorch.evaluation.predictions import ViewScores
from eztorch.utils.distributed import all_gather_list, all_gather_rows


class SeenViews:
    """Keeps account of the views of the batches of this process; what it returns is of all processes.

    Every process has to ask for the same things in the same order.

    Args:
        keep: Whether to keep the scores of the views.
    """

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._names: dict[int, str] = {}
        self._shapes: set[tuple[int, ...]] = set()
        self._crops: dict[str, set[int]] = {"clip_index": set(), "aug_index": set()}
        self._rows: dict[str, list[tuple[Tensor, Tensor, Tensor, Tensor]]] = {}

    def add(self, batch: Mapping[str, Any], logits: Mapping[str, Tensor]) -> None:
        """Take a batch and the logits of its views by target, shape (B, K)."""
        names = batch.get("video_name")
        if isinstance(names, list | tuple):
            self._names.update(zip(batch["idx"].tolist(), map(str, names), strict=True))
        inputs = batch["input"]
        for one in inputs if isinstance(inputs, list | tuple) else [inputs]:
            self._shapes.add(tuple(one.shape[1:]))
        places = []
        for key, crops in self._crops.items():
            place = batch.get(key)
            place = place if isinstance(place, Tensor) else torch.zeros_like(batch["idx"])
            crops.update(place.tolist())
            places.append(place.cpu())
        if self._keep:
            for target, one in logits.items():
                row = (batch["idx"].cpu(), places[0], places[1], one.detach().float().cpu())
                self._rows.setdefault(target, []).append(row)

    def facts(self, counts: Tensor) -> dict[str, Any]:
        """Return how many views there were, and of which size.

        Args:
            counts: Number of views of each video, shape (V,).
        """
        seen = all_gather_list([(self._shapes, self._crops)])
        shapes = sorted(set().union(*(shapes for shapes, _ in seen)))
        temporal, spatial = (len(set().union(*(crops[key] for _, crops in seen))) for key in self._crops)
        return {
            "views": {
                "temporal": temporal,
                "spatial": spatial,
                "fewest": int(counts.min()) if len(counts) else 0,
                "most": int(counts.max()) if len(counts) else 0,
            },
            "input": [list(shape) for shape in shapes],
        }

    def names(self, idx: Tensor, dataset: Any) -> tuple[str, ...]:
        """Return what each video is called, or what the data set calls it; nothing where some have no name.

        Args:
            idx: Indices of the videos, shape (V,).
            dataset: The data set.
        """
        known = dict(all_gather_list(list(self._names.items())))
        if hasattr(dataset, "name"):
            known = {place: str(dataset.name(place)) for place in idx.tolist() if place not in known} | known
        return tuple(known[place] for place in idx.tolist()) if all(p in known for p in idx.tolist()) else ()

    def scores(self, target: str, device: torch.device, *, multi_label: bool) -> ViewScores | None:
        """Return the views by themselves, where they were kept.

        Args:
            target: Whose scores.
            device: Of the process group.
            multi_label: Whether each class has a probability of its own.
        """
        if not self._keep:
            return None
        none = torch.empty(0, dtype=torch.long)
        rows = zip(*self._rows.get(target, []), strict=True)
        local = [torch.cat(part) for part in rows] or [none, none, none, torch.empty(0, 0)]
        idx, clip, aug, logits = (all_gather_rows(part, device) for part in local)
        order = sorted(range(len(idx)), key=lambda row: (int(idx[row]), int(clip[row]), int(aug[row])))
        scores = logits.double().sigmoid() if multi_label else logits.double().softmax(dim=1)
        return ViewScores(idx[order], clip[order], aug[order], scores[order].float())
