from __future__ import annotations

from itertools import pairwise
from math import floor
from pathlib import Path

import pytest
import torch
import yaml

from eztorch.transforms.batch import ColorJitter, EachFrame, PseudoMotions, RandomHorizontalFlip
from eztorch.transforms.batch.pseudo_motions import (
    crop_positions,
    draw_boxes,
    freeze_outside,
    motion_classes,
    take_crops,
)
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

ROOT = Path(__file__).parents[3]
LAST = 1 - 2**-53  # the highest draw of torch.rand in float64


def numbered_stills(number: int, height: int, width: int) -> torch.Tensor:
    """Stills (B, 3, H, W) whose pixels tell their row, their column and their still."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.stack([rows, columns, torch.full_like(rows, b)]) for b in range(number)]).to(torch.uint8)


def corners(clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns (B, N, T) of the first pixels of crops of numbered stills; checks that the rest fits to them."""
    top, left = clips[:, :, 0, :, 0, 0].long(), clips[:, :, 1, :, 0, 0].long()
    height, width = clips.shape[-2:]
    assert torch.equal(
        clips[:, :, 0].long(), (top[..., None, None] + torch.arange(height)[:, None]).expand_as(clips[:, :, 0])
    )
    assert torch.equal(clips[:, :, 1].long(), (left[..., None, None] + torch.arange(width)).expand_as(clips[:, :, 1]))
    return top, left


def test_motion_classes__are_the_speeds_along_either_axis_and_the_static_one():
    classes = motion_classes(2)
    assert len(set(classes)) == len(classes) == 9
    assert [x for x, y in classes if not y and x] == [-2, -1, 1, 2]
    assert [y for x, y in classes if not x and y] == [-2, -1, 1, 2]
    assert classes[-1] == (0, 0)
    assert set(motion_classes(2, decoupled=False)) == {(x, y) for x in range(-2, 3) for y in range(-2, 3)}


@pytest.mark.parametrize("place", [0.0, 0.4, LAST])
@pytest.mark.parametrize("num_frames", [2, 5, 16])
@pytest.mark.parametrize(("room", "max_speed"), [(1, 1), (3, 2), (7, 3), (208, 2), (128, 4)])
def test_crop_positions__equal_those_written_out(room, max_speed, num_frames, place):
    speeds = list(range(-max_speed, max_speed + 1))
    found = crop_positions(
        torch.tensor(speeds), max_speed, room, num_frames, torch.full((2, len(speeds)), place, dtype=torch.float64)
    )
    assert found.dtype == torch.int64
    assert torch.equal(found[0], found[1])
    for speed, positions in zip(speeds, found[0].tolist(), strict=True):
        distance = room * abs(speed) // max_speed
        first = floor(place * (room - distance + 1))
        forwards = [first + distance * t // (num_frames - 1) for t in range(num_frames)]
        backwards = [first + distance - distance * t // (num_frames - 1) for t in range(num_frames)]
        assert positions == (backwards if speed < 0 else forwards)


@pytest.mark.parametrize("place", [0.0, 0.7, LAST])
@pytest.mark.parametrize(("room", "max_speed"), [(1, 1), (3, 2), (208, 2), (101, 3)])
def test_crop_positions__stand_still_cross_the_side_and_never_leave_it(room, max_speed, place):
    speeds = torch.arange(-max_speed, max_speed + 1)
    places = torch.full((1, len(speeds)), place, dtype=torch.float64)
    positions = dict(zip(speeds.tolist(), crop_positions(speeds, max_speed, room, 9, places)[0].tolist(), strict=True))
    assert len(set(positions[0])) == 1
    assert (positions[max_speed][0], positions[max_speed][-1]) == (0, room)
    assert (positions[-max_speed][0], positions[-max_speed][-1]) == (room, 0)
    travelled = [abs(track[-1] - track[0]) for speed, track in positions.items() if speed >= 0]
    assert travelled == [room * speed // max_speed for speed in range(max_speed + 1)]
    for speed, track in positions.items():
        assert all(0 <= position <= room for position in track)
        assert all((after - before) * speed >= 0 for before, after in pairwise(track))
        assert {0.0: min(track) == 0, LAST: max(track) == room}.get(place, True)


def test_crop_positions__are_spread_over_the_whole_side():
    torch.manual_seed(0)
    places = torch.rand(4000, 1, dtype=torch.float64)
    first = crop_positions(torch.tensor([1]), 2, 8, 3, places)[:, 0, 0]
    assert first.bincount(minlength=5).div(4000).sub(1 / 5).abs().max() < 0.03  # 0 to 4, from where 4 more pixels fit


def test_take_crops__are_slices(clips):
    stills = clips[:, :, 0]
    top, left = torch.randint(5, (8, 4, 3)), torch.randint(6, (8, 4, 3))
    crops = take_crops(stills, top, left, 8, 10)
    for b, n, t in torch.cartesian_prod(torch.arange(8), torch.arange(4), torch.arange(3)).tolist():
        row, column = top[b, n, t], left[b, n, t]
        assert torch.equal(crops[b, n, t], stills[b, :, row : row + 8, column : column + 10])


def test_freeze_outside__moves_in_the_box_alone(clips):
    frame = torch.tensor([0, 1] * 4)
    boxes = torch.tensor([[0, 0, 12, 15], [0, 0, 1, 1], [11, 14, 1, 1], [3, 4, 5, 6]] * 2)
    frozen = freeze_outside(clips, frame, boxes)
    for clip, result, number, (top, left, height, width) in zip(clips, frozen, frame, boxes.tolist(), strict=True):
        expected = clip[:, number : number + 1].expand_as(clip).clone()
        inside = (..., slice(top, top + height), slice(left, left + width))
        expected[inside] = clip[inside]
        assert torch.equal(result, expected)


def test_draw_boxes__have_the_sides_that_are_asked_for_and_reach_every_edge():
    torch.manual_seed(0)
    top, left, height, width = draw_boxes(4000, 40, 60, (0.3, 0.5)).unbind(1)
    assert (height.min(), height.max(), width.min(), width.max()) == (12, 19, 18, 29)
    assert (width - 1.5 * height).abs().max() < 1.5  # one share for both sides
    assert top.min() == left.min() == 0
    assert (top + height).max() == 40
    assert (left + width).max() == 60


def test_draw_boxes__are_never_empty_and_may_be_the_whole_frame():
    assert draw_boxes(50, 2, 3, (0.1, 0.2))[:, 2:].unique().tolist() == [1]
    assert draw_boxes(50, 4, 5, (1.0, 1.0)).unique(dim=0).tolist() == [[0, 0, 4, 5]]


@pytest.mark.parametrize("decoupled", [True, False])
def test_pseudo_motions__are_crops_of_their_still_that_move_as_their_class_says(decoupled):
    stills = numbered_stills(6, 21, 30)
    motions = PseudoMotions((8, 12), num_frames=5, max_speed=2, decoupled=decoupled, mask_ratio=None)
    clips = motions(stills)
    assert clips.shape == (6, len(motions.speeds), 3, 5, 8, 12)
    assert clips.dtype == torch.uint8
    assert torch.equal(clips[:, :, 2], torch.arange(6).to(torch.uint8).view(6, 1, 1, 1, 1).expand_as(clips[:, :, 2]))
    top, left = corners(clips)
    x, y = torch.tensor(motions.speeds).unbind(1)
    assert torch.equal(left[..., -1] - left[..., 0], (x.sign() * (18 * x.abs() // 2)).expand(6, -1))
    assert torch.equal(top[..., -1] - top[..., 0], (y.sign() * (13 * y.abs() // 2)).expand(6, -1))
    if decoupled:
        static = motions.speeds.index((0, 0))
        assert len(top[:, static].unique(dim=0)) > 1  # every still has places of its own
        assert torch.equal(top[:, static, :1].expand(-1, 5), top[:, static])


def test_pseudo_motions__show_motion_in_a_box_and_a_frame_of_it_around():
    motions = PseudoMotions(20, num_frames=4, max_speed=1, mask_ratio=(0.5, 0.5))
    clips = motions(numbered_stills(30, 40, 40))
    moved = (clips[:, :4, :2] != clips[:, :4, :2, :1]).any(dim=3).any(dim=2)  # (B, 4, 20, 20)
    for box in moved.flatten(0, 1):
        rows, columns = box.any(dim=1).nonzero()[:, 0], box.any(dim=0).nonzero()[:, 0]
        assert (len(rows), len(columns)) == (10, 10)
        assert box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert (clips[:, 4] == clips[:, 4, :, :1]).all()  # the static class


def test_pseudo_motions__a_still_may_be_any_frame_of_a_clip():
    videos = numbered_stills(40, 12, 12)[:, :, None].repeat(1, 1, 3, 1, 1)
    videos[:, 2] = torch.arange(3).view(3, 1, 1)
    chosen = PseudoMotions(8, num_frames=2, mask_ratio=None)(videos)[:, :, 2].flatten(1)
    assert (chosen == chosen[:, :1]).all()  # one for all motions
    assert chosen[:, 0].unique().tolist() == [0, 1, 2]


def test_pseudo_motions__stills_are_mirrored_before_they_move():
    motions = PseudoMotions(8, num_frames=2, mask_ratio=None, still_transform=RandomHorizontalFlip(p=1))
    columns = motions(numbered_stills(2, 12, 12))[:, :, 1].long()
    assert (columns[..., 0] - columns[..., -1] == 7).all()
    right = motions.speeds.index((2, 0))
    assert (columns[:, right, 0, 0, 0] - columns[:, right, 1, 0, 0] == 4).all()


def test_pseudo_motions__repeat_with_the_seed_and_leave_the_stills_alone():
    stills = torch.rand(3, 3, 20, 24)
    motions, before = PseudoMotions(10, clip_transform=lambda clips: clips.add_(1)), stills.clone()
    torch.manual_seed(7)
    first = motions(stills)
    torch.manual_seed(7)
    assert torch.equal(motions(stills), first)
    assert not torch.equal(motions(stills), first)
    assert torch.equal(stills, before)


def with_everything() -> PseudoMotions:
    jitter = EachFrame(ColorJitter(0.5, 0.5, 0.5, 0.25))
    return PseudoMotions(8, num_frames=4, still_transform=RandomHorizontalFlip(), clip_transform=jitter)


@pytest.mark.parametrize("shape", [(3, 3, 12, 15), (3, 3, 2, 12, 15)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_pseudo_motions__never_wait_for_the_device(shape, dtype):
    """The meta device has shapes and no values: whatever asked for one would fail."""
    result = with_everything()(torch.empty(shape, dtype=dtype, device="meta"))
    assert result.shape == (3, 9, 3, 4, 8, 8)


@pytest.mark.gpu
def test_pseudo_motions__are_on_a_gpu_what_they_are_on_the_cpu_without_waiting(clips):
    motions = with_everything()
    torch.manual_seed(1)
    expected = motions(clips)
    on_device = clips.to("cuda")
    motions(on_device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.manual_seed(1)
        result = motions(on_device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-5)


def test_pseudo_motions__of_the_group_are_normalised_clips():
    motions = build(yaml.safe_load((ROOT / "eztorch/configs/transform/pseudo_motions.yaml").read_text()))
    clips = motions(torch.randint(256, (1, 3, 1, 160, 120), dtype=torch.uint8))
    assert (clips.shape, clips.dtype) == ((1, 9, 3, 16, 112, 112), torch.float32)
    assert clips.abs().max() < 3
    assert clips.is_contiguous()
    assert (clips.mean(dim=(2, 4, 5)).std(dim=-1) > 0.005).all()  # colours flicker, in the box alone


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"size": [8, 8, 8]}, r"size=\[8, 8, 8\]"),
        ({"num_frames": 1}, "num_frames=1"),
        ({"max_speed": 0}, "max_speed=0"),
        ({"mask_ratio": [0.5, 0.3]}, "mask_ratio="),
        ({"mask_ratio": [0.5, 1.3]}, "at most 1"),
    ],
)
def test_pseudo_motions__name_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        PseudoMotions(**{"size": 8, **keys})


def test_pseudo_motions__need_room_for_every_speed():
    motions = PseudoMotions(8, num_frames=3, max_speed=2)
    motions(torch.zeros(1, 3, 10, 10))
    with pytest.raises(ConfigError, match="Stills of 9 x 12 leave crops of 8 x 8 too little room"):
        motions(torch.zeros(1, 3, 9, 12))
    with pytest.raises(ConfigError, match="expects images"):
        motions([torch.zeros(1, 3, 12, 12)])
