"""Real media for the tests of `eztorch data`: small clips that differ from each other, and pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image


def draw_frames(seed: int, num_frames: int = 24, height: int = 48, width: int = 64) -> np.ndarray:
    """Frames (T, H, W, 3), uint8, of a coarse texture that pans; each seed has its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(30, 225, (height // 8 + 1, width // 8 + num_frames // 4 + 2, 3))
    picture = np.kron(coarse, np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([picture[:height, 2 * t : 2 * t + width] for t in range(num_frames)])


def encode_video(path: Path, frames: np.ndarray, codec: str = "libx264", rate: int = 24, **options: str) -> Path:
    """Encode frames (T, H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format=options.pop("container", None)) as container:
        stream = container.add_stream(codec, rate=rate, options={"g": "12", "threads": "1", **options})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def save_frames(folder: Path, frames: np.ndarray, name: str = "{:08d}.jpg") -> Path:
    """Write frames (T, H, W, 3) as numbered pictures from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=1):
        Image.fromarray(frame).save(folder / name.format(number), quality=90)
    return folder


@pytest.fixture(scope="session")
def draw() -> Callable[..., np.ndarray]:
    return draw_frames


@pytest.fixture(scope="session")
def encode() -> Callable[..., Path]:
    return encode_video


@pytest.fixture(scope="session")
def save_pictures() -> Callable[..., Path]:
    return save_frames
