"""The choice between decoders changes how fast a clip is read, and nothing else."""

from fractions import Fraction

import numpy as np
import pytest

from eztorch.datasets.decoders import VideoDecodeError, auto, build_decoder, choose_decoder
from eztorch.utils.errors import ConfigError

try:
    build_decoder("torchcodec")
    TORCHCODEC = True
except ConfigError:
    TORCHCODEC = False
needs_torchcodec = pytest.mark.skipif(not TORCHCODEC, reason="torchcodec does not run here")

FILES = ["gop12.mp4", "gop1.mp4", "gop250.mp4", "open_gop.mp4", "intra_refresh.mp4", "edit_list.mp4", "rotated.mp4"]
FILES += ["irregular.mkv", "mpeg4_b.avi", "gop12.h264", "gop12.ts", "three.mp4"]
DENSE, SPARSE = np.arange(20, 50), np.array([0, 30, 59])


@pytest.mark.parametrize(
    ("wanted", "packets", "group_length", "decoder"),
    [
        pytest.param(8, 80, 250.0, "pyav", id="sparse"),
        pytest.param(49, 100, 250.0, "pyav", id="just less than half"),
        pytest.param(50, 100, 250.0, "torchcodec", id="half"),
        pytest.param(32, 32, 12.0, "torchcodec", id="all"),
        pytest.param(8, 40, 6.0, "torchcodec", id="sparse in short groups"),
        pytest.param(8, 40, 6.5, "pyav", id="sparse in groups that are just longer"),
    ],
)
def test_choice__follows_from_the_share_of_wanted_frames_and_the_groups(wanted, packets, group_length, decoder):
    assert choose_decoder(wanted, packets, group_length, "torchcodec").decoder == decoder
    assert choose_decoder(wanted, packets, group_length).decoder == "pyav"


def test_folders__go_to_the_frame_decoder(media, truth):
    with build_decoder("auto", {"fps": 15}).open(str(media("frames"))) as reader:
        assert (reader.decoder, reader.duration) == ("frame", Fraction(4))
        (clip,) = reader.get_frames([SPARSE])
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), truth("frames")[SPARSE])


def test_files__go_to_pyav_by_default(media):
    with build_decoder("auto").open(str(media("gop1.mp4"))) as reader:
        reader.get_frames([DENSE])
        assert reader.decoder == "pyav"


@needs_torchcodec
def test_dense_decoder__reads_dense_requests_and_pyav_the_sparse_ones(media):
    with build_decoder("auto", {"dense_decoder": "torchcodec"}).open(str(media("gop12.mp4"))) as reader:
        chosen = []
        for frames in (DENSE, SPARSE, DENSE):
            reader.get_frames([frames])
            chosen.append(reader.decoder)
    assert chosen == ["torchcodec", "pyav", "torchcodec"]


@pytest.mark.parametrize("file", FILES)
def test_frames__are_those_of_pyav_whoever_reads_them(file, media, truth):
    path, frames = str(media(file)), truth(file)
    decoders = [build_decoder("pyav"), build_decoder("auto", {"dense_decoder": "torchcodec"})]
    requests = [np.arange(len(frames)), np.array([0, len(frames) - 1]), np.arange(len(frames) // 2, len(frames))]
    with decoders[0].open(path) as pyav, decoders[1].open(path) as reader:
        for request in requests:
            (expected,), (clip,) = pyav.get_frames([request]), reader.get_frames([request])
            assert clip.indices.tolist() == expected.indices.tolist()
            assert clip.pts.tolist() == expected.pts.tolist()
            assert np.array_equal(clip.video.permute(1, 2, 3, 0), frames[request])


@needs_torchcodec
@pytest.mark.parametrize("file", ["intra_refresh.mp4", "mpeg4_b.avi", "gop12.ts"])
def test_file__that_torchcodec_refuses_goes_to_pyav(file, media):
    with pytest.raises(VideoDecodeError), build_decoder("torchcodec").open(str(media(file))) as refusing:
        refusing.get_frames([DENSE])
    with build_decoder("auto", {"dense_decoder": "torchcodec"}).open(str(media(file))) as reader:
        reader.get_frames([DENSE])
        assert reader.decoder == "pyav"


def test_dense_decoder__that_does_not_run_here_is_replaced(media, truth, monkeypatch):
    monkeypatch.setattr(auto, "torchcodec_runs", lambda: False)
    with build_decoder("auto", {"dense_decoder": "torchcodec"}).open(str(media("gop12.mp4"))) as reader:
        (clip,) = reader.get_frames([DENSE])
        assert reader.decoder == "pyav"
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), truth("gop12.mp4")[DENSE])


def test_error__names_the_decoder_that_gave_up(media, tmp_path):
    data = media("whole.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) // 2])
    for args in ({}, {"dense_decoder": "torchcodec"}):
        with build_decoder("auto", args).open(str(path)) as reader, pytest.raises(VideoDecodeError) as caught:
            reader.get_clip(Fraction(0), Fraction(2))
        assert caught.value.decoder == "pyav"


def test_dense_decoder__must_be_known():
    with pytest.raises(ConfigError, match=r"dense_decoder='torchcodek' is not known.*'torchcodec'"):
        build_decoder("auto", {"dense_decoder": "torchcodek"})
