"""The whole datamodule against the sum of its parts, against the plain way, and bytes against floats on the way.

    python benchmarks/loader.py [--quick]

Two clips of 8 frames of each video (340 x 256, 10 s, key frames every 12, 30 and 250 frames, made here), each cut at
random and scaled to 224, in batches of 4 videos from 2 workers.

- `datamodule`: `VideoDataModule` with decoder `pyav`; bytes all the way.
- `parts`: workers that decode and cut as many samples, and give nothing. The overhead of the datamodule is what its
  processes use more than these: drawing, collating, sending. Goal: less than 10 %, in CPU time; the two take turns.
- `plain`: a dataset that decodes, converts and casts every frame of each clip, picks, and cuts floats, in the same
  loader. Goal: the datamodule gives 5 times as many samples a second.
- `bytes`, `floats`: a dataset that gives ready clips, so that only their way from the workers is measured. Goal: 3
  times as many samples a second as bytes. `torch`: the same bytes the way that torch's own collating sends them.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import gc
import resource
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from decode import KEY_FRAMES, plain, write_video
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from eztorch.datamodules import VideoDataModule
from eztorch.datasets import collate
from eztorch.datasets.clip_samplers import RandomMultiClipSampler
from eztorch.datasets.decoders import PyAVDecoder, UniformSubsample
from eztorch.transforms import OnlyInputListTransform
from eztorch.transforms.video import RandomResizedCrop

WINDOW, BATCH, WORKERS = Fraction(256, 100), 4, 2
CROP = RandomResizedCrop(224, 224, (0.2, 0.766), (0.75, 1.3333))


class PartsDataset(Dataset[Tensor]):
    """The decoding and cutting of two clips of a video, without its result."""

    def __init__(self, videos: list[Path]) -> None:
        self.videos = videos
        self.decoder = PyAVDecoder(frame_filter=UniformSubsample(8))

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> Tensor:
        starts = [Fraction(int(start), 1000) for start in torch.randint(7440, (2,))]
        with self.decoder.open(str(self.videos[index])) as reader:
            clips = reader.get_clips([(start, start + WINDOW) for start in starts])
        for clip in clips:
            CROP(clip.video)
        return torch.tensor(index)


class PlainDataset(Dataset[list[Tensor]]):
    """Two clips of a video, the plain way."""

    def __init__(self, videos: list[Path]) -> None:
        self.videos = videos

    def __len__(self) -> int:
        return len(self.videos)

    def __getitem__(self, index: int) -> list[Tensor]:
        starts = [Fraction(int(torch.randint(7400, ())), 1000) for _ in range(2)]
        return [CROP(plain(self.videos[index], start, start + WINDOW, UniformSubsample(8))) for start in starts]


class ReadyDataset(Dataset[dict[str, list[Tensor]]]):
    """Two clips that are there already."""

    def __init__(self, length: int, dtype: torch.dtype) -> None:
        self.length = length
        self.clip = torch.ones((3, 8, 224, 224), dtype=dtype)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, list[Tensor]]:
        return {"input": [self.clip, self.clip]}


def cpu_seconds() -> float:
    """CPU time of this process and of those of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def read_all(loader: DataLoader[Any]) -> tuple[int, float, float]:
    """Read an epoch; return its samples, the samples a second behind the first batch, and the CPU time of all."""
    begin_cpu, begin, batches = cpu_seconds(), 0.0, 0
    for _ in loader:
        begin = begin or time.perf_counter()
        batches += 1
    seconds = time.perf_counter() - begin
    gc.collect()  # the workers have ended, so that their time is counted
    return batches * BATCH, (batches - 1) * BATCH / seconds, cpu_seconds() - begin_cpu


def datamodule(folder: Path, num_folds: int) -> VideoDataModule:
    """The datamodule, an epoch of which passes `num_folds` times over the videos."""
    split = {
        "clip_sampler": RandomMultiClipSampler(WINDOW, num_clips=2),
        "transform": OnlyInputListTransform(CROP),
        "loader": {"num_workers": WORKERS, "persistent_workers": False},
        "global_batch_size": BATCH,
        "num_folds": num_folds,
    }
    uniform = {"frame_filter": {"subsample_type": "uniform", "num_samples": 8}}
    return VideoDataModule(1, folder, train=split, decoder_args=uniform)


def loader(dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
    """A loader with the settings of the datamodule's."""
    return DataLoader(dataset, BATCH, num_workers=WORKERS, **options)


def cpu_of_a_sample(few: DataLoader[Any], many: DataLoader[Any]) -> float:
    """Return the CPU seconds a sample, without what it takes to start the workers."""
    (fewer, _, less), (more, _, longer) = read_all(few), read_all(many)
    return (longer - less) / (more - fewer)


def print_goal(what: str, value: float, goal: float, *, at_most: bool = False) -> None:
    """Print a figure beside its goal."""
    met = value <= goal if at_most else value >= goal
    print(f"  {what}: {value:.2f}; goal {'at most' if at_most else 'at least'} {goal}: {'met' if met else 'MISSED'}")


def main() -> None:
    """Make the videos, measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few videos and batches")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.manual_seed(0)
    seeds, folds, turns = (2, 6, 1) if quick else (4, 8, 4)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "train", "videos")
        folder.mkdir(parents=True)
        videos = [folder / f"{key_frames}_{seed}.mp4" for seed in range(seeds) for key_frames in KEY_FRAMES]
        for video in videos:
            write_video(video, *map(int, video.stem.split("_")))
        videos = videos[: len(videos) // BATCH * BATCH]
        for video in set(folder.iterdir()) - set(videos):
            video.unlink()
        whole, decoding = 0.0, 0.0
        for _ in range(turns):
            once, often = (datamodule(Path(temporary), n).train_dataloader() for n in (1, 1 + folds))
            whole += cpu_of_a_sample(once, often) / turns
            once, often = (loader(PartsDataset(videos * n)) for n in (1, 1 + folds))
            decoding += cpu_of_a_sample(once, often) / turns
        rate = read_all(datamodule(Path(temporary), 1 + folds).train_dataloader())[1]
        plain_rate = read_all(loader(PlainDataset(videos * folds)))[1]
        ways = {
            (dtype, way): read_all(loader(ReadyDataset(400 if quick else 1600, dtype), collate_fn=way))[1]
            for dtype, way in ((torch.uint8, collate), (torch.float32, collate), (torch.uint8, default_collate))
        }
    print(f"parts {decoding * 1e3:.1f} ms of CPU time a sample, datamodule {whole * 1e3:.1f} ms")
    print_goal("the whole over the sum of its parts", whole / decoding, 1.1, at_most=True)
    print(f"datamodule {rate:.1f} samples a second from {WORKERS} workers, plain {plain_rate:.1f}")
    print_goal("times as many as plain", rate / plain_rate, 5)
    bytes_rate, floats_rate, torch_rate = ways.values()
    print(f"ready clips: bytes {bytes_rate:.0f} samples a second, floats {floats_rate:.0f}, torch {torch_rate:.0f}")
    print_goal("times as many as bytes", bytes_rate / floats_rate, 3)
    print(f"  times as many as torch's collating sends: {bytes_rate / torch_rate:.2f}")


if __name__ == "__main__":
    main()
