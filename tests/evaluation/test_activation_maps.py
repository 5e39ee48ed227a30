import pytest
import torch
from torch import nn
from torch.nn import functional

from eztorch.evaluation import class_activation_maps
from eztorch.models.trunks.frame_model import create_frame_model
from eztorch.models.trunks.vit import create_vit
from eztorch.utils.errors import ConfigError


class Window(nn.Module):
    """Lets a network see a part of a clip alone."""

    def __init__(self, *where):
        super().__init__()
        self.where = where

    def forward(self, x):
        seen = torch.zeros_like(x)
        seen[(..., *self.where)] = x[(..., *self.where)]
        return seen


def network(*where, weight=((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))):
    """Two classes: the red and the blue that are seen through a window."""
    head = nn.Linear(3, 2, bias=False)
    head.weight.data = torch.tensor(weight)
    return nn.Sequential(Window(*where), nn.AdaptiveAvgPool3d(1), nn.Flatten(), head)


TOP, LEFT, ALL = slice(0, 4), slice(0, 6), slice(None)


@pytest.mark.parametrize(
    ("where", "inside"),
    [
        ((ALL, TOP, LEFT), (ALL, slice(0, 4), slice(0, 6))),
        ((slice(2, 3), ALL, ALL), (slice(2, 3), ALL, ALL)),
    ],
    ids=["a quadrant", "a frame"],
)
def test_maps__of_a_network_that_looks_at_one_place_are_that_place(where, inside):
    clip = torch.rand(3, 5, 8, 12, generator=torch.Generator().manual_seed(0)) + 0.5
    maps = class_activation_maps(network(*where), clip, class_index=0)
    expected = torch.zeros(5, 8, 12)
    expected[inside] = clip[0][inside]
    torch.testing.assert_close(maps, expected / expected.max())


def test_maps__are_of_the_class_that_is_asked_for():
    clip = torch.zeros(3, 2, 8, 8)
    clip[0, :, :4], clip[2, :, 4:] = 1, 2  # red above, more blue below
    model = network(ALL, ALL, ALL)
    above = class_activation_maps(model, clip, class_index=0)
    below = class_activation_maps(model, clip)  # that of the highest logit
    assert (above[:, :4].min(), above[:, 4:].max()) == (1, 0)
    assert (below[:, 4:].min(), below[:, :4].max()) == (1, 0)


def test_maps__of_a_class_that_everything_speaks_against_are_0():
    model = network(ALL, ALL, ALL, weight=((-1.0, -1.0, -1.0), (0.0, 0.0, 1.0)))
    assert class_activation_maps(model, torch.rand(3, 2, 8, 8) + 0.1, class_index=0).abs().max() == 0


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv3d(3, 6, 3, stride=(1, 2, 2), padding=1),
        nn.BatchNorm3d(6),
        nn.ReLU(inplace=True),
        nn.Conv3d(6, 5, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(5, 4),
    )


@pytest.mark.parametrize(("layer", "depth"), [(None, 5), ("4", 5), ("0", 1)])
def test_maps__equal_equations_1_and_2_place_by_place(layer, depth):
    model, clip = small_network(), torch.randn(3, 4, 16, 12)
    maps = class_activation_maps(model, clip, layer, 2)
    model.eval()
    features = model[:depth](clip[None]).detach().requires_grad_()
    model[depth:](features.clone())[0, 2].backward()
    _, channels, *size = features.shape
    heat = torch.zeros(size)
    for k in range(channels):
        heat += features.grad[0, k].sum() / features.grad[0, k].numel() * features[0, k].detach()
    heat = functional.interpolate(heat.clamp_min(0)[None, None], (4, 16, 12), mode="trilinear")[0, 0]
    torch.testing.assert_close(maps, heat / heat.max())


def test_maps__leave_the_model_as_it_was():
    model, clip = small_network().train(), torch.randn(3, 4, 16, 12)
    model[1].eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        first = class_activation_maps(model, clip)
    torch.testing.assert_close(first, class_activation_maps(model, clip))
    assert model.training
    assert not model[1].training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("pool", ["mean", "token"])
@pytest.mark.parametrize(("patch", "shape"), [((2, 8, 8), (3, 4, 16, 24)), ((8, 8), (3, 16, 24))])
def test_maps__of_tokens_stand_in_the_grid_of_the_patches(pool, patch, shape):
    torch.manual_seed(0)
    trunk = create_vit(patch=patch, embed_dim=24, depth=2, num_heads=2, pool=pool)
    model, clip = nn.Sequential(trunk, nn.Linear(24, 3)).eval(), torch.randn(shape)
    maps = class_activation_maps(model, clip, class_index=1)
    # With a class token the class depends on the patches through the keys and values of the last block alone.
    watched = trunk.norm if pool == "mean" else trunk.blocks[1].norm1
    kept = []
    handle = watched.register_forward_hook(lambda module, arguments, output: kept.append(output))
    score = model(clip[None])[0, 1]
    handle.remove()
    (slopes,) = torch.autograd.grad(score, kept)
    tokens, slopes = (one[0, int(pool == "token") :] for one in (kept[0], slopes))
    grid = (shape[1] // patch[0] if len(patch) == 3 else 1, 2, 3)
    heat = (tokens * slopes.mean(dim=0)).sum(dim=1).clamp_min(0).view(1, 1, *grid).detach()
    size = shape[1:] if len(shape) == 4 else (1, *shape[1:])
    heat = functional.interpolate(heat, size, mode="trilinear")[0, 0]
    torch.testing.assert_close(maps, heat / heat.max())


def test_maps__of_frames_that_are_images_of_a_batch():
    torch.manual_seed(0)
    images = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    images.num_features = 4
    model = create_frame_model(images, num_classes=3)
    clip = torch.rand(3, 6, 16, 16)
    clip[:, 3] = 0
    model.network[0].bias.data.zero_()
    model.network[0].weight.data.abs_()
    maps = class_activation_maps(model, clip)
    assert maps.shape == (6, 16, 16)
    alone = class_activation_maps(model, clip[:, :3])
    torch.testing.assert_close(maps[:3] / maps[:3].max(), alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "44"}, "layer='44': the model has no module of this name"),
        ({"layer": "8"}, "layer='8' gives neither feature maps nor a grid"),
        ({"class_index": 4}, "class_index=4: the model has 4 classes, from 0"),
        ({"clip": torch.rand(4, 16, 12, 3, 1)}, "A clip has the shape"),
    ],
)
def test_maps__name_what_cannot_be_used(options, message):
    options = {"clip": torch.rand(3, 4, 16, 12), **options}
    with pytest.raises(ConfigError, match=message):
        class_activation_maps(small_network(), **options)


def test_maps__of_a_model_without_places_are_an_error():
    with pytest.raises(ConfigError, match="The model gives neither"):
        class_activation_maps(nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), torch.rand(3, 4, 4))
    with pytest.raises(ConfigError, match=r"logits of the shape \(1, K\); got \(1, 3, 4, 4\)"):
        class_activation_maps(nn.Conv2d(3, 3, 1), torch.rand(3, 4, 4))
