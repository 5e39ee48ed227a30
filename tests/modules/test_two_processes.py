from pathlib import Path

import pytest
import torch

from eztorch.modules import gather_with_gradient, gather_without_gradient, shuffle, unshuffle


@pytest.fixture(scope="module")
def ranks(run_program, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_program(Path(__file__).with_name("two_processes.py"), folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.fixture
def batch():
    return torch.randn(6, 3, generator=torch.Generator().manual_seed(0))


def test_gather__gives_all_rows_in_the_order_of_the_ranks(ranks, batch):
    for results in ranks:
        torch.testing.assert_close(results["gathered"], batch, rtol=0, atol=0)
        torch.testing.assert_close(results["detached"], batch, rtol=0, atol=0)
        assert not results["detached"].requires_grad


def test_gather__gradient_is_that_of_both_losses_on_the_whole_batch(ranks):
    generator = torch.Generator().manual_seed(0)
    batch, weights = torch.randn(6, 3, generator=generator), torch.randn(2, 6, 6, generator=generator)
    batch.requires_grad_()
    sum(((batch @ batch.T * weights[rank]).sum() + (batch**3).sum() * (rank + 1)) for rank in range(2)).backward()
    torch.testing.assert_close(torch.cat([results["gradient"] for results in ranks]), batch.grad)


def test_shuffle__deals_every_row_once_and_mixes_the_processes(ranks, batch):
    for name in ("shuffled", "second"):
        dealt = torch.cat([results[name] for results in ranks])
        assert not torch.equal(dealt, batch)
        torch.testing.assert_close(dealt[dealt[:, 0].argsort()], batch[batch[:, 0].argsort()], rtol=0, atol=0)
    assert not torch.equal(ranks[0]["shuffled"], ranks[0]["second"])  # another permutation each time
    permutation = torch.randperm(6, generator=torch.Generator().manual_seed(5))  # what the first process draws
    torch.testing.assert_close(torch.cat([results["shuffled"] for results in ranks]), batch[permutation])


def test_unshuffle__gives_each_process_its_own_rows_back(ranks, batch):
    restored = torch.cat([results["restored"] for results in ranks])
    torch.testing.assert_close(restored, batch * 2, rtol=0, atol=0)


def test_feature_queue__is_the_same_on_both_processes(ranks):
    torch.testing.assert_close(ranks[0]["queue"], ranks[1]["queue"], rtol=0, atol=0)


def test_gather__of_a_single_process_is_the_identity(batch):
    batch.requires_grad_()
    assert gather_with_gradient(batch) is batch
    detached = gather_without_gradient(batch)
    torch.testing.assert_close(detached, batch.detach(), rtol=0, atol=0)
    assert not detached.requires_grad


def test_shuffle__of_a_single_process_permutes_its_rows(batch):
    torch.manual_seed(5)
    shuffled, restore = shuffle(batch.requires_grad_())
    assert not shuffled.requires_grad
    permutation = torch.randperm(6, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(shuffled, batch.detach()[permutation], rtol=0, atol=0)
    torch.testing.assert_close(unshuffle(shuffled, restore), batch.detach(), rtol=0, atol=0)


def test_average_batch_statistics__gives_both_processes_the_mean_of_theirs(ranks):
    first, second = (results["own_statistics"] for results in ranks)
    assert not torch.equal(first["0.running_mean"], second["0.running_mean"])
    for results in ranks:
        for name, statistic in results["statistics"].items():
            if name.endswith("num_batches_tracked"):
                assert statistic == 1
            else:
                torch.testing.assert_close(statistic, (first[name] + second[name]) / 2)
