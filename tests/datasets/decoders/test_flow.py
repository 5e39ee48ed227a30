from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from eztorch.datasets.clip_samplers import DenseFrames, SparseFrames
from eztorch.datasets.decoders import Segment, VideoDecodeError, build_decoder
from eztorch.utils.errors import ConfigError

FIELDS, HEIGHT, WIDTH = 12, 4, 6


@pytest.fixture(scope="module")
def flow():
    """Fields of flow, uint8, shape (T, 2, H, W)."""
    return np.random.default_rng(0).integers(0, 256, (FIELDS, 2, HEIGHT, WIDTH), dtype=np.uint8)


@pytest.fixture(scope="module")
def media(flow, tmp_path_factory):
    """The fields as red and green of one picture, and as grey pictures in two folders; lossless."""
    root = tmp_path_factory.mktemp("flow")
    for folder in ("rg", "rr/u", "rr/v", "x/rr", "y/rr"):
        (root / folder).mkdir(parents=True)
    for number, (u, v) in enumerate(flow, start=1):
        noise = np.full_like(u, 77)
        Image.fromarray(np.stack([u, v, noise], axis=-1)).save(root / f"rg/{number:05d}.png")
        for part, folders in ((u, ("rr/u", "x/rr")), (v, ("rr/v", "y/rr"))):
            for folder in folders:
                Image.fromarray(part).save(root / folder / f"{number:05d}.png")
    return root


LAYOUTS = {
    "RG": ("rg", {"flow": "RG", "frame_name": "{index:05d}.png"}),
    "RR, a folder a direction in each video": ("rr", {"flow": "RR", "frame_name": "{flow_direction}/{index:05d}.png"}),
    "RR, all videos in a folder a direction": (
        "{flow_direction}/rr",
        {"flow": "RR", "frame_name": "{index:05d}.png", "flow_folder_x": "x", "flow_folder_y": "y"},
    ),
}


def stacked(flow, firsts, neighbours, stop=FIELDS):
    """The slow way: u and v of each neighbour, one after the other."""
    stacks = []
    for first in firsts:
        fields = [flow[min(first + offset, stop - 1)] for offset in range(neighbours)]
        stacks.append(np.concatenate(fields))
    return torch.from_numpy(np.stack(stacks, axis=1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clips__stack_neighbours_in_the_channels(media, flow, layout):
    path, arguments = LAYOUTS[layout]
    uniform = {"subsample_type": "uniform", "num_samples": 3}
    decoder = pickle.loads(pickle.dumps(build_decoder("flow", {"fps": 10, "frame_filter": uniform, **arguments})))
    with decoder.open(str(media / path)) as reader:
        assert (reader.num_frames, reader.duration, reader.decoder) == (FIELDS, Fraction(6, 5), "flow")
        first, last = reader.get_clips([(Fraction(0), Fraction(1, 2)), (Fraction(0), Fraction(2))])
    assert (first.video.shape, first.video.dtype) == ((10, 3, HEIGHT, WIDTH), torch.uint8)
    assert first.indices.tolist() == [0, 2, 4]
    assert torch.equal(first.video, stacked(flow, [0, 2, 4], 5))
    assert torch.equal(last.video, stacked(flow, [0, 5, 11], 5))


def test_frames__that_a_sampler_chose_with_their_neighbours_are_one_stack_each(media, flow):
    decoder = build_decoder("flow", {"frame_name": "{index:05d}.png", "flow_neighbours": 3})
    generator = torch.Generator().manual_seed(0)
    chosen = SparseFrames(4, neighbours=3).random(FIELDS, Fraction(30), generator)
    with decoder.open(str(media / "rg")) as reader:
        (clip,) = reader.get_frames([chosen])
    assert clip.video.shape == (6, 4, HEIGHT, WIDTH)
    assert torch.equal(clip.video, stacked(flow, chosen[::3].tolist(), 3))
    with decoder.open(str(media / "rg"), segment=Segment(0, 2, "frames")) as reader:  # shorter than a stack
        (clip,) = reader.get_frames([DenseFrames(2, 1, neighbours=3).random(2, Fraction(30), generator)])
    assert torch.equal(clip.video, stacked(flow, [0, 0], 3, stop=2))


def test_frames__of_a_sampler_without_the_neighbours_are_an_error(media):
    decoder = build_decoder("flow", {"frame_name": "{index:05d}.png", "flow_neighbours": 3})
    with decoder.open(str(media / "rg")) as reader:
        for chosen in ([0, 4, 8], [0, 1]):
            with pytest.raises(
                ConfigError, match=r"not stacks of 3 in a row. Tell it clip_sampler.frames.neighbours=3"
            ):
                reader.get_frames([chosen])


@pytest.mark.parametrize("segment", [Segment(2, 6, "frames"), Segment(Fraction(1, 5), Fraction(3, 5), "seconds")])
def test_segment__a_stack_does_not_reach_behind_it(media, flow, segment):
    decoder = build_decoder("flow", {"fps": 10, "frame_name": "{index:05d}.png", "flow_neighbours": 3})
    with decoder.open(str(media / "rg"), num_frames=FIELDS, segment=segment) as reader:
        assert reader.num_frames == 4
        clip = reader.get_clip(Fraction(0), Fraction(1))
    assert torch.equal(clip.video, stacked(flow, [2, 3, 4, 5], 3, stop=6))


def test_missing__fields_are_named(media, tmp_path):
    decoder = build_decoder("flow", {"flow": "RR", "frame_name": "{flow_direction}/{index:05d}.png"})
    with decoder.open(str(media / "rr"), num_frames=20) as reader, pytest.raises(VideoDecodeError, match=r"00013.png"):
        reader.get_clip(Fraction(1, 3), Fraction(2, 3))
    with pytest.raises(VideoDecodeError, match=r"neither its path nor frame_name has the field {flow_direction}"):
        build_decoder("flow", {"flow": "RR"}).open(str(media / "rr"))
    with pytest.raises(VideoDecodeError, match="there is no such folder"):
        decoder.open(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flow": "GB"}, r"flow='GB' is not known; expected one of \['RG', 'RR'\]"),
        ({"flow_neighbours": 0}, r"flow_neighbours=0; expected a whole number of at least 1"),
        ({"time_difference_prob": 0.2}, r"optical flow has no time difference"),
        ({"flow_neighbors": 5}, r"unknown key 'flow_neighbors'. Did you mean 'flow_neighbours'"),
    ],
)
def test_bad_arguments__are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        build_decoder("flow", arguments)
