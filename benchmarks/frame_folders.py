"""Clips from folders of JPEG files against the way with thread pools: the frame decoder with each of its libraries.

    python benchmarks/frame_folders.py [--quick]

A clip is 8 of 77 frames, cut at random and scaled to 224. `pools` reads the files in one pool of four threads and
decodes them in another (torchvision), made for the clip, and cuts and scales the whole as float, as the predecessor of
eztorch did. The decoder reads one file after the other and leaves bytes. The methods take turns on one core, on the
same random clips; printed are means of the CPU and the wall time. The pixels before the cut must be equal.
Goal: a half of the CPU time of `pools` with torchvision alone, 1 / 2.8 of it with simplejpeg.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from decode import FPS, NUM_FRAMES, write_video
from torch import Tensor
from torchvision.io import ImageReadMode

from eztorch.datasets.decoders import FrameDecoder, UniformSubsample, pictures
from eztorch.transforms.video import RandomResizedCrop

WINDOW = Fraction(256, 100)
CROP = RandomResizedCrop(224, 224, (0.2, 0.766), (0.75, 1.3333))
GOALS = {"torchvision": 2.0, "simplejpeg": 2.8}
Method = Callable[[Path, Fraction], Tensor]


def extract(path: Path) -> Path:
    """Write the frames of a video as a folder of JPEG files beside it."""
    folder = path.with_suffix("")
    folder.mkdir()
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0), start=1):
            frame.to_image().save(folder / f"{number:08d}.jpg", quality=90)
    return folder


def pools(folder: Path, start: Fraction) -> Tensor:
    """Read and decode a clip in two pools of threads, to float."""
    first, stop = -(-start * FPS // 1), -(-(start + WINDOW) * FPS // 1)
    numbers = (int(first) + UniformSubsample(8)(int(stop - first))).tolist()
    files = [folder / f"{number + 1:08d}.jpg" for number in numbers]

    def decode(content: bytes) -> Tensor:
        data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        return torch.ops.image.decode_jpeg(data, ImageReadMode.RGB.value, False)

    with ThreadPoolExecutor(4) as pool:
        contents = list(pool.map(Path.read_bytes, files))
    with ThreadPoolExecutor(4) as pool:
        frames = list(pool.map(decode, contents))
    return torch.stack(frames, dim=1).float()


def by_decoder(reader: pictures.JpegReader) -> Method:
    """Read a clip with the frame decoder and a JPEG library."""
    decoder = FrameDecoder(fps=FPS, frame_filter={"subsample_type": "uniform", "num_samples": 8})

    def read(folder: Path, start: Fraction) -> Tensor:
        pictures._jpeg_reader = lambda: reader
        with decoder.open(str(folder), NUM_FRAMES) as video:
            return video.get_clip(start, start + WINDOW).video

    return read


def main() -> None:
    """Make the folders, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few clips")
    rounds = 5 if parser.parse_args().quick else 30
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    methods: dict[str, Method] = {"pools": pools, "pillow": by_decoder(pictures._by_pillow)}
    for name, make in (("torchvision", pictures._torchvision), ("simplejpeg", pictures._simplejpeg)):
        try:
            methods[name] = by_decoder(make())
        except ImportError:
            print(f"{name} is not installed")
    cpu, wall = dict.fromkeys(methods, 0.0), dict.fromkeys(methods, 0.0)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        video = Path(temporary, "video.mp4")
        write_video(video, 30, 0)
        folder = extract(video)
        for turn in range(rounds + 1):
            start, clips = Fraction(int(rng.integers(0, 7400)), 1000), {}
            for name in rng.permutation(list(methods)):
                torch.manual_seed(turn)
                begin = time.process_time(), time.perf_counter()
                clips[name] = methods[name](folder, start)
                CROP(clips[name])
                cpu[name] += (time.process_time() - begin[0]) * (turn > 0)  # the first turn warms up
                wall[name] += (time.perf_counter() - begin[1]) * (turn > 0)
            if any(not torch.equal(clip.float(), clips["pools"]) for clip in clips.values()):
                raise SystemExit("the libraries give other pixels")
    for name in methods:
        ratio = cpu["pools"] / cpu[name]
        goal = GOALS.get(name)
        verdict = "" if goal is None else f"; goal {goal}: {'met' if ratio >= goal else 'MISSED'}"
        times = f"CPU {cpu[name] / rounds * 1e3:5.2f} ms, wall {wall[name] / rounds * 1e3:5.2f} ms"
        print(f"{name:12} {times}: {ratio:.2f} times as fast{verdict}")


if __name__ == "__main__":
    main()
