"""Every video data set builds from a tiny tree in its official layout, by its configuration group, and is read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eztorch.datamodules import Kinetics400DataModule, Ucf101DataModule, VideoBaseDataModule, VideoDataModule
from eztorch.datasets.annotations import Annotation, LabeledVideo
from eztorch.datasets.video_index import INDEX_NAME, VideoFacts, stamp
from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError

SMALL = """
datamodule.decoder_args.frame_filter.num_samples=2
datamodule.train.global_batch_size=2 datamodule.val.global_batch_size=2 datamodule.test.global_batch_size=2
datamodule.train.transform.transform.transforms.0.min_size=24
datamodule.train.transform.transform.transforms.0.max_size=24
datamodule.train.transform.transform.transforms.1.size=20
datamodule.val.transform.transform.transforms.0.size=24 datamodule.val.transform.transform.transforms.1.size=20
datamodule.test.transform.transform.size=24 datamodule.test.transform.dict_transform.size=24
datamodule.test.clip_sampler.clips_per_video=1
"""


@pytest.fixture
def clip(video_tree):
    """A video of 30 frames, 15 a second."""
    return video_tree / "train/falling/v0.mp4"


@pytest.fixture
def put(tmp_path, clip, frame_tree):
    """Put the video, its frames under names of a pattern, or a text into the data folder."""

    def put_one(path: str, text: str | None = None, frame_name: str | None = None):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            target.write_text(text)
        elif frame_name is None:
            shutil.copy(clip, target)
        else:
            target.mkdir(parents=True)
            for number, frame in enumerate(sorted((frame_tree / "train/falling/v0").iterdir()), start=1):
                shutil.copy(frame, target / frame_name.format(index=number))

    return put_one


def datamodule_of(group: str, root: Path, *overrides: str):
    command = ["-cn", "supervised_r3d18_kinetics200", f"datamodule={group}", f"dir.data={root}", f"dir.root={root}"]
    loaders = [
        f"datamodule.{split}.loader.{key}"
        for split in ("train", "val", "test")
        for key in ("num_workers=0", "pin_memory=false")
    ]
    arguments = parse([*command, *SMALL.split(), *loaders, *overrides])
    composer = Composer(find_recipe(arguments, "supervised"), "supervised")
    return build(composer.resolve(composer.compose(arguments.overrides), root)["datamodule"])


def first_batch(datamodule, split="train"):
    return next(iter(getattr(datamodule, f"{split}_dataloader")()))


def names_and_labels(datamodule, split):
    """Names and labels of the videos of a split, as its batches have them."""
    batches = list(getattr(datamodule, f"{split}_dataloader")())
    pairs = [pair for batch in batches for pair in zip(batch["video_name"], batch["label"].tolist(), strict=True)]
    return sorted(set(pairs))


def numbered(number: int, first: str = "") -> list[str]:
    return [first or "class0", *(f"class{index}" for index in range(1, number))]


@pytest.mark.parametrize("group", ["ucf101", "ucf101_frame"])
def test_ucf101__reads_its_official_split(put, tmp_path, group):
    names = numbered(101, "YoYo")
    put("ucfTrainTestlist/classInd.txt", "".join(f"{index} {name}\n" for index, name in enumerate(names, start=1)))
    train, test = ("YoYo/v_YoYo_g09_c01.avi", "class1/v_class1_g10_c02.avi"), ("class1/v_class1_g01_c01.avi",)
    put("ucfTrainTestlist/trainlist02.txt", f"{train[0]} 1\r\n{train[1]} 2\r\n")
    put("ucfTrainTestlist/testlist02.txt", "".join(f"{name}\r\n" for name in test))
    for name in (*train, *test):
        if group == "ucf101":
            put(f"UCF-101/{name}")
        else:
            put(f"frames/{name.removesuffix('.avi')}", frame_name="{index:08d}.jpg")
    datamodule = datamodule_of(group, tmp_path, "datamodule.split_id=2")
    batch = first_batch(datamodule)
    assert (batch["input"].shape, batch["input"].dtype) == ((2, 3, 2, 20, 20), torch.uint8)
    forms = [name.removesuffix(".avi") if group.endswith("frame") else name for name in (*train, *test)]
    assert names_and_labels(datamodule, "train") == sorted([(forms[0], 0), (forms[1], 1)])
    assert names_and_labels(datamodule, "val") == names_and_labels(datamodule, "test") == [(forms[2], 1)]


@pytest.mark.parametrize("group", ["hmdb51", "hmdb51_frame"])
def test_hmdb51__reads_its_official_split(put, tmp_path, group):
    names = sorted(numbered(51, "wave"))
    for name in names:
        text = "a.avi 1 \nb.avi 2 \nc.avi 0 \nd.avi 1 \n" if name == "wave" else ""
        put(f"testTrainMulti_7030_splits/{name}_test_split3.txt", text)
    for letter in "abcd":
        if group == "hmdb51":
            put(f"hmdb51_org/wave/{letter}.avi")
        else:
            put(f"frames/wave/{letter}", frame_name="{index:08d}.jpg")
    datamodule = datamodule_of(group, tmp_path, "datamodule.split_id=3", "+datamodule.test.dataset.subset=unused")
    assert first_batch(datamodule)["input"].shape == (2, 3, 2, 20, 20)
    ending = ".avi" if group == "hmdb51" else ""
    assert names_and_labels(datamodule, "train") == [(f"wave/a{ending}", 50), (f"wave/d{ending}", 50)]
    assert names_and_labels(datamodule, "val") == [(f"wave/b{ending}", 50)]
    assert names_and_labels(datamodule, "test") == [(f"wave/c{ending}", 50)]


def test_something_v1__reads_folders_of_frames(put, tmp_path):
    labels = numbered(174, "Tearing something")
    put("annotations/something-something-v1-labels.csv", "\n".join(labels))
    put("annotations/something-something-v1-train.csv", "100218;class3\n7;Tearing something\n")
    put("annotations/something-something-v1-validation.csv", "8;class173\n")
    for video in ("100218", "7", "8"):
        put(f"20bn-something-something-v1/{video}", frame_name="{index:05d}.jpg")
    datamodule = datamodule_of("something_v1", tmp_path)
    assert first_batch(datamodule)["input"].shape == (2, 3, 2, 20, 20)
    assert names_and_labels(datamodule, "train") == [("100218", 3), ("7", 0)]
    assert names_and_labels(datamodule, "val") == [("8", 173)]


def test_official_lists__whose_videos_are_elsewhere_name_the_key_of_the_folder(put, tmp_path):
    put("annotations/something-something-v1-labels.csv", "\n".join(numbered(174, "Tearing something")))
    put("annotations/something-something-v1-train.csv", "100218;class3\n")
    put("annotations/something-something-v1-validation.csv", "8;class173\n")
    keys = r"datamodule\.video_path_prefix \(or datamodule\.train\.dataset\.video_path_prefix\)"
    with pytest.raises(DataError, match=rf"1 of its 1 videos are missing.* paths start from {keys}; is it another"):
        datamodule_of("something_v1", tmp_path).dataset("train")


def test_something_v2__reads_webm_videos_and_prepared_copies(put, tmp_path):
    labels = numbered(174, "Tearing something")
    put("labels/labels.json", json.dumps({name: str(index) for index, name in enumerate(labels)}))
    entries = [{"id": "5", "template": "Tearing [something]"}, {"id": "6", "template": "class9"}]
    put("labels/train.json", json.dumps(entries))
    put("labels/validation.json", json.dumps(entries[1:]))
    put("labels/test.json", json.dumps([{"id": "5"}]))
    put("20bn-something-something-v2/5.webm")
    put("20bn-something-something-v2/6.mp4")
    datamodule = datamodule_of("something_v2", tmp_path, "+datamodule.test.dataset.subset=test")
    assert first_batch(datamodule)["input"].shape == (2, 3, 2, 20, 20)
    assert names_and_labels(datamodule, "train") == [("5.webm", 0), ("6.mp4", 9)]
    assert names_and_labels(datamodule, "val") == [("6.mp4", 9)]
    assert names_and_labels(datamodule, "test") == [("5.webm", -1)]


@pytest.mark.parametrize(("version", "edition"), [(1, ""), (2, "_V2")])
def test_diving48__reads_both_versions(put, tmp_path, version, edition):
    for subset, name in (("train", "a_00001"), ("test", "b_00002")):
        entry = {"vid_name": name, "label": 47, "start_frame": 0, "end_frame": 29}
        put(f"annotations/Diving48{edition}_{subset}.json", json.dumps([entry, entry]))
        put(f"rgb/{name}.mp4")
    datamodule = datamodule_of("diving48", tmp_path, f"datamodule.version={version}")
    assert first_batch(datamodule)["input"].shape == (2, 3, 2, 20, 20)
    assert names_and_labels(datamodule, "val") == [("b_00002.mp4", 47)]


EPIC = """uid,participant_id,video_id,narration,start_timestamp,stop_timestamp,start_frame,stop_frame,verb,verb_class,\
noun,noun_class,all_nouns,all_noun_classes
0,P01,P01_01,a,00:00:00.20,00:00:01.00,4,15,open,2,door,8,[],[]
1,P01,P01_01,b,00:00:01.00,00:00:02.00,16,30,close,3,door,9,[],[]
2,P27,P27_01,c,00:00:00.00,00:00:00.50,1,8,take,0,cup,13,[],[]
"""


@pytest.mark.parametrize("group", ["epic_kitchens55", "epic_kitchens55_frame"])
def test_epic_kitchens__gives_parts_of_long_videos_with_verb_and_noun(put, tmp_path, group):
    put("annotations/EPIC_train_action_labels.csv", EPIC)
    for video in ("P01/P01_01", "P27/P27_01"):
        if group == "epic_kitchens55":
            put(f"videos/train/{video}.MP4")
        else:
            put(f"frames_rgb_flow/rgb/train/{video}", frame_name="frame_{index:010d}.jpg")
    datamodule = datamodule_of(group, tmp_path, "datamodule.task=noun", "datamodule.val.global_batch_size=1")
    batch = first_batch(datamodule)
    assert batch["input"].shape == (2, 3, 2, 20, 20)
    assert sorted(zip(*(batch[key].tolist() for key in ("label", "noun", "verb")), strict=True)) == [
        (8, 8, 2),
        (9, 9, 3),
    ]
    (batch,) = datamodule.val_dataloader()
    assert (batch["label"].tolist(), batch["verb"].tolist()) == ([13], [0])
    # The part itself: its first frame is the one that the whole video has there.
    dataset = datamodule.dataset("train")
    part, whole = dataset.videos[1], dataset.decoder.open(dataset.videos.full_path(1))
    with whole, dataset.decoder.open(dataset.videos.full_path(1), segment=part.segment) as reader:
        assert reader.num_frames == 15
        assert torch.equal(reader.get_frames([[0]])[0].video, whole.get_frames([[15]])[0].video)


def test_epic_kitchens__participants_are_never_on_both_sides(put, tmp_path):
    put("annotations/EPIC_train_action_labels.csv", EPIC)
    for video in ("P01/P01_01", "P27/P27_01"):
        put(f"videos/train/{video}.MP4")
    datamodule = datamodule_of("epic_kitchens55", tmp_path, "+datamodule.val_participants=[P01]")
    videos = {split: {video.path for video in datamodule.videos(split)} for split in ("train", "val")}
    assert videos == {"train": {"P27/P27_01.MP4"}, "val": {"P01/P01_01.MP4"}}
    with pytest.raises(ConfigError, match=r"datamodule.val_participants='P1' is not known; expected one of \['P01'"):
        datamodule_of("epic_kitchens55", tmp_path, "+datamodule.val_participants=[P1]")


def test_cater__labels_are_vectors(put, tmp_path):
    put("lists/actions_present/train.txt", "CATER_new_000001.avi 0,13\nCATER_new_000002.avi 5\n")
    put("lists/actions_present/val.txt", "CATER_new_000002.avi 1\n")
    for number in (1, 2):
        put(f"videos/CATER_new_00000{number}.avi")
    batch = first_batch(datamodule_of("cater", tmp_path))
    assert (batch["label"].shape, batch["label"].dtype) == ((2, 14), torch.float32)
    assert sorted(batch["label"].sum(1).tolist()) == [1.0, 2.0]
    assert datamodule_of("cater", tmp_path, "datamodule.task=3").num_classes == 36
    with pytest.raises(ConfigError, match=r"datamodule.task='4' is not known; expected one of"):
        datamodule_of("cater", tmp_path, "datamodule.task=4")


KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def kinetics(put, tmp_path):
    put("train.csv", KINETICS + "zumba,a,1,11,train\nabseiling,b,2,12,train\nzumba,gone,3,13,train\n")
    put("validate.csv", KINETICS + "zumba,c,4,14,validate\nzumba,lost,4,14,validate\n")
    put("train/zumba/a_000001_000011.mp4")
    put("train/abseiling/b_000002_000012.mp4")
    put("val/zumba/c_000004_000014.mp4")
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*of its .* videos are missing")
def test_kinetics__official_lists_give_the_labels_and_what_the_web_has_lost_is_left_out_of_training(kinetics):
    datamodule = datamodule_of("kinetics400_csv", kinetics)
    assert first_batch(datamodule)["input"].shape == (2, 3, 2, 20, 20)
    assert (datamodule.train_num_samples, datamodule.val_num_samples) == (2, 2)
    assert datamodule.dataset("val").videos.classes == ("abseiling", "zumba")
    (batch,) = datamodule.val_dataloader()
    assert (batch["video_name"], batch["label"].tolist()) == (["zumba/c_000004_000014.mp4"], [1])
    assert [Path(failure.path).name for failure in batch["failures"]] == ["lost_000004_000014.mp4"]


def test_kinetics__missing_videos_are_told_or_are_an_error(kinetics):
    message = r"datamodule.train.dataset.datadir: 1 of its 3 videos are missing, among them .*gone_000003_000013.mp4\."
    with pytest.warns(UserWarning, match=message + " Training goes on without them"):
        datamodule_of("kinetics400_csv", kinetics).dataset("train")
    with pytest.raises(DataError, match=message + " Write datamodule.on_missing=warn"):
        datamodule_of("kinetics400_csv", kinetics, "datamodule.on_missing=error").dataset("train")
    shutil.rmtree(kinetics / "train")
    with pytest.raises(DataError, match=r"3 of its 3 videos are missing.*datamodule.train.dataset.video_path_prefix"):
        datamodule_of("kinetics400_csv", kinetics).dataset("train")
    with pytest.raises(ConfigError, match=r"datamodule.on_missing='wrn'; expected 'error' or 'warn'"):
        Kinetics400DataModule(kinetics, on_missing="wrn")


@pytest.mark.parametrize("group", ["kinetics200", "kinetics400", "kinetics600", "kinetics700"])
def test_kinetics__reads_class_folders(video_tree, group):
    datamodule = datamodule_of(group, video_tree)
    assert first_batch(datamodule)["input"].shape == (2, 3, 2, 20, 20)
    assert datamodule.dataset("val").videos.classes == ("falling", "rising")


def test_classes__can_be_given_in_a_file(video_tree, tmp_path):
    (tmp_path / "classes.txt").write_text("rising\nwaiting\nfalling\n")
    datamodule = datamodule_of("kinetics400", video_tree, f"+datamodule.classes={tmp_path}/classes.txt")
    assert sorted(set(datamodule.dataset("train").labels.tolist())) == [0, 2]
    (tmp_path / "classes.txt").write_text("rising\nfaling\n")
    with pytest.raises(
        DataError, match=r"class folder\(s\) 'falling' \(nearest: 'faling'\) are not among the 2 classes"
    ):
        datamodule_of("kinetics400", video_tree, f"+datamodule.classes={tmp_path}/classes.txt").dataset("train")
    with pytest.raises(DataError, match=r"datamodule.classes=/nowhere: there is no such file"):
        Kinetics400DataModule(video_tree, classes="/nowhere")


def split(**dataset):
    sampler = {"_target_": "eztorch.datasets.clip_samplers.RandomClipSampler", "clip_duration": 1}
    return {"clip_sampler": sampler, "global_batch_size": 2, "dataset": dataset}


def test_frame_list__brings_its_frame_names_and_labels(put, tmp_path):
    put("v0", frame_name="img_{index:05d}.jpg")
    put("list.csv", "3\nv0/img_{frame:05d}.jpg 7 0,2 11 20 64 48\nv0/img_{frame:05d}.jpg 8 1 21 30\n")
    put("soft.json", json.dumps({"7": [0.5, 0.25, 0.25], "8": [0, 0, 1]}))
    given = {"datadir": tmp_path / "list.csv", "video_path_prefix": tmp_path}
    arguments = {"fps": 15, "frame_filter": {"subsample_type": "uniform", "num_samples": 4}}
    datamodule = VideoDataModule(3, tmp_path, train=split(**given), decoder="frame", decoder_args=arguments)
    assert sorted(first_batch(datamodule)["label"].tolist()) == [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    dataset = datamodule.dataset("train")
    video = dataset.videos[0]
    with dataset.decoder.open(dataset.videos.full_path(0), video.num_frames, segment=video.segment) as reader:
        first = reader.get_frames([[0]])[0].video
    with Image.open(tmp_path / "v0/img_00011.jpg") as picture:
        eleventh = torch.from_numpy(np.array(picture))
    assert reader.num_frames == 10
    assert torch.equal(first[:, 0].permute(1, 2, 0), eleventh)
    soft = VideoDataModule(
        3,
        tmp_path,
        train=split(**given, video_id_to_label=str(tmp_path / "soft.json")),
        decoder="frame",
        decoder_args=arguments,
    )
    assert sorted(first_batch(soft)["label"].tolist()) == [[0.0, 0.0, 1.0], [0.5, 0.25, 0.25]]
    with pytest.raises(ConfigError, match=r"decoder_args.frame_name='x{index}.jpg', but the annotation says 'img_"):
        VideoDataModule(
            3, tmp_path, train=split(**given), decoder="frame", decoder_args={"frame_name": "x{index}.jpg"}
        ).dataset("train")


def test_official_lists__a_file_in_their_place_is_read_as_any_other(put, tmp_path):
    put("UCF-101/YoYo/a.avi")
    put("mine.csv", "YoYo/a.avi 7\n")
    datamodule = Ucf101DataModule(tmp_path, train=split(datadir=tmp_path / "mine.csv"))
    assert datamodule.dataset("train").videos[0].label == 7


def test_official_lists__that_are_missing_are_named_with_their_source(tmp_path):
    with pytest.raises(DataError, match=r"folder ucfTrainTestlist: .*classInd.txt is missing.*UCF101 page of CRCV"):
        datamodule_of("ucf101", tmp_path).setup("fit")
    with pytest.raises(ConfigError, match=r"datamodule.train.dataset.subset='tain' .* Did you mean 'train'"):
        datamodule_of("ucf101", tmp_path, "+datamodule.train.dataset.subset=tain").setup("fit")


def write_index(root: Path, **statuses: str) -> None:
    lines = []
    for path in sorted((root / "train").rglob("*.mp4")):
        size, mtime_ns = stamp(path)
        name = path.relative_to(root).as_posix()
        facts = VideoFacts(name, size, mtime_ns, status=statuses.get(path.stem, "ok"), num_frames=30)
        lines.append(json.dumps(facts.to_json()))
    (root / INDEX_NAME).write_text("\n".join(lines) + "\n")


def test_index__tells_of_unreadable_videos_before_the_run(video_tree, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(video_tree, root)
    write_index(root, v0="cut off")
    message = r"2 of its 8 videos are unreadable, as .*data has it: .*v0.mp4 \(cut off\)"
    with pytest.raises(DataError, match=message + r".*more than datamodule.max_failure_share=0.05"):
        VideoDataModule(2, root, train=split()).dataset("train")
    datamodule = VideoDataModule(2, root, train=split(), max_failure_share=0.25)
    with pytest.warns(UserWarning, match=message):
        datamodule.setup("fit")
    assert datamodule.train_num_samples == 8
    excluded = VideoDataModule(2, root, train=split(exclude_list=["falling/v0.mp4", "rising/v0.mp4"]))
    assert len(excluded.dataset("train")) == 6  # what is left out of training is no reason to refuse the rest
    write_index(root)
    assert len(VideoDataModule(2, root, train=split()).dataset("train")) == 8


def test_index__says_how_many_frames_folders_have(frame_tree, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(frame_tree, root)
    facts = []
    for folder in sorted((root / "train").glob("*/*")):
        _, mtime_ns = stamp(folder)
        facts.append(VideoFacts(folder.relative_to(root).as_posix(), 0, mtime_ns, kind="frames", num_frames=30))
    (root / INDEX_NAME).write_text("".join(json.dumps(one.to_json()) + "\n" for one in facts))
    datamodule = VideoDataModule(2, root, train=split(), decoder="frame")
    assert [video.num_frames for video in datamodule.dataset("train").videos] == [30] * 8


def test_epic_kitchens__reads_the_official_flow_of_every_second_frame(put, tmp_path):
    put("annotations/EPIC_train_action_labels.csv", EPIC)
    for video in ("P01/P01_01", "P27/P27_01"):
        for direction in "uv":
            put(f"frames_rgb_flow/flow/train/{video}/{direction}", frame_name="frame_{index:010d}.jpg")
    datamodule = datamodule_of("epic_kitchens55_flow", tmp_path)
    assert [video.segment[:2] for video in datamodule.dataset("train").videos] == [(1, 8), (7, 15)]
    assert first_batch(datamodule)["input"].shape == (2, 10, 2, 20, 20)


def test_frame_list__of_flow_has_the_direction_in_its_paths(put, tmp_path):
    for direction in "uv":
        put(f"{direction}/v0", frame_name="{index:05d}.jpg")
    put("list.csv", "0\n{flow_direction}/v0/{frame:05d}.jpg 7 1 1 20\n{flow_direction}/v0/{frame:05d}.jpg 8 0 5 9\n")
    given = split(datadir=tmp_path / "list.csv", video_path_prefix=tmp_path)
    given["clip_sampler"] = {
        "_target_": "eztorch.datasets.clip_samplers.RandomFrameSampler",
        "frames": {"_target_": "eztorch.datasets.clip_samplers.SparseFrames", "num_frames": 4, "neighbours": 5},
    }
    datamodule = VideoDataModule(2, tmp_path, train=given, decoder="flow", decoder_args={"flow": "RR"})
    assert first_batch(datamodule)["input"].shape == (2, 10, 4, 48, 64)


class OwnLists(VideoBaseDataModule):
    num_classes = 2
    lists = "lists"
    media = "videos"

    def read_lists(self, folder, subset, *, frame_folders):
        lines = (line.split(";") for line in (folder / f"{subset}.txt").read_text().splitlines())
        return Annotation([LabeledVideo(path, int(label)) for path, label in lines])


def test_own_lists__start_from_the_folder_of_media_and_have_to_be_there(put, tmp_path):
    put("lists/train.txt", "a.mp4;0\nb.mp4;1\n")
    put("videos/a.mp4")
    put("videos/b.mp4")
    spec = {"global_batch_size": 1, "clip_sampler": {"_target_": "eztorch.datasets.clip_samplers.WholeVideoSampler"}}
    videos = OwnLists(tmp_path, train=spec).videos("train")
    assert [videos.full_path(number) for number in range(2)] == [str(tmp_path / f"videos/{name}.mp4") for name in "ab"]
    (tmp_path / "videos/b.mp4").unlink()
    with pytest.raises(DataError, match="1 of its 2 videos are missing"):
        OwnLists(tmp_path, train=spec).videos("train")
