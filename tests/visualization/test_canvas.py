from io import BytesIO

import matplotlib.image
import numpy as np
import pytest

from eztorch.visualization.canvas import Canvas, png, shorten, text_width, wrap


def pixels(figure):
    return (matplotlib.image.imread(BytesIO(png(figure))) * 255).round().astype(int)


def test_canvas__shows_an_image_pixel_by_pixel_where_it_is_told_to():
    image = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    canvas = Canvas(60, 40)
    canvas.image(image, 20, 5)
    picture = pixels(canvas.figure)
    assert picture.shape == (52, 72, 4)  # a margin of 6
    np.testing.assert_array_equal(picture[11:18, 26:37, :3], image)
    assert picture[..., 3].sum() == 7 * 11 * 255


def test_canvas__a_border_stands_around_its_place():
    canvas = Canvas(60, 40)
    canvas.box(20, 10, 12, 8, "#ff0000", line=4)
    opaque = pixels(canvas.figure)[..., 3] > 128
    assert not opaque[16:24, 26:38].any()
    assert opaque[12:16, 22:42].all()
    assert opaque[24:28, 22:42].all()


def test_canvas__takes_dollars_and_line_breaks_as_they_are(written):
    canvas = Canvas(400, 60)
    canvas.text(0, 0, "costs $5$\nor\t$6_x$", width=400)
    assert written(canvas.figure) == ["costs $5$ or $6_x$"]


def test_png__has_the_same_bytes_for_the_same_figure():
    def draw():
        canvas = Canvas(100, 50, dark=True)
        canvas.text(0, 0, "words")
        return png(canvas.figure)

    assert draw() == draw()


@pytest.mark.parametrize("width", [15, 60, 100, 5000])
def test_shorten__gives_the_longest_beginning_that_fits(width):
    words = "playing the violin in an orchestra"
    short = shorten(words, width)
    assert text_width(short) <= width
    assert (short == words) == (width == 5000)
    if short != words:
        cut = len(short.removesuffix("…"))
        assert short == words[:cut] + "…"
        assert text_width(words[: cut + 1 + (words[cut] == " ")] + "…") > width


def test_wrap__breaks_between_words_and_shortens_the_last_line():
    words = "decoder 'pyav' cannot read it: moov atom not found in the file"
    lines = wrap(words, 110, most=3)
    assert len(lines) == 3
    assert all(text_width(line) <= 110 for line in lines)
    assert lines[-1].endswith("…")
    assert " ".join(wrap(words, 110, most=30)) == words
