import pytest
import torch

from eztorch.models.trunks import (
    create_transformer_token_handler_model,
    create_vit,
    create_vitransformer_token_handler_model,
)
from eztorch.utils.errors import ConfigError

FLAGS = ("return_cls_token", "return_cls_and_other_tokens", "flatten_tokens", "average_tokens")
SIZE = {"embed_dim": 12, "depth": 2, "num_heads": 3}


def _only(*names):
    return {name: name in names for name in FLAGS}


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_token_handler__chooses_among_the_tokens_of_an_image(pool):
    vit = create_vit("tiny", patch=(4, 4), pool=pool, **SIZE).eval()
    x = torch.randn(2, 3, 8, 12)
    tokens = vit.tokens(x)
    others = tokens[:, 1:] if pool == "token" else tokens
    expected = {(): others, ("flatten_tokens",): others.reshape(12, 12), ("average_tokens",): others.mean(dim=1)}
    if pool == "token":
        expected |= {("return_cls_token",): tokens[:, 0], ("return_cls_and_other_tokens",): tokens}
    for names, features in expected.items():
        model = create_transformer_token_handler_model(vit, **_only(*names))
        torch.testing.assert_close(model(x), features)


@pytest.mark.parametrize("pool", ["mean", "token"])
def test_token_handler__of_clips_averages_the_places_of_a_step_in_time(pool):
    vit = create_vit("tiny", patch=(2, 4, 4), pool=pool, **SIZE).eval()
    x = torch.randn(2, 3, 6, 8, 12)
    tokens = vit.tokens(x)
    places = tokens[:, 1:] if pool == "token" else tokens
    steps = torch.stack([places[:, 6 * t : 6 * t + 6].mean(dim=1) for t in range(3)], dim=1)
    expected = {(): steps, ("flatten_tokens",): steps.reshape(6, 12), ("average_tokens",): steps.mean(dim=1)}
    if pool == "token":
        both = torch.cat([tokens[:, :1], steps], dim=1)
        expected |= {("return_cls_token",): tokens[:, 0], ("return_cls_and_other_tokens",): both}
    for names, features in expected.items():
        model = create_vitransformer_token_handler_model(vit, **_only(*names))
        torch.testing.assert_close(model(x), features)


def test_token_handler__tokens_follow_the_time_of_the_clip():
    """A change of the last frames alone changes the last token most."""
    vit = create_vit("tiny", patch=(2, 4, 4), **SIZE, drop_path=0.0).eval()
    model = create_vitransformer_token_handler_model(vit, **_only())
    x = torch.randn(1, 3, 8, 8, 8)
    changed = x.clone()
    changed[:, :, 6:] = torch.randn(1, 3, 2, 8, 8)
    distance = (model(changed) - model(x)).norm(dim=2)[0]
    assert distance.argmax() == 3


def test_token_handler__tells_the_layers_of_its_transformer():
    model = create_transformer_token_handler_model({"_target_": "eztorch.models.trunks.create_vit", **SIZE}, **_only())
    assert (model.num_features, model.num_layers) == (12, 3)
    layers = {name: model.get_param_layer_id(name) for name, _ in model.named_parameters()}
    assert layers["transformer.patch_embed.proj.weight"] == 0
    assert layers["transformer.blocks.1.mlp.fc1.weight"] == 2
    assert len(model.learnable_params) == len(layers)


@pytest.mark.parametrize(
    ("build", "transformer", "flags", "message"),
    [
        (create_transformer_token_handler_model, {}, FLAGS[2:], "flatten_tokens and average_tokens are true"),
        (create_transformer_token_handler_model, {}, FLAGS[:1], "return_cls_token=true.*transformer.pool=token"),
        (create_transformer_token_handler_model, {}, FLAGS[1:2], "return_cls_and_other_tokens=true.*pool=token"),
        (create_vitransformer_token_handler_model, {}, (), r"transformer.patch=\[16, 16\]"),
    ],
)
def test_token_handler__names_keys_that_do_not_fit(build, transformer, flags, message):
    with pytest.raises(ConfigError, match=message):
        build(create_vit("tiny", depth=1, **transformer), **_only(*flags))


def test_token_handler__needs_a_network_that_gives_tokens():
    with pytest.raises(ConfigError, match="transformer is a Linear; expected one that gives tokens"):
        create_transformer_token_handler_model(torch.nn.Linear(2, 2), **_only())
