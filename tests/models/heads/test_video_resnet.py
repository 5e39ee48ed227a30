import pytest
import torch
from torch import nn

from eztorch.models.heads import create_video_resnet_head, create_video_resnet_temporal_head
from eztorch.utils.errors import ConfigError

MAPS = torch.randn(2, 6, 4, 3, 5, generator=torch.Generator().manual_seed(0))


def test_video_head__averages_over_time_and_space():
    head = create_video_resnet_head(in_features=6, num_classes=0, dropout_rate=0.0, pool_kernel_size=[8, 7, 7])
    torch.testing.assert_close(head(MAPS), MAPS.flatten(2).mean(dim=2))
    assert (head.input_dim, head.output_dim, head.num_layers) == (6, 6, 0)
    assert not list(head.parameters())


@pytest.mark.parametrize("pool", [None, "adaptive_avg_pool_3d"])
def test_video_head__projects(pool):
    head = create_video_resnet_head(in_features=6, num_classes=3, dropout_rate=0, pool=pool, output_size=[1, 1, 1])
    torch.testing.assert_close(head(MAPS), head.proj(MAPS.flatten(2).mean(dim=2)))
    assert (head.output_dim, head.num_layers) == (3, 1)
    assert head.learnable_params == [head.proj.weight, head.proj.bias]
    assert head.get_param_layer_id("proj.weight") == 0


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ("adaptive_avg_pool_3d", nn.functional.adaptive_avg_pool3d(MAPS, (2, 1, 1))),
        ("adaptive_max_pool_3d", nn.functional.adaptive_max_pool3d(MAPS, (2, 1, 1))),
        ("avg_pool_3d", nn.functional.avg_pool3d(MAPS, (2, 3, 3), (2, 1, 1), (0, 0, 1))),
        ("max_pool_3d", nn.functional.max_pool3d(MAPS, (2, 3, 3), (2, 1, 1), (0, 0, 1))),
    ],
)
def test_video_head__poolings_take_lists(pool, expected):
    head = create_video_resnet_head(
        in_features=6,
        num_classes=0,
        pool=pool,
        output_size=[2, 1, 1],
        pool_kernel_size=[2, 3, 3],
        pool_stride=[2, 1, 1],
        pool_padding=[0, 0, 1],
        dropout_rate=0.0,
        output_with_global_average=False,
    )
    torch.testing.assert_close(head(MAPS), expected)


def test_video_head__without_average_keeps_time_and_space():
    head = create_video_resnet_head(
        in_features=6, num_classes=3, output_with_global_average=False, activation="softmax"
    )
    out = head.eval()(MAPS)
    assert out.shape == (2, 3, 4, 3, 5)
    torch.testing.assert_close(out.sum(dim=1), torch.ones(2, 4, 3, 5))


def test_video_head__drops_in_training_alone():
    head = create_video_resnet_head(in_features=6, num_classes=0, dropout_rate=0.5)
    assert (head.train()(torch.ones_like(MAPS)) - 1).abs().max() > 0
    torch.testing.assert_close(head.eval()(torch.ones_like(MAPS)), torch.ones(2, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool": "adaptive_avg_pool"}, "Did you mean 'adaptive_avg_pool_3d'"),
        ({"pool": "avg_pool_3d", "pool_kernel_size": [7, 7]}, r"pool_kernel_size=\[7, 7\]; expected three"),
        ({"pool": "adaptive_avg_pool_3d", "output_size": 1}, "output_size=1; expected three"),
        ({"activation": "sofmax"}, "Did you mean 'softmax'"),
        ({"num_classes": -1}, "num_classes=-1"),
    ],
)
def test_video_head__names_the_key_at_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_video_resnet_head(in_features=6, **arguments)


@pytest.mark.parametrize("num_tokens", [None, 1, 2, 3, 6])
def test_temporal_head__averages_over_space_and_keeps_time(num_tokens):
    maps = torch.randn(2, 5, 6, 3, 4)
    head = create_video_resnet_temporal_head(in_features=5, num_tokens=num_tokens)
    tokens = head(maps)
    steps = 6 // (num_tokens or 6)
    expected = [maps[:, :, start : start + steps].mean(dim=(2, 3, 4)) for start in range(0, 6, steps)]
    torch.testing.assert_close(tokens, torch.stack(expected, dim=1))
    assert (head.input_dim, head.output_dim, head.num_layers) == (5, 5, 0)


def test_temporal_head__scores_every_step():
    head = create_video_resnet_temporal_head(in_features=6, num_classes=3)
    torch.testing.assert_close(head(MAPS), head.proj(MAPS.mean(dim=(3, 4)).mT))
    assert (head.output_dim, head.num_layers) == (3, 1)
    shares = create_video_resnet_temporal_head(in_features=6, num_classes=3, activation="softmax")(MAPS)
    torch.testing.assert_close(shares.sum(dim=2), torch.ones(2, 4))  # over the classes, not over time


def test_temporal_head__drops_in_training_alone():
    head = create_video_resnet_temporal_head(in_features=6, dropout_rate=0.5)
    assert set(head.train()(torch.ones_like(MAPS)).unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(head.eval()(torch.ones_like(MAPS)), torch.ones(2, 4, 6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_tokens": 0}, "num_tokens=0"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"activation": "sofmax"}, "softmax"),
    ],
)
def test_temporal_head__names_the_key_at_fault(arguments, message):
    with pytest.raises(ConfigError, match=message):
        create_video_resnet_temporal_head(in_features=5, **arguments)
