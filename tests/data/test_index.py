from __future__ import annotations

import json
import os
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from eztorch.cli import main
from eztorch.data.index.indexing import index_folder, summary
from eztorch.data.listing import list_media
from eztorch.datasets.decoders import FrameDecoder, PyAVDecoder
from eztorch.datasets.video_index import INDEX_NAME, VideoIndex
from eztorch.utils.errors import DataError


@pytest.fixture
def folder(tmp_path, draw, encode, save_pictures):
    """A folder with a video of two streams' worth of codecs, a folder of frames and an image."""
    encode(tmp_path / "a/x y.mp4", draw(0))
    encode(tmp_path / "a/mpeg4.avi", draw(1, 30), "mpeg4", 25, bf="2")
    encode(tmp_path / "b/vp9.webm", draw(2, 20), "libvpx-vp9")
    save_pictures(tmp_path / "b/frames", draw(3, 7))
    save_pictures(tmp_path / "images", draw(4, 1), "cat.png")
    (tmp_path / "a/notes.txt").write_text("no medium")
    (tmp_path / ".hidden.mp4").write_text("no medium")
    return tmp_path


def index(folder, **options) -> dict:
    return {facts.path: facts for facts in index_folder(folder, **options)[0]}


def cut(path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_index__has_the_facts_of_every_medium(folder):
    facts = index(folder)
    assert list(facts) == ["a/mpeg4.avi", "a/x y.mp4", "b/frames", "b/vp9.webm", "images/cat.png"]
    assert {one.status for one in facts.values()} == {"ok"}
    video = facts["a/x y.mp4"]
    assert (video.duration, video.fps, video.num_frames, video.width, video.height) == (1.0, 24, 24, 64, 48)
    assert (video.codec, video.pixel_format, video.key_frame_distance) == ("h264", "yuv420p", 12)
    assert (video.rotation, video.num_streams, video.size) == (0, 1, (folder / "a/x y.mp4").stat().st_size)
    frames = facts["b/frames"]
    assert (frames.kind, frames.num_frames, frames.duration, frames.codec) == ("frames", 7, None, "JPEG")
    assert (facts["images/cat.png"].kind, facts["images/cat.png"].codec) == ("image", "PNG")


def test_index__counts_frames_as_the_decoders_do(folder):
    facts = index(folder)
    for path in ("a/mpeg4.avi", "a/x y.mp4", "b/vp9.webm"):
        with PyAVDecoder().open(str(folder / path)) as reader:
            assert (facts[path].num_frames, facts[path].fps) == (reader.num_frames, reader.fps)
            assert facts[path].duration == float(reader.duration)
    with FrameDecoder().open(str(folder / "b/frames")) as reader:
        assert facts["b/frames"].num_frames == reader.num_frames


def test_index__is_read_by_the_datamodules(folder):
    index(folder)
    assert VideoIndex.find(folder / "a").facts(folder / "a/x y.mp4").fps == Fraction(24)


def test_index__does_not_probe_again_what_has_not_changed(folder, draw, encode):
    assert index_folder(folder)[1] == 5
    before = (folder / INDEX_NAME).read_bytes()
    assert index_folder(folder)[1] == 0
    assert (folder / INDEX_NAME).read_bytes() == before
    encode(folder / "a/x y.mp4", draw(0, 12))
    (folder / "a/mpeg4.avi").unlink()
    encode(folder / "a/new.mp4", draw(9))
    facts, probed = index_folder(folder)
    assert probed == 2
    assert [one.path for one in facts] == ["a/new.mp4", "a/x y.mp4", "b/frames", "b/vp9.webm", "images/cat.png"]
    assert VideoIndex.read(folder).facts("a/x y.mp4").num_frames == 12
    assert index_folder(folder, again=True)[1] == 5


def test_index__goes_on_where_it_was_stopped(folder):
    index(folder)
    path = folder / INDEX_NAME
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed while it wrote the fourth line
    assert index_folder(folder)[1] == 2
    assert path.read_text().splitlines() == lines


def test_index__is_the_same_from_several_processes(folder):
    alone = index(folder)
    assert index(folder, again=True, workers=2) == alone


@pytest.mark.parametrize(
    ("spoil", "fault", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty", "the file is empty"),
        (lambda path: path.write_text("<html>403 Forbidden</html>"), "not-media", "none that FFmpeg knows"),
        (lambda path: path.write_bytes(b"\0" * 5000), "not-media", "none that FFmpeg knows"),
        (lambda path: cut(path, 0.6), "cut-off", "header is damaged or cut off"),
    ],
)
def test_index__says_what_is_wrong_with_a_file(folder, spoil, fault, reason):
    spoil(folder / "a/x y.mp4")
    one = index(folder)["a/x y.mp4"]
    assert one.fault == fault
    assert reason in one.status


@pytest.mark.parametrize("name", ["faststart.mp4", "cut.mkv", "cut.avi", "cut.webm"])
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_index__knows_videos_whose_end_is_missing(tmp_path, draw, encode, name, share):
    """Those that open without complaint: their header is at the beginning."""
    path = tmp_path / name
    codec = {".avi": "mpeg4", ".webm": "libvpx-vp9"}.get(path.suffix, "libx264")
    encode(tmp_path / f"whole{path.suffix}", draw(0, 72), codec, crf="10")
    with_header_first(tmp_path / f"whole{path.suffix}", path)
    assert index(tmp_path)[name].ok
    cut(path, share)
    assert (index(tmp_path)[name].fault, index(tmp_path)[f"whole{path.suffix}"].fault) == ("cut-off", None)


def test_index__knows_an_avi_whose_end_is_missing_behind_its_last_whole_picture(tmp_path, draw, encode):
    whole = encode(tmp_path / "whole.avi", draw(0, 72), "mpeg4", bf="2")
    with av.open(str(whole)) as container:
        entries = container.streams.video[0].index_entries
        end = max(entry.pos + 8 + entry.size for entry in list(entries)[:24])  # 8: the head of a chunk
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[:end])
    found = index(tmp_path)
    assert (found["whole.avi"].fault, found["cut.avi"].fault) == (None, "cut-off")
    assert found["cut.avi"].status == "the file ends after 1.0 s of the 3.0 s in its header"


def test_index__does_not_call_sound_alone_damaged(tmp_path):
    for name in ("a.mp4", "b.mkv"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("aac", rate=16000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16000
            container.mux([*stream.encode(sound), *stream.encode()])
    for one in index(tmp_path).values():
        assert one.fault == "not-media"
        assert one.status == "not a video: the file holds no video stream that can be decoded"


def with_header_first(source, target) -> None:
    """Copy a video; of an MP4 file, move the header before the pictures."""
    with av.open(str(source)) as old, av.open(str(target), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


def test_index__does_not_miss_the_time_before_a_late_start(tmp_path, draw, encode):
    """The header of a Matroska file says when the video ends, not how long it is."""
    path = tmp_path / "late.mkv"
    source = encode(tmp_path / "a.mp4", draw(0))
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = (stamp + round(3 / packet.time_base) for stamp in (packet.pts, packet.dts))
                packet.stream = stream
                new.mux(packet)
    assert (index(tmp_path)["late.mkv"].status, index(tmp_path)["late.mkv"].num_frames) == ("ok", 24)


def test_index__knows_a_video_that_is_turned(tmp_path, draw, encode):
    path = encode(tmp_path / "phone.mp4", draw(0))
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
    path.write_bytes(data)
    assert index(tmp_path)["phone.mp4"].rotation in (90, 270)


def test_index__names_the_frames_that_a_folder_lacks(folder):
    (folder / "b/frames/00000003.jpg").unlink()
    (folder / "b/frames/00000001.jpg").unlink()
    one = index(folder)["b/frames"]
    assert (one.fault, one.num_frames, one.missing) == ("missing-frames", 7, (1, 3))
    assert one.status == "2 of 7 frames are not there: number 1, 3"


def test_listing__tells_frames_from_images_by_their_names(tmp_path):
    names = {
        "video": [f"img_{n:05d}.jpg" for n in range(1, 6)],
        "video0": [f"{n:06d}.png" for n in range(4)],
        "imagenet": [f"n01440764_{n}.JPEG" for n in (18, 36, 190, 10026)],
        "photos": [f"{n:08d}.jpg" for n in (1, 17, 293, 4711)],
        "cifar": [f"{n:04d}.png" for n in range(1, 9)],
        "two": [*(f"{n:05d}.jpg" for n in range(1, 4)), "cover.jpg"],
    }
    for folder, files in names.items():
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).touch()
    kinds = {medium.path: medium.kind for medium in list_media(tmp_path)}
    assert [path for path, kind in kinds.items() if kind == "frames"] == ["video", "video0"]
    assert sum(kind == "image" for kind in kinds.values()) == 4 + 4 + 8 + 4
    assert {medium.kind for medium in list_media(tmp_path, "frames")} == {"frames"}
    assert len(list_media(tmp_path, "frames")) == 6
    assert len(list_media(tmp_path, "image")) == 5 + 4 + 4 + 4 + 8 + 4
    assert list_media(tmp_path, "video") == []


def test_listing__follows_links_once(tmp_path, folder):
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert [medium.path for medium in list_media(tmp_path)].count("a/x y.mp4") == 1


def test_index__refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no such folder"):
        index_folder(tmp_path / "no")


def test_summary__says_what_there_is(folder):
    (folder / "a/empty.mp4").touch()
    rows = dict(summary(list(index_folder(folder)[0])))
    assert rows["media"] == "4 videos, 1 folder of frames, 1 image"
    assert rows["bad"] == "1"
    assert rows["frame rate"] == "24 (2), 25 (1)"
    assert rows["frames"] == "7 to 30 (median 24)"
    assert "h264 yuv420p (1)" in rows["codec"].split(", ")


def test_command__says_where_there_is_nothing_to_probe(tmp_path, capsys):
    (tmp_path / "list.csv").touch()
    assert main(["data", "index", str(tmp_path), "--workers", "0"]) == 2
    assert f"{tmp_path}: there is no video, no folder of frames and no image in it" in capsys.readouterr().err
    assert not (tmp_path / INDEX_NAME).exists()


def test_command__writes_the_index_and_tells_of_bad_files(folder, capsys):
    (folder / "a/empty.mp4").touch()
    assert main(["data", "index", str(folder), "--workers", "0"]) == 0
    shown = capsys.readouterr().out
    assert "a/empty.mp4: the file is empty" in shown
    assert f"Probed 6, 0 had not changed. Index: {folder / INDEX_NAME}" in shown
    lines = [json.loads(line) for line in (folder / INDEX_NAME).read_text().splitlines()]
    assert {os.path.basename(line["path"]) for line in lines if line["status"] != "ok"} == {"empty.mp4"}
