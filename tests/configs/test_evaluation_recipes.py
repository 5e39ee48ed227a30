"""The recipes that train nothing run on real files."""

from __future__ import annotations

import json

import pytest

from eztorch.engine.launch import main

COMMON = ["ckpt_path=untrained", "+trainer.limit_predict_batches=2", "trainer.accelerator=cpu"]
COMMON += [f"datamodule.{split}.loader.num_workers=0" for split in ("train", "val")]
IMAGES = ["datamodule.train.global_batch_size=8", "model.trunk.name=resnet18"]
VIDEOS = [
    "datamodule.train.global_batch_size=4",
    "datamodule.decoder_args.frame_filter.num_samples=4",
    "datamodule.val.clip_sampler.clip_duration=1",
    "datamodule.val.clip_sampler.clips_per_video=2",
    "datamodule.val.transform.transform.transforms.0.size=32",
    "datamodule.val.transform.transform.transforms.1.size=32",
    "+model.trunk.model.stem_dim_out=4",
    "model.trunk.head.in_features=32",
]


def read_metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_evaluate_resnet50_imagenet__classifies_by_neighbours(imagenet_tree, tmp_path):
    place = [f"dir.data={imagenet_tree}", f"dir.root={tmp_path}"]
    assert main("knn", ["-cn", "evaluate_resnet50_imagenet", *place, *COMMON, *IMAGES]) == 0
    metrics = read_metrics(tmp_path / "evaluate_resnet50_imagenet")
    assert (metrics["knn/n_evaluated"], metrics["knn/n_expected"]) == (16, 1000)  # two batches, and it says so
    assert {f"knn/acc_{top}_k{k}_t0.07" for top in (1, 5) for k in (10, 20, 200)} <= metrics.keys()


@pytest.mark.parametrize("files", ["features/{}", "features/{}_features.pth"])
def test_evaluate_r3d18_ucf101__and_retrieval_from_bank__find_the_same(ucf101_tree, tmp_path, files):
    place = [f"dir.data={ucf101_tree}", f"dir.root={tmp_path}", "extract.format=legacy"]
    assert main("retrieval_from_bank", ["-cn", "evaluate_r3d18_ucf101", *place, *COMMON, *VIDEOS]) == 0
    folder = tmp_path / "evaluate_r3d18_ucf101"
    sides = [
        f"{side}.features_path={folder / files.format(split)}" for side, split in (("query", "val"), ("bank", "train"))
    ]
    place = [f"dir.root={tmp_path}", "trainer.accelerator=cpu"]
    assert main("retrieval_from_bank", ["-cn", "retrieval_from_bank", *place, *sides]) == 0
    expected, found = read_metrics(folder), read_metrics(tmp_path / "retrieval_from_bank")
    if files.endswith(".pth"):  # which do not say how many there were to read
        del expected["retrieval/n_expected"], found["retrieval/n_expected"]
    assert found == expected
    assert found["retrieval/n_evaluated"] == 8
