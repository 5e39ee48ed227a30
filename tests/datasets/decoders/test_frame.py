import multiprocessing
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch

from eztorch.datasets.decoders import Clip, FrameDecoder, VideoDecodeError
from eztorch.utils.errors import ConfigError

EIGHT = {"subsample_type": "uniform", "num_samples": 8}


def as_frames(clip: Clip) -> np.ndarray:
    return clip.video.permute(1, 2, 3, 0).numpy()


@pytest.mark.parametrize("fps", [30, 25, "30000/1001", 29.97, Fraction(12)])
def test_span__is_the_frames_from_ceil_fps_start_to_ceil_fps_end(media, fps):
    decoder, exact = FrameDecoder(fps=fps), Fraction(str(fps))
    rng = np.random.default_rng(0)
    with decoder.open(str(media("frames"))) as reader:
        assert reader.fps == exact
        assert reader.duration == 60 / exact
        for _ in range(50):
            start, length = (Fraction(int(n), 997) for n in rng.integers((0, 200), (1500, 900)))
            first, stop = -(-exact * start // 1), -(-exact * min(start + length, reader.duration) // 1)
            assert reader.get_clip(start, start + length).indices.tolist() == list(range(int(first), int(stop)))


def test_num_frames__is_counted_when_the_annotations_do_not_know_it(media):
    with FrameDecoder().open(str(media("frames"))) as reader:
        assert reader.num_frames == 60


def test_num_frames__of_the_annotations_is_taken(media):
    with FrameDecoder().open(str(media("frames")), num_frames=30) as reader:
        assert reader.num_frames == 30
        assert reader.duration == 1
        assert reader.get_clip(Fraction(0), Fraction(2)).indices.tolist() == list(range(30))


@pytest.mark.parametrize(("pattern", "first"), [("img_{index:05d}.png", 0), ("{index}.jpg", 1), ("f{index:03}.jpg", 7)])
def test_names__can_be_chosen(tmp_path, write_frames, draw, pattern, first):
    folder = write_frames(tmp_path / "video", draw(12), name=pattern, first_index=first)
    (folder / "thumbnail.jpg").write_bytes(b"")
    with FrameDecoder(frame_name=pattern, first_index=first).open(str(folder)) as reader:
        assert reader.num_frames == 12
        clip = reader.get_clip(Fraction(0), Fraction(1))
    if pattern.endswith("png"):
        assert np.array_equal(as_frames(clip), draw(12))
    assert clip.video.shape == (3, 12, 48, 64)


def test_pictures__in_grey_become_three_channels(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((8, 8), 77, np.uint8)).save(tmp_path / "00000001.jpg")
    with FrameDecoder().open(str(tmp_path)) as reader:
        assert torch.equal(
            reader.get_clip(Fraction(0), Fraction(1)).video, torch.full((3, 1, 8, 8), 77, dtype=torch.uint8)
        )


@pytest.mark.parametrize(("io", "decode"), [(4, 4), (2, 0), (0, 3)])
def test_threads__change_nothing_but_the_speed(media, io, decode):
    spans = [(Fraction(0), Fraction(1)), (Fraction(1, 2), Fraction(2))]
    with FrameDecoder(frame_filter=EIGHT).open(str(media("frames"))) as serial:
        expected = serial.get_clips(spans)
    with FrameDecoder(frame_filter=EIGHT, num_threads_io=io, num_threads_decode=decode).open(
        str(media("frames"))
    ) as threaded:
        clips = threaded.get_clips(spans)
    assert all(torch.equal(a.video, b.video) for a, b in zip(clips, expected, strict=True))


def _decode_in_child(path, answers):
    with FrameDecoder(num_threads_io=2, num_threads_decode=2).open(path) as reader:
        answers.put(int(reader.get_clip(Fraction(0), Fraction(1)).video.sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_threads__live_on_in_a_forked_worker(media):
    path, context = str(media("frames")), multiprocessing.get_context("fork")
    here, there = context.Queue(), context.Queue()
    _decode_in_child(path, here)  # the threads of this process are up before the fork
    child = context.Process(target=_decode_in_child, args=(path, there))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads; loaders do it
        child.start()
    try:
        assert there.get(timeout=30) == here.get(timeout=30)
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize("threads", [0, 2])
def test_missing_frame__is_an_error_that_names_it(tmp_path, write_frames, draw, threads):
    folder = write_frames(tmp_path / "video", draw(12))
    (folder / "00000006.jpg").unlink()
    with FrameDecoder(num_threads_io=threads, num_threads_decode=threads).open(str(folder)) as reader:
        assert reader.num_frames == 12
        assert reader.get_clip(Fraction(0), Fraction(1, 6)).indices.tolist() == [0, 1, 2, 3, 4]
        with pytest.raises(VideoDecodeError, match=r"00000006\.jpg cannot be read: No such file"):
            reader.get_clip(Fraction(0), Fraction(1))


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"no picture"])
def test_damaged_frame__is_an_error_that_names_it(tmp_path, write_frames, draw, damage):
    folder = write_frames(tmp_path / "video", draw(3))
    file = folder / "00000002.jpg"
    file.write_bytes(damage(file.read_bytes()))
    with FrameDecoder().open(str(folder)) as reader, pytest.raises(VideoDecodeError, match=r"00000002\.jpg is damaged"):
        reader.get_clip(Fraction(0), Fraction(1))


def test_frames_of_different_sizes__are_an_error(tmp_path, write_frames, draw):
    folder = write_frames(tmp_path / "video", draw(2))
    write_frames(tmp_path / "other", draw(2)[:, ::2, ::2])
    (tmp_path / "other" / "00000002.jpg").replace(folder / "00000002.jpg")
    with FrameDecoder().open(str(folder)) as reader, pytest.raises(VideoDecodeError, match="not all of the same size"):
        reader.get_clip(Fraction(0), Fraction(1))


def test_folder_without_frames__says_what_the_first_would_be(tmp_path):
    (tmp_path / "1.jpg").write_bytes(b"")
    with pytest.raises(VideoDecodeError, match=r"holds no frame; the first would be .*00000001\.jpg"):
        FrameDecoder().open(str(tmp_path))


def test_video_file__is_not_a_folder(media):
    with pytest.raises(VideoDecodeError, match="no such folder; decoder 'frame' reads folders"):
        FrameDecoder().open(str(media("gop12.mp4")))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"fps": 0}, "fps=0 must be a positive number"),
        ({"fps": "fast"}, "fps='fast' must be a positive number"),
        ({"num_threads_io": -1}, "num_threads_io=-1 must not be negative"),
        ({"frame_name": "frame.jpg"}, "frame_name='frame.jpg' must hold one field, index"),
        ({"frame_name": "{number:05d}.jpg"}, "must hold one field, index"),
        ({"time_difference_prob": 20}, "time_difference_prob=20 must be a probability"),
    ],
)
def test_arguments__that_cannot_be_used_are_named(args, message):
    with pytest.raises(ConfigError, match=message):
        FrameDecoder(**args)
