import itertools

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import png
from eztorch.visualization.confusion import block_order, confusion_figure, most_confused, row_shares

NAMES = [f"{verb} {thing}" for thing in ("a guitar", "$5", "hair that is very long indeed", "x") for verb in "abcdefgh"]


def counts(classes, samples=4000, group=4):
    """Counts of a classifier that confuses classes of a group, the groups scattered over the classes."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, samples)
    wrong = rng.random(samples) < 0.4
    predicted = np.where(
        wrong, np.minimum(labels // group * group + rng.integers(0, group, samples), classes - 1), labels
    )
    scattered = rng.permutation(classes)
    return confusion_matrix(scattered[labels], scattered[predicted], labels=range(classes)), scattered


def names(classes):
    return [f"{NAMES[i % len(NAMES)]} {i // len(NAMES)}" for i in range(classes)]


@pytest.mark.parametrize(("classes", "cell"), [(2, 48), (10, 48), (51, 19), (101, 13), (400, 3)])
@pytest.mark.parametrize("dark", [False, True])
def test_confusion_figure__words_fit_and_there_is_a_cell_for_every_pair(classes, cell, dark, written):
    matrix, _ = counts(classes)
    figure = confusion_figure(matrix, names(classes), dark=dark)
    words = written(figure)
    image = figure.images[0].get_array()
    assert image.shape == (classes * cell, classes * cell, 4)
    order = block_order(matrix) if classes > 15 else np.arange(classes)
    opacity = row_shares(matrix)[np.ix_(order, order)] ** (1 / 2 if cell > 12 else 1 / 3)
    np.testing.assert_array_equal(image[::cell, ::cell, 3], (255 * opacity).round())
    labelled = sum(word.startswith("a a guitar") and "→" not in word for word in words)
    assert labelled == {2: 2, 10: 2, 51: 4, 101: 8, 400: 0}[classes]  # a row and a column each


def test_confusion_figure__writes_shares_into_wide_cells(written):
    words = written(confusion_figure(np.array([[30, 10], [0, 40]]), ["a", "b"]))
    assert words.count("75") == words.count("25") == words.count("100") == 1
    assert "87.5% of 80 samples right, 2 classes; colours by the share of the row" in words
    assert "a → b" in words
    assert "10 of 40, 25%" in words


def test_confusion_figure__of_classes_without_samples_and_without_confusions(written):
    words = written(confusion_figure(np.diag([3, 0, 2])))
    assert "none" in words
    assert "class 1" in words
    assert written(confusion_figure(np.zeros((2, 2), dtype=int)))


def test_confusion_figure__of_the_same_counts_has_the_same_bytes():
    matrix, _ = counts(20)
    assert png(confusion_figure(matrix)) == png(confusion_figure(matrix.copy()))


@pytest.mark.parametrize("shape", [(2, 3), (4,), (0, 0)])
def test_confusion_figure__refuses_what_is_no_matrix(shape):
    with pytest.raises(ConfigError, match="a row and a column for every class"):
        confusion_figure(np.zeros(shape, dtype=int))


def test_block_order__puts_the_classes_of_a_group_together():
    matrix, scattered = counts(40, samples=20000)
    groups = np.argsort(scattered)[block_order(matrix)] // 4
    assert len(list(itertools.groupby(groups))) == 10
    assert sorted(block_order(matrix)) == list(range(40))


def test_most_confused__sorts_by_number_then_share_and_leaves_out_what_is_right():
    matrix = np.array([[90, 5, 0], [5, 5, 0], [0, 1, 0]])
    found = [(one.truth, one.prediction, one.times, round(one.share, 3)) for one in most_confused(matrix, 9)]
    assert found == [(1, 0, 5, 0.5), (0, 1, 5, 0.053), (2, 1, 1, 1.0)]
    assert len(most_confused(matrix, 2)) == 2
