"""Looking at the pictures of a medium: whether they decode, whether they show anything, and what they look like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from eztorch.data.index.probe import FAILURES, FaultError
from eztorch.data.listing import IMAGE_SUFFIXES, frame_numbers, list_files, suffix
from eztorch.datasets.decoders import PyAVDecoder, VideoDecodeError
from eztorch.datasets.decoders.errors import UnreadableError, brief
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.pictures import as_rgb
from eztorch.datasets.video_index import VideoFacts

# Side of the grey thumbnails that are judged, and of those that a signature keeps; how many of them it has.
_SIDE, _SIGNATURE_SIDE, SIGNATURE_FRAMES = 32, 16, 4
# Frames over the whole video that are decoded beside those of the signature.
_SAMPLES = 5
# So long may nine pictures take; what takes longer is no use in training.
_PATIENCE_S = 60
# Grey levels of 255: nothing in a black picture is brighter; the cells of a blank one differ by no more; no cell of a
# frozen video changes by more. Noise of coding is below, the smallest moving object above.
_BLACK, _BLANK, _FROZEN = 32, 8, 5

Grey: TypeAlias = "NDArray[np.uint8]"


class Look(NamedTuple):
    """What the pictures of a medium show.

    Attributes:
        fault: The kind of fault, None where there is none.
        reason: What is wrong, in words.
        signature: Grey thumbnails spread over the video, uint8, shape (S, 16, 16); S is 4, 1 for an image. None where
            the pictures cannot be read or show nothing.
    """

    fault: str | None = None
    reason: str = ""
    signature: Grey | None = None


def look(path: str, facts: VideoFacts, *, every_frame: bool = False) -> Look:
    """Decode pictures of a medium and judge them.

    Args:
        path: The file or folder.
        facts: What is known of it.
        every_frame: Decode all frames; otherwise nine, the first and the last among them.
    """
    num_frames = facts.num_frames or 1
    marks = [(2 * k + 1) * num_frames // (2 * SIGNATURE_FRAMES) for k in range(SIGNATURE_FRAMES)]
    seen = _Seen({0} if facts.kind == "image" else set(marks))
    try:
        for index, picture in _thumbnails(path, facts, marks, every_frame):
            seen.add(index, picture)
    except FaultError as error:
        return Look(error.fault, error.reason)
    except VideoDecodeError as error:
        return Look("undecodable", error.reason)
    except FAILURES as error:
        return Look("undecodable", brief(error) or type(error).__name__)
    return seen.judge()


class _Seen:
    """What is kept of thumbnails that pass by one after the other."""

    def __init__(self, marks: set[int]) -> None:
        self._marks = marks
        self._signature: list[Grey] = []
        self._count = 0
        self._contrast = 0
        self._low = np.full((_SIDE, _SIDE), 255, np.uint8)
        self._high = np.zeros((_SIDE, _SIDE), np.uint8)

    def add(self, index: int, picture: Grey) -> None:
        self._count += 1
        self._contrast = max(self._contrast, int(picture.max()) - int(picture.min()))
        self._low, self._high = np.minimum(self._low, picture), np.maximum(self._high, picture)
        if index in self._marks:
            cells = picture.reshape(_SIGNATURE_SIDE, _SIDE // _SIGNATURE_SIDE, _SIGNATURE_SIDE, -1)
            self._signature.append(cells.mean((1, 3)).round().astype(np.uint8))

    def judge(self) -> Look:
        what = "its pictures are" if self._count > 1 else "the picture is"
        if self._high.max() <= _BLACK:
            return Look("black", f"{what} black")
        if self._contrast <= _BLANK:
            return Look("blank", f"{what} of one colour")
        signature = np.stack(self._signature)
        if self._count > 1 and int((self._high - self._low).max()) <= _FROZEN:
            return Look("frozen", f"all {self._count} pictures looked at are the same", signature)
        return Look(signature=signature)


def _thumbnails(path: str, facts: VideoFacts, marks: list[int], every_frame: bool) -> Iterator[tuple[int, Grey]]:
    """Yield numbers and grey thumbnails of pictures, rising."""
    if facts.kind == "image":
        yield 0, _read_picture(path)
        return
    last = (facts.num_frames or 1) - 1
    chosen = (
        range(last + 1) if every_frame else sorted({*marks, *(last * k // (_SAMPLES - 1) for k in range(_SAMPLES))})
    )
    if facts.kind == "frames":
        frames = frame_numbers(list_files(path, lambda name: suffix(name) in IMAGE_SUFFIXES))
        if frames is None:
            raise FaultError("not-media", "no picture in the folder has a number in its name")
        for index in chosen:
            if index + frames.first in frames.names:  # what is missing the probe has said
                yield index, _read_picture(os.path.join(path, frames.names[index + frames.first]))
    elif every_frame:
        yield from _decode_all(path, last + 1)
    else:
        with PyAVDecoder(transform=_thumbnail, decode_timeout_s=_PATIENCE_S).open(path) as reader:
            (clip,) = reader.get_frames([np.array(chosen, dtype=np.int64)])
        yield from zip(chosen, clip.video[0].numpy(), strict=True)


def _decode_all(path: str, num_frames: int) -> Iterator[tuple[int, Grey]]:
    with closing(PacketFile(path)) as file:
        count = 0
        for packet in chain(file.packets(), [None]):
            if packet is not None and packet.is_corrupt:
                raise UnreadableError("a packet is damaged or cut off")
            for frame in file.codec.decode(packet) if packet is None or packet.size else ():
                if frame.is_corrupt:
                    raise UnreadableError(f"frame {count} is damaged")
                grey = frame.reformat(_SIDE, _SIDE, "gray", interpolation="AREA")
                yield count, grey.to_ndarray().astype(np.uint8, copy=False)
                count += 1
    if count < num_frames:
        raise UnreadableError(f"only {count} of its {num_frames} frames come out")


def _thumbnail(picture: Tensor) -> Tensor:
    """Shrink an RGB picture, shape (3, H, W), to its grey thumbnail, uint8, shape (1, 32, 32)."""
    grey = picture.float().mean(0, keepdim=True)
    return torch.nn.functional.adaptive_avg_pool2d(grey, _SIDE).round().to(torch.uint8)


def _read_picture(path: str) -> Grey:
    name = Path(path).name
    if os.path.getsize(path) == 0:
        raise FaultError("empty", f"the file {name} is empty")
    try:
        with Image.open(path) as image:
            image.load()
            return np.asarray(as_rgb(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX))
    except UnidentifiedImageError as error:
        raise FaultError("not-media", f"the file {name} is not a picture") from error
    except (OSError, SyntaxError) as error:
        fault = "cut-off" if "truncated" in str(error) else "undecodable"
        raise FaultError(fault, f"the picture {name} is damaged: {brief(error)}") from error
