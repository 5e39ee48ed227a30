from __future__ import annotations

import itertools
import json
import random
from collections import Counter

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from eztorch.cli import main
from eztorch.data.split.annotation_files import write_annotation
from eztorch.data.split.assign import assign_groups
from eztorch.data.split.groups import find_groups
from eztorch.datamodules import Hmdb51DataModule, Ucf101DataModule, VideoDataModule
from eztorch.datasets import LabeledVideo, LabeledVideoPaths
from eztorch.datasets.clip_samplers import RandomClipSampler
from eztorch.utils.errors import ConfigError, DataError


def shares(parts, labels) -> dict:
    counts = Counter(zip(labels, parts, strict=True))
    return {label: [counts[label, part] for part in sorted(set(parts))] for label in sorted(set(labels))}


def test_assign__keeps_groups_together_and_classes_by_their_shares():
    labels = [row % 10 for row in range(2000)]
    groups = [f"{row % 10}-{row // 40}" for row in range(2000)]  # 500 groups of 4, 50 of each class
    parts = assign_groups(labels, groups, [0.8, 0.1, 0.1])
    assert all(len(set(p for p, g in zip(parts, groups, strict=True) if g == group)) == 1 for group in set(groups))
    assert set(map(tuple, shares(parts, labels).values())) == {(160, 20, 20)}


def test_assign__comes_near_the_shares_with_groups_of_many_sizes_and_classes():
    rng = random.Random(0)
    groups = [group for group in range(300) for _ in range(rng.randint(1, 20))]
    labels = [(group + rng.randint(0, 1)) % 7 for group in groups]  # a group has clips of two classes
    parts = assign_groups(labels, groups, [3, 1])
    for train, val in shares(parts, labels).values():
        assert train / (train + val) == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("sizes", [[1, 1], [2, 1], [5, 1, 1, 1]])
def test_assign__is_as_near_as_the_best_of_all_ways(sizes):
    """One class, few groups: compared with every way there is of dealing the groups out."""
    labels, groups = [0] * sum(sizes), [g for g, size in enumerate(sizes) for _ in range(size)]
    parts = assign_groups(labels, groups, [1, 1])

    def error(of_group) -> float:
        first = sum(size for size, part in zip(sizes, of_group, strict=True) if part == 0)
        return abs(first - sum(sizes) / 2)

    of_group = [parts[groups.index(g)] for g in range(len(sizes))]
    ways = [way for way in itertools.product((0, 1), repeat=len(sizes)) if set(way) == {0, 1}]
    assert error(of_group) == min(map(error, ways))


def test_assign__depends_on_the_seed_and_not_on_the_order_of_the_videos():
    labels, groups = [row % 3 for row in range(90)], [str(row) for row in range(90)]
    parts = assign_groups(labels, groups, [2, 1], seed=3)
    assert parts == assign_groups(labels, groups, [2, 1], seed=3)
    assert parts != assign_groups(labels, groups, [2, 1], seed=4)
    assert parts[::-1] == assign_groups(labels[::-1], groups[::-1], [2, 1], seed=3)


def test_assign__leaves_no_part_empty():
    assert sorted(set(assign_groups([0] * 12, [0] * 10 + [1, 2], [0.98, 0.01, 0.01]))) == [0, 1, 2]
    with pytest.raises(DataError, match="There are 2 groups for 3 parts"):
        assign_groups([0, 0, 1], [0, 0, 1], [1, 1, 1])


@pytest.mark.parametrize(
    ("how", "paths", "groups"),
    [
        ("ucf101", ["Archery/v_Archery_g08_c01.avi", "Archery/v_Archery_g08_c02"], ["v_Archery_g08"] * 2),
        ("hmdb51", ["brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi"], ["April_09"]),
        ("hmdb51", ["clap/#20_Rhythm_clap_u_nm_np1_fr_goo_0.avi"], ["#20_Rhythm"]),
        ("kinetics", ["zumba/a-_CdEfGhIj_000012_000022.mp4"], ["a-_CdEfGhIj"]),
        ("none", ["a/x.mp4", "a/y.mp4"], ["a/x.mp4", "a/y.mp4"]),
    ],
)
def test_groups__are_told_by_the_form_of_the_names(how, paths, groups):
    assert find_groups(paths) == (how, groups)
    assert find_groups(paths, how) == (how, groups)


def test_groups__by_an_expression():
    paths = ["a/s01_1.mp4", "b/s01_2.mp4", "a/s02_1.mp4"]
    assert find_groups(paths, r"(s\d+)_")[1] == ["s01", "s01", "s02"]
    assert find_groups(paths, r"s\d+_\d")[1] == ["s01_1", "s01_2", "s02_1"]
    with pytest.raises(DataError, match=r"1 of 4 paths are not of that form, for example 'c/other\.mp4'"):
        find_groups([*paths, "c/other.mp4"], r"(s\d+)_")
    with pytest.raises(ConfigError, match="not a regular expression"):
        find_groups(paths, "(s")
    with pytest.raises(ConfigError, match="did you mean ucf101"):
        find_groups(paths, "ucf")


@pytest.mark.parametrize(
    ("videos", "suffix"),
    [
        ([LabeledVideo("a/b.mp4", 3), LabeledVideo("c,1.mp4", 0)], ".csv"),
        ([LabeledVideo("a b/c d.mp4", 3, 10)], ".csv"),
        ([LabeledVideo("a.mp4"), LabeledVideo("é.mp4", -1, 5)], ".csv"),
        ([LabeledVideo("a b.mp4", 3)], ".json"),  # a space, and no number of frames
        ([LabeledVideo(" a.mp4", 3, 10)], ".json"),
        ([LabeledVideo("a\nb.mp4", 3, 10)], ".json"),
        ([LabeledVideo("x,", 2)], ".json"),  # looks like columns that are separated by commas
        ([LabeledVideo("\udce9.mp4", 1, 4)], ".json"),  # a name that is not UTF-8
    ],
)
def test_annotation__is_read_as_it_was_meant(tmp_path, videos, suffix):
    path = write_annotation(tmp_path / "train.csv", videos)
    assert path == tmp_path / f"train{suffix}"
    assert list(LabeledVideoPaths.from_path(path)) == videos
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_annotation__that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(DataError, match="several labels"):
        write_annotation(tmp_path / "a.csv", [LabeledVideo("a.mp4", (0.0, 1.0))])
    with pytest.raises(DataError, match="there twice"):
        write_annotation(tmp_path / "a.json", [LabeledVideo("a.mp4", 0), LabeledVideo("a.mp4", 1)])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw, encode):
    """Two classes of clips with the names of UCF101, six groups of two clips each; a class has a space in its name."""
    root = tmp_path_factory.mktemp("data") / "videos"
    for seed, (name, group, clip) in enumerate(itertools.product(("Golf Swing", "Archery"), range(1, 7), (1, 2))):
        encode(root / name / f"v_{name}_g{group:02d}_c{clip:02d}.mp4", draw(seed, 12))
    return root


def split(*words) -> int:
    return main(["data", "split", *map(str, words), "--workers", "0"])


def read(path) -> list[LabeledVideo]:
    return list(LabeledVideoPaths.from_path(path))


def test_split__by_ratios_never_parts_a_group(folder, tmp_path, capsys):
    assert split(folder, "-o", tmp_path, "--ratios", "train=4", "dev=1", "test=1") == 0
    parts = {name: read(tmp_path / f"{name}.csv") for name in ("train", "dev", "test")}
    assert {name: len(videos) for name, videos in parts.items()} == {"train": 16, "dev": 4, "test": 4}
    groups = [{video.path.rpartition("_c")[0] for video in videos} for videos in parts.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12
    assert Counter(video.label for video in parts["train"]) == {0: 8, 1: 8}
    # A path with a space in it stands in a csv file with its number of frames.
    assert {video.num_frames for video in parts["train"] if " " in video.path} == {12}
    assert {video.num_frames for video in parts["train"] if " " not in video.path} == {None}
    assert (tmp_path / "classes.txt").read_text() == "Archery\nGolf Swing\n"
    shown = capsys.readouterr().out
    assert "Groups: by ucf101" in shown
    assert "66.7%" in shown


def test_split__trains(folder, tmp_path):
    """What is written is what a datamodule takes."""

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 2)
            self.seen: list[str] = []

        def loss(self, batch):
            self.seen += batch["video_name"]
            return torch.nn.functional.cross_entropy(self.layer(batch["input"].float().mean((2, 3, 4))), batch["label"])

        def training_step(self, batch, index):
            return self.loss(batch)

        def validation_step(self, batch, index):
            self.loss(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1e-4)

    assert split(folder, "-o", tmp_path / "lists") == 0

    def spec(name) -> dict:
        return {
            "dataset": {"datadir": str(tmp_path / "lists" / f"{name}.csv"), "video_path_prefix": str(folder)},
            "clip_sampler": RandomClipSampler(clip_duration=0.25),
            "global_batch_size": 4,
            "on_error": "raise",
        }

    data = VideoDataModule(
        num_classes=2,
        train=spec("train"),
        val=spec("val"),
        decoder_args={"frame_filter": {"subsample_type": "uniform", "num_samples": 2}},
    )
    model = Classifier()
    Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    ).fit(model, data)
    assert sorted(model.seen) == sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.mp4"))


def test_split__in_folds_puts_every_video_into_one_validation_set(folder, tmp_path):
    assert split(folder, "-o", tmp_path, "--folds", 3, "--format", "json") == 0
    folds = [(read(tmp_path / f"fold{k}_train.json"), read(tmp_path / f"fold{k}_val.json")) for k in (1, 2, 3)]
    held_out = [video.path for _, val in folds for video in val]
    assert len(held_out) == len(set(held_out)) == 24
    for train, val in folds:
        assert len(val) == 8
        assert not {video.path for video in train} & {video.path for video in val}
        assert len(train) == 16


def test_split__of_an_annotation_file_keeps_what_it_says(folder, tmp_path):
    lines = [f"Archery/v_Archery_g{group:02d}_c01.mp4 7" for group in range(1, 5)]
    (tmp_path / "all.csv").write_text("\n".join(lines) + "\n")
    assert split(tmp_path / "all.csv", "-o", tmp_path, "--ratios", 1, 1, "--prefix", folder) == 0
    both = read(tmp_path / "train.csv") + read(tmp_path / "val.csv")
    assert sorted(f"{video.path} {video.label}" for video in both) == lines


def test_split__all_writes_one_file(frame_tree, tmp_path):
    assert split(frame_tree / "train", "-o", tmp_path, "--all", "everything") == 0
    assert read(tmp_path / "everything.csv") == [
        LabeledVideo(f"{name}/v{number}", label, 30)
        for label, name in enumerate(("falling", "rising"))
        for number in range(4)
    ]


def test_split__of_folders_of_frames_is_read_by_the_frame_decoder(frame_tree, tmp_path):
    assert split(frame_tree / "train", "-o", tmp_path, "--ratios", 3, 1) == 0
    assert {video.num_frames for video in read(tmp_path / "train.csv")} == {30}


def test_split__takes_the_official_lists_of_ucf101_for_frames(tmp_path, draw, save_pictures):
    lists, frames = tmp_path / "lists", tmp_path / "frames"
    lists.mkdir()
    names = [f"Class{number:03d}" for number in range(101)]
    (lists / "classInd.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(names, start=1)))
    (lists / "trainlist01.txt").write_text("Class000/v_Class000_g08_c01.avi 1\nClass100/v_Class100_g09_c01.avi 101\n")
    (lists / "testlist01.txt").write_text("Class100/v_Class100_g01_c01.avi\n")
    for count, name in ((5, "Class000/v_Class000_g08_c01"), (6, "Class100/v_Class100_g09_c01")):
        save_pictures(frames / name, draw(count, count))
    words = [frames, "-o", tmp_path / "out", "--official", "ucf101", "--lists", lists, "--split-id", 1]
    assert split(*words) == 2  # the test video is not there
    save_pictures(frames / "Class100/v_Class100_g01_c01", draw(7, 7))
    assert split(*words) == 0
    assert (tmp_path / "out/trainlist01.txt").read_text().split("\n") == [
        "Class000/v_Class000_g08_c01 0 5",
        "Class100/v_Class100_g09_c01 100 6",
        "",
    ]
    spec = {
        "dataset": {"datadir": str(tmp_path / "out"), "video_path_prefix": str(frames)},
        "clip_sampler": RandomClipSampler(clip_duration=0.1),
        "global_batch_size": 1,
    }
    data = Ucf101DataModule(decoder="frame", train=spec, test=spec, split_id=1)
    assert data.dataset("train").labels.tolist() == [0, 100]
    assert data.dataset("test")[0]["input"].shape[0] == 3


def test_split__takes_the_official_lists_of_hmdb51_for_frames(tmp_path, draw, save_pictures):
    lists, frames = tmp_path / "lists", tmp_path / "frames"
    lists.mkdir()
    for number in range(51):
        name = f"class{number:02d}"
        video = f"Film_{name}_u_nm_np1_ba_goo_0"
        (lists / f"{name}_test_split2.txt").write_text(f"{video}.avi {1 + number % 2} \n")
        save_pictures(frames / name / video, draw(number, 3))
    assert split(frames, "-o", tmp_path / "out", "--official", "hmdb51", "--lists", lists, "--split-id", 2) == 0
    assert (tmp_path / "out/testlist02.txt").read_text().startswith("class01/Film_class01_u_nm_np1_ba_goo_0 1 3\n")
    spec = {
        "dataset": {"datadir": str(tmp_path / "out"), "video_path_prefix": str(frames)},
        "clip_sampler": RandomClipSampler(clip_duration=0.1),
        "global_batch_size": 1,
    }
    data = Hmdb51DataModule(decoder="frame", train=spec, test=spec, split_id=2)
    assert (len(data.dataset("train")), len(data.dataset("test"))) == (26, 25)


def test_split__does_not_replace_files(folder, tmp_path, capsys):
    (tmp_path / "val.csv").write_text("precious")
    assert split(folder, "-o", tmp_path) == 2
    assert f"{tmp_path / 'val.csv'}: already there. Write --force to replace" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["val.csv"]
    assert split(folder, "-o", tmp_path, "--force") == 0
    assert len(read(tmp_path / "val.csv")) > 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ratios", "0.8"], "expected two or three numbers"),
        (["--ratios", "0.8", "-1"], "expected a positive number"),
        (["--ratios", "0.8", "x"], "expected a positive number"),
        (["--ratios", "a=1", "a=2"], "expected a positive number, with names that differ"),
        (["--folds", "1"], "expected at least 2"),
        (["--official", "ucf101"], "needs --lists"),
        (["--group", "kinetics"], "24 of 24 paths are not of that form"),
        (["--folds", "3", "--all", "x"], "not allowed with argument"),
    ],
)
def test_split__refuses_what_cannot_be(folder, tmp_path, capsys, words, message):
    assert split(folder, "-o", tmp_path, *words) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_split__of_what_is_split_already_names_the_parts(video_tree, tmp_path, capsys):
    assert split(video_tree, "-o", tmp_path) == 2
    assert "it is split already, into train, val" in capsys.readouterr().err


def test_split__json_has_the_form_of_annotations(folder, tmp_path):
    assert split(folder, "-o", tmp_path, "--format", "json", "--num-frames") == 0
    entries = json.loads((tmp_path / "val.json").read_text())["annotation"]
    assert {tuple(sorted(entry)) for entry in entries.values()} == {("class", "num_frames")}
