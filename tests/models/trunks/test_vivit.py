import pytest
import torch

from eztorch.models.trunks import create_timesformer, create_vit, create_vitransformer_token_handler_model, create_vivit
from eztorch.models.weights import load_tensors
from eztorch.utils.errors import ConfigError

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}


def tiny(**options):
    torch.manual_seed(0)
    return create_vivit(**{**TINY, "temporal_depth": 1, "input_size": (4, 32, 32), **options}).eval()


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_vivit__is_a_transformer_over_space_at_each_time_and_one_over_time(pool):
    network = tiny(pool=pool)
    clips = torch.randn(2, 3, 4, 32, 32)
    spatial = create_vit("tiny", **TINY, patch=(2, 16, 16), pool=pool, positions="learned", input_size=(2, 32, 32))
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("temporal.")}
    spatial.load_state_dict(state)
    steps = torch.stack([spatial.eval()(clips[:, :, :2]), spatial(clips[:, :, 2:])], dim=1)
    temporal = network.temporal
    tokens = steps + temporal.time_embed
    if pool == "token":
        tokens = torch.cat([temporal.cls_token.expand(2, -1, -1), tokens], dim=1)
    tokens = temporal.norm(temporal.blocks[0](tokens))
    torch.testing.assert_close(network.tokens(clips), tokens)
    torch.testing.assert_close(network(clips), tokens[:, 0] if pool == "token" else tokens.mean(dim=1))


def test_vivit__begins_as_a_transformer_for_images_that_looks_at_central_frames():
    images = create_vit("tiny", **TINY, pool="token", positions="learned", input_size=(48, 48)).eval()
    network = tiny(input_size=(4, 48, 48))
    report = load_tensors(network, images.state_dict(), strict=False, inflation="centre")
    assert all(name.startswith("temporal.") for name in report.missing)
    assert list(report.inflated) == ["patch_embed.proj.weight"]
    steps = []
    network.temporal.register_forward_pre_hook(lambda module, inputs: steps.append(inputs[0]))
    clips = torch.randn(2, 3, 4, 48, 48)
    network(clips)
    torch.testing.assert_close(steps[0], torch.stack([images(clips[:, :, 1]), images(clips[:, :, 3])], dim=1))


def test_vivit__interpolates_positions_of_another_length_and_size():
    larger = tiny(input_size=(8, 64, 64))
    report = load_tensors(larger, tiny().state_dict())
    assert set(report.interpolated) == {"pos_embed", "temporal.time_embed"}
    clips = torch.randn(1, 3, 8, 64, 64)
    torch.testing.assert_close(larger(clips), tiny()(clips), rtol=1e-4, atol=1e-5)


def test_vivit__sees_the_order_of_its_frames():
    network = tiny()
    clips = torch.randn(1, 3, 4, 32, 32)
    assert not torch.allclose(network(clips.flip(2)), network(clips))


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("return_cls_token", (3, 24)),
        ("return_cls_and_other_tokens", (3, 3, 24)),
        ("flatten_tokens", (6, 24)),
        ("average_tokens", (3, 24)),
        (None, (3, 2, 24)),
    ],
)
def test_token_handler__gives_the_steps_of_vivit(key, shape):
    network = tiny()
    keys = {"return_cls_token": False} | ({} if key is None else {key: True})
    handler = create_vitransformer_token_handler_model(network, **keys)
    clips = torch.randn(3, 3, 4, 32, 32)
    tokens = network.tokens(clips)
    expected = {
        "return_cls_token": tokens[:, 0],
        "return_cls_and_other_tokens": tokens,
        "flatten_tokens": tokens[:, 1:].flatten(0, 1),
        "average_tokens": tokens[:, 1:].mean(dim=1),
    }.get(key, tokens[:, 1:])
    features = handler(clips)
    assert features.shape == shape
    torch.testing.assert_close(features, expected)
    assert handler.num_layers == 1 + 2 + 1
    assert handler.get_param_layer_id("transformer.temporal.norm.bias") == 3


def test_token_handler__refuses_a_classifier():
    with pytest.raises(ConfigError, match="num_classes is not 0"):
        create_vitransformer_token_handler_model(tiny(num_classes=5))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"patch": (16, 16)}, r"patch=\[16, 16\]; ViViT takes clips"),
        ({"input_size": (5, 32, 32)}, r"\(5, 32, 32\) cannot be cut into patches of \(2, 16, 16\)"),
        ({"name": "bse"}, "Did you mean 'base'"),
        ({"pool": "cls"}, "pool='cls' is not known"),
    ],
)
def test_vivit__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        create_vivit(**keys)


def test_vivit__whose_encoder_over_space_is_frozen_learns_over_time_alone():
    network = tiny(freeze_spatial=True, drop_path=0.5, num_classes=3)
    learned = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learned == {name for name, _ in network.named_parameters() if name.startswith(("temporal.", "head."))}
    assert len(network.learnable_params) == len(learned)
    for mode in (True, False, True):
        network.train(mode)
        assert {module.training for module in network.blocks.modules()} == {False}
        assert {module.training for module in network.temporal.modules()} == {mode}
    network(torch.randn(2, 3, 4, 32, 32)).square().sum().backward()
    assert {name for name, parameter in network.named_parameters() if parameter.grad is not None} == learned


@pytest.mark.parametrize("create", [create_vit, create_vivit, create_timesformer])
def test_transformers__name_an_argument_that_they_do_not_have(create):
    with pytest.raises(ConfigError, match=r"unknown key 'dropth'. Did you mean '(drop_path|depth)'"):
        create("tiny", dropth=1)
