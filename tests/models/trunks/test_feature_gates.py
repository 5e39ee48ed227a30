import torch
from torchvision.models import get_model

from eztorch.models.trunks import create_video_network
from eztorch.models.trunks.feature_gates import FeatureGate


def test_feature_gate__weighs_channels_by_a_sigmoid_of_their_averages():
    gate = FeatureGate(3)
    x = torch.randn(2, 3, 2, 4, 5)
    out = gate(x)
    for sample, gated in zip(x, out, strict=True):
        averages = torch.stack([channel.sum() / channel.numel() for channel in sample])
        for c in range(3):
            weight = 1 / (1 + torch.exp(-(gate.fc.weight[c].dot(averages) + gate.fc.bias[c])))
            torch.testing.assert_close(gated[c], sample[c] * weight)


def test_gated_s3d__is_s3d_with_a_gate_at_every_branch_and_takes_its_weights():
    with torch.device("meta"):
        plain = get_model("s3d", weights=None)
        gated = create_video_network("s3d_g", num_classes=400).model
    missing, unexpected = gated.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert all(".fc." in name for name in missing)
    gates = [module for module in gated.modules() if isinstance(module, FeatureGate)]
    assert len(gates) == 1 + 9 * 4
    assert [gate.fc.in_features for gate in gates[:5]] == [192, 64, 128, 32, 32]
    extra = sum(p.numel() for p in gated.parameters()) - sum(p.numel() for p in plain.parameters())
    assert extra == sum(c * c + c for c in (gate.fc.in_features for gate in gates))


def test_gated_s3d__equals_s3d_where_the_gates_are_open():
    torch.manual_seed(0)
    plain, gated = get_model("s3d", weights=None).eval(), create_video_network("s3d_g", num_classes=400).eval()
    gated.model.load_state_dict(plain.state_dict(), strict=False)
    for module in gated.modules():
        if isinstance(module, FeatureGate):
            torch.nn.init.zeros_(module.fc.weight)
            torch.nn.init.constant_(module.fc.bias, 40.0)
    clips = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(gated(clips), plain(clips))
