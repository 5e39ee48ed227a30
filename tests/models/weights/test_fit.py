import math

import pytest
import torch
from torch.nn import functional as F

from eztorch.models.weights.fit import fit, resize_patches, resize_positions


def test_fit__the_same_shape_is_not_touched():
    value = torch.randn(3, 4)
    assert fit("x.weight", value, (3, 4)) == (value, "")


@pytest.mark.parametrize(("mode", "total"), [("mean", 1.0), ("centre", 1.0)])
def test_fit__kernels_over_images_keep_their_sum_over_time(mode, total):
    value = torch.randn(4, 3, 7, 7)
    fitted = fit("conv1.weight", value, (4, 3, 5, 7, 7), inflation=mode)
    assert fitted.change == "inflated"
    torch.testing.assert_close(fitted.value.sum(dim=2), total * value)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("conv1.weight", (4, 3, 7, 7), (4, 3, 3, 3)),
        ("conv1.weight", (4, 3, 7, 7), (4, 2, 1, 7, 7)),
        ("fc.weight", (4, 3), (5, 3)),
        ("pos_embed", (1, 17, 8), (1, 17, 9)),
        ("pos_embed", (1, 17, 8), (1, 21, 8)),
        ("patch_embed.proj.weight", (8, 3, 16, 16), (8, 1, 16, 16)),
        ("patch_embed.proj.weight", (8, 3, 2, 16, 16), (8, 3, 16, 16)),
        ("relative_position_bias_table", (9, 3), (25, 4)),
    ],
)
def test_fit__nothing_else_is_forced(name, old, new):
    assert fit(name, torch.randn(old), new) is None


def test_fit__integers_are_never_interpolated():
    assert fit("rel_pos_h", torch.ones(5, 2, dtype=torch.int64), (7, 2)) is None


@pytest.mark.parametrize("before", [0, 1, 2])
def test_positions__of_a_larger_grid_are_those_of_the_picture_enlarged(before):
    grid = torch.randn(1, 8, 4, 4)
    first = torch.randn(1, before, 8)
    positions = torch.cat([first, grid.flatten(2).mT], dim=1)
    resized = resize_positions(positions, before + 36)
    expected = F.interpolate(grid, size=(6, 6), mode="bicubic", align_corners=False, antialias=True)
    torch.testing.assert_close(resized[:, before:], expected.flatten(2).mT)
    assert torch.equal(resized[:, :before], first)


def test_positions__of_a_clip_are_those_of_the_image_at_every_time():
    positions = torch.randn(1, 9, 4)
    assert torch.equal(resize_positions(positions, 18), torch.cat([positions, positions], dim=1))


def enlarged(maps, size):
    return F.interpolate(maps, size=size, mode="bicubic", align_corners=False, antialias=True).flatten(2).mT


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("wanted", [(2, 8), (6, 6), (3, 12), (2, 6, 6), (4, 4, 4), (9, 4, 4), (4, 2, 6)])
def test_positions__of_a_known_grid_are_those_of_the_picture_whatever_their_number(before, wanted):
    """As many tokens as a square grid has may be a wide picture, or a clip."""
    maps, first = torch.randn(1, 8, 4, 4), torch.randn(1, before, 8)
    resized = resize_positions(torch.cat([first, maps.flatten(2).mT], dim=1), before + math.prod(wanted), wanted)
    times = wanted[0] if len(wanted) == 3 else 1
    expected = torch.cat([first, enlarged(maps, wanted[-2:]).repeat(1, times, 1)], dim=1)
    torch.testing.assert_close(resized, expected)


def test_positions__of_a_known_grid_leave_the_class_token_out_that_the_network_lacks():
    positions = torch.randn(1, 17, 8)
    assert torch.equal(resize_positions(positions, 64, (4, 4, 4)), positions[:, 1:].repeat(1, 4, 1))


def test_positions__of_a_clip_are_interpolated_over_time():
    positions = torch.randn(1, 4 * 16, 8)
    resized = resize_positions(positions, 8 * 16, (8, 4, 4))
    lines = positions.unflatten(1, (4, 16))[0].permute(1, 2, 0)
    expected = F.interpolate(lines, size=8, mode="linear").permute(2, 0, 1).flatten(0, 1)[None]
    torch.testing.assert_close(resized, expected)


def test_positions__of_a_known_grid_are_not_forced():
    assert resize_positions(torch.randn(1, 18, 8), 1 + 36, (6, 6)) is None


def test_patches__resized_kernels_give_resized_patches_the_same():
    torch.manual_seed(0)
    kernel, patches = torch.randn(5, 3, 8, 8), torch.randn(20, 3, 8, 8)
    larger = F.interpolate(patches, size=(16, 16), mode="bicubic", align_corners=False)
    before = F.conv2d(patches, kernel).flatten(1)
    after = F.conv2d(larger, resize_patches(kernel, (16, 16))).flatten(1)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_patches__become_tubelets_of_another_size():
    fitted = fit("patch_embed.proj.weight", torch.randn(8, 3, 16, 16), (8, 3, 2, 8, 8))
    assert (fitted.change, fitted.value.shape) == ("interpolated", (8, 3, 2, 8, 8))
    inflated = fit("patch_embed.proj.weight", torch.randn(8, 3, 16, 16), (8, 3, 2, 16, 16))
    assert inflated.change == "inflated"


def test_relative_positions__of_a_window_over_time_repeat_those_of_the_image():
    table = torch.randn(49, 3)  # a window of 4
    fitted = fit("layers.0.attn.relative_position_bias_table", table, (5 * 49, 3))
    assert torch.equal(fitted.value, table.repeat(5, 1))


def test_relative_positions__of_a_larger_window_keep_constants():
    fitted = fit("attn.relative_position_bias_table", torch.full((9, 2), 3.0), (25, 2))
    torch.testing.assert_close(fitted.value, torch.full((25, 2), 3.0))


@pytest.mark.parametrize(("name", "old", "new"), [("rel_pos_h", (5, 2), (9, 2)), ("time_embed", (1, 5, 2), (1, 9, 2))])
def test_positions_along_a_line__are_interpolated(name, old, new):
    ramp = torch.arange(5.0)[:, None].expand(5, 2).reshape(old)
    fitted = fit(f"blocks.0.attn.{name}" if "rel" in name else name, ramp, new)
    values = fitted.value.reshape(9, 2)
    assert fitted.change == "interpolated"
    assert (values[1:] >= values[:-1]).all()
    torch.testing.assert_close(values[4], torch.tensor([2.0, 2.0]))
