"""Clips through each decoder against the plain way: decode every frame of the clip, convert all, then pick.

    python benchmarks/decode.py [--quick]

The videos are made here: h264 (x264, medium, crf 26), 340 x 256, 10 s at 30 frames a second, a panning texture with
moving blocks and grain, key frames every 12, 30 and 250 frames. The methods take turns on one core, on the same random
clips; printed are means of the CPU time, how many times as fast as the plain way that is, and each goal with the word
met or MISSED. All methods must give the same frames, which is checked. The decoders give uint8.

- `plain`: the steps of pytorchvideo's EncodedVideo and UniformTemporalSubsample, which give float32.
- `careful`: the best that can be had without choosing first: uint8, each frame converted when it is decoded.
- `pyav`, `torchcodec`, `decord`, `auto`: the decoders of eztorch; `dense` is `auto` with `dense_decoder: torchcodec`.
- `calls`: `pyav` with a call for each clip instead of one for all.
- `torchcodec API`, `decord API`: those libraries called directly, all clips at once; they are told the frame numbers.
- `floor`: the packets that the frames need, known beforehand, are decoded, and nothing is converted.
- `planes`: as floor, and the wanted frames are copied as they were decoded (YUV 4:2:0) into one block of memory: what a
  conversion to RGB on the device would leave to the processor.

Where no FFmpeg is installed, torchcodec runs on the libraries in PyAV's wheel.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import av
import numpy as np
import torch
from torch import Tensor

from eztorch.datasets.decoders import Decoder, FrameFilter, PyAVDecoder, UniformSubsample, build_decoder
from eztorch.datasets.decoders.frame_index import FrameIndex, Run
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.utils.errors import ConfigError

HEIGHT, WIDTH, FPS, NUM_FRAMES = 256, 340, 30, 300
KEY_FRAMES = (12, 30, 250)
Spans = list[tuple[Fraction, Fraction]]
Method = Callable[[Path, Spans], list[Tensor]]


class Goal(NamedTuple):
    """`method` is at least `factor` times as fast as `other`, for some distances of key frames."""

    method: str
    other: str
    factor: float
    key_frames: tuple[int, ...] = KEY_FRAMES


class Task(NamedTuple):
    """What is read of a video."""

    title: str
    length: Fraction
    frame_filter: FrameFilter
    num_clips: int
    goals: list[Goal]


def in_a_row(num_frames: int, generator: torch.Generator | None = None) -> Tensor:
    """Keep 32 frames in a row."""
    return torch.arange(32)


TASKS = [
    Task(
        "8 frames of the 77 of a clip of 2.56 s",
        Fraction(256, 100),
        UniformSubsample(8),
        1,
        [
            Goal("pyav", "plain", 5, (12, 30)),
            Goal("pyav", "plain", 3.5, (250,)),
            Goal("pyav", "floor", 1 / 1.2),
            Goal("pyav", "decord API", 1.35),
            Goal("pyav", "torchcodec API", 1.1, (30, 250)),
        ],
    ),
    Task(
        "two such clips of a video",
        Fraction(256, 100),
        UniformSubsample(8),
        2,
        [Goal("pyav", "plain", 6), Goal("pyav", "calls", 1.25, (250,))],
    ),
    Task(
        "32 frames in a row of the 77 of a clip of 2.56 s",
        Fraction(256, 100),
        in_a_row,
        1,
        [Goal("auto", "plain", 5), Goal("auto", "torchcodec API", 0.95)],
    ),
    Task(
        "all 32 frames of a clip of 1.07 s",
        Fraction(32, FPS),
        in_a_row,
        1,
        [Goal("auto", "torchcodec API", 0.95)],  # nothing is left out here, and decoding alone is 4 to 6 times as fast
    ),
]


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
    """Encode a video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": str(key_frames), "crf": "26", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for picture in pictures(seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


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


def plain(path: Path, start: Fraction, end: Fraction, frame_filter: FrameFilter) -> Tensor:
    """Decode all, convert all, cast all, pick."""
    frames = list(frames_of(path, start, end))
    pixels = torch.stack([torch.from_numpy(frame.to_rgb().to_ndarray()) for frame in frames])
    video = pixels.permute(3, 0, 1, 2).to(torch.float32)
    return torch.index_select(video, 1, frame_filter(len(frames), None))


def careful(path: Path, start: Fraction, end: Fraction, frame_filter: FrameFilter) -> Tensor:
    """Convert each frame when it is decoded, pick."""
    pixels = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in frames_of(path, start, end)]
    picked = [pixels[i] for i in frame_filter(len(pixels), None).tolist()]
    return torch.stack(picked).permute(3, 0, 1, 2)


def one_by_one(method: Callable[[Path, Fraction, Fraction, FrameFilter], Tensor], frame_filter: FrameFilter) -> Method:
    """A clip after the other."""
    return lambda path, spans: [method(path, *span, frame_filter) for span in spans]


def through(decoder: Decoder, *, calls: bool = False) -> Method:
    """All clips of a video in one call of a decoder, or each in its own."""

    def clips(path: Path, spans: Spans) -> list[Tensor]:
        if calls:
            return [clip for span in spans for clip in through(decoder)(path, [span])]
        with decoder.open(str(path)) as reader:
            return [clip.video for clip in reader.get_clips(spans)]

    return clips


def numbers(spans: Spans, frame_filter: FrameFilter) -> list[list[int]]:
    """The frames of each clip, by the arithmetic of a constant rate."""
    bounds = [(-(-start * FPS // 1), -(-end * FPS // 1)) for start, end in spans]
    return [(int(first) + frame_filter(int(stop - first), None)).tolist() for first, stop in bounds]


def directly(name: str, frame_filter: FrameFilter) -> Method:
    """All clips of a video in one call of a library."""
    if name == "decord":
        import decord

        def read(path: Path, indices: list[int]) -> Tensor:
            return torch.from_numpy(decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy())
    else:
        from torchcodec.decoders import VideoDecoder

        def read(path: Path, indices: list[int]) -> Tensor:
            decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
            return decoder.get_frames_at(indices).data

    def clips(path: Path, spans: Spans) -> list[Tensor]:
        frames = numbers(spans, frame_filter)
        batch = read(path, sorted({i for clip in frames for i in clip})).permute(3, 0, 1, 2)
        places = {index: place for place, index in enumerate(sorted({i for clip in frames for i in clip}))}
        return [batch if len(frames) == 1 else batch[:, [places[i] for i in clip]] for clip in frames]

    return clips


class Bound:
    """What decoding costs at least. The packets are found out beforehand, by `prepare`."""

    def __init__(self, frame_filter: FrameFilter, *, copy: bool) -> None:
        self._frame_filter = frame_filter
        self._copy = copy
        self._runs: list[Run] = []

    def prepare(self, path: Path, spans: Spans) -> None:
        """Find the packets that the frames need."""
        file = PacketFile(str(path))
        index = FrameIndex(file)
        self._runs = index.runs(sorted({i for clip in numbers(spans, self._frame_filter) for i in clip}))
        self._keys = index.stamps([0])
        file.close()

    def __call__(self, path: Path, spans: Spans) -> list[Tensor]:
        """Decode them, and copy the planes of the wanted frames if that is asked for."""
        wanted = {stamp for run in self._runs for stamp in run.stamps}
        planes = torch.empty((len(wanted) if self._copy else 0, HEIGHT * 3 // 2, WIDTH), dtype=torch.uint8).numpy()
        given = 0
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            codec = stream.codec_context
            codec.thread_count, codec.thread_type = 1, "NONE"
            for run in self._runs:
                container.seek(run.stamps[0], stream=stream)
                for number, packet in enumerate(container.demux(stream), start=run.first):
                    codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
                    frames = codec.decode(packet) + (codec.decode(None) if number == run.last else [])
                    for frame in frames if self._copy else ():
                        if frame.pts in wanted:
                            write_planes(frame, planes[given])
                            given += 1
                    if number == run.last:
                        break
                codec.flush_buffers()
        return []


def write_planes(frame: av.VideoFrame, memory: np.ndarray) -> None:
    """Copy the planes of a YUV 4:2:0 picture into memory, shape (H * 3 / 2, W)."""
    flat, begin = memory.reshape(-1), 0
    for plane in frame.planes:
        end = begin + plane.height * plane.width
        pixels = np.ndarray((plane.height, plane.width), np.uint8, memoryview(plane), 0, (plane.line_size, 1))
        flat[begin:end].reshape(pixels.shape)[:] = pixels
        begin = end


def methods(frame_filter: FrameFilter) -> dict[str, Method]:
    """What is compared, by name."""
    args = {"frame_filter": frame_filter}
    table: dict[str, Method] = {
        "plain": one_by_one(plain, frame_filter),
        "careful": one_by_one(careful, frame_filter),
        "pyav": through(PyAVDecoder(**args)),
        "calls": through(PyAVDecoder(**args), calls=True),
        "auto": through(build_decoder("auto", args)),
    }
    for name in ("torchcodec", "decord"):
        try:
            table[name] = through(build_decoder(name, args))
        except ConfigError as error:
            print(f"{name} is left out: {error}")
        else:
            table[f"{name} API"] = directly(name, frame_filter)
    if "torchcodec" in table:
        table["dense"] = through(build_decoder("auto", {**args, "dense_decoder": "torchcodec"}))
    return table | {"floor": Bound(frame_filter, copy=False), "planes": Bound(frame_filter, copy=True)}


def check(outputs: dict[str, list[Tensor]]) -> None:
    """Compare the clips of all methods with the plain way's."""
    for name, clips in outputs.items():
        for clip, expected in zip(clips, outputs["plain"], strict=False):  # the bounds give none
            if not torch.equal(clip.float(), expected):
                raise SystemExit(f"{name} gives other frames than the plain way")


def measure(task: Task, table: dict[str, Method], own: list[Path], rounds: int) -> dict[str, float]:
    """Let the methods take turns; return the mean CPU time of each, in seconds."""
    rng = np.random.default_rng(0)
    latest = int((Fraction(NUM_FRAMES, FPS) - task.length) * 1000)
    seconds = dict.fromkeys(table, 0.0)
    for turn in range(rounds + 1):
        path = own[turn % len(own)]
        starts = [Fraction(int(ms), 1000) for ms in rng.integers(0, latest, task.num_clips)]
        spans, outputs = [(start, start + task.length) for start in starts], {}
        for method in table.values():
            if isinstance(method, Bound):
                method.prepare(path, spans)
        for name in rng.permutation(list(table)):
            begin = time.process_time()
            outputs[name] = table[name](path, spans)
            seconds[name] += (time.process_time() - begin) * (turn > 0)  # the first turn warms up
        check(outputs)
    return {name: total / rounds for name, total in seconds.items()}


def report(task: Task, results: dict[int, dict[str, float]]) -> None:
    """Print the times of a task and its goals."""
    print(f"\n{task.title}: CPU time a video, and how many times as fast as the plain way")
    print(f"  {'key frames every':16}" + "".join(f"{key_frames:>18}" for key_frames in results))
    for name in next(iter(results.values())):
        cells = (f"{r[name] * 1e3:9.1f} ms {r['plain'] / r[name]:5.1f}" for r in results.values())
        print(f"  {name:16}" + "".join(cells))
    for goal in task.goals:
        for key_frames in goal.key_frames:
            seconds = results[key_frames]
            if goal.method in seconds and goal.other in seconds:
                ratio = seconds[goal.other] / seconds[goal.method]
                verdict = "met" if ratio >= goal.factor else "MISSED"
                print(
                    f"  {goal.method} is {ratio:.2f} times as fast as {goal.other} with key frames every "
                    f"{key_frames}; goal {goal.factor:.2f}: {verdict}"
                )


def resident_mb(field: str) -> float:
    """Resident memory of this process, in MB: VmRSS is now, VmHWM the peak since it was last reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


def peak_memory(way: str, videos: list[Path], answer: multiprocessing.Queue[float]) -> None:
    """Put into `answer` by how many MB reading clips raises the peak memory of this process."""
    torch.set_num_threads(1)
    uniform = UniformSubsample(8)
    method = one_by_one(plain, uniform) if way == "plain" else through(PyAVDecoder(frame_filter=uniform))
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    base = resident_mb("VmRSS")
    for turn in range(12):
        method(videos[turn % len(videos)], [(Fraction(turn, 2), Fraction(turn, 2) + Fraction(256, 100))])
    answer.put(resident_mb("VmHWM") - base)


def compare_memory(videos: list[Path]) -> None:
    """Print the peak memory of both ways, each in a fresh process."""
    if not Path("/proc/self/clear_refs").exists():
        print("\nthis system does not tell the peak memory of a process")
        return
    context, peaks = multiprocessing.get_context("spawn"), {}
    for way in ("plain", "pyav"):
        answer: multiprocessing.Queue[float] = context.Queue()
        process = context.Process(target=peak_memory, args=(way, videos, answer))
        process.start()
        peaks[way] = answer.get()
        process.join()
    share = peaks["pyav"] / peaks["plain"]
    print(f"\npeak memory above that of the imports: plain {peaks['plain']:.0f} MB, pyav {peaks['pyav']:.0f} MB")
    print(f"  pyav needs {share:.3f} of plain; goal at most {1 / 8:.3f}: {'met' if share <= 1 / 8 else 'MISSED'}")


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
    num_videos, rounds = (1, 2) if quick else (2, 10)
    with tempfile.TemporaryDirectory() as folder:
        videos = {n: [Path(folder, f"{n}_{seed}.mp4") for seed in range(num_videos)] for n in KEY_FRAMES}
        for key_frames, paths in videos.items():
            for seed, path in enumerate(paths):
                write_video(path, key_frames, seed)
        for task in TASKS:
            table = methods(task.frame_filter)
            report(task, {n: measure(task, table, paths, rounds) for n, paths in videos.items()})
        compare_memory(videos[30])


if __name__ == "__main__":
    main()
