"""The project of the guide to parts of one's own trains, evaluates and computes what it says."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from eztorch.cli import main as eztorch
from eztorch.datasets.image_sources import ImagePairs
from eztorch.engine.launch import main

OWN = Path(__file__).parents[2] / "doc/examples/own"
SMALL = """
datamodule.train.loader.num_workers=0 datamodule.val.loader.num_workers=0 datamodule.test.loader.num_workers=0
datamodule.train.global_batch_size=4 datamodule.val.global_batch_size=4 datamodule.test.global_batch_size=4
datamodule.decoder_args.frame_filter.num_samples=2 datamodule.val.clip_sampler.clip_duration=1
datamodule.train.clip_sampler.clip_duration=1 datamodule.val.transform.transform.transforms.0.size=32
datamodule.val.transform.transform.transforms.1.size=32 trainer.max_epochs=1 trainer.log_every_n_steps=1
trainer.accelerator=cpu
"""


@pytest.fixture
def project(tmp_path, video_tree, monkeypatch):
    """A copy of the project, as a reader makes it, with videos and their lists in `data`."""
    folder = tmp_path / "my_project"
    shutil.copytree(OWN, folder, ignore=shutil.ignore_patterns("__pycache__"))
    lists = folder / "data/lists"
    lists.mkdir(parents=True)
    (folder / "data/videos").symlink_to(video_tree)
    for split in ("train", "val"):
        videos = sorted((video_tree / split).rglob("*.mp4"))
        lines = [f"{video.relative_to(video_tree).as_posix()};{video.parent.name}" for video in videos]
        (lists / f"{split}.txt").write_text("\n".join(lines))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop("mine", None)


def test_project__pretrains_with_its_parts_and_then_classifies(project):
    common = ["-cp", ".", "dir.data=data", *SMALL.split()]
    assert main("pretrain", [*common, "-cn", "pretrain_mine", "callbacks.knn.k=2"]) == 0
    metrics = json.loads((project / "outputs/mine/metrics.json").read_text())
    assert {"pretrain/alignment", "pretrain/uniformity", "health/length", "knn/acc_1"} <= set(metrics)
    assert metrics["knn/n_evaluated"] == 8
    weights = f"pretrained.path={project}/outputs/mine/checkpoints/last.ckpt"
    crops = [
        "datamodule.test.clip_sampler.clips_per_video=1",
        "datamodule.test.transform.transform.size=32",
        "datamodule.test.transform.dict_transform.size=32",
        "datamodule.train.transform.transform.transforms.0.min_size=32",
        "datamodule.train.transform.transform.transforms.0.max_size=32",
        "datamodule.train.transform.transform.transforms.1.size=32",
    ]
    assert main("supervised", [*common, "-cn", "supervised_mine", weights, *crops]) == 0
    metrics = json.loads((project / "outputs/mine_supervised/metrics.json").read_text())
    assert metrics["test/n_evaluated"] == 8


def test_images__are_read_from_a_file_of_numpy(project):
    import mine

    images = np.random.default_rng(0).integers(0, 255, (3, 8, 6, 3), dtype=np.uint8)
    np.savez(project / "train.npz", images=images, labels=[2, 0, 1])
    source = ImagePairs(mine.MyImages(project / "train.npz"))
    assert source.labels.tolist() == [2, 0, 1]
    assert torch.equal(source.read(1), torch.from_numpy(images[1]).permute(2, 0, 1))


def test_losses__are_those_of_the_paper(project):
    import mine

    x, y = (F.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1) for _ in range(2))
    alignment, uniformity = mine.alignment_and_uniformity(x, y, t=2.0)
    pairs = list(itertools.combinations(range(5), 2))
    expected = [torch.stack([(-2 * (z[i] - z[j]).pow(2).sum()).exp() for i, j in pairs]).mean().log() for z in (x, y)]
    torch.testing.assert_close(alignment, torch.stack([(x[i] - y[i]).pow(2).sum() for i in range(5)]).mean())
    torch.testing.assert_close(uniformity, (expected[0] + expected[1]) / 2)


def test_transforms__reverse_clips_and_change_samples_by_themselves(project):
    import mine

    clip = torch.arange(3.0).view(1, 3, 1, 1)
    assert mine.RandomReverse(1.0)(clip).flatten().tolist() == [2, 1, 0]
    assert mine.RandomReverse(0.0)(clip) is clip
    changed = mine.RandomGamma()(torch.full((4, 3, 2, 2), 0.5))
    assert len(changed.unique()) == 4


def test_data_commands__read_what_a_run_with_groups_of_the_project_would(project):
    experiment = ["-cd", ".", "-cn", "supervised_r3d18_kinetics200", "datamodule=mine", "dir.data=data"]
    assert eztorch(["data", "check", *experiment, "--quick", "--ignore", "near-leak"]) in (0, 1)
    splits = json.loads((project / "eztorch_check/report.json").read_text())["splits"]
    assert [split["media"] for split in splits] == [8, 8]
    assert eztorch(["data", "show", *experiment, "--samples", "1", "-o", "samples.png"]) == 0
    assert (project / "samples.png").stat().st_size > 0


def test_export__builds_a_trunk_of_the_project(project):
    import mine

    trunk = mine.ClipNet(8)
    torch.save({"state_dict": {f"trunk.{name}": value for name, value in trunk.state_dict().items()}}, "w.ckpt")
    network = ["-cp", ".", "-cn", "pretrain_mine", "model.trunk.width=8"]
    assert eztorch(["checkpoint", "export", "w.ckpt", "trunk.pth", *network, "--input", "3", "2", "16", "16"]) == 0
    exported = torch.load("trunk.pth", weights_only=True)
    exported = exported.get("state_dict", exported)
    assert torch.equal(exported["stages.0.0.weight"], trunk.state_dict()["stages.0.0.weight"])
