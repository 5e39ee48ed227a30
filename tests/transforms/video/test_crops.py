from __future__ import annotations

import pytest
import torch

from eztorch.transforms.video import CROP_ORDERS, RandomCornerCrop, UniformCropVideo, crop_at
from eztorch.utils.errors import ConfigError


def coordinates(height: int, width: int, frames: int = 2) -> torch.Tensor:
    """A clip whose channels hold row, column and frame."""
    times, rows, columns = torch.meshgrid(*map(torch.arange, (frames, height, width)), indexing="ij")
    return torch.stack([rows, columns, times]).float()


def corner(crop: torch.Tensor) -> tuple[int, int]:
    row, column = crop[:2, 0, 0, 0].int().tolist()
    return row, column


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (6, 11, {"cc": (1, 4), "ll": (1, 0), "rr": (1, 7), "tl": (0, 0), "tr": (0, 7), "bl": (2, 0), "br": (2, 7)}),
        (11, 6, {"cc": (4, 1), "ll": (0, 1), "rr": (7, 1), "tl": (0, 0), "tr": (0, 2), "bl": (7, 0), "br": (7, 2)}),
        (6, 6, {"cc": (1, 1), "ll": (1, 0), "rr": (1, 2)}),
    ],
)
def test_crop_at__lies_where_its_name_says(height, width, expected):
    clip = coordinates(height, width)
    assert {place: corner(crop_at(clip, 4, place)) for place in expected} == expected
    for place, (top, left) in expected.items():
        assert torch.equal(crop_at(clip, 4, place), clip[..., top : top + 4, left : left + 4])
        assert torch.equal(crop_at(clip, 4, f"{place}_flip"), crop_at(clip, 4, place).flip(-1))


@pytest.mark.parametrize(("height", "width"), [(64, 85), (85, 64), (72, 72)])
@pytest.mark.parametrize("order", CROP_ORDERS)
def test_crop_orders__have_as_many_different_crops_as_places(order, height, width):
    clip = torch.randint(256, (3, 2, height, width), dtype=torch.uint8)
    transform = UniformCropVideo(56, crops=order)
    crops = [transform({"input": clip, "aug_index": number})["input"] for number in range(len(CROP_ORDERS[order]))]
    assert len({crop.numpy().tobytes() for crop in crops}) == len(CROP_ORDERS[order])


def test_crop_orders__of_three_cover_the_frame_from_one_end_to_the_other():
    clip = coordinates(64, 85)
    transform = UniformCropVideo(64)
    columns = [transform({"input": clip, "aug_index": number})["input"][1] for number in range(3)]
    assert [(int(c.min()), int(c.max())) for c in columns] == [(0, 63), (11, 74), (21, 84)]


def test_uniform_crop_video__takes_its_own_list_of_places():
    transform = UniformCropVideo(4, crops=["br", "cc_flip"])
    clip = coordinates(6, 11)
    assert corner(transform({"input": clip, "aug_index": 0})["input"]) == (2, 7)
    assert corner(transform({"input": clip, "aug_index": 1})["input"]) == (1, 7)
    with pytest.raises(ConfigError, match="expected 0, 1 for the crops br, cc_flip, so at most 2 augs_per_clip"):
        transform({"input": clip, "aug_index": 2})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniformCropVideo(4, crops="centre"), "crops='centre' is not known"),
        (lambda: UniformCropVideo(4, crops=["cl"]), "the place of a crop='cl' is not known; expected one of .*'ll'"),
        (lambda: crop_at(coordinates(3, 8), 4, "tl"), "A crop of 4 x 4 does not fit in frames of 3 x 8"),
        (lambda: RandomCornerCrop(0), "size=0"),
        (lambda: RandomCornerCrop(8, scales=[1.2]), r"scales=\(1.2, 1.2\)|scales=\[1.2, 1.2\]"),
    ],
)
def test_crops__refuse_what_they_cannot_use(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_random_corner_crop__draws_all_places_and_scales():
    torch.manual_seed(0)
    transform = RandomCornerCrop(8, scales=(1.0, 0.5), interpolation="nearest")
    crops = [transform(coordinates(16, 24)) for _ in range(200)]
    assert {crop.shape for crop in crops} == {(3, 2, 8, 8)}
    found = {(corner(crop), int(crop[1, 0, 0, 1] - crop[1, 0, 0, 0])) for crop in crops}
    whole = {(0, 0), (0, 8), (0, 4)}  # a crop as high as the frame: the upper corners are the lower ones
    half = {(0, 0), (0, 16), (8, 0), (8, 16), (4, 8)}
    assert found == {(place, 2) for place in whole} | {(place, 1) for place in half}
