"""`eztorch data show`: which samples, what is written on them, what the pictures look like."""

import numpy as np
import pytest
import torch
from PIL import Image

from eztorch.cli import main
from eztorch.data.experiment import load_config
from eztorch.data.show.samples import Samples, file_cards
from eztorch.data.show.sheet import Card, View, animate, draw_sheet
from eztorch.engine.arguments import Arguments

EXPERIMENT = "pretrain_r3d18_SCE_kinetics200"
# The recipe reads folders of frames; these tests read files with it.
pytestmark = pytest.mark.filterwarnings("ignore:decoder. pyav has no use")


@pytest.fixture(scope="session")
def videos(tmp_path_factory, draw, encode):
    root = tmp_path_factory.mktemp("show")
    for split in ("train", "val"):
        for number in range(6):
            encode(root / split / ("falling", "übung")[number % 2] / f"{number}.mp4", draw(number, 48))
    return root


def overrides(videos, *more):
    splits = [f"datamodule.{split}.dataset.datadir={videos / split}" for split in ("train", "val")]
    size = [f"datamodule.train.transform.transform.target_{side}=32" for side in ("height", "width")]
    words = [f"dir.data={videos}", *splits, "dir.root=/nowhere", "datamodule.decoder=pyav", *size, "seed.seed=3"]
    return [*words, "datamodule.train.clip_sampler.clip_duration=0.5", *more]


@pytest.fixture
def samples(videos):
    return Samples(load_config(Arguments(tuple(overrides(videos)), config_name=EXPERIMENT)), "train")


def blue(size, frames=None):
    pixels = torch.zeros(3, *([] if frames is None else [frames]), *size, dtype=torch.uint8)
    pixels[2] = 255
    return pixels


def test_samples__of_training_are_the_first_of_the_epoch(samples, videos):
    from eztorch.datasets.loader_samplers import EpochSampler

    sampler = EpochSampler(6)
    sampler.set_epoch(2)
    assert samples.addresses(4, 2, None) == list(sampler)[:4]
    assert len(samples.addresses(50, 0, None)) == 6
    assert [address.index for address in samples.addresses(4, 0, [5, 1])] == [5, 1]
    evaluation = Samples(load_config(Arguments(tuple(overrides(videos)), config_name=EXPERIMENT)), "val")
    assert [address.index for address in evaluation.addresses(3, 0, None)] == [0, 2, 4]


def test_cards__name_the_class_the_video_and_the_clips(samples):
    from eztorch.datasets.loader_samplers import SampleAddress

    (card,) = samples.cards([SampleAddress(0, 4)], on_device=False, num_views=8)
    assert card.title == "übung"
    assert card.note == "train, sample 4   übung/3.mp4"
    assert [view.pixels.shape for view in card.views] == [(3, 8, 32, 32)] * 2
    item = samples._dataset[SampleAddress(0, 4)]
    for number, view in enumerate(card.views):
        start, end = float(item["clip_start"][number]), float(item["clip_end"][number])
        wanted = f"view {number + 1}: {start:.2f} - {end:.2f} s, 8 frames of 32 x 32, clip {number}, augmentation 0"
        assert view.caption.removesuffix(", differences of frames") == wanted


def test_cards__after_the_transform_of_the_model_are_of_its_range(samples):
    addresses = samples.addresses(2, 0, None)
    plain = samples.cards(addresses, on_device=False, num_views=8)
    cards = samples.cards(addresses, on_device=True, num_views=8)
    assert [[view.pixels.shape for view in card.views] for card in cards] == [[(3, 8, 32, 32)] * 2] * 2
    assert all(view.pixels.dtype == torch.uint8 for card in cards for view in card.views)
    assert any(
        not torch.equal(view.pixels, other.pixels)
        for card, before in zip(cards, plain, strict=True)
        for view, other in zip(card.views, before.views, strict=True)
    )
    again = samples.cards(addresses, on_device=True, num_views=1)
    assert torch.equal(again[0].views[0].pixels, cards[0].views[0].pixels)
    assert again[0].note.endswith("1 of 2 views")


def test_sheet__lays_cards_out_and_keeps_proportions():
    cards = [Card("class", "where", [View(blue((48, 64), 4), "large"), View(blue((24, 24), 4), "small")])] * 3
    sheet = np.asarray(draw_sheet(cards, height=96))
    is_blue = (sheet == (0, 0, 255)).all(-1)
    # 3 cards of 4 frames of 128 x 96 and 4 of 48 x 48
    assert is_blue.sum() == 3 * 4 * (128 * 96 + 48 * 48)
    assert (sheet[:5] == 255).all()
    assert sheet.shape[1] <= 1900


def test_sheet__of_what_cannot_be_read_has_words_alone():
    sheet = np.asarray(draw_sheet([Card("cannot be read", "a.mp4   the file is empty", [])]))
    assert (sheet < 128).any()
    assert sheet.shape[0] < 100


def test_animate__has_a_picture_for_each_moment_and_holds_the_last_of_short_clips():
    moving = torch.zeros(3, 4, 16, 16, dtype=torch.uint8)
    moving[:, 3] = 255
    cards = [Card("a", "", [View(moving, "moves")]), Card("b", "", [View(blue((16, 16), 2), "short")])]
    pictures = animate(cards, height=64, num_frames=4)
    assert len(pictures) == 4
    assert len({picture.size for picture in pictures}) == 1
    whites = [(np.asarray(picture) == 255).all(-1).sum() for picture in pictures]
    assert whites[0] == whites[2] < whites[3]
    assert [((np.asarray(one) == (0, 0, 255)).all(-1)).sum() for one in pictures] == [64 * 64] * 4


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_show__of_an_experiment_writes_the_file(videos, tmp_path, capsys, suffix):
    out = tmp_path / "new" / f"sheet{suffix}"
    words = ["data", "show", "-cn", EXPERIMENT, *overrides(videos), "--samples", "2", "--device-transform"]
    assert main([*words, "-o", str(out)]) == 0
    with Image.open(out) as picture:
        assert f"{out}: 2 samples, {picture.width} x {picture.height}" in capsys.readouterr().out
        assert getattr(picture, "n_frames", 1) == (8 if suffix == ".gif" else 1)


def test_show__of_a_folder_shows_videos_frames_and_pictures_and_what_is_broken(
    tmp_path, draw, encode, save_pictures, capsys
):
    encode(tmp_path / "in" / "one" / "a.mp4", draw(0, 12))
    save_pictures(tmp_path / "in" / "two" / "b", draw(1, 6))
    Image.fromarray(draw(2, 1)[0]).save(tmp_path / "in" / "photo.png")
    (tmp_path / "in" / "broken.mp4").write_text("hello")
    cards = {card.note.split()[0].rpartition("/")[2]: card for card in file_cards([str(tmp_path / "in")], 10, 4)}
    assert cards["a.mp4"].views[0].caption == "64 x 48, 12 frames, 0.50 s, 24 frames/s"
    assert cards["a.mp4"].views[0].pixels.shape == (3, 4, 48, 64)
    assert cards["b"].views[0].caption == "64 x 48, 6 frames"
    assert cards["photo.png"].views[0].pixels.shape == (3, 48, 64)
    assert cards["broken.mp4"].title == "cannot be read"
    assert main(["data", "show", str(tmp_path / "in"), "-o", str(tmp_path / "sheet.png")]) == 0
    assert "4 samples" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-o", "sheet.pdf"], "must end in .png, .jpg, .gif"),
        (["--device-transform"], "about an experiment"),
        (["--samples", "0"], "--samples: '0' is not a whole number from 1 to 200"),
    ],
)
def test_show__refuses_what_cannot_be(tmp_path, capsys, words, reason):
    assert main(["data", "show", str(tmp_path), *words]) == 2
    assert reason in capsys.readouterr().err


def test_show__refuses_indices_and_splits_that_are_not_there(videos, capsys):
    words = ["data", "show", "-cn", EXPERIMENT, *overrides(videos)]
    assert main([*words, "--indices", "6"]) == 2
    assert "--indices 6: the train split has 6 samples" in capsys.readouterr().err
    assert main([*words, "--split", "vall"]) == 2
    assert "--split" in capsys.readouterr().err
    assert main([*words, "model.train_transform=null", "--device-transform", "--samples", "1"]) == 2
    assert "no model.train_transform" in capsys.readouterr().err
