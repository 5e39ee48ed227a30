import warnings

import pytest

from eztorch.datasets.decoders import FrameDecoder, PyAVDecoder, build_decoder, registry
from eztorch.utils.errors import ConfigError

# The decoder arguments of the SCE recipe, written for `decoder: frame`.
RECIPE = {
    "fps": 30,
    "frame_filter": {"subsample_type": "uniform", "num_samples": 8},
    "time_difference_prob": 0.2,
    "num_threads_io": 4,
    "num_threads_decode": 4,
    "decode_float": True,
}


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch):
    monkeypatch.setattr(registry, "_warned", set())


def test_default__is_pyav():
    assert isinstance(build_decoder(), PyAVDecoder)


def test_frame__takes_the_whole_recipe():
    assert isinstance(build_decoder("frame", RECIPE), FrameDecoder)


def test_auto__takes_the_arguments_of_all():
    build_decoder("auto", {**RECIPE, "num_threads": 2})  # warnings are errors in these tests


def test_recipe_for_frames__moves_to_video_files_with_one_warning(files_only):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build_decoder(files_only, RECIPE)
        build_decoder(files_only, RECIPE)
    assert [warning.category for warning in caught] == [UserWarning]
    message = str(caught[0].message)
    assert all(key in message for key in ("fps", "num_threads_io", "num_threads_decode"))
    assert "decode_float" not in message
    assert "says itself when its frames are shown" in message


def test_recipe_for_video_files__moves_to_frames_with_one_warning():
    with pytest.warns(UserWarning, match="frame has no use for num_threads in decoder_args"):
        build_decoder("frame", {"num_threads": 2})
    build_decoder("frame", {"num_threads": 2})  # warnings are errors in these tests


def test_arguments__are_left_as_they_were():
    args = {"fps": 30, "decode_float": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        build_decoder("pyav", args)
    assert args == {"fps": 30, "decode_float": True}


def test_argument__that_no_decoder_has_is_an_error(name):
    with pytest.raises(ConfigError, match=r"unknown key 'decode_flaot'. Did you mean 'decode_float'"):
        build_decoder(name, {"decode_flaot": True})


def test_name__that_is_not_known_is_an_error():
    with pytest.raises(ConfigError, match=r"decoder='pyva' is not known; expected one of .* Did you mean 'pyav'"):
        build_decoder("pyva")


def test_threads__must_not_be_negative(encoded):
    with pytest.raises(ConfigError, match="num_threads=-1 must not be negative"):
        build_decoder(encoded, {"num_threads": -1})


def test_transform__may_be_a_spec(media):
    decoder = build_decoder("pyav", {"transform": {"_target_": "torch.nn.Identity"}})
    with decoder.open(str(media("three.mp4"))) as reader:
        assert reader.get_clip(0, 1).video.shape == (3, 3, 48, 64)
