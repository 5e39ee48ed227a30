import pytest
import torch
from torch import nn

from eztorch.models.siamese import SCEModel
from eztorch.models.trunks import create_resnet, create_resnet3d_basic, create_video_head_model, create_vit
from eztorch.models.weights import load_tensors, load_weights, pretrained_trunk
from eztorch.utils.errors import ConfigError

SMALL = {"model_depth": 10, "stem_dim_out": 4}
HEAD = {"_target_": "eztorch.models.heads.create_video_resnet_head", "in_features": 32}


def mlp(**options):
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), **options)


def under(prefix, state):
    return {f"{prefix}{name}": value for name, value in state.items()}


def filled(module, value):
    return {name: torch.full_like(weight, value) for name, weight in module.state_dict().items()}


def test_loading__takes_the_trunk_that_learns_and_not_the_copy_that_follows_it():
    net = mlp()
    state = (
        under("target.trunk.", filled(net, 1)) | under("trunk.", filled(net, 2)) | under("projector.", filled(net, 3))
    )
    report = load_tensors(net, state)
    assert all((value == 2).all() for value in net.state_dict().values())
    assert len(report.other_parts) == 8


@pytest.mark.parametrize("pattern", [r"^(target\.trunk\.)", "target.trunk."])
def test_loading__pattern_says_which_part(pattern):
    net = mlp()
    load_tensors(net, under("target.trunk.", filled(net, 1)) | under("trunk.", filled(net, 2)), pattern=pattern)
    assert all((value == 1).all() for value in net.state_dict().values())


def test_loading__takes_a_copy_where_there_is_nothing_else():
    net = mlp()
    load_tensors(net, under("momentum_trunk.", filled(net, 1)))
    assert all((value == 1).all() for value in net.state_dict().values())


@pytest.mark.parametrize("steps", [3, 4])  # 4 x 16 places are as many as those of a square
def test_loading__a_clip_has_the_positions_of_the_image_at_every_time(steps):
    options = {"depth": 1, "positions": "learned", "pool": "token"}
    image = create_vit("tiny", input_size=(64, 64), **options)
    clip = nn.ModuleDict({"model": create_vit("tiny", patch=(2, 16, 16), input_size=(2 * steps, 64, 64), **options)})
    load_tensors(clip, image.state_dict())
    assert torch.equal(clip["model"].pos_embed[:, 1:], image.pos_embed[:, 1:].repeat(1, steps, 1))


def test_loading__pattern_that_matches_nothing_or_cannot_be_read():
    net = mlp()
    state = under("trunk.", net.state_dict())
    with pytest.raises(ConfigError, match=r"matches no name of .* begin with trunk\."):
        load_tensors(net, state, pattern="^backbone")
    with pytest.raises(ConfigError, match="is no regular expression"):
        load_tensors(net, state, pattern="^(trunk")


def test_loading__a_network_with_a_head_takes_the_network_and_its_classifier():
    source = create_video_head_model(create_resnet3d_basic(**SMALL), {**HEAD, "num_classes": 5})
    state = under("model.", filled(source, 2))
    same = create_video_head_model(create_resnet3d_basic(**SMALL), {**HEAD, "num_classes": 5})
    assert load_tensors(same, state).missing == []
    other = create_video_head_model(create_resnet3d_basic(**SMALL), {**HEAD, "num_classes": 7})
    report = load_tensors(other, state)
    assert report.missing == ["head.proj.weight", "head.proj.bias"]
    assert report.left_over["model.head.proj.weight"] == "a classifier of other classes, (5, 32) -> (7, 32)"
    alone = create_resnet3d_basic(**SMALL)
    report = load_tensors(alone, state)
    assert (report.missing, report.other_parts) == ([], ["model.head.proj.weight", "model.head.proj.bias"])
    for network in (same.model, other.model, alone):
        assert (network.blocks[0].conv.weight == 2).all()


def test_loading__weights_of_the_network_alone_go_into_one_with_a_head():
    net = create_video_head_model(create_resnet3d_basic(**SMALL), {**HEAD, "num_classes": 5})
    before = net.head.proj.weight.clone()
    report = load_tensors(net, under("trunk.model.", filled(net.model, 2)))
    assert report.missing == ["head.proj.weight", "head.proj.bias"]
    assert (net.model.blocks[0].conv.weight == 2).all()
    assert torch.equal(net.head.proj.weight, before)


def test_loading__missing_weights_are_an_error_unless_it_is_not_strict():
    net = mlp()
    state = {name: value for name, value in filled(net, 2).items() if not name.startswith("2.")} | {
        "1.weight": torch.ones(1)
    }
    before = net[2].weight.clone()
    with pytest.raises(
        ConfigError, match=r"lacks 2 of the 4 weights of Sequential: 2\.weight \(nearest in the file: 1\."
    ):
        load_tensors(net, state)
    assert load_tensors(net, state, strict=False).missing == ["2.weight", "2.bias"]
    assert torch.equal(net[2].weight, before)
    assert (net[0].weight == 2).all()


def test_loading__counters_of_batches_may_be_missing():
    net = create_resnet("resnet18", num_classes=0)
    state = {name: value for name, value in net.state_dict().items() if "num_batches" not in name}
    report = load_tensors(net, state)
    assert len(report.missing) == 20


def test_loading__a_shape_that_cannot_be_made_to_fit_is_an_error_and_changes_nothing():
    net = mlp()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    other = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3))
    with pytest.raises(ConfigError, match=r"3 weights have a shape .* 0\.weight: \(9, 4\) -> \(8, 4\)"):
        load_tensors(net, other.state_dict(), strict=False)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_loading__no_match_shows_the_nearest_names_and_the_known_formats():
    with pytest.raises(ConfigError, match=r"no weight of .* belongs to Sequential.*PySlowFast, mmaction2, solo-learn"):
        load_tensors(mlp(), {"embedding.table": torch.ones(2), "norm.scale": torch.ones(2)})
    with pytest.raises(ConfigError, match=r"Nearest names \(network ~ file\): first\.weight ~ fist\.weights"):
        load_tensors(nn.ModuleDict({"first": nn.Linear(2, 2)}), {"fist.weights": torch.ones(2, 2)})


def test_loading__a_layer_of_the_file_is_not_taken_for_any_layer_of_the_network():
    network = create_resnet("resnet18", num_classes=0)
    with pytest.raises(ConfigError, match="no weight of a state dict belongs to ResNet"):
        load_tensors(network, {"backbone.scale.weight": torch.zeros(64)}, strict=False)
    assert torch.equal(network.bn1.weight, torch.ones(64))


def test_loading__a_network_of_another_kind_does_not_pass_for_the_same():
    with pytest.raises(ConfigError):
        load_tensors(create_vit("tiny", depth=1), create_resnet("resnet18").state_dict())
    with pytest.raises(ConfigError, match="cannot be made to fit"):
        load_tensors(create_resnet("resnet18", num_classes=0), create_resnet("resnet50").state_dict())


def test_loading__weights_of_half_precision_take_that_of_the_network():
    net = mlp()
    load_tensors(net, {name: value.bfloat16() for name, value in filled(net, 2).items()})
    assert net[0].weight.dtype == torch.float32
    assert (net[0].weight == 2).all()


def test_loading__blocks_with_more_in_them_are_refused_unless_asked_for():
    """Such as the factors of DINOv2 and BEiT behind each branch."""
    network = create_vit("tiny", depth=2)
    state = network.state_dict() | {f"blocks.{i}.ls{j}.gamma": torch.ones(192) for i in (0, 1) for j in (1, 2)}
    with pytest.raises(ConfigError, match=r"4 weights in its blocks .* no place for: blocks\.0\.ls1\.gamma"):
        load_tensors(network, state)
    assert len(load_tensors(network, state, strict=False).left_over) == 4
    masks = {"blocks.0.attn_mask": torch.zeros(4, 4), "mask_token": torch.zeros(1, 1, 192)}
    assert len(load_tensors(network, network.state_dict() | masks).left_over) == 2


@pytest.mark.parametrize(("positions", "warns"), [("fixed", True), ("sequence", False)])
def test_loading__says_that_the_positions_of_videomae_are_others(tmp_path, caplog, positions, warns):
    network = create_vit("tiny", patch=(2, 16, 16), depth=1, positions=positions)
    state = network.state_dict()
    biases = state.pop("blocks.0.attn.qkv.bias")
    state |= {"blocks.0.attn.q_bias": biases[:192].clone(), "blocks.0.attn.v_bias": biases[384:].clone()}
    torch.save({"model": under("encoder.", state)}, tmp_path / "videomae.pth")
    load_weights(network, tmp_path / "videomae.pth")
    assert any("trunk.positions=sequence" in message for message in caplog.messages) == warns


def test_loading__the_table_has_every_weight_once(tmp_path, caplog):
    net = create_resnet3d_basic(model_depth=18)
    state = under("backbone.", create_resnet("resnet18").state_dict()) | {"projector.0.weight": torch.ones(2)}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "solo.ckpt")
    with caplog.at_level("INFO", logger="eztorch"):
        report = load_weights(net, tmp_path / "solo.ckpt")
    assert len(report.matched) + len(report.left_over) + len(report.other_parts) == len(state)
    lines = caplog.messages[0].splitlines()
    assert lines[0] == f"Weights of ResNet3d from {tmp_path / 'solo.ckpt'} (solo-learn, state_dict)"
    assert [line.split()[0] for line in lines[1:]] == [
        "matched",
        "inflated",
        "interpolated",
        "missing",
        "left",
        "other",
    ]
    assert "120 of 120  blocks.0.conv.weight <- backbone.conv1.weight, " in lines[1]
    assert "20  blocks.0.conv.weight (64, 3, 7, 7) -> (64, 3, 1, 7, 7)" in lines[2]
    assert lines[-1].endswith("projector 1")


def test_pretrained_trunk__a_target_begins_as_the_trunk(tmp_path):
    source = mlp()
    torch.save(under("trunk.", source.state_dict()), tmp_path / "weights.pth")
    trunk = {
        "_target_": "eztorch.models.weights.pretrained_trunk",
        "path": str(tmp_path / "weights.pth"),
        "trunk": {
            "_target_": "torch.nn.Sequential",
            "_args_": [
                {"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 8},
                {"_target_": "torch.nn.ReLU"},
                {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 3},
            ],
        },
    }
    model = SCEModel(trunk=trunk, optimizer=None, queue={"size": 4, "feature_dim": 3})
    for network in (model.trunk, model.target.trunk):
        assert torch.equal(network[2].weight, source[2].weight)
    assert isinstance(pretrained_trunk(mlp(), str(tmp_path / "weights.pth")), nn.Sequential)
