"""Video files of many makings: every decoder of files gives the frames of a plain decode, or says that it cannot."""

from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest

from eztorch.datasets.decoders import Clip, PyAVDecoder, VideoDecodeError, VideoReader, build_decoder
from eztorch.datasets.decoders import frame_index as frame_index_module
from eztorch.datasets.decoders.frame_index import FrameIndex
from eztorch.datasets.decoders.packets import PacketFile

PLAIN = ["gop12.mp4", "gop1.mp4", "gop250.mp4", "mpeg4.mp4", "hevc.mp4", "whole.mp4", "three.mp4", "one.mp4"]
ODD = [
    "bt709_full.mp4",
    "open_gop.mp4",
    "intra_refresh.mp4",
    "fragmented.mp4",
    "edit_list.mp4",
    "rotated.mp4",
    "two_streams.mp4",
    "irregular.mp4",
]
OTHERS = ["irregular.mkv", "late_start.mkv", "vp9.webm", "av1.mkv", "gop12.flv", "gop12.ts", "mpeg4.avi", "dropped.avi"]
# The container does not say when frames are shown, and the order of decoding is not that of presentation.
COUNTED = ["mpeg4_b.avi", "h264_b.avi", "gop12.h264", "gop12.mpg"]
ALL = PLAIN + ODD + OTHERS + COUNTED

TOLERANCE = Fraction(1, 10**6)  # a time as a float may lie just before or behind the frame

# What a library cannot read, and how its decoder says so.
REFUSED = {
    ("decord", "edit_list.mp4"): "decord counts 60 frames where the file shows 55",
    ("decord", "rotated.mp4"): "size",
    ("decord", "av1.mkv"): "decord, whose FFmpeg is of 2019, cannot open this .*av1.* file",
    ("decord", "gop12.ts"): "decord does not seek exactly in mpegts files",
    ("decord", "gop12.h264"): "decord does not seek exactly in h264 files",
    ("decord", "gop12.mpg"): "decord does not seek exactly in mpeg files",
    ("torchcodec", "gop12.ts"): "frames of other times|no more frames",
    ("torchcodec", "intra_refresh.mp4"): "frames of other times",
    **{("torchcodec", name): "does not store when its frames are shown" for name in COUNTED},
}


def as_frames(clip: Clip) -> np.ndarray:
    return clip.video.permute(1, 2, 3, 0).numpy()


@pytest.mark.parametrize("file", ALL)
def test_frames__are_those_of_a_plain_decode(request, encoded, file, media, truth):
    if (encoded, file) == ("decord", "intra_refresh.mp4"):
        request.applymarker(pytest.mark.xfail(reason="a limit that the documentation of the decoder states"))
    refusal = REFUSED.get((encoded, file))
    with nullcontext() if refusal is None else pytest.raises(VideoDecodeError, match=refusal):
        compare_with_plain_decode(build_decoder(encoded).open(str(media(file))), truth(file))


def compare_with_plain_decode(reader: VideoReader, frames: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    with reader:
        whole = reader.get_clip(Fraction(0), reader.duration + 1)
        assert reader.num_frames == len(frames)
        assert whole.indices.tolist() == list(range(len(frames)))
        assert np.array_equal(as_frames(whole), frames)
        times = [*map(Fraction, whole.pts.tolist()), Fraction(1000)]
        for _ in range(25):
            first, stop = sorted(rng.choice(len(times), 2, replace=False).tolist())
            clip = reader.get_clip(times[first] - TOLERANCE, times[stop] - TOLERANCE)
            assert clip.indices.tolist() == list(range(first, stop))
            assert np.array_equal(as_frames(clip), frames[first:stop])


@pytest.mark.parametrize("file", ALL)
@pytest.mark.parametrize("threads", [1, 2])
def test_pyav__gives_the_same_pixels_however_few_are_wanted(file, threads, media, truth):
    frames, rng = truth(file), np.random.default_rng(1)
    with PyAVDecoder(num_threads=threads).open(str(media(file))) as reader:
        for number in rng.integers(1, 9, 25):
            wanted = sorted(rng.choice(len(frames), min(number, len(frames)), replace=False).tolist())
            for index, picture in zip(wanted, reader._source.read(wanted), strict=True):
                assert np.array_equal(picture.permute(1, 2, 0), frames[index])


@pytest.mark.parametrize("file", ["irregular.mp4", "irregular.mkv", "late_start.mkv", "gop12.ts"])
def test_times__are_those_that_the_file_was_written_with(encoded, file, media):
    if (encoded, file) in REFUSED:
        pytest.skip(f"{encoded} refuses this file, which another test shows")
    steps = np.random.default_rng(1).integers(10, 120, 60)
    times = {
        "irregular": np.cumsum(steps) - steps[0],
        "late_start": 40 * np.arange(60),
        "gop12": np.arange(60) * 1000 / 30,
    }
    with build_decoder(encoded).open(str(media(file))) as reader:
        clip = reader.get_clip(Fraction(0), Fraction(1000))
        np.testing.assert_allclose(clip.pts, times[file.partition(".")[0]] / 1000, atol=1e-4)
        assert 0 <= float(reader.duration) - clip.pts[-1] < 0.2


@pytest.mark.parametrize("file", ["mpeg4_b.avi", "h264_b.avi", "gop12.mpg", "mpeg4.avi", "gop12.h264"])
def test_counted_frames__are_in_the_order_they_were_drawn(file, media, draw):
    drawn = draw(60).astype(int)
    with PyAVDecoder().open(str(media(file))) as reader:
        decoded = as_frames(reader.get_clip(Fraction(0), Fraction(1000)))
    nearest = [int(np.abs(drawn - picture).mean((1, 2, 3)).argmin()) for picture in decoded]
    assert nearest == list(range(60))


@pytest.mark.parametrize("file", [name for name in ALL if name.endswith(".mp4")])
def test_index__from_the_header_equals_that_from_a_scan(file, media, monkeypatch):
    path, rng = str(media(file)), np.random.default_rng(0)
    header = FrameIndex(PacketFile(path))
    monkeypatch.setattr(frame_index_module, "table_from_header", lambda file: None)
    scan = FrameIndex(PacketFile(path))
    assert header.num_frames == scan.num_frames
    assert header.fps == scan.fps
    assert float(header.duration) == pytest.approx(float(scan.duration), abs=0.005)  # a header counts milliseconds
    everything = np.arange(scan.num_frames)
    for _ in range(40):  # groups are read in any order
        time = Fraction(int(rng.integers(-100, 2200)), 1000)
        assert header.rank(time) == scan.rank(time)
        assert header.rank(time, inclusive=True) == scan.rank(time, inclusive=True)
    assert header.seconds(everything).tolist() == scan.seconds(everything).tolist()
    wanted = sorted(rng.choice(scan.num_frames, min(5, scan.num_frames), replace=False).tolist())
    assert header.runs(wanted) == scan.runs(wanted)


def test_index__says_to_decode_no_more_than_the_frames_need(media):
    index = FrameIndex(PacketFile(str(media("gop12.mp4"))))
    first, middle, last = index.runs([0]), index.runs([30]), index.runs([59])
    assert [(run.first, run.last) for run in first] == [(0, 0)]
    assert [run.first for run in middle] == [24]
    assert all(24 <= run.last < 36 for run in middle)
    assert [run.first for run in last] == [48]
    assert [run.first for run in index.runs([0, 30, 59])] == [0, 24, 48]
    dense = index.runs(list(range(60)))
    assert [(run.first, run.last, len(run.stamps)) for run in dense] == [(0, 59, 60)]


def test_index__begins_a_group_earlier_for_frames_before_an_open_key_frame(media):
    index = FrameIndex(PacketFile(str(media("open_gop.mp4"))))
    begins = [index.runs([i])[0].first for i in range(60)]
    keys = sorted(set(begins))
    assert len(keys) > 3
    lasts = [index.runs([i])[0].last for i in range(60)]
    assert any(begin < key <= last for begin, last in zip(begins, lasts, strict=True) for key in keys)


def test_pyav__reads_only_what_a_clip_needs(tmp_path, write_video):
    noise = np.random.default_rng(0).integers(0, 255, (120, 96, 128, 3), dtype=np.uint8)
    path = write_video(tmp_path / "large.mp4", noise, g="10", crf="10", muxer={"movflags": "faststart"})
    size = path.stat().st_size

    class Counted:
        def __init__(self):
            self.file, self.read_bytes = path.open("rb"), 0

        def read(self, n):
            data = self.file.read(n)
            self.read_bytes += len(data)
            return data

        def seek(self, *args):
            return self.file.seek(*args)

        def tell(self):
            return self.file.tell()

    counted = Counted()
    file = PacketFile(counted)
    index = FrameIndex(file)
    assert index.rank(Fraction(2)) == 60
    assert [packet.pts is not None for packet in file.packets(60, 70)] == [True] * 10
    assert counted.read_bytes < size / 2
    file.close()
    counted.file.close()


def test_ten_bits__agree_but_for_the_interpolation_of_chroma(encoded, media, truth):
    frames = truth("hevc10.mp4").astype(int)
    with build_decoder(encoded).open(str(media("hevc10.mp4"))) as reader:
        clip = reader.get_clip(Fraction(0), Fraction(1))
    difference = np.abs(as_frames(clip) - frames)
    assert difference.mean() < 1.5
    assert difference.max() <= 16


@pytest.mark.parametrize("bf", ["0", "3"])
def test_duration__of_a_rate_that_falls_lies_behind_the_last_frame(tmp_path, write_video, draw, bf):
    times = [40 * t if t < 12 else 480 + 120 * (t - 12) for t in range(24)]
    path = write_video(tmp_path / "falling.mp4", draw(24), times=times, bf=bf)
    with build_decoder("pyav", {}).open(str(path)) as reader:
        assert reader.num_frames == 24
        assert reader.duration > Fraction(times[-1], 1000)
        clip = reader.get_clip(Fraction(times[-1], 1000), reader.duration)
    assert clip.indices.tolist() == [23]
