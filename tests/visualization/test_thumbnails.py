import numpy as np
import pytest
import torch

from eztorch.datasets.decoders import VideoDecodeError
from eztorch.datasets.failures import SampleFailure
from eztorch.visualization.thumbnails import frames_of, reason_tile, sample_thumbnail, to_display


class Samples:
    """A data set of one item, or of an error."""

    def __init__(self, item):
        self.item = item

    def __getitem__(self, index):
        assert index == 7
        if isinstance(self.item, Exception):
            raise self.item
        return self.item


CLIP = torch.randint(0, 256, (3, 9, 12, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_to_display__undoes_the_normalisation():
    pixels = torch.randint(0, 256, (3, 4, 5, 6), dtype=torch.uint8)
    assert torch.equal(to_display(pixels, None), pixels)
    assert torch.equal(to_display(pixels.float(), None), pixels)
    assert torch.equal(to_display(pixels.float() / 255, None), pixels)
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]
    normalised = (pixels / 255 - torch.tensor(mean).view(3, 1, 1, 1)) / torch.tensor(std).view(3, 1, 1, 1)
    assert torch.equal(to_display(normalised, (mean, std)), pixels)
    differences = to_display(torch.tensor([-255.0, 0, 255]).view(3, 1, 1), None)
    assert differences.flatten().tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    "item",
    [
        {"input": CLIP},
        {"input": [CLIP, CLIP + 1]},
        [{"input": CLIP}, {"input": CLIP + 1}],
        {"input": CLIP.float() / 255},
    ],
    ids=["clip", "views", "clips of a video", "floats"],
)
def test_sample_thumbnail__shows_the_middle_of_the_first_clip(item):
    shown = sample_thumbnail(Samples(item), 7, height=12)
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, CLIP[:, 4:5].permute(1, 2, 3, 0))


def test_sample_thumbnail__undoes_a_normalisation_of_an_image():
    normalised = (CLIP[:, 0] / 255 - 0.5) / 0.25
    shown = sample_thumbnail(Samples({"input": normalised}), 7, height=12, scale=([0.5] * 3, [0.25] * 3))
    np.testing.assert_array_equal(shown[0], CLIP[:, 0].permute(1, 2, 0))


@pytest.mark.parametrize(
    "item",
    [
        SampleFailure(7, "a.mp4", "pyav", "moov atom not found", 0),
        [SampleFailure(7, "a.mp4", "pyav", "moov atom not found", 0)],
        VideoDecodeError("a.mp4", "pyav", "moov atom not found"),
        FileNotFoundError("a.mp4"),
    ],
)
def test_sample_thumbnail__of_what_cannot_be_read_is_grey_with_the_reason(item):
    shown = sample_thumbnail(Samples(item), 7, height=80)
    assert shown.shape == (1, 80, 80, 3)
    assert (shown[0, -1] == 128).all()
    assert (shown > 200).any()  # letters
    np.testing.assert_array_equal(shown, sample_thumbnail(Samples(item), 7, height=80))


def test_sample_thumbnail__other_errors_are_not_hidden():
    with pytest.raises(KeyError):
        sample_thumbnail(Samples({}), 7)


def test_sample_thumbnail__reads_videos_of_a_datamodule(video_tree):
    from eztorch.datamodules import Kinetics200DataModule

    sampler = {"_target_": "eztorch.datasets.clip_samplers.ConstantClipsPerVideoSampler", "clip_duration": 1}
    split = {
        "dataset": {"datadir": str(video_tree / "val")},
        "global_batch_size": 1,
        "clip_sampler": {**sampler, "clips_per_video": 2},
    }
    module = Kinetics200DataModule(datadir=video_tree, val=split, decoder="pyav")
    shown = sample_thumbnail(module.dataset("val"), 0, height=20, num_frames=3)
    assert shown.shape[:2] == (3, 20)
    assert shown.std() > 5


def test_frames_of__are_spread_evenly():
    clip = torch.arange(17, dtype=torch.uint8).view(1, 17, 1, 1).expand(3, 17, 4, 6)
    assert frames_of(clip, height=4, num_frames=5)[:, 0, 0, 0].tolist() == [0, 4, 8, 12, 16]
    assert frames_of(clip, height=4, num_frames=99).shape == (17, 4, 6, 3)
    assert frames_of(clip[:1], height=8, num_frames=1).shape == (1, 8, 12, 3)
    assert frames_of(clip[:2].clone(), height=4)[0, 0, 0].tolist() == [8, 8, 8]


def test_reason_tile__differs_by_the_reason():
    assert (reason_tile("one") != reason_tile("two")).any()
