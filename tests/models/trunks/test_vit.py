from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from eztorch.models.trunks import create_vit
from eztorch.models.trunks.positions import resize_grid, sequence_positions, sine_cosine_positions
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


def test_tokens__a_hidden_patch_is_the_mask_token_at_its_place():
    torch.manual_seed(0)
    network = VisionTransformer(patch=(4, 4), embed_dim=16, depth=2, num_heads=2, pool="token", mask_token=True)
    x, hidden = torch.randn(2, 3, 8, 8), torch.tensor([[False, True, False, False], [False] * 4])
    tokens = network.tokens(x, hidden=hidden)
    other = x.clone()
    other[0, :, :4, 4:] = 7.0  # the hidden patch: nothing of it is seen
    torch.testing.assert_close(network.tokens(other, hidden=hidden), tokens)
    torch.testing.assert_close(tokens[1], network.tokens(x)[1])
    # A picture whose patch has the mask token as its embedding gives the same tokens.
    embed = network.patch_embed.forward
    network.patch_embed.forward = lambda x: (torch.where(hidden[:, :, None], network.mask_token, embed(x)[0]), (2, 2))
    torch.testing.assert_close(network.tokens(x), tokens)


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


@pytest.mark.parametrize(("name", "millions"), [("tiny", 5.72), ("small", 22.05), ("base", 86.57), ("large", 304.33)])
def test_create_vit__with_learned_positions_and_1000_classes_has_the_published_number_of_parameters(name, millions):
    # DeiT's table 5 (arXiv 2012.12877) has 5M, 22M, 86M, ViT's table 1 307M; the digits are timm's and torchvision's.
    with torch.device("meta"):
        network = create_vit(name, pool="token", positions="learned", input_size=(224, 224), num_classes=1000)
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == f"{millions:.2f}"


@pytest.mark.parametrize(("patch", "size"), [((4, 4), (8, 12)), ((2, 4, 4), (4, 8, 12))])
@pytest.mark.parametrize("pool", ["mean", "token"])
def test_learned_positions__are_added_to_the_tokens_of_their_places(patch, size, pool):
    options = {"patch": patch, "embed_dim": 12, "depth": 1, "num_heads": 3, "pool": pool}
    network = VisionTransformer(**options, positions="learned", input_size=size).eval()
    places = math.prod(side // part for side, part in zip(size, patch, strict=True))
    assert network.pos_embed.shape == (1, places + (pool == "token"), 12)
    x = torch.randn(2, 3, *size)
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(x)
    patches = network.patch_embed(x)[0]
    tokens = patches if pool == "mean" else torch.cat([network.cls_token.expand(2, -1, -1), patches], dim=1)
    torch.testing.assert_close(seen[0], tokens + network.pos_embed)
    assert network.get_param_layer_id("pos_embed") == 0


@pytest.mark.parametrize("dim", [12, 7])
def test_sequence_positions__are_the_formula_of_attention_is_all_you_need(dim):
    table = [[p / 10000 ** (2 * (j // 2) / dim) for j in range(dim)] for p in range(24)]
    expected = [[math.cos(x) if j % 2 else math.sin(x) for j, x in enumerate(row)] for row in table]
    torch.testing.assert_close(sequence_positions((2, 3, 4), dim), torch.tensor(expected))
    network = VisionTransformer(patch=(2, 4, 4), embed_dim=dim, depth=1, num_heads=1, positions="sequence").eval()
    seen, x = [], torch.randn(2, 3, 4, 12, 16)
    network.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(x)
    torch.testing.assert_close(seen[0], network.patch_embed(x)[0] + torch.tensor(expected))


def test_learned_positions__are_interpolated_to_other_inputs_over_time_and_space_apart():
    network = VisionTransformer(
        patch=(2, 4, 4), embed_dim=6, depth=1, num_heads=1, positions="learned", input_size=(8, 8, 8)
    )
    grid = network.pos_embed.detach().view(4, 2, 2, 6)
    resized = resize_grid(network.pos_embed, (4, 2, 2), (2, 2, 2)).view(2, 2, 2, 6)
    torch.testing.assert_close(resized, torch.stack([(grid[0] + grid[1]) / 2, (grid[2] + grid[3]) / 2]))
    space = resize_grid(network.pos_embed, (4, 2, 2), (4, 3, 5)).view(4, 15, 6)
    for time in range(4):
        torch.testing.assert_close(space[time], resize_grid(grid[time].reshape(1, 4, 6), (2, 2), (3, 5))[0])
    constant = resize_grid(torch.ones(1, 16, 6), (4, 2, 2), (3, 5, 7))
    torch.testing.assert_close(constant, torch.ones(1, 105, 6))
    features = network(torch.randn(1, 3, 4, 12, 20))
    features.sum().backward()
    assert features.shape == (1, 6)
    assert network.pos_embed.grad.abs().sum() > 0


def test_vit__makes_logits_of_its_features():
    options = {"patch": (4, 4), "embed_dim": 12, "depth": 2, "num_heads": 3}
    classifier = VisionTransformer(**options, num_classes=5).eval()
    features = VisionTransformer(**options).eval()
    missing, unexpected = features.load_state_dict(classifier.state_dict(), strict=False)
    assert (missing, unexpected) == ([], ["head.weight", "head.bias"])
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(classifier(x), classifier.head(features(x)))
    assert (classifier.num_layers, features.num_layers) == (4, 3)
    assert classifier.get_param_layer_id("head.bias") == 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"positions": "learned"}, "positions=learned and input_size=None; learned positions, and no others"),
        ({"input_size": (8, 8)}, r"positions=fixed and input_size=\(8, 8\)"),
        ({"positions": "learnt"}, "Did you mean 'learned'"),
        ({"positions": "learned", "input_size": (8, 30), "patch": (4, 4)}, r"\(8, 30\) cannot be cut into patches"),
        ({"num_classes": -1}, "num_classes=-1"),
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
