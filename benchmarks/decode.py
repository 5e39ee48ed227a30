"""Clips through each decoder against the plain way: decode every frame of the clip, convert all, then pick.

    python benchmarks/decode.py [--quick]

The videos are made here: h264 (x264, medium, crf 26), 340 x 256, 10 s at 30 frames a second, a panning texture with
moving blocks and grain, key frames every 12, 30 and 250 frames; for decoder `frame` the same frames as JPEG files. The
methods take turns on one core, on the same random clips; printed are means of the CPU time and how many times as fast
as the plain way that is. All methods must give the same frames, which is checked.

`plain` are the steps of pytorchvideo's EncodedVideo and UniformTemporalSubsample, which give float32; `careful` is the
best that can be had without choosing first: uint8, each frame converted when it is decoded. The decoders give uint8.
Where no FFmpeg is installed, torchcodec runs on the libraries in PyAV's wheel.
Goal: pyav is 5 times as fast as `plain` for 8 frames of 2.56 s at key frames every 12 and 30 frames, 3.5 times at 250.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import av
import numpy as np
import torch
from torch import Tensor

from eztorch.datasets.decoders import Decoder, UniformSubsample, build_decoder
from eztorch.utils.errors import ConfigError

HEIGHT, WIDTH, FPS, NUM_FRAMES = 256, 340, 30, 300
KEY_FRAMES = {12: 5.0, 30: 5.0, 250: 3.5}  # distance of key frames: goal for 8 frames of one clip
WINDOW, DENSE = Fraction(256, 100), Fraction(32, FPS)
Spans = list[tuple[Fraction, Fraction]]
Method = Callable[[Path, Spans], list[Tensor]]


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Colour texture with the 1/f spectrum of natural pictures, shape (height, width, 3)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    frequency[0, 0] = 1

    def noise(power: int) -> np.ndarray:
        field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((height, width))) / frequency**power).real
        return (field - field.mean()) / field.std()

    return 120 + 15 * noise(1)[..., None] + 15 * np.stack([noise(2) for _ in range(3)], axis=-1)


def pictures(seed: int) -> Iterator[np.ndarray]:
    """Frames of a video, uint8, shape (HEIGHT, WIDTH, 3)."""
    rng = np.random.default_rng(seed)
    world, (down, right) = texture(rng, 2 * HEIGHT, 2 * WIDTH), rng.uniform(-1.5, 1.5, 2)
    for t in range(NUM_FRAMES):
        frame = np.roll(world, (round(down * t), round(right * t)), (0, 1))[:HEIGHT, :WIDTH]
        for block in range(3):
            y = int(HEIGHT / 2 + HEIGHT / 3 * np.sin(t / 20 + block))
            x = int(WIDTH / 2 + WIDTH / 3 * np.cos(t / 15 + 2 * block))
            frame[max(y - 20, 0) : y + 20, max(x - 20, 0) : x + 20] = (200, 60 + 60 * block, 30)
        yield np.clip(frame + 3 * rng.standard_normal((HEIGHT, WIDTH, 1)), 0, 255).astype(np.uint8)


def write_video(path: Path, key_frames: int, seed: int) -> None:
    """Encode a video, and write its decoded frames as a folder of JPEG files beside it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": str(key_frames), "crf": "26", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for picture in pictures(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    path.with_suffix("").mkdir()
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0), start=1):
            frame.to_image().save(path.with_suffix("") / f"{number:08d}.jpg", quality=90)


def frames_of(path: Path, start: Fraction, end: Fraction) -> Iterator[av.VideoFrame]:
    """Decode the frames of a span as the manual of PyAV does."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        container.seek(int(start / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            if frame.pts * stream.time_base >= end:
                return
            if frame.pts * stream.time_base >= start:
                yield frame


def plain(path: Path, start: Fraction, end: Fraction, num_samples: int) -> Tensor:
    """Decode all, convert all, cast all, pick."""
    frames = list(frames_of(path, start, end))
    pixels = torch.stack([torch.from_numpy(frame.to_rgb().to_ndarray()) for frame in frames])
    video = pixels.permute(3, 0, 1, 2).to(torch.float32)
    return torch.index_select(video, 1, UniformSubsample(num_samples)(len(frames)))


def careful(path: Path, start: Fraction, end: Fraction, num_samples: int) -> Tensor:
    """Convert each frame when it is decoded, pick."""
    pixels = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in frames_of(path, start, end)]
    picked = [pixels[i] for i in UniformSubsample(num_samples)(len(pixels)).tolist()]
    return torch.stack(picked).permute(3, 0, 1, 2)


def one_by_one(method: Callable[[Path, Fraction, Fraction, int], Tensor], num_samples: int) -> Method:
    """A clip after the other."""
    return lambda path, spans: [method(path, *span, num_samples) for span in spans]


def through(decoder: Decoder, *, folders: bool = False) -> Method:
    """All clips of a video in one call of a decoder."""

    def clips(path: Path, spans: Spans) -> list[Tensor]:
        with decoder.open(str(path.with_suffix("") if folders else path)) as reader:
            return [clip.video for clip in reader.get_clips(spans)]

    return clips


def methods(num_samples: int) -> dict[str, Method]:
    """What is compared, by name."""
    args = {"frame_filter": {"subsample_type": "uniform", "num_samples": num_samples}}
    table = {
        "plain": one_by_one(plain, num_samples),
        "careful": one_by_one(careful, num_samples),
        "frame": through(build_decoder("frame", {**args, "fps": FPS}), folders=True),
    }
    for name in ("pyav", "torchcodec", "decord"):
        try:
            table[name] = through(build_decoder(name, args))
        except ConfigError as error:
            print(f"{name} is left out: {error}")
    return table


def check(outputs: dict[str, list[Tensor]]) -> None:
    """Compare the clips of all methods with the plain way's; JPEG files differ by their compression."""
    for name, clips in outputs.items():
        for clip, expected in zip(clips, outputs["plain"], strict=True):
            difference = (clip.float() - expected).abs()
            if difference.mean() > 3 if name == "frame" else difference.max() > 0:
                raise SystemExit(f"{name} gives other frames than the plain way: up to {difference.max():.0f} of 255")


def measure(table: dict[str, Method], videos: list[Path], length: Fraction, num_clips: int, rounds: int) -> None:
    """Let the methods take turns and print a line for each distance of key frames."""
    rng = np.random.default_rng(0)
    latest = int((Fraction(NUM_FRAMES, FPS) - length) * 1000)
    for key_frames, goal in KEY_FRAMES.items():
        own = [path for path in videos if path.stem.startswith(f"{key_frames}_")]
        seconds = dict.fromkeys(table, 0.0)
        for turn in range(rounds + 1):
            starts = [Fraction(int(ms), 1000) for ms in rng.integers(0, latest, num_clips)]
            spans, outputs = [(start, start + length) for start in starts], {}
            for name in rng.permutation(list(table)):
                begin = time.process_time()
                outputs[name] = table[name](own[turn % len(own)], spans)
                seconds[name] += (time.process_time() - begin) * (turn > 0)  # the first turn warms up
            check(outputs)
        cells = (f"{s / rounds * 1e3:6.1f} ms {seconds['plain'] / s:5.2f}x" for s in seconds.values())
        ratio = seconds["plain"] / seconds["pyav"]
        verdict = (
            f"  goal {goal}x: {'met' if ratio > goal else 'MISSED'}" if num_clips == 1 and length == WINDOW else ""
        )
        print(f"  {key_frames:4d}   " + "   ".join(cells) + verdict, flush=True)


def use_libraries_of_pyav() -> None:
    """Start again with PyAV's FFmpeg libraries on the path of the loader, under the names that torchcodec looks for."""
    import torchcodec

    if torchcodec.ffmpeg_major_version is not None or "EZTORCH_BENCHMARK_LIBRARIES" in os.environ:
        return
    folder = tempfile.mkdtemp()
    for library in Path(av.__file__).parent.parent.glob("av.libs/lib*.so.*"):
        if name := re.match(r"(lib(?:av|sw)[a-z]+)-\w+(\.so\.\d+)", library.name):
            Path(folder, name[1] + name[2]).symlink_to(library)
    os.environ.update(LD_LIBRARY_PATH=folder, EZTORCH_BENCHMARK_LIBRARIES=folder)
    os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> None:
    """Make the videos, measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one video and few clips for each distance of key frames")
    quick = parser.parse_args().quick
    with contextlib.suppress(ImportError):  # which build_decoder will say
        use_libraries_of_pyav()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    num_videos, rounds = (1, 2) if quick else (2, 6)
    with tempfile.TemporaryDirectory() as folder:
        videos = [Path(folder, f"{distance}_{seed}.mp4") for distance in KEY_FRAMES for seed in range(num_videos)]
        for path in videos:
            write_video(path, *map(int, path.stem.split("_")))
        tasks = {
            "8 frames of a clip of 2.56 s": (8, WINDOW, 1),
            "two such clips of a video": (8, WINDOW, 2),
            "32 frames in a row": (32, DENSE, 1),
        }
        for title, (num_samples, length, num_clips) in tasks.items():
            table = methods(num_samples)
            print(f"{title}: CPU time a video, and how many times as fast as the plain way")
            print("  keys   " + "   ".join(f"{name:^16}" for name in table))
            measure(table, videos, length, num_clips, rounds)


if __name__ == "__main__":
    main()
