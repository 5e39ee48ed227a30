"""Models of clips out of 2D networks."""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from eztorch.models.trunks import create_frame_model, create_frame_resnet, create_resnet, create_tdn
from eztorch.modules import (
    BrickConv2d,
    LongTermDifference,
    MultiViewFusion,
    TAdaConv2d,
    TemporalConv,
    TemporalShift,
)
from eztorch.optimizers import optimizer_factory
from eztorch.transforms.video import ChannelSampling, GreyST
from eztorch.utils.config import build
from eztorch.utils.errors import ConfigError

GROUPS = Path(__file__).parents[3] / "eztorch/configs/model/trunk"
# What is put into a ResNet-18, and frames of a clip.
MODELS = {
    "tsn": ({}, "mean", 4),
    "trn": ({}, "trn", 4),
    "mtrn": ({}, {"name": "mtrn", "relation_dim": 16, "frame_dim": 8}, 4),
    "tsm": ({"brick": "shift"}, "mean", 4),
    "mvfnet": ({"brick": "fusion", "brick_stages": [3, 4]}, "mean", 4),
    "tada2d": ({"convolution": "tada", "temporal_pool": True}, "mean", 4),
    "tdn": (None, "mean", 10),
}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def network_of(parts, **options) -> nn.Module:
    return create_tdn("resnet18", **options) if parts is None else create_frame_resnet("resnet18", **parts, **options)


@functools.cache
def built(name: str) -> nn.Module:
    torch.manual_seed(0)
    return network_of(MODELS[name][0])


def model_of(name: str, **options) -> nn.Module:
    parts, consensus, frames = MODELS[name]
    num_frames = frames // (5 if parts is None else 1)
    torch.manual_seed(0)
    return create_frame_model(copy.deepcopy(built(name)), consensus, num_frames=num_frames, **options)


def clips_of(name: str, batch: int = 2, size: int = 32) -> torch.Tensor:
    return torch.randn(batch, 3, MODELS[name][2], size, size, generator=torch.Generator().manual_seed(1))


def with_statistics(model: nn.Module) -> nn.Module:
    """Give every normalisation statistics of its own, so that evaluation is no identity."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def group(name: str) -> dict:
    """Compose a group file of the trunks with those before it."""
    tree = yaml.safe_load((GROUPS / f"{name}.yaml").read_text())
    merged: dict = {}
    for default in tree.pop("defaults", []):
        for key, value in (tree if default == "_self_" else group(default)).items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = {**merged[key], **value} if both else value
    return merged or tree


# Parameters in millions where they are published:
# TSM on Something-Something: model zoo of MMAction2, configs/recognition/tsm/README.md; TSN has the same.
# Multi-scale TRN on Something-Something v1: model zoo of MMAction2, configs/recognition/trn/README.md.
# MVFNet on Kinetics-400: the authors' configs/MVFNet/K400/mvf_kinetics400_2d_rgb_r50_dense.py.
# TAda2D: ours.
PUBLISHED = {
    "tsn_r50": (174, 23.87),
    "tsm_r50": (174, 23.87),
    "mtrn_r50": (174, 26.64),
    "mvfnet_r50": (400, 24.34),
    "tada2d_r50": (400, 27.49),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_groups__have_the_published_parameters(name):
    classes, millions = PUBLISHED[name]
    with torch.device("meta"):
        model = build(group(name), num_classes=classes)
    assert count(model) == pytest.approx(millions * 1e6, rel=0.0005)


def test_groups__without_published_parameters_have_what_they_are_made_of():
    resnet50 = 23_508_032
    with torch.device("meta"):
        trn, tdn = build(group("trn_r50")), build(group("tdn_r50"))
    assert count(trn) == resnet50 + (2048 + 1) * 256 + (8 * 256 + 1) * 512
    # The motion's stem and first stage, and in each block of the stages 2 to 4, with c channels of which r = c / 16 are
    # kept: the reduction, a 3 x 3 convolution per channel, two dense ones, the expansion, norms, three taps a channel.
    motion = 12 * 64 * 49 + 2 * 64 + 215_808
    blocks = [(128, 4), (256, 6), (512, 3)]
    long = sum(n * (2 * c * (c // 16) + 9 * (c // 16) + 18 * (c // 16) ** 2 + 6 * (c // 16) + 5 * c) for c, n in blocks)
    assert count(tdn) == resnet50 + motion + long


@pytest.mark.parametrize("name", MODELS)
def test_frame_model__gives_features_or_logits_of_clips(name):
    features = model_of(name)
    h = features.eval()(clips_of(name))
    assert h.shape == (2, features.num_features)
    assert not any(key.startswith("fc") for key in features.state_dict())
    logits = model_of(name, num_classes=5, frame_dropout=0.5, dropout=0.5)
    assert logits.num_features == features.num_features
    assert logits.eval()(clips_of(name)).shape == (2, 5)


@pytest.mark.parametrize("name", MODELS)
def test_frame_model__computes_each_clip_by_itself(name):
    model = with_statistics(model_of(name))
    clips = clips_of(name, batch=3)
    one_by_one = torch.cat([model(clip[None]) for clip in clips])
    assert torch.allclose(model(clips), one_by_one, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_frame_model__gives_the_same_in_channels_last(name):
    model = with_statistics(model_of(name, num_classes=5))
    nn.init.normal_(model.fc.weight)
    clips = clips_of(name)
    expected = model(clips)
    model = model.to(memory_format=torch.channels_last)
    assert torch.allclose(model(clips.to(memory_format=torch.channels_last_3d)), expected, atol=1e-3, rtol=1e-3)


def test_frame_model__feeds_channels_last_clips_without_a_copy():
    class Network(nn.Module):
        num_features = 3

        def forward(self, x):
            self.seen = x
            return x.mean(dim=(2, 3))

    network = Network()
    clips = torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    features = create_frame_model(network)(clips)
    assert network.seen.data_ptr() == clips.data_ptr()
    assert network.seen.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(network.seen[5], clips[1, :, 1])
    assert torch.allclose(features, clips.mean(dim=(2, 3, 4)))


@pytest.mark.parametrize("name", MODELS)
def test_frame_model__trains_and_saves(name, tmp_path):
    model = model_of(name, num_classes=5)
    loss = nn.functional.cross_entropy(model(clips_of(name)), torch.tensor([1, 3]))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = model_of(name, num_classes=5).eval()
    other.load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))
    assert torch.equal(other(clips_of(name)), model.eval()(clips_of(name)))


@pytest.mark.parametrize("name", MODELS)
def test_frame_model__computes_in_bfloat16(name):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(model_of(name).eval()(clips_of(name))).all()


@pytest.mark.parametrize("name", ["tsn", "tada2d"])
def test_frame_model__of_a_still_is_the_2d_network_where_it_begins_as_that(name):
    model = with_statistics(model_of(name))
    image = create_resnet("resnet18", num_classes=0).eval()
    image.load_state_dict({key: model.network.state_dict()[key] for key in image.state_dict()})
    stills = torch.randn(2, 3, 1, 32, 32)
    for length in (1, 6):
        assert torch.allclose(model(stills.expand(-1, -1, length, -1, -1)), image(stills[:, :, 0]), atol=1e-4)


@pytest.mark.parametrize("name", ["tsm", "mvfnet"])
def test_frame_model__of_a_still_is_not_the_2d_network_where_frames_have_zeros_beside_them(name):
    model = with_statistics(model_of(name))
    image = create_resnet("resnet18", num_classes=0).eval()
    image.load_state_dict({key: model.network.state_dict()[key] for key in image.state_dict()})
    stills = torch.randn(2, 3, 1, 32, 32)
    assert not torch.allclose(model(stills.expand(-1, -1, 4, -1, -1)), image(stills[:, :, 0]), atol=1e-2)


@pytest.mark.parametrize("name", ["tsm", "mvfnet", "tada2d"])
def test_frame_model__sees_the_order_of_frames(name):
    model = with_statistics(model_of(name))
    for module in model.modules():
        if hasattr(module, "expand"):
            nn.init.normal_(module.expand.weight)  # the calibration has learnt something
    clips = clips_of(name)
    assert not torch.allclose(model(clips), model(clips[:, :, [1, 0, 3, 2]]), atol=1e-3)
    tsn = with_statistics(model_of("tsn"))
    assert torch.allclose(tsn(clips), tsn(clips[:, :, [1, 0, 3, 2]]), atol=1e-4)


def test_frame_model__takes_clips_of_another_length():
    model = with_statistics(model_of("tsm"))
    first = model(clips_of("tsm"))
    long = torch.randn(1, 3, 6, 32, 32)
    assert torch.allclose(model(long), copy.deepcopy(model)(long))
    assert torch.equal(model(clips_of("tsm")), first)


@pytest.mark.parametrize("transform", [ChannelSampling("TC"), ChannelSampling("TC+2"), GreyST()])
def test_frame_model__takes_clips_whose_channels_are_of_several_frames(transform):
    model = with_statistics(model_of("tsn"))
    clips = torch.randn(2, 3, 6, 32, 32)
    changed = transform(clips)
    features = model(changed)
    assert features.shape == (2, 512)
    by_frame = torch.stack([model.network(changed[:, :, t]) for t in range(changed.shape[2])]).mean(dim=0)
    assert torch.allclose(features, by_frame, atol=1e-4)
    # A network that averages frames has no notion of order; with channels of several frames it has.
    assert not torch.allclose(model(transform(clips.flip(2))), features, atol=1e-3)


def test_frame_model__drops_features_of_each_frame_or_of_the_clip():
    class Ones(nn.Module):
        num_features = 2000

        def forward(self, x):
            return x.new_ones(len(x), 2000)

    torch.manual_seed(0)
    clips = torch.zeros(1, 3, 4, 2, 2)
    frames = create_frame_model(Ones(), frame_dropout=0.5)
    assert set(frames(clips).unique().tolist()) == {0.0, 0.5, 1.0, 1.5, 2.0}
    whole = create_frame_model(Ones(), num_classes=1, dropout=0.5)
    nn.init.ones_(whole.fc.weight)
    assert whole(clips) != 2000
    assert whole.eval()(clips) == 2000


def test_partial_bn__freezes_every_normalisation_but_the_first():
    model = model_of("tada2d", num_classes=5, partial_bn=True)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer, _ = optimizer_factory("sgd", 0.1, model, scheduler=None)
    for mode in (True, False, True):
        model.train(mode)
        norms = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        }
        assert [name for name, module in norms.items() if module.training] == (["network.bn1"] if mode else [])
    model(clips_of("tada2d")).square().sum().backward()
    optimizer.step()
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    of_norms = {f"{name}.{key}" for name, module in norms.items() for key in module.state_dict()}
    assert changed & of_norms == {f"network.bn1.{key}" for key in model.network.bn1.state_dict()}
    assert {"network.conv1.weight", "fc.weight"} <= changed
    assert not {f"{name}.weight" for name in norms if name != "network.bn1"} & {
        name for name, p in model.named_parameters() if p.requires_grad
    }
    assert len(model.learnable_params) == sum(p.requires_grad for p in model.parameters())


def test_partial_bn__stays_after_the_conversion_to_synchronised_norms():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model_of("tsm", partial_bn=True)).train()
    norms = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert [norm.training for norm in norms] == [True] + [False] * (len(norms) - 1)


@pytest.mark.parametrize(("name", "layers"), [("tsn", 10), ("mtrn", 10), ("tdn", 10), ("tada2d", 10)])
def test_frame_model__tells_the_layers_of_its_parameters(name, layers):
    model = model_of(name, num_classes=5)
    found = {key: model.get_param_layer_id(key) for key, _ in model.named_parameters()}
    assert model.num_layers == layers
    assert sorted(set(found.values())) == list(range(layers))
    assert found["fc.weight"] == layers - 1
    optimizer, _ = optimizer_factory("sgd", 0.1, model, layer_decay_lr=0.5, scheduler=None)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    assert model_of("tsn").num_layers == 9
    assert model_of("trn").num_layers == 10


class AllBricks(nn.Sequential):
    """Every brick on a few channels."""

    num_features = 8

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 8, 3),
            *(TemporalShift(8), TemporalConv(8), MultiViewFusion(8, 0.5), LongTermDifference(8, 4)),
            BrickConv2d(TAdaConv2d(8, 8, 3), TemporalShift(8, 4)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


@pytest.mark.parametrize("consensus", ["mean", "mtrn"])
def test_frame_model__exports_and_compiles(consensus):
    torch.manual_seed(0)
    model = with_statistics(create_frame_model(AllBricks(), consensus, num_frames=4, num_classes=5))
    nn.init.normal_(model.fc.weight)
    clips = torch.randn(2, 3, 4, 12, 12)
    with torch.no_grad():
        expected = model(clips)
        exported = torch.export.export(model, (clips,)).module()
        assert torch.allclose(exported(clips), expected, atol=1e-5)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(clips), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": nn.Flatten()}, "a Flatten does not tell its num_features"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"consensus": "trm"}, "consensus.name='trm' is not known.*Did you mean 'trn'"),
        ({"consensus": {"name": "mtrn", "relations": 3}, "num_frames": 4}, "unknown key 'relations'"),
        ({"consensus": {"num_relations": 3}}, "consensus=.*expected a name, or a mapping of a name and options"),
        ({"consensus": "trn"}, "num_frames=None; relations need"),
    ],
)
def test_frame_model__errors_name_the_argument(arguments, message):
    network = create_resnet("resnet18", num_classes=0)
    with pytest.raises(ConfigError, match=message):
        create_frame_model(**{"network": network, **arguments})


def test_frame_model__refuses_what_it_cannot_take():
    tdn = model_of("tdn")
    with pytest.raises(ConfigError, match=r"a multiple of 5 frames T, and was given \(1, 3, 8, 32, 32\)"):
        tdn(torch.zeros(1, 3, 8, 32, 32))
    with pytest.raises(ConfigError, match=r"takes clips .* with T frames, and was given \(1, 3, 32, 32\)"):
        model_of("tsn")(torch.zeros(1, 3, 32, 32))
    classifier = create_frame_model(create_resnet("resnet18", num_classes=7))
    with pytest.raises(ConfigError, match=r"gives \(7,\) for an image, and its num_features is 512"):
        classifier(torch.zeros(1, 3, 2, 32, 32))


def test_frame_model__takes_a_consensus_of_ones_own():
    spec = {"_target_": "eztorch.modules.TemporalRelation", "scales": [2], "relation_dim": 7}
    model = create_frame_model(create_resnet("resnet18", num_classes=0), spec, num_frames=3)
    assert model(torch.zeros(2, 3, 3, 32, 32)).shape == (2, 7)
