import pytest
import torch
import torchvision

from eztorch.models.trunks import create_swin, create_video_network
from eztorch.optimizers import optimizer_factory
from eztorch.utils.errors import ConfigError


def test_swin__computes_what_torchvision_does():
    torch.manual_seed(0)
    theirs = torchvision.models.swin_t(num_classes=5).eval()
    ours = create_swin("swin_t", num_classes=5).eval()
    ours.model.load_state_dict(theirs.state_dict())
    features = create_swin("swin_t").eval()
    features.model.load_state_dict({k: v for k, v in theirs.state_dict().items() if not k.startswith("head.")})
    images = torch.randn(2, 3, 48, 32)
    with torch.no_grad():
        assert torch.equal(ours(images), theirs(images))
        assert torch.equal(theirs.head(features(images)), theirs(images))


@pytest.mark.parametrize("create", [lambda: create_swin("swin_t"), lambda: create_video_network("swin3d_t")])
def test_swin__layers_are_the_blocks_of_all_stages(create):
    with torch.device("meta"):
        network = create()
    first = 1 if network.model.__class__.__name__ == "SwinTransformer" else 0  # the patch embedding
    stages = {0: 1, 2: 3, 4: 5, 6: 11}  # layer of the first block of each stage
    for place, layer in stages.items():
        assert network.get_param_layer_id(f"model.features.{place + first}.0.attn.qkv.weight") == layer
        if place:  # patches are merged by what belongs to the block before
            assert network.get_param_layer_id(f"model.features.{place + first - 1}.reduction.weight") == layer - 1
    assert network.get_param_layer_id("model.norm.weight") == 12
    assert network.num_layers == 13


def test_swin__learns_with_layer_wise_rates():
    with torch.device("meta"):
        network = create_swin("swin_t", num_classes=5)
    optimizer, _ = optimizer_factory("sgd", 1.0, network, layer_decay_lr=0.5, scheduler=None)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    assert {group["lr"] for group in optimizer.param_groups} == {0.5**i for i in range(14)}


@pytest.mark.parametrize(
    "create",
    [
        lambda **options: create_swin("swin_t", **options),
        lambda **options: create_swin("swin_v2_t", **options),
        lambda **options: create_video_network("swin3d_t", **options),
    ],
)
def test_swin__drops_branches_with_a_probability_that_grows_with_the_depth(create):
    def rates(**options):
        with torch.device("meta"):
            return [m.p for m in create(**options).modules() if isinstance(m, torchvision.ops.StochasticDepth)]

    assert rates(stochastic_depth_prob=0.0) == [0.0] * 12
    last = rates()[-1]
    assert rates(stochastic_depth_prob=last) == pytest.approx(rates())  # as torchvision does it
    assert rates(stochastic_depth_prob=0.44) == pytest.approx([0.04 * i for i in range(12)])
    with pytest.raises(ConfigError, match=r"stochastic_depth_prob=1\.5; expected a share"):
        create(stochastic_depth_prob=1.5)


class Weights(dict):
    name = "IMAGENET1K_V1"

    def get_state_dict(self, **arguments):
        return dict(self)


def test_swin__pretrained_weights_load_but_for_another_classifier(monkeypatch):
    with torch.device("cpu"):
        source = torchvision.models.swin_t()
    monkeypatch.setattr("eztorch.models.trunks.swin.get_model_weights", lambda name: [Weights(source.state_dict())])
    for classes in (0, 5, 1000):
        model = create_swin("swin_t", num_classes=classes, pretrained=True).model
        assert torch.equal(model.features[1][0].attn.qkv.weight, source.features[1][0].attn.qkv.weight)
        if classes == 1000:
            assert torch.equal(model.head.weight, source.head.weight)
    with pytest.raises(ConfigError, match="do not fit these options"):
        create_swin("swin_v2_t", pretrained=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "swin_tiny"}, "name='swin_tiny' is not known.*Did you mean 'swin_"),
        ({"name": "swin_t", "num_classes": -1}, "num_classes=-1"),
        ({"name": "swin_t", "windw": 1}, "swin_t: .*windw"),
        ({"name": "swin_t", "pretrained": "IMAGENET"}, "pretrained='IMAGENET' is not known.*IMAGENET1K_V1"),
    ],
)
def test_swin__names_the_key_at_fault(arguments, message):
    with torch.device("meta"), pytest.raises(ConfigError, match=message):
        create_swin(**arguments)
