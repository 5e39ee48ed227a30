"""The csv of Kinetics and the frame list of PyVideoAI, and the files that annotations list."""

from __future__ import annotations

import pytest

from eztorch.datasets import LabeledVideo, LabeledVideoPaths
from eztorch.datasets.annotations.media import locate, unreadable, with_known_lengths
from eztorch.datasets.decoders.reader import Segment
from eztorch.datasets.video_index import VideoFacts, VideoIndex, stamp
from eztorch.utils.errors import DataError

KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def write(tmp_path):
    def write_text(text: str, name: str = "train.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_kinetics__names_files_by_id_and_times(write, tmp_path):
    path = write(KINETICS + '"shaking hands",-_x1,5,15,train\nabseiling,0347ZoDXyP0,95,105,train\n')
    videos = LabeledVideoPaths.from_path(path, video_path_prefix=tmp_path / "train")
    assert list(videos) == [LabeledVideo("-_x1_000005_000015.mp4", 1), LabeledVideo("0347ZoDXyP0_000095_000105.mp4", 0)]
    assert videos.classes == ("abseiling", "shaking hands")
    (tmp_path / "train/shaking_hands").mkdir(parents=True)
    videos = LabeledVideoPaths.from_path(path, video_path_prefix=tmp_path / "train")
    assert [video.path for video in videos] == [
        "shaking_hands/-_x1_000005_000015.mp4",
        "abseiling/0347ZoDXyP0_000095_000105.mp4",
    ]
    (tmp_path / "train/abseling").mkdir()
    with pytest.raises(DataError, match=r"class folder\(s\) 'abseling' \(nearest: 'abseiling'\) are not among"):
        LabeledVideoPaths.from_path(path, video_path_prefix=tmp_path / "train")


def test_kinetics__a_test_list_has_no_labels(write):
    videos = LabeledVideoPaths.from_path(write("youtube_id,time_start,time_end,split\nabc,1,11,test\n"))
    assert list(videos) == [LabeledVideo("abc_000001_000011.mp4", -1)]


def test_kinetics__lines_of_other_splits_do_not_leak(write):
    path = write(KINETICS + "a,1,0,10,train\na,2,0,10,validate\na,3,0,10,test\n")
    for subset, name in (("train", "1"), ("val", "2"), ("test", "3")):
        assert [video.path[0] for video in LabeledVideoPaths.from_path(path, subset=subset)] == [name]
    with pytest.raises(DataError, match=r"it has lines of the splits test, train, validate, and None is none of them"):
        LabeledVideoPaths.from_path(path)


def test_kinetics__errors_name_the_line_and_the_label(write):
    with pytest.raises(DataError, match=r"train.csv, line 3: expected label,youtube_id"):
        LabeledVideoPaths.from_path(write(KINETICS + "a,1,0,10,train\nb,2,x,10,train\n"))
    with pytest.raises(DataError, match=r"it has 2 labels, more than the 1 classes"):
        LabeledVideoPaths.from_path(write(KINETICS + "a,1,0,10,train\nb,2,0,10,train\n"), num_classes=1)
    with pytest.raises(DataError, match=r"the label\(s\) 'abseling' \(nearest: 'abseiling'\) are not among the 1 cl"):
        LabeledVideoPaths.from_path(write(KINETICS + "abseling,1,0,10,train\n"), classes=["abseiling"])


def test_frame_list__has_frames_by_the_numbers_of_their_names(write):
    videos = LabeledVideoPaths.from_path(write("0\na/b/{frame:05d}.jpg 7 3 1 40\nc/{:05d}.jpg 8 0 5 5 340 256\n"))
    assert list(videos) == [
        LabeledVideo("a/b", 3, 41, Segment(1, 41, "frames")),
        LabeledVideo("c", 0, 6, Segment(5, 6, "frames")),
    ]
    assert videos.frame_name == "{index:05d}.jpg"


def test_frame_list__may_be_one_of_videos(write):
    videos = LabeledVideoPaths.from_path(write("0\na.mp4 7 3 0 39 340 256\n\nb.mp4 8 0\n"))
    assert [(video.path, video.segment) for video in videos] == [("a.mp4", Segment(0, 40, "frames")), ("b.mp4", None)]
    assert videos.frame_name is None


def test_frame_list__several_labels_are_a_weight_a_class(write):
    videos = LabeledVideoPaths.from_path(write("4\na/{:05d}.jpg 7 0,3 1 40\nb/{:05d}.jpg 8 2 1 4\n"), num_classes=4)
    assert [video.label for video in videos] == [(1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 0.0)]
    assert videos.target(0)["label"].tolist() == [1.0, 0.0, 0.0, 1.0]


def test_frame_list__labels_can_be_replaced_by_video_id(write):
    path = write("0\na/{:05d}.jpg 7 3 1 40\nb/{:05d}.jpg 8 0 1 4\n")
    soft = LabeledVideoPaths.from_path(path, video_id_to_label={7: (0.25, 0.75), 8: (1.0, 0.0)})
    assert [video.label for video in soft] == [(0.25, 0.75), (1.0, 0.0)]
    with pytest.raises(DataError, match=r"video_id_to_label has no label for the video\(s\) 8 of"):
        LabeledVideoPaths.from_path(path, video_id_to_label={7: 1})


def test_csv__of_numbered_folders_is_no_frame_list(write):
    videos = LabeledVideoPaths.from_path(write("100218\n100219 4\n100220 5 30\n"))
    assert [video.path for video in videos] == ["100218", "100219", "100220"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\na/{:05d}.jpg 7 3 1 40\nb/{:05d}.jpg 8 0 1\n", r"line 3 .*expected '<path> <video id> <label>"),
        ("0\na/{:05d}.jpg 7 3 5 4\n", r"line 2 .*the frames from 5 to 4 are none"),
        ("0\na/{:05d}.jpg 7 9 1 4\n", r"line 2 .*the label 9 is not one of 0 to 4"),
        ("6\na/{:05d}.jpg 7 3 1 4\n", r"line 1: the file has 6 classes, not 5"),
        ("0\na/{:05d}.jpg 7 3 1 4\nb/{:03d}.jpg 8 3 1 4\n", r"go by different names: {index:03d}.jpg, {index:05d}.jpg"),
    ],
)
def test_frame_list__errors_name_the_line(write, text, message):
    with pytest.raises(DataError, match=message):
        LabeledVideoPaths.from_path(write(text), num_classes=5)


@pytest.fixture
def media(tmp_path):
    for name in ("one/a.mp4", "one/b.MP4", "two/c.avi", "frames/one/a/00000001.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def paths_of(names, prefix):
    return LabeledVideoPaths([LabeledVideo(name, 3, targets={"noun": 1}) for name in names], path_prefix=prefix)


def test_locate__finds_what_is_missing_and_keeps_what_is_there(media):
    videos, missing = locate(paths_of(["one/a.mp4", "one/c.mp4", "no/a.mp4", "one/a.mp4"], media))
    assert missing == [1, 2]
    assert videos[3] == LabeledVideo("one/a.mp4", 3, targets={"noun": 1})
    absolute = str(media / "two/c.avi")
    assert locate(paths_of([absolute], "/elsewhere"))[1] == []


def test_locate__takes_another_extension_only_for_names_as_they_were_published(media):
    assert locate(paths_of(["one/a.avi"], media))[1] == [0]
    videos, missing = locate(paths_of(["one/a.avi", "one/b.mp4", "two/c.avi"], media), as_published=True)
    assert ([video.path for video in videos], missing) == (["one/a.mp4", "one/b.MP4", "two/c.avi"], [])
    assert videos.path_prefix == str(media)


def test_locate__folders_of_frames_have_no_extension(media):
    videos, missing = locate(
        paths_of(["one/a.avi", "one/b.avi"], media / "frames"), frame_folders=True, as_published=True
    )
    assert (videos[0].path, missing) == ("one/a", [1])
    assert (
        locate(paths_of(["one/a.avi"], media / "frames"), frame_folders=None, as_published=True)[0][0].path == "one/a"
    )
    assert locate(paths_of(["one/a"], media / "frames"), frame_folders=True)[1] == []


def test_locate__looks_into_every_folder_once(media, monkeypatch):
    import os

    looked = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: looked.append(folder) or listdir(folder))
    monkeypatch.setattr(os, "stat", None)
    locate(paths_of(["one/a.mp4", "one/b.mp4", "two/c.avi", "one/x.mp4"], media))
    assert looked == [str(media / "one"), str(media / "two")]


def index_of(folder, **facts):
    known = []
    for path, given in facts.items():
        size, mtime_ns = stamp(folder / path.replace("__", "/").replace("_mp4", ".mp4"))
        path = path.replace("__", "/").replace("_mp4", ".mp4")
        known.append(VideoFacts(**{"path": path, "size": size, "mtime_ns": mtime_ns} | given))
    return VideoIndex(folder, known)


def test_index__fills_in_numbers_of_frames_that_are_not_stale(media):
    index = index_of(media, one__a_mp4={"num_frames": 30}, two={"num_frames": 9, "mtime_ns": 1})
    videos = LabeledVideoPaths(
        [LabeledVideo("one/a.mp4", 1), LabeledVideo("two"), LabeledVideo("x", 0, 5)], path_prefix=media
    )
    assert [video.num_frames for video in with_known_lengths(videos, index)] == [30, None, 5]


def test_index__knows_the_unreadable(media):
    index = index_of(media, one__a_mp4={"status": "empty"})
    videos = paths_of(["one/a.mp4", "two/c.avi"], media)
    assert list(unreadable(videos, index)) == [(str(media / "one/a.mp4"), "empty")]
    (media / "one/a.mp4").write_bytes(b"mended")
    assert list(unreadable(videos, index)) == []
