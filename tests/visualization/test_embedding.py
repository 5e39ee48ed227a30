import sys
import types

import numpy as np
import pytest

from eztorch.utils.errors import ConfigError
from eztorch.visualization.canvas import png
from eztorch.visualization.embedding import embed, embedding_figure


def clusters(classes, samples=60):
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % classes
    return np.eye(classes)[labels] + 0.05 * rng.normal(size=(samples, classes)), labels


def test_embed__keeps_clusters_apart():
    features, labels = clusters(3)
    points = embed(features * np.linspace(1, 9, 60)[:, None]).points  # lengths do not matter
    centres = np.stack([points[labels == k].mean(axis=0) for k in range(3)])
    nearest = ((points[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, labels)


def test_embed__draws_a_subset_that_the_seed_decides():
    features, _ = clusters(3)
    first, again, other = (embed(features, most=20, seed=seed) for seed in (1, 1, 2))
    assert len(first.points) == len(set(first.rows)) == 20
    assert (np.diff(first.rows) > 0).all()
    np.testing.assert_array_equal(first.rows, again.rows)
    np.testing.assert_array_equal(first.points, again.points)
    assert first.rows.tolist() != other.rows.tolist()
    assert first.caption == "t-SNE, perplexity 6.33, 20 of 60 samples, drawn with seed 1"
    assert embed(features[:5]).caption == "t-SNE, perplexity 1.33, 5 samples"


def test_embed__by_umap_asks_the_package(monkeypatch):
    asked = {}

    class UMAP:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, features):
            np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-6)
            return features[:, :2]

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    found = embed(clusters(3)[0], method="umap", seed=4)
    assert found.points.shape == (60, 2)
    assert asked == {"n_neighbors": 15, "random_state": 4, "n_jobs": 1}
    assert found.caption == "UMAP, 15 neighbours, 60 samples"


def test_embed__without_umap_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install 'eztorch\[umap\]'; or take method='tsne'"):
        embed(clusters(3)[0], method="umap")


def test_embed__refuses_an_unknown_method_and_too_few_samples():
    with pytest.raises(ConfigError, match="Did you mean 'tsne'"):
        embed(clusters(3)[0], method="tnse")
    with pytest.raises(ConfigError, match="needs 5 samples at least; got 4"):
        embed(np.eye(4))


@pytest.mark.parametrize("classes", [2, 20, 21])
@pytest.mark.parametrize("dark", [False, True])
def test_embedding_figure__names_up_to_20_classes(classes, dark, written):
    features, labels = clusters(classes)
    made = embed(features)
    figure = embedding_figure(made, labels, [f"a class with the number {i}" for i in range(classes)], dark=dark)
    words = written(figure)
    assert sum(word.startswith("a class with") for word in words) == (classes if classes <= 20 else 0)
    assert ("Features, 21 classes, colours repeat" in words) == (classes == 21)
    points = figure.axes[0].collections[0]
    np.testing.assert_allclose(points.get_offsets(), made.points)
    assert len(np.unique(points.get_facecolors(), axis=0)) == min(classes, 20)


def test_embedding_figure__takes_samples_without_a_label_and_a_subset(written):
    features, labels = clusters(3)
    labels[:10] = -1
    figure = embedding_figure(embed(features, most=30), labels, title="Trunk")
    assert [word for word in written(figure) if word.startswith("class")] == ["class 0", "class 1", "class 2"]
    assert png(figure) == png(figure)
    assert written(embedding_figure(embed(features), np.full(60, -1)))[0] == "Features"


def test_embedding_figure__wants_a_label_for_every_sample():
    features, labels = clusters(3)
    with pytest.raises(ConfigError, match="60 features needs as many labels; got 59"):
        embedding_figure(embed(features, most=10), labels[1:])
