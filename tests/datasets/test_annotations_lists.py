"""The official lists of data sets, read from tiny copies in their own formats."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from eztorch.datasets import LabeledVideo
from eztorch.datasets.annotations.action_lists import read_hmdb51, read_ucf101
from eztorch.datasets.annotations.cater import read_cater
from eztorch.datasets.annotations.diving48 import read_diving48
from eztorch.datasets.annotations.epic_kitchens import read_epic_kitchens
from eztorch.datasets.annotations.something import read_something_v1, read_something_v2
from eztorch.datasets.decoders.reader import Segment
from eztorch.utils.errors import ConfigError, DataError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_txt", ".txt").replace("_csv", ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def ucf(tmp_path):
    return write(
        tmp_path,
        classInd_txt="1 ApplyEyeMakeup\n2 Archery\n3 YoYo\n",
        trainlist01_txt="Archery/v_Archery_g08_c01.avi 2\nYoYo/v_YoYo_g09_c02.avi 3\n",
        testlist01_txt="YoYo/v_YoYo_g01_c01.avi\nApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n",
        trainlist02_txt="Archery/v_Archery_g08_c01 1 164\n",
    )


def test_ucf101__labels_are_those_of_class_ind_from_0(ucf):
    train, test = (read_ucf101(ucf, subset, num_classes=3) for subset in ("train", "test"))
    assert train.videos == [
        LabeledVideo("Archery/v_Archery_g08_c01.avi", 1),
        LabeledVideo("YoYo/v_YoYo_g09_c02.avi", 2),
    ]
    assert [video.label for video in test.videos] == [2, 0]
    assert train.classes == ("ApplyEyeMakeup", "Archery", "YoYo")


def test_ucf101__lists_of_frames_have_their_number_in_a_third_column(ucf):
    (video,) = read_ucf101(ucf, "train", 2, num_classes=3).videos
    assert video == LabeledVideo("Archery/v_Archery_g08_c01", 1, 164)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"trainlist01_txt": "Yoyo/v.avi 3\n"}, r"trainlist01.txt, line 1 .*'Yoyo' \(nearest: 'YoYo'\) are not among"),
        ({"trainlist01_txt": "YoYo/v.avi 2\n"}, r"classInd.txt gives YoYo the number 3, not 2"),
        ({"trainlist01_txt": "YoYo/v.avi one\n"}, r"expected '<class>/<video>"),
        ({"classInd_txt": "1 ApplyEyeMakeup\n2 Archery\n"}, r"expected the labels 1 to 3, each once; it has 2"),
        ({"classInd_txt": "ApplyEyeMakeup\n"}, r"expected '<label from 1> <class>'"),
    ],
)
def test_ucf101__errors_name_the_file_and_the_line(ucf, files, message):
    with pytest.raises(DataError, match=message):
        read_ucf101(write(ucf, **files), "train", num_classes=3)


def test_ucf101__a_missing_list_is_an_error_that_says_where_it_comes_from(ucf):
    with pytest.raises(DataError, match=r"testlist03.txt is missing.*UCF101 page of CRCV.*must hold classInd.txt, tr"):
        read_ucf101(ucf, "test", 3, num_classes=3)
    with pytest.raises(ConfigError, match=r"split_id=4; the official splits are 1, 2 and 3"):
        read_ucf101(ucf, "test", 4)


@pytest.fixture
def hmdb(tmp_path):
    return write(
        tmp_path,
        wave_test_split1_txt="a_wave_u_nm_0.avi 1 \nb_wave_u_nm_1.avi 2 \n",
        draw_sword_test_split1_txt="x_[draw]_2.avi 0 \ny_draw_3.avi 2\nz_draw_4.avi 1\n",
    )


def test_hmdb51__uses_are_0_unused_1_train_2_test(hmdb):
    subsets = {name: read_hmdb51(hmdb, name, num_classes=2) for name in ("train", "test", "unused")}
    assert {name: [(video.path, video.label) for video in found.videos] for name, found in subsets.items()} == {
        "train": [("draw_sword/z_draw_4.avi", 0), ("wave/a_wave_u_nm_0.avi", 1)],
        "test": [("draw_sword/y_draw_3.avi", 0), ("wave/b_wave_u_nm_1.avi", 1)],
        "unused": [("draw_sword/x_[draw]_2.avi", 0)],
    }
    assert subsets["train"].classes == ("draw_sword", "wave")


def test_hmdb51__lists_of_a_split_are_read_in_place_of_the_files_of_classes(hmdb):
    write(hmdb, trainlist01_txt="wave/a 1 40\n", unlabeledlist01_txt="draw_sword/x 0 50\n")
    assert read_hmdb51(hmdb, "train", num_classes=2).videos == [LabeledVideo("wave/a", 1, 40)]
    assert read_hmdb51(hmdb, "unused", num_classes=2).videos == [LabeledVideo("draw_sword/x", 0, 50)]
    assert len(read_hmdb51(hmdb, "test", num_classes=2).videos) == 2


def test_hmdb51__errors_say_what_is_missing(hmdb):
    with pytest.raises(DataError, match=r"trainlist01.txt is missing.*Serre lab.*each of the 51 classes \(there are 2"):
        read_hmdb51(hmdb, "train")
    with pytest.raises(DataError, match=r"<class>_test_split2.txt is missing"):
        read_hmdb51(hmdb, "train", 2)
    write(hmdb, wave_test_split1_txt="a.avi 3\n")
    with pytest.raises(DataError, match=r"wave_test_split1.txt, line 1 \('a.avi 3'\): expected '<video> <0 for unused"):
        read_hmdb51(hmdb, "train", num_classes=2)


def test_something_v1__labels_are_in_the_order_of_their_file_whatever_their_commas(tmp_path):
    def name(which: str) -> str:
        return f"something-something-v1-{which}_csv"

    files = {
        name("labels"): "Tearing something\nMoving something, and something closer\n",
        name("train"): '100218;"Moving something, and something closer"\n24413;Tearing something\n',
        name("validation"): "7;Moving something and something closer\n",
        name("test"): "9\n",
    }
    write(tmp_path, **files)
    assert read_something_v1(tmp_path, "train", 2).videos == [LabeledVideo("100218", 1), LabeledVideo("24413", 0)]
    assert read_something_v1(tmp_path, "validation", 2).videos == [LabeledVideo("7", 1)]
    assert read_something_v1(tmp_path, "test", 2).videos == [LabeledVideo("9", -1)]
    with pytest.raises(DataError, match=r"the file of labels has 2 labels, not 174"):
        read_something_v1(tmp_path, "train")
    write(tmp_path, **{name("train"): "8;Tearing somthing\n"})
    with pytest.raises(DataError, match=r"line 1 .*'Tearing somthing' \(nearest: 'Tearing something'\) are not among"):
        read_something_v1(tmp_path, "train", 2)
    write(tmp_path, **{name("train"): "8,Tearing something\n"})
    with pytest.raises(DataError, match=r"expected '<id>;<label>'"):
        read_something_v1(tmp_path, "train", 2)


@pytest.mark.parametrize("prefix", ["", "something-something-v2-"])
def test_something_v2__templates_have_their_brackets_taken_off(tmp_path, prefix):
    entries = [
        {"id": "78687", "label": "holding potato", "template": "Holding [something]", "placeholders": ["potato"]},
        {"id": "4", "label": "a", "template": "Putting [something similar to other things] down", "placeholders": []},
    ]
    labels = {"Putting something similar to other things down": "0", "Holding something": "1"}
    for name, content in (("labels", labels), ("train", entries), ("test", [{"id": "5"}])):
        (tmp_path / f"{prefix}{name}.json").write_text(json.dumps(content))
    found = read_something_v2(tmp_path, "train", 2)
    assert found.videos == [LabeledVideo("78687.webm", 1), LabeledVideo("4.webm", 0)]
    assert found.classes == ("Putting something similar to other things down", "Holding something")
    assert read_something_v2(tmp_path, "test", 2).videos == [LabeledVideo("5.webm", -1)]
    with pytest.raises(DataError, match=r"validation.json or something-something-v2-validation.json is missing"):
        read_something_v2(tmp_path, "validation", 2)
    (tmp_path / f"{prefix}train.json").write_text(json.dumps([{"id": "1", "template": "Holdin [something]"}]))
    with pytest.raises(DataError, match=r"'Holdin something' \(nearest: 'Holding something'\)"):
        read_something_v2(tmp_path, "train", 2)
    (tmp_path / f"{prefix}labels.json").write_text(json.dumps({"Holding something": "1", "b": "1"}))
    with pytest.raises(DataError, match=r"with the numbers from 0, each once"):
        read_something_v2(tmp_path, "train", 2)


def test_diving48__has_two_versions(tmp_path):
    entry = {"vid_name": "_8Vy3dlHg2w_00000", "label": 1, "start_frame": 0, "end_frame": 95}
    (tmp_path / "Diving48_V2_train.json").write_text(json.dumps([entry, entry | {"start_frame": 10}]))
    (tmp_path / "Diving48_train.json").write_text(json.dumps([entry | {"label": 0}]))
    (tmp_path / "Diving48_vocab.json").write_text(json.dumps([["Back", "15som"], ["Forward", "25som"]]))
    found = read_diving48(tmp_path, "train", num_classes=2)
    assert found.videos == [
        LabeledVideo("_8Vy3dlHg2w_00000.mp4", 1),
        LabeledVideo("_8Vy3dlHg2w_00000.mp4", 1, segment=Segment(10, 96, "frames")),
    ]
    assert found.classes == ("Back-15som", "Forward-25som")
    assert [video.label for video in read_diving48(tmp_path, "train", 1, num_classes=2).videos] == [0]
    with pytest.raises(DataError, match=r"Diving48_V2_test.json is missing.*SVCL, UC San Diego"):
        read_diving48(tmp_path, "test")
    with pytest.raises(DataError, match=r"Diving48_vocab.json: it has 2 classes, not 48"):
        read_diving48(tmp_path, "train")
    (tmp_path / "Diving48_V2_train.json").write_text(json.dumps([entry | {"end_frame": -1}]))
    with pytest.raises(DataError, match=r"entry 0 .*expected vid_name, label, start_frame and end_frame"):
        read_diving48(tmp_path, "train", num_classes=2)


EPIC_HEADER = (
    "uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,"
    "verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n"
)
EPIC = EPIC_HEADER + (
    "0,P01,P01_01,open door,00:00:00.14,00:00:03.37,8,202,open,2,door,8,\"['door']\",[8]\n"
    "1,P26,P26_02,take cup,01:00:02.00,01:00:03.00,215760,215820,take,0,cup,13,\"['cup', 'tap']\",\"[13, 1]\"\n"
)


def test_epic_kitchens__parts_are_times_of_videos_and_numbers_of_frames(tmp_path):
    write(tmp_path, EPIC_train_action_labels_csv=EPIC)
    (video,) = read_epic_kitchens(tmp_path, "verb", {"P01"}).videos
    seconds = Segment(Fraction("0.14"), Fraction("3.37"), "seconds")
    assert video == LabeledVideo("P01/P01_01.MP4", 2, None, seconds, {"verb": 2, "noun": 8})
    frames = read_epic_kitchens(tmp_path, "noun", {"P01", "P26"}, frame_folders=True).videos
    assert frames[0] == LabeledVideo("P01/P01_01", 8, 202, Segment(7, 202, "frames"), {"verb": 2, "noun": 8})
    assert (frames[1].label, frames[1].segment) == (13, Segment(215759, 215820, "frames"))
    (flow,) = read_epic_kitchens(tmp_path, "verb", {"P01"}, frame_folders=True, frame_stride=2).videos
    assert (flow.num_frames, flow.segment) == (101, Segment(3, 101, "frames"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("start_frame,", "first,", r"the column\(s\) start_frame are missing"),
        ("open,2", "open,125", r"line 2: the label 125 is not one of 0 to 124"),
        ("door,8,", "door,352,", r"line 2: the label 352 is not one of 0 to 351"),
        ("00:00:00.14", "0.14", r"line 2: no part of a video \('0.14' is not a time stamp such as"),
        ("00:00:03.37", "00:00:00.14", r"no part of a video \(start_timestamp=00:00:00.14, stop"),
        ("P01,", "P03,", r"no line of the participants P01"),
    ],
)
def test_epic_kitchens__errors_name_the_line(tmp_path, old, new, message):
    write(tmp_path, EPIC_train_action_labels_csv=EPIC.replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        read_epic_kitchens(tmp_path, "verb", {"P01"})


def test_cater__tasks_1_and_2_have_several_labels_and_task_3_has_one(tmp_path):
    write(
        tmp_path,
        actions_present__train_txt="CATER_new_005823.avi 0,3,13\n",
        actions_order_uniq__val_txt="CATER_new_000001.avi 300\n",
        localize__train_txt="CATER_new_000002.avi 35\n",
    )
    (first,) = read_cater(tmp_path, "train", 1).videos
    assert (first.path, len(first.label)) == ("CATER_new_005823.avi", 14)
    assert [number for number, weight in enumerate(first.label) if weight] == [0, 3, 13]
    (second,) = read_cater(tmp_path, "val", 2).videos
    assert (len(second.label), second.label[300], sum(second.label)) == (301, 1.0, 1.0)
    assert read_cater(tmp_path, "train", 3).videos == [LabeledVideo("CATER_new_000002.avi", 35)]
    with pytest.raises(DataError, match=r"actions_present: val.txt is missing.*lists.zip"):
        read_cater(tmp_path, "val", 1)
    write(tmp_path, actions_present__train_txt="a.avi 14\n")
    with pytest.raises(DataError, match=r"the label 14 is not one of 0 to 13"):
        read_cater(tmp_path, "train", 1)
    write(tmp_path, localize__train_txt="a.avi 3,4\n")
    with pytest.raises(DataError, match=r"expected one label from 0"):
        read_cater(tmp_path, "train", 3)
