"""The views of contrastive pretraining, by our batch transforms and by torchaug, as the recipes of SCE write them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from eztorch.utils.config import build

CONFIGS = Path(__file__).parents[2] / "eztorch/configs/transform"


@pytest.fixture(scope="module", params=["video_contrastive", "video_contrastive_torchaug"])
def transform(request):
    return build(yaml.safe_load((CONFIGS / f"{request.param}.yaml").read_text()))


def batch(dtype: torch.dtype, size: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(256, (size, 3, 4, 24, 24), generator=generator).to(dtype) for _ in range(2)]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_contrastive_views__are_normalised_floats_repeated_by_the_global_generator(transform, dtype):
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        results.append(transform(batch(dtype)))
    for view, again in zip(*results, strict=True):
        assert view.shape == (5, 3, 4, 24, 24)
        assert view.dtype == torch.float32
        assert view.min() >= -0.45 / 0.225 - 1e-5
        assert view.max() <= 0.55 / 0.225 + 1e-5
        assert torch.equal(view, again)
    assert not torch.equal(results[0][0], transform(batch(dtype))[0])


def test_contrastive_views__do_not_depend_on_the_type_of_the_batch(transform):
    views = []
    for dtype in (torch.uint8, torch.float32):
        torch.manual_seed(0)
        views.append(transform(batch(dtype)))
    torch.testing.assert_close(views[0], views[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_contrastive_views__leave_the_batch_alone(transform, dtype):
    given = batch(dtype)
    transform(given)
    assert all(torch.equal(view, before) for view, before in zip(given, batch(dtype), strict=True))


@pytest.mark.parametrize("size", [1, 2, 25, 33])
def test_contrastive_views__take_batches_of_any_size(transform, size):
    assert [view.shape[0] for view in transform([view[..., :12, :12] for view in batch(torch.uint8, size)])] == [
        size
    ] * 2


def test_contrastive_views__are_the_same_on_all_frames(transform):
    still = [view[:, :, :1].expand(-1, -1, 4, -1, -1) for view in batch(torch.uint8)]
    for view in transform(still):
        assert torch.equal(view, view[:, :, :1].expand_as(view))
