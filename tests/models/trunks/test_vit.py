from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from eztorch.models.trunks import create_vit
from eztorch.models.trunks.positions import sine_cosine_positions
from eztorch.models.trunks.transformer import Block
from eztorch.models.trunks.vit import VisionTransformer
from eztorch.utils.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "patch", "millions"),
    # ViT and DeiT, without the classifier (timm's vit_*_patch16_224 with num_classes=0, less the learned positions:
    # 5.52, 21.67, 85.80 and 303.30 million, of which 197 x C are positions).
    [("tiny", (16, 16), 5.49), ("small", (16, 16), 21.59), ("base", (16, 16), 85.65), ("large", (16, 16), 303.10)],
)
def test_create_vit__has_the_published_number_of_parameters(name, patch, millions):
    with torch.device("meta"):
        network = create_vit(name, patch=patch, pool="token")
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.001)


@pytest.mark.parametrize(("patch", "shape"), [((4, 4), (3, 8, 12)), ((2, 4, 4), (3, 4, 8, 8))])
@pytest.mark.parametrize("pool", ["mean", "token"])
def test_vit__gives_features_of_images_and_clips(patch, shape, pool):
    network = VisionTransformer(patch=patch, embed_dim=24, depth=2, num_heads=3, pool=pool, drop_path=0.5)
    features = network(torch.randn(5, *shape))
    assert features.shape == (5, network.num_features)
    features.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
    layers = {network.get_param_layer_id(name) for name, _ in network.named_parameters()}
    assert layers == set(range(network.num_layers))


@pytest.mark.parametrize("patch", [(4, 2), (2, 4, 2)])
def test_patch_embedding__is_unfold_and_a_linear_map(patch):
    network = VisionTransformer(patch=patch, embed_dim=8, depth=1, num_heads=1)
    sides = (8, 6) if len(patch) == 2 else (4, 8, 6)
    x = torch.randn(2, 3, *sides)
    tokens, grid = network.patch_embed(x)
    assert grid == tuple(side // part for side, part in zip(sides, patch, strict=True))
    weight = network.patch_embed.proj.weight.flatten(1)
    expected = []
    for place in torch.cartesian_prod(*(torch.arange(n) for n in grid)):
        where = [slice(int(i) * part, (int(i) + 1) * part) for i, part in zip(place, patch, strict=True)]
        expected.append(x[(slice(None), slice(None), *where)].flatten(1) @ weight.T + network.patch_embed.proj.bias)
    torch.testing.assert_close(tokens, torch.stack(expected, dim=1))


def test_tokens__of_visible_patches_are_those_of_a_network_that_sees_no_other():
    network = VisionTransformer(patch=(4, 4), embed_dim=12, depth=2, num_heads=3).eval()
    x = torch.randn(2, 3, 8, 8)
    everything = torch.arange(4).expand(2, -1)
    torch.testing.assert_close(network.tokens(x, everything), network.tokens(x))
    some = torch.tensor([[0, 3], [1, 2]])
    changed = x.clone()
    changed[0, :, :4, 4:] += 1  # patch 1 of sample 0, which is hidden
    torch.testing.assert_close(network.tokens(changed, some), network.tokens(x, some))
    assert not torch.allclose(network.tokens(changed), network.tokens(x))


def test_attention__is_softmax_of_scaled_products():
    block = Block(8, num_heads=2)
    x = torch.randn(2, 5, 8)
    q, k, v = block.attn.qkv(x).chunk(3, dim=2)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = F.softmax(q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(4), dim=2)
        heads.append(weights @ v[..., part])
    torch.testing.assert_close(block.attn(x), block.attn.proj(torch.cat(heads, dim=2)))


def test_sine_cosine_positions__tell_every_place_apart_and_do_not_depend_on_the_grid():
    positions = sine_cosine_positions((3, 4, 5), 30)
    assert positions.shape == (60, 30)
    distances = torch.cdist(positions, positions) + 10 * torch.eye(60)
    assert distances.min() > 0.1
    larger = sine_cosine_positions((3, 4, 9), 30).view(3, 4, 9, 30)[:, :, :5].reshape(60, 30)
    torch.testing.assert_close(positions, larger)
    assert positions[0, :5].eq(0).all()  # sines of place 0
    assert float(sine_cosine_positions((9,), 2)[7, 0]) == pytest.approx(math.sin(7))


def test_drop_path__drops_whole_samples_in_training_alone():
    block = Block(8, num_heads=2, drop_path=0.5)
    x = torch.randn(64, 3, 8)
    torch.manual_seed(0)
    still = (block(x) == x).flatten(1).all(dim=1).float().mean()
    assert 0.1 < still < 0.45  # both branches dropped: 0.25
    assert not (block.eval()(x) == x).flatten(1).all(dim=1).any()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"patch": (4,)}, r"patch=\[4\]; expected \[height, width\]"),
        ({"embed_dim": 10, "num_heads": 3}, "num_heads=3 does not divide embed_dim=10"),
        ({"pool": "tokn"}, "token"),
    ],
)
def test_vit__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        VisionTransformer(**{"embed_dim": 12, "depth": 1, "num_heads": 3, **keys})


def test_vit__names_an_input_that_is_no_multiple_of_the_patch():
    network = VisionTransformer(patch=(4, 4), embed_dim=12, depth=1, num_heads=3)
    for shape in ((1, 3, 8, 10), (1, 3, 4, 8, 8)):
        with pytest.raises(ConfigError, match=r"cannot be cut into patches of \(4, 4\)"):
            network(torch.zeros(shape))
