"""Images of each kind of source are uint8, (C, H, W), with the pixels of the file."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from eztorch.datasets.failures import ReadError
from eztorch.datasets.image_choices import ImageChain, ImageChoice, part_by_class
from eztorch.datasets.image_folder import class_folders, list_images
from eztorch.datasets.image_sources import ImageArray, ImageFiles, ImagePairs, read_image, to_tensor
from eztorch.utils.errors import ConfigError, DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def save(path, picture=PIXELS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif"])
def test_read_image__gives_the_pixels_of_lossless_files(name, tmp_path):
    image = read_image(str(save(tmp_path / name)))
    assert (image.dtype, image.shape) == (torch.uint8, (3, 12, 16))
    assert torch.equal(image.permute(1, 2, 0), torch.from_numpy(PIXELS))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_read_image__of_a_jpeg_is_what_pillow_gives(mode, tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(PIXELS).convert(mode), quality=90)
    expected = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
    assert (read_image(str(path)).int() - expected.int()).abs().max() <= (1 if mode == "CMYK" else 0)


def test_read_image__knows_a_file_by_its_content(tmp_path):
    path = save(tmp_path / "really.png")
    path.rename(tmp_path / "named.JPEG")
    assert torch.equal(read_image(str(tmp_path / "named.JPEG")).permute(1, 2, 0), torch.from_numpy(PIXELS))


def test_read_image__turns_grey_palettes_and_alpha_into_three_channels(tmp_path):
    palette = Image.fromarray(PIXELS).convert("P")
    for number, picture in enumerate(
        [Image.fromarray(PIXELS).convert("RGBA"), palette, Image.fromarray(PIXELS[..., 0])]
    ):
        image = read_image(str(save(tmp_path / f"{number}.png", picture)))
        assert torch.equal(image, torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1))
    transparent = save(tmp_path / "t.png", palette, transparency=b"\0" * 8 + b"\xff" * 248)
    assert read_image(str(transparent)).shape == (3, 12, 16)


def test_read_image__scales_16_bits_of_grey(tmp_path):
    grey = (PIXELS[..., 0].astype(np.uint16)) * 257
    image = read_image(str(save(tmp_path / "a.png", Image.fromarray(grey))))
    assert torch.equal(image, torch.from_numpy(PIXELS[..., 0]).expand(3, -1, -1))


def test_read_image__errors_name_the_file_and_the_reason(tmp_path):
    whole = save(tmp_path / "whole.jpg").read_bytes()
    broken = {
        "empty.jpg": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "text.png": b"no picture",
        "bad.png": b"\x89PNG\r\n",
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ReadError, match=name) as caught:
            read_image(str(tmp_path / name))
        assert caught.value.reason
        assert pickle.loads(pickle.dumps(caught.value)).path == str(tmp_path / name)
    with pytest.raises(ReadError, match=r"missing\.jpg: decoder 'image' cannot read it: No such file"):
        read_image(str(tmp_path / "missing.jpg"))


def test_to_tensor__takes_pictures_arrays_and_tensors():
    expected = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for image in (Image.fromarray(PIXELS), PIXELS, expected):
        assert torch.equal(to_tensor(image), expected)
    assert torch.equal(to_tensor(PIXELS[..., 0]), torch.from_numpy(PIXELS[..., 0]).expand(3, -1, -1))
    for wrong in (PIXELS.astype(np.float32), torch.zeros(3, 4), "picture"):
        with pytest.raises(DataError, match="expected uint8"):
            to_tensor(wrong)


def folder_of(root, names):
    for name in names:
        save(root / name)
    return root


def test_folder__lists_classes_and_files_in_order_at_any_depth(tmp_path):
    folder_of(tmp_path, ["b/x/2.png", "b/1.jpg", "b/x/10.JPEG", "a/z.png", ".hidden/1.png", "b/.1.png"])
    (tmp_path / "b/notes.txt").write_text("not a picture")
    source = list_images(tmp_path)
    assert source.classes == ("a", "b")
    assert [source.name(index).removeprefix(f"{tmp_path}/") for index in range(4)] == [
        "a/z.png",
        "b/1.jpg",
        "b/x/10.JPEG",
        "b/x/2.png",
    ]
    assert source.labels.tolist() == [0, 1, 1, 1]
    assert source.labels.dtype == np.int64
    assert source.read(0).shape == (3, 12, 16)


def test_folder__takes_the_classes_that_it_is_told(tmp_path):
    folder_of(tmp_path, ["a/1.png", "b/1.png", "c/1.png"])
    assert list_images(tmp_path, ["c", "b", "a"]).labels.tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"class folder\(s\) c are not among the 2 classes"):
        list_images(tmp_path, ["a", "b"])
    chosen = list_images(tmp_path, ["c", "a"], ignore_others=True)
    assert [chosen.name(index)[-7:] for index in range(2)] == ["c/1.png", "a/1.png"]
    assert list_images(tmp_path, ["a", "b", "c", "d"]).classes == ("a", "b", "c", "d")


def test_list_images__takes_no_folder_twice_where_links_go_round(tmp_path):
    for name in ("a/one.png", "a/deep/two.png"):
        save(tmp_path / name)
    (tmp_path / "a/deep/up").symlink_to("..")
    assert len(list_images(tmp_path).labels) == 2


def test_folder__errors_name_it(tmp_path):
    with pytest.raises(DataError, match="nowhere: there is no such folder"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(DataError, match="there is no class folder in it"):
        class_folders(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: there is no image"):
        list_images(tmp_path)


def test_files__with_names_of_any_letters_are_read(tmp_path):
    path = save(tmp_path / "été" / "naïve 画.png")
    source = list_images(tmp_path)
    assert source.name(0) == str(path)
    assert ImageFiles(tmp_path, ["été/naïve 画.png"], [3]).read(0).shape == (3, 12, 16)


def array(labels, source="data"):
    images = np.stack([np.full((3, 2, 2), label % 256, dtype=np.uint8) for label in range(len(labels))])
    return ImageArray(images, labels, source=source)


def test_array__gives_copies_and_checks_what_it_is_given():
    source = array([5, 6])
    source.read(1).zero_()
    assert source.read(1).unique().tolist() == [1]
    assert source.name(1) == "data[1]"
    for images, labels in (
        (np.zeros((2, 3, 4, 4)), [0, 1]),
        (np.zeros((2, 4, 4), np.uint8), [0, 1]),
        (PIXELS[None], []),
    ):
        with pytest.raises(DataError, match=r"expected uint8 images of shape \(N, C, H, W\) and N labels"):
            ImageArray(images, labels)


class Pairs:
    classes = ("one", "two")

    def __init__(self, **lists):
        vars(self).update(lists)

    def __getitem__(self, index):
        if index:
            raise OSError("disk is gone")
        return Image.fromarray(PIXELS), 1


@pytest.mark.parametrize("name", ["targets", "labels", "_labels"])
def test_pairs__are_read_and_their_labels_known_without_reading(name):
    source = ImagePairs(Pairs(**{name: torch.tensor([1, 0])}))
    assert (source.labels.tolist(), source.classes) == ([1, 0], ("one", "two"))
    assert torch.equal(source.read(0), to_tensor(PIXELS))
    with pytest.raises(ReadError, match=r"Pairs\[1\]: decoder 'Pairs' cannot read it: disk is gone"):
        source.read(1)


def test_pairs__without_labels_are_an_error():
    with pytest.raises(DataError, match="Pairs has none of targets, labels, _labels"):
        ImagePairs(Pairs())


def test_choice_and_chain__are_sources():
    first, second = array([0, 1, 2], "first"), array([7, 8], "second")
    chain = ImageChain([ImageChoice(first, [2, 0]), second])
    assert chain.labels.tolist() == [2, 0, 7, 8]
    assert [chain.name(index) for index in range(4)] == ["first[2]", "first[0]", "second[0]", "second[1]"]
    assert [int(chain.read(index)[0, 0, 0]) for index in range(4)] == [2, 0, 0, 1]


def test_parting__takes_its_share_of_every_class_and_repeats():
    labels = np.repeat([0, 1, 2], [10, 20, 5])
    first, second = part_by_class(labels, 0.8, seed=42)
    assert np.bincount(labels[first]).tolist() == [8, 16, 4]
    assert sorted([*first, *second]) == list(range(35))
    assert np.array_equal(first, part_by_class(labels, 0.8, seed=42)[0])
    assert not np.array_equal(first, part_by_class(labels, 0.8, seed=43)[0])
    for ratio in (0, 1, 1.5, 0.01):
        with pytest.raises(ConfigError, match=f"split_train_ratio={ratio}"):
            part_by_class(labels, ratio, seed=0)


def test_files__do_not_read_before_they_are_asked(tmp_path):
    source = ImageFiles(tmp_path, ["gone.jpg"], [0])
    assert source.labels.tolist() == [0]
    with pytest.raises(ReadError, match=r"gone\.jpg"):
        source.read(0)


def test_webp__is_read_as_well(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "WEBP", lossless=True)
    (tmp_path / "a.webp").write_bytes(buffer.getvalue())
    assert torch.equal(read_image(str(tmp_path / "a.webp")).permute(1, 2, 0), torch.from_numpy(PIXELS))
