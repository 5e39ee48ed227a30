"""Two-view batches of small images: resident on the device against the loader's workers.

Three ways to the same views (crop, flip, colours, grey, normalised) of images of 32 x 32 in JPEG files:

    resident   the images live on the device as one tensor, views are batch transforms there
    loader     workers read one image at a time, views are batch transforms on the device
    plain      workers read one image at a time and make its views by torchvision: the usual way

and two without views, which show what reading costs. The ways take turns, each over a whole epoch, with their workers
started and ended inside. Wall-clock time follows the number of cores; CPU time counts the workers too. On a GPU the
views of the first two are made there. Goal: an epoch of resident batches takes at most a quarter of the plain way's CPU
time.

    python benchmarks/resident_images.py
    python benchmarks/resident_images.py --data /data/cifar10 --images 50000
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as tv

from eztorch.datasets import EpochSampler, ImageDataset, collate
from eztorch.datasets.image_choices import ImageChoice
from eztorch.datasets.image_folder import list_images
from eztorch.datasets.resident_images import ImageMemory, ResidentImages
from eztorch.transforms import MultiCropTransform, OnlyInputTransform, batch

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def batch_views() -> MultiCropTransform:
    """Two views of a batch on its device."""
    view = batch.Compose(
        [
            batch.RandomResizedCrop(32, scale=(0.2, 1.0)),
            batch.RandomHorizontalFlip(),
            batch.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
            batch.RandomGrayscale(p=0.2),
            batch.Normalize(MEAN, STD),
        ]
    )
    return MultiCropTransform([{"transform": view, "num_views": 2}])


def sample_views() -> OnlyInputTransform:
    """Two views of a sample in a worker, by torchvision."""
    view = tv.Compose(
        [
            tv.RandomResizedCrop(32, scale=(0.2, 1.0)),
            tv.RandomHorizontalFlip(),
            tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            tv.RandomGrayscale(p=0.2),
            tv.ConvertImageDtype(torch.float32),
            tv.Normalize(MEAN, STD),
        ]
    )
    return OnlyInputTransform(MultiCropTransform([{"transform": view, "num_views": 2}]))


class Way:
    """A way to an epoch of batches: where samples come from, and what is done with a batch on the device.

    Args:
        dataset: Gives samples, or whole batches.
        views: Of a batch, on the device.
        device: Where batches are wanted.
        batch_size: Samples of a batch.
        workers: Processes that read.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        views: Callable[[Tensor], Any] | None,
        *,
        device: torch.device,
        batch_size: int,
        workers: int,
    ) -> None:
        self.sampler = EpochSampler(len(dataset))
        self.loader = DataLoader(
            dataset, batch_size, sampler=self.sampler, num_workers=workers, collate_fn=collate, drop_last=True
        )
        self.views, self.device = views, device
        self.seconds: list[float] = []
        self.cpu: list[float] = []

    def epoch(self, number: int) -> None:
        """Make the batches of an epoch, and note the times."""
        self.sampler.set_epoch(number)
        start, cpu = time.perf_counter(), cpu_time()
        for one in self.loader:
            given = one["input"]
            views = [view.to(self.device) for view in given] if isinstance(given, list) else given.to(self.device)
            if self.views is not None:
                self.views(views)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - start)
        self.cpu.append(cpu_time() - cpu)


def cpu_time() -> float:
    """CPU time of this process and of its workers that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def write_images(folder: Path, number: int) -> Path:
    """Write JPEG files of 32 x 32, smooth noise, in two class folders."""
    for index in range(number):
        coarse = np.random.default_rng(index).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        file = folder / "train" / f"class{index % 2}" / f"{index:05d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC).save(file, quality=90)
    return folder


def ways(folder: Path, number: int, device: torch.device, batch_size: int, workers: int) -> dict[str, Way]:
    """Return the ways by name."""
    source = list_images(folder / "train")
    images = ImageChoice(source, np.random.default_rng(0).permutation(len(source.labels))[:number])
    memory = ImageMemory(ImageDataset(images), device, limit_gb=8, num_workers=0, name="benchmark")
    start = time.perf_counter()
    memory.load()
    print(
        f"{len(memory)} images read once in {time.perf_counter() - start:.2f} s; device {device}, {workers} worker(s)"
    )
    resident = ResidentImages(memory, ImageDataset(images, training=True))
    views = batch_views().to(device)
    options = {"device": device, "batch_size": batch_size}
    return {
        "resident": Way(resident, views, workers=0, **options),
        "loader": Way(ImageDataset(images), views, workers=workers, **options),
        "plain": Way(ImageDataset(images, transform=sample_views()), None, workers=workers, **options),
        "resident, no views": Way(resident, None, workers=0, **options),
        "loader, no views": Way(ImageDataset(images), None, workers=workers, **options),
    }


def main() -> None:
    """Measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/<class>/<image> of 32 x 32; made by default")
    parser.add_argument("--images", type=int, default=4096, help="images of an epoch")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.data or write_images(Path(scratch), arguments.images)
        measured = ways(folder, arguments.images, device, arguments.batch_size, arguments.workers)
        for number in range(arguments.rounds):
            for way in measured.values():
                way.epoch(number)
    samples = len(measured["plain"].loader) * arguments.batch_size
    for name, way in measured.items():
        seconds, cpu = statistics.median(way.seconds), statistics.median(way.cpu)
        print(f"{name:18}  {seconds:7.3f} s, {samples / seconds:8.0f} images/s, CPU time {cpu:7.3f} s")
    for rival, goal in (("loader", ""), ("plain", " (goal: CPU time at least 4)")):
        print(f"ratio {rival} / resident: {ratio(measured, rival)}{goal}")
    print(f"ratio without views, loader / resident: {ratio(measured, 'loader, no views', 'resident, no views')}")


def ratio(measured: dict[str, Way], slow: str, fast: str = "resident") -> str:
    """Return how many times as much time one way takes as another."""
    clock, cpu = (
        statistics.median(getattr(measured[slow], key)) / statistics.median(getattr(measured[fast], key))
        for key in ("seconds", "cpu")
    )
    return f"{clock:.2f} in wall-clock time, {cpu:.2f} in CPU time"


if __name__ == "__main__":
    main()
