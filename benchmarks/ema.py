"""Moving average of the target branch: one fused call against a loop over the parameters.

The tensors are those of a 3D ResNet-18 with the projector of SCE. The two take turns in one process, on one thread.
Goal: the fused update is at least 4 times as fast, and equal to rounding.

    python benchmarks/ema.py
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch

from eztorch.models.heads import MLPHead
from eztorch.models.trunks import create_resnet3d_basic
from eztorch.modules import ema_update

MOMENTUM = 0.99


def plain_loop(target: list[torch.Tensor], online: list[torch.Tensor]) -> None:
    """The formula, tensor by tensor."""
    for t, o in zip(target, online, strict=True):
        t.data = MOMENTUM * t + (1 - MOMENTUM) * o


def fused(target: list[torch.Tensor], online: list[torch.Tensor]) -> None:
    """What the product does."""
    ema_update(target, online, MOMENTUM)


def tensors(seed: int) -> list[torch.Tensor]:
    """Parameters of the online branch, detached."""
    torch.manual_seed(seed)
    trunk = create_resnet3d_basic(model_depth=18)
    projector = MLPHead(
        input_dim=512, hidden_dims=[1024, 1024], output_dim=256, num_layers=3, norm_layer="bn_1D", last_norm=True
    )
    return [p.detach() for p in (*trunk.parameters(), *projector.parameters())]


def main() -> None:
    """Measure, and print the ratio of the medians and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=30)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    online = tensors(seed=1)
    targets = {update: tensors(seed=0) for update in (plain_loop, fused)}
    seconds = {update: [] for update in targets}
    for _ in range(repetitions):
        for update, target in targets.items():
            start = time.perf_counter()
            update(target, online)
            seconds[update].append(time.perf_counter() - start)
    difference = max(float((a - b).abs().max()) for a, b in zip(*targets.values(), strict=True))
    median = {update: statistics.median(times) for update, times in seconds.items()}
    for update, value in median.items():
        print(f"{update.__name__:10}  {value * 1e3:7.2f} ms")
    print(f"{len(online)} tensors, {sum(t.numel() for t in online) / 1e6:.1f} M parameters, {repetitions} repetitions")
    print(f"ratio {median[plain_loop] / median[fused]:.2f} (goal: at least 4), largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
