"""Decodes that take too long end, and the error names the video, the decoder and the limit."""

import os
import threading
import time
from fractions import Fraction

import numpy as np
import pytest

from eztorch.datasets.decoders import VideoDecodeError, build_decoder
from eztorch.datasets.decoders.errors import UnreadableError
from eztorch.datasets.decoders.packets import PacketFile
from eztorch.datasets.decoders.timeout import Deadline
from eztorch.utils.errors import ConfigError

SPAN = (Fraction(0), Fraction(1000))


@pytest.fixture(scope="module")
def large(tmp_path_factory, write_video):
    """A video that takes every decoder much longer than 50 ms."""
    noise = np.random.default_rng(0).integers(0, 255, (1, 720, 1280, 3), dtype=np.uint8)
    frames = np.concatenate([np.roll(noise, 8 * t, axis=2) for t in range(24)])
    return str(write_video(tmp_path_factory.mktemp("large") / "large.mp4", frames, preset="ultrafast", crf="20"))


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    end = time.monotonic() + 20
    while any(thread.name == "eztorch-decode" for thread in threading.enumerate()):
        assert time.monotonic() < end, "a thread that was left behind goes on"
        time.sleep(0.01)


def test_limit__that_is_kept_changes_nothing(name, video, frames):
    with build_decoder(name, {"decode_timeout_s": 60}).open(video) as reader:
        assert (reader.duration, reader.fps, reader.num_frames) == (Fraction(2), Fraction(30), 60)
        clip = reader.get_clip(*SPAN)
        (chosen,), (span,) = reader.get_frames([[3, 1]]), reader.get_clips([SPAN])
        assert reader.decoder in (name, "pyav")
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), frames)
    assert np.array_equal(span.video.permute(1, 2, 3, 0), frames)
    assert np.array_equal(chosen.video.permute(1, 2, 3, 0), frames[[3, 1]])


def test_limit__that_is_kept_lets_errors_through(name, tmp_path):
    with pytest.raises(VideoDecodeError, match=r"(?i)no such"):
        build_decoder(name, {"decode_timeout_s": 60}).open(str(tmp_path / "missing"))


def test_no_limit__needs_no_thread(name, video, monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", lambda self: pytest.fail("a thread was started"))
    with build_decoder(name).open(video) as reader:
        reader.get_clip(*SPAN)


def test_large_video__is_given_up_in_time(encoded, large):
    limit = 0.005
    with build_decoder(encoded, {"decode_timeout_s": 60}).open(large) as reader:
        reader._watch._deadline.seconds = limit  # opening may take its time, reading may not
        with pytest.raises(VideoDecodeError, match=f"longer than decode_timeout_s={limit:g} seconds") as caught:
            reader.get_clip(*SPAN)
        assert caught.value.path == large
        assert caught.value.decoder == ("pyav" if encoded == "auto" else encoded)
        if reader._watch.left_behind:
            with pytest.raises(RuntimeError, match="given up"):
                reader.get_clip(*SPAN)


@pytest.mark.parametrize("encoded", ["pyav", "auto"])
def test_file__that_never_delivers_is_given_up(encoded, tmp_path):
    path = tmp_path / "video.mp4"
    os.mkfifo(path)
    begin = time.monotonic()
    with pytest.raises(VideoDecodeError, match=r"longer than decode_timeout_s=0\.2 seconds") as caught:
        build_decoder(encoded, {"decode_timeout_s": 0.2}).open(str(path))
    assert 0.2 <= time.monotonic() - begin < 30
    assert (caught.value.path, caught.value.decoder) == (str(path), "pyav")
    path.open("wb").close()  # lets go of the thread that waits for the first byte


def test_folder__with_a_file_that_never_delivers_is_given_up(tmp_path, write_frames, draw):
    folder = write_frames(tmp_path / "video", draw(3))
    (folder / "00000002.jpg").unlink()
    os.mkfifo(folder / "00000002.jpg")
    with (
        build_decoder("frame", {"decode_timeout_s": 0.2}).open(str(folder)) as reader,
        pytest.raises(VideoDecodeError, match=r"longer than decode_timeout_s=0\.2 seconds") as caught,
    ):
        reader.get_frames([[0, 1, 2]])
    assert (caught.value.path, caught.value.decoder) == (str(folder), "frame")
    (folder / "00000002.jpg").open("wb").close()


def test_pyav__stops_between_packets(media):
    deadline = Deadline(60)
    file = PacketFile(str(media("gop12.mp4")), deadline=deadline)
    packets = file.packets()
    next(packets)
    deadline.seconds = -1
    deadline.restart()
    with pytest.raises(UnreadableError, match="longer than"):
        next(packets)
    file.close()


@pytest.mark.parametrize("limit", [0, -1, "fast", True])
def test_limit__must_be_positive(name, limit):
    with pytest.raises(ConfigError, match=f"decode_timeout_s={limit!r} must be a positive number of seconds"):
        build_decoder(name, {"decode_timeout_s": limit})
