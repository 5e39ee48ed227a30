from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch

from eztorch.datasets import LabeledVideo, LabeledVideoPaths
from eztorch.utils.errors import DataError


def read(path, **kwargs) -> list[LabeledVideo]:
    videos = LabeledVideoPaths.from_path(path, **kwargs)
    return [videos[index] for index in range(len(videos))]


@pytest.fixture
def write(tmp_path):
    def write_text(text: str, name: str = "train.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def test_csv__has_one_to_three_columns(write):
    path = write("a.mp4\n\nb c/d e.mp4 3 250\nb.mp4 -1\n  é.mp4\t4   10 \nc,1 2 30\n")
    assert read(path) == [
        LabeledVideo("a.mp4", -1, None),
        LabeledVideo("b c/d e.mp4", 3, 250),
        LabeledVideo("b.mp4", -1, None),
        LabeledVideo("é.mp4", 4, 10),
        LabeledVideo("c,1", 2, 30),
    ]


def test_csv__may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "a.csv").write_bytes("﻿a.mp4 0\n".encode())
    assert read(tmp_path / "a.csv") == [LabeledVideo("a.mp4", 0)]


def test_json__is_sorted_by_path(write):
    entries = {"b.mp4": {"class": 1, "num_frames": 30}, "a b.mp4": {"class": 0}, "c.mp4": {}}
    path = write(json.dumps({"annotation": entries}), "train.json")
    assert read(path) == [LabeledVideo("a b.mp4", 0), LabeledVideo("b.mp4", 1, 30), LabeledVideo("c.mp4", -1)]


def test_folder__labels_classes_in_alphabetical_order(tmp_path):
    for name in (
        "tango/2.avi",
        "tango/10.MP4",
        "polka/x.webm",
        "polka/y.mkv",
        "polka/z.mov",
        "polka/notes.txt",
        "a.mp4",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tango" / "frames").mkdir()
    videos = LabeledVideoPaths.from_path(tmp_path)
    assert read(tmp_path) == [
        LabeledVideo("polka/x.webm", 0),
        LabeledVideo("polka/y.mkv", 0),
        LabeledVideo("polka/z.mov", 0),
        LabeledVideo("tango/10.MP4", 1),
        LabeledVideo("tango/2.avi", 1),
    ]
    assert videos.classes == ("polka", "tango")
    assert videos.full_path(0) == str(tmp_path / "polka/x.webm")


def test_folder__of_frames_has_a_folder_a_video(frame_tree):
    videos = read(frame_tree / "train", frame_folders=True)
    assert [(video.path, video.label) for video in videos[:2]] == [("falling/v0", 0), ("falling/v1", 0)]
    assert len(videos) == 8


def test_folder__can_be_told_the_classes_of_another(tmp_path):
    (tmp_path / "tango").mkdir()
    (tmp_path / "tango" / "a.mp4").touch()
    assert read(tmp_path, classes=["polka", "tango"], num_classes=5) == [LabeledVideo("tango/a.mp4", 1)]
    with pytest.raises(DataError, match=r"class folder\(s\) 'tango' are not among the 1 classes of the training set"):
        read(tmp_path, classes=["polka"])


def test_prefix__comes_before_relative_paths_alone(write):
    videos = LabeledVideoPaths.from_path(write("a.mp4 0\n/data/b.mp4 0\n"), video_path_prefix="/videos/train")
    assert [videos.full_path(0), videos.full_path(1)] == ["/videos/train/a.mp4", "/data/b.mp4"]


def test_videos__pickle_and_iterate(write):
    videos = pickle.loads(pickle.dumps(LabeledVideoPaths.from_path(write("a.mp4 0\nb.mp4 1\n"))))
    assert [video.label for video in videos] == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 0\nb.mp4 polka\n", r"train\.csv, line 2 \('b.mp4 polka'\): the label 'polka' is not a whole number"),
        (
            "a.mp4 polka 30\n",
            "line 1 .*the label 'polka' is not a whole number.*a path with spaces needs all three columns",
        ),
        ("a.mp4 1.0\n", "the label '1.0' is not a whole number"),
        ("a.mp4 0 many\n", "line 1 .*the number of frames 'many' is not a whole number of at least 1"),
        ("a.mp4 0 0\n", "the number of frames '0'"),
        ("a.mp4 0\nb.mp4 5\n", r"train\.csv, line 2 .*the label 5 is not one of 0 to 4, nor -1 for none"),
        ("a.mp4 -2\n", "the label -2 is not one of 0 to 4"),
        ("a.mp4,3\n", r"line 1 \('a.mp4,3'\): the columns are not separated by spaces"),
        ("a.mp4;3;20\n", "the columns are not separated by spaces"),
        ("a.mp4, 3\n", "the columns are not separated by spaces"),
        ("\n \n", r"train\.csv: the file lists no video"),
    ],
)
def test_csv__errors_name_the_file_and_the_line(write, text, message):
    with pytest.raises(DataError, match=message):
        read(write(text), num_classes=5)


def test_csv__that_is_a_video_is_an_error(video_tree):
    with pytest.raises(DataError, match=r"v0\.mp4: not a text file in UTF-8"):
        read(video_tree / "train/falling/v0.mp4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"annotation": {\n"a.mp4": }}', r"train\.json, line 2: not valid json"),
        ("[]", r'train\.json: expected {"annotation"'),
        ('{"annotation": {"a.mp4": 3}}', r"entry 'a.mp4': expected {\"annotation\""),
        ('{"annotation": {"a.mp4": {"class": "x"}}}', "entry 'a.mp4': the label 'x' is not a whole number"),
        ('{"annotation": {"a.mp4": {"class": 9}}}', "entry 'a.mp4': the label 9 is not one of 0 to 4"),
        ('{"annotation": {"a.mp4": {"num_frames": -1}}}', "entry 'a.mp4': the number of frames -1"),
        ('{"annotation": {}}', "the file lists no video"),
    ],
)
def test_json__errors_name_the_file_and_the_entry(write, text, message):
    with pytest.raises(DataError, match=message):
        read(write(text, "train.json"), num_classes=5)


def test_folder__errors_say_what_is_not_there(tmp_path, frame_tree, video_tree):
    with pytest.raises(DataError, match=r"nowhere: there is no such annotation file or folder of classes"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"there is no class folder in it"):
        read(tmp_path)
    (tmp_path / "polka").mkdir()
    with pytest.raises(DataError, match=r"there are no video files \(.avi .*\) in its class folders\.$"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"no video files .*There are 8 folders of frames; is decoder=frame meant"):
        read(frame_tree / "train")
    with pytest.raises(DataError, match=r"no folders of frames .*There are 8 video files .* is decoder=pyav meant"):
        read(video_tree / "train", frame_folders=True)


def test_folder__with_more_classes_than_there_are_is_an_error(video_tree):
    assert len(read(video_tree / "train", num_classes=200)) == 8
    with pytest.raises(DataError, match=r"there are 2 class folders, more than the 1 classes"):
        read(video_tree / "train", num_classes=1)


def test_target__is_what_a_sample_says_of_the_classes():
    videos = LabeledVideoPaths(
        [LabeledVideo("a", 2, targets={"verb": 2, "noun": 7}), LabeledVideo("b", 0, targets={"verb": 0, "noun": 1})]
    )
    assert videos.target(0) == {"label": 2, "verb": 2, "noun": 7}
    assert videos[1] == LabeledVideo("b", 0, targets={"verb": 0, "noun": 1})
    assert videos.labels.tolist() == [2, 0]
    assert videos.labels.dtype == np.int64


def test_target__of_several_labels_is_a_vector_and_they_have_no_single_class():
    videos = LabeledVideoPaths([LabeledVideo("a", (0.0, 1.0, 0.5)), LabeledVideo("b", (1.0, 0.0, 0.0))])
    label = videos.target(0)["label"]
    assert (label.dtype, label.tolist()) == (torch.float32, [0.0, 1.0, 0.5])
    label.zero_()
    assert videos[0].label == (0.0, 1.0, 0.5)
    with pytest.raises(DataError, match="several labels each"):
        _ = videos.labels
    with pytest.raises(DataError, match="one label and some several"):
        LabeledVideoPaths([LabeledVideo("a", (0.0, 1.0)), LabeledVideo("b", 1)])
    with pytest.raises(DataError, match="different numbers of classes"):
        LabeledVideoPaths([LabeledVideo("a", (0.0, 1.0)), LabeledVideo("b", (1.0,))])


def test_targets__that_differ_are_an_error():
    with pytest.raises(DataError, match=r"different targets: \(\) and \('verb',\)"):
        LabeledVideoPaths([LabeledVideo("a", 0, targets={"verb": 2}), LabeledVideo("b", 1)])


def test_subset__is_a_view_in_the_order_asked_and_can_be_taken_again():
    videos = LabeledVideoPaths([LabeledVideo(f"{i}.mp4", i) for i in range(6)], path_prefix="/d", classes="abcdef")
    part = videos.subset([5, 0, 3]).subset(np.array([2, 0]))
    assert [video.label for video in part] == [3, 5]
    assert (part.full_path(0), part.target(1), part.labels.tolist()) == ("/d/3.mp4", {"label": 5}, [3, 5])
    assert (len(part), len(videos), part.classes) == (2, 6, videos.classes)
    assert np.shares_memory(part._paths, videos._paths)
    assert len(pickle.loads(pickle.dumps(part))) == 2
