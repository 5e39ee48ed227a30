from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from eztorch.transforms.batch import CenterCrop, RandomCrop, RandomHorizontalFlip, RandomResizedCrop, Resize
from eztorch.transforms.batch.geometry import random_boxes, resized_crops
from eztorch.transforms.batch.separable import resizing_matrices, separable
from eztorch.utils.errors import ConfigError

IMAGES, CLIPS = (6, 3, 40, 52), (6, 3, 2, 40, 52)


def batch_of(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    return values if dtype == torch.uint8 else values / 255


def reference_crops(batch, boxes, size, interpolation):
    """Torchvision's crop of every frame by itself."""
    mode = InterpolationMode(interpolation)

    def crop(image, box):
        return F.resized_crop(image, *box, list(size), interpolation=mode, antialias=True)

    def sample(one, box):
        return crop(one, box) if one.ndim == 3 else torch.stack([crop(f, box) for f in one.unbind(1)], dim=1)

    return torch.stack([sample(one, box) for one, box in zip(batch, boxes.tolist(), strict=True)])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(13, 17), (64, 60)])
@pytest.mark.parametrize("shape", [IMAGES, CLIPS])
def test_resized_crops__are_torchvisions_on_the_cpu_and_as_matrix_products(shape, size, interpolation):
    batch = batch_of(shape)
    boxes = random_boxes(6, 40, 52, (0.1, 1.0), (0.5, 2.0))
    expected = reference_crops(batch, boxes, size, interpolation)
    torch.testing.assert_close(resized_crops(batch, boxes, *size, interpolation), expected, rtol=0, atol=2e-6)
    top, left, height, width = boxes.float().unbind(1)
    rows = resizing_matrices(top, height, 40, size[0], interpolation)
    columns = resizing_matrices(left, width, 52, size[1], interpolation)
    torch.testing.assert_close(separable(batch, rows, columns), expected, rtol=0, atol=2e-6)


def test_resized_crops__of_bytes_are_rounded_ones_of_floats():
    batch = batch_of(CLIPS, torch.uint8)
    boxes = random_boxes(6, 40, 52, (0.1, 1.0), (0.5, 2.0))
    crops = resized_crops(batch, boxes, 20, 30, "bilinear")
    assert crops.dtype == torch.uint8
    difference = crops - resized_crops(batch.float(), boxes, 20, 30, "bilinear")
    assert difference.abs().max() < 1.5  # half a level from each of two passes, and from the weights


def test_random_boxes__lie_in_the_frame_with_the_areas_and_ratios_that_are_asked_for():
    torch.manual_seed(0)
    top, left, height, width = random_boxes(4000, 60, 80, (0.2, 0.5), (0.75, 4 / 3)).double().unbind(1)
    assert min(top.min(), left.min()) == 0
    assert (top + height).max() == 60
    assert (left + width).max() == 80
    area, ratio = height * width / 4800, width / height
    assert area.min() > 0.18
    assert area.max() < 0.52
    assert ratio.min() > 0.72
    assert ratio.max() < 1.4
    assert abs(ratio.log().mean()) < 0.02


def test_random_boxes__fall_back_to_the_largest_box_in_the_centre():
    boxes = random_boxes(3, 10, 100, (0.9, 1.0), (0.5, 2.0))
    assert boxes.tolist() == [[0, 40, 10, 20]] * 3


def test_random_resized_crop__draws_for_every_sample_and_once_for_its_frames():
    clip = torch.arange(40.0 * 52).view(1, 1, 1, 40, 52).expand(4, 3, 2, 40, 52)
    crops = RandomResizedCrop(8, scale=(0.2, 0.4))(clip)
    assert crops.shape == (4, 3, 2, 8, 8)
    assert torch.equal(crops[:, :, 0], crops[:, :, 1])
    assert len({crop.sum().item() for crop in crops}) == 4


@pytest.mark.parametrize("padding_mode", ["constant", "reflect", "replicate"])
def test_random_crop__is_a_box_of_the_padded_frames(padding_mode):
    torch.manual_seed(0)
    batch = batch_of((50, 1, 9, 8), torch.uint8)
    padded = torch.stack(
        [F.pad(image, [3], padding_mode={"replicate": "edge"}.get(padding_mode, padding_mode)) for image in batch]
    )
    places = set()
    for crop, image in zip(RandomCrop((9, 8), padding=3, padding_mode=padding_mode)(batch), padded, strict=True):
        found = [(y, x) for y in range(7) for x in range(7) if torch.equal(image[:, y : y + 9, x : x + 8], crop)]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 25
    assert {0, 6} <= {y for y, _ in places}


@pytest.mark.parametrize("size", [20, (30, 20), (80, 104)])
@pytest.mark.parametrize("shape", [IMAGES, CLIPS])
def test_resize__is_torchvisions(shape, size):
    batch = batch_of(shape)
    frames = batch if batch.ndim == 4 else batch.transpose(1, 2)
    expected = F.resize(frames, [size] if isinstance(size, int) else list(size), antialias=True)
    result = Resize(size)(batch)
    torch.testing.assert_close(result if batch.ndim == 4 else result.transpose(1, 2), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("shape", [IMAGES, CLIPS])
def test_center_crop__is_torchvisions(shape):
    batch = batch_of(shape, torch.uint8)
    assert torch.equal(CenterCrop((21, 30))(batch), F.center_crop(batch, [21, 30]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_random_horizontal_flip__mirrors_half_of_the_samples_with_all_their_frames(dtype):
    torch.manual_seed(0)
    batch = batch_of(CLIPS, dtype)
    given = batch.clone()
    flipped = RandomHorizontalFlip(0.5)(batch)
    assert torch.equal(batch, given)
    assert flipped.dtype == dtype
    mirrored = [torch.equal(one, other.flip(-1)) for one, other in zip(flipped, batch, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(flipped, batch, strict=True)]
    assert sum(mirrored) == sum(kept) == 3


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_random_horizontal_flip__of_flow_turns_its_horizontal_part(dtype):
    clips = batch_of((2, 4, 3, 6, 8), dtype)
    mirrored = RandomHorizontalFlip(1, flow=True)(clips)
    highest = 255 if dtype == torch.uint8 else 1
    assert torch.equal(mirrored[:, ::2], highest - clips[:, ::2].flip(-1))
    assert torch.equal(mirrored[:, 1::2], clips[:, 1::2].flip(-1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomResizedCrop(0), "size=0; expected a number of at least 1"),
        (lambda: RandomResizedCrop([8, 8, 8]), "size=.*expected"),
        (lambda: RandomResizedCrop(8, scale=(0.5, 0.2)), "scale=.*rising"),
        (lambda: RandomResizedCrop(8, interpolation="cubic"), "Did you mean 'bicubic'"),
        (lambda: RandomCrop(8, padding=-1), "padding=-1"),
        (lambda: RandomCrop(8, padding_mode="mirror"), "padding_mode='mirror'"),
        (lambda: RandomCrop(9)(torch.zeros(1, 1, 8, 9)), "A crop of 9 x 9 does not fit in frames of 8 x 9"),
        (lambda: CenterCrop(9)(torch.zeros(1, 1, 8, 9)), "A crop of 9 x 9 does not fit"),
        (lambda: RandomHorizontalFlip(p=1.5), "p=1.5; expected a probability"),
        (lambda: RandomResizedCrop(8)(torch.zeros(3, 8, 8)), r"expects images .*, not \(3, 8, 8\)"),
        (lambda: RandomHorizontalFlip()([torch.zeros(1, 3, 8, 8)]), "not a list. Use ApplyTransformOnList"),
    ],
)
def test_geometry__refuses_what_it_cannot_use(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
