"""The commands of `eztorch checkpoint` by name. Nothing here imports torch: a command does so once it runs."""

from __future__ import annotations

from eztorch.engine.commands import Command, CommandGroup

_COMMANDS = (
    Command(
        "checkpoint",
        "show",
        "Say what is in a file of weights: whose names, which networks, how long it was trained.",
        (
            "eztorch checkpoint show /output/sce/checkpoints/last.ckpt",
            "eztorch checkpoint show resnet50.safetensors --names",
        ),
    ),
    Command(
        "checkpoint",
        "export",
        "Take a trunk out of a checkpoint: as weights alone, for ONNX, or as a program of torch.export.",
        (
            "eztorch checkpoint export /output/sce/checkpoints/last.ckpt trunk.safetensors",
            "eztorch checkpoint export /output/sce/checkpoints/last.ckpt trunk.onnx --input 3 8 112 112",
            "eztorch checkpoint export slow_r50.pyth trunk.pt2 -cn pretrain_r3d50_BYOL_kinetics400 --input 3 8 224 224",
            "eztorch checkpoint export last.ckpt target.pth --pattern '^(target\\.trunk\\.)'",
        ),
    ),
)
CHECKPOINT = CommandGroup("checkpoint", "Look into files of weights, and export trunks from them.", _COMMANDS)
