"""Moving digits: a small video data set that is made, not downloaded, and whose classes are motions.

A handwritten digit (the 8 x 8 images that scikit-learn ships, scaled up) moves over a textured background. Six
quantities describe a frame, each the sine of a phase: where the digit is (x, y), its size, its angle, and where the
camera looks (u, v). The class says which phases run; the others keep the value that they began with:

    phase(t) = start + [the class moves it] * 2 pi * frequency * t        start ~ U(0, 2 pi), independent

At every single t all phases are therefore uniform and independent whatever the class is. The digit, the texture and
the frequencies are drawn without regard to the class too, so no single frame says anything about the label: only
motion does. Mirroring, cropping, colour changes, blur, grey and time differences keep every class.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import uuid
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from eztorch.utils.errors import ConfigError, DataError
from eztorch.utils.randomness import generator

PHASES = ("x", "y", "size", "angle", "u", "v")

MOTIONS: dict[str, tuple[str, ...]] = {
    "bouncing": ("y",),
    "orbiting": ("x", "y"),
    "panning": ("u", "v"),
    "pulsing": ("size",),
    "sliding": ("x",),
    "spinning": ("angle",),
    "still": (),
    "swirling": ("size", "angle"),
}
"""The classes in the order of their labels, and the phases that run in each."""

MARKER = "moving_digits.json"
"""The file that says with what a data set was made; it is there only when the data set is whole."""

_FORMAT = 1  # raise it when the same parameters would give other videos
_FREQUENCY = (0.6, 0.9)  # Hz
_TRAIN_DIGITS = 1400  # of the 1797; the rest is for validation
_NUM_TEXTURES = 3
_TINT = (0.75, 0.92, 1.2)  # RGB
_DIGIT_COLOUR = (1.0, 0.97, 0.88)


def make_moving_digits(
    root: str | Path,
    *,
    num_train: int = 384,
    num_val: int = 128,
    size: int = 64,
    frames: int = 24,
    fps: int = 12,
    seed: int = 0,
    num_classes: int = 8,
) -> Path:
    """Make the data set in the Kinetics layout, unless it is there already.

    `root` gets `train/<class>/<video>.mp4` and `val/<class>/<video>.mp4` (h264) and the annotation files `train.csv`
    and `val.csv`, a line a video: `<class>/<video>.mp4 <label>`. Everything is written beside `root` and moved there
    by one rename, so neither an interrupted run nor several processes at once can leave half a data set.

    Args:
        root: Folder of the data set; it must be absent, empty, or made by an equal call before.
        num_train: Training videos; the classes take turns, so they are balanced.
        num_val: Validation videos; no training video shows their digits.
        size: Height and width in pixels, even.
        frames: Frames of a video.
        fps: Frames a second.
        seed: The same seed gives the same videos.
        num_classes: How many of `MOTIONS` are used, the first ones.

    Returns:
        `root`.

    Raises:
        ConfigError: A parameter is out of its range.
        DataError: `root` holds something else, for example moving digits made with other parameters.
    """
    root = Path(root)
    parameters = {
        "num_train": num_train,
        "num_val": num_val,
        "size": size,
        "frames": frames,
        "fps": fps,
        "seed": seed,
        "num_classes": num_classes,
    }
    _check(parameters)
    marker = json.dumps({"format": _FORMAT, **parameters})
    if _is_made(root, marker):
        return root
    partial = root.parent / f".{root.name}.{uuid.uuid4().hex}"
    try:
        partial.mkdir(parents=True)
        _write_split(partial, "train", num_train, parameters)
        _write_split(partial, "val", num_val, parameters)
        (partial / MARKER).write_text(marker)
        try:
            os.rename(partial, root)
        except OSError:
            if not _is_made(root, marker):  # another process may have been faster, and made the same
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def draw_phases(motion: str, frames: int, fps: int, rng: torch.Generator) -> dict[str, Tensor]:
    """Draw the phases of a video.

    Args:
        motion: Key of `MOTIONS`.
        frames: Frames of the video, T.
        fps: Frames a second.
        rng: What the starts, frequencies and directions are drawn from; equally much for every motion.

    Returns:
        For each of `PHASES`, radians, shape (T,).

    >>> phases = draw_phases("sliding", 24, 12, torch.Generator().manual_seed(0))
    >>> [name for name, phase in phases.items() if phase[0] != phase[-1]]
    ['x']
    """
    seconds = torch.arange(frames, dtype=torch.float64) / fps
    phases = {}
    for name in PHASES:
        start, frequency, direction = torch.rand(3, generator=rng, dtype=torch.float64).tolist()
        frequency = _FREQUENCY[0] + (_FREQUENCY[1] - _FREQUENCY[0]) * frequency
        speed = math.copysign(2 * math.pi * frequency, direction - 0.5) if name in MOTIONS[motion] else 0.0
        phases[name] = 2 * math.pi * start + speed * seconds
    return phases


def render(phases: dict[str, Tensor], digit: Tensor, texture: Tensor, size: int) -> NDArray[np.uint8]:
    """Paint a video.

    Args:
        phases: Of `draw_phases`, each of shape (T,).
        digit: Ink of the digit in [0, 1], shape (8, 8).
        texture: Colours in [0, 1], shape (3, S, S) with S larger than `size`: where the camera may look.
        size: Height and width of the video, H = W.

    Returns:
        Frames, shape (T, H, W, 3), RGB.
    """
    x, y = 0.4 * phases["x"].sin(), 0.4 * phases["y"].sin()  # the picture spans [-1, 1]
    scale = 0.55 * 2 ** (0.7 * phases["size"].sin())
    cos, sin = phases["angle"].cos(), phases["angle"].sin()
    # From a pixel to the point of the digit that it shows: shift, turn back, divide by the size.
    rows = [[cos, -sin, sin * y - cos * x], [sin, cos, -sin * x - cos * y]]
    affine = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2) / scale[:, None, None]
    frames = len(x)
    grid = functional.affine_grid(affine.float(), [frames, 1, size, size], align_corners=False)
    ink = functional.grid_sample(digit.expand(frames, 1, 8, 8), grid, mode="bicubic", align_corners=False)
    ink = ink.clamp(0, 1)

    margin = (texture.shape[-1] - size) / 2
    left = (margin * (1 + phases["u"].sin())).round().int().tolist()
    top = (margin * (1 + phases["v"].sin())).round().int().tolist()
    ground = torch.stack([texture[:, i : i + size, j : j + size] for i, j in zip(top, left, strict=True)])
    video = ground * (1 - ink) + torch.tensor(_DIGIT_COLOUR)[:, None, None] * ink
    return np.asarray((video * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous())


def _check(parameters: dict[str, int]) -> None:
    num_classes, size = parameters["num_classes"], parameters["size"]
    if not 2 <= num_classes <= len(MOTIONS):
        raise ConfigError(f"num_classes={num_classes} is out of range; there are 2 to {len(MOTIONS)} motions.")
    for key in ("num_train", "num_val"):
        if parameters[key] < num_classes:
            raise ConfigError(f"{key}={parameters[key]} is too few: each of the {num_classes} classes needs a video.")
    if size < 16 or size % 2:
        raise ConfigError(f"size={size} cannot be used; h264 needs an even size, and a digit at least 16 pixels.")
    for key in ("frames", "fps"):
        if parameters[key] < 1:
            raise ConfigError(f"{key}={parameters[key]} cannot be used; expected a positive number.")
    if parameters["seed"] < 0:
        raise ConfigError(f"seed={parameters['seed']} cannot be used; expected 0 or more.")


def _is_made(root: Path, marker: str) -> bool:
    """Say whether `root` holds the data set of this marker; anything else that it holds is an error."""
    if not root.exists():
        return False
    if not root.is_dir():
        raise DataError(f"{root} is a file; moving digits need a folder of their own.")
    if (root / MARKER).is_file():
        found = (root / MARKER).read_text()
        if found == marker:
            return True
        raise DataError(
            f"{root} holds moving digits made with other parameters.\n  there:  {found}\n  wanted: {marker}\n"
            "Choose another folder, or remove this one to have them made anew."
        )
    if any(root.iterdir()):
        raise DataError(f"{root} is not empty and has no {MARKER}; moving digits need a folder of their own.")
    return False


def _write_split(root: Path, split: str, count: int, parameters: dict[str, int]) -> None:
    size, frames, fps, seed = (parameters[key] for key in ("size", "frames", "fps", "seed"))
    classes = list(MOTIONS)[: parameters["num_classes"]]
    for name in classes:
        (root / split / name).mkdir(parents=True)
    digits, textures = _digits(split), _textures(size, seed)
    lines = []
    for index in range(count):
        label = index % len(classes)
        rng = generator(seed, int(split == "val"), index)
        phases = draw_phases(classes[label], frames, fps, rng)
        digit = digits[_below(len(digits), rng)]
        video = render(phases, digit, textures[_below(len(textures), rng)], size)
        name = f"{classes[label]}/{classes[label]}_{index:04d}.mp4"
        _encode(root / split / name, video, fps)
        lines.append(f"{name} {label}\n")
    (root / f"{split}.csv").write_text("".join(lines))


def _digits(split: str) -> Tensor:
    """Return the digits of a split, shape (N, 8, 8), ink in [0, 1]."""
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images / 16).float()
    return images[:_TRAIN_DIGITS] if split == "train" else images[_TRAIN_DIGITS:]


def _textures(size: int, seed: int) -> Sequence[Tensor]:
    """Make the backgrounds: smooth noise at three scales, tinted, each of shape (3, 1.5 size, 1.5 size).

    They are few and of one colour: a model that tells the videos of the data set apart has to look at the motion.
    """
    rng = generator(seed, 2)  # the splits use 0 and 1
    side = size + 2 * (size // 4)
    textures = []
    for _ in range(_NUM_TEXTURES):
        noise = torch.zeros(side, side)
        for cells, weight in ((4, 0.11), (12, 0.07), (30, 0.04)):
            coarse = torch.randn(1, 1, cells + 1, cells + 1, generator=rng)
            noise += weight * functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)[0, 0]
        textures.append(((0.35 + noise) * torch.tensor(_TINT)[:, None, None]).clamp(0, 0.8))
    return textures


def _below(limit: int, rng: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=rng))


def _encode(path: Path, video: NDArray[np.uint8], fps: int) -> None:
    """Write frames of shape (T, H, W, 3) as h264, each coded by itself.

    Coded as differences, still parts gain quality from frame to frame, so that one frame would give the motion away.
    """
    # One quantizer, so that a frame's quality does not depend on the others; one thread, so that the bytes repeat.
    options = {"g": "1", "qp": "20", "preset": "veryfast", "threads": "1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.height, stream.width = video.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in video:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
