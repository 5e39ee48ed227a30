import pytest
import torch
from torch import nn

from eztorch.modules import MomentumTarget


def _online():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return trunk, nn.Linear(4, 2)


def test_momentum_target__starts_as_a_copy_with_its_own_names():
    trunk, projector = _online()
    target = MomentumTarget(trunk, projector)
    expected = {f"trunk.{k}": v for k, v in trunk.state_dict().items()}
    expected |= {f"projector.{k}": v for k, v in projector.state_dict().items()}
    state = target.state_dict()
    assert list(state) == list(expected)
    torch.testing.assert_close(dict(state), expected, rtol=0, atol=0)
    assert not {p.data_ptr() for p in target.parameters()} & {p.data_ptr() for p in trunk.parameters()}


def test_momentum_target__encodes_like_the_online_branch_without_gradients():
    trunk, projector = _online()
    target = MomentumTarget(trunk, projector)
    x = torch.randn(5, 3, requires_grad=True)
    h, z = target.encode(x)
    torch.testing.assert_close(h, trunk(x).detach())
    torch.testing.assert_close(z, projector(trunk(x)).detach())
    assert not h.requires_grad
    assert not z.requires_grad


def test_momentum_target__without_projector_projects_by_nothing():
    trunk, _ = _online()
    target = MomentumTarget(trunk)
    h, z = target.encode(torch.randn(5, 3))
    assert z is h
    assert all(name.startswith("trunk.") for name in target.state_dict())
    target.update(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), None, 0.5)


def test_momentum_target__averages_parameters_and_keeps_its_own_buffers():
    trunk, projector = _online()
    target = MomentumTarget(trunk, projector)
    before = {k: v.clone() for k, v in target.state_dict().items()}
    with torch.no_grad():
        for p in (*trunk.parameters(), *projector.parameters()):
            p.add_(1.0)
    trunk(torch.randn(6, 3) + 5.0)  # the online statistics move, the target's do not follow
    target.update(trunk, projector, momentum=0.75)
    for name, value in target.state_dict().items():
        is_buffer = "running" in name or "num_batches" in name
        torch.testing.assert_close(value, before[name] if is_buffer else before[name] + 0.25)


def test_momentum_target__normalises_by_its_own_batches():
    trunk, projector = _online()
    target = MomentumTarget(trunk, projector)
    x = torch.randn(8, 3)
    target.encode(x)
    assert int(target.trunk[1].num_batches_tracked) == 1
    assert int(trunk[1].num_batches_tracked) == 0
    nn.Sequential(target).eval()
    assert not target.trunk[1].training
    target.encode(x)
    assert int(target.trunk[1].num_batches_tracked) == 1
    target.train()
    assert target.trunk[1].training


def test_momentum_target__stays_frozen():
    trunk, projector = _online()
    target = MomentumTarget(trunk, projector)
    model = nn.ModuleDict({"online": trunk, "target": target})

    def frozen():
        return not any(p.requires_grad for p in target.parameters())

    assert frozen()
    assert all(p.requires_grad for p in trunk.parameters())
    target.requires_grad_(True)
    assert frozen()
    model.requires_grad_(True).train()
    assert frozen()
    assert all(p.requires_grad for p in trunk.parameters())


def test_momentum_target__tells_a_branch_of_another_shape():
    trunk, projector = _online()
    target = MomentumTarget(trunk, projector)
    with pytest.raises(ValueError, match="6 target tensors cannot follow 4 online tensors"):
        target.update(trunk, None, 0.9)
