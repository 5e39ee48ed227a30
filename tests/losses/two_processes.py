"""What each of two processes does for test_sce_loss.py: the loss of its half of a batch; results on disk."""

import sys

import torch
import torch.distributed as dist

from eztorch.losses import sce_loss
from eztorch.modules import gather_without_gradient


def main():
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    batch = torch.load(f"{sys.argv[1]}/batch.pt")
    rows = slice(3 * rank, 3 * rank + 3)
    query, key = batch["query"][rows].clone().requires_grad_(), batch["key"][rows].clone()
    loss = sce_loss(
        query,
        key,
        temp=0.1,
        temp_m=0.05,
        coeff=0.3,
        queue=batch["queue"],
        keys=gather_without_gradient(key),
        keys_offset=rank * len(key),
    )
    loss.backward()
    torch.save({"loss": loss.detach(), "gradient": query.grad}, f"{sys.argv[1]}/{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
