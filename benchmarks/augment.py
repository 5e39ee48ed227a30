"""Batch transforms: the chain of contrastive pretraining against torchaug's, and torchvision's sample by sample.

Clips 16 x 3 x 8 x S x S in uint8 go through colour jitter, grey, blur, solarisation, flip and normalisation, each clip
with its own draws, the same on its frames. The chains take turns on one thread; printed are medians of the CPU time,
and the peak of memory beyond the input, each measured in a process of its own (Linux). Every operation is also compared
with torchaug's on the same parameters.

    python benchmarks/augment.py [--repetitions 3]

Goals: at least 2 times as fast as torchaug 0.3.3 and 4 times as torchvision, at 112 and at 224, a third of torchaug's
memory at most, and no operation further than 2e-6 from torchaug's.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torchaug.batch_transforms as torchaug
import torchaug.batch_transforms.functional as reference
from torch import Tensor
from torchaug.transforms import Normalize as TorchaugNormalize
from torchaug.transforms.functional import solarize
from torchvision.transforms import v2

from eztorch.transforms import Div255Input
from eztorch.transforms import batch as ours
from eztorch.transforms.batch import color
from eztorch.transforms.batch.blur import gaussian_blur_

CLIPS, FRAMES, MEAN, STD = 16, 8, [0.45] * 3, [0.225] * 3
JITTER = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.4, "hue": 0.2}
GOALS = {"torchaug": 2.0, "torchvision": 4.0}
Chain = Callable[[Tensor], Tensor]


def chains() -> dict[str, Chain]:
    """The same chain of three libraries, from (B, C, T, H, W) in bytes to normalised floats."""
    eztorch = ours.Compose(
        [
            ours.ToFloat(),
            ours.ColorJitter(**JITTER, p=0.8),
            ours.RandomGrayscale(p=0.2),
            ours.GaussianBlur(23, sigma=(0.1, 2.0), p=1.0),
            ours.RandomSolarize(threshold=0.5, p=0.2),
            ours.RandomHorizontalFlip(p=0.5),
            ours.Normalize(MEAN, STD),
        ]
    )
    batched = torchaug.BatchVideoWrapper(
        same_on_frames=True,
        video_format="CTHW",
        inplace=True,
        transforms=[
            Div255Input(inplace=True),
            torchaug.BatchRandomColorJitter(**JITTER, p=0.8, inplace=True),
            torchaug.BatchRandomGrayscale(p=0.2, inplace=True),
            torchaug.BatchRandomGaussianBlur(kernel_size=23, sigma=(0.1, 2.0), p=1.0, inplace=True),
            torchaug.BatchRandomSolarize(threshold=0.5, p=0.2, inplace=True),
            torchaug.BatchRandomHorizontalFlip(p=0.5, inplace=True),
            TorchaugNormalize(MEAN, STD, inplace=True),
        ],
    )
    single = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.RandomApply([v2.ColorJitter(**JITTER)], p=0.8),
            v2.RandomGrayscale(p=0.2),
            v2.GaussianBlur(23, sigma=(0.1, 2.0)),
            v2.RandomSolarize(threshold=0.5, p=0.2),
            v2.RandomHorizontalFlip(p=0.5),
            v2.Normalize(MEAN, STD, inplace=True),
        ]
    )

    def one_by_one(clips: Tensor) -> Tensor:
        return torch.stack([single(clip.transpose(0, 1)).transpose(0, 1) for clip in clips])

    return {"eztorch": eztorch, "torchaug": batched, "torchvision": one_by_one}


def differences(size: int) -> dict[str, float]:
    """Return how far each operation is from torchaug's at most, on the same parameters."""
    generator = torch.Generator().manual_seed(0)
    clips = torch.rand(8, 3, 2, size, size, generator=generator)
    frames_first = clips.transpose(1, 2).contiguous()
    factor = torch.rand(8, generator=generator)
    sigma, turn = 0.1 + 1.9 * factor, factor - 0.5
    pairs: dict[str, tuple[Callable[[Tensor], object], Tensor]] = {
        "brightness": (
            lambda x: color.adjust_brightness_(x, 2 * factor),
            reference.batch_adjust_brightness(frames_first, 2 * factor),
        ),
        "contrast": (
            lambda x: color.adjust_contrast_(x, 2 * factor),
            reference.batch_adjust_contrast(frames_first, 2 * factor),
        ),
        "saturation": (
            lambda x: color.adjust_saturation_(x, 2 * factor),
            reference.batch_adjust_saturation(frames_first, 2 * factor),
        ),
        "hue": (lambda x: color.adjust_hue_(x, turn), reference.batch_adjust_hue(frames_first, turn)),
        "blur": (
            lambda x: gaussian_blur_(x, sigma, (23, 23)),
            reference.batch_gaussian_blur(frames_first, [23, 23], sigma[:, None].expand(-1, 2)),
        ),
        "solarize": (lambda x: ours.RandomSolarize(0.5, p=1)(x, inplace=True), solarize(frames_first, 0.5)),
        "normalize": (
            lambda x: ours.Normalize(MEAN, STD)(x, inplace=True),
            TorchaugNormalize(MEAN, STD)(frames_first),
        ),
    }
    found = {}
    for name, (change, expected) in pairs.items():
        result = clips.clone()
        change(result)
        found[name] = float((result - expected.transpose(1, 2)).abs().max())
    return found


def extra_memory(name: str, size: int) -> float:
    """Return the peak of memory that a chain takes beyond its input, in MB."""
    clips, chain = inputs(size), chains()[name]
    chain(clips[:1])  # what libraries allocate once
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = peak_memory()
    chain(clips)
    return peak_memory() - before


def peak_memory() -> float:
    """Return the most memory that this process has had, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def inputs(size: int) -> Tensor:
    """Clips in bytes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (CLIPS, 3, FRAMES, size, size), dtype=torch.uint8, generator=generator)


def main() -> None:
    """Compare, measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=3)
    repetitions = parser.parse_args().repetitions
    warnings.filterwarnings("ignore", module="torchaug")
    torch.set_num_threads(1)
    for size in (112, 224):
        table, clips = chains(), inputs(size)
        times: dict[str, list[float]] = {name: [] for name in table}
        for turn in range(repetitions + 1):
            for name, chain in table.items():
                start = time.process_time()
                chain(clips)
                if turn:  # the first turn warms up
                    times[name].append(time.process_time() - start)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            memory = {name: pool.apply(extra_memory, (name, size)) for name in table}
        own = statistics.median(times["eztorch"])
        output = CLIPS * 3 * FRAMES * size * size * 4 / 2**20
        print(f"{CLIPS} clips of 3 x {FRAMES} x {size} x {size}; the result takes {output:.1f} MB")
        for name in table:
            ratio = statistics.median(times[name]) / own
            goal = f"  ratio {ratio:.2f} (goal: at least {GOALS[name]})" if name in GOALS else ""
            print(f"  {name:12} {statistics.median(times[name]) * 1e3:7.1f} ms  {memory[name]:6.1f} MB{goal}")
        share = memory["eztorch"] / memory["torchaug"]
        print(f"  memory: {share:.2f} of torchaug's (goal: at most 0.33)")
        far = {name: value for name, value in differences(size).items() if value > 2e-6}
        found = ", ".join(f"{name} {value:.1e}" for name, value in differences(size).items())
        print(f"  largest differences from torchaug: {found}")
        if far:
            raise SystemExit(f"further than 2e-6 from torchaug: {far}")


if __name__ == "__main__":
    main()
