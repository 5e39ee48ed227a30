import torch
from torch import nn

from eztorch.modules import batch_norms, keep_frozen


class Holder(nn.Module):
    """Keeps its batch normalisations frozen."""

    def __init__(self, parameters):
        super().__init__()
        self.parameters_too = parameters
        self.network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.BatchNorm2d(4))
        self.train()

    def train(self, mode=True):
        super().train(mode)
        keep_frozen(batch_norms(self.network), parameters=self.parameters_too)
        return self


def states(module):
    return [(type(norm), norm.training, norm.weight.requires_grad) for norm in batch_norms(module)]


def test_keep_frozen__is_true_after_every_change_of_the_mode():
    module = Holder(parameters=True)
    for mode in (True, False, True):
        assert states(module.train(mode)) == [(nn.BatchNorm2d, False, False)] * 2
        assert module.network[2].training is mode
    assert module.network[0].weight.requires_grad


def test_keep_frozen__leaves_scales_to_learn_where_it_is_asked_to():
    assert states(Holder(parameters=False)) == [(nn.BatchNorm2d, False, True)] * 2


def test_keep_frozen__survives_the_conversion_to_synchronised_normalisations():
    module = nn.SyncBatchNorm.convert_sync_batchnorm(Holder(parameters=True))
    assert states(module) == [(nn.SyncBatchNorm, False, False)] * 2
    assert states(module.train()) == [(nn.SyncBatchNorm, False, False)] * 2
    before = module.network[1].running_mean.clone()
    module.network(torch.randn(2, 3, 4, 4))
    assert torch.equal(module.network[1].running_mean, before)
