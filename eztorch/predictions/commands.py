"""The commands of `eztorch predictions` by name. Nothing here imports torch: a command does so once it runs."""

from __future__ import annotations

from eztorch.engine.commands import Command, CommandGroup

_RGB, _FLOW = "/output/rgb/predictions/test.safetensors", "/output/flow/predictions/test.safetensors"
_COMMANDS = (
    Command(
        "predictions",
        "show",
        "Show what is in a file of predictions: which videos, how they were evaluated, the first predictions.",
        (f"eztorch predictions show {_RGB}", f"eztorch predictions show {_RGB} --rows 20"),
    ),
    Command(
        "predictions",
        "score",
        "Measure a file of predictions: accuracies, precisions, calibration.",
        (
            f"eztorch predictions score {_RGB}",
            f"eztorch predictions score {_RGB} --metric acc_1 acc_3 ece --bins 10",
            f"eztorch predictions score {_RGB} --groups groups.csv",
        ),
    ),
    Command(
        "predictions",
        "fuse",
        "Average the predictions of two or more streams for the same videos, and measure each and all.",
        (
            f"eztorch predictions fuse {_RGB} {_FLOW} --weights 1 1.5 -o fused.safetensors",
            f"eztorch predictions fuse {_RGB} {_FLOW} --of logits -o fused.safetensors",
            f"eztorch predictions fuse {_RGB} {_FLOW} --grid",
        ),
    ),
)
PREDICTIONS = CommandGroup("predictions", "Show, measure and fuse the predictions that tests have written.", _COMMANDS)
