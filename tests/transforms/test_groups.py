"""Every group of transforms of clips is built from its file and run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from eztorch.utils.config import build

FOLDER = Path(__file__).parents[2] / "eztorch/configs/transform"
OF_SAMPLES = sorted(path.stem for path in (FOLDER / "clip").glob("*.yaml"))
OF_BATCHES = sorted(path.stem for path in FOLDER.glob("video_*.yaml"))
OF_VIEWS = ("contrastive", "multi_crop")


def group(name: str):
    return build(yaml.safe_load((FOLDER / f"{name}.yaml").read_text()))


def test_groups__are_found():
    assert len(OF_SAMPLES) >= 7
    assert len(OF_BATCHES) >= 8


@pytest.mark.parametrize("name", OF_SAMPLES)
def test_groups_of_samples__give_squares_in_bytes_and_keep_what_the_sample_says(name):
    clip = torch.randint(256, (3, 2, 90, 120), dtype=torch.uint8)
    takes_views = name in ("random_resized_crop", "multi_crop")
    sample = {"input": [clip, clip] if takes_views else clip, "label": 3, "idx": 7, "aug_index": 1, "video_name": "a"}
    result = group(f"clip/{name}")(sample)
    assert {key: result[key] for key in sample if key != "input"} == {k: v for k, v in sample.items() if k != "input"}
    views = result["input"] if isinstance(result["input"], list) else [result["input"]]
    assert {view.dtype for view in views} == {torch.uint8}
    assert all(view.shape[:2] == (3, 2) and view.shape[-1] == view.shape[-2] for view in views)
    sizes = [view.shape[-1] for view in views]
    two = {"random_resized_crop": [224] * 2, "crops_2": [224] * 2}
    expected = {"multi_crop": [224] * 2 + [96] * 4, "uniform_crop": [256], **two}
    assert sizes == expected.get(name, [224])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("name", OF_BATCHES)
def test_groups_of_batches__give_normalised_floats(name, dtype):
    """Batches from 0 to 255, also where they are floats: `decode_float: true`."""
    channels = 10 if name == "video_flow" else 3
    clips = torch.randint(256, (4, channels, 3, 16, 16), dtype=torch.uint8).to(dtype)
    takes_views = any(word in name for word in OF_VIEWS)
    result = group(name)([clips, clips] if takes_views else clips)
    for view in result if takes_views else [result]:
        assert view.shape == clips.shape
        assert view.dtype == torch.float32
        assert view.abs().max() < 3
        assert view.std() > 0.3


def test_ten_views_of_ten_crops__differ():
    clip = torch.randint(256, (3, 2, 300, 400), dtype=torch.uint8)
    transform = group("clip/ten_crops")
    crops = [transform({"input": clip, "aug_index": number})["input"] for number in range(10)]
    assert len({crop.numpy().tobytes() for crop in crops}) == 10
