from __future__ import annotations

import pytest
import torch

from eztorch.datasets import SampleFailure, collate, multiple_samples_collate
from eztorch.utils.errors import DataError

FAILURE = SampleFailure(idx=4, path="/data/bad.mp4", decoder="pyav", reason="no frames", epoch=2)


def sample(idx: int, shape=(3, 2, 4, 4), **more):
    clip = torch.full(shape, idx, dtype=torch.uint8)
    return {"input": clip, "label": idx, "idx": idx, "clip_start": 0.5, "video_name": f"v{idx}.mp4", **more}


def test_collate__stacks_samples():
    batch = collate([sample(1, time_difference=True), sample(2, time_difference=False)])
    assert batch["input"].shape == (2, 3, 2, 4, 4)
    assert batch["input"].dtype == torch.uint8
    assert batch["label"].tolist() == [1, 2]
    assert batch["clip_start"].dtype == torch.float32
    assert batch["time_difference"].tolist() == [True, False]
    assert batch["video_name"] == ["v1.mp4", "v2.mp4"]
    assert "failures" not in batch


def test_collate__makes_a_list_of_batches_of_a_list_of_views():
    views = [sample(i) | {"input": [torch.zeros(2), torch.ones(3)], "clip_start": [0.0, float(i)]} for i in (1, 2)]
    batch = collate(views)
    assert [tuple(view.shape) for view in batch["input"]] == [(2, 2), (2, 3)]
    assert [start.tolist() for start in batch["clip_start"]] == [[0, 0], [1, 2]]
    assert batch["idx"].tolist() == [1, 2]


@pytest.mark.parametrize("function", [collate, multiple_samples_collate])
def test_collate__lays_the_clips_of_videos_one_behind_the_other(function):
    videos = [[sample(i, clip_index=c) for c in range(3)] for i in (7, 8)]
    batch = function(videos)
    assert batch["idx"].tolist() == [7, 7, 7, 8, 8, 8]
    assert batch["clip_index"].tolist() == [0, 1, 2, 0, 1, 2]
    assert batch["input"].shape[0] == 6


def test_collate__gathers_failures_of_evaluation_and_of_training():
    stand_in = sample(1, failures=[FAILURE, FAILURE._replace(idx=5)])
    batch = collate([stand_in, FAILURE._replace(idx=6), [sample(2), sample(3)]])
    assert batch["idx"].tolist() == [1, 2, 3]
    assert [failure.idx for failure in batch["failures"]] == [4, 5, 6]


def test_collate__of_failures_alone_has_no_input():
    assert collate([FAILURE]) == {"input": None, "failures": [FAILURE]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"input": torch.zeros(3, 5, 4, 4)},
            r"\(3, 2, 4, 4\) of v1.mp4; \(3, 5, 4, 4\) of v2.mp4.*UniformTemporalSubsample",
        ),
        ({"input": torch.zeros(3, 2, 4, 5)}, r"\(3, 2, 4, 5\) of v2.mp4.*RandomResizedCrop or UniformCropVideo"),
        ({"input": [torch.zeros(3)]}, r"\[\(3,\)\] of v2.mp4"),
    ],
)
def test_collate__says_which_samples_do_not_stack(bad, message):
    with pytest.raises(DataError, match=message):
        collate([sample(1), sample(2) | bad])


def test_collate__says_which_numbers_of_views_differ():
    one, two = sample(1) | {"input": [torch.zeros(2)]}, sample(2) | {"input": [torch.zeros(2)] * 2}
    with pytest.raises(DataError, match=r"\[\(2,\)\] of v1.mp4; \[\(2,\), \(2,\)\] of v2.mp4.*one number of clips"):
        collate([one, two])


def test_collate__says_which_sample_lacks_a_key():
    with pytest.raises(DataError, match=r"v2.mp4 has no 'weight', which v1.mp4 has"):
        collate([sample(1, weight=1), sample(2)])
