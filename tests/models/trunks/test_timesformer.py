import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from eztorch.models.trunks import create_timesformer, create_transformer_token_handler_model, create_vit
from eztorch.models.trunks.timesformer import DividedBlock
from eztorch.models.weights import load_tensors
from eztorch.utils.errors import ConfigError

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}


def tiny(**options):
    torch.manual_seed(0)
    return create_timesformer(**{**TINY, "input_size": (4, 32, 32), **options}).eval()


def test_timesformer__has_the_published_parameters_and_cost():
    # Table 2 of the paper: 121.4 M; 0.59 TFLOPs of three crops.
    with torch.device("meta"):
        network = create_timesformer("base", num_classes=400).eval()
        clips = torch.empty(1, 3, 8, 224, 224)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(121.4, rel=0.005)
    with FlopCounterMode(display=False) as counter:
        network(clips)
    assert 3 * counter.get_total_flops() / 2e12 == pytest.approx(0.59, abs=0.005)


def test_divided_block__attends_over_time_then_over_space():
    torch.manual_seed(0)
    block = DividedBlock(8, num_heads=2, mlp_ratio=4.0, drop_path=0.0).eval()
    batch, times, places = 2, 3, 4
    x = torch.randn(batch, 1 + times * places, 8)
    expected = x.clone()
    grid = expected[:, 1:].view(batch, times, places, 8)
    with torch.no_grad():
        for b in range(batch):
            for n in range(places):
                row = grid[b, :, n].clone()[None]
                grid[b, :, n] += block.temporal_fc(block.temporal_attn(block.temporal_norm1(row)))[0]
            answers = []
            for t in range(times):
                frame = torch.cat([expected[b, :1], grid[b, t]])[None]
                seen = block.attn(block.norm1(frame))[0]
                answers.append(seen[0])
                grid[b, t] += seen[1:]
            expected[b, 0] += torch.stack(answers).mean(dim=0)
        expected += block.mlp(block.norm2(expected))
        torch.testing.assert_close(block(x, times), expected)


def test_timesformer__begins_as_the_transformer_for_images_of_each_frame():
    images = create_vit("tiny", **TINY, pool="token", positions="learned", input_size=(48, 48)).eval()
    network = tiny(input_size=(4, 48, 48))
    report = load_tensors(network, images.state_dict(), strict=False)
    assert all("temporal_" in name or name == "time_embed" for name in report.missing)
    frame = torch.randn(2, 3, 48, 48)
    still = frame[:, :, None].expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(network(still), images(frame))
    tokens = network.tokens(still)[:, 1:].unflatten(1, (4, 9))
    torch.testing.assert_close(tokens, images.tokens(frame)[:, None, 1:].expand(-1, 4, -1, -1))
    clips = torch.randn(2, 3, 4, 48, 48)
    torch.testing.assert_close(network(clips.flip(2)), network(clips))  # no order of frames as yet
    copied = network.blocks[1]
    assert torch.equal(copied.temporal_attn.qkv.weight, images.blocks[1].attn.qkv.weight)
    assert torch.equal(copied.temporal_norm1.bias, images.blocks[1].norm1.bias)
    torch.nn.init.eye_(copied.temporal_fc.weight)
    torch.nn.init.normal_(network.time_embed)
    assert not torch.allclose(network(clips.flip(2)), network(clips))


def test_timesformer__own_weights_are_not_overwritten_by_copies():
    source, other = tiny(), tiny()
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    other.load_state_dict(source.state_dict())
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in source.state_dict().items())


def test_timesformer__interpolates_positions_of_another_length_and_size():
    source = tiny()
    torch.nn.init.normal_(source.time_embed)
    larger = tiny(input_size=(8, 64, 64))
    report = load_tensors(larger, source.state_dict())
    assert set(report.interpolated) == {"pos_embed", "time_embed"}
    clips = torch.randn(1, 3, 8, 64, 64)
    torch.testing.assert_close(larger(clips), source(clips), rtol=1e-4, atol=1e-5)


def test_token_handler__gives_the_tokens_of_timesformer():
    network = tiny()
    handler = create_transformer_token_handler_model(network, return_cls_token=False, average_tokens=True)
    clips = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(handler(clips), network.tokens(clips)[:, 1:].mean(dim=1))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"patch": (16, 16)}, r"patch=\[16, 16\]; TimeSformer takes clips"),
        ({"input_size": (8, 30, 32)}, r"\(8, 30, 32\) cannot be cut into patches of \(1, 16, 16\)"),
        ({"name": "bse"}, "Did you mean 'base'"),
    ],
)
def test_timesformer__names_what_cannot_be_used(keys, message):
    with pytest.raises(ConfigError, match=message):
        create_timesformer(**keys)
