"""LARS: multi-tensor steps against a loop over the parameters.

The tensors are those of torchvision's 3D ResNet-18 with the heads of SCE. The two take turns in one process, on one
thread, measured in CPU time. Goal: the multi-tensor step is at least 2.2 times as fast, and equal to rounding. Both are
bound by memory, so neighbours that use its bandwidth bring the ratio down.

    python benchmarks/lars.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models.video import r3d_18

from eztorch.models.heads import MLPHead
from eztorch.optimizers import LARS

LR, WEIGHT_DECAY, MOMENTUM, TRUST = 4.8, 1e-6, 0.9, 0.001


@torch.no_grad()
def plain_step(params: list[nn.Parameter], buffers: list[Tensor]) -> None:
    """The formula, parameter by parameter."""
    for p, mu in zip(params, buffers, strict=True):
        update = p.grad
        if p.ndim > 1:
            update = update.add(p, alpha=WEIGHT_DECAY)
            norm, update_norm, one = p.norm(), update.norm(), torch.ones(())
            trust = torch.where((norm > 0) & (update_norm > 0), TRUST * norm / update_norm, one)
            update = update.mul(trust)
        mu.mul_(MOMENTUM).add_(update)
        p.add_(mu, alpha=-LR)


def parameters() -> list[nn.Parameter]:
    """Parameters of the online branch, with gradients."""
    torch.manual_seed(0)
    trunk = r3d_18(num_classes=512)
    projector = MLPHead(
        input_dim=512, hidden_dims=[1024, 1024], output_dim=256, num_layers=3, norm_layer="bn_1D", last_norm=True
    )
    predictor = MLPHead(input_dim=256, hidden_dims=[1024], output_dim=256, num_layers=2, norm_layer="bn_1D")
    params = [*trunk.parameters(), *projector.parameters(), *predictor.parameters()]
    for p in params:
        p.grad = 1e-3 * torch.randn_like(p)
    return params


def main() -> None:
    """Measure, and print the ratio of the medians and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=30)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    plain, fused = parameters(), parameters()
    buffers = [torch.zeros_like(p) for p in plain]
    optimizer = LARS(fused, lr=LR, weight_decay=WEIGHT_DECAY, momentum=MOMENTUM, trust_coefficient=TRUST)
    calls: dict[str, Callable[[], object]] = {"plain loop": lambda: plain_step(plain, buffers), "LARS": optimizer.step}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repetitions):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    median = {name: statistics.median(values) for name, values in times.items()}
    for name, value in median.items():
        print(f"{name:10}  {value * 1e3:7.2f} ms")
    difference = max(float((a - b).detach().abs().max()) for a, b in zip(plain, fused, strict=True))
    print(f"{len(plain)} tensors, {sum(p.numel() for p in plain) / 1e6:.1f} M parameters, {repetitions} repetitions")
    ratio = median["plain loop"] / median["LARS"]
    print(f"ratio {ratio:.2f} (goal: at least 2.2), largest difference after {repetitions} steps {difference:.1e}")


if __name__ == "__main__":
    main()
