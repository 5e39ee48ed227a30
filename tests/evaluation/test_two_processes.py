import json

import feature_ranks
import pytest
import torch
from feature_ranks import CASES, RECIPE, run, spread_clips
from safetensors.torch import load_file

from eztorch.evaluation import FeatureStore


@pytest.fixture(scope="module")
def folders(run_program, tmp_path_factory):
    """What one process wrote, and what two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    for folder in (one, two):
        (folder / "recipe.yaml").write_text(RECIPE)
    run_program(feature_ranks.__file__, two)
    run(one, 1)
    return one, two


@pytest.mark.parametrize(("size", "bank"), CASES)
def test_two_processes__find_what_one_finds(folders, size, bank):
    one, two = (folder / f"{size}_{bank}" for folder in folders)
    for split, length in (("val", size), ("train", size + 3)):
        if split == "train" and bank == "val":
            assert not (two / "features/train").exists()  # nothing is extracted that nobody asked for
            continue
        stores = [FeatureStore.open(folder / "features" / split) for folder in (one, two)]
        for store in stores:
            assert store.idx.tolist() == list(range(length))
            assert store.labels.tolist() == [number % 3 for number in range(length)]
            assert (store.n_evaluated, store.n_expected) == (length, length)
        assert torch.equal(stores[0].rows(0, length), stores[1].rows(0, length))
        assert stores[0].index["shards"] == stores[1].index["shards"]
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    assert metrics[0] == metrics[1]
    assert metrics[0]["knn/n_evaluated"] == metrics[0]["retrieval/n_expected"] == size
    for name in ("knn_predictions", "neighbours"):
        found, expected = (load_file(folder / f"{name}.safetensors") for folder in (two, one))
        assert found.keys() == expected.keys()
        for key in expected:
            assert torch.equal(found[key], expected[key]), key
    neighbours = load_file(two / "neighbours.safetensors")
    assert neighbours["query_idx"].tolist() == list(range(size))
    if bank == "val":
        assert not (neighbours["idx"] == neighbours["query_idx"][:, None]).any()


def test_two_processes__average_clips_that_lie_in_different_batches_and_processes(folders, tmp_path):
    expected = spread_clips(tmp_path / "spread")
    found = FeatureStore.open(folders[1] / "spread")
    assert found.idx.tolist() == list(range(5))
    assert found.column("num_clips").tolist() == [4] * 5
    assert torch.equal(found.rows(0, 5), expected.rows(0, 5))
