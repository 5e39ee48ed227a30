"""What holds for all batch transforms."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from eztorch.transforms import Div255Input, MultiCropTransform
from eztorch.transforms.batch import (
    CenterCrop,
    ColorJitter,
    Compose,
    GaussianBlur,
    Normalize,
    RandomCrop,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomSolarize,
    RandomTemporalDifference,
    Resize,
    ToFloat,
    draws,
)
from eztorch.utils.errors import ConfigError

TRANSFORMS = [
    RandomResizedCrop(8),
    RandomResizedCrop((8, 9), interpolation="bicubic"),
    RandomCrop(9, padding=2),
    RandomCrop(9, padding=2, padding_mode="reflect"),
    CenterCrop(8),
    Resize(9),
    RandomHorizontalFlip(0.4),
    ColorJitter(0.8, 0.8, 0.4, 0.2, p=0.8),
    RandomGrayscale(0.3),
    GaussianBlur(5, p=0.7),
    RandomSolarize(0.5, p=0.3),
    ToFloat(),
    Normalize([0.45] * 3, [0.225] * 3),
]
IDS = [f"{type(transform).__name__}-{number}" for number, transform in enumerate(TRANSFORMS)]
OF_CLIPS = RandomTemporalDifference(0.4)
CHAIN = Compose([RandomResizedCrop(10, scale=(0.3, 1)), *TRANSFORMS[6:]])


@pytest.mark.parametrize("shape", [(5, 3, 12, 15), (5, 3, 2, 12, 15)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("transform", [*TRANSFORMS, CHAIN], ids=[*IDS, "chain"])
def test_batch_transforms__repeat_with_the_global_generator_and_leave_the_batch_alone(transform, dtype, shape):
    batch = (torch.rand(shape) * 255).to(dtype) if dtype == torch.uint8 else torch.rand(shape)
    given = batch.clone()
    torch.manual_seed(1)
    result = transform(batch)
    torch.manual_seed(1)
    assert torch.equal(transform(batch), result)
    assert torch.equal(batch, given)
    assert result.shape[:-2] == shape[:-2]
    assert torch.isfinite(result.float()).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("transform", [*TRANSFORMS, OF_CLIPS, CHAIN], ids=[*IDS, "difference", "chain"])
def test_batch_transforms__never_wait_for_the_device(transform, dtype):
    """The meta device has shapes and no values: whatever asked for one would fail."""
    result = deepcopy(transform).to("meta")(torch.empty(5, 3, 2, 12, 15, dtype=dtype, device="meta"))
    assert result.shape[:3] == (5, 3, 2)


@pytest.mark.parametrize("piece_bytes", [1, 20_000, 2**28])
@pytest.mark.parametrize("transform", [*TRANSFORMS, OF_CLIPS, CHAIN], ids=[*IDS, "difference", "chain"])
def test_batch_transforms__do_not_depend_on_how_many_samples_go_together(transform, piece_bytes, clips, monkeypatch):
    assert 2 * clips[0].numel() * 4 < 20_000  # one, some and all samples at a time
    torch.manual_seed(1)
    expected = transform(clips)
    monkeypatch.setattr(draws, "_CACHE_BYTES", piece_bytes)
    torch.manual_seed(1)
    torch.testing.assert_close(transform(clips), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("together", [1, 2, 3, 10])
@pytest.mark.parametrize("samples", [[], [4], [0, 1, 2, 3, 4, 5], [0, 2, 3, 5], [1, 2, 3]])
def test_pieces__change_the_chosen_samples_by_their_own_parameters(samples, together, monkeypatch):
    monkeypatch.setattr(draws, "_CACHE_BYTES", together * 8)
    batch, amounts = torch.zeros(6, 2), torch.arange(1.0, 7)
    for piece, places in draws.pieces(batch, samples, torch.tensor(samples, dtype=torch.int64)):
        piece += amounts[: len(samples)][places, None]
    expected = torch.zeros(6, 2)
    expected[samples] = amounts[: len(samples), None].expand(-1, 2)
    assert torch.equal(batch, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("transform", [*TRANSFORMS, OF_CLIPS, CHAIN], ids=[*IDS, "difference", "chain"])
def test_batch_transforms__give_on_a_gpu_what_they_give_on_the_cpu_without_waiting(transform, clips):
    torch.manual_seed(1)
    expected = transform(clips)
    on_device = clips.to("cuda")
    transform.to("cuda")(on_device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.manual_seed(1)
        result = transform(on_device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        transform.to("cpu")
    torch.testing.assert_close(result.cpu(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_batch_transforms__take_floats_of_other_widths(dtype, clips):
    batch = clips.to(dtype)
    torch.manual_seed(1)
    result = CHAIN(batch)
    torch.manual_seed(1)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    tolerance = {torch.float64: 1e-5}.get(dtype, 0.05)
    torch.testing.assert_close(result.float(), CHAIN(batch.float()), rtol=0, atol=tolerance)


def test_draw_samples__number_is_p_b_rounded_at_random_and_every_sample_as_likely():
    counts, hits = [], torch.zeros(7)
    for _ in range(2000):
        samples = draws.draw_samples(7, 0.4)
        counts.append(len(samples))
        hits[samples] += 1
        assert samples == sorted(set(samples))
    assert set(counts) == {2, 3}
    assert sum(counts) / 2000 == pytest.approx(2.8, abs=0.05)
    assert (hits / 2000 - 0.4).abs().max() < 0.05


def test_draw_samples__of_one_are_a_coin():
    assert sum(len(draws.draw_samples(1, 0.3)) for _ in range(2000)) / 2000 == pytest.approx(0.3, abs=0.04)
    assert (draws.draw_samples(3, 0), draws.draw_samples(3, 1)) == ([], [0, 1, 2])


def test_compose__copies_once_and_works_in_place_then():
    written = []

    class Spy(nn.Module):
        def forward(self, batch):
            written.append(batch.data_ptr())
            return batch

    batch = torch.rand(2, 3, 8, 8)
    Compose([CenterCrop(6), Spy(), RandomSolarize(p=1), Spy(), Normalize([0.5], [0.5]), Spy()])(batch)
    first, second, third = written
    assert first != second
    assert second == third


def test_compose__takes_other_callables_and_holds_modules():
    transform = Compose([Div255Input(), Normalize([0.5], [0.5]), torch.neg])
    assert transform(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)).item() == -1
    assert len(list(transform.buffers())) == 2


def test_multi_crop__makes_views_of_a_batch():
    transform = MultiCropTransform(
        [
            {
                "transform": Compose([RandomResizedCrop(8, scale=(0.4, 1)), RandomHorizontalFlip(), ToFloat()]),
                "num_views": 2,
            },
            {"transform": Compose([RandomResizedCrop(4, scale=(0.1, 0.4)), ToFloat()]), "num_views": 3},
        ]
    )
    views = transform(torch.randint(256, (6, 3, 12, 12), dtype=torch.uint8))
    assert [tuple(view.shape) for view in views] == [(6, 3, 8, 8)] * 2 + [(6, 3, 4, 4)] * 3
    assert not torch.equal(views[0], views[1])


def test_multi_crop__takes_the_tensors_of_its_transforms_to_the_device():
    transform = MultiCropTransform([{"transform": Normalize([0.5], [0.5]), "num_views": 2}, {"transform": abs}])
    assert [buffer.device.type for buffer in transform.to("meta").buffers()] == ["meta"] * 2


def test_normalize__is_the_formula_for_every_channel(clips):
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    expected = (clips - mean.view(3, 1, 1, 1)) / std.view(3, 1, 1, 1)
    torch.testing.assert_close(Normalize(mean.tolist(), std.tolist())(clips), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normalize([0.5], [0.0]), "expected a mean and a positive deviation"),
        (lambda: Normalize([0.5], [0.1, 0.2]), "expected a mean and a positive deviation"),
        (lambda: Normalize([0.5] * 2, [0.5] * 2)(torch.zeros(1, 3, 4, 4)), "2 means for batches of 3 channels"),
        (lambda: ToFloat()(torch.zeros(3, 4, 4)), r"expects images .*, not \(3, 4, 4\)"),
    ],
)
def test_values__refuse_what_they_cannot_use(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
