"""What every head tells, and every trunk with a head of it."""

import pytest
import torch
from torch import nn

from eztorch.models import heads
from eztorch.models.heads import (
    DINOHead,
    IBOTHead,
    LinearHead,
    MLPHead,
    PrototypeHead,
    create_linear3d_head,
    create_video_resnet_head,
    create_video_resnet_temporal_head,
)
from eztorch.models.trunks import create_resnet3d_basic, create_video_head_model

# Head, of 32 channels and 3 classes, and whether it takes maps itself.
HEADS = {
    "Linear3DHead": (lambda: create_linear3d_head(in_features=32, num_classes=3, bn="bn_1D"), True),
    "VideoResNetHead": (lambda: create_video_resnet_head(in_features=32, num_classes=3), True),
    "VideoResNetTemporalHead": (lambda: create_video_resnet_temporal_head(in_features=32, num_classes=3), True),
    "LinearHead": (lambda: LinearHead(input_dim=32, output_dim=3), False),
    "MLPHead": (lambda: MLPHead(input_dim=32, output_dim=3, hidden_dims=8, norm_layer="bn_1D"), False),
    "PrototypeHead": (lambda: PrototypeHead(32, num_prototypes=3), False),
    "IBOTHead": (lambda: IBOTHead(32, hidden_dim=8, bottleneck_dim=4, output_dim=3, norm_layer="bn_1D"), False),
    "DINOHead": (lambda: DINOHead(32, hidden_dim=8, bottleneck_dim=4, output_dim=3, norm_layer="bn_1D"), False),
}


def test_heads__are_all_here():
    assert {name for name in heads.__all__ if name.endswith("Head")} == set(HEADS)


@pytest.mark.parametrize("name", HEADS)
def test_heads__stand_on_a_trunk_tell_their_layers_and_learn(name):
    torch.manual_seed(0)
    make, takes_maps = HEADS[name]
    head, trunk = make(), create_resnet3d_basic(model_depth=10, stem_dim_out=4)
    if not takes_maps:
        trunk = create_video_head_model(trunk, create_video_resnet_head(in_features=32, num_classes=0))
    model = create_video_head_model(trunk, head)
    out = model(torch.randn(2, 3, 2, 32, 32))
    assert out.shape == ((2, 2, 3) if name == "VideoResNetTemporalHead" else (2, 3))
    assert (head.input_dim, head.output_dim, model.num_features) == (32, 3, 3)
    layers = [head.get_param_layer_id(parameter) for parameter, _ in head.named_parameters()]
    assert sorted(set(layers)) == list(range(head.num_layers))
    assert set(head.learnable_params) == set(head.parameters())
    found = [model.get_param_layer_id(parameter) for parameter, _ in model.named_parameters()]
    assert sorted(set(found)) == list(range(model.num_layers))
    out[..., 0].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert next(trunk.parameters()).grad.abs().sum() > 0


@pytest.mark.parametrize("name", HEADS)
def test_heads__come_back_from_their_state(name):
    make, takes_maps = HEADS[name]
    first, second = make().eval(), make().eval()
    for parameter in second.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(5, 32, 2, 3, 3) if takes_maps else torch.randn(5, 32)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))
