from __future__ import annotations

import pytest
import torch
from PIL import Image

from eztorch.transforms import Div255Input, MultiCropTransform, RandomResizedCrop
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize("inplace", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
def test_div_255__divides_and_changes_what_it_is_given_only_where_it_is_told_to(dtype, inplace):
    given = torch.tensor([0, 51, 255], dtype=dtype)
    result = Div255Input(inplace=inplace)(given)
    torch.testing.assert_close(result, torch.tensor([0, 0.2, 1.0]))
    changed = given[2] != 255
    assert changed == (inplace and dtype == torch.float32)


def test_div_255__takes_lists_and_leaves_them_alone_by_default():
    views = [torch.full((2,), 255.0), torch.full((3,), 51, dtype=torch.uint8)]
    assert [view.tolist() for view in Div255Input()(views)] == [[1, 1], [pytest.approx(0.2)] * 3]
    assert views[0].tolist() == [255, 255]


@pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", torch.bfloat16])
def test_div_255__takes_the_type_by_name(dtype):
    assert Div255Input(dtype=dtype)(torch.zeros(2, dtype=torch.uint8)).dtype == torch.bfloat16
    with pytest.raises(ConfigError, match=r"dtype='int8' is not known"):
        Div255Input(dtype="int8")


def test_multi_crop__gives_the_views_of_every_set():
    sizes = MultiCropTransform(
        [{"transform": RandomResizedCrop(8), "num_views": 2}, {"transform": RandomResizedCrop(4), "num_views": 3}]
    )(torch.zeros(3, 20, 20))
    assert [view.shape[-1] for view in sizes] == [8, 8, 4, 4, 4]


def test_multi_crop__takes_the_elements_of_a_list_in_turns():
    transform = MultiCropTransform(
        [{"transform": torch.nn.Identity(), "num_views": 2}, {"transform": torch.neg, "num_views": 3}]
    )
    assert transform([torch.tensor(1), torch.tensor(2)]) == [1, 2, -1, -2, -1]


@pytest.mark.parametrize(
    "sets", [[{"num_views": 2}], [{"transform": abs, "views": 2}], [{"transform": abs, "num_views": 0}]]
)
def test_multi_crop__refuses_what_is_no_set(sets):
    with pytest.raises(ConfigError, match=r"set_transforms\[0\]=.*expected the keys transform and num_views"):
        MultiCropTransform(sets)


def test_multi_crop__refuses_to_make_no_view():
    with pytest.raises(ConfigError, match=r"set_transforms=\[\]"):
        MultiCropTransform([])


def test_random_resized_crop__of_images_takes_its_interpolation_by_name():
    image = Image.new("RGB", (32, 24))
    assert RandomResizedCrop((8, 6), interpolation="bicubic")(image).size == (6, 8)
    with pytest.raises(
        ConfigError, match=r"interpolation='cubic' is not known; expected one of .* Did you mean 'bicubic'"
    ):
        RandomResizedCrop(8, interpolation="cubic")
