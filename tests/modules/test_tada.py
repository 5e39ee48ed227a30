"""Temporally adaptive convolutions against a loop over frames with calibrated weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eztorch.modules import TAdaConv2d, TAdaConv3d, set_frames_per_clip
from eztorch.modules.tada import FrameCalibration
from eztorch.utils.errors import ConfigError

B, T, C = 2, 3, 8


def conv_of(**options) -> TAdaConv2d:
    torch.manual_seed(0)
    conv = TAdaConv2d(C, 6, 3, padding=1, **options)
    set_frames_per_clip(conv, T)
    return conv


def trained(conv: TAdaConv2d) -> TAdaConv2d:
    """A calibration that is no identity, statistics included."""
    nn.init.normal_(conv.calibration.expand.weight)
    conv.calibration.norm.running_mean.uniform_(-0.1, 0.1)
    conv.calibration.norm.running_var.uniform_(0.01, 0.1)
    return conv.eval()


def slow_factors(calibration: FrameCalibration, clip: torch.Tensor) -> torch.Tensor:
    """The equations 3 and 4 of the paper, tap by tap, for one clip (T, C, H, W)."""
    frames = [frame.mean(dim=(1, 2)) for frame in clip]
    whole = torch.stack(frames).mean(dim=0)
    context = calibration.context.weight @ whole + calibration.context.bias

    def over_time(values, weight, bias=None):
        result = []
        for t in range(len(values)):
            total = torch.zeros(weight.shape[0]) if bias is None else bias.clone()
            for tap in range(weight.shape[2]):
                source = t + tap - weight.shape[2] // 2
                if 0 <= source < len(values):
                    total = total + weight[:, :, tap] @ values[source]
            result.append(total)
        return result

    norm = calibration.norm
    hidden = over_time([frame + context for frame in frames], calibration.reduce.weight, calibration.reduce.bias)
    scaled = [(h - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias for h in hidden]
    return 1 + torch.stack(over_time([F.relu(h) for h in scaled], calibration.expand.weight))


@pytest.mark.parametrize("training", [True, False])
def test_tada__is_the_plain_convolution_at_the_beginning(training):
    conv, x = conv_of().train(training), torch.randn(B * T, C, 5, 4)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))


@pytest.mark.parametrize(
    "options", [{}, {"bias": False, "stride": 2}, {"groups": 2, "reduction": 2}, {"kernel_sizes": (1, 5)}]
)
def test_tada__convolves_every_frame_with_weights_of_its_own(options):
    conv, x = trained(conv_of(**options)), torch.randn(B * T, C, 5, 4)
    out = conv(x)
    for clip in range(B):
        frames = x[clip * T : (clip + 1) * T]
        for t, factors in enumerate(slow_factors(conv.calibration, frames)):
            per_group = factors.view(conv.groups, 1, -1).expand(-1, 6 // conv.groups, -1).flatten(0, 1)
            weight = conv.weight * per_group[:, :, None, None]
            expected = F.conv2d(frames[t : t + 1], weight, conv.bias, conv.stride, conv.padding, groups=conv.groups)
            assert torch.allclose(out[clip * T + t], expected[0], atol=1e-4)
    assert not torch.allclose(out, F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, groups=conv.groups))


def test_tada__equals_a_convolution_in_groups_of_calibrated_weights_with_its_gradients():
    conv, x = trained(conv_of()), torch.randn(B * T, C, 5, 4)
    mine, grouped = x.clone().requires_grad_(), x.clone().requires_grad_()
    factors = conv.calibration(grouped.view(B, T, C, 5, 4)).flatten(0, 1)
    weights = (conv.weight * factors[:, None, :, None, None]).flatten(0, 1)
    expected = F.conv2d(grouped.flatten(0, 1)[None], weights, padding=1, groups=B * T)
    expected = expected.view(B * T, 6, 5, 4) + conv.bias[:, None, None]
    out = conv(mine)
    assert torch.allclose(out, expected, atol=1e-4)
    direction = torch.randn_like(out)
    weight_gradients = []
    for value in (out, expected):
        conv.zero_grad()
        (value * direction).sum().backward()
        weight_gradients.append(conv.weight.grad.clone())
    assert torch.allclose(mine.grad, grouped.grad, atol=1e-3)
    assert torch.allclose(*weight_gradients, atol=1e-3)


def test_tada__of_clips_is_that_of_their_frames():
    frames = trained(conv_of())
    clips = TAdaConv3d(C, 6, (1, 3, 3), padding=(0, 1, 1)).eval()
    state = frames.state_dict()
    clips.load_state_dict({**state, "weight": state["weight"].unsqueeze(2)})
    x = torch.randn(B, C, T, 5, 4)
    expected = frames(x.transpose(1, 2).flatten(0, 1)).unflatten(0, (B, T)).transpose(1, 2)
    torch.testing.assert_close(clips(x), expected)
    last = clips(x.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(last, expected)
    assert last.is_contiguous(memory_format=torch.channels_last_3d)
    with pytest.raises(ConfigError, match=r"kernel_size=\(3, 3, 3\)"):
        TAdaConv3d(C, 6, (3, 3, 3))


def test_tada__learns_from_the_zeros():
    conv = conv_of()
    conv(torch.randn(B * T, C, 5, 4)).square().sum().backward()
    assert conv.calibration.expand.weight.grad.abs().max() > 0


def test_tada__sees_a_neighbour_and_the_clip_but_no_other_clip():
    conv, x = trained(conv_of()), torch.randn(B * T, C, 5, 4)
    changed = x.clone()
    changed[0] += 1
    differs = (conv(changed) - conv(x)).abs().amax(dim=(1, 2, 3)) > 1e-5
    assert differs.tolist() == [True] * T + [False] * T


def test_tada__keeps_channels_last():
    conv, x = trained(conv_of()), torch.randn(B * T, C, 5, 4)
    last = x.to(memory_format=torch.channels_last)
    assert torch.allclose(conv(last), conv(x), atol=1e-5)
    assert conv(last).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("sizes", [(2, 3), (3,), (3, 3.0)])
def test_tada__widths_over_time_are_two_odd_numbers(sizes):
    with pytest.raises(ConfigError, match="expected two odd numbers of frames"):
        FrameCalibration(8, kernel_sizes=sizes)
