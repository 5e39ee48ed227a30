import numpy as np
import pytest
import torch

from eztorch.transforms.batch import Mix
from eztorch.transforms.batch.mix import cut_boxes
from eztorch.utils.errors import ConfigError

IMAGES, CLIPS = (8, 3, 6, 10), (8, 3, 4, 6, 10)
KINDS = {
    "mixup": {"mixup_alpha": 0.4},
    "cutmix": {"cutmix_alpha": 1.0},
    "both": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0},
    "some": {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "p": 0.5},
}


def batch_of(shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [IMAGES, CLIPS])
def test_mix__equals_a_slow_reference(kind, shape):
    mix, batch = Mix(**KINDS[kind]), batch_of(shape)
    before = batch.clone()
    torch.manual_seed(5)
    mixed, mixture = mix(batch)
    torch.manual_seed(5)
    partner, share, boxes = mix.draw(shape[0], *shape[-2:])
    assert torch.equal(batch, before)
    for i in range(shape[0]):
        top, bottom, left, right = boxes[i].tolist()
        expected = batch[i].clone()
        if bottom > 0:
            for y in range(top, bottom):
                for x in range(left, right):
                    expected[..., y, x] = batch[partner[i]][..., y, x]
            left_over = (expected == batch[i]).float().mean() if partner[i] != i else None
            assert left_over is None or float(share[i]) == pytest.approx(float(left_over))
        else:
            expected = float(share[i]) * batch[i] + (1 - float(share[i])) * batch[partner[i]]
        torch.testing.assert_close(mixed[i], expected)
    torch.testing.assert_close(mixture.share, share.float())
    assert torch.equal(mixture.partner, partner)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mix__labels_are_mixed_like_the_samples(kind):
    """A batch that shows its labels: what a channel has of a sample is what its label has."""
    labels = torch.tensor([0, 1, 2, -1, 1, 0, 2, 2])
    batch = torch.zeros(8, 3, 6, 10)
    for i, label in enumerate(labels.tolist()):
        if label >= 0:
            batch[i, label] = 1
    torch.manual_seed(0)
    mixed, mixture = Mix(**KINDS[kind])(batch)
    found = mixture.labels(batch[:, :, 0, 0])
    torch.testing.assert_close(found, mixed.mean(dim=(2, 3)))
    assert found.sum(dim=1).min() < 1  # what is unknown has no weight


def test_mix__changes_a_share_of_the_samples():
    torch.manual_seed(0)
    batch = batch_of((40, 3, 6, 10))
    mixed, mixture = Mix(mixup_alpha=1.0, p=0.25)(batch)
    assert (mixture.share < 1).sum() == 10
    assert torch.equal(mixed[mixture.share == 1], batch[mixture.share == 1])


def test_mix__of_both_gives_boxes_to_a_share_of_the_samples():
    torch.manual_seed(0)
    _, _, boxes = Mix(mixup_alpha=1.0, cutmix_alpha=1.0, cutmix_share=0.25, p=0.5).draw(80, 224, 224)
    assert (boxes[:, 1] > 0).sum() == 10


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mix__shares_are_of_the_beta_distribution(alpha):
    torch.manual_seed(0)
    _, share, _ = Mix(mixup_alpha=alpha).draw(20000, 8, 8)
    drawn = np.random.default_rng(0).beta(alpha, alpha, 20000)
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    assert np.quantile(share.numpy(), quantiles) == pytest.approx(np.quantile(drawn, quantiles), abs=0.03)


def test_cut_boxes__are_those_of_the_papers_code():
    """Its rand_bbox, written again with numpy, has the same mean edges and area."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    share, height, width = generator.uniform(size=20000), 60, 100
    found = cut_boxes(torch.from_numpy(share), height, width).numpy()
    expected = np.empty_like(found)
    for i, ratio in enumerate(np.sqrt(1 - share)):
        centre = generator.integers(height), generator.integers(width)
        half = int(height * ratio) // 2, int(width * ratio) // 2
        expected[i] = [
            np.clip(centre[0] - half[0], 0, height),
            np.clip(centre[0] + half[0], 0, height),
            np.clip(centre[1] - half[1], 0, width),
            np.clip(centre[1] + half[1], 0, width),
        ]
    assert found.mean(axis=0) == pytest.approx(expected.mean(axis=0), abs=1)
    areas = [(boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2]) for boxes in (found, expected)]
    assert areas[0].mean() == pytest.approx(areas[1].mean(), rel=0.03)
    assert areas[0].std() == pytest.approx(areas[1].std(), rel=0.03)
    assert found.min() >= 0
    assert (found.max(axis=0) <= [height, height, width, width]).all()


def test_mix__makes_floats_of_bytes():
    torch.manual_seed(0)
    batch = torch.randint(256, IMAGES, dtype=torch.uint8)
    torch.manual_seed(0)
    mixed, _ = Mix(cutmix_alpha=1.0)(batch)
    torch.manual_seed(0)
    assert torch.equal(mixed, Mix(cutmix_alpha=1.0)(batch / 255)[0])


def test_mix__of_one_sample_is_that_sample():
    batch = batch_of((1, 3, 6, 10))
    torch.testing.assert_close(Mix(mixup_alpha=1.0)(batch)[0], batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs mixup_alpha, cutmix_alpha, or both"),
        ({"mixup_alpha": 0}, "mixup_alpha=0; expected a number above 0"),
        ({"cutmix_alpha": -1}, "cutmix_alpha=-1; expected a number above 0"),
        ({"mixup_alpha": 1, "p": 2}, "p=2; expected a probability"),
        ({"mixup_alpha": 1, "cutmix_alpha": 1, "cutmix_share": 2}, "expected a probability"),
    ],
)
def test_mix__names_the_key_at_fault(options, message):
    with pytest.raises(ConfigError, match=message):
        Mix(**options)


def test_mix__refuses_what_is_no_batch():
    with pytest.raises(ConfigError, match="expects images"):
        Mix(mixup_alpha=1.0)([torch.zeros(IMAGES)])
