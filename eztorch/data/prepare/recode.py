"""Videos anew: smaller, with key frames close together, or as pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter
from PIL import Image

from eztorch.data.prepare.presets import Recipe
from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.frame_index import FrameIndex
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.timeline import Numbers

if TYPE_CHECKING:
    from av.container.output import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_LIMITED_RANGE = 1  # FFmpeg's number of it: luma from 16 to 235, which every player expects of a video


class Size(NamedTuple):
    """Width and height of a picture in pixels."""

    width: int
    height: int


class Made(NamedTuple):
    """What was made of a medium.

    Attributes:
        num_frames: Frames, or pictures.
        seconds: Duration; None for pictures.
    """

    num_frames: int
    seconds: float | None = None


def small_size(width: int, height: int, short_side: int | None, *, even: bool) -> Size:
    """Return the size of a picture whose shorter side becomes `short_side`; smaller ones are not enlarged.

    Args:
        width: In pixels.
        height: In pixels.
        short_side: In pixels; None keeps the size.
        even: Make both sides even, as h264 needs them, by at most a pixel.

    >>> small_size(1920, 1080, 256, even=True), small_size(321, 241, 256, even=True)
    (Size(width=456, height=256), Size(width=320, height=240))
    """
    scale = min(1.0, (short_side or min(width, height)) / min(width, height))
    step = 2 if even else 1
    # A size that stays loses its odd column; one that is scaled is rounded to the nearest.
    sides = (int(side // step if scale == 1 else side * scale / step + 0.5) * step for side in (width, height))
    return Size(*(max(step, side) for side in sides))


def resample(stamps: Numbers, end: int, fps: Fraction, time_base: Fraction) -> Numbers:
    """Choose frames for a constant rate: at each moment the frame that begins nearest, the earlier of two.

    Args:
        stamps: When the frames begin, from 0, rising, in units of `time_base`, shape (N,).
        end: When the last one ends.
        fps: Wanted frames a second.
        time_base: Seconds.

    Returns:
        Numbers of the frames, never falling, shape (M,); M is the duration times `fps`, rounded, and at least 1.

    >>> resample(np.array([0, 33, 67, 100]), 133, Fraction(15), Fraction(1, 1000)).tolist()  # every other frame
    [0, 2]
    >>> resample(np.array([0, 33]), 67, Fraction(45), Fraction(1, 1000)).tolist()
    [0, 1, 1]
    """
    number = max(1, round(end * time_base * fps))
    step = 1 / (fps * time_base)  # in units of the time base
    moments = np.arange(number, dtype=np.int64) * 2 * step.numerator
    middles = (stamps[1:] + stamps[:-1]) * step.denominator
    return np.searchsorted(middles, moments, side="left").astype(np.int64)


class SourceVideo:
    """A video that is read from its first frame to its last.

    Attributes:
        stamps: When the frames begin, from 0, in units of `time_base`, shape (N,).
        end: When the last one ends.
        time_base: Seconds.
    """

    def __init__(self, file: PacketFile) -> None:
        self._file = file
        index = FrameIndex(file)
        stamps = index.stamps(range(index.num_frames))
        self.stamps: Numbers = stamps - stamps[0]
        self.time_base = file.time_base
        self.end = max(round(index.duration / self.time_base), int(self.stamps[-1]) + 1)

    @property
    def seconds(self) -> Fraction:
        """Duration."""
        return self.end * self.time_base

    def frames(self) -> Iterator[VideoFrame]:
        """Decode all frames.

        Raises:
            UnreadableError: Some are damaged, or do not come out.
        """
        count = 0
        for packet in chain(self._file.packets(), [None]):
            if packet is not None and packet.is_corrupt:
                raise UnreadableError("a packet is damaged or cut off")
            for frame in self._file.codec.decode(packet) if packet is None or packet.size else ():
                if frame.is_corrupt:
                    raise UnreadableError(f"frame {count} is damaged")
                yield frame
                count += 1
        if count != len(self.stamps):
            raise UnreadableError(f"{count} frames come out, not the {len(self.stamps)} that the file lists")


@contextmanager
def open_source(path: str | Path) -> Iterator[SourceVideo]:
    """Open a video.

    Raises:
        UnreadableError: It is none.
    """
    with closing(PacketFile(str(path))) as file:
        yield SourceVideo(file)


class Plan(NamedTuple):
    """Which frames a new video has.

    Attributes:
        chosen: Numbers of frames of the source, never falling, shape (M,).
        stamps: When each begins, from 0, in units of `time_base`, shape (M,).
        ends: When each ends, shape (M,).
        time_base: Seconds.
    """

    chosen: Numbers
    stamps: Numbers
    ends: Numbers
    time_base: Fraction


def make_plan(source: SourceVideo, fps: Fraction | None) -> Plan:
    """Plan the frames of a new video: those of the source at their own times, or at a constant rate."""
    if fps is None:
        numbers = np.arange(len(source.stamps))
        return Plan(numbers, source.stamps, np.append(source.stamps[1:], source.end), source.time_base)
    chosen = resample(source.stamps, source.end, fps, source.time_base)
    numbers = np.arange(len(chosen))
    return Plan(chosen, numbers, numbers + 1, 1 / fps)


def recode_video(path: str | Path, target: Path, recipe: Recipe) -> Made:
    """Encode a video as h264 in MP4, without its sound, turned as it is shown, and check the outcome.

    Raises:
        UnreadableError: The source cannot be read, or what came out of it is not what it should be.
    """
    with open_source(path) as source, av.open(str(target), "w", options={"movflags": "+faststart"}) as container:
        plan = make_plan(source, recipe.fps)
        convert = _Converter(recipe.short_side)
        stream: VideoStream | None = None
        for frame, number in _planned(source, plan):
            picture = convert(frame)
            if stream is None:
                stream = _open_stream(container, picture, frame, plan, recipe)
            if (picture.width, picture.height) != (stream.width, stream.height):
                picture = picture.reformat(stream.width, stream.height, threads=1)  # the size changes in the middle
            picture.time_base, picture.pts = plan.time_base, int(plan.stamps[number])
            picture.duration = int(plan.ends[number] - plan.stamps[number])
            picture.pict_type = 0  # which frames are key frames the encoder decides
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())
    return _check_video(target, plan)


def extract_frames(path: str | Path, target: Path, recipe: Recipe) -> Made:
    """Write the frames of a video as 00000001.jpg and on into a folder, turned as they are shown.

    Raises:
        UnreadableError: The video cannot be read.
    """
    with open_source(path) as source:
        plan = make_plan(source, recipe.fps)
        reformatter = VideoReformatter()
        written, last = -1, b""
        for frame, number in _planned(source, plan):
            if plan.chosen[number] != written:
                size = small_size(frame.width, frame.height, recipe.short_side, even=False)
                picture = reformatter.reformat(frame, *size, "rgb24", interpolation="BICUBIC", threads=1)
                last = _encode_jpeg(picture, frame.rotation, recipe.quality)
                written = int(plan.chosen[number])
            (target / f"{number + 1:08d}.jpg").write_bytes(last)
        return Made(len(plan.chosen), float(source.seconds))


def _planned(source: SourceVideo, plan: Plan) -> Iterator[tuple[VideoFrame, int]]:
    """Yield each planned frame and its number in the new video."""
    number = 0
    for index, frame in enumerate(source.frames()):
        while number < len(plan.chosen) and plan.chosen[number] == index:
            yield frame, number
            number += 1


class _Converter:
    """Makes pictures for the encoder: small, 8 bits, of limited range, turned as they are shown."""

    def __init__(self, short_side: int | None) -> None:
        self._short_side = short_side
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        size = small_size(frame.width, frame.height, self._short_side, even=True)
        options = {"src_color_range": frame.color_range, "dst_color_range": _LIMITED_RANGE, "threads": 1}
        picture = self._reformatter.reformat(frame, *size, "yuv420p", interpolation="BICUBIC", **options)
        if frame.rotation:
            picture = _turn(picture, round(frame.rotation / 90))
        picture.color_range, picture.colorspace = _LIMITED_RANGE, frame.colorspace
        return picture


def _turn(picture: VideoFrame, quarters: int) -> VideoFrame:
    """Turn a yuv420p picture counter-clockwise."""
    width, height = picture.width, picture.height
    luma, chroma = np.split(picture.to_ndarray().reshape(-1), [width * height])
    planes = [luma.reshape(height, width), *chroma.reshape(2, height // 2, width // 2)]
    turned = [np.rot90(plane, quarters) for plane in planes]
    flat = np.concatenate([plane.reshape(-1) for plane in turned])
    return av.VideoFrame.from_ndarray(flat.reshape(-1, turned[0].shape[1]), format="yuv420p")


def _open_stream(
    container: OutputContainer, picture: VideoFrame, like: VideoFrame, plan: Plan, recipe: Recipe
) -> VideoStream:
    rate = Fraction(len(plan.stamps)) / (int(plan.ends[-1]) * plan.time_base)
    stream = container.add_stream("libx264", rate=rate.limit_denominator(1001), options=recipe.encoder_options())
    codec = stream.codec_context
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
    codec.time_base = plan.time_base
    codec.thread_count = 1
    codec.flags |= Flags.frame_duration  # the last frame lasts as long as it did
    codec.color_range, codec.colorspace = _LIMITED_RANGE, like.colorspace
    codec.color_primaries, codec.color_trc = like.color_primaries, like.color_trc
    return stream


def _check_video(target: Path, plan: Plan) -> Made:
    """Compare a new video with its plan."""
    wanted = int(plan.ends[-1]) * plan.time_base
    with closing(PacketFile(str(target))) as file:
        index = FrameIndex(file)
        if index.num_frames != len(plan.stamps):
            raise UnreadableError(f"the new file has {index.num_frames} frames instead of {len(plan.stamps)}")
        if abs(index.duration - wanted) > int((plan.ends - plan.stamps).max()) * plan.time_base:
            raise UnreadableError(f"the new file lasts {float(index.duration):.3f} s instead of {float(wanted):.3f} s")
    return Made(index.num_frames, float(index.duration))


def _encode_jpeg(picture: VideoFrame, rotation: int, quality: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.rot90(picture.to_ndarray(), round(rotation / 90))).save(content, "JPEG", quality=quality)
    return content.getvalue()
