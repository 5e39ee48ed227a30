import pytest
import torch
from torch import nn
from torch.nn import functional as F

from eztorch.models.heads import create_linear3d_head
from eztorch.models.trunks import create_video_head_model, create_vit, create_vitransformer_token_handler_model
from eztorch.utils.errors import ConfigError


@pytest.fixture
def maps():
    return torch.randn(4, 6, 4, 3, 5, generator=torch.Generator().manual_seed(0))


def head_of(**options):
    torch.manual_seed(0)
    return create_linear3d_head(**{"in_features": 6, "num_classes": 3, "dropout_rate": 0.0, **options})


def test_linear3d_head__is_pooling_l2_norm_batch_norm_and_linear_in_this_order(maps):
    head = head_of(bn="bn_1D", norm=True)
    rows = maps.flatten(2).mean(dim=2)
    rows = rows / rows.square().sum(dim=1, keepdim=True).sqrt()
    rows = (rows - rows.mean(dim=0)) / (rows.var(dim=0, unbiased=False) + head.bn.eps).sqrt()
    torch.testing.assert_close(head(maps), rows @ head.proj.weight.T)  # the bias begins with 0
    assert (head.input_dim, head.output_dim, head.num_layers) == (6, 3, 1)


def test_linear3d_head__begins_with_small_weights():
    weight = head_of(in_features=512, num_classes=200).proj.weight.detach()
    assert float(weight.std()) == pytest.approx(0.01, rel=0.02)


def test_linear3d_head__drops_what_the_linear_layer_sees_and_in_training_alone(maps):
    head = head_of(dropout_rate=0.5, num_classes=0)
    values = head.train()(torch.ones_like(maps))
    assert set(values.unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(head.eval()(torch.ones_like(maps)), torch.ones(4, 6))


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("adaptive_avg_pool_3d", lambda maps: F.adaptive_avg_pool3d(maps, (2, 1, 1))),
        ("adaptive_max_pool_3d", lambda maps: F.adaptive_max_pool3d(maps, (2, 1, 1))),
        ("avg_pool_3d", lambda maps: F.avg_pool3d(maps, (2, 3, 3), (2, 1, 1), (0, 0, 1))),
        ("max_pool_3d", lambda maps: F.max_pool3d(maps, (2, 3, 3), (2, 1, 1), (0, 0, 1))),
        (None, lambda maps: maps),
    ],
)
def test_linear3d_head__without_view_gives_an_output_at_every_position(maps, pool, expected):
    head = head_of(
        pool=pool,
        output_size=[2, 1, 1],
        pool_kernel_size=[2, 3, 3],
        pool_stride=[2, 1, 1],
        pool_padding=[0, 0, 1],
        view=False,
    )
    torch.testing.assert_close(head(maps), F.conv3d(expected(maps), head.proj.weight[..., None, None, None]))


def test_linear3d_head__view_puts_the_positions_of_a_sample_side_by_side(maps):
    head = head_of(output_size=[2, 1, 1])
    rows = torch.stack([maps[:, :, :2].mean(dim=(2, 3, 4)), maps[:, :, 2:].mean(dim=(2, 3, 4))], dim=2)
    torch.testing.assert_close(head(maps), rows.flatten(1) @ head.proj.weight.T)
    assert head.proj.in_features == 12
    assert head_of(output_size=[2, 1, 1], num_classes=0).output_dim == 12


def test_linear3d_head__takes_tokens_as_steps_in_time(maps):
    tokens = maps[:, :, :, 0, 0].mT
    torch.testing.assert_close(head_of()(tokens), head_of()(maps[:, :, :, :1, :1]))
    apart = head_of(pool=None, view=False)
    torch.testing.assert_close(apart(tokens), apart.proj(tokens))
    torch.testing.assert_close(head_of(output_size=[2, 1, 1], view=False)(tokens)[:, 1], head_of()(tokens[:, 2:]))


def test_linear3d_head__takes_the_class_token(maps):
    head, tokens = head_of(pool="cls"), maps[:, :, :, 0, 0].mT
    torch.testing.assert_close(head(tokens), head.proj(tokens[:, 0]))
    with pytest.raises(ConfigError, match="pool=cls takes the class token"):
        head(maps)


def test_linear3d_head__takes_features_that_are_pooled_already(maps):
    features = maps[:, :, 0, 0, 0]
    head = head_of(bn="bn_1D").eval()
    torch.testing.assert_close(head(features), head.proj(features / (1 + head.bn.eps) ** 0.5))


@pytest.mark.parametrize("pool", ["cls", "adaptive_avg_pool_3d"])
def test_linear3d_head__stands_on_a_trunk_of_tokens_and_both_learn(pool):
    torch.manual_seed(0)
    vit = create_vit("tiny", patch=(2, 8, 8), depth=1, embed_dim=12, num_heads=2, pool="token")
    trunk = create_vitransformer_token_handler_model(
        vit, return_cls_token=False, return_cls_and_other_tokens=pool == "cls"
    )
    model = create_video_head_model(trunk, head_of(in_features=12, pool=pool))
    logits = model(torch.randn(2, 3, 4, 16, 16))
    assert logits.shape == (2, 3)
    logits.square().sum().backward()
    assert model.head.proj.weight.grad.abs().sum() > 0
    assert vit.patch_embed.proj.weight.grad.abs().sum() > 0
    assert sorted({model.get_param_layer_id(name) for name, _ in model.named_parameters()}) == [0, 1, 2]


def test_linear3d_head__without_layers_learns_nothing(maps):
    head = head_of(num_classes=0)
    torch.testing.assert_close(head(maps), maps.flatten(2).mean(dim=2))
    assert (head.learnable_params, head.num_layers, head.output_dim) == ([], 0, 6)
    assert head_of(num_classes=0, bn="bn_1D").num_layers == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": -1}, "num_classes=-1"),
        ({"pool": "adaptive_avg_pool"}, "Did you mean 'adaptive_avg_pool_3d'"),
        ({"pool": "avg_pool_3d", "pool_stride": [1]}, r"pool_stride=\[1\]; expected three"),
        ({"output_size": 1}, "output_size=1; expected three"),
        ({"bn": "bn_3D"}, r"bn='bn_3D' is not known; expected one of \['bn_1D', 'sync_bn'\]"),
    ],
)
def test_linear3d_head__names_the_key_at_fault(options, message):
    with pytest.raises(ConfigError, match=message):
        head_of(**options)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (2, 5, 4, 3, 3), r"in_features=6 takes maps .* not \(2, 5, 4, 3, 3\)"),
        ({}, (2, 4, 5), r"in_features=6 takes maps .* not \(2, 4, 5\)"),
        ({}, (2, 6, 3, 3), r"in_features=6 takes maps .* not \(2, 6, 3, 3\)"),
        ({"pool": "avg_pool_3d", "pool_kernel_size": [1, 3, 3]}, (2, 6, 4, 3, 3), r"leaves \(4, 1, 1\) positions"),
        ({"pool": None}, (2, 6, 1, 3, 3), r"leaves \(1, 3, 3\) positions .* write view=false"),
    ],
)
def test_linear3d_head__says_what_does_not_fit(options, shape, message):
    with pytest.raises(ConfigError, match=message):
        head_of(**options)(torch.zeros(shape))


def test_linear3d_head__pools_in_one_window(maps):
    head = head_of(pool="avg_pool_3d", pool_kernel_size=[4, 3, 5])
    torch.testing.assert_close(head(maps), nn.Flatten()(maps.mean(dim=(2, 3, 4))) @ head.proj.weight.T)
