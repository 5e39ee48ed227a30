"""Videos made anew: the frames, when they are shown, how they look, where decoding can begin."""

import itertools
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from eztorch.data.prepare.presets import Recipe
from eztorch.data.prepare.recode import extract_frames, open_source, recode_video, resample, small_size
from eztorch.datasets.decoders import FrameDecoder, PyAVDecoder
from eztorch.datasets.decoders.errors import UnreadableError

IRREGULAR = list(itertools.accumulate([0] + [20, 60, 33] * 15))  # milliseconds


def write(path, frames, *, codec="libx264", times=None, rate=24, sound=False, pixels="yuv420p", **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options={"threads": "1", **options})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        noise = container.add_stream("aac", rate=8000) if sound else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if noise is not None:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate = 8000
            container.mux(noise.encode(samples))
            container.mux(noise.encode())
    return path


def seconds(path):
    """When the frames begin, and when the last one ends."""
    with open_source(path) as video:
        return [float(stamp * video.time_base) for stamp in (*map(int, video.stamps), video.end)]


def pictures(path, **options):
    with PyAVDecoder(**options).open(str(path)) as reader:
        return reader.get_frames([np.arange(reader.num_frames)])[0].video.permute(1, 2, 3, 0).numpy()


def key_frames(path):
    with av.open(str(path)) as container:
        packets = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    return np.flatnonzero(packets)


def difference(one, other):
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


@pytest.mark.parametrize(
    ("size", "short_side", "even", "expected"),
    [
        ((1920, 1080), 256, True, (456, 256)),
        ((1080, 1920), 256, True, (256, 456)),
        ((1920, 1080), 256, False, (455, 256)),
        ((200, 100), 256, True, (200, 100)),  # nothing is enlarged
        ((201, 101), None, True, (200, 100)),
        ((201, 101), None, False, (201, 101)),
        ((256, 256), 256, True, (256, 256)),
        ((257, 256), 256, True, (256, 256)),
        ((4000, 16), 16, True, (4000, 16)),
        ((1, 1), 256, True, (2, 2)),
        ((3000, 300), 150, False, (1500, 150)),
    ],
)
def test_small_size__at_every_boundary(size, short_side, even, expected):
    assert small_size(*size, short_side, even=even) == expected


@pytest.mark.parametrize("fps", [Fraction(1, 10), Fraction(12), Fraction(24), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("times", [[0], [0, 33], IRREGULAR, list(range(0, 1000, 40))])
def test_resample__takes_the_nearest_frame(fps, times):
    end, base = times[-1] + 40, Fraction(1, 1000)
    chosen = resample(np.array(times, dtype=np.int64), end, fps, base).tolist()
    assert len(chosen) == max(1, round(end * base * fps))
    for number, frame in enumerate(chosen):
        distances = [abs(number / fps - time * base) for time in times]
        assert distances[frame] == min(distances)
    assert chosen == sorted(chosen)


def test_resample__at_the_own_rate_takes_every_frame_once_however_stamps_were_rounded():
    stamps = np.array([round(1000 * number / 30) for number in range(300)])
    assert resample(stamps, 10000, Fraction(30), Fraction(1, 1000)).tolist() == list(range(300))


SOURCES = {
    "plain.mp4": {},
    "b_frames.mkv": {"bf": "3", "g": "250"},
    "irregular.mp4": {"times": IRREGULAR},
    "irregular.mkv": {"times": IRREGULAR},
    "late.mkv": {"times": [2000 + 40 * number for number in range(46)]},
    "mpeg4.avi": {"codec": "mpeg4", "bf": "2"},
    "ntsc.mp4": {"rate": Fraction(30000, 1001)},
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("to", ["short-gop", "short-gop-6", "intra"])
def test_recode__keeps_every_frame_at_its_time(tmp_path, draw, name, to):
    source = write(tmp_path / name, draw(0, 46), **SOURCES[name])
    made = recode_video(source, tmp_path / "out.mp4", Recipe(to=to))
    assert made.num_frames == 46
    *before, end_before = seconds(source)
    *after, end_after = seconds(tmp_path / "out.mp4")
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert end_after == pytest.approx(end_before, abs=0.03)  # less than a frame
    assert difference(pictures(source), pictures(tmp_path / "out.mp4")) < 6
    keys = key_frames(tmp_path / "out.mp4")
    distance = {"short-gop": 12, "short-gop-6": 6, "intra": 1}[to]
    assert np.diff([*keys, 46]).max() <= distance
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        reordered = any(packet.pts != packet.dts for packet in container.demux(video=0) if packet.size)
    assert reordered == (to == "short-gop")


def test_recode__of_one_frame(tmp_path, draw):
    source = write(tmp_path / "a.mp4", draw(0, 1), rate=10)
    assert recode_video(source, tmp_path / "out.mp4", Recipe()) == (1, pytest.approx(0.1))


@pytest.mark.parametrize(("fps", "expected"), [(Fraction(12), 24), (Fraction(48), 96), (Fraction(30000, 1001), 60)])
def test_recode__to_a_constant_rate(tmp_path, draw, fps, expected):
    source = write(tmp_path / "a.mp4", draw(0, 48))
    made = recode_video(source, tmp_path / "out.mp4", Recipe(fps=fps))
    assert made.num_frames == expected
    times = seconds(tmp_path / "out.mp4")
    np.testing.assert_allclose(times, np.arange(expected + 1) / float(fps), atol=1e-4)
    shown = pictures(source)[np.clip(np.ceil(np.array(times[:-1]) * 24 - 0.501).astype(int), 0, 47)]
    assert difference(pictures(tmp_path / "out.mp4"), shown) < 6


def test_recode__makes_large_videos_small_and_odd_sides_even(tmp_path, draw):
    source = write(tmp_path / "a.mkv", draw(0, 5, 99, 151), codec="ffv1", pixels="yuv444p")
    recode_video(source, tmp_path / "out.mp4", Recipe(short_side=None))
    assert pictures(tmp_path / "out.mp4").shape == (5, 98, 150, 3)
    recode_video(source, tmp_path / "out.mp4", Recipe(short_side=48))
    assert pictures(tmp_path / "out.mp4").shape == (5, 48, 74, 3)


def test_recode__drops_the_sound(tmp_path, draw):
    source = write(tmp_path / "a.mp4", draw(0, 5), sound=True)
    recode_video(source, tmp_path / "out.mp4", Recipe())
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        assert [stream.type for stream in before.streams] == ["video", "audio"]
        assert [stream.type for stream in after.streams] == ["video"]


def turned(path):
    """Write a rotation by a quarter into the track header, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("to", ["short-gop", "frames"])
def test_making_anew__turns_the_video_as_it_is_shown(tmp_path, draw, to):
    source = turned(write(tmp_path / "a.mp4", draw(0, 5), crf="1"))
    before = pictures(source)
    assert before.shape == (5, 64, 48, 3)
    if to == "frames":
        (tmp_path / "out").mkdir()
        extract_frames(source, tmp_path / "out", Recipe(to="frames", quality=95))
        after = np.stack([np.asarray(Image.open(file)) for file in sorted((tmp_path / "out").iterdir())])
    else:
        recode_video(source, tmp_path / "out.mp4", Recipe(crf=1))
        after = pictures(tmp_path / "out.mp4")
    assert difference(before, after) < 8  # JPEG halves the chroma once more


def test_recode__keeps_the_colours_of_a_full_range_video(tmp_path, draw):
    parameters = {"x264-params": "colormatrix=bt709:fullrange=on"}
    source = write(tmp_path / "a.mp4", draw(0, 5), pixels="yuvj420p", crf="1", **parameters)
    recode_video(source, tmp_path / "out.mp4", Recipe(crf=1))
    before, after = pictures(source), pictures(tmp_path / "out.mp4")
    assert difference(before, after) < 3
    assert np.abs(before.mean((0, 1, 2)) - after.mean((0, 1, 2))).max() < 2


def test_recode__of_a_video_that_changes_its_size(tmp_path, draw):
    parts = [write(tmp_path / "a.h264", draw(0, 6)), write(tmp_path / "b.h264", draw(0, 6, 96, 128))]
    source = tmp_path / "c.h264"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert recode_video(source, tmp_path / "out.mp4", Recipe()).num_frames == 12
    assert pictures(tmp_path / "out.mp4").shape == (12, 48, 64, 3)


def test_recode__refuses_what_lacks_its_beginning_or_is_none(tmp_path, draw):
    whole = write(tmp_path / "a.ts", draw(0, 40), g="12").read_bytes()
    for name, content in {"cut.ts": whole[188 * 20 :], "empty.mkv": b"", "text.mp4": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableError):
            recode_video(tmp_path / name, tmp_path / "out.mp4", Recipe())


@pytest.mark.parametrize(("fps", "expected"), [(None, 30), (Fraction(12), 15), (Fraction(48), 60)])
def test_extract_frames__are_what_the_frame_decoder_reads(tmp_path, draw, fps, expected):
    source = write(tmp_path / "a.mp4", draw(0, 30), crf="1")
    (tmp_path / "out").mkdir()
    made = extract_frames(source, tmp_path / "out", Recipe(to="frames", fps=fps, quality=95))
    assert made == (expected, pytest.approx(1.25))
    with FrameDecoder(fps=fps or 24).open(str(tmp_path / "out")) as reader:
        assert (reader.num_frames, float(reader.duration)) == (expected, 1.25)
        clip = reader.get_frames([np.arange(expected)])[0].video.permute(1, 2, 3, 0).numpy()
    shown = pictures(source)[np.clip(np.ceil(np.arange(expected) * 24 / float(fps or 24) - 0.501).astype(int), 0, 29)]
    assert difference(clip, shown) < 8
