"""What every decoder owes to a data set. A new decoder joins by its name in conftest.py."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch

from eztorch.datasets.decoders import Clip, Segment, VideoDecodeError, VideoReader, build_decoder

UNIFORM = {"frame_filter": {"subsample_type": "uniform", "num_samples": 8}}
RANDOM = {"frame_filter": {"subsample_type": "random", "num_samples": 8}}


def open_video(name: str, path: str, **args: object) -> VideoReader:
    return build_decoder(name, args).open(path)


def as_frames(clip: Clip) -> np.ndarray:
    """Shape (T, H, W, 3)."""
    return clip.video.permute(1, 2, 3, 0).numpy()


def frames_that_begin_in(start: Fraction, end: Fraction) -> list[int]:
    return [i for i in range(60) if start <= Fraction(i, 30) < end]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_reader__knows_duration_rate_and_number_of_frames(name, video):
    with open_video(name, video) as reader:
        assert (reader.duration, reader.fps, reader.num_frames) == (Fraction(2), Fraction(30), 60)


def test_clip__of_the_whole_video_is_every_frame_of_it(name, video, frames):
    with open_video(name, video) as reader:
        clip = reader.get_clip(Fraction(0), reader.duration)
    assert clip.video.dtype == torch.uint8
    assert clip.video.shape == (3, 60, 48, 64)
    assert np.array_equal(as_frames(clip), frames)
    assert clip.indices.tolist() == list(range(60))
    assert clip.indices.dtype == torch.int64
    assert clip.pts.tolist() == [i / 30 for i in range(60)]
    assert clip.pts.dtype == torch.float64
    assert clip.time_difference is False


def test_clip__has_the_frames_that_begin_in_its_span(name, video, frames):
    rng = np.random.default_rng(0)
    with open_video(name, video) as reader:
        for _ in range(20):
            start, length = (Fraction(int(n), 1000) for n in rng.integers((0, 40), (1900, 700)))
            clip = reader.get_clip(start, start + length)
            assert clip.indices.tolist() == frames_that_begin_in(start, start + length)
            assert np.array_equal(as_frames(clip), frames[clip.indices.tolist()])


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        pytest.param("10/30", "13/30", [10, 11, 12], id="bounds on frames: the first in, the last out"),
        pytest.param("59/30", "2", [59], id="the last frame"),
        pytest.param("58/30", "9", [58, 59], id="an end behind the video"),
        pytest.param("-1", "2/30", [0, 1], id="a start before the video"),
        pytest.param("2", "3", [59], id="a start at the end"),
        pytest.param("50", "51", [59], id="a start far behind the video"),
        pytest.param("101/300", "102/300", [10], id="shorter than a frame: what is shown at the start"),
        pytest.param("10/30", "10/30", [10], id="empty, on a frame"),
        pytest.param("-2", "-1", [0], id="wholly before the video"),
    ],
)
def test_clip__at_the_edges(name, video, frames, start, end, expected):
    with open_video(name, video) as reader:
        clip = reader.get_clip(Fraction(start), Fraction(end))
    assert clip.indices.tolist() == expected
    assert np.array_equal(as_frames(clip), frames[expected])


def test_frame_filter__keeps_frames_of_the_span(name, video, frames):
    with open_video(name, video, **UNIFORM) as reader:
        clip = reader.get_clip(Fraction(1, 2), Fraction(3, 2))
    expected = [15 + i * 29 // 7 for i in range(8)]
    assert clip.indices.tolist() == expected
    assert np.array_equal(as_frames(clip), frames[expected])


def test_frame_filter__repeats_frames_of_a_short_span(name, video, frames):
    with open_video(name, video, **UNIFORM) as reader:
        clip = reader.get_clip(Fraction(1), Fraction(31, 30))
    assert clip.indices.tolist() == [30] * 8
    assert np.array_equal(as_frames(clip), frames[[30] * 8])


def test_frame_filter__draws_from_the_generator_alike_in_every_decoder(name, video, frames, media):
    spans = [(Fraction(0), Fraction(1)), (Fraction(1, 3), Fraction(2))]
    with open_video(name, video, **RANDOM) as reader, open_video("pyav", str(media("gop12.mp4")), **RANDOM) as other:
        clips, again = reader.get_clips(spans, seeded()), reader.get_clips(spans, seeded())
        others, different = other.get_clips(spans, seeded()), reader.get_clips(spans, seeded(1))
    for clip, repeated, same in zip(clips, again, others, strict=True):
        assert torch.equal(clip.indices, repeated.indices)
        assert torch.equal(clip.indices, same.indices)
        assert np.array_equal(as_frames(clip), frames[clip.indices.tolist()])
    assert any(not torch.equal(clip.indices, drawn.indices) for clip, drawn in zip(clips, different, strict=True))


def test_frame_filter__may_be_a_function(name, video):
    with open_video(name, video, frame_filter=lambda n, generator: torch.tensor([0, n - 1])) as reader:
        assert reader.get_clip(Fraction(1), Fraction(2)).indices.tolist() == [30, 59]


@pytest.mark.parametrize(
    "answer", [torch.tensor([30]), torch.tensor([-1]), torch.tensor([0.0]), torch.tensor([]).long()]
)
def test_frame_filter__that_answers_nonsense_is_not_blamed_on_the_video(name, video, answer):
    with (
        open_video(name, video, frame_filter=lambda n, generator: answer) as reader,
        pytest.raises(ValueError, match="frame filter"),
    ):
        reader.get_clip(Fraction(1), Fraction(2))


@pytest.mark.parametrize("args", [{}, UNIFORM, RANDOM, {**RANDOM, "time_difference_prob": 0.5, "decode_float": True}])
def test_clips__of_one_pass_equal_clips_of_single_calls(name, video, args):
    spans = [(Fraction(s, 10), Fraction(s, 10) + Fraction(3, 5)) for s in (9, 0, 5, 9, 14)]
    with open_video(name, video, **args) as reader:
        generator = seeded()
        merged, single = reader.get_clips(spans, seeded()), [reader.get_clip(*span, generator) for span in spans]
    for one, other in zip(merged, single, strict=True):
        assert torch.equal(one.video, other.video)
        assert torch.equal(one.pts, other.pts)
        assert torch.equal(one.indices, other.indices)
        assert one.time_difference == other.time_difference


def test_clips__of_no_spans_are_none(name, video):
    with open_video(name, video) as reader:
        assert reader.get_clips([]) == []


def test_clips__can_be_changed_without_changing_each_other(name, video):
    span = (Fraction(0), Fraction(1, 2))
    with open_video(name, video) as reader:
        one, other = reader.get_clips([span, span])
        kept = other.video.clone()
        one.video.zero_()
    assert torch.equal(other.video, kept)


def test_decode_float__casts_and_keeps_the_range(name, video):
    span = (Fraction(0), Fraction(1))
    with open_video(name, video, decode_float=True) as floats, open_video(name, video) as integers:
        clip, expected = floats.get_clip(*span), integers.get_clip(*span)
    assert clip.video.dtype == torch.float32
    assert torch.equal(clip.video, expected.video.float())


def test_transform__gets_each_frame_before_they_are_stacked(name, video, frames):
    seen = []

    def crop(frame: torch.Tensor) -> torch.Tensor:
        seen.append((frame.dtype, tuple(frame.shape)))
        return frame[:, 8:24, 16:48]

    with open_video(name, video, transform=crop, **UNIFORM) as reader:
        clip = reader.get_clip(Fraction(0), Fraction(2))
    assert seen == [(torch.uint8, (3, 48, 64))] * 8
    assert np.array_equal(as_frames(clip), frames[clip.indices.tolist(), 8:24, 16:48])


def difference(frames: np.ndarray, index: int) -> np.ndarray:
    """The time difference of one frame by its definition."""
    first = index if index + 1 < len(frames) else len(frames) - 2
    grey = [frames[i].astype(np.float64) @ [0.299, 0.587, 0.114] for i in (first, first + 1)]
    return (grey[0] - grey[1] + 255) / 2


@pytest.mark.parametrize("kept", [[0, 10, 20, 29], [3, 4, 5, 6], [29], [0]], ids=["apart", "in a row", "last", "first"])
def test_time_difference__is_that_to_the_next_frame_of_the_video(name, video, frames, kept):
    args = {"frame_filter": lambda n, generator: torch.tensor(kept), "time_difference_prob": 1.0}
    with open_video(name, video, **args, decode_float=True) as reader, open_video(name, video, **args) as integers:
        clip, rounded = reader.get_clip(Fraction(1), Fraction(2)), integers.get_clip(Fraction(1), Fraction(2))
    assert clip.time_difference is True
    assert clip.indices.tolist() == [30 + k for k in kept]
    expected = np.stack([difference(frames, 30 + k) for k in kept])
    for channel in clip.video:
        np.testing.assert_allclose(channel.numpy(), expected, atol=1e-4)
    assert rounded.video.dtype == torch.uint8
    assert torch.equal(rounded.video, clip.video.round().to(torch.uint8))


def test_time_difference__is_drawn_for_each_clip(name, video):
    spans = [(Fraction(0), Fraction(1, 10))] * 60
    with open_video(name, video, time_difference_prob=0.2) as reader:
        drawn = [clip.time_difference for clip in reader.get_clips(spans, seeded())]
        again = [clip.time_difference for clip in reader.get_clips(spans, seeded())]
    assert 4 <= sum(drawn) <= 22  # 12 expected of 60; outside with a probability of 0.001
    assert drawn == again


def test_decoder__pickles(name, video):
    decoder = build_decoder(name, UNIFORM)
    with decoder.open(video) as one, pickle.loads(pickle.dumps(decoder)).open(video) as other:
        clips = [reader.get_clip(Fraction(0), Fraction(1)) for reader in (one, other)]
    assert torch.equal(clips[0].video, clips[1].video)


def test_error__names_the_path_the_decoder_and_the_reason(name, tmp_path):
    path = str(tmp_path / "missing")
    with pytest.raises(VideoDecodeError, match=r"(?i)no such") as caught:
        build_decoder(name).open(path)
    assert caught.value.path == path
    assert caught.value.decoder == ("pyav" if name == "auto" else name)  # who it was
    assert path in str(caught.value)
    assert caught.value.decoder in str(caught.value)


def test_error__pickles_so_that_it_can_leave_a_worker(name):
    error = pickle.loads(pickle.dumps(VideoDecodeError("a.mp4", name, "it is cut off")))
    assert (error.path, error.decoder, error.reason) == ("a.mp4", name, "it is cut off")
    assert str(error) == f"a.mp4: decoder {name!r} cannot read it: it is cut off"


def test_frames__are_those_of_the_numbers_in_the_order_asked(name, video, frames):
    selections = [np.array([5, 3, 3, 59]), np.array([0]), [58, 3, 20]]
    with open_video(name, video, **UNIFORM) as reader:  # the frame filter is for spans
        clips = reader.get_frames(selections)
    for clip, selection in zip(clips, selections, strict=True):
        assert clip.indices.tolist() == list(selection)
        assert clip.indices.dtype == torch.int64
        assert clip.pts.tolist() == [i / 30 for i in selection]
        assert np.array_equal(as_frames(clip), frames[list(selection)])


def test_frames__of_a_row_equal_the_clip_of_their_span(name, video):
    args = {"time_difference_prob": 0.5, "decode_float": True}
    with open_video(name, video, **args) as reader:
        spans = [(Fraction(first, 30), Fraction(first + 9, 30)) for first in range(0, 50, 5)]
        clips = reader.get_clips(spans, seeded())
        same = reader.get_frames([np.arange(first, first + 9) for first in range(0, 50, 5)], seeded())
    assert len({clip.time_difference for clip in clips}) == 2
    for one, other in zip(clips, same, strict=True):
        assert one.time_difference == other.time_difference
        assert one.video.dtype == other.video.dtype == torch.float32
        assert torch.equal(one.video, other.video)
        assert torch.equal(one.pts, other.pts)


def test_frames__of_no_selections_are_none(name, video):
    with open_video(name, video) as reader:
        assert reader.get_frames([]) == []


@pytest.mark.parametrize("selection", [[60], [0, -1], [], [0.5], [[0, 1]]])
def test_frames__outside_of_the_video_are_an_error(name, video, selection):
    with open_video(name, video) as reader, pytest.raises(ValueError, match="selection"):
        reader.get_frames([[0], selection])


SEGMENTS = [
    pytest.param(Segment(13, 43, "frames"), 13, 43, id="frames"),
    pytest.param(Segment(0, 60, "frames"), 0, 60, id="all frames"),
    pytest.param(Segment(50, 90, "frames"), 50, 60, id="an end behind the video"),
    pytest.param(Segment(59, 60, "frames"), 59, 60, id="one frame"),
    pytest.param(Segment(Fraction(13, 30), Fraction(43, 30), "seconds"), 13, 43, id="seconds, bounds on frames"),
    pytest.param(
        Segment(Fraction(127, 300), Fraction(43, 30), "seconds"), 13, 43, id="seconds, a start between frames"
    ),
    pytest.param(Segment(Fraction(1), Fraction(9), "seconds"), 30, 60, id="seconds, an end behind the video"),
    pytest.param(Segment(Fraction(101, 300), Fraction(102, 300), "seconds"), 10, 11, id="shorter than a frame"),
]


@pytest.mark.parametrize(("segment", "first", "stop"), SEGMENTS)
def test_segment__is_as_if_the_video_were_only_that_part(name, video, frames, segment, first, stop):
    length = stop - first
    with build_decoder(name).open(video, segment=segment) as reader:
        assert (reader.duration, reader.fps, reader.num_frames) == (Fraction(length, 30), Fraction(30), length)
        whole = reader.get_clip(Fraction(0), reader.duration)
        behind = reader.get_clip(reader.duration, reader.duration + 9)
        before, around = reader.get_clips([(Fraction(-1), Fraction(-1, 2)), (Fraction(-1), Fraction(9))])
        (last,) = reader.get_frames([[length - 1, 0]])
        with pytest.raises(ValueError, match="selection"):
            reader.get_frames([[length]])
    assert whole.indices.tolist() == around.indices.tolist() == list(range(length))
    assert whole.pts.tolist() == pytest.approx([i / 30 for i in range(length)], abs=1e-12)
    assert np.array_equal(as_frames(whole), frames[first:stop])
    assert behind.indices.tolist() == [length - 1]
    assert before.indices.tolist() == [0]
    assert np.array_equal(as_frames(last), frames[[stop - 1, first]])


def test_segment__ends_the_time_difference_too(name, video, frames):
    decoder = build_decoder(name, {"time_difference_prob": 1.0, "decode_float": True})
    with decoder.open(video, segment=Segment(10, 20, "frames")) as reader:
        clip = reader.get_clip(Fraction(0), Fraction(1))
    np.testing.assert_allclose(clip.video[0], np.stack([difference(frames[10:20], i) for i in range(10)]), atol=1e-4)


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (Segment(60, 70, "frames"), "from 60 to 70 frames lies outside of the video, which has 60 frames"),
        (Segment(-1, 9, "frames"), "from -1 to 9 frames lies outside"),
        (Segment(9, 9, "frames"), "from 9 to 9 frames lies outside"),
        (Segment(Fraction(5, 2), Fraction(3), "seconds"), "from 2.5 to 3 seconds .* which has 2 seconds"),
    ],
)
def test_segment__outside_of_the_video_says_both(name, video, segment, reason):
    with pytest.raises(VideoDecodeError, match=reason) as caught:
        build_decoder(name).open(video, segment=segment)
    assert caught.value.path == video


def test_segment__of_a_video_whose_number_of_frames_is_known(name, video, frames):
    with build_decoder(name).open(video, 60, segment=Segment(20, 30, "frames")) as reader:
        assert reader.num_frames == 10
        assert np.array_equal(as_frames(reader.get_clip(Fraction(0), Fraction(9))), frames[20:30])
