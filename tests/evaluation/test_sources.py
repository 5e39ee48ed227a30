import pytest
import torch
from torch import nn

from eztorch.evaluation.sources import FeatureSource, SourceFeatures, pool_features, read_source
from eztorch.models.trunks import create_vit
from eztorch.utils.errors import ConfigError


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(nn.Conv3d(3, 4, 1), nn.Conv3d(4, 5, 1))
        self.unused = nn.Linear(2, 2)

    def forward(self, x):
        return self.blocks(x).mean(dim=(2, 3, 4))


def test_source_features__are_those_of_the_modules_pooled():
    trunk, clips = Trunk(), torch.randn(2, 3, 2, 4, 4)
    features = SourceFeatures(trunk, [read_source(text) for text in ("output", "blocks.0", "1/average_max")])
    found = features(clips)
    maps = trunk.blocks[0](clips)
    last = trunk.blocks[1](maps)
    expected = [last.mean((2, 3, 4)), maps.mean((2, 3, 4)), last.mean((2, 3, 4)), last.amax((2, 3, 4))]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))
    assert features.widths == [5, 4, 10]


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_source_features__of_tokens(pool):
    torch.manual_seed(0)
    trunk = create_vit(patch=[4, 4], embed_dim=12, depth=2, num_heads=2, pool=pool).eval()
    texts = ["blocks.1/tokens", "blocks.1/average"] + (["blocks.1/class"] if pool == "token" else [])
    seen = []
    trunk.blocks[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    features = SourceFeatures(trunk, [read_source(text) for text in texts])
    found = features(torch.randn(2, 3, 8, 8))
    first = int(pool == "token")
    expected = [seen[0][:, first:].mean(1), seen[0].mean(1)] + ([seen[0][:, 0]] if first else [])
    torch.testing.assert_close(found, torch.cat(expected, dim=1))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "name at least one place"),
        (["blokcs.0"], r"no module 'blokcs.0'. Did you mean 'blocks.0'"),
        (["output/avrage"], "Did you mean 'average'"),
    ],
)
def test_source_features__that_are_not_there_are_an_error(texts, message):
    with pytest.raises(ConfigError, match=message):
        SourceFeatures(Trunk(), [read_source(text) for text in texts])


def test_source_features__an_end_of_several_names_is_an_error():
    network = nn.Sequential(nn.Sequential(nn.Identity(), nn.Identity()), nn.Sequential(nn.Identity()))
    with pytest.raises(ConfigError, match=r"0 may be"):
        SourceFeatures(nn.ModuleDict({"a": network, "b": network[0]}), [FeatureSource("0", "average")])


@pytest.mark.parametrize(
    ("text", "message"),
    [("unused", "has not run"), ("output/average_max", r"shape \(2, 5\), for which there is average")],
)
def test_source_features__that_cannot_be_pooled_are_an_error(text, message):
    features = SourceFeatures(Trunk(), [read_source(text)])
    with pytest.raises(ConfigError, match=message):
        features(torch.zeros(2, 3, 1, 2, 2))


def test_pool_features__knows_no_class_token_of_a_network_without_one():
    with pytest.raises(ConfigError, match="average, average_max, tokens"):
        pool_features(torch.zeros(2, 3, 4), FeatureSource("blocks.1", "class"), has_class_token=False)
