"""The dataset on real files: frames chosen by number and by time, variable frame rates, segments, targets."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from eztorch.datasets import LabeledVideo, LabeledVideoDataset, LabeledVideoPaths, SampleAddress, collate
from eztorch.datasets.clip_samplers import (
    ConstantClipsPerVideoSampler,
    ConstantFrameSampler,
    DenseFrames,
    IntervalFrames,
    RandomFrameSampler,
    SparseFrames,
    WholeVideoClipSampler,
)
from eztorch.datasets.decoders import Segment, build_decoder
from eztorch.utils.errors import DataError

NUM_FRAMES = 24
# Frame t is shown from 40 t ms on in the first half and from 120 t - 960 in the second: 25 and 8 1/3 frames a second.
TIMES = [40 * t if t < 12 else 480 + 120 * (t - 12) for t in range(NUM_FRAMES)]


def grey(number: int) -> np.ndarray:
    return np.full((16, 16, 3), 20 + 9 * number, np.uint8)


def numbers(clip: torch.Tensor) -> list[int]:
    """Read the numbers of frames off their grey; a clip is (C, T, H, W)."""
    return ((clip.float().mean((0, 2, 3)) - 20) / 9).round().int().tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """even.mp4 at 25 frames a second, uneven.mp4 at a variable rate, and the folder of frames `pictures`."""
    folder = tmp_path_factory.mktemp("grey")
    for name, times in (("even.mp4", [40 * t for t in range(NUM_FRAMES)]), ("uneven.mp4", TIMES)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"g": "6", "crf": "10", "bf": "0"})
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
            stream.codec_context.time_base = Fraction(1, 1000)
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(grey(number), format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    (folder / "pictures").mkdir()
    for number in range(NUM_FRAMES):
        Image.fromarray(grey(number)).save(folder / f"pictures/{number + 1:08d}.jpg")
    return folder


def read(folder, sampler, *videos, decoder="pyav", **arguments) -> LabeledVideoDataset:
    paths = LabeledVideoPaths([LabeledVideo(*video) for video in videos], path_prefix=folder)
    return LabeledVideoDataset(paths, sampler, build_decoder(decoder, arguments))


def test_frames__chosen_by_number_are_those_of_the_rule(folder):
    samples = read(folder, ConstantFrameSampler(DenseFrames(4, 5), 2, 3), ["even.mp4", 1])[0]
    assert [numbers(sample["input"]) for sample in samples] == [[0, 5, 10, 15]] * 3 + [[8, 13, 18, 23]] * 3
    assert [(sample["clip_index"], sample["aug_index"]) for sample in samples] == [(j // 3, j % 3) for j in range(6)]
    assert samples[0]["clip_start"] == 0
    assert samples[0]["clip_end"] == pytest.approx(0.64)
    assert samples[3]["clip_start"] == pytest.approx(0.32)
    assert samples[3]["clip_end"] == pytest.approx(0.96)


def test_frames__of_a_folder_of_pictures_are_the_same(folder):
    sampler = ConstantFrameSampler(SparseFrames(6))
    encoded = read(folder, sampler, ["even.mp4", 1])[0]
    pictures = read(folder, sampler, ["pictures", 1, NUM_FRAMES], decoder="frame", fps=25)[0]
    assert numbers(encoded["input"]) == numbers(pictures["input"]) == [0, 4, 8, 12, 16, 20]
    assert encoded["clip_end"] == pytest.approx(pictures["clip_end"])


def test_frames__of_a_video_shorter_than_the_clip_repeat(folder):
    sample = read(folder, ConstantFrameSampler(DenseFrames(8, 8)), ["even.mp4", 1])[0]
    # 57 frames are needed and 24 are there: each counts three times, the middle start is 8.
    assert numbers(sample["input"]) == [place // 3 for place in range(8, 65, 8)]
    assert (sample["clip_start"], sample["clip_end"]) == (pytest.approx(0.08), pytest.approx(0.88))


def test_views__of_frames_are_lists_and_drawn_by_the_address(folder):
    dataset = read(folder, RandomFrameSampler(DenseFrames(4, 2), num_clips=2), ["even.mp4", 1])
    found = [[numbers(view) for view in dataset[SampleAddress(epoch, 0)]["input"]] for epoch in range(20)]
    assert found == [[numbers(view) for view in dataset[SampleAddress(epoch, 0)]["input"]] for epoch in range(20)]
    assert all(view == list(range(view[0], view[0] + 8, 2)) for sample in found for view in sample)
    assert len({str(sample) for sample in found}) > 10
    sample = dataset[0]
    assert sample["clip_index"] == [0, 1]
    assert len(sample["clip_start"]) == len(sample["time_difference"]) == 2
    assert [view.shape for view in collate([sample, dataset[SampleAddress(1, 0)]])["input"]] == [(2, 3, 4, 16, 16)] * 2


class TestVariableFrameRate:
    """Rules of frames count frames, whatever their times; samplers of times, and they alone, keep to the seconds."""

    def test_rules__count_frames(self, folder):
        sampler = ConstantFrameSampler(DenseFrames(4, 4), temporal_crops=2)
        first, second = read(folder, sampler, ["uneven.mp4", 1])[0]
        assert numbers(first["input"]) == [0, 4, 8, 12]
        assert numbers(second["input"]) == [11, 15, 19, 23]
        # The same number of frames, three times the time: the times say so, from the time stamps.
        assert first["clip_start"] == 0
        assert second["clip_start"] == pytest.approx(0.44)
        assert second["clip_end"] - second["clip_start"] > 2.3 * (first["clip_end"] - first["clip_start"])

    def test_rules__of_segments_cut_the_frames_not_the_time(self, folder):
        sample = read(folder, ConstantFrameSampler(SparseFrames(4)), ["uneven.mp4", 1])[0]
        assert numbers(sample["input"]) == [0, 6, 12, 18]

    def test_rules__of_intervals_take_the_average_rate(self, folder):
        dataset = read(folder, ConstantFrameSampler(IntervalFrames(4, interval=4)), ["uneven.mp4", 1])
        with dataset.decoder.open(str(folder / "uneven.mp4")) as reader:
            assert reader.fps == pytest.approx(Fraction(NUM_FRAMES) / reader.duration)
            expected = IntervalFrames(4, interval=4).crop(NUM_FRAMES, reader.fps, 0, 1).tolist()
        assert numbers(dataset[0]["input"]) == expected

    def test_times__keep_to_the_seconds(self, folder):
        first, second = read(folder, ConstantClipsPerVideoSampler("0.48", 2), ["uneven.mp4", 1])[0]
        assert numbers(first["input"]) == list(range(12))
        assert len(numbers(second["input"])) == 4
        assert second["clip_end"] - second["clip_start"] == pytest.approx(0.48)


def test_whole_video__with_a_uniform_filter_keeps_the_floor_of_a_linspace(folder):
    keep = {"subsample_type": "uniform", "num_samples": 8}
    sample = read(folder, WholeVideoClipSampler(), ["pictures", 1, NUM_FRAMES], decoder="frame", frame_filter=keep)[0]
    assert numbers(sample["input"]) == np.linspace(0, NUM_FRAMES - 1, 8).astype(int).tolist()


@pytest.mark.parametrize("segment", [Segment(8, 16, "frames"), Segment(Fraction("0.32"), Fraction("0.64"), "seconds")])
@pytest.mark.parametrize(("decoder", "path"), [("pyav", "even.mp4"), ("frame", "pictures")])
def test_segment__is_the_whole_video_to_the_sampler(folder, segment, decoder, path):
    arguments = {"decoder": decoder, **({"fps": 25} if decoder == "frame" else {})}
    video = [path, 1, NUM_FRAMES, segment]
    chosen = read(folder, ConstantFrameSampler(DenseFrames(4, 1), 3), video, **arguments)[0]
    assert [numbers(sample["input"])[0] for sample in chosen] == [8, 10, 12]
    assert [sample["clip_start"] for sample in chosen] == pytest.approx([0, 0.08, 0.16])
    timed = read(folder, ConstantClipsPerVideoSampler("0.16", 2), video, **arguments)[0]
    assert [numbers(sample["input"]) for sample in timed] == [[8, 9, 10, 11], [12, 13, 14, 15]]


def test_targets__of_the_annotation_stand_in_the_sample(folder):
    targets = {"verb": 3, "noun": 17}
    dataset = read(folder, ConstantFrameSampler(DenseFrames(2, 1)), ["even.mp4", 3, None, None, targets])
    batch = collate([dataset[0], dataset[0]])
    assert {key: batch[key].tolist() for key in ("label", "verb", "noun")} == {
        "label": [3, 3],
        "verb": [3, 3],
        "noun": [17, 17],
    }
    assert dataset.labels.tolist() == [3]


def test_targets__of_several_labels_are_a_weight_for_every_class(folder):
    dataset = read(folder, ConstantFrameSampler(DenseFrames(2, 1), 2), ["even.mp4", (0.0, 1.0, 1.0)])
    batch = collate([dataset[0]])
    assert batch["label"].dtype == torch.float32
    assert batch["label"].tolist() == [[0, 1, 1], [0, 1, 1]]
    with pytest.raises(DataError, match="several labels"):
        _ = dataset.labels


def test_labels__are_known_without_reading_a_video(tmp_path):
    dataset = read(tmp_path, WholeVideoClipSampler(), ["absent.mp4", 2], ["absent.avi"])
    assert dataset.labels.tolist() == [2, -1]
    assert dataset.labels.dtype == np.int64
