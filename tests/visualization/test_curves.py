import math
from io import BytesIO

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from eztorch.visualization import Chart, draw_chart, read_metrics
from eztorch.visualization.curves import running_mean


def test_read_metrics__gives_each_metric_its_own_steps(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,knn\n0,2.5,\n19,1.0,0.5\n9,1.5,\n")
    assert read_metrics(path) == {"loss": ([0, 9, 19], [2.5, 1.5, 1.0]), "knn": ([19], [0.5])}


def pixels(chart, **options):
    return matplotlib.image.imread(BytesIO(draw_chart(chart, **options)))


@pytest.mark.parametrize("dark", [False, True])
def test_draw_chart__is_transparent_with_ink_that_contrasts_with_the_page(dark):
    picture = pixels(Chart("loss", {"loss": ([0, 1, 2], [3.0, 2.0, 1.0])}), dark=dark)
    assert picture[0, 0, 3] == 0
    opaque = picture[picture[..., 3] > 0.9][:, :3].mean(axis=1)
    assert (opaque.max() > 0.8) if dark else (opaque.min() < 0.3)


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, 1.0, math.inf], [float(i) for i in range(500)]])
def test_draw_chart__takes_any_curve(values):
    steps = [float(i) for i in range(len(values))]
    chart = Chart(
        "a", {"a": (steps, values), "b": (steps, values)}, levels={"chance": 0.5}, is_share=True, is_noisy=True
    )
    assert pixels(chart).shape[2] == 4


def test_draw_chart__draws_more_curves_than_it_has_colours():
    assert pixels(Chart("a", {str(i): ([0, 1], [i, i + 1]) for i in range(9)})).shape[2] == 4


def test_running_mean__equals_the_mean_of_each_window():
    values = [1.0, 5.0, 3.0, 7.0, 9.0]
    assert running_mean(values, 0) == values
    assert running_mean(values, 1) == [3.0, 3.0, 5.0, 19 / 3, 8.0]
    assert running_mean(values, 9) == [5.0] * 5


def drawn(monkeypatch, chart):
    """The figure of a chart, before it becomes a PNG."""
    figures = []
    savefig = Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda figure, *words, **options: (figures.append(figure), savefig(figure, *words, **options)),
    )
    draw_chart(chart)
    return figures[0]


def test_draw_chart__tells_18_curves_apart(monkeypatch):
    figure = drawn(monkeypatch, Chart("a", {str(i): ([0, 1], [i, i + 1]) for i in range(18)}))
    looks = {
        (line.get_color(), line.get_linestyle(), line._dash_pattern[1] and tuple(line._dash_pattern[1]))
        for line in figure.axes[0].lines
    }
    assert len(looks) == 18


@pytest.mark.parametrize("length", [1, 12, 25, 30])
@pytest.mark.parametrize("number", [2, 5, 12])
def test_draw_chart__a_legend_fits_whatever_its_labels(length, number, monkeypatch, written):
    labels = [f"{i}: " + "x" * length for i in range(number)]
    figure = drawn(monkeypatch, Chart("a", {label: ([0, 1], [1, 2]) for label in labels}))
    assert {word for word in written(figure) if "x" in word} == set(labels)
