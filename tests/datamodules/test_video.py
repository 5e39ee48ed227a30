from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from eztorch.datamodules import Kinetics200DataModule, VideoDataModule
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError, DataError

SEED_RECIPE = Path(__file__).parents[1] / "configs/seed_recipe.yaml"
EVALUATION = {
    "transform": {
        "_target_": "eztorch.transforms.OnlyInputTransformWithDictTransform",
        "transform": {"_target_": "eztorch.transforms.video.ShortSideScale", "size": 24},
        "dict_transform": {"_target_": "pytorchvideo.transforms.UniformCropVideo", "size": 24, "video_key": "input"},
    },
    "clip_sampler": {
        "_target_": "eztorch.datasets.clip_samplers.ConstantClipsPerVideoSampler",
        "clip_duration": 1,
        "clips_per_video": 2,
        "augs_per_clip": 3,
    },
    "global_batch_size": 3,
}


def seed_block(datadir: Path, *overrides: str) -> dict:
    """The datamodule of the recipe as it is written, for a data folder; the crop and the batch small."""
    config = OmegaConf.load(SEED_RECIPE)
    config.dir = {"data": str(datadir)}
    small = ["transform.transform.target_height=20", "transform.transform.target_width=28", "global_batch_size=3"]
    train = [f"datamodule.train.{override}" for override in (*small, "loader.num_workers=0")]
    config.merge_with_dotlist([*train, *(f"datamodule.{override}" for override in overrides)])
    return OmegaConf.to_container(config, resolve=False) and OmegaConf.to_container(config.datamodule, resolve=True)


def evaluated(datadir: Path, split: str = "val", **keys) -> VideoDataModule:
    spec = {**deepcopy(EVALUATION), **keys}
    decoder_args = {"frame_filter": {"subsample_type": "uniform", "num_samples": 4}}
    return VideoDataModule(num_classes=2, datadir=datadir, decoder_args=decoder_args, **{split: spec})


def equal(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(equal(*pair) for pair in zip(one, other, strict=True))
    return one == other


# The recipe's arguments are those of frames; the decoder of videos says which of them it has no use for.
@pytest.mark.filterwarnings("ignore:.*pyav has no use for")
@pytest.mark.parametrize("decoder", ["frame", "pyav"])
def test_seed_recipe__builds_as_written_and_reads(frame_tree, video_tree, decoder):
    spec = seed_block(frame_tree if decoder == "frame" else video_tree, f"decoder={decoder}")
    given = deepcopy(spec)
    datamodule = build(spec)
    datamodule.setup("fit")
    (batch, _) = list(datamodule.train_dataloader())
    assert [view.shape for view in batch["input"]] == [(3, 3, 8, 20, 28)] * 2
    assert {view.dtype for view in batch["input"]} == {torch.float32}  # decode_float
    assert 0 <= batch["input"][0].min() < batch["input"][0].max() <= 255
    assert set(batch["label"].tolist()) <= {0, 1}
    assert (datamodule.num_classes, datamodule.train_num_samples) == (200, 8)
    assert spec == given


@pytest.mark.filterwarnings("ignore:.*pyav has no use for", "ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("decoder", ["frame", "pyav"])
def test_batches__are_the_same_bits_with_any_number_of_workers(frame_tree, video_tree, decoder):
    epochs = []
    for workers in (0, 1, 3):
        overrides = (
            f"decoder={decoder}",
            "decoder_args.time_difference_prob=0.5",
            f"train.loader.num_workers={workers}",
        )
        loader = build(seed_block(frame_tree if decoder == "frame" else video_tree, *overrides)).train_dataloader()
        batches = []
        for epoch in range(2):
            loader.batch_sampler.sampler.set_epoch(epoch)
            batches.extend(loader)
        epochs.append(batches)
    assert len(epochs[0]) == 4
    assert not equal(epochs[0][0], epochs[0][2])
    assert equal(epochs[0], epochs[1])
    assert equal(epochs[0], epochs[2])


@pytest.mark.filterwarnings("ignore:.*pyav has no use for")
def test_ranks__together_read_the_batch_of_one_process(video_tree):
    def batches(rank, world):
        datamodule = build(seed_block(video_tree, "decoder=pyav", "train.global_batch_size=4"))
        datamodule.trainer = SimpleNamespace(world_size=world, global_rank=rank)
        return list(datamodule.train_dataloader())

    single, ranks = batches(0, 1), [batches(rank, 2) for rank in range(2)]
    assert len(single) == len(ranks[0]) == len(ranks[1]) == 2
    for whole, *parts in zip(single, *ranks, strict=True):
        samples = {int(idx): views for part in parts for idx, *views in zip(part["idx"], *part["input"], strict=True)}
        assert len(samples) == 4
        for idx, *views in zip(whole["idx"], *whole["input"], strict=True):
            assert equal(samples[int(idx)], views)


def test_evaluation__reads_all_clips_and_crops_of_every_video_in_order(video_tree):
    batches = list(evaluated(video_tree).val_dataloader())
    assert [batch["input"].shape for batch in batches] == [(18, 3, 4, 24, 24), (18, 3, 4, 24, 24), (12, 3, 4, 24, 24)]
    for key, values in (("idx", range(8)), ("label", [0] * 4 + [1] * 4)):
        assert torch.cat([batch[key] for batch in batches]).tolist() == [value for value in values for _ in range(6)]
    assert batches[0]["aug_index"][:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert batches[0]["clip_index"][:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert batches[0]["clip_start"][:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert batches[0]["input"].dtype == torch.uint8
    assert batches[0]["video_name"][0] == "falling/v0.mp4"


def test_evaluation__draws_the_same_whenever_it_runs(video_tree):
    sampler = {"_target_": "eztorch.datasets.clip_samplers.RandomClipSampler", "clip_duration": 1}
    loader = evaluated(video_tree, clip_sampler=sampler).val_dataloader()
    loader.batch_sampler.sampler.set_epoch(0)
    first = list(loader)
    loader.batch_sampler.sampler.set_epoch(9)
    assert equal(first, list(loader))


def test_test__reads_the_videos_of_val_unless_it_has_its_own(video_tree, tmp_path):
    def names(datamodule):
        return {name for batch in datamodule.test_dataloader() for name in batch["video_name"]}

    assert len(names(evaluated(video_tree, "test"))) == 8
    (tmp_path / "own.csv").write_text("falling/v1.mp4 0\n")
    own = {"datadir": str(tmp_path / "own.csv"), "video_path_prefix": str(video_tree / "train")}
    datamodule = VideoDataModule(2, video_tree, val=EVALUATION | {"dataset": own}, test=EVALUATION)
    assert names(datamodule) == {"falling/v1.mp4"}
    assert names(VideoDataModule(2, video_tree, test=EVALUATION | {"dataset": own})) == {"falling/v1.mp4"}


def test_split__may_have_a_decoder_and_arguments_of_its_own(frame_tree):
    common = {"fps": 15, "frame_filter": {"subsample_type": "uniform", "num_samples": 4}, "time_difference_prob": 1.0}
    datamodule = VideoDataModule(
        2,
        frame_tree,
        decoder="frame",
        decoder_args=common,
        train=EVALUATION,
        val=EVALUATION | {"decoder_args": {"time_difference_prob": 0.0}},
    )
    train, val = next(iter(datamodule.train_dataloader())), next(iter(datamodule.val_dataloader()))
    assert (train["time_difference"].all(), val["time_difference"].any()) == (True, False)
    assert train["input"].shape == val["input"].shape
    datamodule = VideoDataModule(2, frame_tree, val=EVALUATION | {"decoder": "frame", "decoder_args": common})
    assert next(iter(datamodule.val_dataloader()))["input"].shape[2] == 4


def test_folders__of_evaluation_have_the_labels_of_training(video_tree, tmp_path):
    shutil.copytree(video_tree, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/val/falling")
    datamodule = VideoDataModule(2, tmp_path / "data", train=EVALUATION, val=EVALUATION)
    assert {int(label) for batch in datamodule.val_dataloader() for label in batch["label"]} == {1}
    (tmp_path / "data/val/turning").mkdir()
    with pytest.raises(
        DataError, match=r"datamodule.datadir .*folder val.*'turning' \(nearest: 'rising'\) are not among the 2 classes"
    ):
        VideoDataModule(3, tmp_path / "data", train=EVALUATION, val=EVALUATION).setup("validate")


@pytest.fixture
def damaged(video_tree, tmp_path):
    """A training and a validation set in which one video is cut off, one empty and one a text."""
    shutil.copytree(video_tree, tmp_path / "data")
    for split in ("train", "val"):
        folder = tmp_path / "data" / split / "falling"
        whole = (folder / "v0.mp4").read_bytes()
        (folder / "v0.mp4").write_bytes(whole[: len(whole) // 2])
        (folder / "v1.mp4").write_bytes(b"")
        (folder / "v2.mp4").write_text("This is not a video.")
    return tmp_path / "data"


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable__videos_are_counted_in_evaluation_and_never_replaced(damaged, workers):
    batches = list(evaluated(damaged, loader={"num_workers": workers}).val_dataloader())
    assert batches[0]["input"] is None
    assert [failure.idx for failure in batches[0]["failures"]] == [0, 1, 2]
    assert [Path(failure.path).name for failure in batches[0]["failures"]] == ["v0.mp4", "v1.mp4", "v2.mp4"]
    assert all(failure.reason and failure.decoder == "pyav" for failure in batches[0]["failures"])
    assert torch.cat([batch["idx"] for batch in batches[1:]]).unique().tolist() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable__videos_have_stand_ins_in_training(damaged, workers):
    loader = evaluated(damaged, "train", loader={"num_workers": workers}).train_dataloader()
    batches = list(loader)
    assert sum(len(batch["idx"]) for batch in batches) == 8 * 6
    assert set(torch.cat([batch["idx"] for batch in batches]).tolist()) <= {3, 4, 5, 6, 7}
    assert {failure.idx for batch in batches for failure in batch.get("failures", [])} == {0, 1, 2}


def test_unreadable__videos_raise_with_their_path_where_they_are_told_to(damaged):
    loader = evaluated(damaged, on_error="raise", loader={"num_workers": 1}).val_dataloader()
    with pytest.raises(RuntimeError, match=r"(?s)val/falling/v0.mp4: decoder 'pyav' cannot read it"):
        list(loader)


def test_shapes__that_differ_name_the_videos(video_tree):
    random = {"_target_": "eztorch.datasets.clip_samplers.RandomClipSampler", "clip_duration": 1, "jitter_factor": 0.9}
    datamodule = VideoDataModule(2, video_tree, val=EVALUATION | {"transform": None, "clip_sampler": random})
    with pytest.raises(DataError, match=r"\(3, \d+, 48, 64\) of falling/v0.mp4; .*UniformTemporalSubsample"):
        list(datamodule.val_dataloader())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"datadir": None}, ConfigError, r"Where the val split is is not said: write dir.data=/path/to/data"),
        ({"datadir": "/nowhere"}, DataError, r"datamodule.datadir \(dir.data\)=/nowhere: there is no such folder"),
        ({"val": {"dataset": {"datadir": "/no.csv"}}}, DataError, r"val.dataset.datadir: /no.csv: there is no such"),
        ({"val": {"dataset": {"datdir": "x"}}}, ConfigError, r"datamodule.val.dataset.datdir: .*Did you mean datadir"),
        ({"val": {"clip_sampler": None}}, ConfigError, r"datamodule.val.clip_sampler is missing"),
        ({"val": {"clip_samplers": None}}, ConfigError, r"datamodule.val.clip_samplers: .*Did you mean 'clip_sampler'"),
        ({"val": {"on_error": "ignore"}}, ConfigError, r"on_error='ignore'; expected one of 'skip', 'raise'"),
        ({"decoder": "pyva"}, ConfigError, r"pyva"),
        ({"num_classes": "x"}, ConfigError, r"datamodule.num_classes='x'; expected a whole number of at least 1"),
        ({"max_failure_share": "x"}, ConfigError, r"datamodule.max_failure_share='x'; expected a share, 0 to 1"),
        ({"decode_audio": True}, ConfigError, r"datamodule.decode_audio=true: audio is not supported yet"),
    ],
)  # fmt: skip
def test_bad_input__is_named(video_tree, arguments, error, message):
    keys = {"num_classes": 2, "datadir": video_tree, **arguments, "val": EVALUATION | arguments.get("val", {})}
    with pytest.raises(error, match=message):
        VideoDataModule(**keys).setup("validate")


@pytest.mark.parametrize("where", ["", "val"])
def test_bad_input__a_folder_without_classes_is_named(tmp_path, where):
    (tmp_path / where).mkdir(exist_ok=True)
    expected = "there is no class folder in it" if where else "there is no such annotation file or folder of classes"
    with pytest.raises(DataError, match=rf"datamodule.datadir \(dir.data\), folder val: {tmp_path}/val: {expected}"):
        evaluated(tmp_path).setup("validate")


def test_bad_input__a_line_that_does_not_parse_is_named(tmp_path):
    (tmp_path / "val.csv").write_text("a.mp4 0\nb.mp4 two\n")
    with pytest.raises(
        DataError, match=r"datamodule.val.dataset.datadir: .*val.csv, line 2 \('b.mp4 two'\): the label 'two'"
    ):
        evaluated(tmp_path, dataset={"datadir": tmp_path / "val.csv"}).setup("validate")


def test_kinetics__takes_fewer_classes_but_no_label_beyond_them(video_tree, tmp_path):
    datamodule = Kinetics200DataModule(video_tree, val=EVALUATION)
    datamodule.setup("validate")
    assert datamodule.val_num_samples == 8
    (tmp_path / "val.csv").write_text("a.mp4 199\nb.mp4 200\n")
    with pytest.raises(DataError, match=r"val.csv, line 2 \('b.mp4 200'\): the label 200 is not one of 0 to 199"):
        Kinetics200DataModule(tmp_path, val=EVALUATION | {"dataset": {"datadir": tmp_path / "val.csv"}}).setup(
            "validate"
        )
    for number in range(201):
        (tmp_path / "val" / f"class{number}").mkdir(parents=True)
    with pytest.raises(DataError, match=r"val: there are 201 class folders, more than the 200 classes"):
        Kinetics200DataModule(tmp_path, val=EVALUATION).setup("validate")


@pytest.mark.parametrize("num_classes", [200, 400, 600, 700])
def test_kinetics__has_as_many_classes_as_its_name_says(num_classes):
    assert build({"_target_": f"eztorch.datamodules.Kinetics{num_classes}DataModule"}).num_classes == num_classes


def test_unknown_key__of_the_datamodule_has_its_nearest_named():
    with pytest.raises(ConfigError, match=r"VideoDataModule: unknown key 'decoder_arg'. Did you mean 'decoder_args'"):
        build({"_target_": "eztorch.datamodules.VideoDataModule", "num_classes": 2, "decoder_arg": {}})


def test_features__of_a_split_are_those_of_its_own_videos(video_tree, tmp_path):
    (tmp_path / "own.csv").write_text("falling/v1.mp4 0\nrising/v2.mp4 1\n")
    own = {"datadir": str(tmp_path / "own.csv"), "video_path_prefix": str(video_tree / "train")}
    datamodule = VideoDataModule(2, video_tree, train=EVALUATION | {"dataset": own}, val=EVALUATION)
    names = {name for batch in datamodule.feature_dataloader("train") for name in batch["video_name"]}
    assert names == {"falling/v1.mp4", "rising/v2.mp4"}
    assert len({name for batch in datamodule.feature_dataloader("val") for name in batch["video_name"]}) == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", r"video_id_to_label: expected a mapping such as"),
        ('{"a": 1}', r"video_id_to_label: 'a': 1 is not a video id and its label"),
        ('{"1": "x"}', r"video_id_to_label: '1': 'x' is not a video id and its label"),
    ],
)
def test_bad_input__labels_by_video_id_are_named(tmp_path, content, message):
    (tmp_path / "list.csv").write_text("0\na.mp4 1 0\n")
    (tmp_path / "labels.json").write_text(content)
    dataset = {"datadir": tmp_path / "list.csv", "video_id_to_label": str(tmp_path / "labels.json")}
    with pytest.raises(DataError, match=message):
        evaluated(tmp_path, dataset=dataset).setup("validate")
    with pytest.raises(DataError, match=r"video_id_to_label=/nowhere: there is no such file"):
        evaluated(tmp_path, dataset=dataset | {"video_id_to_label": "/nowhere"}).setup("validate")


def test_subset__is_another_folder_of_the_data(video_tree, tmp_path):
    shutil.copytree(video_tree / "train", tmp_path / "held_out")
    shutil.rmtree(tmp_path / "held_out/falling")
    datamodule = evaluated(tmp_path, "test", dataset={"subset": "held_out"})
    assert datamodule.dataset("test").labels.tolist() == [0] * 4
    assert datamodule.dataset("test").videos.classes == ("rising",)


def test_test__that_is_not_said_is_an_error_where_val_has_several(video_tree):
    several = EVALUATION | {"dataset": [{"datadir": video_tree / "val"}, {"datadir": video_tree / "train"}]}
    with pytest.raises(ConfigError, match=r"datamodule.test.dataset is missing, and val has several"):
        VideoDataModule(2, video_tree, val=several, test=EVALUATION).setup("test")


@pytest.mark.parametrize("name", ["Ucf101DataModule", "CaterDataModule", "EpicKitchens55DataModule"])
def test_unknown_key__of_a_data_set_has_its_nearest_named(name):
    with pytest.raises(ConfigError, match=rf"{name}: unknown key 'decoder_arg'. Did you mean 'decoder_args'"):
        build({"_target_": f"eztorch.datamodules.{name}", "decoder_arg": {}})
