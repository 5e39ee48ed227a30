"""Bricks that look over time, against loops over clips, frames and channels."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eztorch.modules import (
    BrickConv2d,
    LongTermDifference,
    MultiViewFusion,
    TemporalConv,
    TemporalShift,
    set_frames_per_clip,
    temporal_shift,
)
from eztorch.modules.frames import as_columns, from_columns
from eztorch.utils.errors import ConfigError

B, T, C, H, W = 2, 4, 8, 5, 3
BRICKS = {
    "shift": lambda: TemporalShift(C),
    "conv": lambda: TemporalConv(C),
    "fusion": lambda: MultiViewFusion(C, 0.5),
    "difference": lambda: LongTermDifference(C, 4),
}


def maps(seed: int = 0) -> torch.Tensor:
    return torch.randn(B * T, C, H, W, generator=torch.Generator().manual_seed(seed))


def brick_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    brick = BRICKS[name]().eval()
    set_frames_per_clip(brick, T)
    return brick


def slow_shift(x: torch.Tensor, frames: int, fold: int) -> torch.Tensor:
    """TSM, section 4: channel by channel, frame by frame."""
    result = torch.zeros_like(x)
    for place in range(len(x)):
        clip, t = divmod(place, frames)
        for c in range(x.shape[1]):
            source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
            if 0 <= source < frames:
                result[place, c] = x[clip * frames + source, c]
    return result


@pytest.mark.parametrize(("frames", "fold"), [(4, 1), (4, 4), (8, 2), (2, 3), (1, 1)])
def test_temporal_shift__moves_the_channels_of_every_frame_with_zeros_at_both_ends(frames, fold):
    x = maps()
    shifted = temporal_shift(x, frames, fold)
    assert torch.equal(shifted, slow_shift(x, frames, fold))
    assert shifted.view(-1, frames, C, H, W)[:, -1, :fold].abs().max() == 0
    assert shifted.view(-1, frames, C, H, W)[:, 0, fold : 2 * fold].abs().max() == 0


def test_temporal_shift__has_the_gradients_of_the_loop():
    x, weight = maps().double(), maps(1).double()
    mine, loop = x.clone().requires_grad_(), x.clone().requires_grad_()
    (temporal_shift(mine, T, 2) * weight).sum().backward()
    (slow_shift(loop, T, 2) * weight).sum().backward()
    assert torch.equal(mine.grad, loop.grad)
    small = torch.randn(4, 3, 1, 1, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda value: temporal_shift(value, 2, 1), small)
    assert torch.autograd.gradgradcheck(lambda value: temporal_shift(value, 2, 1) ** 2, small)


def test_temporal_shift__leaves_its_input_and_may_be_written_over():
    x = maps().requires_grad_()
    before = x.detach().clone()
    hidden = x * 1
    out = F.relu(temporal_shift(hidden, T, 2), inplace=True)
    (out.sum() + (hidden * hidden).sum()).backward()
    assert torch.equal(x, before)
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("fold_div", [1, 9])
def test_temporal_shift__needs_a_share_of_the_channels(fold_div):
    with pytest.raises(ConfigError, match=f"fold_div={fold_div}; expected 2 to 8"):
        TemporalShift(8, fold_div)


@pytest.mark.parametrize("name", BRICKS)
def test_bricks__know_no_other_clip(name):
    brick, x = brick_of(name), maps()
    changed = x.clone()
    changed[T:] = maps(1)[T:]
    assert torch.allclose(brick(changed)[:T], brick(x)[:T], atol=1e-6)
    assert not torch.allclose(brick(changed)[T:], brick(x)[T:])


@pytest.mark.parametrize("name", BRICKS)
def test_bricks__see_the_frame_before_and_after_and_no_other(name):
    brick, x = brick_of(name), maps()
    changed = x.clone()
    changed[1] = maps(1)[1]
    differs = (brick(changed) - brick(x)).abs().amax(dim=(1, 2, 3)) > 1e-6
    assert differs.tolist() == [True, True, True, False] + [False] * T


@pytest.mark.parametrize("name", BRICKS)
def test_bricks__keep_channels_last_and_give_the_same(name):
    brick, x = brick_of(name), maps()
    last = x.to(memory_format=torch.channels_last)
    assert brick(last).is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(brick(last), brick(x), atol=1e-6)


@pytest.mark.parametrize("name", BRICKS)
def test_bricks__compute_in_bfloat16(name):
    brick = brick_of(name).to(torch.bfloat16)
    assert torch.isfinite(brick(maps().to(torch.bfloat16))).all()


def test_columns__are_planes_of_time_by_place_and_back():
    x = maps().to(memory_format=torch.channels_last)
    columns = as_columns(x, T)
    assert torch.equal(columns[1, 2, 3], x[T + 3, 2].flatten())
    assert columns.data_ptr() == x.data_ptr()
    assert torch.equal(from_columns(columns, H, W), x)


def test_temporal_conv__is_the_convolution_over_time_of_each_channel():
    brick, x = brick_of("conv"), maps()
    reference = nn.Conv3d(C, C, (3, 1, 1), padding=(1, 0, 0), groups=C, bias=False)
    reference.weight = nn.Parameter(brick.conv.weight.view(C, 1, 3, 1, 1))
    clips = x.view(B, T, C, H, W).transpose(1, 2)
    assert torch.allclose(brick(x), reference(clips).transpose(1, 2).flatten(0, 1), atol=1e-6)


def test_temporal_conv__begins_as_a_shift():
    brick = TemporalConv(C, fold_div=4)
    set_frames_per_clip(brick, T)
    assert torch.equal(brick(maps()), slow_shift(maps(), T, C // 4))
    assert brick.conv.weight.requires_grad


def test_multi_view_fusion__sums_three_views_of_the_first_channels():
    brick, x = brick_of("fusion"), maps()
    brick.norm.running_mean.uniform_(-1, 1)
    brick.norm.running_var.uniform_(0.5, 2)
    views = x.view(B, T, C, H, W).transpose(1, 2)[:, : C // 2]
    total = torch.zeros_like(views)
    kernels = {2: brick.time.conv.weight, 3: brick.height.weight, 4: brick.width.weight}
    for c in range(C // 2):
        for axis, weight in kernels.items():
            zeros = torch.zeros_like(views.narrow(axis, 0, 1))
            long = torch.cat([zeros, views, zeros], axis)
            for tap, factor in enumerate(weight[c].flatten()):
                total[:, c] += factor * long.narrow(axis, tap, views.shape[axis])[:, c]
    norm = brick.norm
    normed = F.batch_norm(total, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    expected = torch.cat([normed * (normed + 3).clamp(0, 6) / 6, x.view(B, T, C, H, W).transpose(1, 2)[:, C // 2 :]], 1)
    assert torch.allclose(brick(x), expected.transpose(1, 2).flatten(0, 1), atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 1.5])
def test_multi_view_fusion__needs_a_share_with_channels(share):
    with pytest.raises(ConfigError, match=f"share={share} of 8 channels"):
        MultiViewFusion(8, share)


def test_long_term_difference__weighs_by_the_neighbours_of_each_frame():
    brick, x = brick_of("difference"), maps()

    def weight_of(difference):
        half = F.interpolate(brick.half_scale(F.avg_pool2d(difference, 2)), (H, W), mode="nearest")
        scales = (difference + half + brick.full_scale(difference)) / 3
        return torch.sigmoid(brick.expand(scales)) - 0.5

    for clip in range(B):
        reduced = brick.reduce(x[clip * T : (clip + 1) * T])
        smooth = brick.smooth(reduced)
        for t in range(T):
            zero = torch.zeros_like(reduced[:1])
            after = smooth[t + 1 : t + 2] - reduced[t : t + 1] if t + 1 < T else zero
            before = smooth[t - 1 : t] - reduced[t : t + 1] if t else zero
            place = clip * T + t
            expected = x[place] * (1 + (weight_of(after)[0] + weight_of(before)[0]) / 2)
            assert torch.allclose(brick(x)[place], expected, atol=1e-5)


def test_long_term_difference__takes_maps_of_a_single_place():
    brick = brick_of("difference")
    assert brick(torch.randn(B * T, C, 1, 1)).shape == (B * T, C, 1, 1)


def test_brick_conv__has_the_parameters_of_the_convolution_by_their_names():
    conv = nn.Conv2d(C, 6, 3, stride=2, padding=1, groups=2)
    both = BrickConv2d(conv, TemporalShift(C))
    set_frames_per_clip(both, T)
    assert both.weight is conv.weight
    assert set(both.state_dict()) == {"weight", "bias"}
    assert torch.equal(both(maps()), conv(slow_shift(maps(), T, 1)))
    assert torch.equal(copy.deepcopy(both)(maps()), both(maps()))
