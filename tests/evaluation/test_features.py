import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from eztorch.datasets.failures import SampleFailure
from eztorch.evaluation import extract_features
from eztorch.utils.errors import ConfigError


class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
        self.modes = []

    def validation_step(self, batch, batch_idx):
        self.modes.append((self.training, torch.is_grad_enabled()))
        return None if batch["input"] is None else {"h": self.trunk(batch["input"])}


def make_batch(idx, labels=None):
    generator = torch.Generator().manual_seed(int(sum(idx)))
    labels = labels or [i % 3 for i in idx]
    return {
        "input": torch.randn(len(idx), 3, generator=generator),
        "label": torch.tensor(labels),
        "idx": torch.tensor(idx),
    }


def test_extract_features__gives_one_row_a_sample_with_its_clips_averaged():
    module = Module().eval()
    batches = [make_batch([4, 4, 2]), make_batch([2, 0])]
    h = torch.cat([module.trunk(batch["input"]) for batch in batches]).detach()
    found = extract_features(module, batches)
    assert found.idx.tolist() == [0, 2, 4]
    assert found.labels.tolist() == [0, 2, 1]
    torch.testing.assert_close(found.features, torch.stack([h[4], (h[2] + h[3]) / 2, (h[0] + h[1]) / 2]))


def test_extract_features__leaves_module_and_generators_as_they_were():
    module = Module()
    module.trunk[2].eval()  # frozen by the user
    modes = [part.training for part in module.modules()]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    loader = DataLoader([{"input": torch.ones(3), "label": 0, "idx": i} for i in range(5)], 2, shuffle=True)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first = extract_features(module, loader)
    assert [part.training for part in module.modules()] == modes
    assert module.modes == [(False, False)] * 3
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[name])
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert after[:2] == before[:2]
    assert torch.equal(after[2], before[2])
    assert torch.equal(extract_features(module, loader).features, first.features)


def test_extract_features__puts_the_module_back_after_an_error():
    module = Module()
    with pytest.raises(KeyError):
        extract_features(module, [{"input": torch.ones(2, 3)}])
    assert module.training


def test_extract_features__skips_a_batch_of_which_nothing_could_be_read():
    found = extract_features(Module(), [{"input": None, "failures": []}, make_batch([3, 1])])
    assert found.idx.tolist() == [1, 3]


def test_extract_features__is_float32_in_any_context():
    found = extract_features(
        Module(), [make_batch([0, 1])], context=lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    assert found.features.dtype == torch.float32


def test_extract_features__errors_say_what_there_is():
    with pytest.raises(ConfigError, match=r"input_name='q'.*returns \['h'\]"):
        extract_features(Module(), [make_batch([0])], input_name="q")
    with pytest.raises(ConfigError, match="no sample"):
        extract_features(Module(), [])


def test_extract_features__of_nothing_readable_says_what_is_wrong_with_the_first():
    failures = [SampleFailure(idx, f"v{idx}.mp4", "pyav", "no such file", 0) for idx in range(2)]
    with pytest.raises(ConfigError, match=r"None of 2 could be read, the first: v0\.mp4: no such file\."):
        extract_features(Module(), [{"input": None, "failures": failures}])
