"""Media that the decoder tests make for themselves: small videos with PyAV, folders of real JPEG files."""

import functools
import importlib
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

HEIGHT, WIDTH = 48, 64


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


def _torchcodec_loads() -> bool:
    try:
        return getattr(importlib.import_module("torchcodec"), "ffmpeg_major_version", None) is not None
    except (ImportError, RuntimeError, OSError):
        return False


ENCODED = ["pyav", "auto", "decord"] + (["torchcodec"] if _torchcodec_loads() else [])


def pictures(num_frames: int, seed: int = 0) -> np.ndarray:
    """Return frames of a texture that pans, each different from all others, uint8, shape (T, H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (HEIGHT // 8 + 1, num_frames // 4 + WIDTH // 8 + 3, 3))
    texture = np.kron(coarse, np.ones((8, 8, 1)))
    frames = np.stack([texture[:HEIGHT, 2 * t : 2 * t + WIDTH] for t in range(num_frames)])
    return np.clip(frames + rng.normal(0, 3, frames.shape), 0, 255).astype(np.uint8)


def soft(frames: np.ndarray) -> np.ndarray:
    """Blur frames, so that no colour ends at an edge."""
    blur = ImageFilter.GaussianBlur(6)
    return np.stack([np.asarray(Image.fromarray(picture).filter(blur)) for picture in frames])


def encode(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    rate: int = 30,
    muxer: dict[str, str] | None = None,
    pixels: str = "yuv420p",
    **options: str,
) -> Path:
    """Write a video; `times` are the presentation times in ms, otherwise the rate is constant."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        stream.options = options
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number if times is None else times[number]
            frame.time_base = Fraction(1, rate) if times is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def plain_decode(path: Path) -> np.ndarray:
    """Decode a file from its start to its end, every frame, in the order that FFmpeg shows them."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        chroma = {"interpolation": "POINT"} if "10" in stream.codec_context.pix_fmt else {}
        frames = [(f.to_ndarray(format="rgb24", **chroma), f.rotation) for f in container.decode(stream)]
    return np.stack([np.rot90(picture, round(rotation / 90)) for picture, rotation in frames])


def shift_edit_list(path: Path, frames: int) -> None:
    """Let the edit list of an MP4 file begin later, so that its first packets are decoded and not shown."""
    data = bytearray(path.read_bytes())
    at = data.find(b"elst") + 12
    duration, media_time, rate = struct.unpack(">IiI", data[at : at + 12])
    ticks, movie_ticks = frames * 512, frames * 1000 // 30
    data[at : at + 12] = struct.pack(">IiI", duration - movie_ticks, media_time + ticks, rate)
    path.write_bytes(data)


def two_streams(path: Path) -> None:
    """Write a file with two video streams, a small one before the large one, which is the best."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=30, options={"g": "12"}) for _ in range(2)]
        for stream, step in zip(streams, (2, 1), strict=True):
            stream.height, stream.width, stream.pix_fmt = HEIGHT // step, WIDTH // step, "yuv420p"
        for picture in pictures(60):
            for stream, step in zip(streams, (2, 1), strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[::step, ::step]), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())


def with_dropped_frames(path: Path) -> None:
    """Write an AVI file, 30 frames a second, with moments at which no frame begins: chunks of no bytes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30, options={"g": "12", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for number, picture in enumerate(pictures(60)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number + (number > 0) + 2 * (number > 40), Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def rotate(path: Path) -> None:
    """Write a rotation by a quarter into the track header of an MP4 file, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, HEIGHT << 16, 0, 1 << 30)
    path.write_bytes(data)


def write_pictures(folder: Path, frames: np.ndarray, *, name: str = "{index:08d}.jpg", first_index: int = 1) -> Path:
    folder.mkdir(parents=True)
    for number, picture in enumerate(frames):
        Image.fromarray(picture).save(folder / name.format(index=first_index + number), quality=95)
    return folder


def read_pictures(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file).convert("RGB")) for file in sorted(folder.iterdir())])


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the path of a test video by its name in RECIPES; each is made once."""
    folder = tmp_path_factory.mktemp("media")

    def make(name: str) -> Path:
        path = folder / name
        if not path.exists():
            RECIPES[name](path)
        return path

    return make


@pytest.fixture(scope="session")
def truth(media: Callable[[str], Path]) -> Callable[[str], np.ndarray]:
    """Give all frames of a test video by its name, uint8, shape (T, H, W, 3)."""

    @functools.cache
    def read(name: str) -> np.ndarray:
        return read_pictures(media(name)) if name == "frames" else plain_decode(media(name))

    return read


@pytest.fixture(params=["frame", *ENCODED])
def name(request: pytest.FixtureRequest) -> str:
    """Name of a decoder; a test that takes it runs once for each, a new one included."""
    return request.param


@pytest.fixture(params=ENCODED)
def encoded(request: pytest.FixtureRequest) -> str:
    """Name of a decoder of video files."""
    return request.param


@pytest.fixture(params=[name for name in ENCODED if name != "auto"])
def files_only(request: pytest.FixtureRequest) -> str:
    """Name of a decoder that reads video files and nothing else."""
    return request.param


@pytest.fixture
def video(name: str, media: Callable[[str], Path]) -> str:
    """Path of a video of 60 frames, 30 a second, for the decoder."""
    return str(media("frames" if name == "frame" else "gop12.mp4"))


@pytest.fixture
def frames(name: str, truth: Callable[[str], np.ndarray]) -> np.ndarray:
    """All frames of that video."""
    return truth("frames" if name == "frame" else "gop12.mp4")


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    return encode


@pytest.fixture(scope="session")
def write_frames() -> Callable[..., Path]:
    return write_pictures


@pytest.fixture(scope="session")
def decode_all() -> Callable[[Path], np.ndarray]:
    return plain_decode


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    return pictures


def _irregular_times(num_frames: int) -> list[int]:
    steps = np.random.default_rng(1).integers(10, 120, num_frames)
    return (np.cumsum(steps) - steps[0]).tolist()


def _h264(**options: str) -> Callable[[Path], object]:
    return lambda path: encode(path, pictures(60), **options)


def _then(change: Callable[[Path], None]) -> Callable[[Path], object]:
    return lambda path: change(encode(path, pictures(60), g="12"))


IRREGULAR = _irregular_times(60)
RECIPES: dict[str, Callable[[Path], object]] = {
    "frames": lambda path: write_pictures(path, pictures(60)),
    "gop12.mp4": _h264(g="12"),
    "gop1.mp4": _h264(g="1"),
    "gop250.mp4": _h264(g="250"),
    "open_gop.mp4": _h264(**{"x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=12:scenecut=0"}),
    "intra_refresh.mp4": _h264(**{"x264-params": "intra-refresh=1:keyint=20:bframes=0"}),
    "fragmented.mp4": lambda p: encode(p, pictures(60), g="12", muxer={"movflags": "frag_keyframe+empty_moov"}),
    "edit_list.mp4": _then(lambda path: shift_edit_list(path, 5)),
    "rotated.mp4": _then(rotate),
    "irregular.mp4": lambda p: encode(p, pictures(60), g="12", times=IRREGULAR),
    "irregular.mkv": lambda p: encode(p, pictures(60), g="12", times=IRREGULAR),
    "late_start.mkv": lambda p: encode(p, pictures(60), g="12", times=[2000 + 40 * t for t in range(60)], rate=25),
    "hevc.mp4": lambda p: encode(p, pictures(60), codec="libx265", **{"x265-params": "log-level=none:keyint=12"}),
    "mpeg4.mp4": lambda p: encode(p, pictures(60), codec="mpeg4", g="12", bf="2"),
    "mpeg4.avi": lambda p: encode(p, pictures(60), codec="mpeg4", g="12", bf="0"),
    "dropped.avi": with_dropped_frames,
    "mpeg4_b.avi": lambda p: encode(p, pictures(60), codec="mpeg4", g="12", bf="2"),
    "h264_b.avi": _h264(g="12"),
    "vp9.webm": lambda p: encode(p, pictures(60), codec="libvpx-vp9", g="20", **{"cpu-used": "8"}),
    "gop12.flv": _h264(g="12"),
    "gop12.ts": _h264(g="12"),
    "gop12.h264": _h264(g="12"),
    "gop12.mpg": lambda p: encode(p, pictures(60), codec="mpeg1video", g="12", bf="2"),
    "bt709_full.mp4": lambda p: encode(
        p, pictures(60), pixels="yuvj420p", **{"x264-params": "colormatrix=bt709:fullrange=on"}
    ),
    "hevc10.mp4": lambda p: encode(
        p, soft(pictures(10)), codec="libx265", pixels="yuv420p10le", **{"x265-params": "log-level=none"}
    ),
    "soft.mp4": lambda p: encode(p, soft(pictures(60)), g="12"),
    "av1.mkv": lambda p: encode(p, pictures(60), codec="libsvtav1", g="20", preset="12"),
    "two_streams.mp4": two_streams,
    "three.mp4": lambda p: encode(p, pictures(3), g="12"),
    "one.mp4": lambda p: encode(p, pictures(1), g="12"),
    "whole.mp4": lambda p: encode(p, pictures(60), g="12", crf="1", muxer={"movflags": "faststart"}),
}
