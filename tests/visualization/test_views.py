import matplotlib.image
import numpy as np
import pytest
import torch

from eztorch.visualization import contact_sheet, save_contact_sheet
from eztorch.visualization.views import view_block


def test_contact_sheet__rows_are_samples_blocks_are_views_and_frames_stand_side_by_side():
    views = torch.zeros(2, 3, 3, 2, 8, 8, dtype=torch.uint8)  # view, sample, channel, frame
    for view in range(2):
        for sample in range(3):
            for frame in range(2):
                views[view, sample, :, frame] = 100 * view + 30 * sample + 10 * frame
    sheet = contact_sheet(list(views), height=8)
    assert sheet.shape == (3 * 8 + 2 * 4, 2 * (2 * 8 + 4) + 20, 4)
    for view in range(2):
        for sample in range(3):
            for frame in range(2):
                top, left = 12 * sample, 40 * view + 12 * frame
                cell = sheet[top : top + 8, left : left + 8]
                assert (cell == [*[100 * view + 30 * sample + 10 * frame] * 3, 255]).all()
    assert (sheet[8:12, :, 3] == 0).all()  # gaps are transparent
    assert (sheet[:, 8:12, 3] == 0).all()
    assert (sheet[:, 20:40, 3] == 0).all()


def test_contact_sheet__several_clips_of_each_sample_are_views_of_it():
    clips = torch.rand(2, 3, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))  # sample, clip
    np.testing.assert_array_equal(contact_sheet(clips), contact_sheet(list(clips.unbind(1))))


def test_view_block__undoes_a_normalisation():
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    image = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    normalised = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(view_block(normalised, mean=mean, std=std, height=4)[:, :3], image)


def test_view_block__stretches_each_clip_between_its_own_limits():
    clips = torch.stack([torch.linspace(-2, 2, 16), torch.linspace(5, 6, 16)]).view(2, 1, 1, 4, 4)
    for strip in view_block(clips, height=4):
        assert (strip[:3].min(), strip[:3].max()) == (0, 1)
        torch.testing.assert_close(strip[0].flatten(), torch.linspace(0, 1, 16))


def test_view_block__of_a_constant_clip_is_a_number():
    assert torch.isfinite(view_block(torch.ones(1, 3, 2, 4, 4))).all()


def test_view_block__picks_frames_evenly_and_keeps_the_shape_of_an_image():
    clip = torch.arange(17).view(1, 1, 17, 1, 1).expand(1, 3, 17, 4, 6).to(torch.uint8)
    block = view_block(clip, num_frames=5, height=8)
    assert block.shape == (1, 4, 8, 5 * 12 + 4 * 4)
    assert [round(float(block[0, 0, 0, 16 * i]) * 255) for i in range(5)] == [0, 4, 8, 12, 16]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_view_block__shows_any_number_of_channels(channels):
    assert view_block(torch.rand(2, channels, 4, 4), height=4).shape == (2, 4, 4, 4)


def test_view_block__takes_half_precision():
    assert view_block(torch.rand(1, 3, 4, 4).bfloat16(), height=4).dtype == torch.float32


def test_save_contact_sheet__holds_the_sheet_pixel_by_pixel(tmp_path):
    views = [torch.rand(2, 3, 4, 8, 8), torch.rand(2, 3, 8, 8)]
    path = tmp_path / "new" / "views.png"
    save_contact_sheet(views, path, height=40)
    picture = (matplotlib.image.imread(path) * 255).round().astype(int)
    sheet = contact_sheet(views, height=40).astype(int)
    assert picture.shape == (sheet.shape[0] + 32, sheet.shape[1] + 12, 4)
    shown = picture[26:-6, 6:-6]
    opaque = sheet[..., 3] == 255
    assert np.abs(shown - sheet)[opaque].max() <= 1
    assert picture[:26, :, 3].any()  # the titles
