import numpy as np
import pytest
from matplotlib.patches import Rectangle

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import png
from eztorch.visualization.per_class import class_accuracy_figure


def results(classes):
    rng = np.random.default_rng(classes)
    total = rng.integers(1, 5000, classes)
    return rng.binomial(total, rng.random(classes)), total


@pytest.mark.parametrize("classes", [1, 10, 51, 101, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_class_accuracy__words_fit_and_bars_are_sorted(classes, dark, written):
    correct, total = results(classes)
    figure = class_accuracy_figure(correct, total, [f"class number {i}" for i in range(classes)], dark=dark)
    words = written(figure)
    shown = [word for word in words if word.startswith("class number")]
    assert len(shown) == min(classes, 40 if classes > 60 else classes)
    order = np.argsort(correct / total, kind="stable")
    assert shown[0] == f"class number {order[0]}"
    assert f"{correct[order[0]] / total[order[0]]:.0%} of {total[order[0]]:,}" in words
    if classes > 60:
        column = words.index("The 20 highest")
        assert words[column + 1] == f"All {classes}"
        heights = [patch.get_height() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
        np.testing.assert_array_equal(heights, np.histogram(correct / total, bins=20, range=(0, 1))[0])


def test_class_accuracy__leaves_classes_without_samples_out_and_says_so(written):
    words = written(class_accuracy_figure(np.array([1, 0, 0]), np.array([2, 0, 4])))
    assert "mean over 2 classes 25.0%, from 0.0% to 50.0%; 1 without samples" in words
    assert "class 1" not in words
    assert words.index("class 2") < words.index("class 0")


def test_class_accuracy__without_any_sample_is_an_error():
    with pytest.raises(ConfigError, match="none of the classes has one"):
        class_accuracy_figure(np.zeros(3, dtype=int), np.zeros(3, dtype=int))


def test_class_accuracy__of_the_same_numbers_has_the_same_bytes():
    assert png(class_accuracy_figure(*results(70))) == png(class_accuracy_figure(*results(70)))
