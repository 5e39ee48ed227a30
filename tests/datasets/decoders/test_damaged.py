"""Files that are not whole: what is there decodes, what is not raises, and nothing is made up in its place."""

import os
import shutil
from fractions import Fraction

import av
import numpy as np
import pytest

from eztorch.datasets.decoders import PyAVDecoder, VideoDecodeError, build_decoder


def damaged(media, tmp_path, change, name="whole.mp4"):
    data = bytearray(media(name).read_bytes())
    path = tmp_path / name
    path.write_bytes(change(data))
    return str(path)


def readable_frames(reader, frames) -> list[bool]:
    """Read each frame alone; it must be right or raise."""
    outcome = []
    for index in range(len(frames)):
        try:
            clip = reader.get_clip(Fraction(index, 30), Fraction(index + 1, 30))
        except VideoDecodeError:
            outcome.append(False)
        else:
            assert clip.indices.tolist() == [index]
            assert np.array_equal(clip.video[:, 0].permute(1, 2, 0), frames[index])
            outcome.append(True)
    return outcome


@pytest.mark.parametrize("share", [0.45, 0.6, 0.8, 0.97])
def test_cut_off__decodes_up_to_the_cut_and_raises_behind_it(encoded, share, media, truth, tmp_path):
    path = damaged(media, tmp_path, lambda data: data[: int(len(data) * share)])
    if encoded == "decord":
        with pytest.raises(VideoDecodeError, match="decord, whose FFmpeg is of 2019, cannot open"):
            build_decoder(encoded).open(path)
        return
    with build_decoder(encoded).open(path) as reader:
        assert reader.duration == 2
        readable = readable_frames(reader, truth("whole.mp4"))
    assert readable == sorted(readable, reverse=True)  # no hole before the cut
    assert 0 < sum(readable) < 60


def test_cut_off__does_not_shorten_a_span_that_goes_behind_it(media, tmp_path):
    path = damaged(media, tmp_path, lambda data: data[: int(len(data) * 0.6)])
    for spans in ([(Fraction(0), Fraction(2))], [(Fraction(19, 10), Fraction(2))], [(Fraction(5), Fraction(6))]):
        with PyAVDecoder().open(path) as reader, pytest.raises(VideoDecodeError, match="cut off"):
            reader.get_clips(spans)


def test_cut_off__without_a_count_in_the_header_has_the_frames_that_are_there(encoded, media, truth, tmp_path):
    path = damaged(media, tmp_path, lambda data: data[: len(data) // 2], "irregular.mkv")
    with build_decoder(encoded).open(path) as reader:
        assert 5 < reader.num_frames < 60
        clip = reader.get_clip(Fraction(0), Fraction(1, 4))
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), truth("irregular.mkv")[clip.indices.tolist()])


def test_moments_without_a_frame__are_not_taken_for_a_missing_end(encoded, media, truth):
    """The header of an AVI file counts them as frames."""
    with build_decoder(encoded).open(str(media("dropped.avi"))) as reader:
        assert (reader.num_frames, reader.duration) == (60, Fraction(63, 30))
        clip = reader.get_clip(Fraction(1), reader.duration + 1)  # what a clip longer than the video asks for
    assert clip.indices.tolist() == list(range(29, 60))
    assert clip.pts[11:13].tolist() == pytest.approx([41 / 30, 44 / 30])
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), truth("dropped.avi")[29:])


def test_cut_off__of_a_file_with_moments_without_a_frame_is_said(media, tmp_path):
    path = damaged(media, tmp_path, lambda data: data[: int(len(data) * 0.8)], "dropped.avi")
    with PyAVDecoder().open(path) as reader, pytest.raises(VideoDecodeError, match="cut off"):
        reader.get_clip(Fraction(1), Fraction(2))


def overwrite(begin: float, end: float):
    def change(data):
        first, stop = int(len(data) * begin), int(len(data) * end)
        data[first:stop] = bytes(stop - first)
        return data

    return change


@pytest.mark.parametrize("span", [(0.5, 0.55), (0.4, 0.6), (0.9, 1.0)])
def test_overwritten__raises_where_it_matters_and_decodes_elsewhere(media, truth, tmp_path, span):
    path = damaged(media, tmp_path, overwrite(*span))
    with PyAVDecoder().open(path) as reader:
        readable = readable_frames(reader, truth("whole.mp4"))
    assert 20 < sum(readable) < 60


def test_reader__goes_on_after_an_error(media, truth, tmp_path):
    path = damaged(media, tmp_path, overwrite(0.5, 0.6))
    with PyAVDecoder().open(path) as reader:
        with pytest.raises(VideoDecodeError, match="cannot read it"):
            reader.get_clip(Fraction(0), Fraction(2))
        clip = reader.get_clip(Fraction(0), Fraction(1, 10))
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), truth("whole.mp4")[:3])


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"this is a text and no video\n" * 50, "it is not a video")],
    ids=["empty", "text"],
)
def test_no_video__says_what_it_is(encoded, tmp_path, content, reason):
    path = tmp_path / "video.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoDecodeError, match=reason) as caught:
        build_decoder(encoded).open(str(path))
    assert caught.value.path == str(path)
    assert caught.value.decoder == ("pyav" if encoded == "auto" else encoded)
    assert caught.value.__cause__ is not None


def test_name_that_is_not_utf8__is_read_or_refused_as_the_video_at_fault(encoded, media, truth, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/n\xe9.mp4")
    shutil.copy(media("gop12.mp4"), path)
    if encoded in ("decord", "torchcodec"):
        with pytest.raises(VideoDecodeError, match=encoded):
            build_decoder(encoded).open(path)
        return
    with build_decoder(encoded).open(path) as reader:
        (clip,) = reader.get_frames([[7]])
    assert np.array_equal(clip.video[:, 0].permute(1, 2, 0), truth("gop12.mp4")[7])


def test_folder__is_for_the_frame_decoder(files_only, tmp_path):
    with pytest.raises(VideoDecodeError, match="it is a folder; decoder 'frame' reads folders"):
        build_decoder(files_only).open(str(tmp_path))


def test_sound_alone__holds_no_video(encoded, tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(VideoDecodeError, match="the file holds no video stream"):
        build_decoder(encoded).open(str(path))
