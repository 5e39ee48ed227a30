from __future__ import annotations

import pytest
import torch
from torch import nn

from eztorch.models.siamese import keys as keys_of
from eztorch.modules import MomentumTarget, SplitBatchNorm1d, SplitBatchNorm2d, SplitBatchNorm3d
from eztorch.utils.errors import ConfigError

SETTINGS = {"world_size": 1, "shuffle_bn": True, "num_devices": -1, "simulate_n_devices": 2}


def _target() -> MomentumTarget:
    trunk = nn.Sequential(
        nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Flatten(2, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(32, 4)
    )
    return MomentumTarget(trunk, nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))


def test_prepare_target__on_one_device_the_target_normalises_parts_of_the_batch():
    target = _target()
    online = {name: value.clone() for name, value in target.state_dict().items()}
    assert keys_of.prepare_target(target, **SETTINGS) == 2
    kinds = [type(module) for module in target.modules()]
    assert [kinds.count(kind) for kind in (SplitBatchNorm3d, SplitBatchNorm2d, SplitBatchNorm1d)] == [1, 1, 1]
    assert all(torch.equal(value, online.pop(name)) for name, value in target.state_dict().items())
    assert not online

    target.train()
    x = torch.randn(4, 3, 2, 2, 2)
    parts, whole = _target().train(), _target().train()
    for other in (parts, whole):
        other.load_state_dict(target.state_dict())
    z = target.encode(x)[1]
    torch.testing.assert_close(z[0::2], parts.encode(x[0::2])[1])
    torch.testing.assert_close(z[1::2], parts.encode(x[1::2])[1])
    assert (z - whole.encode(x)[1]).abs().max() > 1e-3


@pytest.mark.parametrize("settings", [{"shuffle_bn": False, "simulate_n_devices": 1}, {"world_size": 2}])
def test_prepare_target__leaves_the_networks_where_nothing_is_simulated(settings):
    target = _target()
    before = [type(module) for module in target.modules()]
    assert keys_of.prepare_target(target, **{**SETTINGS, **settings}) == 1
    assert [type(module) for module in target.modules()] == before


@pytest.mark.parametrize("splits", [1, 0])
def test_prepare_target__refuses_to_shuffle_one_part_on_one_device(splits):
    with pytest.raises(ConfigError, match=f"needs simulate_n_devices of at least 2, got {splits}"):
        keys_of.prepare_target(_target(), **{**SETTINGS, "simulate_n_devices": splits})


@pytest.mark.parametrize("shuffle_bn", [True, False])
@pytest.mark.parametrize(("num_devices", "world_size"), [(4, 1), (1, 2), (0, 1)])
def test_prepare_target__names_both_numbers_of_devices(num_devices, world_size, shuffle_bn):
    settings = {**SETTINGS, "num_devices": num_devices, "world_size": world_size, "shuffle_bn": shuffle_bn}
    with pytest.raises(ConfigError, match=rf"num_devices={num_devices}, but the run has {world_size} process"):
        keys_of.prepare_target(_target(), **settings)


def test_check_not_synchronized__refuses_shuffled_batches_with_common_statistics():
    target = MomentumTarget(nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNorm(2)))
    keys_of.check_not_synchronized(target, shuffle_bn=False)
    keys_of.check_not_synchronized(_target(), shuffle_bn=True)
    with pytest.raises(ConfigError, match=r"model\.shuffle_bn=false or trainer\.sync_batchnorm=false"):
        keys_of.check_not_synchronized(target, shuffle_bn=True)


@pytest.mark.parametrize("shuffle_bn", [False, True])
def test_encode__gives_each_view_its_own_rows(shuffle_bn):
    target = MomentumTarget(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), nn.Linear(5, 4))
    views = list(torch.randn(3, 4, 3, 2, 2))
    keys = keys_of.encode(target, views, [[0, 2], [1]], shuffle_bn=shuffle_bn, splits=1)
    assert sorted(keys) == [0, 1, 2]
    for view, key in keys.items():
        torch.testing.assert_close(key, target.projector(target.trunk(views[view])).detach())
        assert not key.requires_grad


def test_encode__views_of_a_pass_share_batch_statistics():
    target = MomentumTarget(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12))).train()
    views = list(torch.randn(2, 4, 3, 2, 2))
    together = keys_of.encode(target, views, [[0, 1]], shuffle_bn=False, splits=1)
    expected = target.encode(torch.cat(views))[1]
    torch.testing.assert_close(torch.cat([together[0], together[1]]), expected)


def test_pending_keys__enter_view_by_view_over_all_batches_of_the_step():
    pending = keys_of.PendingKeys()
    first, second = torch.randn(2, 3, 4), torch.randn(2, 2, 4)  # two views of 3 samples, then of 2
    pending.add(list(first))
    pending.add(list(second))
    taken = pending.take()
    assert torch.equal(taken, torch.cat([first[0], second[0], first[1], second[1]]))
    pending.add(list(second))
    assert torch.equal(pending.take(), second.flatten(0, 1))
