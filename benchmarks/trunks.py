"""Trunks: clips or images a second, forward and training step, against the same network of another library.

These are pytorchvideo's, timm's vision transformer, and torchvision's for images and clips. Both have the same weights
and take the same inputs, in turns in one process, on one thread (or on `--device cuda`).
Goal: never slower by more than 5 %, and equal results.

    python benchmarks/trunks.py
    python benchmarks/trunks.py --networks slowfast_r50 --device cuda --size 224 --batch 8
    python benchmarks/trunks.py --costs     # the parameters and multiply-adds of every group of trunks
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from pathlib import Path

import torch
import torchvision
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch.utils.flop_counter import FlopCounterMode

import eztorch
from eztorch.models.weights import load_tensors
from eztorch.utils.config import build

FRAMES = {  # of a clip; None: images
    **{"slow_r50": 8, "c2d_r50": 8, "i3d_r50": 8, "slowfast_r50": 32, "x3d_s": 13, "csn_r101": 8, "r2plus1d_18": 8},
    **{"s3d": 16, "swin3d_t": 8, "mvit_v1_b": 16, "mvit_v2_s": 16},
    **{"resnet50": None, "vit_small": None, "swin_t": None, "swin_v2_t": None},
}
PYTORCHVIDEO = ("slow_r50", "c2d_r50", "i3d_r50", "slowfast_r50", "x3d_s", "csn_r101")
NATIVE = {  # what the table of doc/models.md counts
    "slow_r50": (8, 224),
    "c2d_r50": (8, 224),
    "i3d_r50": (8, 224),
    "i3d_nl_r50": (8, 224),
    "slowfast_r50": (32, 224),
    "slowfast_r50_4x16": (32, 224),
    "slowfast_r50_64": (64, 112),
    "slowfast_r101": (32, 224),
    "slowfast_r101_4x16": (32, 224),
    "r2plus1d_18": (16, 112),
    "r2plus1d_r50": (16, 224),
    "csn_r101": (32, 224),
    "x3d_xs": (4, 160),
    "x3d_s": (13, 160),
    "x3d_m": (16, 224),
    "x3d_l": (16, 312),
    "s3d": (64, 224),
    "s3d_g": (64, 224),
    "mvit_v1_b": (16, 224),
    "mvit_v2_s": (16, 224),
    "swin3d_t": (32, 224),
    "swin3d_s": (32, 224),
    "swin3d_b": (32, 224),
    "vivit_base": (32, 224),
    "timesformer_base": (8, 224),
    "vit_base_video": (16, 224),
    **{f"{name}_r50": (8, 224) for name in ("tsn", "trn", "mtrn", "tsm", "mvfnet", "tada2d")},
    "tdn_r50": (40, 224),
    "tsn_bninception": (8, 224),
    "tsn_inception_resnet_v2": (8, 299),
    "resnet3d": (8, 224),
    "resnet3d50": (8, 224),
    "resnet3d_small": (8, 48),
    "resnet3d50_tokens": (8, 224),
    "vit_tiny_video_tokens": (8, 112),
    "vivit_tiny_tokens": (8, 112),
    "resnet18": (None, 224),
    "resnet18_small": (None, 32),
    "vit_tiny_small": (None, 32),
    "resnet50": (None, 224),
    "vit_base": (None, 224),
    "swin_t": (None, 224),
    "swin_s": (None, 224),
    "swin_b": (None, 224),
    "swin_v2_t": (None, 256),
    "swin_v2_s": (None, 256),
    "swin_v2_b": (None, 256),
    "timm": (None, 224),
}


def composed(group: str, **changes) -> dict:
    """The group of a trunk."""
    with initialize_config_dir(str(Path(eztorch.__file__).parent / "configs"), version_base=None):
        return {**OmegaConf.to_container(compose(f"model/trunk/{group}")["model"]["trunk"]), **changes}


def pair(name: str, size: int) -> tuple[torch.nn.Module, torch.nn.Module, str]:
    """Our network and theirs with the same weights and a classifier of 400 classes, and whose it is."""
    if name in PYTORCHVIDEO:
        return (*pair_of_pytorchvideo(name), "pytorchvideo")
    if name == "vit_small":
        import timm

        theirs = timm.create_model("vit_small_patch16_224", num_classes=400, img_size=size)
        learned = {"pool": "token", "positions": "learned", "input_size": [size, size]}
        ours = build(composed("vit_base", name="small", num_classes=400, **learned))
    else:
        ours = build(composed(name, num_classes=400))
        theirs = torchvision.models.get_model(name, num_classes=400)
        if name == "s3d":  # a pooling of any size, so that it takes small clips
            theirs.avgpool = torch.nn.AdaptiveAvgPool3d(1)
        for module in (*ours.modules(), *theirs.modules()):  # without what is drawn, so that both compute the same
            if isinstance(module, torchvision.ops.StochasticDepth | torch.nn.Dropout):
                module.p = 0.0
    load_tensors(ours, theirs.state_dict())
    return ours, theirs, "timm" if name == "vit_small" else "torchvision"


def pair_of_pytorchvideo(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Our network and theirs with the same weights and a classifier of 400 classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pytorchvideo's imports
        from pytorchvideo.models import hub
    # A pooling of any size, so that it takes small clips; without dropout, so that both compute the same.
    if name == "slowfast_r50":
        pools = {"head_pool": torch.nn.AdaptiveAvgPool3d, "head_output_size": ((1, 1, 1), (1, 1, 1))}
        theirs = hub.slowfast_r50(dropout_rate=0.0, **pools)
        ours = build(composed(name, num_classes=400, dropout=0.0))
    elif name in ("x3d_s", "csn_r101"):
        theirs = getattr(hub, name)(dropout_rate=0.0, head_activation=None)
        ours = build(composed(name, num_classes=400, dropout_rate=0.0))
        last = theirs.blocks[5]
        (last.pool if name == "x3d_s" else last).pool = torch.nn.AdaptiveAvgPool3d(1)
    else:
        theirs = getattr(hub, name)(dropout_rate=0.0, head_pool=torch.nn.AdaptiveAvgPool3d)
        spec = composed(name)
        spec["head"]["num_classes"] = 400
        ours = build(spec)
    ours_alone = getattr(ours, "model", ours)
    if hasattr(ours, "head"):  # the last of their blocks
        ours.head.proj.load_state_dict(theirs.blocks[-1].proj.state_dict())
        theirs_alone = {key: value for key, value in theirs.state_dict().items() if ".proj." not in key}
    else:
        theirs_alone = theirs.state_dict()
    ours_alone.load_state_dict(theirs_alone)
    return ours, theirs


def seconds(call, device: torch.device) -> float:
    """CPU time of a call, which other programs do not change, or on another device the time until it is done."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def measure(name: str, arguments: argparse.Namespace) -> None:
    """Print clips or images a second of both, and their ratio."""
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    size = 224 if name.startswith("mvit") else arguments.size  # whose positions are of one size
    *both, library = pair(name, size)
    networks = [network.to(device) for network in both]
    frames = [] if FRAMES[name] is None else [FRAMES[name]]
    clips = torch.randn(arguments.batch, 3, *frames, size, size, device=device)
    slow = torch.linspace(0, 31, 8).long().to(device)

    def forward(number: int) -> torch.Tensor:
        return networks[number]([clips[:, :, slow], clips] if number and name == "slowfast_r50" else clips)

    def step(number: int) -> None:
        networks[number].zero_grad()
        forward(number).square().mean().backward()

    with torch.no_grad():
        results = [network.eval() and forward(number) for number, network in enumerate(networks)]
    difference = float((results[0] - results[1]).abs().max() / results[1].abs().max())
    for title, call, training in (("forward", forward, False), ("step", step, True)):
        times: list[list[float]] = [[], []]
        for repetition in range(arguments.repetitions + 1):
            for number, network in enumerate(networks):
                network.train(training)
                with torch.set_grad_enabled(training):
                    taken = seconds(lambda call=call, number=number: call(number), device)
                if repetition:  # the first warms up
                    times[number].append(taken)
        ours, theirs = (arguments.batch / statistics.median(part) for part in times)
        print(
            f"{name:14} {title:8} {ours:8.2f} inputs/s, {library} {theirs:8.2f}: ratio {ours / theirs:.2f} "
            f"(goal: at least 0.95), relative difference {difference:.0e}"
        )


def costs() -> None:
    """Print parameters and multiply-adds of every group."""
    for group, (frames, size) in NATIVE.items():
        with torch.device("meta"):
            network = build(composed(group)).eval()
            clips = torch.empty(1, 3, *([] if frames is None else [frames]), size, size)
        with FlopCounterMode(display=False) as counter:
            network(clips)
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        native = f"{size}^2" if frames is None else f"{frames} x {size}^2"
        print(
            f"{group:24} {native:10} {network.num_features} features  {millions:.2f} M parameters  "
            f"{counter.get_total_flops() / 2e9:.2f} G multiply-adds"
        )


def main() -> None:
    """Measure each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=list(FRAMES), choices=list(FRAMES))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument(
        "--size", type=int, default=64, help="height and width of the inputs but of MViT, which takes 224"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--costs", action="store_true", help="count parameters and multiply-adds, measure nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.costs:
        costs()
        return
    for name in arguments.networks:
        measure(name, arguments)


if __name__ == "__main__":
    main()
