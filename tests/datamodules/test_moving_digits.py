from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from eztorch.datamodules import MovingDigitsDataModule
from eztorch.datasets.moving_digits import MARKER, MOTIONS
from eztorch.utils.errors import ConfigError, DataError

SMALL = {"num_train": 6, "num_val": 5, "size": 16, "frames": 6, "fps": 6, "num_classes": 3}


def split(sampler: str, **keys: object) -> dict:
    return {
        "clip_sampler": {"_target_": f"eztorch.datasets.clip_samplers.{sampler}", "clip_duration": 0.5, **keys},
        "global_batch_size": 2,
    }


def datamodule(root: Path, **keys: object) -> MovingDigitsDataModule:
    return MovingDigitsDataModule(
        datadir=root,
        train=split("RandomMultiClipSampler", num_clips=2),
        val=split("ConstantClipsPerVideoSampler", clips_per_video=1),
        test=split("ConstantClipsPerVideoSampler", clips_per_video=1),
        decoder_args={"frame_filter": {"subsample_type": "uniform", "num_samples": 3}},
        **{**SMALL, **keys},
    )


def test_moving_digits_datamodule__makes_its_data_once_and_says_so(tmp_path, caplog):
    root = tmp_path / "digits"
    with caplog.at_level(logging.INFO, logger="eztorch"):
        datamodule(root).prepare_data()
        assert caplog.messages == [f"Making 11 videos of moving digits in {root}."]
        caplog.clear()
        datamodule(root).prepare_data()
        assert caplog.messages == []
    assert (root / MARKER).is_file()


def test_moving_digits_datamodule__loads_clips_of_every_split(tmp_path):
    digits = datamodule(tmp_path / "digits")
    digits.prepare_data()
    digits.setup()
    assert digits.num_classes == 3
    assert [digits.num_samples(name) for name in ("train", "val", "test")] == [6, 5, 5]
    views = [batch["input"] for batch in digits.train_dataloader()]
    assert [[view.shape for view in batch] for batch in views] == [[torch.Size([2, 3, 3, 16, 16])] * 2] * 3
    batches = list(digits.val_dataloader())
    names = [name for batch in batches for name in batch["video_name"]]
    labels = [int(label) for batch in batches for label in batch["label"]]
    assert len(names) == len(labels) == 5
    assert all(list(MOTIONS)[label] in name for name, label in zip(names, labels, strict=True))


def test_moving_digits_datamodule__annotation_files_give_the_same_videos_as_the_folders(tmp_path):
    root = tmp_path / "digits"
    digits = datamodule(root)
    digits.prepare_data()
    listed = MovingDigitsDataModule(
        datadir=root,
        val={
            **split("ConstantClipsPerVideoSampler", clips_per_video=1),
            "dataset": {"datadir": root / "val.csv", "video_path_prefix": root / "val"},
        },
        **SMALL,
    )
    found = []
    for videos in (digits.videos("val"), listed.videos("val")):
        found.append({(videos.full_path(index), videos[index].label) for index in range(len(videos))})
    assert found[0] == found[1]
    assert len(found[0]) == 5


def test_moving_digits_datamodule__other_parameters_in_the_folder_are_an_error(tmp_path):
    datamodule(tmp_path / "digits").prepare_data()
    with pytest.raises(DataError, match=r'(?s)"seed": 0.*wanted.*"seed": 1'):
        datamodule(tmp_path / "digits", seed=1).prepare_data()


def test_moving_digits_datamodule__needs_a_folder():
    with pytest.raises(ConfigError, match=r"datamodule\.datadir is missing: write dir\.data="):
        MovingDigitsDataModule()
