from __future__ import annotations

import pytest
import torch

from eztorch import transforms
from eztorch.transforms.video import UniformCropVideo
from eztorch.utils.config import build, locate
from eztorch.utils.errors import ConfigError


def double(value):
    return value * 2


def noise(value):
    return value + torch.rand(())


@pytest.fixture
def sample():
    return {"input": torch.ones(3, 2, 4, 6), "label": 1, "idx": 7, "clip_index": 2, "aug_index": 0, "video_name": "a"}


@pytest.fixture
def views(sample):
    return sample | {"input": [torch.zeros(3, 2, 4, 6), torch.zeros(3, 2, 4, 6)]}


@pytest.mark.parametrize("name", ["OnlyInputTransform", "ApplyTransformInputKey"])
def test_only_input__keeps_where_the_sample_comes_from_and_the_sample_itself(sample, name):
    given = dict(sample)
    result = getattr(transforms, name)(double)(sample)
    assert torch.equal(result["input"], torch.full((3, 2, 4, 6), 2.0))
    assert {key: result[key] for key in sample if key != "input"} == {k: v for k, v in given.items() if k != "input"}
    assert sample["input"] is given["input"]


@pytest.mark.parametrize("name", ["OnlyInputListTransform", "ApplyTransformInputKeyOnList"])
def test_only_input_list__draws_for_every_view(views, name):
    one, two = getattr(transforms, name)(noise)(views)["input"]
    assert not torch.equal(one, two)


@pytest.mark.parametrize("name", ["OnlyInputListSameTransform", "ApplySameTransformInputKeyOnList"])
def test_only_input_list_same__draws_once(views, name):
    one, two = getattr(transforms, name)(noise)(views)["input"]
    assert torch.equal(one, two)
    assert one.max() > 0


@pytest.mark.parametrize(("first_dict", "expected"), [(False, 3.0), (True, 4.0)])
def test_only_input_with_dict__goes_in_the_order_that_is_asked_for(first_dict, expected):
    def add_label(sample):
        return sample | {"input": sample["input"] + sample["label"]}

    transform = transforms.OnlyInputTransformWithDictTransform(double, add_label, first_dict)
    assert transform({"input": torch.tensor(1.0), "label": 1})["input"] == expected


def test_only_input_list_with_dict__takes_a_list_of_samples(sample):
    transform = transforms.OnlyInputListTransformWithDictTransform(double, UniformCropVideo(4))
    results = transform([sample, sample | {"aug_index": 2}])
    assert [tuple(result["input"].shape) for result in results] == [(3, 2, 4, 4)] * 2
    assert results[1]["aug_index"] == 2


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (
            transforms.ApplyTransformToKey("audio", double),
            {"input": 1, "label": 0, "idx": 3, "aug_index": 4, "audio": 10},
        ),
        (transforms.ApplyTransformAudioKey(double), {"input": 1, "label": 0, "idx": 3, "aug_index": 4, "audio": 10}),
        (transforms.ApplyTransformOnDict(lambda sample: len(sample)), 5),
        (transforms.DictKeepKeys(["idx", "audio"]), {"idx": 3, "audio": 5}),
        (transforms.DictKeepInputLabel(), {"input": 1, "label": 0}),
        (transforms.DictKeepInputLabelIdx(), {"input": 1, "label": 0, "idx": 3, "aug_index": 4}),
        (transforms.DictToListFromKeys(["label", "input"]), [0, 1]),
        (transforms.DictToListInputLabel(), [1, 0]),
        (transforms.RemoveKey("absent"), {"input": 1, "label": 0, "idx": 3, "aug_index": 4, "audio": 5}),
        (transforms.RemoveInputKey(), {"label": 0, "idx": 3, "aug_index": 4, "audio": 5}),
        (transforms.RemoveAudioKey(), {"input": 1, "label": 0, "idx": 3, "aug_index": 4}),
    ],
)
def test_on_dict__does_what_its_name_says(transform, expected):
    sample = {"input": 1, "label": 0, "idx": 3, "aug_index": 4, "audio": 5}
    given = dict(sample)
    assert transform(sample) == expected
    assert sample == given


def test_on_key_on_list__takes_any_key():
    assert transforms.ApplyTransformToKeyOnList("audio", double)({"audio": [1, 2]}) == {"audio": [2, 4]}
    assert transforms.ApplyTransformAudioKeyOnList(double)({"audio": [1, 2]}) == {"audio": [2, 4]}
    (one,) = transforms.ApplySameTransformToKeyOnList("audio", double, dim=0)({"audio": [torch.ones(2)]})["audio"]
    assert one.tolist() == [2, 2]


def test_on_dict__names_a_key_that_is_not_there():
    with pytest.raises(
        ConfigError, match=r"needs the key 'inputs', but the samples have 'input', 'idx'. Did you mean 'input'"
    ):
        transforms.ApplyTransformToKey("inputs", double)({"input": 1, "idx": 2})


def test_transforms__build_from_their_names():
    spec = {
        "_target_": "pytorchvideo.transforms.ApplyTransformToKey",
        "key": "input",
        "transform": {"_target_": "pytorchvideo.transforms.UniformTemporalSubsample", "num_samples": 1},
    }
    assert build(spec)({"input": torch.zeros(3, 5, 2, 2)})["input"].shape == (3, 1, 2, 2)


@pytest.mark.parametrize(
    "target",
    [
        "eztorch.transforms.ApplySameTransformOnList",
        "eztorch.transforms.Div255Input",
        "eztorch.transforms.MultiCropTransform",
        "eztorch.transforms.RandomResizedCrop",
        "eztorch.transforms.RandomTemporalDifference",
        "eztorch.transforms.video.RandomResizedCrop",
        "eztorch.transforms.video.RandomTemporalDifference",
        "eztorch.transforms.video.RemoveTimeDim",
        "eztorch.transforms.video.TemporalDifference",
        "pytorchvideo.transforms.ConvertFloatToUint8",
        "pytorchvideo.transforms.ConvertUint8ToFloat",
        "pytorchvideo.transforms.Div255",
        "pytorchvideo.transforms.MoveChannelFront",
        "pytorchvideo.transforms.MoveChannelRear",
        "pytorchvideo.transforms.Normalize",
        "pytorchvideo.transforms.Permute",
        "pytorchvideo.transforms.RandomResizedCrop",
        "pytorchvideo.transforms.RandomShortSideScale",
        "pytorchvideo.transforms.RemoveKey",
        "pytorchvideo.transforms.ShortSideScale",
        "pytorchvideo.transforms.UniformCropVideo",
        "pytorchvideo.transforms.UniformTemporalSubsample",
        "pytorchvideo.transforms.UniformTemporalSubsampleRepeated",
    ],
)
def test_transforms__are_found_under_the_names_of_older_configurations(target):
    assert locate(target).__module__.startswith("eztorch.transforms")


def test_transforms__show_what_they_hold():
    shown = repr(transforms.OnlyInputListTransform(transforms.video.ShortSideScale(8)))
    assert "key='input'" in shown
    assert "ShortSideScale" in shown
    assert "double" in repr(transforms.ApplyTransformsOnList([double]))
