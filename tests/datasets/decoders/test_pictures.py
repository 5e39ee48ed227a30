"""JPEG libraries give the pixels of Pillow; what they refuse Pillow reads, or says why it cannot."""

import io

import numpy as np
import pytest
from PIL import Image

from eztorch.datasets.decoders import FrameDecoder, VideoDecodeError, pictures
from eztorch.datasets.decoders.pictures import decode_picture

READERS = {"simplejpeg": pictures._simplejpeg, "torchvision": pictures._torchvision}


@pytest.fixture(params=sorted(READERS))
def reader(request, monkeypatch):
    try:
        read = READERS[request.param]()
    except ImportError:
        pytest.skip(f"{request.param} is not installed")
    monkeypatch.setattr(pictures, "_jpeg_reader", lambda: read)
    return read


def encoded(picture: np.ndarray, mode: str = "RGB", file_format: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def by_pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


JPEGS = {
    "plain": {},
    "quality": {"quality": 40},
    "full chroma": {"subsampling": 0},
    "half chroma": {"subsampling": 1},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "turned in its metadata": {"exif": {0x112: 6}},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("crop", [slice(None), slice(0, 47)], ids=["whole blocks", "an odd size"])
def test_jpeg__has_the_pixels_of_pillow(reader, draw, options, crop):
    options = dict(options)
    if "exif" in options:
        exif = Image.Exif()
        exif.update(options["exif"])
        options["exif"] = exif
    content = encoded(draw(1)[0][crop, crop], **options)
    assert np.array_equal(reader(content).permute(1, 2, 0), by_pillow(content))
    assert np.array_equal(decode_picture(content).permute(1, 2, 0), by_pillow(content))


def test_jpeg__in_cmyk_differs_by_one_at_most(reader, draw):
    content = encoded(draw(1)[0], mode="CMYK")
    assert np.abs(decode_picture(content).permute(1, 2, 0).numpy() - by_pillow(content)).max() <= 1


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_jpeg__that_is_cut_off_is_not_made_up(reader, draw, share):
    content = encoded(draw(1)[0])
    with pytest.raises((ValueError, RuntimeError)):
        reader(content[: int(len(content) * share)])
    with pytest.raises(OSError, match=r"(?i)truncated"):
        decode_picture(content[: int(len(content) * share)])


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "WEBP"])
def test_other_formats__go_to_pillow(reader, draw, file_format):
    content = encoded(draw(1)[0], file_format=file_format)
    assert np.array_equal(decode_picture(content).permute(1, 2, 0), by_pillow(content))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bits__become_8_by_their_size(file_format):
    values = np.linspace(0, 65535, 64 * 48).astype(np.uint16).reshape(48, 64)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, file_format)
    decoded = decode_picture(buffer.getvalue())
    assert decoded.shape == (3, 48, 64)
    assert np.abs(decoded.numpy() - values / 257).max() < 1


def test_what_is_no_picture__is_said_in_words(tmp_path):
    (tmp_path / "00000001.jpg").write_text("hello")
    with pytest.raises(VideoDecodeError, match=r"frame 00000001.jpg is damaged: it is no picture, or its beginning is"):
        FrameDecoder().open(str(tmp_path)).get_frames([[0]])


def test_folder__reads_alike_with_each_library(reader, media, truth):
    with FrameDecoder().open(str(media("frames"))) as video:
        (clip,) = video.get_frames([np.arange(60)])
    assert np.array_equal(clip.video.permute(1, 2, 3, 0), truth("frames"))


def test_libraries__that_are_missing_leave_pillow(monkeypatch, draw):
    def missing():
        raise ImportError

    monkeypatch.setattr(pictures, "_simplejpeg", missing)
    monkeypatch.setattr(pictures, "_torchvision", missing)
    pictures._jpeg_reader.cache_clear()
    try:
        content = encoded(draw(1)[0])
        assert pictures._jpeg_reader() is pictures._by_pillow
        assert np.array_equal(decode_picture(content).permute(1, 2, 0), by_pillow(content))
    finally:
        pictures._jpeg_reader.cache_clear()
