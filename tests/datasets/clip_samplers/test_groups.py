"""The samplers as a user meets them: by a word of a group, by a `_target_`, in a datamodule that reads real videos."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from eztorch.datamodules import VideoDataModule
from eztorch.datasets import clip_samplers
from eztorch.datasets.clip_samplers import FrameSampler, all_clips
from eztorch.engine.arguments import parse
from eztorch.engine.compose import Composer
from eztorch.engine.experiments import find_recipe
from eztorch.utils.config import build

CONFIGS = Path(clip_samplers.__file__).parents[2] / "configs"
GROUPS = sorted(path.stem for path in (CONFIGS / "clip_sampler").glob("*.yaml"))
RULES = sorted(path.stem for path in (CONFIGS / "clip_sampler/frames").glob("*.yaml"))
OF_FRAMES = [name for name in GROUPS if name.endswith("_frames")]
# A sliding window needs a rule whose clips can be put anywhere.
CHOICES = [
    *((name, None) for name in GROUPS),
    *((name, rule) for name in OF_FRAMES for rule in RULES if name != "sliding_frames"),
    ("sliding_frames", "interval"),
]


def chosen(name: str, rule: str | None, *overrides: str) -> dict:
    """Compose a choice as a recipe makes it for the clip sampler of a split."""
    words = [f"+clip_sampler@datamodule.val.clip_sampler={name}"]
    if rule is not None:
        words.append(f"clip_sampler/frames@datamodule.val.clip_sampler.frames={rule}")
    with initialize_config_dir(str(CONFIGS), version_base=None):
        config = compose(overrides=[*words, *overrides])
    return OmegaConf.to_container(config.datamodule.val.clip_sampler, resolve=True)


def test_groups__are_found():
    assert len(GROUPS) >= 13
    assert len(OF_FRAMES) == 3
    assert RULES == ["dense", "interval", "segment", "sparse"]


def test_groups__offer_every_sampler_and_every_rule():
    targets = {chosen(name, rule)["_target_"] for name, rule in CHOICES}
    targets |= {chosen("random_frames", rule)["frames"]["_target_"] for rule in RULES}
    helpers = {"ClipInfo", "ClipInfoList", "ClipSampler", "all_clips"}
    helpers |= {"FrameClip", "FrameClipList", "FrameRule", "FrameSampler", "SpanRule"}
    assert {target.rpartition(".")[2] for target in targets} == set(clip_samplers.__all__) - helpers


@pytest.mark.parametrize(("name", "rule"), CHOICES)
@pytest.mark.parametrize("num_frames", [1, 40, 300])
def test_groups__build_a_sampler_that_gives_clips_of_any_video(name, rule, num_frames):
    sampler, fps = build(chosen(name, rule)), Fraction(30)
    if isinstance(sampler, FrameSampler):
        clips = sampler.frames(num_frames, fps)
    else:
        clips = all_clips(sampler, num_frames / fps)
    assert [clip.is_last for clip in clips] == [False] * (len(clips) - 1) + [True]


def test_groups__the_thirty_views_are_ten_clips_in_three_crops():
    views = all_clips(build(chosen("constant_10x3", None)), Fraction(10))
    assert [(view.clip_index, view.aug_index) for view in views] == [(j // 3, j % 3) for j in range(30)]


def test_groups__are_chosen_in_a_recipe_as_the_guide_shows(tmp_path):
    guide = (CONFIGS.parents[1] / "doc/sampling.md").read_text()
    choice = re.search(r"```yaml\ndefaults:\n((?:  - override .*\n)+)  - _self_", guide).group(1)
    recipe = (CONFIGS.parents[1] / "configs/supervised_r3d18_kinetics200.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(recipe.replace("  - _self_\n", f"{choice}  - _self_\n"))
    arguments = parse(
        ["-cp", str(tmp_path), "-cn", "mine", "dir.data=/data", "clip_sampler@datamodule.test.clip_sampler=uniform"]
    )
    config = Composer(find_recipe(arguments, "supervised"), "supervised").compose(arguments.overrides)
    train, val, test = (config.datamodule[split].clip_sampler for split in ("train", "val", "test"))
    assert [sampler._target_.rpartition(".")[2] for sampler in (train, val, test)] == [
        "RandomFrameSampler",
        "ConstantFrameSampler",
        "UniformClipSampler",
    ]
    assert train.frames == val.frames
    assert train.frames._target_.endswith("SparseFrames")
    assert set(test) == {"_target_", "clip_duration", "stride", "backpad_last"}  # nothing of the default is left


def test_names__of_the_predecessor_resolve():
    folder = "eztorch.datasets.clip_samplers"
    for name, keys in {
        "RandomClipSampler": {"clip_duration": 2.56, "speeds": [1], "jitter_factor": 0},
        "RandomMultiClipSampler": {"clip_duration": 2.56, "num_clips": 2, "speeds": [1], "jitter_factor": 0},
        "RandomCVRLSampler": {"clip_duration": 2.56, "shuffle": True, "power_cdf": 1.0, "decreasing_cdf": True},
        "ConstantClipsPerVideoSampler": {"clip_duration": 2.56, "clips_per_video": 10, "augs_per_clip": 3},
        "ConstantClipsWithHalfOverlapPerVideoClipSampler": {"clip_duration": 2.56, "augs_per_clip": 1},
        "MinimumFullCoverageClipSampler": {"clip_duration": 2.56, "augs_per_clip": 1},
        "UniformClipSampler": {"clip_duration": 2.56, "stride": None, "backpad_last": False},
    }.items():
        assert all_clips(build({"_target_": f"{folder}.{name}", **keys}), Fraction(10))


@pytest.mark.parametrize(
    ("name", "rule", "overrides", "samples"),
    [
        ("constant_frames", "dense", ["frames.sampling_rate=2", "temporal_crops=2", "spatial_crops=3"], 6),
        ("constant_frames", "sparse", ["spatial_crops=3"], 3),
        ("constant_frames", "segment", ["temporal_crops=2"], 2),
        ("constant_frames", "interval", ["temporal_crops=3"], 3),
        ("sliding_frames", "dense", ["frames.sampling_rate=1", "stride=10"], 4),
        ("random_frames", "sparse", [], 1),
    ],
)
def test_frames__come_out_of_a_datamodule_in_batches(name, rule, overrides, samples, video_tree):
    keys = [f"datamodule.val.clip_sampler.{override}" for override in overrides]
    split = {"clip_sampler": chosen(name, rule, *keys), "global_batch_size": 2}
    datamodule = VideoDataModule(2, video_tree, val=split)  # videos of 30 frames
    datamodule.setup("validate")
    batch = next(iter(datamodule.val_dataloader()))
    assert batch["input"].shape == (2 * samples, 3, 8, 48, 64)
    assert batch["idx"].tolist() == [0] * samples + [1] * samples
    assert (batch["clip_start"] < batch["clip_end"]).all()
