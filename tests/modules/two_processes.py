"""What each of two processes does for test_two_processes.py: collectives on its half of a batch; results on disk."""

import sys

import torch
import torch.distributed as dist

from eztorch.modules import (
    FeatureQueue,
    average_batch_statistics,
    gather_with_gradient,
    gather_without_gradient,
    shuffle,
    unshuffle,
)


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    generator = torch.Generator().manual_seed(0)
    batch, weights = torch.randn(6, 3, generator=generator), torch.randn(2, 6, 6, generator=generator)
    local = batch[3 * rank : 3 * rank + 3].clone().requires_grad_()
    results = {}

    gathered = gather_with_gradient(local)
    # Each process has a loss of its own, in which rows of the other take part, as keys of a contrastive loss do.
    ((gathered @ gathered.T * weights[rank]).sum() + (gathered**3).sum() * (rank + 1)).backward()
    results["gathered"], results["gradient"] = gathered.detach(), local.grad

    detached = gather_without_gradient(local.T.contiguous().T)
    results["detached"] = detached

    torch.manual_seed(rank + 5)  # the processes' generators differ; the permutation has to be the same
    shuffled, restore = shuffle(local)
    results["shuffled"], results["restored"] = shuffled, unshuffle(shuffled * 2, restore)
    results["second"] = shuffle(local)[0]

    queue = FeatureQueue(8, feature_dim=3)
    for _ in range(2):
        queue.enqueue(detached)
    results["queue"] = queue.features

    norms = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.BatchNorm1d(3, affine=False))
    norms(batch[3 * rank : 3 * rank + 3])
    results["own_statistics"] = {name: x.clone() for name, x in norms.named_buffers()}
    average_batch_statistics(norms)
    results["statistics"] = dict(norms.named_buffers())

    torch.save(results, f"{sys.argv[1]}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
