import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import png
from eztorch.visualization.strips import (
    Failure,
    Tile,
    activation_figure,
    confident_failures,
    failures_figure,
    neighbours_figure,
    overlay,
)
from eztorch.visualization.theme import DARK, LIGHT

NAMES = ("riding a bicycle uphill", "x", "$5")


def frames(seed, length=1, width=64):
    return np.random.default_rng(seed).integers(0, 256, (length, 48, width, 3), dtype=np.uint8)


def images(figure):
    return [np.asarray(one.get_array()) for one in figure.images]


def borders(figure):
    return [to_hex(one.get_edgecolor()) for one in figure.findobj(Rectangle) if one.get_linewidth() > 0]


def test_confident_failures__are_sorted_and_none_of_them_is_right():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(4), 200)
    labels = rng.integers(-1, 4, 200)
    found = confident_failures(labels, scores, number=30)
    confidence = scores.max(axis=1)
    assert (np.diff(confidence[found]) <= 0).all()
    wrong = [i for i in range(200) if labels[i] >= 0 and labels[i] != scores[i].argmax()]
    assert confidence[found].min() >= max(confidence[i] for i in set(wrong) - set(found.tolist()))
    assert set(found) <= set(wrong)
    assert len(confident_failures(labels, scores, number=1000)) == len(wrong)


@pytest.mark.parametrize("dark", [False, True])
def test_failures_figure__shows_each_sample_with_its_words(dark, written):
    failures = [Failure(frames(i), NAMES[i % 3], NAMES[(i + 1) % 3], 0.9 - 0.01 * i) for i in range(11)]
    figure = failures_figure(failures, dark=dark)
    words = written(figure)
    assert [word for word in words if word.startswith("at ")] == [f"at {0.9 - 0.01 * i:.1%}" for i in range(11)]
    assert words.count("→ $5") == 4
    for shown, failure in zip(images(figure), failures, strict=True):
        np.testing.assert_array_equal(shown, failure.frames[0])
    assert png(figure) == png(failures_figure(failures, dark=dark))


def test_failures_figure__of_none_says_so(written):
    assert written(failures_figure([])) == ["Most confident failures", "none"]


@pytest.mark.parametrize("dark", [False, True])
def test_neighbours_figure__has_a_row_a_query_and_a_border_by_class(dark, written):
    queries = [Tile(frames(i, length=2), NAMES[i]) for i in range(3)]
    found = [[Tile(frames(10 * i + k, length=2), NAMES[(i + k % 2) % 3]) for k in range(4)] for i in range(3)]
    similarities = np.linspace(1, 0.1, 12).reshape(3, 4)
    figure = neighbours_figure(queries, found, similarities, dark=dark)
    words = written(figure)
    assert words[:2] == ["Nearest neighbours", "6 of 12 are of the class of their query (green)"]
    assert [word for word in words if word.startswith("similarity")] == [
        f"similarity {value:.2f}" for value in similarities.flat
    ]
    theme = DARK if dark else LIGHT
    assert borders(figure) == [theme.good, theme.bad] * 6
    expected = [
        frame for query, row in zip(queries, found, strict=True) for tile in (query, *row) for frame in tile.frames
    ]
    assert all((one == other).all() for one, other in zip(images(figure), expected, strict=True))


def test_neighbours_figure__wants_a_row_for_every_query():
    with pytest.raises(ConfigError, match="got 1 queries, 0 rows of neighbours and 1 of similarities"):
        neighbours_figure([Tile(frames(0), "x")], [], np.ones((1, 2)))


def test_overlay__hides_the_more_the_hotter_a_place_is():
    frame = np.full((40, 40, 3), 100, dtype=np.uint8)
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[:2, :2] = 1
    shown = overlay(frame, heat)
    assert (shown[25:, 25:] == 100).all()
    assert (shown[:12, :12] == shown[0, 0]).all()
    assert np.abs(shown[0, 0].astype(int) - 100).max() > 30


@pytest.mark.parametrize("dark", [False, True])
def test_activation_figure__shows_frames_and_the_same_frames_under_their_maps(dark, written):
    clip, maps = frames(0, length=16), np.random.default_rng(1).random((16, 6, 8), dtype=np.float32)
    figure = activation_figure(clip, maps, num_frames=4, dark=dark)
    places = [0, 5, 10, 15]
    words = written(figure)
    assert [word for word in words if word.startswith("frame ")] == [f"frame {place}" for place in places]
    assert [word for word in words if word.startswith("mean ")] == [
        f"mean {maps[place].mean():.2f}" for place in places
    ]
    expected = [*(clip[place] for place in places), *(overlay(clip[place], maps[place]) for place in places)]
    assert all((one == other).all() for one, other in zip(images(figure), expected, strict=True))


def test_activation_figure__wants_a_map_for_every_frame():
    with pytest.raises(ConfigError, match="3 frames need as many maps; got 2"):
        activation_figure(frames(0, length=3), np.zeros((2, 4, 4)))
