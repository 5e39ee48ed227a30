"""One clip through every decoder, and through frames that were extracted: the same frames, and the same pixels.

Tolerance: 8-bit videos none; of 10 bits on average 1.5 of 255 and 16 at most, where the libraries interpolate chroma in
other ways; frames extracted as JPEG of quality 95 on average 2.5.
"""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from eztorch.datasets.decoders import Clip, VideoDecodeError, build_decoder
from eztorch.utils.errors import ConfigError

FILES = {
    "h264": "gop12.mp4",
    "HEVC of 10 bits": "hevc10.mp4",
    "AV1": "av1.mkv",
    "MPEG-4 in AVI": "mpeg4.avi",
    "MPEG-4 in AVI with B-frames": "mpeg4_b.avi",
    "variable frame rate": "irregular.mp4",
    "B-frames and open groups": "open_gop.mp4",
    "two video streams": "two_streams.mp4",
    "turned by a phone": "rotated.mp4",
    "edit list": "edit_list.mp4",
    "three frames": "three.mp4",
}
OTHERS = {
    "torchcodec": ("torchcodec", {}),
    "decord": ("decord", {}),
    "auto": ("auto", {}),
    "auto, dense with torchcodec": ("auto", {"dense_decoder": "torchcodec"}),
}
# What an other decoder says that it cannot read; all else it must read.
REFUSED = {("torchcodec", "mpeg4_b.avi"), ("decord", "av1.mkv"), ("decord", "rotated.mp4"), ("decord", "edit_list.mp4")}


def spans(duration: Fraction) -> list[tuple[Fraction, Fraction]]:
    """Spans with bounds on and between the frames of any rate, and over the end."""
    rng = np.random.default_rng(0)
    shares = np.sort(rng.integers(0, 1100, (12, 2)), axis=1)
    return [(duration * int(a) / 1000, duration * int(b) / 1000) for a, b in shares]


def read(decoder: str, args: dict[str, object], path: str) -> list[Clip]:
    with build_decoder(decoder, args).open(path) as reader:
        return reader.get_clips(spans(reader.duration))


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize(("decoder", "args"), OTHERS.values(), ids=OTHERS)
def test_decoders__give_the_clips_of_pyav(decoder, args, file, media):
    path = str(media(file))
    try:
        build_decoder(decoder, args)
    except ConfigError as missing:
        pytest.skip(str(missing))
    if (decoder, file) in REFUSED:
        with pytest.raises(VideoDecodeError):
            read(decoder, args, path)
        return
    for clip, expected in zip(read(decoder, args, path), read("pyav", {}, path), strict=True):
        assert clip.indices.tolist() == expected.indices.tolist()
        assert clip.pts.tolist() == expected.pts.tolist()
        difference = (clip.video.float() - expected.video.float()).abs()
        assert difference.mean() < (1.5 if file == "hevc10.mp4" else 1e-9)
        assert difference.max() <= (16 if file == "hevc10.mp4" else 0)


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize(("ending", "tolerance"), [("png", 0), ("jpg", 2.5)])
def test_extracted_frames__give_the_clips_of_the_video(file, ending, tolerance, media, truth, tmp_path):
    for number, picture in enumerate(truth(file), start=1):
        Image.fromarray(picture).save(tmp_path / f"{number:08d}.{ending}", quality=95, subsampling=0)
    with build_decoder("pyav").open(str(media(file))) as video:
        rate = Fraction(video.num_frames) / video.duration  # of a constant rate, the rate
        folder = build_decoder("frame", {"fps": rate, "frame_name": f"{{index:08d}}.{ending}"}).open(str(tmp_path))
        assert (folder.duration, folder.num_frames) == (video.duration, video.num_frames)
        expected = video.get_clips(spans(video.duration))
        if file == "irregular.mp4":  # folders have no times of their own
            clips = folder.get_frames([clip.indices.numpy() for clip in expected])
        else:
            clips = folder.get_clips(spans(video.duration))
    for clip, other in zip(clips, expected, strict=True):
        assert clip.indices.tolist() == other.indices.tolist()
        difference = (clip.video.float() - other.video.float()).abs()
        assert difference.mean() <= tolerance
