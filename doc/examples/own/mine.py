"""Parts of one's own: a recipe names them as `_target_: mine.X`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eztorch.callbacks import ScalarSource
from eztorch.datamodules import VideoBaseDataModule
from eztorch.datasets.annotations import Annotation, LabeledVideo
from eztorch.models.siamese import SiameseModel
from eztorch.modules import gather_with_gradient


# --8<-- [start:data]
class MyVideos(VideoBaseDataModule):
    """Videos whose lists have lines `<path>;<name of the class>`: `lists/train.txt`, `lists/val.txt`."""

    num_classes = 2
    lists = "lists"  # the folder of the lists in `datadir`
    media = "videos"  # and the folder that their paths start from

    def read_lists(self, folder: Path, subset: str, *, frame_folders: bool | None) -> Annotation:
        """Read a list; labels are the classes in alphabetical order."""
        lines = [line.split(";") for line in (folder / f"{subset}.txt").read_text().splitlines()]
        classes = sorted({name for _, name in lines})
        return Annotation([LabeledVideo(path, classes.index(name)) for path, name in lines], tuple(classes))


# --8<-- [end:data]
# --8<-- [start:images]
class MyImages:
    """Pairs of an image and a label, from a file of numpy: `images` (N, H, W, 3) in bytes, and `labels` (N,)."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            self.images, self.targets = file["images"], file["labels"]  # `targets`: the labels, known before reading

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.images[index], int(self.targets[index])


# --8<-- [end:images]
# --8<-- [start:trunk]
class ClipNet(nn.Module):
    """Three convolutions over clips: (B, 3, T, H, W) to features (B, width), or to (B, num_classes) scores."""

    def __init__(self, width: int, num_classes: int = 0) -> None:
        super().__init__()
        channels = (3, width // 4, width // 2, width)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(nn.Conv3d(a, b, 3, stride=(1, 2, 2), padding=1, bias=False), nn.BatchNorm3d(b), nn.ReLU())
                for a, b in itertools.pairwise(channels)
            )
        )
        self.num_features = width  # heads, probes and the checks before a run ask for it
        self.fc = nn.Linear(width, num_classes) if num_classes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return features, or scores."""
        return self.fc(self.stages(x).mean(dim=(2, 3, 4)))


# --8<-- [end:trunk]
# --8<-- [start:transforms]
class RandomReverse:
    """For the workers: plays a clip (C, T, H, W) backwards with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, clip: Tensor) -> Tensor:
        """Return the clip."""
        return clip.flip(1) if torch.rand(()) < self.p else clip


class RandomGamma(nn.Module):
    """For the device: raises the values of a batch (B, C, ...), 0 to 1, to a power, one for each sample."""

    def __init__(self, low: float = 0.7, high: float = 1.5) -> None:
        super().__init__()
        self.low, self.high = low, high

    def forward(self, batch: Tensor) -> Tensor:
        """Return the batch."""
        gamma = torch.empty(len(batch)).uniform_(self.low, self.high)
        return batch ** gamma.to(batch.device).view(-1, *[1] * (batch.ndim - 1))


# --8<-- [end:transforms]
# --8<-- [start:method]
def alignment_and_uniformity(x: Tensor, y: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """Return both losses of Wang and Isola (arXiv 2005.10242) for two views, features of length 1, shape (B, D)."""
    uniformity = [torch.pdist(z).square().mul(-t).exp().mean().log() for z in (x, y)]
    return (x - y).square().sum(dim=1).mean(), torch.stack(uniformity).mean()


class AlignmentModel(SiameseModel):
    """Views of a sample lie near each other, and all samples spread over the sphere (arXiv 2005.10242)."""

    def __init__(self, *, t: float = 2.0, weight: float = 1.0, **shared: Any) -> None:
        super().__init__(sym=True, **shared)
        self.require_all_views()
        self.t, self.weight = t, weight

    def compute_loss(
        self, queries: Mapping[int, Any], keys: Mapping[int, Tensor], batch: Mapping[str, Any]
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss, and what is logged beside it as `pretrain/alignment` and `pretrain/uniformity`."""
        x, y = (gather_with_gradient(queries[view].z[0]) for view in (0, 1))  # of all processes
        alignment, uniformity = alignment_and_uniformity(x, y, self.t)
        scalars = {"alignment": alignment.detach(), "uniformity": uniformity.detach()}
        return alignment + self.weight * uniformity, scalars


# --8<-- [end:method]
# --8<-- [start:callback]
class FeatureLength(ScalarSource):
    """Logs the mean length of the features of the trunk, `health/length`."""

    def __init__(self) -> None:
        self._lengths: list[Tensor] = []

    def observe(self, outputs: Any, batch: Any) -> None:
        """Keep the length of a step; nothing waits for the device."""
        self._lengths.append(outputs["h"].norm(dim=1).mean())

    def collect(self, trainer: Any, pl_module: Any) -> Mapping[str, Tensor]:
        """Return the mean since the last call, when scalars are written."""
        mean = torch.stack(self._lengths).mean()
        self._lengths.clear()
        return {"health/length": mean}


# --8<-- [end:callback]
