from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from eztorch.datasets import LabeledVideo, LabeledVideoDataset, LabeledVideoPaths, SampleAddress, SampleFailure, collate
from eztorch.datasets.clip_samplers import (
    ConstantClipsPerVideoSampler,
    DenseFrames,
    RandomClipSampler,
    RandomMultiClipSampler,
)
from eztorch.datasets.decoders import Clip, VideoDecodeError
from eztorch.utils.errors import ConfigError


class PatternReader:
    """Videos of 10 s; the frames of a clip hold its start, its end and a number that is drawn."""

    duration, fps, num_frames = Fraction(10), Fraction(25), 250

    def __init__(self, path, calls):
        self.path, self.calls = path, calls

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.calls.append(("close", self.path))

    def get_clips(self, spans, generator=None):
        self.calls.append(("get_clips", [tuple(span) for span in spans]))
        if "torn" in self.path:
            raise VideoDecodeError(self.path, "pattern", "frame 7 is torn")
        clips = []
        for start, end in spans:
            drawn = torch.rand((), generator=generator)
            values = torch.stack([torch.tensor(float(start)), torch.tensor(float(end)), drawn])
            clips.append(Clip(values.view(3, 1, 1, 1), torch.zeros(1), torch.zeros(1), bool(drawn < 0.5)))
        return clips


class PatternDecoder:
    def __init__(self):
        self.calls = []

    def open(self, path, num_frames=None, *, segment=None):
        self.calls.append(("open", path, num_frames, segment))
        if "broken" in path:
            raise VideoDecodeError(path, "pattern", "no video in it")
        return PatternReader(path, self.calls)


def make(*paths: str, sampler=None, **arguments) -> LabeledVideoDataset:
    videos = [LabeledVideo(path, label, 10 * label or None) for label, path in enumerate(paths)]
    return LabeledVideoDataset(
        LabeledVideoPaths(videos, path_prefix="/data"),
        sampler or RandomClipSampler(2.56),
        PatternDecoder(),
        **arguments,
    )


def noise(sample):
    return sample | {"noise": (torch.rand(()).item(), float(np.random.rand()), random.random())}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor) else one[key] == other[key]
        for key in one
    )


def test_sample__says_where_it_comes_from():
    dataset = make("a.mp4", "polka/b.mp4")
    sample = dataset[SampleAddress(3, 1)]
    start, end = sample["input"][:2, 0, 0, 0].tolist()
    assert {key: sample[key] for key in ("label", "idx", "clip_index", "aug_index", "video_name")} == {
        "label": 1,
        "idx": 1,
        "clip_index": 0,
        "aug_index": 0,
        "video_name": "polka/b.mp4",
    }
    assert (sample["clip_start"], sample["clip_end"]) == (pytest.approx(start), pytest.approx(end))
    assert end - start == pytest.approx(2.56, abs=1e-5)
    assert isinstance(sample["time_difference"], bool)
    assert dataset.decoder.calls[0] == ("open", "/data/polka/b.mp4", 10, None)
    assert dataset.decoder.calls[-1] == ("close", "/data/polka/b.mp4")
    assert len(dataset) == 2


def test_sample__is_the_same_wherever_it_is_read():
    paths = [f"{n}.mp4" for n in range(5)]
    first = [make(*paths, transform=noise)[SampleAddress(1, index)] for index in range(5)]
    dataset = make(*paths, transform=noise)
    torch.manual_seed(99)
    again = {index: dataset[SampleAddress(1, index)] for index in (4, 2, 2, 0, 3, 1)}
    assert all(same(first[index], again[index]) for index in range(5))
    assert len({sample["noise"] for sample in first}) == 5


def test_sample__is_drawn_anew_with_epoch_and_seed(monkeypatch):
    dataset = make("a.mp4", transform=noise)
    samples = [dataset[SampleAddress(epoch, 0)] for epoch in (0, 1)]
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    samples.append(dataset[SampleAddress(0, 0)])
    assert len({sample["clip_start"] for sample in samples}) == len({sample["noise"] for sample in samples}) == 3


def test_sample__at_an_index_alone_is_that_of_epoch_0():
    dataset = make("a.mp4", transform=noise)
    assert same(dataset[0], dataset[SampleAddress(0, 0)])


def test_sample__leaves_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    make("a.mp4", transform=noise)[0]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_sample__draws_its_time_and_its_transform_apart():
    pairs = torch.tensor(
        [
            [s["clip_start"], s["noise"][0]]
            for s in (make("a.mp4", transform=noise)[SampleAddress(e, 0)] for e in range(300))
        ]
    )
    assert abs(torch.corrcoef(pairs.T)[0, 1]) < 0.2
    torch.testing.assert_close(pairs.mean(0), torch.tensor([3.72, 0.5]), atol=0.4, rtol=0)


def test_views__are_lists_of_clips_decoded_in_one_call():
    dataset = make("a.mp4", sampler=RandomMultiClipSampler(2.56, num_clips=3))
    sample = dataset[0]
    assert [clip.shape for clip in sample["input"]] == [(3, 1, 1, 1)] * 3
    assert sample["clip_index"] == [0, 1, 2]
    assert sample["clip_start"] == [pytest.approx(clip[0].item()) for clip in sample["input"]]
    assert (sample["label"], sample["idx"], sample["video_name"]) == (0, 0, "a.mp4")
    assert [call[0] for call in dataset.decoder.calls] == ["open", "get_clips", "close"]
    assert len(dataset.decoder.calls[1][1]) == 3


def test_views__of_a_short_video_are_drawn_by_themselves():
    sample = make("a.mp4", sampler=RandomMultiClipSampler(20, num_clips=2))[0]
    assert sample["clip_start"] == [0, 0]
    assert sample["input"][0][2] != sample["input"][1][2]


def test_clips__in_a_row_are_a_list_of_samples_and_augmentations_are_decoded_once():
    def overwrite(sample):
        sample["input"][:2] += 100
        return sample

    dataset = make("a.mp4", sampler=ConstantClipsPerVideoSampler(2, 3, augs_per_clip=2), transform=overwrite)
    samples = dataset[0]
    assert [(sample["clip_index"], sample["aug_index"]) for sample in samples] == [
        (c, a) for c in range(3) for a in range(2)
    ]
    assert [sample["input"][0].item() for sample in samples] == [100, 100, 104, 104, 108, 108]
    assert [call[0] for call in dataset.decoder.calls] == ["open", "get_clips", "close"]
    assert dataset.decoder.calls[1][1] == [(0, 2), (4, 6), (8, 10)]


def test_clips__a_single_one_is_a_sample():
    assert make("a.mp4", sampler=ConstantClipsPerVideoSampler(2, 1))[0]["clip_index"] == 0


@pytest.mark.parametrize(("path", "reason"), [("broken.mp4", "no video in it"), ("torn.mp4", "frame 7 is torn")])
class TestUnreadable:
    @pytest.mark.parametrize("on_error", ["skip", "count_as_wrong"])
    def test_in_evaluation__is_given_itself(self, path, reason, on_error):
        item = make("a.mp4", path, on_error=on_error)[SampleAddress(4, 1)]
        wrong = on_error == "count_as_wrong"
        assert item == SampleFailure(1, f"/data/{path}", "pattern", reason, epoch=4, label=1, counts_as_wrong=wrong)

    def test_in_training__has_a_stand_in_that_carries_it(self, path, reason):
        dataset = make("a.mp4", path, "b.mp4", "c.mp4", training=True)
        items = [dataset[SampleAddress(epoch, 1)] for epoch in range(40)]
        assert {item["idx"] for item in items} == {0, 2, 3}
        assert all(item["label"] == item["idx"] for item in items)
        for epoch, item in enumerate(items):
            assert set(item["failures"]) == {SampleFailure(1, f"/data/{path}", "pattern", reason, epoch, 1)}
            assert same(item, dataset[SampleAddress(epoch, 1)])

    def test_in_training__stand_ins_are_drawn_by_themselves(self, path, reason):
        dataset = make("a.mp4", path, training=True)
        assert dataset[SampleAddress(0, 0)]["clip_start"] != dataset[SampleAddress(0, 1)]["clip_start"]

    def test_in_training__a_stand_in_of_several_clips_carries_it_once(self, path, reason):
        dataset = make("a.mp4", path, sampler=ConstantClipsPerVideoSampler(2, 2), training=True)
        batch = collate([dataset[1], dataset[0]])
        assert batch["idx"].tolist() == [0, 0, 0, 0]
        assert {failure.idx for failure in batch["failures"]} == {1}

    def test_in_training__gives_up_after_ten_in_a_row(self, path, reason):
        dataset = make(path, f"other-{path}", training=True)
        with pytest.raises(VideoDecodeError, match=reason):
            dataset[0]
        assert sum(call[0] == "open" for call in dataset.decoder.calls) == 10

    @pytest.mark.parametrize("training", [True, False])
    def test_raises__where_it_is_told_to(self, path, reason, training):
        with pytest.raises(VideoDecodeError, match=rf"/data/{path}.*{reason}"):
            make("a.mp4", path, training=training, on_error="raise")[1]

    @pytest.mark.parametrize("workers", [0, 1])
    def test_in_a_batch__reaches_the_main_process(self, path, reason, workers):
        loader = DataLoader(make("a.mp4", path), batch_size=2, collate_fn=collate, num_workers=workers)
        (batch,) = loader
        assert batch["idx"].tolist() == [0]
        assert batch["failures"] == [SampleFailure(1, f"/data/{path}", "pattern", reason, 0, 1)]

    def test_in_a_worker__raises_with_its_path(self, path, reason):
        loader = DataLoader(make(path, on_error="raise"), collate_fn=collate, num_workers=1)
        with pytest.raises(RuntimeError, match=rf"(?s)/data/{path}.*{reason}"):
            list(loader)


def fail(sample):
    raise ZeroDivisionError("nothing to divide by")


@pytest.mark.parametrize("workers", [0, 1])
def test_transform__that_fails_names_the_video(workers):
    loader = DataLoader(make("polka/a.mp4", transform=fail, training=True), collate_fn=collate, num_workers=workers)
    with pytest.raises(
        RuntimeError, match=r"/data/polka/a.mp4: ZeroDivisionError while its clips were made: nothing to divide by"
    ):
        list(loader)


def test_transform__that_cannot_be_used_says_so_itself_and_of_which_video():
    def refuse(sample):
        raise ConfigError("size=0; expected a number of at least 1.")

    with pytest.raises(ConfigError, match=r"/data/.*\.mp4: size=0"):
        make("a.mp4", transform=refuse)[0]


def test_on_error__is_one_that_is_known():
    with pytest.raises(ConfigError, match=r"on_error='skips'; expected one of 'skip', .* Did you mean 'skip'"):
        make("a.mp4", on_error="skips")


def test_clip_sampler__that_is_a_rule_alone_is_refused_at_once():
    with pytest.raises(ConfigError, match=r"DenseFrames.* is no clip sampler. A rule such as DenseFrames stands in"):
        make("a.mp4", sampler=DenseFrames(8, 8))
